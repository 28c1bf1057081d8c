"""Read the report about one command from audit logs.

Damaged logs are read as well: invalid lines are counted and skipped. Memory holds the runs of the
logs and the rows that are shown.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import IO

from invite_sweeper.audit import in_order
from invite_sweeper.audit.events import (
    CheckpointLine,
    Line,
    OutcomeLine,
    RestoreFinished,
    RunFinished,
    decode,
)
from invite_sweeper.audit.history import History, RunRecord
from invite_sweeper.audit.reader import open_log
from invite_sweeper.counts import Counts, count_values
from invite_sweeper.endings import Reason, RunWarning, Status, WarningCode, status_of, worst
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.models import Outcome
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
    runs, names = logs.runs(), logs.history.organization_names()
    subject = _select(runs, run_id)
    log = str(paths[-1]) if len(paths) == 1 else str(files[-1]) if files else ""
    if not subject:
        return Report(files=read, chain=chain, audit_log=log)
    ids = frozenset(run.run_id for run in subject)
    labels = {id_: organization_label(id_, name) for id_, name in names.items()}
    lines = (raw for path in files for raw in raw_lines(path))
    view = read_view(lines, ids, max_rows=SHOWN_ROWS, labels=labels)
    until = max(map(_started, subject), default=0.0)
    earlier = [run for run in runs if run.run_id not in ids and _started(run) <= until]
    nights = _nights([*earlier, *subject])
    newest = sorted(runs, key=_started, reverse=True)
    return Report(
        subject=subject,
        audit_log=log,
        organizations=tuple(_organizations(subject, view, names)),
        names=names,
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


class _Logs:
    """The history of audit logs, and what became of requests of killed runs later."""

    def __init__(self) -> None:
        self.history = History()
        self._recovered: dict[str, Counter[str]] = {}
        self._key_ids: dict[str, str] = {}

    def read(self, path: Path) -> LogFile:
        """Add the lines of a file to the history, and count them."""
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
        self.history.add(line)
        match line.event:
            case OutcomeLine() as outcome if outcome.recovers is not None:
                self._recovered.setdefault(outcome.recovers, Counter())[outcome.outcome] += 1
            case CheckpointLine() as checkpoint:
                self._key_ids[line.run_id] = ", ".join(key_ids(checkpoint.note))
            case _:
                pass

    def runs(self) -> tuple[Run, ...]:
        """Return the runs in the order of their ends."""
        self.history.finish()
        open_requests = self.history.open_requests()
        return tuple(
            self._run(record, open_requests[record.run_id]) for record in self.history.runs
        )

    def _run(self, record: RunRecord, open_requests: int) -> Run:
        start, end = record.start, record.end
        recovered = self._recovered.get(record.run_id, Counter())
        run = Run(
            record.run_id,
            group_id=record.group_id,
            status=Status.RECOVERED if recovered and not open_requests else Status.UNFINISHED,
            planned=record.planned,
            outcomes=dict(record.outcomes + recovered),
            open=open_requests,
            resolved=record.resolved.total(),
            plan_made=bool(record.planned and (record.outcomes or open_requests)),
            key_ids=self._key_ids.get(record.run_id, ""),
        )
        if start is not None:
            run = replace(
                run,
                mode=start.mode,
                dry_run=start.mode == "dry-run" or bool(start.dry_run),
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
        reasons: tuple[str, ...] = end.reasons
        if not reasons and status is Status.PARTLY_DONE:
            reasons = _reasons_of_restore(run)
        wanted = end.wanted
        return replace(
            run, plan_made=True, reasons=reasons, wanted=wanted, to_restore=end.to_restore
        )
    # Lists that were read again may have shown an invitation that was said to be gone.
    totals = {each.value: getattr(end, each.value) for each in Outcome}
    return replace(
        run,
        outcomes=totals if any(totals.values()) else run.outcomes,
        reasons=end.reasons,
        warnings=tuple(
            # Those of earlier versions are sentences.
            RunWarning(WarningCode.OTHER, each) if isinstance(each, str) else each
            for each in end.warnings
        ),
        plan_made=end.plan_made,
        reported=Counts(**count_values(end)),
        requests=(end.requests, end.retries, end.rate_limited),
        changes=end.changes,
        policy_change=end.policy_change,
        unseen=end.unseen,
        keep_entries=end.keep_entries or (),
        sunset=end.sunset or "",
    )


def _reasons_of_restore(run: Run) -> tuple[str, ...]:
    """Return why a restore of an earlier version, which wrote no reasons, was partly done."""
    incomplete = run.count("failed", "unknown", "skipped") or run.open
    active = (Reason.MADE_ACTIVE,) if run.count("active") else ()
    return (*active, *((Reason.NOT_INVITED,) if incomplete else ()))


# The command, and the nights before it.


def _started(run: Run) -> float:
    return run.started.timestamp() if run.started else 0.0


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
