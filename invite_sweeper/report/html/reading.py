"""Read the report about one command from audit logs.

Damaged logs are read as well: invalid lines are counted and skipped. Memory holds the runs of the
logs and the rows that are shown.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import IO, TypeAlias

from invite_sweeper.audit import in_order
from invite_sweeper.audit.reader import open_log
from invite_sweeper.endings import Reason, Status, parse_warning, status_of, worst
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.notes import key_ids
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.model import (
    Figures,
    KeepEntry,
    LogFile,
    Night,
    Organization,
    Report,
    Run,
)
from invite_sweeper.report.rows import display_text
from invite_sweeper.report.run_view import RunView, parse_log_line, read_view
from invite_sweeper.sweep.changes import parse_changes, parse_policy_difference
from invite_sweeper.text import organization_label, to_datetime, to_float, to_int, to_text

SHOWN_ROWS = 500
SHOWN_RUNS = 100
SHOWN_NIGHTS = 30
_MAX_LINE_BYTES = 1 << 23
"""A longer line is not an audit record and is skipped."""

_Request: TypeAlias = tuple[str, str, str, str, str]
"""The run that sent a request, and the invitation."""


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


_Line: TypeAlias = Mapping[str, object]


@dataclass(slots=True)
class _RunLines:
    """The lines of one run, counted."""

    run_id: str
    start: _Line = field(default_factory=dict)
    end: _Line | None = None
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
            line = parse_log_line(raw)
            if line is None:
                invalid_lines += 1
            else:
                self._add(line)
        last_hash = sha256(raw).hexdigest() if lines else ""
        return LogFile(to_text(path.name), lines, invalid_lines, last_hash)

    def _add(self, line: _Line) -> None:
        run_id = line.get("run_id")
        if not isinstance(run_id, str):
            return
        run = self._runs.setdefault(run_id, _RunLines(run_id))
        match line.get("event"):
            case "run_started":
                run.start = line
            case "planned":
                run.planned += 1
            case "intent":
                self._open.add(_request(line, run_id))
            case "outcome":
                self._add_outcome(run, line)
            case "run_finished":
                run.end = line
                self.names |= {
                    to_text(id_): to_text(name) for id_, name in _items(line, "organization_names")
                }
            case "checkpoint":
                run.key_ids = ", ".join(key_ids(to_text(line.get("note"), _MAX_NOTE_LENGTH)))
            case _:
                pass

    def _add_outcome(self, run: _RunLines, line: _Line) -> None:
        recovers = line.get("recovers")
        interrupted = self._runs.get(recovers) if isinstance(recovers, str) else None
        self._open.discard(_request(line, run.run_id if recovers is None else str(recovers)))
        if recovers is None:
            run.outcomes[to_text(line.get("outcome"))] += 1
            return
        run.resolved += 1
        if interrupted is not None:
            interrupted.recovered += 1
            interrupted.outcomes[to_text(line.get("outcome"))] += 1

    def runs(self) -> tuple[Run, ...]:
        """Return the runs in the order of the log."""
        open_requests = Counter(run_id for run_id, *_ in self._open)
        found = (each for each in self._runs.values() if each.start or each.end is not None)
        return tuple(_run(each, open_requests[each.run_id]) for each in found)


_MAX_NOTE_LENGTH = 10_000


def _request(line: _Line, run_id: str) -> _Request:
    source, org_id, project_id, id_ = (
        to_text(line.get(name)) for name in ("source", "org_id", "project_id", "invitation_id")
    )
    return (run_id, source, org_id, project_id, id_)


def _items(line: _Line, name: str) -> Iterable[tuple[object, object]]:
    value = line.get(name)
    return value.items() if isinstance(value, Mapping) else ()


def _list(line: _Line, name: str) -> Iterable[object]:
    value = line.get(name)
    return value if isinstance(value, list) else ()


def _run(lines: _RunLines, open_requests: int) -> Run:
    start = lines.start
    mode = to_text(start.get("mode"))
    run = Run(
        lines.run_id,
        mode=mode,
        dry_run=mode == "dry-run" or start.get("dry_run") is True,
        group_id=to_text(start.get("group_id")) or lines.run_id,
        organizations=tuple(map(to_text, _list(start, "organizations"))),
        started=to_datetime(start.get("now")) or to_datetime(start.get("ts")),
        approver=to_text(start.get("plan_approved_by")),
        status=Status.RECOVERED if lines.recovered and not open_requests else Status.UNFINISHED,
        planned=lines.planned,
        outcomes=dict(lines.outcomes),
        open=open_requests,
        resolved=lines.resolved,
        plan_made=bool(lines.planned and (lines.outcomes or open_requests)),
        key_ids=lines.key_ids,
        actor=to_text(start.get("actor")),
        base_url=to_text(start.get("base_url")),
        policy_path=to_text(start.get("policy_path")),
        policy_sha256=to_text(start.get("policy_sha256")),
        tool_version=to_text(start.get("tool_version")),
    )
    return run if lines.end is None else _ended(run, lines.end)


def _ended(run: Run, end: _Line) -> Run:
    exit_code = to_int(end.get("exit_code"))
    status = status_of(-1 if exit_code is None else exit_code)
    made = end.get("estimate_s") is not None
    if "estimate_s" not in end:  # written by an earlier version
        made = status in {Status.DONE, Status.PARTLY_DONE} or run.plan_made
        made = made or (status is Status.REFUSED and bool(run.planned))
    warnings = (parse_warning(each) for each in _list(end, "warnings"))
    counts = {name: to_int(end.get(name)) or 0 for name in _FIGURE_COUNTS}
    kept = {to_text(r): to_int(n) or 0 for r, n in _items(end, "kept_by_reason")}
    return replace(
        run,
        status=status,
        exit_code=exit_code,
        reasons=tuple(map(to_text, _list(end, "reasons"))) or _reasons_of_restore(run, status),
        error=to_text(end.get("error")),
        consequence=to_text(end.get("consequence")),
        hint=to_text(end.get("hint")),
        warnings=tuple(each for each in warnings if each is not None),
        plan_made=made,
        duration_s=to_float(end.get("duration_s")),
        figures=None if run.is_restore else Figures(**counts, kept_by_reason=kept),
        wanted=to_int(end.get("wanted")) or 0,
        to_restore=to_int(end.get("to_restore")) or 0,
        changes=parse_changes(end.get("changes")),
        policy_change=parse_policy_difference(end.get("policy_change")),
        keep_entries=tuple(
            KeepEntry(
                display_text(each.get("name")),
                display_text(each.get("reason")),
                display_text(each.get("until")),
                to_int(each.get("matched")) or 0,
            )
            for each in _list(end, "keep_entries")
            if isinstance(each, Mapping)
        ),
        sunset=to_text(end.get("sunset")),
    )


def _reasons_of_restore(run: Run, status: Status) -> tuple[str, ...]:
    """Return the reasons of a restore whose last line has none."""
    if not run.is_restore or status is not Status.PARTLY_DONE:
        return ()
    incomplete = run.count("failed", "unknown", "skipped") or run.open
    active = (Reason.MADE_ACTIVE,) if run.count("active") else ()
    return (*active, *((Reason.NOT_INVITED,) if incomplete else ()))


_FIGURE_COUNTS = tuple(name for name in Figures.__dataclass_fields__ if name != "kept_by_reason")


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
