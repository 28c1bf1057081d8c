"""Sections, tables, columns."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

from invite_sweeper.report.html.charts import Chart, Series, stacked
from invite_sweeper.report.html.model import (
    AgeRow,
    AgeTable,
    Blind,
    Comparison,
    Cut,
    Entry,
    Exemption,
    LogFile,
    Night,
    ReportModel,
    Run,
)
from invite_sweeper.sweep.plan import LABELS
from invite_sweeper.text import counted, fitting, shortened, text, visible

# Tables and sections as both renderings take them: every text cut and made visible.


T = TypeVar("T")
Kind: TypeAlias = Literal["text", "prose", "number", "date", "state", "code"]

WIDEST = 60
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


def value(written: str, limit: int = WIDEST) -> Cell:
    """A text out of a log."""
    seen = visible(written)
    cut = shortened(seen, limit)
    return Cell(cut, seen if cut != seen else "")


def count(number: int | None) -> Cell:
    """A number of things; empty where nobody knows."""
    return Cell("", rank="") if number is None else Cell(f"{number:,}", rank=str(number))


def age(days: float | None) -> Cell:
    """An age in days; empty where the date is missing or unreadable."""
    return Cell("") if days is None else Cell(f"{days:,.1f}", rank=repr(days))


def moment(when: datetime | None) -> Cell:
    """An instant to the minute, UTC."""
    return Cell("") if when is None else Cell(f"{when:%Y-%m-%d %H:%M}", rank=when.isoformat())


def grid(
    key: str,
    caption: str,
    columns: Columns[T],
    cut: Cut[T],
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


def closing(model: ReportModel) -> tuple[Section | None, ...]:
    """In the order of the page; None where there is nothing to say."""
    return (_nights(model), _coverage(model), _kept(model), _runs(model), _chain(model))


def _nights(model: ReportModel) -> Section | None:
    if not model.nights.rows:
        return None
    found = model.nights.rows
    named = (
        Series("deleted", tuple(night.tally.deleted for night in found), 0),
        Series("already gone", tuple(night.tally.already_gone for night in found), 2),
        Series("failed or unknown", tuple(_wrong(night) for night in found), 1),
        Series("skipped", tuple(night.tally.skipped for night in found), 5),
    )
    caption = "Deletions by night"
    columns: Columns[Night] = (
        (Column("Day (UTC)", "date"), lambda night: value(night.day)),
        (Column("Runs", "number"), lambda night: count(night.runs)),
        (Column("Planned", "number"), lambda night: count(night.tally.planned)),
        (Column("Deleted", "number"), lambda night: count(night.tally.deleted)),
        (Column("Already gone", "number"), lambda night: count(night.tally.already_gone)),
        (Column("Failed", "number"), lambda night: count(night.tally.failed)),
        (Column("Unknown", "number"), lambda night: count(night.tally.unknown)),
        (Column("Skipped", "number"), lambda night: count(night.tally.skipped)),
    )
    chart = Chart(caption, tuple(night.day for night in found), named)
    return Section(
        "nights",
        "By night",
        ("A night is the day, in UTC, on which a sweep began.",),
        (Figure(chart, grid("nights-table", caption, columns, model.nights)),),
    )


def _wrong(night: Night) -> int:
    return night.tally.failed + night.tally.unknown + night.tally.accepted_during


def _coverage(model: ReportModel) -> Section | None:
    found = model.coverage
    if not model.current:
        return None
    if found.seen is None:
        said = "The newest run does not say how many projects were in scope."
    else:
        read, projects = found.seen - found.unreadable, counted(found.seen, "project")
        said = f"{read:,} of {projects} in scope {fitting(read, 'was', 'were')} read."
    if not found.unreadable:
        return Section("coverage", "Coverage", (said,))
    reasons: Columns[tuple[str, int]] = (
        (Column("Reason", "prose"), lambda pair: value(pair[0], 200)),
        (Column("Projects", "number"), lambda pair: count(pair[1])),
    )
    grids = (
        grid("reasons", "Why projects could not be read", reasons, found.reasons),
        grid("unreadable", "Projects not read", _blind_columns(), found.projects, filtered=True),
    )
    lost = "A project that could not be read loses nothing."
    return Section("coverage", "Coverage", (said, lost), (), grids)


def _blind_columns() -> Columns[Blind]:
    return (
        (Column("Project"), lambda blind: value(blind.project or blind.project_id)),
        (Column("Reason", "prose"), lambda blind: value(blind.reason, 200)),
        (Column("HTTP", "number"), lambda blind: count(blind.http_status)),
        (Column("Error code"), lambda blind: value(blind.error_code)),
        (Column("Id", "code"), lambda blind: value(blind.project_id, 24)),
    )


def _kept(model: ReportModel) -> Section | None:
    if not model.kept_by_reason.total and not model.exemptions.total:
        return None
    kept = model.totals.kept
    said = (
        f"{counted(kept, 'invitation')} {fitting(kept, 'was', 'were')} kept."
        if kept is not None
        else ""
    )
    reasons: Columns[tuple[str, int]] = (
        (Column("Reason"), lambda pair: value(pair[0].replace("_", " "))),
        (Column("Invitations", "number"), lambda pair: count(pair[1])),
    )
    grids = [grid("kept", "Kept, by reason", reasons, model.kept_by_reason)]
    if model.exemptions.total:
        grids.append(_exemptions(model.exemptions))
    return Section("kept", "What was kept", (said,) if said else (), (), tuple(grids))


def _exemptions(found: Cut[Exemption]) -> Grid:
    columns: Columns[Exemption] = (
        (Column("Name"), lambda entry: value(entry.name)),
        (Column("Reason", "prose"), lambda entry: value(entry.reason or "(none given)", 200)),
        (Column("Until", "date"), lambda entry: value(entry.until or "(no end)")),
        (Column("State", "state"), lambda entry: value("ended" if entry.ended else "in force")),
        (Column("Kept", "number"), lambda entry: count(entry.matched)),
    )
    return grid("exemptions", "Exemptions: the policy's keep entries", columns, found)


def _runs(model: ReportModel) -> Section | None:
    if not model.runs.total:
        return None
    columns: Columns[Run] = (
        (Column("Began (UTC)", "date"), lambda run: moment(run.started)),
        (Column("Mode"), lambda run: value(run.mode)),
        (Column("State", "state"), lambda run: value(run.verdict.value)),
        (Column("Exit code", "number"), lambda run: count(run.exit_code)),
        (Column("Planned", "number"), lambda run: count(run.tally.planned)),
        (Column("Deleted", "number"), lambda run: count(run.tally.deleted)),
        (Column("Failed", "number"), lambda run: count(run.tally.failed)),
        (Column("Shard"), lambda run: value(run.shard)),
        (Column("Run", "code"), lambda run: value(run.run_id, 40)),
    )
    made = grid("runs", "Runs in these logs, the newest first", columns, model.runs, filtered=True)
    return Section("runs", "Runs", (), (), (made,))


def _chain(model: ReportModel) -> Section | None:
    if not model.files:
        return None
    said = ["The chain was not checked for this report."]
    if model.chain is not None:
        said = [text(model.chain.message)]
        if model.chain.last_hash:
            said.append(f"Hash of the last line: {text(model.chain.last_hash)}")
    columns: Columns[LogFile] = (
        (Column("File"), lambda log: value(log.name)),
        (Column("Lines", "number"), lambda log: count(log.lines)),
        (Column("No audit lines", "number"), lambda log: count(log.unread)),
        (Column("Hash of the last line", "code"), lambda log: value(log.last_hash, 64)),
    )
    files = Cut(model.files[:SHOWN_FILES], len(model.files))
    return Section(
        "chain", "The chain", tuple(said), (), (grid("files", "Files read", columns, files),)
    )


# The sections of a report about invitations: which tables and charts, in which words.


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


# What stands on top of a report, before any table: title, figures, where they come from.


def title(model: ReportModel) -> str:
    """With the day of the newest run, where it is known."""
    began = max((run.started for run in model.current if run.started), default=None)
    return f"Invitations swept, {began:%Y-%m-%d}" if began else "Invitations swept"


def tiles(model: ReportModel) -> tuple[tuple[str, Cell], ...]:
    """The figures of the newest run; one that nobody knows is left out."""
    tally, totals = model.tally, model.totals
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
    return tuple((name, count(number)) for name, number in found if number is not None)


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
        ("Run", value(first.run_id) if several == 1 else Cell(f"{several} shards")),
        ("Mode", value(first.mode)),
        ("Began (UTC)", moment(first.started)),
        ("Took", value(_took(totals.duration_s))),
        ("Calls", value(calls, 120)),
        ("Atlas", value(first.base_url)),
        ("As", value(first.actor)),
        ("Policy", value(first.policy_path)),
        ("Policy's SHA-256", value(first.policy_sha256, 64)),
        ("Version", value(first.tool_version)),
        ("API ends", value(model.sunset)),
    )
    return tuple((name, cell) for name, cell in found if cell.shown)


def _took(duration_s: float | None) -> str:
    if duration_s is None:
        return ""
    minutes, seconds = divmod(duration_s, 60)
    return f"{int(minutes):,} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"
