"""Sections, tables, columns."""

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

# Tables and sections as both renderings take them: every text cut and made visible.


T = TypeVar("T")
Kind: TypeAlias = Literal["text", "prose", "number", "date", "state", "code"]

MAX_CELL_LENGTH = 60
"""Characters of a value that a cell shows; the rest is in its title."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table.

    Attributes:
        shown: Cut and made visible.
        full: The whole of what is known of it, where `shown` was cut; else empty.
        rank: What to sort by, where `shown` is a number or a date.
    """

    shown: str
    full: str = ""
    rank: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; its kind says how it is set, sorted and filtered."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        key: Unique on the page; lower-case letters and hyphens.
        total: Rows that there are, shown or not.
        filtered: Whether the page offers a filter for it.
    """

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    filtered: bool = False

    @property
    def more(self) -> int:
        """How many rows are left out."""
        return self.total - len(self.rows)

    @property
    def states(self) -> tuple[str, ...]:
        """Values of the `state` column, each once; empty where there is none to choose from."""
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
    """A part of the page under one heading."""

    key: str
    heading: str
    sentences: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    grids: tuple[Grid, ...] = ()


Columns: TypeAlias = tuple[tuple[Column, Callable[[T], Cell]], ...]
"""A table's columns, each with the function that makes its cell of a row."""


def text_cell(text: str, limit: int = MAX_CELL_LENGTH) -> Cell:
    """A text out of a log."""
    printable = escape_unprintable(text)
    cut = truncate(printable, limit)
    return Cell(cut, printable if cut != printable else "")


def count_cell(number: int | None) -> Cell:
    """A number of things; empty where nobody knows."""
    return Cell("", rank="") if number is None else Cell(f"{number:,}", rank=str(number))


def age_cell(days: float | None) -> Cell:
    """An age in days; empty where the date is missing or unreadable."""
    return Cell("") if days is None else Cell(f"{days:,.1f}", rank=repr(days))


def time_cell(when: datetime | None) -> Cell:
    """An instant to the minute, UTC."""
    return Cell("") if when is None else Cell(f"{when:%Y-%m-%d %H:%M}", rank=when.isoformat())


def build_grid(
    key: str,
    caption: str,
    columns: Columns[T],
    cut: Truncated[T],
    *,
    filtered: bool = False,
) -> Grid:
    """Return the rows as a table; it has a filter if `filtered` and more than one row."""
    return Grid(
        key=key,
        caption=caption,
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(cell(row) for _, cell in columns) for row in cut.rows),
        total=cut.total,
        filtered=filtered and len(cut.rows) > 1,
    )


# The later sections of a report: nights, coverage, what was kept, the runs and the chain.


SHOWN_FILES = 50


def closing_sections(model: ReportModel) -> tuple[Section | None, ...]:
    """In the order of the page; None where there is nothing to say."""
    return (
        _days_section(model),
        _coverage_section(model),
        _kept_section(model),
        _runs_section(model),
        _chain_section(model),
    )


def _days_section(model: ReportModel) -> Section | None:
    if not model.days.rows:
        return None
    found = model.days.rows
    named = (
        Series("deleted", tuple(night.outcomes.deleted for night in found), 0),
        Series("already gone", tuple(night.outcomes.already_gone for night in found), 2),
        Series("failed or unknown", tuple(_failed_count(night) for night in found), 1),
        Series("skipped", tuple(night.outcomes.skipped for night in found), 5),
    )
    caption = "Deletions by night"
    columns: Columns[Day] = (
        (Column("Day (UTC)", "date"), lambda night: text_cell(night.day)),
        (Column("Runs", "number"), lambda night: count_cell(night.runs)),
        (Column("Planned", "number"), lambda night: count_cell(night.outcomes.planned)),
        (Column("Deleted", "number"), lambda night: count_cell(night.outcomes.deleted)),
        (Column("Already gone", "number"), lambda night: count_cell(night.outcomes.already_gone)),
        (Column("Failed", "number"), lambda night: count_cell(night.outcomes.failed)),
        (Column("Unknown", "number"), lambda night: count_cell(night.outcomes.unknown)),
        (Column("Skipped", "number"), lambda night: count_cell(night.outcomes.skipped)),
    )
    chart = Chart(caption, tuple(night.day for night in found), named)
    return Section(
        "nights",
        "By night",
        ("A night is the day, in UTC, on which a sweep began.",),
        (Figure(chart, build_grid("nights-table", caption, columns, model.days)),),
    )


def _failed_count(day: Day) -> int:
    return day.outcomes.failed + day.outcomes.unknown + day.outcomes.accepted_during


def _coverage_section(model: ReportModel) -> Section | None:
    found = model.coverage
    if not model.current:
        return None
    if found.seen is None:
        message = "The newest run does not say how many projects were in scope."
    else:
        read, projects = found.seen - found.unreadable, pluralize(found.seen, "project")
        message = f"{read:,} of {projects} in scope {plural_form(read, 'was', 'were')} read."
    if not found.unreadable:
        return Section("coverage", "Coverage", (message,))
    reasons: Columns[tuple[str, int]] = (
        (Column("Reason", "prose"), lambda pair: text_cell(pair[0], 200)),
        (Column("Projects", "number"), lambda pair: count_cell(pair[1])),
    )
    grids = (
        build_grid("reasons", "Why projects could not be read", reasons, found.reasons),
        build_grid(
            "unreadable", "Projects not read", _unreadable_columns(), found.projects, filtered=True
        ),
    )
    unreadable_note = "A project that could not be read loses nothing."
    return Section("coverage", "Coverage", (message, unreadable_note), (), grids)


def _unreadable_columns() -> Columns[UnreadableProject]:
    return (
        (Column("Project"), lambda blind: text_cell(blind.project or blind.project_id)),
        (Column("Reason", "prose"), lambda blind: text_cell(blind.reason, 200)),
        (Column("HTTP", "number"), lambda blind: count_cell(blind.http_status)),
        (Column("Error code"), lambda blind: text_cell(blind.error_code)),
        (Column("Id", "code"), lambda blind: text_cell(blind.project_id, 24)),
    )


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
    grids = [build_grid("kept", "Kept, by reason", reasons, model.kept_by_reason)]
    if model.keep_entries.total:
        grids.append(_keep_entries_grid(model.keep_entries))
    return Section("kept", "What was kept", (message,) if message else (), (), tuple(grids))


def _keep_entries_grid(found: Truncated[KeepEntry]) -> Grid:
    columns: Columns[KeepEntry] = (
        (Column("Name"), lambda entry: text_cell(entry.name)),
        (Column("Reason", "prose"), lambda entry: text_cell(entry.reason or "(none given)", 200)),
        (Column("Until", "date"), lambda entry: text_cell(entry.until or "(no end)")),
        (Column("State", "state"), lambda entry: text_cell("ended" if entry.ended else "in force")),
        (Column("Kept", "number"), lambda entry: count_cell(entry.matched)),
    )
    return build_grid("exemptions", "Exemptions: the policy's keep entries", columns, found)


def _runs_section(model: ReportModel) -> Section | None:
    if not model.runs.total:
        return None
    columns: Columns[RunRow] = (
        (Column("Began (UTC)", "date"), lambda run: time_cell(run.started)),
        (Column("Mode"), lambda run: text_cell(run.mode)),
        (Column("State", "state"), lambda run: text_cell(run.status.value)),
        (Column("Exit code", "number"), lambda run: count_cell(run.exit_code)),
        (Column("Planned", "number"), lambda run: count_cell(run.outcomes.planned)),
        (Column("Deleted", "number"), lambda run: count_cell(run.outcomes.deleted)),
        (Column("Failed", "number"), lambda run: count_cell(run.outcomes.failed)),
        (Column("Shard"), lambda run: text_cell(run.shard)),
        (Column("Run", "code"), lambda run: text_cell(run.run_id, 40)),
    )
    made = build_grid(
        "runs", "Runs in these logs, the newest first", columns, model.runs, filtered=True
    )
    return Section("runs", "Runs", (), (), (made,))


def _chain_section(model: ReportModel) -> Section | None:
    if not model.files:
        return None
    messages = ["The chain was not checked for this report."]
    if model.chain_message is not None:
        messages = [to_text(model.chain_message.message)]
        if model.chain_message.last_hash:
            messages.append(f"Hash of the last line: {to_text(model.chain_message.last_hash)}")
    columns: Columns[LogFile] = (
        (Column("File"), lambda log: text_cell(log.name)),
        (Column("Lines", "number"), lambda log: count_cell(log.lines)),
        (Column("No audit lines", "number"), lambda log: count_cell(log.invalid_lines)),
        (Column("Hash of the last line", "code"), lambda log: text_cell(log.last_hash, 64)),
    )
    files = Truncated(model.files[:SHOWN_FILES], len(model.files))
    return Section(
        "chain",
        "The chain",
        tuple(messages),
        (),
        (build_grid("files", "Files read", columns, files),),
    )


# The sections of a report about invitations: which tables and charts, in which words.


SERIES_SHOWN = 5
"""Projects or inviters with a colour of their own; the rest shares one."""

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
    """Those that have something to say, in the order of the page."""
    made = (
        _outcomes_section(model),
        _comparison_section(model.comparison),
        _bounced_section(model),
        _ages_section(model),
        *closing_sections(model),
    )
    return tuple(section for section in made if section is not None)


def _outcomes_section(model: ReportModel) -> Section | None:
    if not model.invitations.total:
        return None
    sweep = any(run.mode == "sweep" for run in model.current)
    detail: EntryColumn = (
        Column("What Atlas said", "prose"),
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
    caption = "What became of the stale invitations" if sweep else "What a sweep would delete"
    heading = "What was done" if sweep else "What would be done"
    order = "What went wrong stands first, then the oldest." if sweep else "The oldest first."
    outcomes_grid = build_grid("invitations", caption, columns, model.invitations, filtered=True)
    return Section("done", heading, (order,), (), (outcomes_grid,))


def _comparison_section(found: Comparison | None) -> Section | None:
    if found is None:
        return None
    since = f"{found.since:%Y-%m-%d %H:%M} UTC" if found.since else "the run before"
    messages = [f"Against the run of {since}: {_comparison_counts(found)}."]
    if found.unseen:
        messages.append(
            f"{found.unseen:,} more {plural_form(found.unseen, 'was', 'were')} in projects that could"
            " not be read this time; nobody knows of them."
        )
    where: EntryColumn = (Column("Where it went", "state"), _STATE_COLUMN[1])
    lists = (
        ("new", "New since then", found.new, (*_USER_COLUMNS, *_REASON_COLUMNS)),
        (
            "persisting",
            "Still there",
            found.persisting,
            (*_USER_COLUMNS, _STATE_COLUMN, *_REASON_COLUMNS),
        ),
        ("gone", "Gone since then", found.gone, (*_USER_COLUMNS, where, *_REASON_COLUMNS)),
    )
    grids = tuple(
        build_grid(key, caption, columns, cut, filtered=True)
        for key, caption, cut, columns in lists
        if cut.total
    )
    return Section("since", "Since the run before", tuple(messages), (), grids)


def _comparison_counts(found: Comparison) -> str:
    new, persisting, gone = found.new.total, found.persisting.total, found.gone.total
    return f"{new:,} new, {persisting:,} still there, {gone:,} gone"


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
    message = "Deleted by an earlier run and invited again: something re-creates them."
    made = build_grid(
        "bounces", "Invitations that came back", columns, model.bounces, filtered=True
    )
    return Section("bounces", "Came back", (message,), (), (made,))


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
    named = [Series("stale", model.stale_ages, tone=1)]
    if model.kept_ages is not None:
        named.append(Series("kept", model.kept_ages, tone=0))
    what = "pending" if model.kept_ages is not None else "stale"
    caption = f"Ages of all {what} invitations"
    rows = tuple(AgeRow(series.name, series.values) for series in named)
    table = _age_grid("ages-all", caption, "", rows)
    return Figure(Chart(caption, AGE_CLASS_LABELS, tuple(named)), table)


def _ages_by_figure(one: str, many: str, table: AgeTable) -> Figure:
    caption = f"Ages of stale invitations by {one}"
    named = [AgeRow(row.name or f"(no {one})", row.counts) for row in table.rows.rows]
    top, others = named[:SERIES_SHOWN], named[SERIES_SHOWN:]
    rest = tuple(map(sum, zip(*(row.counts for row in others), table.rest, strict=True)))
    series = stacked([(row.name, row.counts) for row in top], (f"all other {many}", rest))
    if table.rows.more:
        others_left = pluralize(table.rows.more, f"other {one}", f"other {many}")
        named.append(AgeRow(f"({others_left})", table.rest))
    made = _age_grid(f"ages-{one}", caption, one, tuple(named))
    return Figure(Chart(caption, AGE_CLASS_LABELS, series), made)


def _age_grid(key: str, caption: str, of: str, rows: tuple[AgeRow, ...]) -> Grid:
    def in_class(index: int) -> Callable[[AgeRow], Cell]:
        return lambda row: count_cell(row.counts[index])

    classes = (
        (Column(name, "number"), in_class(index)) for index, name in enumerate(AGE_CLASS_LABELS)
    )
    first = (Column(of.capitalize() or "Invitations"), lambda row: text_cell(row.name))
    whole = (Column("All", "number"), lambda row: count_cell(row.total))
    return build_grid(key, caption, (first, whole, *classes), Truncated(rows, len(rows)))


# What stands on top of a report, before any table: title, figures, where they come from.


def title(model: ReportModel) -> str:
    """With the day of the newest run, where it is known."""
    began = max((run.started for run in model.current if run.started), default=None)
    return f"Invitations swept, {began:%Y-%m-%d}" if began else "Invitations swept"


def tiles(model: ReportModel) -> tuple[tuple[str, Cell], ...]:
    """The figures of the newest run; one that nobody knows is left out."""
    tally, totals = model.outcomes, model.totals
    sweep = any(run.mode == "sweep" for run in model.current)
    done = (
        ("Deleted", tally.deleted),
        ("Already gone", tally.already_gone),
        ("Failed", tally.failed),
        ("Unknown", tally.unknown),
        ("Skipped", tally.skipped),
        ("Accepted before", tally.accepted_before or None),
        ("Accepted during", tally.accepted_during or None),
    )
    found = (
        ("Seen", totals.invitations_seen),
        ("Stale", totals.stale if totals.stale is not None else tally.planned),
        *(done if sweep else ()),
        ("Kept", totals.kept),
        ("Trimmed", totals.trimmed or None),
        ("Projects unread", model.coverage.unreadable),
        ("No outcome", tally.open or None),
    )
    return tuple((name, count_cell(number)) for name, number in found if number is not None)


def facts(model: ReportModel) -> tuple[tuple[str, Cell], ...]:
    """Where the figures come from: run, policy, Atlas, the API's last day."""
    if not model.current:
        return ()
    first, totals = model.current[0], model.totals
    several = len(model.current)
    calls = (
        f"requests {totals.requests:,}, retries {totals.retries or 0:,},"
        f" rate-limited {totals.rate_limited or 0:,}"
        if totals.requests is not None
        else ""
    )
    found = (
        ("Run", text_cell(first.run_id) if several == 1 else Cell(f"{several} shards")),
        ("Mode", text_cell(first.mode)),
        ("Began (UTC)", time_cell(first.started)),
        ("Took", text_cell(_format_duration(totals.duration_s))),
        ("Calls", text_cell(calls, 120)),
        ("Atlas", text_cell(first.base_url)),
        ("As", text_cell(first.actor)),
        ("Policy", text_cell(first.policy_path)),
        ("Policy's SHA-256", text_cell(first.policy_sha256, 64)),
        ("Version", text_cell(first.tool_version)),
        ("API ends", text_cell(model.sunset)),
    )
    return tuple((name, cell) for name, cell in found if cell.shown)


def _format_duration(duration_s: float | None) -> str:
    if duration_s is None:
        return ""
    minutes, seconds = divmod(duration_s, 60)
    return f"{int(minutes):,} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"
