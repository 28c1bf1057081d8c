"""Write the population: every invitation that the runs of a command saw, and a manifest of it.

The file has rows only, so that it opens in a spreadsheet as it is. `FILE.manifest.json` beside it
says what was asked of which host and when, names each list with its completeness, and has the
totals and the SHA-256 of the file.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from invite_sweeper.audit.events import format_timestamp
from invite_sweeper.audit.limits import to_loggable_json
from invite_sweeper.audit.storage import make_directories
from invite_sweeper.errors import AuditLogError, UsageError
from invite_sweeper.files import NewFile, replaceable_target
from invite_sweeper.models import ListUnreadable, ProjectGone, Source, SourceRetired
from invite_sweeper.report.population_rows import COLUMNS, CsvRows, JsonRows, population_row
from invite_sweeper.sweep.discovery import ListedInvitations, ListOutcome
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.summary import RunSummary

_HINT: Final = "Name a file with free space that this user can write to."


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


class PopulationFile:
    """The population of one command and its manifest; a context manager.

    The files get their names when the last run has ended; incomplete ones are removed. Memory
    holds one list at a time.

    Args:
        path: A CSV or JSONL file. An existing file is replaced at the end.
        now: The one instant of the command, aware UTC.
        clock: Returns when a list was read, timezone-aware.

    Raises:
        UsageError: The files cannot be created; Atlas was not called.
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
        self._clock = clock
        self._runs = {run.run_id: RunPopulation(self, run) for run in runs}
        self._format = CsvRows() if path.suffix == ".csv" else JsonRows()
        self._is_broken = self._has_lists = False
        with ExitStack() as stack:
            try:
                make_directories(path.parent)
                self._rows, self._manifest = (
                    stack.enter_context(closing(NewFile(replaceable_target(each), runs[0].run_id)))
                    for each in (path, manifest_path(path))
                )
            except OSError as error:
                raise UsageError(
                    f"The population {path} cannot be written: {error.strerror}.", hint=_HINT
                ) from None
            self._stack = stack.pop_all()
        head = {
            "population": path.name,
            "tool_version": tool_version,
            "now": format_timestamp(now),
            "host": base_url,
            "organizations": sorted(each for run in runs for each in run.organizations),
        }
        self._rows.write(self._format.header)
        self._manifest.write(_members(head) + b',\n"lists":[')

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

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
        return self._runs[run_id]

    def write_list(
        self, run_id: str, fields: Mapping[str, object], decisions: Iterable[Decision]
    ) -> None:
        """Write a list and its invitations; raise AuditLogError if that fails."""
        fields = {**fields, "read_at": format_timestamp(self._clock()), "run_id": run_id}
        start, self._has_lists = b",\n" if self._has_lists else b"\n", True
        with self._failing():
            self._manifest.write(start + to_loggable_json(fields))
            for decision in decisions:
                self._rows.write(self._format.row(population_row(decision, self._now)))

    def complete_if_last(self) -> None:
        """Give the files their names, once all runs have ended.

        Files of which no run has read its lists get none: they would prove nothing.
        """
        runs = self._runs.values()
        with self._failing():
            totals = [each.totals for each in runs if each.totals is not None]
            if any(each.ended is None for each in runs) or not totals:
                return
            total = _sum(totals)
            tail: dict[str, object] = {
                "runs": [each.fields() for each in runs],
                "totals": total,
                "complete": len(totals) == len(runs) and not total["lists_incomplete"],
                "rows": sum(each.seen for each in runs),
                "sha256": self._rows.sync(),
            }
            self._manifest.write(b"\n],\n" + _members(tail)[1:] + b"\n}\n")
            self._manifest.sync()
            self._rows.publish()
            self._manifest.publish()

    def error(self, reason: str) -> AuditLogError:
        """Return the error that ends the file; another run of the command may go on after it."""
        self._is_broken = True
        return AuditLogError(
            f"The population {self.path} cannot be written: {reason}.",
            hint="Free disk space or repair the disk, then run the same command again.",
        )

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Raise AuditLogError for a write that fails, and after one that failed."""
        if self._is_broken:
            raise self.error("an earlier write failed")
        try:
            yield
        except OSError as error:
            raise self.error(error.strerror or str(error)) from error


def _members(fields: Mapping[str, object]) -> bytes:
    """Return the start of a JSON object: one member a line, without the closing brace."""
    members = (to_loggable_json({name: value})[1:-1] for name, value in fields.items())
    return b"{" + b",\n".join(members)


class RunPopulation:
    """The part of one run in a population file.

    Attributes:
        ended: The summary of a run that has read all its lists, or why it did not; None before.
    """

    def __init__(self, file: PopulationFile, run: PopulationRun) -> None:
        self.ended: RunSummary | str | None = None
        self._file = file
        self._run = run
        self._lists = self._incomplete = self._rows = self._stale = 0
        self._kept: Counter[str] = Counter()

    @property
    def sha256(self) -> str | None:
        """Hash of the complete file; None before."""
        return self._file.sha256

    @property
    def manifest_sha256(self) -> str | None:
        """Hash of the complete manifest; None before."""
        return self._file.manifest_sha256

    @property
    def seen(self) -> int:
        """Number of invitations written."""
        return self._stale + self._kept.total()

    @property
    def totals(self) -> dict[str, Any] | None:
        """The totals, by the names of the summary; None if the run has not read all its lists."""
        if not isinstance(self.ended, RunSummary):
            return None
        return {
            "lists": self._lists,
            "lists_incomplete": self._incomplete,
            "rows": self._rows,
            "projects_seen": self.ended.projects_seen,
            "projects_unreadable": self.ended.projects_unreadable,
            "invitations_seen": self.seen,
            "stale": self._stale,
            "trimmed": self.ended.trimmed,
            "kept": self._kept.total(),
            "kept_by_reason": dict(self._kept),
        }

    def fields(self) -> dict[str, object]:
        """Return the run as the manifest describes it."""
        failed = self.ended if isinstance(self.ended, str) else None
        return {**self._run._asdict(), "failed": failed, "totals": self.totals}

    def add_list(self, outcome: ListOutcome, decisions: Sequence[Decision]) -> None:
        """Write one list and its invitations.

        Raises:
            AuditLogError: The file cannot be written. Nothing was deleted: the population is
                complete before the first deletion.
        """
        fields = _list_fields(outcome, decisions)
        self._lists += 1
        self._incomplete += not fields["complete"]
        self._rows += fields["rows"]
        self._stale += sum(each.keep_reason is None for each in decisions)
        self._kept.update(each.keep_reason for each in decisions if each.keep_reason is not None)
        self._file.write_list(self._run.run_id, fields, decisions)

    def end(self, summary: RunSummary) -> None:
        """Record that the run has read all its lists; the last run completes the file.

        Raises:
            AuditLogError: The file cannot be written, or its rows do not add up to the summary.
        """
        written = (self.seen, self._stale, dict(self._kept))
        if written != (summary.invitations_seen, summary.stale, dict(summary.kept_by_reason)):
            raise self._file.error("its rows do not add up to the totals of the run")
        self.ended = summary
        self._file.complete_if_last()

    def fail(self, reason: str) -> None:
        """Record that the run ended before it had read all its lists."""
        if self.ended is None:
            self.ended = reason
            self._file.complete_if_last()


def _list_fields(outcome: ListOutcome, decisions: Sequence[Decision]) -> dict[str, Any]:
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


def _sum(totals: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of the totals of runs."""
    kept: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for each in totals:
        kept.update(each["kept_by_reason"])
        numbers.update({name: n for name, n in each.items() if name != "kept_by_reason"})
    return {**numbers, "kept_by_reason": dict(kept)}
