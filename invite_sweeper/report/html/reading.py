"""Read the report about one command from audit logs.

Damaged logs are read as well: invalid lines are counted and skipped. Memory holds the runs of the
logs and the rows that are shown.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path

from invite_sweeper.audit import in_order
from invite_sweeper.endings import Status, worst
from invite_sweeper.errors import UsageError
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.model import Night, Organization, Report, Run
from invite_sweeper.report.html.runs import Logs, raw_lines
from invite_sweeper.report.run_view import RunView, read_view
from invite_sweeper.text import organization_label

SHOWN_ROWS = 500
SHOWN_RUNS = 100
SHOWN_NIGHTS = 30


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
    logs = Logs()
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
    """Return whether a later good run did the same with the same credentials.

    A sweep does everything that a dry run does.
    """
    as_much = later.kind == run.kind or (later.kind, run.kind) == ("sweep", "dry-run")
    same = as_much and later.base_url == run.base_url
    covered = run.organizations and set(run.organizations) <= set(later.organizations)
    return same and bool(later.actor == run.actor or covered)
