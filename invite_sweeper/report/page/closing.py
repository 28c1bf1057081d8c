"""The later sections of a report: nights, coverage, what was kept, the runs and the chain."""

from invite_sweeper.plural import counted, fitting
from invite_sweeper.report.page.charts import Chart, Series
from invite_sweeper.report.page.counted import Blind, Exemption, LogFile, Night
from invite_sweeper.report.page.grid import (
    Column,
    Columns,
    Figure,
    Grid,
    Section,
    count,
    grid,
    moment,
    value,
)
from invite_sweeper.report.page.model import ReportModel
from invite_sweeper.report.page.rows import Cut, Run
from invite_sweeper.report.values import text

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
