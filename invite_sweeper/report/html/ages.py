"""The section with the ages of invitations: charts, each with its table."""

from collections.abc import Callable

from invite_sweeper.report.html.charts import Chart, Series, stacked
from invite_sweeper.report.html.grids import (
    Cell,
    Column,
    Figure,
    Grid,
    Section,
    build_grid,
    count_cell,
    text_cell,
)
from invite_sweeper.report.html.model import AgeRow, AgeTable, ReportModel, Truncated
from invite_sweeper.sweep.plan import AGE_CLASS_LABELS
from invite_sweeper.text import pluralize

SERIES_SHOWN = 5
"""Projects or inviters with their own colour; the others share one."""


def ages_section(model: ReportModel) -> Section | None:
    """Return the section; None if the ages of all invitations are unknown."""
    if not any(model.stale_ages) and not any(model.kept_ages or ()):
        return None
    figures = [_all_ages_figure(model)]
    if any(model.stale_ages):
        figures.append(_ages_by_figure("project", "projects", model.by_project))
        figures.append(_ages_by_figure("inviter", "inviters", model.by_inviter))
    message = "How long the invitations of the newest run have been pending, in days."
    return Section("ages", "Ages", (message,), tuple(figures))


def _all_ages_figure(model: ReportModel) -> Figure:
    series = [Series("stale", model.stale_ages, tone=1)]
    if model.kept_ages is not None:
        series.append(Series("kept", model.kept_ages, tone=0))
    caption = f"Ages of all {'stale' if model.kept_ages is None else 'pending'} invitations"
    rows = tuple(AgeRow(each.name, each.values) for each in series)
    grid = _age_grid("ages-all", caption, "Invitations", rows)
    return Figure(Chart(caption, AGE_CLASS_LABELS, tuple(series)), grid)


def _ages_by_figure(one: str, many: str, table: AgeTable) -> Figure:
    caption = f"Ages of stale invitations by {one}"
    named = [AgeRow(row.name or f"(no {one})", row.counts) for row in table.rows.rows]
    top, others = named[:SERIES_SHOWN], named[SERIES_SHOWN:]
    rest = tuple(map(sum, zip(*(row.counts for row in others), table.rest, strict=True)))
    series = stacked([(row.name, row.counts) for row in top], (f"all other {many}", rest))
    if table.rows.more:
        others_left = pluralize(table.rows.more, f"other {one}", f"other {many}")
        named.append(AgeRow(f"({others_left})", table.rest))
    grid = _age_grid(f"ages-{one}", caption, one.capitalize(), tuple(named))
    return Figure(Chart(caption, AGE_CLASS_LABELS, series), grid)


def _age_grid(key: str, caption: str, heading: str, rows: tuple[AgeRow, ...]) -> Grid:
    def in_class(index: int) -> Callable[[AgeRow], Cell]:
        return lambda row: count_cell(row.counts[index])

    classes = (
        (Column(name, "number"), in_class(index)) for index, name in enumerate(AGE_CLASS_LABELS)
    )
    name = (Column(heading), lambda row: text_cell(row.name))
    total = (Column("All", "number"), lambda row: count_cell(row.total))
    return build_grid(key, caption, (name, total, *classes), Truncated(rows, len(rows)))
