"""Build a report's sections and tables for both renderings.

Every text from a log is truncated and its unprintable characters are escaped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

from invite_sweeper.report.html.charts import Chart, Series, stacked
from invite_sweeper.report.html.model import (
    AgeRow,
    AgeTable,
    Comparison,
    Day,
    InvitationRow,
    KeepEntry,
    LogFile,
    ReportModel,
    RunRow,
    Truncated,
    UnreadableProject,
)
from invite_sweeper.sweep.plan import AGE_CLASS_LABELS
from invite_sweeper.text import escape_unprintable, plural_form, pluralize, to_text, truncate

T = TypeVar("T")
Kind: TypeAlias = Literal["text", "prose", "number", "date", "state", "code"]

MAX_CELL_LENGTH = 60
"""Maximum characters shown in a cell; the full value is in its title."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table.

    Attributes:
        shown: Truncated and escaped text.
        full: The full text if `shown` is truncated; else empty.
        rank: Sort key if `shown` is a number or a date.
    """

    shown: str
    full: str = ""
    rank: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; its kind decides how it is aligned, sorted and filtered."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        key: Unique on the page; lower-case letters and hyphens.
        total: Number of rows, shown or not.
        filtered: Whether the page has a filter for it.
    """

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    filtered: bool = False

    @property
    def more(self) -> int:
        """Number of rows left out."""
        return self.total - len(self.rows)

    @property
    def states(self) -> tuple[str, ...]:
        """Distinct values of the `state` column; empty without such a column."""
        for index, column in enumerate(self.columns):
            if column.kind == "state":
                return tuple(sorted({row[index].shown for row in self.rows}))
        return ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with the table behind it."""

    chart: Chart
    grid: Grid


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page."""

    key: str
    heading: str
    sentences: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    grids: tuple[Grid, ...] = ()


Columns: TypeAlias = tuple[tuple[Column, Callable[[T], Cell]], ...]
"""A table's columns, each with the function that returns its cell for a row."""


def text_cell(text: str, limit: int = MAX_CELL_LENGTH) -> Cell:
    """Return the cell of a text from a log."""
    printable = escape_unprintable(text)
    cut = truncate(printable, limit)
    return Cell(cut, printable if cut != printable else "")


def count_cell(number: int | None) -> Cell:
    """Return the cell of a count; empty if unknown."""
    return Cell("", rank="") if number is None else Cell(f"{number:,}", rank=str(number))


def age_cell(days: float | None) -> Cell:
    """Return the cell of an age in days; empty if the date is missing or unreadable."""
    return Cell("") if days is None else Cell(f"{days:,.1f}", rank=repr(days))


def time_cell(when: datetime | None) -> Cell:
    """Return the cell of a time in UTC, to the minute."""
    return Cell("") if when is None else Cell(f"{when:%Y-%m-%d %H:%M}", rank=when.isoformat())


def build_grid(
    key: str,
    caption: str,
    columns: Columns[T],
    found: Truncated[T],
    *,
    filtered: bool = False,
) -> Grid:
    """Return a table of the rows; with one row it has no filter."""
    return Grid(
        key=key,
        caption=caption,
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(cell(row) for _, cell in columns) for row in found.rows),
        total=found.total,
        filtered=filtered and len(found.rows) > 1,
    )


SHOWN_FILES = 50
SERIES_SHOWN = 5
"""Projects or inviters with their own colour; the others share one."""

_UNREADABLE_COLUMNS: Columns[UnreadableProject] = (
    (Column("Project"), lambda each: text_cell(each.project or each.project_id)),
    (Column("Reason", "prose"), lambda each: text_cell(each.reason, 200)),
    (Column("HTTP", "number"), lambda each: count_cell(each.http_status)),
    (Column("Error code"), lambda each: text_cell(each.error_code)),
    (Column("Id", "code"), lambda each: text_cell(each.project_id, 24)),
)

EntryColumn: TypeAlias = tuple[Column, Callable[[InvitationRow], Cell]]

_USER_COLUMNS: Columns[InvitationRow] = (
    (Column("Invited"), lambda entry: text_cell(entry.username or "(none)")),
    (Column("Project"), lambda entry: text_cell(entry.project or entry.project_id, 40)),
    (Column("Age, days", "number"), lambda entry: age_cell(entry.age_days)),
)
_REASON_COLUMNS: Columns[InvitationRow] = (
    (Column("Role"), lambda entry: text_cell(entry.roles, 40)),
    (Column("Invited by"), lambda entry: text_cell(entry.inviter, 40)),
    (Column("Rule"), lambda entry: text_cell(entry.rule, 30)),
)
_STATE_COLUMN: EntryColumn = (
    Column("State", "state"),
    lambda entry: text_cell(entry.state.replace("_", " ")),
)


def sections(model: ReportModel) -> tuple[Section, ...]:
    """Return the sections that are not empty, in page order."""
    candidates = (
        _outcomes_section(model),
        _comparison_section(model.comparison),
        _bounced_section(model),
        _ages_section(model),
        _days_section(model),
        _coverage_section(model),
        _kept_section(model),
        _runs_section(model),
        _chain_section(model),
    )
    return tuple(section for section in candidates if section is not None)


def _days_section(model: ReportModel) -> Section | None:
    if not model.days.rows:
        return None
    days = model.days.rows
    series = (
        Series("deleted", tuple(day.outcomes.deleted for day in days), 0),
        Series("already gone", tuple(day.outcomes.already_gone for day in days), 2),
        Series("failed or unknown", tuple(_failed_count(day) for day in days), 1),
        Series("skipped", tuple(day.outcomes.skipped for day in days), 5),
    )
    caption = "Outcomes by day"
    columns: Columns[Day] = (
        (Column("Day (UTC)", "date"), lambda day: text_cell(day.day)),
        (Column("Runs", "number"), lambda day: count_cell(day.runs)),
        (Column("Planned", "number"), lambda day: count_cell(day.outcomes.planned)),
        (Column("Deleted", "number"), lambda day: count_cell(day.outcomes.deleted)),
        (Column("Already gone", "number"), lambda day: count_cell(day.outcomes.already_gone)),
        (Column("Failed", "number"), lambda day: count_cell(day.outcomes.failed)),
        (Column("Unknown", "number"), lambda day: count_cell(day.outcomes.unknown)),
        (Column("Skipped", "number"), lambda day: count_cell(day.outcomes.skipped)),
    )
    chart = Chart(caption, tuple(day.day for day in days), series)
    return Section(
        "days",
        "Deletions by day",
        ("A sweep counts for the day, in UTC, on which it started.",),
        (Figure(chart, build_grid("days-table", caption, columns, model.days)),),
    )


def _failed_count(day: Day) -> int:
    return day.outcomes.failed + day.outcomes.unknown + day.outcomes.accepted_during


def _coverage_section(model: ReportModel) -> Section | None:
    coverage = model.coverage
    if not model.current:
        return None
    if coverage.seen is None:
        message = "The newest run did not record how many projects were in scope."
    else:
        read, projects = coverage.seen - coverage.unreadable, pluralize(coverage.seen, "project")
        message = f"{read:,} of {projects} in scope {plural_form(read, 'was', 'were')} read."
    if not coverage.unreadable:
        return Section("coverage", "Coverage", (message,))
    reasons: Columns[tuple[str, int]] = (
        (Column("Reason", "prose"), lambda pair: text_cell(pair[0], 200)),
        (Column("Projects", "number"), lambda pair: count_cell(pair[1])),
    )
    grids = (
        build_grid("reasons", "Reasons, by number of projects", reasons, coverage.reasons),
        build_grid(
            "unreadable",
            "Projects not read",
            _UNREADABLE_COLUMNS,
            coverage.projects,
            filtered=True,
        ),
    )
    unreadable_note = "Nothing is deleted in a project that could not be read."
    return Section("coverage", "Coverage", (message, unreadable_note), (), grids)


def _kept_section(model: ReportModel) -> Section | None:
    if not model.kept_by_reason.total and not model.keep_entries.total:
        return None
    kept = model.totals.kept
    message = (
        f"{pluralize(kept, 'invitation')} {plural_form(kept, 'was', 'were')} kept."
        if kept is not None
        else ""
    )
    reasons: Columns[tuple[str, int]] = (
        (Column("Reason"), lambda pair: text_cell(pair[0].replace("_", " "))),
        (Column("Invitations", "number"), lambda pair: count_cell(pair[1])),
    )
    grids = [build_grid("kept", "Kept invitations by reason", reasons, model.kept_by_reason)]
    if model.keep_entries.total:
        grids.append(_keep_entries_grid(model.keep_entries))
    return Section("kept", "Kept invitations", (message,) if message else (), (), tuple(grids))


def _keep_entries_grid(entries: Truncated[KeepEntry]) -> Grid:
    columns: Columns[KeepEntry] = (
        (Column("Name"), lambda entry: text_cell(entry.name)),
        (Column("Reason", "prose"), lambda entry: text_cell(entry.reason or "(none)", 200)),
        (Column("Until", "date"), lambda entry: text_cell(entry.until or "(none)")),
        (Column("State", "state"), lambda entry: text_cell("ended" if entry.ended else "active")),
        (Column("Kept", "number"), lambda entry: count_cell(entry.matched)),
    )
    return build_grid("keep-entries", "Keep entries of the policy", columns, entries)


def _runs_section(model: ReportModel) -> Section | None:
    if not model.runs.total:
        return None
    columns: Columns[RunRow] = (
        (Column("Started (UTC)", "date"), lambda run: time_cell(run.started)),
        (Column("Mode"), lambda run: text_cell(run.mode)),
        (Column("State", "state"), lambda run: text_cell(run.status.value)),
        (Column("Exit code", "number"), lambda run: count_cell(run.exit_code)),
        (Column("Planned", "number"), lambda run: count_cell(run.outcomes.planned)),
        (Column("Deleted", "number"), lambda run: count_cell(run.outcomes.deleted)),
        (Column("Failed", "number"), lambda run: count_cell(run.outcomes.failed)),
        (Column("Shard"), lambda run: text_cell(run.shard)),
        (Column("Run", "code"), lambda run: text_cell(run.run_id, 40)),
    )
    caption = "Runs in these logs, the newest first"
    grid = build_grid("runs", caption, columns, model.runs, filtered=True)
    return Section("runs", "Runs", (), (), (grid,))


def _chain_section(model: ReportModel) -> Section | None:
    if not model.files:
        return None
    messages = ["The hash chain was not verified for this report."]
    if model.chain_message is not None:
        messages = [to_text(model.chain_message.message)]
        if model.chain_message.last_hash:
            messages.append(f"Hash of the last line: {to_text(model.chain_message.last_hash)}")
    columns: Columns[LogFile] = (
        (Column("File"), lambda log: text_cell(log.name)),
        (Column("Lines", "number"), lambda log: count_cell(log.lines)),
        (Column("Invalid lines", "number"), lambda log: count_cell(log.invalid_lines)),
        (Column("Hash of the last line", "code"), lambda log: text_cell(log.last_hash, 64)),
    )
    files = Truncated(model.files[:SHOWN_FILES], len(model.files))
    return Section(
        "chain",
        "Hash chain",
        tuple(messages),
        (),
        (build_grid("files", "Files read", columns, files),),
    )


def _outcomes_section(model: ReportModel) -> Section | None:
    if not model.invitations.total:
        return None
    sweep = any(run.mode == "sweep" for run in model.current)
    detail: EntryColumn = (
        Column("Error", "prose"),
        lambda entry: text_cell(entry.detail),
    )
    invitation_id: EntryColumn = (
        Column("Id", "code"),
        lambda entry: text_cell(entry.invitation_id, 24),
    )
    columns = (
        *_USER_COLUMNS,
        _STATE_COLUMN,
        *_REASON_COLUMNS,
        *((detail,) if sweep else ()),
        invitation_id,
    )
    caption = "Stale invitations and their outcomes" if sweep else "Invitations to delete"
    heading = "Deletions" if sweep else "Planned deletions"
    order = "Failures first, then the oldest." if sweep else "The oldest first."
    grid = build_grid("invitations", caption, columns, model.invitations, filtered=True)
    return Section("done", heading, (order,), (), (grid,))


def _comparison_section(found: Comparison | None) -> Section | None:
    if found is None:
        return None
    since = f" of {found.since:%Y-%m-%d %H:%M} UTC" if found.since else ""
    messages = [f"Compared with the previous run{since}: {_comparison_counts(found)}."]
    if found.unseen:
        was = plural_form(found.unseen, "was", "were")
        messages.append(
            f"{found.unseen:,} more {was} in projects that could not be read this time;"
            " their state is unknown."
        )
    reason: EntryColumn = (Column("Reason", "state"), _STATE_COLUMN[1])
    lists = (
        ("new", "New", found.new, (*_USER_COLUMNS, *_REASON_COLUMNS)),
        (
            "persisting",
            "Still pending",
            found.persisting,
            (*_USER_COLUMNS, _STATE_COLUMN, *_REASON_COLUMNS),
        ),
        ("gone", "Gone", found.gone, (*_USER_COLUMNS, reason, *_REASON_COLUMNS)),
    )
    grids = tuple(
        build_grid(key, caption, columns, rows, filtered=True)
        for key, caption, rows, columns in lists
        if rows.total
    )
    return Section("since", "Changes since the previous run", tuple(messages), (), grids)


def _comparison_counts(found: Comparison) -> str:
    new, persisting, gone = found.new.total, found.persisting.total, found.gone.total
    return f"{new:,} new, {persisting:,} still pending, {gone:,} gone"


def _bounced_section(model: ReportModel) -> Section | None:
    if not model.bounces.total:
        return None
    times: EntryColumn = (
        Column("Deleted before", "number"),
        lambda entry: count_cell(entry.bounced),
    )
    last: EntryColumn = (
        Column("Last on", "date"),
        lambda entry: text_cell(entry.last_deleted[:10]),
    )
    columns = (*_USER_COLUMNS[:2], times, last, _STATE_COLUMN, *_REASON_COLUMNS)
    message = "An earlier run deleted these invitations, and something re-creates them."
    heading = "Invited again after a deletion"
    grid = build_grid("bounces", heading, columns, model.bounces, filtered=True)
    return Section("bounces", heading, (message,), (), (grid,))


def _ages_section(model: ReportModel) -> Section | None:
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


def title(model: ReportModel) -> str:
    """Return the title, with the day of the newest run if it is known."""
    started = max((run.started for run in model.current if run.started), default=None)
    return f"Invitation sweep, {started:%Y-%m-%d}" if started else "Invitation sweep"


def tiles(model: ReportModel) -> tuple[tuple[str, Cell], ...]:
    """Return the figures of the newest run; unknown ones are left out."""
    outcomes, totals = model.outcomes, model.totals
    sweep = any(run.mode == "sweep" for run in model.current)
    deletions = (
        ("Deleted", outcomes.deleted),
        ("Already gone", outcomes.already_gone),
        ("Failed", outcomes.failed),
        ("Unknown", outcomes.unknown),
        ("Skipped", outcomes.skipped),
        ("Accepted before", outcomes.accepted_before or None),
        ("Accepted during", outcomes.accepted_during or None),
    )
    figures = (
        ("Seen", totals.invitations_seen),
        ("Stale", totals.stale if totals.stale is not None else outcomes.planned),
        *(deletions if sweep else ()),
        ("Kept", totals.kept),
        ("Trimmed", totals.trimmed or None),
        ("Projects not read", model.coverage.unreadable),
        ("No outcome", outcomes.open or None),
    )
    return tuple((name, count_cell(number)) for name, number in figures if number is not None)


def facts(model: ReportModel) -> tuple[tuple[str, Cell], ...]:
    """Return the run's metadata: ids, duration, requests, policy and versions."""
    if not model.current:
        return ()
    first, totals = model.current[0], model.totals
    shards = len(model.current)
    requests = (
        f"{totals.requests:,}, retries {totals.retries or 0:,},"
        f" rate-limited {totals.rate_limited or 0:,}"
        if totals.requests is not None
        else ""
    )
    values = (
        ("Run", text_cell(first.run_id) if shards == 1 else Cell(f"{shards} shards")),
        ("Mode", text_cell(first.mode)),
        ("Started (UTC)", time_cell(first.started)),
        ("Duration", text_cell(_format_duration(totals.duration_s))),
        ("Requests", text_cell(requests, 120)),
        ("Atlas", text_cell(first.base_url)),
        ("Actor", text_cell(first.actor)),
        ("Policy", text_cell(first.policy_path)),
        ("Policy SHA-256", text_cell(first.policy_sha256, 64)),
        ("Version", text_cell(first.tool_version)),
        ("API version ends", text_cell(model.sunset)),
    )
    return tuple((name, cell) for name, cell in values if cell.shown)


def _format_duration(duration_s: float | None) -> str:
    if duration_s is None:
        return ""
    minutes, seconds = divmod(duration_s, 60)
    return f"{int(minutes):,} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"
