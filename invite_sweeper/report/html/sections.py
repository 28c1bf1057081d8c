"""The sections of a report and their tables, for every format."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from invite_sweeper.audit.events import KeepEntry
from invite_sweeper.endings import Status
from invite_sweeper.report.columns import (
    Cell,
    Column,
    Kind,
    Line,
    T,
    count_cell,
    text_cell,
    time_cell,
)
from invite_sweeper.report.formatting import describe_keep_reason, show_command
from invite_sweeper.report.html.model import LogFile, Night, Organization, Report, Run
from invite_sweeper.report.html.overview import chain_sentences
from invite_sweeper.report.rows import LIST, Row, display_text, invitation_columns
from invite_sweeper.report.run_view import UnreadableProject
from invite_sweeper.text import plural_form, pluralize, to_datetime

_SHOWN_FILES = 50
_SHOWN_ROWS = 100


class Table(NamedTuple):
    """A table with its cells.

    Attributes:
        key: Unique on the page; lower-case letters and hyphens.
        total: Number of rows, shown or not.
        command: Lists all rows; empty if all are shown.
    """

    key: str
    caption: str
    columns: tuple[tuple[str, Kind], ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    command: str = ""

    @property
    def more(self) -> int:
        """Number of rows left out."""
        return self.total - len(self.rows)

    @property
    def states(self) -> tuple[str, ...]:
        """Distinct values of the `state` column; empty without such a column."""
        kinds = [kind for _, kind in self.columns]
        if "state" not in kinds:
            return ()
        return tuple(sorted({row[kinds.index("state")].text for row in self.rows}))


class Section(NamedTuple):
    """A section of the page."""

    key: str
    heading: str
    sentences: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def _table(
    key: str,
    caption: str,
    columns: Iterable[Column[T]],
    rows: Sequence[T],
    *,
    total: int | None = None,
    command: str = "",
) -> Table:
    columns = tuple(columns)
    return Table(
        key,
        caption,
        tuple((column.heading, column.kind) for column in columns),
        tuple(tuple(column.cell(row) for column in columns) for row in rows),
        len(rows) if total is None else total,
        command,
    )


def sections(report: Report) -> tuple[Section, ...]:
    """Return the sections that are not empty, in page order."""
    return tuple(
        each
        for each in (
            _failed_section(report),
            _invitations_section(report),
            _announced_section(report),
            _kept_section(report),
            _coverage_section(report),
            _nights_section(report),
            _runs_section(report),
            _chain_section(report),
        )
        if each is not None
    )


_DETAIL: Column[Row] = Column("Detail", lambda row: text_cell(row.detail), "prose")
_ID: Column[Row] = Column("Id", lambda row: text_cell(row.invitation_id), "code")


def _failed_section(report: Report) -> Section | None:
    total = sum(report.counts[each] for each in ("failed", "unknown", "accepted_during"))
    if not report.failed:
        return None
    columns = (*invitation_columns(report.failed), _DETAIL, _ID)
    command = _show(report, "--outcome", "failed")
    table = _table(
        "failed",
        "Invitations that need attention",
        columns,
        report.failed,
        total=total,
        command=command,
    )
    return Section("failed", "Not as planned", (), (table,))


def _invitations_section(report: Report) -> Section | None:
    if not report.rows:
        return None
    heading, caption = {
        "restore": ("Restored invitations", "Deleted invitations and what became of them"),
        "dry-run": ("Planned deletions", "Invitations that would be deleted"),
    }.get(report.first.mode, ("Deletions", "Planned invitations and what became of them"))
    columns = (*invitation_columns(report.rows), LIST, _ID)
    command = _show(report, "--event", "outcome" if report.is_restore else "planned")
    table = _table(
        "invitations", caption, columns, report.rows, total=report.rows_total, command=command
    )
    return Section("done", heading, ("Owners first, then the oldest.",), (table,))


def _announced_section(report: Report) -> Section | None:
    pending = report.reported.kept_by_reason.get("notice_pending", 0)
    earlier = pending - report.reported.announced
    sentences: tuple[str, ...] = ()
    if earlier > 0:
        waits = plural_form(earlier, "waits", "wait")
        more = pluralize(earlier, "invitation")
        sentences = (f"{more} announced by earlier sweeps {waits}, too.",)
    if not report.announced:
        return Section("announced", "Announced", sentences) if earlier > 0 else None
    rows = tuple(sorted(report.announced, key=lambda row: row.deletable_from))
    columns = (
        *invitation_columns(rows),
        Column[Row](
            "Deletable from (UTC)", lambda row: time_cell(to_datetime(row.deletable_from)), "date"
        ),
        LIST,
        _ID,
    )
    table = _table(
        "announced",
        "Announced for a later deletion",
        columns,
        rows,
        total=max(report.reported.announced, len(report.announced)),
        command=_show(report, "--event", "announced"),
    )
    return Section("announced", "Announced", sentences, (table,))


def _show(report: Report, *words: str) -> str:
    run_ids = [run.run_id for run in report.subject]
    group_id = report.subject[0].group_id if report.subject else ""
    return show_command(report.audit_log, run_ids, group_id, *words)


def _kept_section(report: Report) -> Section | None:
    kept = report.reported.kept_by_reason
    entries = tuple(entry for run in report.subject for entry in run.keep_entries)
    if not kept and not entries:
        return None
    rows = sorted(kept.items(), key=lambda pair: (-pair[1], pair[0]))
    reasons: tuple[Column[tuple[str, int]], ...] = (
        Column("Kept", lambda pair: count_cell(pair[1]), "number"),
        Column("Reason", lambda pair: text_cell(describe_keep_reason(pair[0])), "prose"),
    )
    tables = [_table("kept", "Kept invitations by reason", reasons, rows[:_SHOWN_ROWS])]
    if entries:
        tables.append(_keep_entries_table(report, entries))
    return Section("kept", "Kept invitations", (), tuple(tables))


def _keep_entries_table(report: Report, entries: Sequence[KeepEntry]) -> Table:
    day = str(report.first.day or "")
    merged = {each.name: each for each in reversed(entries)}
    matched = {name: sum(e.matched for e in entries if e.name == name) for name in merged}

    def state(entry: KeepEntry) -> Cell:
        ended = bool(entry.until and day and entry.until < day)
        return text_cell("ended" if ended else "in force", "warning" if ended else "good")

    columns: tuple[Column[KeepEntry], ...] = (
        Column("Name", lambda entry: text_cell(display_text(entry.name))),
        Column("Reason", lambda entry: text_cell(display_text(entry.reason)), "prose"),
        Column("Until", lambda entry: text_cell(display_text(entry.until)), "date"),
        Column("State", state, "state"),
        Column("Kept", lambda entry: count_cell(matched[entry.name]), "number"),
    )
    rows = tuple(merged[name] for name in sorted(merged))[:_SHOWN_ROWS]
    return _table("keep-entries", "Keep entries of the policy", columns, rows, total=len(merged))


def _coverage_section(report: Report) -> Section | None:
    if not report.subject or report.is_restore:
        return None
    seen, unreadable = report.reported.projects_seen, report.reported.projects_unreadable
    if not report.plan_made:
        message = (
            f"Of {pluralize(seen, 'project')} known to be in scope, it is not known how many were"
            " read: a run stopped first."
        )
    else:
        read, projects = seen - unreadable, pluralize(seen, "project")
        message = f"{read:,} of {projects} in scope {plural_form(read, 'was', 'were')} read."
    if not report.unreadable:
        return Section("coverage", "Coverage", (message,))
    columns: tuple[Column[UnreadableProject], ...] = (
        Column("Project", lambda each: text_cell(each.place.full_name)),
        Column("Reason", lambda each: text_cell(each.reason), "prose"),
    )
    table = _table(
        "unreadable",
        "Projects not read; nothing is deleted there",
        columns,
        report.unreadable,
        total=max(unreadable, len(report.unreadable)),
        command=_show(report, "--event", "project_unreadable"),
    )
    return Section("coverage", "Coverage", (message,), (table,))


def _status_cell(status: Status) -> Cell:
    return Cell((Line(str(status), status.colour.value),))


def _nights_section(report: Report) -> Section | None:
    nights = [night for night in reversed(report.nights) if night.runs]
    if len(nights) <= 1:
        return None
    columns: tuple[Column[Night], ...] = (
        Column("Day (UTC)", lambda night: text_cell(str(night.day)), "date"),
        Column("State", lambda night: _status_cell(night.status), "state"),
        Column("Exit code", lambda night: count_cell(night.exit_code), "number"),
        Column("Runs", lambda night: count_cell(night.runs), "number"),
        Column("Planned", lambda night: count_cell(night.planned), "number"),
        Column("Deleted", lambda night: count_cell(night.deleted), "number"),
        Column("Failed", lambda night: count_cell(night.failed), "number"),
    )
    table = _table("days", "Nights, the newest first", columns, nights)
    return Section("days", "Planned and deleted", (), (table,))


def _runs_section(report: Report) -> Section | None:
    if not report.runs:
        return None

    def organizations(run: Run) -> Cell:
        shown = report.labels(run.organizations[:3])
        more = len(run.organizations) - len(shown)
        lines = [*map(display_text, shown), *([f"and {more:,} more"] if more > 0 else [])]
        return Cell(tuple(map(Line, lines)))

    optional: tuple[Column[Run], ...] = (
        Column("Restored", lambda run: count_cell(run.count("restored") or None), "number"),
    )
    columns: tuple[Column[Run], ...] = (
        Column("Started (UTC)", lambda run: time_cell(run.started), "date"),
        Column("Mode", lambda run: text_cell(display_text(run.kind))),
        Column("State", lambda run: _status_cell(run.status), "state"),
        Column("Exit code", lambda run: count_cell(run.exit_code), "number"),
        Column("Planned", lambda run: count_cell(run.planned), "number"),
        Column("Deleted", lambda run: count_cell(run.count("deleted")), "number"),
        Column("Failed", lambda run: count_cell(run.count("failed")), "number"),
        Column("Organization", organizations),
        Column("Actor", lambda run: text_cell(display_text(run.actor))),
        *(each for each in optional if any(each.cell(run).lines for run in report.runs)),
        Column("Run", lambda run: text_cell(display_text(run.run_id)), "code"),
    )
    caption = "Runs in these logs, the newest first"
    command = show_command(report.audit_log, (), "", "--event", "run_finished")
    table = _table("runs", caption, columns, report.runs, total=report.runs_total, command=command)
    return Section("runs", "Runs", (), (table,))


def organizations_table(report: Report) -> Table | None:
    """Return the table with one row for each organization; None for a single one."""
    if len(report.organizations) <= 1:
        return None
    outcomes = (
        ("restored", "failed")
        if report.is_restore
        else ("planned",)
        if report.dry_run
        else ("planned", "deleted", "failed", "skipped")
    )
    columns: tuple[Column[Organization], ...] = (
        Column("Organization", lambda each: text_cell(display_text(each.label))),
        Column("State", lambda each: _status_cell(each.status), "state"),
        Column("Exit code", lambda each: count_cell(each.exit_code), "number"),
        *(_count_column(outcome) for outcome in outcomes),
        Column("Actor", lambda each: text_cell(display_text(each.actor))),
    )
    return _table("organizations", "Organizations", columns, report.organizations)


def _count_column(outcome: str) -> Column[Organization]:
    return Column(
        outcome.capitalize(), lambda each: count_cell(each.counts.get(outcome, 0)), "number"
    )


def _chain_section(report: Report) -> Section | None:
    if not report.files:
        return None
    columns: tuple[Column[LogFile], ...] = (
        Column("File", lambda log: text_cell(display_text(log.name))),
        Column("Lines", lambda log: count_cell(log.lines), "number"),
        Column("Invalid lines", lambda log: count_cell(log.invalid_lines), "number"),
        Column("Hash of the last line", lambda log: text_cell(log.last_hash), "code"),
    )
    files = report.files[:_SHOWN_FILES]
    table = _table("files", "Files read", columns, files, total=len(report.files))
    return Section("chain", "Audit log", chain_sentences(report), (table,))
