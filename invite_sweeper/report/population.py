"""Write the population: every invitation that the runs of a command saw, and a manifest of it.

The file has rows only, so that it opens in a spreadsheet as it is. `FILE.manifest.json` beside it
says what was asked of which host and when, names each list with its completeness, and has the
totals and the SHA-256 of the file.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from invite_sweeper.audit.events import format_timestamp
from invite_sweeper.audit.limits import to_loggable_json
from invite_sweeper.audit.storage import make_directories
from invite_sweeper.errors import AuditLogError, UsageError
from invite_sweeper.files import fsync_directory, replaceable_target
from invite_sweeper.models import ListUnreadable, ProjectGone, Source, SourceRetired
from invite_sweeper.report.population_rows import COLUMNS, CsvRows, JsonRows, population_row
from invite_sweeper.sweep.discovery import ListedInvitations, ListOutcome
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.summary import RunSummary

SUFFIXES: Final = (".csv", ".jsonl")
_HINT: Final = "Name a file with free space that this user can write to."
_FLUSH_BYTES: Final = 1 << 18


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


def manifest_path(path: Path) -> Path:
    """Return the manifest of a population file."""
    return path.with_name(f"{path.name}.manifest.json")


def is_population(start: bytes) -> bool:
    """Return whether a file that starts so was written by `PopulationFile`."""
    header = ",".join(COLUMNS[:3]).encode()
    earlier = (b"# population: ", b'{"event":"population"')
    return start.startswith((header, b'{"invitation_id":', *earlier))


def is_manifest(start: bytes) -> bool:
    """Return whether a file that starts so is the manifest of a population."""
    return start.startswith(b'{"population":')


class _NewFile:
    """A file that is written under a temporary name and gets its name when it is complete.

    Args:
        run_id: Part of the temporary name, so that two commands never write one file.

    Attributes:
        sha256: Hash of the complete file, 64 hex digits; None before.

    Raises:
        OSError: The file cannot be created.
    """

    def __init__(self, path: Path, run_id: str) -> None:
        self.sha256: str | None = None
        self._target = replaceable_target(path)
        self._partial = self._target.with_name(f".{self._target.name}.{run_id}.partial")
        self._pending = bytearray()
        self._digest = sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._partial, flags, 0o600)

    def write(self, data: bytes) -> None:
        self._pending += data
        if len(self._pending) >= _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        self._digest.update(self._pending)
        data, self._pending = bytes(self._pending), bytearray()
        written = 0
        while written < len(data):
            written += os.write(self._fd, memoryview(data)[written:])

    def sync(self) -> str:
        """Write everything to disk; return the hash."""
        self.flush()
        os.fsync(self._fd)
        return self._digest.hexdigest()

    def publish(self) -> None:
        """Give the file its name; it is on disk."""
        self._partial.replace(self._target)
        fsync_directory(self._target.parent)
        self.sha256 = self._digest.hexdigest()

    def close(self) -> None:
        """Close the file; remove it if it is not complete."""
        os.close(self._fd)
        if self.sha256 is None:
            with suppress(OSError):
                self._partial.unlink()


class PopulationFile:
    """The population of one command and its manifest; a context manager.

    The files get their names when the last run has ended; incomplete ones are removed. Memory
    holds one list at a time.

    Args:
        path: Ends with one of `SUFFIXES`. An existing file is replaced at the end.
        now: The one instant of the command, aware UTC.
        base_url: The host that is read.
        runs: All runs that the file will cover.
        clock: Returns when a list was read, timezone-aware.

    Raises:
        UsageError: The files cannot be created; Atlas was not called.
        AuditLogError: Their first lines cannot be written.
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
    ) -> None:
        self.path = path
        self._now = now
        self._base_url = base_url
        self._clock = clock
        self._runs = {run.run_id: run for run in runs}
        self._ended: dict[str, RunSummary | str] = {}
        self._format = CsvRows() if path.suffix == ".csv" else JsonRows()
        self._counts = {run.run_id: _Counts() for run in runs}
        self._is_broken = self._has_lists = False
        self._files: list[_NewFile] = []
        try:
            make_directories(path.parent)
            for each in (path, manifest_path(path)):
                self._files.append(_NewFile(each, runs[0].run_id))
        except OSError as error:
            self._close()
            raise UsageError(
                f"The population {path} cannot be written: {error.strerror}.", hint=_HINT
            ) from None
        self._rows, self._manifest = self._files
        organizations = [each for run in runs for each in run.organizations]
        head = {
            "population": path.name,
            "tool_version": tool_version,
            "now": format_timestamp(now),
            "host": base_url,
            "organizations": sorted(organizations),
        }
        try:
            self._write(self._rows, self._format.header)
            self._write(self._manifest, _members(head) + b',\n"lists":[')
            self._flush()
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

    @property
    def sha256(self) -> str | None:
        """Hash of the complete file, 64 hex digits; None before the last run has ended."""
        return self._rows.sha256 if self.manifest_sha256 is not None else None

    @property
    def manifest_sha256(self) -> str | None:
        """Hash of the complete manifest."""
        return self._manifest.sha256

    def for_run(self, run_id: str) -> "RunPopulation":
        """Return the part of one run."""
        return RunPopulation(self, run_id)

    def add_list(self, run_id: str, outcome: ListOutcome, decisions: Sequence[Decision]) -> None:
        """Write one list and its invitations.

        Raises:
            AuditLogError: The file cannot be written. Nothing was deleted: the population is
                complete before the first deletion.
        """
        counts, fields = self._counts[run_id], _list_fields(outcome, decisions)
        counts.lists += 1
        counts.lists_incomplete += not fields["complete"]
        rows = fields["rows"]
        counts.rows_received += rows if isinstance(rows, int) else 0
        fields |= {"read_at": format_timestamp(self._clock()), "run_id": run_id}
        start, self._has_lists = b",\n" if self._has_lists else b"\n", True
        self._write(self._manifest, start + to_loggable_json(fields))
        for decision in decisions:
            self._write(self._rows, self._format.row(population_row(decision, self._now)))
            if decision.keep_reason is None:
                counts.stale += 1
            else:
                counts.kept[decision.keep_reason] += 1

    def end_run(self, run_id: str, summary: RunSummary) -> None:
        """Record that a run has read all its lists; the last run completes the file.

        Raises:
            AuditLogError: The file cannot be written, or its rows do not add up to the summary.
        """
        counts = self._counts[run_id]
        written = (counts.seen, counts.stale, dict(counts.kept))
        if written != (summary.invitations_seen, summary.stale, dict(summary.kept_by_reason)):
            raise self._error("its rows do not add up to the totals of the run")
        self._ended[run_id] = summary
        self._complete_if_last()

    def fail_run(self, run_id: str, reason: str) -> None:
        """Record that a run ended before it had read all its lists.

        A file of which no run has read its lists is not completed: it would prove nothing.

        Raises:
            AuditLogError: The file cannot be written.
        """
        if run_id not in self._ended:
            self._ended[run_id] = reason
            self._complete_if_last()

    def _complete_if_last(self) -> None:
        """Give the files their names, once all runs have ended."""
        if self._is_broken:  # another run may go on after the error
            raise self._error("an earlier write failed")
        ended = [
            (self._counts[run_id], summary)
            for run_id, summary in self._ended.items()
            if isinstance(summary, RunSummary)
        ]
        if self._ended.keys() != self._runs.keys() or not ended:
            return
        totals = _totals(ended)
        complete = len(ended) == len(self._runs) and not totals["lists_incomplete"]
        runs = [self._run_fields(run) for run in self._runs.values()]
        tail: dict[str, object] = {"runs": runs, "totals": totals, "complete": complete}
        tail["rows"] = sum(counts.seen for counts in self._counts.values())
        try:
            tail["sha256"] = self._rows.sync()
            self._manifest.write(b"\n],\n" + _members(tail)[1:] + b"\n}\n")
            self._manifest.sync()
            self._rows.publish()
            self._manifest.publish()
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error

    def _run_fields(self, run: PopulationRun) -> dict[str, object]:
        ended, counts = self._ended[run.run_id], self._counts[run.run_id]
        if isinstance(ended, str):
            return {**run._asdict(), "failed": ended, "totals": None}
        return {**run._asdict(), "failed": None, "totals": _totals([(counts, ended)])}

    def _write(self, file: _NewFile, data: bytes) -> None:
        if self._is_broken:
            raise self._error("an earlier write failed")
        try:
            file.write(data)
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error

    def _flush(self) -> None:
        try:
            for file in self._files:
                file.flush()
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error

    def _close(self) -> None:
        for file in self._files:
            file.close()

    def _error(self, reason: str) -> AuditLogError:
        self._is_broken = True
        return AuditLogError(
            f"The population {self.path} cannot be written: {reason}.",
            hint="Free disk space or repair the disk, then run the same command again.",
        )


def _members(fields: Mapping[str, object]) -> bytes:
    """Return the start of a JSON object: one member a line, without the closing brace."""
    members = (to_loggable_json({name: value})[1:-1] for name, value in fields.items())
    return b"{" + b",\n".join(members)


class RunPopulation:
    """The part of one run in a population file."""

    def __init__(self, file: PopulationFile, run_id: str) -> None:
        self._file = file
        self._run_id = run_id

    @property
    def sha256(self) -> str | None:
        """Hash of the complete file; None before."""
        return self._file.sha256

    @property
    def manifest_sha256(self) -> str | None:
        """Hash of the complete manifest; None before."""
        return self._file.manifest_sha256

    def add_list(self, outcome: ListOutcome, decisions: Sequence[Decision]) -> None:
        """Write one list and its invitations."""
        self._file.add_list(self._run_id, outcome, decisions)

    def end(self, summary: RunSummary) -> None:
        """Record that the run has read all its lists."""
        self._file.end_run(self._run_id, summary)

    def fail(self, reason: str) -> None:
        """Record that the run ended before; nothing if it has read all its lists."""
        self._file.fail_run(self._run_id, reason)


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
