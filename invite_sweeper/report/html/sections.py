"""Build a report's sections and their tables."""

from collections.abc import Callable

from invite_sweeper.report.html.ages import ages_section
from invite_sweeper.report.html.charts import Chart, Series
from invite_sweeper.report.html.figures import signature_sentences
from invite_sweeper.report.html.grids import (
    Cell,
    Column,
    Columns,
    EntryColumn,
    Figure,
    Grid,
    Section,
    age_cell,
    build_grid,
    count_cell,
    text_cell,
    time_cell,
)
from invite_sweeper.report.html.model import (
    Comparison,
    Day,
    InvitationRow,
    KeepEntry,
    LogFile,
    OrganizationRow,
    ReportModel,
    RunRow,
    Truncated,
    UnreadableProject,
)
from invite_sweeper.text import plural_form, pluralize, to_text

SHOWN_FILES = 50
_UNREADABLE_COLUMNS: Columns[UnreadableProject] = (
    (Column("Project"), lambda each: text_cell(each.project or each.project_id)),
    (Column("Reason", "prose"), lambda each: text_cell(each.reason, 200)),
    (Column("HTTP", "number"), lambda each: count_cell(each.http_status)),
    (Column("Error code"), lambda each: text_cell(each.error_code)),
    (Column("Id", "code"), lambda each: text_cell(each.project_id, 24)),
)

_USER_COLUMNS: Columns[InvitationRow] = (
    (Column("Invited"), lambda entry: text_cell(entry.username or "(none)")),
    (Column("Project"), lambda entry: text_cell(entry.project or entry.project_id, 40)),
    (Column("Age, days", "number"), lambda entry: age_cell(entry.age_days)),
)
_RULE_COLUMN: EntryColumn = (Column("Rule"), lambda entry: text_cell(entry.rule, 30))
_REASON_COLUMNS: Columns[InvitationRow] = (
    _RULE_COLUMN,
    (Column("Role"), lambda entry: text_cell(entry.roles, 40)),
    (Column("Invited by"), lambda entry: text_cell(entry.inviter, 40)),
)
_STATE_COLUMN: EntryColumn = (
    Column("State", "state"),
    lambda entry: text_cell(entry.state.replace("_", " ")),
)
_ID_COLUMN: EntryColumn = (Column("Id", "code"), lambda entry: text_cell(entry.invitation_id, 24))


def _organization_columns(model: ReportModel) -> Columns[InvitationRow]:
    """Return the column with the organization if there are several."""
    if not model.several_organizations:
        return ()
    names = {each.id: each.name or each.id for each in model.organizations.rows}
    return (
        (
            Column("Organization"),
            lambda entry: text_cell(names.get(entry.organization, entry.organization), 40),
        ),
    )


def sections(model: ReportModel) -> tuple[Section, ...]:
    """Return the sections that are not empty, in page order."""
    candidates = (
        _outcomes_section(model),
        _comparison_section(model.comparison),
        _bounced_section(model),
        ages_section(model),
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
    if model.mode == "restore":
        return None
    if coverage.seen is None:
        message = "The newest run did not record how many projects were in scope."
    elif not model.plan_known:
        message = (
            f"Of {pluralize(coverage.seen, 'project')} known to be in scope, it is not known how"
            " many were read: a run stopped first."
        )
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
        (Column("State", "state"), lambda entry: text_cell("ended" if entry.ended else "in force")),
        (Column("Kept", "number"), lambda entry: count_cell(entry.matched)),
    )
    return build_grid("keep-entries", "Keep entries of the policy", columns, entries)


def _runs_section(model: ReportModel) -> Section | None:
    if not model.runs.total:
        return None
    signed: tuple[Column, Callable[[RunRow], Cell]] = (
        Column("Signed, key ID", "code"),
        lambda run: text_cell(run.key_ids or "no"),
    )
    columns: Columns[RunRow] = (
        (Column("Started (UTC)", "date"), lambda run: time_cell(run.started)),
        (Column("Mode"), lambda run: text_cell(run.kind)),
        (Column("State", "state"), lambda run: text_cell(run.status.value)),
        (Column("Exit code", "number"), lambda run: count_cell(run.exit_code)),
        (Column("Planned", "number"), lambda run: count_cell(run.outcomes.planned)),
        (Column("Deleted", "number"), lambda run: count_cell(run.outcomes.deleted)),
        (Column("Failed", "number"), lambda run: count_cell(run.outcomes.failed)),
        (Column("Restored", "number"), lambda run: count_cell(run.outcomes.restored or None)),
        (Column("Shard"), lambda run: text_cell(run.shard)),
        *((signed,) if any(run.key_ids for run in model.runs.rows) else ()),
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
        chain = model.chain_message
        messages = [to_text(chain.message), *map(to_text, chain.warnings)]
        if model.chain_message.last_hash:
            messages.append(f"Hash of the last line: {to_text(model.chain_message.last_hash)}")
        messages += filter(None, signature_sentences(model, chain))
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


_INVITATION_TEXTS = {
    "sweep": (
        "Deletions",
        "Stale invitations and their outcomes",
        "Failures first, then owners, then the oldest.",
    ),
    "dry-run": ("Planned deletions", "Invitations to delete", "Owners first, then the oldest."),
    "restore": (
        "Restored invitations",
        "Deleted invitations and what became of them",
        "Failures first, then owners, then the oldest.",
    ),
}


def _outcomes_section(model: ReportModel) -> Section | None:
    if not model.invitations.total:
        return None
    heading, caption, order = _INVITATION_TEXTS.get(model.mode, _INVITATION_TEXTS["sweep"])
    detail: EntryColumn = (Column("Error", "prose"), lambda entry: text_cell(entry.detail))
    columns = (
        _STATE_COLUMN,
        *_USER_COLUMNS,
        *_organization_columns(model),
        *_REASON_COLUMNS,
        *((detail,) if any(entry.detail for entry in model.invitations.rows) else ()),
        _ID_COLUMN,
    )
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
    if found.unseen_then:
        are = plural_form(found.unseen_then, "is", "are")
        messages.append(
            f"{found.unseen_then:,} more {are} in projects that could not be read then;"
            f" whether they {are} new is unknown."
        )
    reason: EntryColumn = (Column("Reason", "state"), _STATE_COLUMN[1])
    lists = (
        ("new", "New", found.new, (*_USER_COLUMNS, *_REASON_COLUMNS, _ID_COLUMN)),
        (
            "persisting",
            "Still stale",
            found.persisting,
            (_STATE_COLUMN, *_USER_COLUMNS, *_REASON_COLUMNS, _ID_COLUMN),
        ),
        (
            "gone",
            "Deleted or gone",
            found.gone,
            (*_USER_COLUMNS, reason, _RULE_COLUMN, _ID_COLUMN),
        ),
    )
    grids = tuple(
        build_grid(key, caption, columns, rows, filtered=True)
        for key, caption, rows, columns in lists
        if rows.total
    )
    return Section("since", "Changes since the previous run", tuple(messages), (), grids)


def _comparison_counts(found: Comparison) -> str:
    gone = found.gone.total - found.deleted
    deleted = f"{found.deleted:,} deleted, " if found.deleted else ""
    return (
        f"{found.new.total:,} new, {found.persisting.total:,} still stale, {deleted}{gone:,} gone"
    )


def _bounced_section(model: ReportModel) -> Section | None:
    if not model.bounces.total or model.mode == "restore":
        return None
    times: EntryColumn = (
        Column("Deleted before", "number"),
        lambda entry: count_cell(entry.bounced),
    )
    last: EntryColumn = (
        Column("Last on", "date"),
        lambda entry: text_cell(entry.last_deleted[:10]),
    )
    columns = (_STATE_COLUMN, *_USER_COLUMNS[:2], times, last, *_REASON_COLUMNS, _ID_COLUMN)
    message = "An earlier run deleted these invitations, and something re-creates them."
    heading = "Invited again after a deletion"
    caption = "Invitations of people whose invitation was deleted before"
    grid = build_grid("bounces", caption, columns, model.bounces, filtered=True)
    return Section("bounces", heading, (message,), (), (grid,))


def organizations_grid(model: ReportModel) -> Grid | None:
    """Return the table with one row for each organization; None for a single one."""
    if not model.several_organizations:
        return None
    name = (Column("Organization"), lambda row: text_cell(row.name))
    columns: Columns[OrganizationRow] = (
        (Column("State", "state"), lambda row: text_cell(row.status.value)),
        (Column("Id", "code"), lambda row: text_cell(row.id, 24)),
        *((name,) if any(row.name for row in model.organizations.rows) else ()),
        (Column("Exit code", "number"), lambda row: count_cell(row.exit_code)),
        *_organization_counts(model),
    )
    return build_grid("organizations", "Organizations", columns, model.organizations)


def _organization_counts(model: ReportModel) -> Columns[OrganizationRow]:
    if model.mode == "restore":
        return (
            (Column("Restored", "number"), lambda row: count_cell(row.outcomes.restored)),
            (Column("Failed", "number"), lambda row: count_cell(row.outcomes.failed)),
        )
    planned: Columns[OrganizationRow] = (
        (Column("Planned", "number"), lambda row: count_cell(row.outcomes.planned)),
    )
    if model.dry_run:
        return planned
    return (
        *planned,
        (Column("Deleted", "number"), lambda row: count_cell(row.outcomes.deleted)),
        (Column("Failed", "number"), lambda row: count_cell(row.outcomes.failed)),
        (Column("Skipped", "number"), lambda row: count_cell(row.outcomes.skipped)),
    )
