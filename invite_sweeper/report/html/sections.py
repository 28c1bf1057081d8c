"""The parts of a report below its verdict: figures, tables and facts, for every format."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from invite_sweeper.audit.events import KeepEntry
from invite_sweeper.audit.verify import Verdict
from invite_sweeper.counts import TILES
from invite_sweeper.endings import Colour, Status
from invite_sweeper.report.columns import (
    LIST,
    Cell,
    Column,
    Kind,
    Line,
    T,
    count_cell,
    invitation_columns,
    text_cell,
    time_cell,
)
from invite_sweeper.report.formatting import describe_keep_reason, format_duration, show_command
from invite_sweeper.report.html.attention import describe_code
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.model import LogFile, Night, Organization, Report, Run
from invite_sweeper.report.rows import Row, display_text
from invite_sweeper.report.run_view import UnreadableProject
from invite_sweeper.text import plural_form, pluralize

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


def title(report: Report) -> str:
    """Return the title, with the day of the command if it is known."""
    if not report.subject:
        return "Invitation sweep"
    first = report.first
    names = {"restore": "Invitation restore", "dry-run": "Invitation sweep, dry run"}
    name = names.get(first.mode, "Invitation sweep")
    return f"{name}, {first.day}" if first.day else name


def target(report: Report) -> tuple[str, ...]:
    """Return what the command was about: its organizations, its mode, start and host."""
    if not report.subject:
        return ()
    first = report.first
    organizations = (
        report.organizations[0].label
        if len(report.organizations) == 1
        else pluralize(len(report.organizations), "organization")
    )
    started = f"{first.started:%Y-%m-%d %H:%M} UTC" if first.started else ""
    return tuple(filter(None, (organizations, first.kind, started, first.base_url)))


def tiles(report: Report) -> tuple[tuple[str, str], ...]:
    """Return what the command did, in numbers; unknown ones are left out."""
    if not report.subject:
        return ()
    figures = _restore_figures(report) if report.is_restore else _sweep_figures(report)
    return tuple((name, f"{number:,}") for name, number in figures if number is not None)


def _sweep_figures(report: Report) -> Iterator[tuple[str, int | None]]:
    counts, known = report.counts, report.plan_made
    yield "Seen", report.reported.invitations_seen if known else None
    yield "Stale", report.reported.stale or counts["planned"] if known else None
    if not report.dry_run:
        yield "Deleted", counts["deleted"]
        yield "Failed", counts["failed"]
        yield "Already gone", counts["already_gone"] or None
        yield "Changed", counts["changed"] or None
        yield "Unknown", counts["unknown"] or None
        yield "Not attempted", counts["skipped"] or None
        yield "Left alone (active)", counts["accepted_before"] or None
        yield "Removed while active", counts["accepted_during"] or None
        yield "No outcome", counts["no_outcome"] or None
    yield "Kept", report.reported.kept if known else None
    for name in reversed(TILES):
        yield TILES[name], getattr(report.reported, name) or None


def _restore_figures(report: Report) -> Iterator[tuple[str, int | None]]:
    counts, first = report.counts, report.first
    yield "Deleted before", first.wanted
    if first.dry_run:
        yield "Would be sent again", first.to_restore if report.status is Status.DONE else None
        return
    yield "Sent again", counts["restored"]
    yield "Active at once", counts["active"] or None
    yield "There already", counts["already_there"] or None
    yield "Failed", counts["failed"]
    yield "Unknown", counts["unknown"] + counts["no_outcome"] or None
    yield "Not sent", counts["skipped"] or None


# The strip of nights.


class NightMark(NamedTuple):
    """One night of the strip.

    Attributes:
        mark: The exit code; `!` without one, `-` for a day without a run.
        day: Day of the month, for the row below the marks.
        text: The same for screen readers and as a tooltip.
        meaning: For the legend.
    """

    mark: str
    colour: Colour
    day: str
    text: str
    meaning: str


def strip(report: Report) -> tuple[NightMark, ...]:
    """Return a mark for each night; none for a single day."""
    return tuple(map(_mark, report.nights)) if len(report.nights) > 1 else ()


def legend(marks: Iterable[NightMark]) -> tuple[tuple[str, str, Colour], ...]:
    """Return each mark of the strip with its meaning and colour."""
    return tuple(sorted({(each.mark, each.meaning, each.colour) for each in marks}))


def _mark(night: Night) -> NightMark:
    day, colour = f"{night.day:%d}", night.status.colour
    if not night.runs:
        return NightMark("-", colour, day, f"{night.day}: no run", "no run in these logs")
    runs = pluralize(night.runs, display_text(night.kind) or "run")
    deleted = f", {night.deleted:,} deleted" if night.kind == "sweep" else ""
    text = f"{night.day}: {night.status}, {describe_code(night.exit_code)}; {runs}{deleted}"
    if night.exit_code is None:
        return NightMark("!", colour, day, text, f"{night.status}, no last line")
    meaning = describe_code(night.exit_code).removeprefix(f"exit code {night.exit_code}: ")
    return NightMark(str(night.exit_code), colour, day, text, meaning)


# Sections.


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
        Column[Row]("Deletable from", lambda row: text_cell(row.deletable_from), "date"),
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
        Column("Approved by", lambda run: text_cell(display_text(run.approver)), "code"),
        Column("Signed, key ID", lambda run: text_cell(run.key_ids), "code"),
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


# The audit log, and facts about the command.


_VERDICT_COLOURS = {
    Verdict.SOUND: Colour.GOOD,
    Verdict.UNFINISHED: Colour.WARNING,
    Verdict.DAMAGED: Colour.BAD,
}


def chain_mark(chain: ChainResult | None) -> tuple[str, Colour]:
    """Return whether the log is sound, in a few words, and the colour."""
    if chain is None:
        return "not verified", Colour.PLAIN
    return chain.verdict.value, _VERDICT_COLOURS[chain.verdict]


def chain_sentences(report: Report) -> tuple[str, ...]:
    """Return the result of the verification, and what signs the log."""
    chain = report.chain
    if chain is None:
        return ("The hash chain was not verified for this report.",)
    last = f"Hash of the last line: {chain.last_hash}." if chain.last_hash else ""
    signed = ""
    if not chain.key and any(run.key_ids for run in (*report.subject, *report.runs)):
        ids = dict.fromkeys(run.key_ids for run in report.subject)
        named = f"signed with the key ID {', '.join(ids)}" if all(ids) else "not signed"
        signed = f"The run is {named}."
    return tuple(filter(None, (chain.message, *chain.warnings, last, chain.signature, signed)))


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


def facts(report: Report) -> tuple[tuple[str, str], ...]:
    """Return the metadata of the command: ids, duration, requests, policy and versions."""
    if not report.subject:
        return ()
    runs, first = report.subject, report.first
    requests, retries, limited = map(sum, zip(*(run.requests for run in runs), strict=True))
    durations = [run.duration_s for run in runs if run.duration_s is not None]
    values = (
        ("Run", first.run_id if len(runs) == 1 else f"{len(runs)} runs of one command"),
        ("Mode", first.kind),
        ("Started (UTC)", f"{first.started:%Y-%m-%d %H:%M:%S}" if first.started else ""),
        ("Duration", format_duration(max(durations)) if durations else ""),
        (
            "Requests",
            f"{requests:,}, retries {retries:,}, rate-limited {limited:,}" if requests else "",
        ),
        ("Atlas", first.base_url),
        ("Actor", ", ".join(dict.fromkeys(run.actor for run in runs if run.actor))),
        ("Approved by", ", ".join(dict.fromkeys(r.approver for r in runs if r.approver))),
        ("Policy", first.policy_path),
        ("Policy SHA-256", first.policy_sha256),
        ("Version", first.tool_version),
        ("API version ends", first.sunset),
    )
    return tuple((name, display_text(value)) for name, value in values if value)


def notes(report: Report) -> tuple[str, ...]:
    """Return caveats for the figures, and the remarks of the runs, one sentence each."""
    return (*_log_notes(report), *dict.fromkeys(_remarks(report)))


def _log_notes(report: Report) -> Iterator[str]:
    for log in report.files:
        if log.invalid_lines:
            invalid = plural_form(log.invalid_lines, "is not an audit line", "are not audit lines")
            lines = pluralize(log.lines, "line")
            yield f"{log.invalid_lines:,} of {lines} of {log.name} {invalid}."
    for run in report.subject:
        if run.reported is not None and run.plan_made and run.planned != run.reported.planned:
            yield (
                f"Run {run.run_id} reports {run.reported.planned:,} planned; its lines show"
                f" {run.planned:,}."
            )


def _remarks(report: Report) -> Iterator[str]:
    for run in report.subject:
        yield from (f"The run noted: {w.message}" for w in run.warnings if w.level == "remark")
