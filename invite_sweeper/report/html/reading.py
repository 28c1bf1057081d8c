"""Read the report about one command from audit logs.

Damaged logs are read as well: invalid lines are counted and skipped. Memory holds the runs of the
logs and the rows that are shown.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import IO, TypeAlias

from invite_sweeper.audit import in_order
from invite_sweeper.audit.events import (
    CheckpointLine,
    Intent,
    Line,
    OutcomeLine,
    Planned,
    RestoreFinished,
    RunFinished,
    RunStarted,
    decode,
)
from invite_sweeper.audit.reader import open_log
from invite_sweeper.counts import Counts, count_values
from invite_sweeper.endings import Reason, Status, parse_warning, status_of, worst
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.notes import key_ids
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.model import LogFile, Night, Organization, Report, Run
from invite_sweeper.report.run_view import RunView, read_view
from invite_sweeper.text import organization_label, to_datetime, to_text

SHOWN_ROWS = 500
SHOWN_RUNS = 100
SHOWN_NIGHTS = 30
_MAX_LINE_BYTES = 1 << 23
"""A longer line is not an audit record and is skipped."""

_Request: TypeAlias = tuple[str, Hashable]
"""The run that sent a request, and the invitation's key."""


def read_report(
    paths: Sequence[Path], chain: ChainResult | None = None, run_id: str = ""
) -> Report:
    """Return the report about a command.

    Args:
        paths: Audit logs, in any order; duplicates are read once.
        chain: The result of `audit.verify` for the same files; None if it was not run.
        run_id: A run of the command, or the start of its id; empty for the newest command that
            is not the dry run of a restore.

    Raises:
        UsageError: A file cannot be read, or no run has that id.
    """
    files = in_order(dict.fromkeys(path.resolve() for path in paths))
    logs = _Logs()
    read = tuple(logs.read(path) for path in files)
    runs = logs.runs()
    subject = _select(runs, run_id)
    log = str(paths[-1]) if len(paths) == 1 else str(files[-1]) if files else ""
    if not subject:
        return Report(files=read, chain=chain, audit_log=log)
    ids = frozenset(run.run_id for run in subject)
    labels = {id_: organization_label(id_, name) for id_, name in logs.names.items()}
    lines = (raw for path in files for raw in raw_lines(path))
    view = read_view(lines, ids, max_rows=SHOWN_ROWS, labels=labels)
    until = _latest(subject)
    earlier = [run for run in runs if run.run_id not in ids and _started(run) <= until]
    nights = _nights([*earlier, *subject])
    newest = sorted(runs, key=_started, reverse=True)
    return Report(
        subject=subject,
        audit_log=log,
        organizations=tuple(_organizations(subject, view, logs.names)),
        names=logs.names,
        nights=nights,
        unresolved=tuple(_unresolved(earlier, subject, nights)),
        runs=tuple(newest[:SHOWN_RUNS]),
        runs_total=len(runs),
        rows=view.rows,
        rows_total=view.planned,
        places=(view.projects, view.organization_lists),
        failed=view.failed,
        announced=view.announced,
        unreadable=view.unreadable,
        files=read,
        chain=chain,
    )


def raw_lines(path: Path) -> Iterator[bytes]:
    """Yield each line without its newline; an overlong one as `b""`.

    A file that is compressed with gzip is decompressed. The lines end where such a file is
    damaged: `audit.verify` reports it.

    Raises:
        UsageError: The file cannot be read.
    """
    with suppress(GuardRefused), open_log(path) as stream:
        while raw := stream.readline(_MAX_LINE_BYTES):
            if not raw.endswith(b"\n") and len(raw) == _MAX_LINE_BYTES:
                _skip_line(stream)
                raw = b""
            yield raw.rstrip(b"\r\n")


def _skip_line(stream: IO[bytes]) -> None:
    while (more := stream.readline(_MAX_LINE_BYTES)) and not more.endswith(b"\n"):
        pass


# The runs of the logs.


@dataclass(slots=True)
class _RunLines:
    """The lines of one run, counted."""

    run_id: str
    start: RunStarted | None = None
    end: RunFinished | RestoreFinished | None = None
    planned: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    recovered: int = 0
    resolved: int = 0
    key_ids: str = ""


class _Logs:
    """Counts the lines of audit logs by run."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._runs: dict[str, _RunLines] = {}
        self._open: set[_Request] = set()

    def read(self, path: Path) -> LogFile:
        """Count the lines of a file."""
        lines = invalid_lines = 0
        raw = b""
        for raw in raw_lines(path):
            lines += 1
            try:
                line = decode(raw)
            except ValueError:
                invalid_lines += 1
                continue
            if line is not None:
                self._add(line)
        last_hash = sha256(raw).hexdigest() if lines else ""
        return LogFile(to_text(path.name), lines, invalid_lines, last_hash)

    def _add(self, line: Line) -> None:
        run = self._runs.setdefault(line.run_id, _RunLines(line.run_id))
        match line.event:
            case RunStarted() as start:
                run.start = start
            case Planned():
                run.planned += 1
            case Intent() as intent:
                self._open.add((run.run_id, intent.key))
            case OutcomeLine() as outcome:
                self._add_outcome(run, outcome)
            case RunFinished() | RestoreFinished() as end:
                run.end = end
                self.names |= end.organization_names
            case CheckpointLine() as checkpoint:
                run.key_ids = ", ".join(key_ids(checkpoint.note))
            case _:
                pass

    def _add_outcome(self, run: _RunLines, outcome: OutcomeLine) -> None:
        self._open.discard((outcome.recovers or run.run_id, outcome.key))
        if outcome.recovers is None:
            run.outcomes[outcome.outcome] += 1
            return
        run.resolved += 1
        interrupted = self._runs.get(outcome.recovers)
        if interrupted is not None:
            interrupted.recovered += 1
            interrupted.outcomes[outcome.outcome] += 1

    def runs(self) -> tuple[Run, ...]:
        """Return the runs in the order of the log."""
        open_requests = Counter(run_id for run_id, _ in self._open)
        return tuple(_run(each, open_requests[each.run_id]) for each in self._runs.values())


def _run(lines: _RunLines, open_requests: int) -> Run:
    start, end = lines.start, lines.end
    run = Run(
        lines.run_id,
        group_id=lines.run_id,
        status=Status.RECOVERED if lines.recovered and not open_requests else Status.UNFINISHED,
        planned=lines.planned,
        outcomes=dict(lines.outcomes),
        open=open_requests,
        resolved=lines.resolved,
        plan_made=bool(lines.planned and (lines.outcomes or open_requests)),
        key_ids=lines.key_ids,
    )
    if start is not None:
        run = replace(
            run,
            mode=start.mode,
            dry_run=start.mode == "dry-run" or bool(start.dry_run),
            group_id=start.group_id or lines.run_id,
            organizations=start.organizations,
            started=to_datetime(start.now),
            actor=start.actor,
            credentials=start.credentials or "",
            approver=start.plan_approved_by or "",
            base_url=start.base_url,
            policy_path=start.policy_path or "",
            policy_sha256=start.policy_sha256 or "",
            tool_version=start.tool_version,
        )
    return run if end is None else _ended(run, end)


def _ended(run: Run, end: RunFinished | RestoreFinished) -> Run:
    status = status_of(end.exit_code)
    run = replace(
        run,
        status=status,
        exit_code=end.exit_code,
        error=end.error or "",
        consequence=end.consequence or "",
        hint=end.hint or "",
        duration_s=end.duration_s,
    )
    if isinstance(end, RestoreFinished):
        reasons = _reasons_of_restore(run) if status is Status.PARTLY_DONE else ()
        wanted = end.wanted
        return replace(
            run, plan_made=True, reasons=reasons, wanted=wanted, to_restore=end.to_restore
        )
    warnings = (parse_warning(each) if isinstance(each, str) else each for each in end.warnings)
    return replace(
        run,
        reasons=end.reasons,
        warnings=tuple(each for each in warnings if each is not None),
        plan_made=end.plan_made,
        reported=Counts(**count_values(end)),
        requests=(end.requests, end.retries, end.rate_limited),
        changes=end.changes,
        policy_change=end.policy_change,
        keep_entries=end.keep_entries or (),
        sunset=end.sunset or "",
    )


def _reasons_of_restore(run: Run) -> tuple[str, ...]:
    """Return why a restore did not do everything: its last line has no reasons."""
    incomplete = run.count("failed", "unknown", "skipped") or run.open
    active = (Reason.MADE_ACTIVE,) if run.count("active") else ()
    return (*active, *((Reason.NOT_INVITED,) if incomplete else ()))


# The command, and the nights before it.


def _started(run: Run) -> float:
    return run.started.timestamp() if run.started else 0.0


def _latest(runs: Iterable[Run]) -> float:
    return max(map(_started, runs), default=0.0)


def _select(runs: Sequence[Run], run_id: str) -> tuple[Run, ...]:
    """Return the runs of the command."""
    if run_id:
        found = [run for run in runs if run.run_id.startswith(run_id)]
        if len({run.group_id for run in found}) != 1:
            raise UsageError(
                f"--run {run_id}: {'several runs have' if found else 'no run has'} such an id.",
                hint="List the runs with: invite-sweeper audit show FILE --event run_started",
            )
    else:
        found = [run for run in runs if not (run.is_restore and run.dry_run)] or list(runs)
    newest = max(enumerate(found), key=lambda each: (_started(each[1]), each[0]), default=None)
    if newest is None:
        return ()
    return tuple(run for run in runs if run.group_id == newest[1].group_id)


def _organizations(
    subject: Sequence[Run], view: RunView, names: Mapping[str, str]
) -> Iterator[Organization]:
    """Yield the organizations of the command, the worst first."""
    order = tuple(Status)
    found: set[str] = set()
    for run in sorted(subject, key=lambda each: order.index(each.status)):
        for id_ in run.organizations or tuple(view.by_organization) or ("",):
            if id_ not in found:
                found.add(id_)
                counts = view.by_organization.get(id_, {})
                yield Organization(
                    id_,
                    names.get(id_, ""),
                    run.run_id,
                    run.actor,
                    run.status,
                    run.exit_code,
                    counts,
                )


_NIGHT_KINDS = ("sweep", "dry-run", "restore")
"""A day's sweeps count for its night; without one, its dry runs, then its restores."""


def _nights(runs: Iterable[Run]) -> tuple[Night, ...]:
    """Return the last 30 days up to that of the newest run, from the first day with a run on."""
    by_day: dict[date, list[Run]] = {}
    for run in runs:
        if run.day is not None:
            by_day.setdefault(run.day, []).append(run)
    if not by_day:
        return ()
    last = max(by_day)
    first = max(min(by_day), last - timedelta(days=SHOWN_NIGHTS - 1))
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return tuple(_night(day, by_day.get(day, ())) for day in days)


def _night(day: date, runs: Sequence[Run]) -> Night:
    modes = {run.mode for run in runs}
    kind = next((mode for mode in _NIGHT_KINDS if mode in modes), "")
    counted = [run for run in runs if run.mode == kind]
    status = worst(run.status for run in counted)
    return Night(
        day=day,
        status=status,
        kind=kind,
        exit_code=next((run.exit_code for run in counted if run.status is status), None),
        runs=len(counted),
        planned=sum(run.planned for run in counted),
        deleted=sum(run.count("deleted") for run in counted),
        failed=sum(run.count("failed", "unknown", "accepted_during") for run in counted),
    )


def _unresolved(
    earlier: Iterable[Run], subject: Sequence[Run], nights: Sequence[Night]
) -> Iterator[Run]:
    """Yield the earlier runs of these nights that no later good run makes up for.

    A run that was killed needs no action once a later run has recorded all its results.
    """
    good: list[Run] = [run for run in subject if run.status is Status.DONE]
    for run in sorted(earlier, key=_started, reverse=True):
        if run.day is None or not nights or run.day < nights[0].day:
            continue
        if run.status is Status.DONE:
            good.append(run)
        elif run.status is not Status.RECOVERED and not any(_makes_up(g, run) for g in good):
            yield run


def _makes_up(later: Run, run: Run) -> bool:
    """Return whether a later good run did the same with the same credentials."""
    same = later.kind == run.kind and later.base_url == run.base_url
    covered = run.organizations and set(run.organizations) <= set(later.organizations)
    return same and bool(later.actor == run.actor or covered)
