"""The sections of a report about invitations: which tables and charts, in which words."""

from collections.abc import Callable
from typing import TypeAlias

from invite_sweeper.plural import counted, fitting
from invite_sweeper.report.ages import LABELS
from invite_sweeper.report.page.charts import Chart, Series, stacked
from invite_sweeper.report.page.closing import closing
from invite_sweeper.report.page.counted import AgeRow, AgeTable
from invite_sweeper.report.page.grid import (
    Cell,
    Column,
    Columns,
    Figure,
    Grid,
    Section,
    age,
    count,
    grid,
    value,
)
from invite_sweeper.report.page.model import ReportModel
from invite_sweeper.report.page.rows import Comparison, Cut, Entry

SERIES_SHOWN = 5
"""Projects or inviters with a colour of their own; the rest shares one."""

EntryColumn: TypeAlias = tuple[Column, Callable[[Entry], Cell]]

_WHO: Columns[Entry] = (
    (Column("Invited"), lambda entry: value(entry.username or "(none)")),
    (Column("Project"), lambda entry: value(entry.project or entry.project_id, 40)),
    (Column("Age, days", "number"), lambda entry: age(entry.age_days)),
)
_WHY: Columns[Entry] = (
    (Column("Role"), lambda entry: value(entry.roles, 40)),
    (Column("Invited by"), lambda entry: value(entry.inviter, 40)),
    (Column("Rule"), lambda entry: value(entry.rule, 30)),
)
_STATE: EntryColumn = (
    Column("State", "state"),
    lambda entry: value(entry.state.replace("_", " ")),
)


def sections(model: ReportModel) -> tuple[Section, ...]:
    """Those that have something to say, in the order of the page."""
    made = (
        _done(model),
        _since(model.comparison),
        _bounced(model),
        _ages(model),
        *closing(model),
    )
    return tuple(section for section in made if section is not None)


def _done(model: ReportModel) -> Section | None:
    if not model.invitations.total:
        return None
    sweep = any(run.mode == "sweep" for run in model.current)
    said: EntryColumn = (Column("What Atlas said", "prose"), lambda entry: value(entry.detail))
    again: EntryColumn = (Column("Id", "code"), lambda entry: value(entry.invitation_id, 24))
    columns = (*_WHO, _STATE, *_WHY, *((said,) if sweep else ()), again)
    caption = "What became of the stale invitations" if sweep else "What a sweep would delete"
    heading = "What was done" if sweep else "What would be done"
    order = "What went wrong stands first, then the oldest." if sweep else "The oldest first."
    made = grid("invitations", caption, columns, model.invitations, filtered=True)
    return Section("done", heading, (order,), (), (made,))


def _since(found: Comparison | None) -> Section | None:
    if found is None:
        return None
    since = f"{found.since:%Y-%m-%d %H:%M} UTC" if found.since else "the run before"
    said = [f"Against the run of {since}: {_counts(found)}."]
    if found.unseen:
        said.append(
            f"{found.unseen:,} more {fitting(found.unseen, 'was', 'were')} in projects that could"
            " not be read this time; nobody knows of them."
        )
    where: EntryColumn = (Column("Where it went", "state"), _STATE[1])
    lists = (
        ("new", "New since then", found.new, (*_WHO, *_WHY)),
        ("persisting", "Still there", found.persisting, (*_WHO, _STATE, *_WHY)),
        ("gone", "Gone since then", found.gone, (*_WHO, where, *_WHY)),
    )
    grids = tuple(
        grid(key, caption, columns, cut, filtered=True)
        for key, caption, cut, columns in lists
        if cut.total
    )
    return Section("since", "Since the run before", tuple(said), (), grids)


def _counts(found: Comparison) -> str:
    new, persisting, gone = found.new.total, found.persisting.total, found.gone.total
    return f"{new:,} new, {persisting:,} still there, {gone:,} gone"


def _bounced(model: ReportModel) -> Section | None:
    if not model.bounces.total:
        return None
    times: EntryColumn = (Column("Deleted before", "number"), lambda entry: count(entry.bounced))
    last: EntryColumn = (Column("Last on", "date"), lambda entry: value(entry.last_deleted[:10]))
    columns = (*_WHO[:2], times, last, _STATE, *_WHY)
    said = "Deleted by an earlier run and invited again: something re-creates them."
    made = grid("bounces", "Invitations that came back", columns, model.bounces, filtered=True)
    return Section("bounces", "Came back", (said,), (), (made,))


def _ages(model: ReportModel) -> Section | None:
    if not any(model.stale_ages) and not any(model.kept_ages or ()):
        return None
    figures = [_all_ages(model)]
    if any(model.stale_ages):
        figures.append(_ages_by("project", "projects", model.by_project))
        figures.append(_ages_by("inviter", "inviters", model.by_inviter))
    said = "How long the invitations of the newest run have been pending, in days."
    return Section("ages", "Ages", (said,), tuple(figures))


def _all_ages(model: ReportModel) -> Figure:
    named = [Series("stale", model.stale_ages, tone=1)]
    if model.kept_ages is not None:
        named.append(Series("kept", model.kept_ages, tone=0))
    what = "pending" if model.kept_ages is not None else "stale"
    caption = f"Ages of all {what} invitations"
    rows = tuple(AgeRow(series.name, series.values) for series in named)
    table = _age_grid("ages-all", caption, "", rows)
    return Figure(Chart(caption, LABELS, tuple(named)), table)


def _ages_by(one: str, many: str, table: AgeTable) -> Figure:
    caption = f"Ages of stale invitations by {one}"
    named = [AgeRow(row.name or f"(no {one})", row.counts) for row in table.rows.rows]
    top, others = named[:SERIES_SHOWN], named[SERIES_SHOWN:]
    rest = tuple(map(sum, zip(*(row.counts for row in others), table.rest, strict=True)))
    series = stacked([(row.name, row.counts) for row in top], (f"all other {many}", rest))
    if table.rows.more:
        others_left = counted(table.rows.more, f"other {one}", f"other {many}")
        named.append(AgeRow(f"({others_left})", table.rest))
    made = _age_grid(f"ages-{one}", caption, one, tuple(named))
    return Figure(Chart(caption, LABELS, series), made)


def _age_grid(key: str, caption: str, of: str, rows: tuple[AgeRow, ...]) -> Grid:
    def in_class(index: int) -> Callable[[AgeRow], Cell]:
        return lambda row: count(row.counts[index])

    classes = ((Column(name, "number"), in_class(index)) for index, name in enumerate(LABELS))
    first = (Column(of.capitalize() or "Invitations"), lambda row: value(row.name))
    whole = (Column("All", "number"), lambda row: count(row.total))
    return grid(key, caption, (first, whole, *classes), Cut(rows, len(rows)))
