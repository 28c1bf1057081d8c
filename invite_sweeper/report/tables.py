"""The tables of the report: what is pending, what a period did to whom, nights and policies.

Rows of invitations and their columns are those of `rows.py`; a table adds a caption, how many rows
there are, and the command that lists all of them.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import (
    Announced,
    Intent,
    KeepEntry,
    Kept,
    OutcomeLine,
    RunFinished,
)
from invite_sweeper.endings import Advisor
from invite_sweeper.models import ListUnreadable
from invite_sweeper.report.charts import AgeGroup
from invite_sweeper.report.period import Night, NightRow, NightRun, PeriodReader
from invite_sweeper.report.policies import PolicyPart
from invite_sweeper.report.readback import (
    KEPT_CAPTION,
    MAX_TABLE_ROWS,
    UNREAD_CAPTION,
    announced_as,
    kept_rows,
    read_rows,
)
from invite_sweeper.report.rows import (
    BECAUSE,
    ID,
    INVITED,
    LIST,
    PLACE_WITH_ORGANIZATION,
    Cell,
    Column,
    Line,
    invitation_columns,
    text_cell,
)
from invite_sweeper.report.story import StoryLine, advisor_of


class Table(NamedTuple):
    """A table: rows, and the columns that return their cells.

    Attributes:
        key: Unique on the page; lower-case letters and hyphens.
        total: Number of rows, shown or not.
        command: Lists all rows.
    """

    key: str
    caption: str
    columns: tuple[Column[Any], ...]
    rows: Sequence[Any]
    total: int
    command: str


_UNREAD: Final = (
    Column[StoryLine]("Project", lambda each: (Line(each.label),)),
    Column[StoryLine]("Reason", lambda each: (Line(each.text),)),
)
_KEEP_ENTRIES: Final = (
    Column[KeepEntry]("Name", lambda entry: text_cell(entry.name)),
    Column[KeepEntry]("Reason", lambda entry: text_cell(entry.reason)),
    Column[KeepEntry]("Until", lambda entry: text_cell(entry.until), "date"),
    Column[KeepEntry]("Kept", lambda entry: text_cell(f"{entry.matched:,}"), "number"),
)


def unread_table(record: RunRecord, advisor: Advisor) -> Iterator[Table]:
    """Yield the lists that a run could not read, if there are any."""
    unread = read_rows(record).unread[:MAX_TABLE_ROWS]
    total = record.end.projects_unreadable if record.end is not None else len(unread)
    command = advisor_of(record, advisor).list_run("--event", ListUnreadable.event)
    if unread:
        yield Table("unreadable", UNREAD_CAPTION, _UNREAD, unread, total, command)


def pending_tables(record: RunRecord, advisor: Advisor) -> Iterator[Table]:
    """Yield who was pending in a sweep or a dry run; tables that are not empty.

    Whom a sweep sent a request for is in the tables of the period.
    """
    end = record.end or RunFinished(exit_code=0)
    found = read_rows(record).without_sent()
    list_run = advisor_of(record, advisor).list_run
    keep = end.keep_entries
    is_dry_run = record.mode == "dry-run"
    caption = "Invitations that would be deleted" if is_dry_run else "Planned, and nothing was sent"
    rows = found.first(MAX_TABLE_ROWS)
    total = len(found.rows)
    yield from _invitations("invitations", caption, rows, total, list_run())
    if is_dry_run:
        caption, event = announced_as(record)
        rows = found.announced[:MAX_TABLE_ROWS]
        yield from _invitations("due", caption, rows, end.announced, list_run("--event", event))
    kept = tuple(islice(kept_rows(record, found), MAX_TABLE_ROWS))
    yield from _invitations("kept", KEPT_CAPTION, kept, end.kept, list_run("--event", Kept.event))
    if keep:
        caption = "Keep entries of the policy"
        yield Table("keep-entries", caption, _KEEP_ENTRIES, keep, len(keep), list_run())


def period_tables(found: PeriodReader, advisor: Advisor) -> Iterator[Table]:
    """Yield what the runs of a period did to whom, the newest first; tables that are not empty."""
    list_runs = advisor.list_runs
    parts = (
        (
            "deletions",
            "Planned deletions and what became of them",
            found.deletions,
            list_runs("--event", OutcomeLine.event),
        ),
        (
            "announced",
            "Announced for a later deletion",
            found.announced,
            list_runs("--event", Announced.event),
        ),
        (
            "restored",
            "Deleted invitations and what became of them",
            found.restored,
            list_runs("--event", Intent.event),
        ),
    )
    for key, caption, people, command in parts:
        rows = people.rows()
        if rows:
            columns: tuple[Column[Any], ...] = (_WHEN, *invitation_columns(rows), LIST, ID)
            yield Table(key, caption, columns, rows, people.total, command)
    if len(found.runs) > 1 and (kept := found.kept.rows()):
        by_entry: tuple[Column[Any], ...] = (_WHEN, INVITED, PLACE_WITH_ORGANIZATION, BECAUSE)
        command = list_runs("--event", Kept.event)
        caption = "Kept by an entry of the policy, last on"
        yield Table("kept-by", caption, by_entry, kept, found.kept.total, command)
    if reasons := [run for run in found.runs if run.reason is not None]:
        newest = reasons[: -MAX_TABLE_ROWS - 1 : -1]
        caption = "Reasons that were given"
        yield Table("reasons", caption, _REASONS, newest, len(reasons), list_runs())
    if parts_of_policies := list(found.policies.parts()):
        newest_parts = parts_of_policies[-MAX_TABLE_ROWS:]
        caption = "Policies in force"
        yield Table(
            "policies", caption, _POLICIES, newest_parts, len(parts_of_policies), list_runs()
        )


def nights_table(nights: Sequence[Night], advisor: Advisor) -> Table:
    """Return the nights, the newest first."""
    shown = nights[: -MAX_TABLE_ROWS - 1 : -1]
    caption = f"The nights from {nights[0].day} to {nights[-1].day}"
    return Table("nights", caption, _NIGHTS, shown, len(nights), advisor.list_runs())


def ages_table(ages: Sequence[AgeGroup], command: str) -> Table:
    """Return the ages of what is pending, the youngest first."""
    return Table("ages", "Ages of what is pending", _AGES, ages, len(ages), command)


def _invitations(
    key: str, caption: str, rows: Sequence[Any], total: int, command: str
) -> Iterator[Table]:
    if rows:
        yield Table(key, caption, (*invitation_columns(rows), LIST, ID), rows, total, command)


def _when(row: NightRow) -> Cell:
    night = Line(str(row.night or "unknown"))
    return (night, Line(f"run {row.run}", "note")) if row.run else (night,)


def _number(value: int | None) -> Cell:
    return text_cell("not known" if value is None else f"{value:,}")


def _pending_cell(night: Night) -> Cell:
    if night.pending is not None and not night.is_whole:
        return (*_number(night.pending), Line("not all lists read", "note"))
    return _number(night.pending)


def _ended(night: Night) -> Cell:
    meaning = night.meaning if not night.mark.isdecimal() else f"{night.mark}: {night.meaning}"
    return (Line(meaning, night.status.style),)


_WHEN: Final = Column[NightRow]("Night", _when, "date")
_NIGHTS: Final = (
    Column[Night]("Night", lambda night: text_cell(str(night.day)), "date"),
    Column[Night]("Runs", lambda night: text_cell(", ".join(night.runs) or "none")),
    Column[Night]("Deleted", lambda night: _number(night.deleted), "number"),
    Column[Night]("Announced", lambda night: _number(night.announced), "number"),
    Column[Night]("Restored", lambda night: _number(night.restored), "number"),
    Column[Night]("Failed", lambda night: _number(night.failed), "number"),
    Column[Night]("Pending", _pending_cell, "number"),
    Column[Night]("Ended", _ended),
)
_AGES: Final = (
    Column[AgeGroup]("Age", lambda group: text_cell(group.label)),
    Column[AgeGroup]("Stale", lambda group: _number(group.stale), "number"),
    Column[AgeGroup]("Kept", lambda group: _number(group.kept), "number"),
)
_REASONS: Final = (
    Column[NightRun]("Night", lambda run: text_cell(str(run.night or "unknown")), "date"),
    Column[NightRun]("Run", lambda run: text_cell(run.label)),
    Column[NightRun]("Reason", lambda run: (Line(run.reason or ""),)),
)


def _in_force(part: PolicyPart) -> Cell:
    if part.first == part.last:
        return (Line(str(part.first)),)
    return (Line(str(part.first)), Line(f"to {part.last}"))


_POLICIES: Final = (
    Column[PolicyPart]("In force", _in_force, "date"),
    Column[PolicyPart]("Policy", lambda part: text_cell(part.path)),
    Column[PolicyPart]("Rule or entry", lambda part: text_cell(part.name)),
    Column[PolicyPart]("Conditions", lambda part: (Line(part.text),)),
    Column[PolicyPart]("SHA-256", lambda part: text_cell(part.sha256), "code"),
)
