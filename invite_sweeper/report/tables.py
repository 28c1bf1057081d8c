"""The tables of the report: what is pending, what a period did to whom, nights and policies.

Rows of invitations are those of `rows.py`, their columns those of `columns.py`; a table adds a
caption, how many rows there are, and the command that lists all of them.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from heapq import nsmallest
from typing import Any, Final, TypeVar

from invite_sweeper.advice import Advisor
from invite_sweeper.audit.events import Announced, Intent, Kept, OutcomeLine
from invite_sweeper.audit.record import RunRecord
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.models import ListUnreadable
from invite_sweeper.report.document import Cell, CellsOf, Column, Fact, Line, Table
from invite_sweeper.report.nights import Night, NightRun
from invite_sweeper.report.period_reader import KeepEntry, NewestRows, NightRow, PeriodReader
from invite_sweeper.report.policies import PolicyInForce, ends_of_keep_entries
from invite_sweeper.report.rows import (
    BECAUSE,
    INVITED,
    KEPT_CAPTION,
    LIST_AND_ID,
    MAX_TABLE_ROWS,
    PLACE,
    UNREAD_CAPTION,
    Row,
    announced_as,
    announced_rows,
    first_rows,
    full_place_cell,
    invitation_columns,
    invited_cell,
    kept_in_file,
    line_cell,
    list_cell,
    row_order,
    rows_of,
    text_cell,
    unread_lines,
    why_kept_cell,
)
from invite_sweeper.report.story import advisor_of

_T = TypeVar("_T")


_UNREAD: Final[CellsOf[Fact]] = {
    Column("Project"): lambda line: line_cell(line.label),
    Column("Reason"): lambda line: line_cell(line.text),
}


def unread_table(run: RunRecord, advisor: Advisor) -> Iterator[Table]:
    """Yield the lists that a run could not read, if there are any."""
    unread = unread_lines(run, MAX_TABLE_ROWS)
    end = run.end
    total = end.projects_unreadable if end is not None else len(unread)
    command = advisor_of(run, advisor).list_run("--event", ListUnreadable.event)
    if unread:
        yield Table.of("unreadable", UNREAD_CAPTION, _UNREAD, unread, total=total, command=command)


def pending_tables(
    run: RunRecord,
    advisor: Advisor,
    *,
    organization: str | None,
    as_of: str = "",
    with_organization: bool = False,
) -> Iterator[Table]:
    """Yield who was pending in a sweep or a dry run; tables that are not empty.

    A deletion that a sweep sent is in the tables of the period.

    Args:
        organization: The id of the one that is asked for; None for all.
        as_of: Follows the captions, where a later run is the newest of the report.
        with_organization: Each place names its organization, even if all rows are of one.
    """
    end = run.end or RunFinished(exit_code=0)
    list_run = advisor_of(run, advisor).list_run
    is_dry_run = run.mode == "dry-run"
    people_table = partial(_people_table, with_organization=with_organization)
    planned = [row for row in rows_of(run) if not row.outcome]  # nothing was sent
    planned_caption = "Planned, and nothing was sent"
    if is_dry_run:
        planned_caption = "Invitations that would be deleted"
    yield from people_table(
        "invitations",
        f"{planned_caption}{as_of}",
        first_rows(planned, MAX_TABLE_ROWS),
        total=len(planned),
        command=list_run(),
    )
    if is_dry_run:
        kind = announced_as(run)
        yield from people_table(
            "due",
            f"{kind.caption}{as_of}",
            announced_rows(run)[:MAX_TABLE_ROWS],
            total=end.announced,
            command=list_run("--event", kind.event),
        )
    yield from people_table(
        "kept",
        f"{KEPT_CAPTION}{as_of}",
        nsmallest(MAX_TABLE_ROWS, kept_in_file(run, organization), key=row_order),
        total=end.kept,
        command=list_run("--event", Kept.event),
    )


def _people_table(
    key: str,
    caption: str,
    rows: Sequence[Row],
    *,
    total: int,
    command: str,
    with_organization: bool,
    before: CellsOf[Any] | None = None,
) -> Iterator[Table]:
    """Yield the table of some invitations, if there are any.

    Args:
        before: Columns before those of invitations.
    """
    if rows:
        columns = invitation_columns(rows, full_place_cell if with_organization else None)
        cells = {**(before or {}), **columns, LIST_AND_ID: list_cell}
        yield Table.of(key, caption, cells, rows, total=total, command=command)


def period_tables(period: PeriodReader, advisor: Advisor) -> Iterator[Table]:
    """Yield what the runs of a period did to whom, the newest first; tables that are not empty."""
    words = () if period.organization is None else ("--organization", period.organization)
    list_runs = partial(advisor.list_runs, *words)
    with_organization = len(period.organizations) > 1

    def newest_people(key: str, caption: str, newest: NewestRows, event: str) -> Iterator[Table]:
        yield from _people_table(
            key,
            caption,
            newest.rows(),
            total=newest.total,
            command=list_runs("--event", event),
            with_organization=with_organization,
            before={Column("Night", "date"): _when},
        )

    yield from newest_people(
        "deletions",
        "Planned deletions and what became of them",
        period.deletions,
        OutcomeLine.event,
    )
    yield from newest_people(
        "announced", "Announced for a later deletion", period.announced, Announced.event
    )
    yield from newest_people(
        "restored",
        "Invitations of restores and what became of them",
        period.restored,
        Intent.event,
    )
    ends = ends_of_keep_entries(period.policies)
    entries = [entry._replace(until=ends.get(name)) for name, entry in period.entries.items()]
    if entries:
        yield Table.of(
            "entries",
            "Invitations that each keep entry kept",
            _ENTRIES,
            _newest_first(entries),
            total=len(entries),
            command=list_runs(),
        )
    kept = period.kept.rows()
    if kept and len(period.runs) > 1:  # of a single run, the table of what it kept has them
        command = list_runs("--event", Kept.event)
        caption = "Kept by an entry of the policy"
        yield Table.of("kept-by", caption, _KEPT_BY, kept, total=period.kept.total, command=command)
    with_reason = [run for run in period.runs if run.reason is not None]
    if with_reason:
        rows = _newest_first(with_reason)
        caption = "Reasons that were given"
        yield Table.of(
            "reasons", caption, _REASONS, rows, total=len(with_reason), command=list_runs()
        )
    policies = period.policies
    if policies:
        newest = _newest_first(policies)
        caption = "Policies in force"
        yield Table.of(
            "policies", caption, _POLICIES, newest, total=len(policies), command=list_runs()
        )


def nights_table(nights: Sequence[Night], advisor: Advisor) -> Table:
    """Return the nights, the newest first."""
    caption = f"The nights from {nights[0].day} to {nights[-1].day}"
    rows = _newest_first(nights)
    return Table.of(
        "nights", caption, _NIGHTS, rows, total=len(nights), command=advisor.list_runs()
    )


def _newest_first(rows: Sequence[_T]) -> list[_T]:
    """Return the rows of a table of which the newest one is the last."""
    newest = list(rows[-MAX_TABLE_ROWS:])
    newest.reverse()
    return newest


def _when(row: NightRow) -> Cell:
    night = Line(str(row.night or "unknown"))
    if not row.run:  # the number of a file outside an audit directory is not known
        return (night,)
    return (night, Line(f"run {row.run}", "note"))


def _number(value: int | None) -> Cell:
    return text_cell("not known" if value is None else f"{value:,}")


def _pending_cell(night: Night) -> Cell:
    if not night.is_whole:
        return (*_number(night.pending), Line("not all lists read", "note"))
    return _number(night.pending)


def _ended(night: Night) -> Cell:
    has_code = night.mark.isdecimal()
    meaning = f"{night.mark}: {night.meaning}" if has_code else night.meaning
    return line_cell(meaning, night.status.style)


_KEPT_BY: Final[CellsOf[NightRow]] = {
    Column("Last on", "date"): _when,
    INVITED: invited_cell,
    PLACE: full_place_cell,
    BECAUSE: why_kept_cell,
}
_ENTRIES: Final[CellsOf[KeepEntry]] = {
    Column("Entry"): lambda entry: text_cell(entry.name),
    Column("Kept at most", "number"): lambda entry: _number(entry.most),
    Column("Kept last", "number"): lambda entry: _number(entry.newest),
    Column("Runs", "number"): lambda entry: _number(entry.runs),
    Column("From", "date"): lambda entry: text_cell(str(entry.first)),
    Column("To", "date"): lambda entry: text_cell(str(entry.last)),
    Column("Holds until", "date"): lambda entry: text_cell(str(entry.until or "")),
}
_NIGHTS: Final[CellsOf[Night]] = {
    Column("Night", "date"): lambda night: text_cell(str(night.day)),
    Column("Runs"): lambda night: text_cell(", ".join(night.runs) or "none"),
    Column("Deleted", "number"): lambda night: _number(night.deleted),
    Column("Announced", "number"): lambda night: _number(night.announced),
    Column("Restored", "number"): lambda night: _number(night.restored),
    Column("Failed", "number"): lambda night: _number(night.failed),
    Column("Pending", "number"): _pending_cell,
    Column("Ended"): _ended,
}
_REASONS: Final[CellsOf[NightRun]] = {
    Column("Night", "date"): lambda run: text_cell(str(run.night or "unknown")),
    Column("Run"): lambda run: text_cell(run.label),
    Column("Reason"): lambda run: line_cell(run.reason or ""),
}


def _in_force(policy: PolicyInForce) -> Cell:
    if policy.first == policy.last:
        return text_cell(str(policy.first))
    return (Line(str(policy.first)), Line(f"to {policy.last}"))


_POLICIES: Final[CellsOf[PolicyInForce]] = {
    Column("In force", "date"): _in_force,
    Column("Runs"): lambda policy: text_cell(policy.runs),
    Column("Policy"): lambda policy: text_cell(policy.path),
    Column("SHA-256", "code"): lambda policy: text_cell(policy.sha256),
}
