"""Write the population: every invitation that the runs of a command saw, with its decision.

One file covers all runs of a command. Its parts, in this order: `population` (what was asked of
which host, and when), one `run` each, one `list` for each list that was read or could not be,
each followed by its invitations, `run_totals` at the end of each run, and `totals` as the last
line. Only the last line shows that the file is complete, and only a file with it gets its name.
"""

import csv
import hmac
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from invite_sweeper.audit import invitation_fields
from invite_sweeper.audit.events import format_timestamp
from invite_sweeper.audit.storage import fsync_directory
from invite_sweeper.errors import AuditLogError, UsageError
from invite_sweeper.files import replaceable_target
from invite_sweeper.json_text import to_json
from invite_sweeper.models import (
    ListUnreadable,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.redaction import SECRETS
from invite_sweeper.sweep.discovery import ListedInvitations, ListOutcome
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.summary import RunSummary
from invite_sweeper.text import casefold_visible, escape_unprintable, neutralize_formula

SUFFIXES: Final = (".csv", ".jsonl")
_HINT: Final = "Name a file in an existing directory with free space that this user can write to."
_FLUSH_BYTES: Final = 1 << 18

_FIELDS: Final = (
    *("invitation_id", "project_id", "project_name", "org_id", "username", "roles", "inviter"),
    *("created_at", "expires_at", "age_days"),
)
_OPTIONAL_FIELDS: Final = ("team_ids", "project_roles", "linked_projects")
COLUMNS: Final = (
    *("source", "complete", *_FIELDS, "status", "decision", "reason"),
    *_OPTIONAL_FIELDS,
)
"""The header row of a CSV file."""
_USERNAME: Final = COLUMNS.index("username")
_FIELD_VALUES: Final = itemgetter(*_FIELDS)


class Pseudonymizer:
    """Replaces addresses by HMAC-SHA256 with a key: the same address, the same pseudonym.

    Addresses that differ only in case or in invisible characters are the same.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def address(self, address: str) -> str:
        """Return the pseudonym of an address: 64 hex digits."""
        normalized = casefold_visible(address).encode("utf-8", "backslashreplace")
        return hmac.digest(self._key, normalized, "sha256").hex()

    def text(self, text: str) -> str:
        """Return the text with a pseudonym in place of each address."""
        if "@" not in text:
            return text
        return _ADDRESS.sub(lambda found: self.address(found[0]), text)


_ADDRESS: Final = re.compile(
    r"""[^\s@<>()\[\]{}",;:'][^\s@<>()\[\]{}",;:]*@[^\s@<>()\[\]{}",;:']+"""
)


class PopulationRun(NamedTuple):
    """One run of the command, as the file describes it.

    Attributes:
        query: What the run asks Atlas for: lists, projects, shard.
    """

    run_id: str
    mode: str
    policy_sha256: str
    policy_path: str
    organizations: tuple[str, ...]
    query: Mapping[str, object]


@dataclass(slots=True)
class _Counts:
    """What was written; the summary of the run must agree with it."""

    lists: int = 0
    lists_incomplete: int = 0
    rows_received: int = 0
    stale: int = 0
    kept: Counter[str] = field(default_factory=Counter)

    @property
    def seen(self) -> int:
        return self.stale + self.kept.total()


class PopulationFile:
    """The population file of one command; a context manager that removes an incomplete file.

    The file is written under a temporary name and renamed when the last run has ended. Memory
    holds one list at a time.

    Args:
        path: Ends with one of `SUFFIXES`. An existing file is replaced at the end.
        now: The one instant of the command, aware UTC.
        base_url: The host that is read.
        runs: All runs that the file will cover.
        clock: Returns when a list was read, timezone-aware.
        pseudonymizer: Replaces addresses; None to keep them.

    Attributes:
        sha256: Hash of the complete file, 64 hex digits; None before the last run has ended.

    Raises:
        UsageError: The file cannot be created; Atlas was not called.
        AuditLogError: Its first lines cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        now: datetime,
        base_url: str,
        tool_version: str,
        runs: Sequence[PopulationRun],
        clock: Callable[[], datetime],
        pseudonymizer: Pseudonymizer | None = None,
    ) -> None:
        self.path = path
        self.sha256: str | None = None
        self._now = now
        self._base_url = base_url
        self._clock = clock
        self._pseudonymizer = pseudonymizer
        self._runs = {run.run_id: run for run in runs}
        self._ended: dict[str, RunSummary | None] = {}
        self._lines = _CsvLines() if path.suffix == ".csv" else _JsonLines()
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._digest = sha256()
        self._counts = {run.run_id: _Counts() for run in runs}
        self._is_broken = False
        try:
            self._target, self._partial, self._fd = _create(path, runs[0].run_id)
        except OSError as error:
            raise UsageError(
                f"The population {path} cannot be written: {error.strerror}.", hint=_HINT
            ) from None
        try:
            self._write_head(tool_version)
        except AuditLogError:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def for_run(self, run_id: str) -> "RunPopulation":
        """Return the part of one run."""
        return RunPopulation(self, run_id)

    def add_list(self, run_id: str, outcome: ListOutcome, decisions: Sequence[Decision]) -> None:
        """Write one list and its invitations.

        Raises:
            AuditLogError: The file cannot be written. Nothing was deleted: the population is
                complete before the first deletion.
        """
        counts = self._counts[run_id]
        fields = _list_fields(outcome, decisions)
        counts.lists += 1
        counts.lists_incomplete += not fields["complete"]
        rows = fields["rows"]
        counts.rows_received += rows if isinstance(rows, int) else 0
        read = {"read_at": format_timestamp(self._clock()), "host": self._base_url}
        self._write_event("list", {**fields, **read, "run_id": run_id})
        self._append(b"".join(self._lines.row(self._row(each)) for each in decisions))
        for decision in decisions:
            if decision.keep_reason is None:
                counts.stale += 1
            else:
                counts.kept[decision.keep_reason] += 1

    def end_run(self, run_id: str, summary: RunSummary) -> None:
        """Write the totals of a run that read all its lists; the last run completes the file.

        Raises:
            AuditLogError: The file cannot be written, or its rows do not add up to the summary.
        """
        counts = self._counts[run_id]
        written = (counts.seen, counts.stale, dict(counts.kept))
        if written != (summary.invitations_seen, summary.stale, dict(summary.kept_by_reason)):
            raise self._error("its rows do not add up to the totals of the run")
        self._ended[run_id] = summary
        self._write_event("run_totals", {"run_id": run_id, **_totals([(counts, summary)])})
        self._complete_if_last()

    def fail_run(self, run_id: str, reason: str) -> None:
        """Write that a run ended before it had read all its lists.

        A file of which no run has read its lists is not completed: it would prove nothing.

        Raises:
            AuditLogError: The file cannot be written.
        """
        if run_id in self._ended:
            return
        self._ended[run_id] = None
        self._write_event("run_failed", {"run_id": run_id, "reason": reason})
        if any(self._ended.values()):
            self._complete_if_last()

    def _complete_if_last(self) -> None:
        """Write the last line and give the file its name, once all runs have ended."""
        if self._ended.keys() != self._runs.keys():
            return
        ended = [(self._counts[run_id], s) for run_id, s in self._ended.items() if s is not None]
        totals = _totals(ended)
        failed = [run_id for run_id, summary in self._ended.items() if summary is None]
        complete = not failed and not totals["lists_incomplete"]
        self._write_event("totals", {"complete": complete, "runs_failed": failed, **totals})
        self._flush()
        try:
            os.fsync(self._fd)
            self._partial.replace(self._target)
            fsync_directory(self._target.parent)
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        self.sha256 = self._digest.hexdigest()

    def _write_head(self, tool_version: str) -> None:
        organizations = [each for run in self._runs.values() for each in run.organizations]
        head = {
            "tool_version": tool_version,
            "now": format_timestamp(self._now),
            "host": self._base_url,
            "organizations": sorted(organizations),
            "pseudonymized": self._pseudonymizer is not None,
            "end": "The file is complete if its last line is `totals`.",
        }
        self._write_event("population", head)
        for run in self._runs.values():
            self._write_event("run", run._asdict())
        self._append(self._lines.header)
        self._flush()

    def _row(self, decision: Decision) -> Sequence[object]:
        """Return the values of `COLUMNS`."""
        invitation = decision.invitation
        fields = invitation_fields(invitation, self._now)
        row = (
            *(invitation.source.value, True, *_FIELD_VALUES(fields), invitation.status),
            *("kept" if decision.rule is None else "stale", decision.rule or decision.keep_reason),
            *map(fields.get, _OPTIONAL_FIELDS),
        )
        return row if self._pseudonymizer is None else _without_addresses(row, self._pseudonymizer)

    def _write_event(self, event: str, fields: Mapping[str, object]) -> None:
        values: object = fields
        if self._pseudonymizer is not None:
            values = _map_texts(fields, self._pseudonymizer.text)
        self._append(self._lines.event(event, values))

    def _append(self, line: bytes) -> None:
        if self._is_broken:  # another run may go on after the error
            raise self._error("an earlier write failed")
        redacted = SECRETS.redact_bytes(line)
        self._pending.append(redacted)
        self._pending_bytes += len(redacted)
        if self._pending_bytes >= _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        data = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._digest.update(data)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error

    def _close(self) -> None:
        """Close the file; remove it if it is not complete."""
        os.close(self._fd)
        if self.sha256 is None:
            with suppress(OSError):
                self._partial.unlink()

    def _error(self, reason: str) -> AuditLogError:
        self._is_broken = True
        return AuditLogError(
            f"The population {self.path} cannot be written: {reason}.",
            hint="Free disk space or repair the disk, then run the same command again.",
        )


def is_population(start: bytes) -> bool:
    """Return whether a file that starts so was written by `PopulationFile`."""
    return start.startswith((b"# population: ", b'{"event":"population"'))


class RunPopulation:
    """The part of one run in a population file."""

    def __init__(self, file: PopulationFile, run_id: str) -> None:
        self._file = file
        self._run_id = run_id

    @property
    def sha256(self) -> str | None:
        """Hash of the complete file; None before."""
        return self._file.sha256

    def add_list(self, outcome: ListOutcome, decisions: Sequence[Decision]) -> None:
        """Write one list and its invitations."""
        self._file.add_list(self._run_id, outcome, decisions)

    def end(self, summary: RunSummary) -> None:
        """Write the totals of the run, which has read all its lists."""
        self._file.end_run(self._run_id, summary)

    def fail(self, reason: str) -> None:
        """Write that the run ended before; nothing if it has read all its lists."""
        self._file.fail_run(self._run_id, reason)


# The lines of the two formats.


class _JsonLines:
    """One JSON object for each line."""

    header = b""

    def event(self, event: str, fields: object) -> bytes:
        return to_json({"event": event, **_as_mapping(fields)}) + b"\n"

    def row(self, row: Sequence[object]) -> bytes:
        values = {
            name: value
            for name, value in zip(COLUMNS, row, strict=True)
            if value is not None or name not in _OPTIONAL_FIELDS
        }
        return to_json({"event": "invitation", **values}) + b"\n"


class _CsvLines:
    """A header row and one row for each invitation; events are comment lines with JSON.

    A comment line may be read by a spreadsheet, too: no text of it can begin a cell.
    """

    def __init__(self) -> None:
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, lineterminator="\n")
        self.header = self._line(COLUMNS)

    def event(self, event: str, fields: object) -> bytes:
        text = to_json(_map_texts(fields, _safe_text)).decode()
        return f"# {event}: {_JSON_STRING.sub(_escape_separators, text)}\n".encode()

    def row(self, row: Sequence[object]) -> bytes:
        cells = [
            each if type(each) is str else "" if each is None else str(_flat(each)) for each in row
        ]
        line = ",".join(cells)
        if _is_plain(line):
            return line.encode() + b"\n"
        return self._line([_safe_cell(_flat(each)) for each in row])

    def _line(self, cells: Iterable[object]) -> bytes:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._writer.writerow(cells)
        return self._buffer.getvalue().encode("utf-8", "backslashreplace")


_JSON_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def _escape_separators(found: re.Match[str]) -> str:
    return found[0].replace(",", "\\u002c").replace(";", "\\u003b")


def _safe_text(text: str) -> str:
    """Return a text that stays on one line and that no spreadsheet calculates."""
    return _AFTER_SEMICOLON.sub(";'", neutralize_formula(escape_unprintable(text)))


_AFTER_SEMICOLON: Final = re.compile(r";(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""A cell starts here where a spreadsheet separates cells by semicolons; quotes do not help."""


def _is_plain(line: str) -> bool:
    """Return whether no cell of a line needs quotes or is changed by `_safe_text`.

    Nearly all lines are plain; the first cell is the name of a source.
    """
    return (
        line.isascii()
        and line.isprintable()
        and '"' not in line
        and ";" not in line
        and line.count(",") == len(COLUMNS) - 1
        and not (",=" in line or ",+" in line or ",-" in line or ",@" in line)
    )


def _flat(value: object) -> object:
    """Return the value of a cell: lists and booleans as text, None as no text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ", ".join(each if isinstance(each, str) else ":".join(each) for each in value)
    return value


def _safe_cell(value: object) -> object:
    return _safe_text(value) if isinstance(value, str) else value


def _as_mapping(fields: object) -> Mapping[str, object]:
    assert isinstance(fields, Mapping)  # noqa: S101 - `_map_texts` keeps the type
    return fields


# Addresses.


def _map_texts(value: object, change: Callable[[str], str]) -> object:
    """Return the value with each text in it changed, keys included."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): _map_texts(part, change) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map_texts(part, change) for part in value]
    return value


def _without_addresses(row: Sequence[object], names: Pseudonymizer) -> Sequence[object]:
    """Return a row without addresses; the username is one, whatever its form."""
    changed = [_map_texts(value, names.text) for value in row]
    username = row[_USERNAME]
    changed[_USERNAME] = names.address(username) if isinstance(username, str) else None
    return changed


# Lists and totals.


def _list_fields(outcome: ListOutcome, decisions: Sequence[Decision]) -> dict[str, object]:
    """Return the fields of a list.

    A project without a valid id has no source: none of its lists was requested. A source that
    Atlas retired has no project: its remaining lists were not requested.
    """
    reason, http_status, error_code = None, None, None
    if isinstance(outcome, ListedInvitations):
        (project, source), rows = outcome.list_ref, outcome.invitations.rows
        scope = _scope_fields(source, project.org_id, project.id, project.name)
    elif isinstance(outcome, ProjectGone):
        scope = _scope_fields(
            outcome.source, outcome.org_id, outcome.project_id, outcome.project_name
        )
        rows, reason = 0, "The project no longer exists."
    else:
        scope, rows = _unreadable_scope(outcome), outcome.rows
        reason, http_status = outcome.reason, outcome.http_status
        error_code = outcome.error_code
    return {
        **scope,
        "complete": not isinstance(outcome, ListUnreadable),
        "rows": rows,
        "invitations": len(decisions),
        "reason": reason,
        "http_status": http_status,
        "error_code": error_code,
    }


def _unreadable_scope(outcome: ListUnreadable) -> dict[str, object]:
    if isinstance(outcome, SourceRetired):
        return _scope_fields(outcome.source, None, None, None)
    source = None if outcome.org_id is None else outcome.source
    return _scope_fields(source, outcome.org_id, outcome.project_id, outcome.project_name)


def _scope_fields(
    source: Source | None, org_id: str | None, project_id: str | None, name: str | None
) -> dict[str, object]:
    of_organization = source is not None and source.is_organization_level
    return {
        "source": source,
        "org_id": org_id,
        "project_id": None if of_organization else project_id,
        "project_name": None if of_organization else name,
    }


def _totals(runs: Iterable[tuple[_Counts, RunSummary]]) -> dict[str, object]:
    """Return the totals of runs, by the names of the summary."""
    kept: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for counts, summary in runs:
        kept.update(counts.kept)
        totals.update(
            lists=counts.lists,
            lists_incomplete=counts.lists_incomplete,
            rows=counts.rows_received,
            projects_seen=summary.projects_seen,
            projects_unreadable=summary.projects_unreadable,
            invitations_seen=counts.seen,
            stale=counts.stale,
            trimmed=summary.trimmed,
            kept=counts.kept.total(),
        )
    return {**totals, "kept_by_reason": dict(kept)}


# The file.


def _create(path: Path, run_id: str) -> tuple[Path, Path, int]:
    """Create the temporary file; return the target, its path and its descriptor.

    The run's id is part of the name, so that two commands never write one file.
    """
    target = replaceable_target(path)
    partial = target.with_name(f".{target.name}.{run_id}.partial")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return target, partial, os.open(partial, flags, 0o600)
