"""The first screen of a report below its verdict: figures, run data and the strip of nights."""

from dataclasses import dataclass

from invite_sweeper.report.html.attention import describe_code
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.grids import Cell, count_cell, text_cell, time_cell
from invite_sweeper.report.html.model import Night, ReportModel, ReportStatus
from invite_sweeper.text import pluralize

_TITLES = {"restore": "Invitation restore", "dry-run": "Invitation sweep, dry run"}


def title(model: ReportModel) -> str:
    """Return the title, with the day of the newest run if it is known."""
    name = _TITLES.get(model.mode, "Invitation sweep")
    started = max((run.started for run in model.current if run.started), default=None)
    return f"{name}, {started:%Y-%m-%d}" if started else name


def tiles(model: ReportModel) -> tuple[tuple[str, Cell], ...]:
    """Return what the newest command did, in numbers; unknown ones are left out."""
    if not model.current:
        return ()
    figures = _restore_figures(model) if model.mode == "restore" else _sweep_figures(model)
    return tuple((name, count_cell(number)) for name, number in figures if number is not None)


def _sweep_figures(model: ReportModel) -> tuple[tuple[str, int | None], ...]:
    outcomes, totals = model.outcomes, model.totals
    deletions = (
        ("Deleted", outcomes.deleted),
        ("Already gone", outcomes.already_gone or None),
        ("Failed", outcomes.failed),
        ("Unknown", outcomes.unknown or None),
        ("Not attempted", outcomes.skipped or None),
        ("Left alone (active)", outcomes.accepted_before or None),
        ("Removed while active", outcomes.accepted_during or None),
        ("No outcome", outcomes.open or None),
    )
    stale = totals.stale if totals.stale is not None else outcomes.planned
    return (
        ("Seen", totals.invitations_seen if model.plan_known else None),
        ("Stale", stale if model.plan_known else None),
        *(() if model.dry_run else deletions),
        ("Kept", totals.kept if model.plan_known else None),
        ("Trimmed", totals.trimmed or None),
        ("Projects not read", model.coverage.unreadable or None),
    )


def _restore_figures(model: ReportModel) -> tuple[tuple[str, int | None], ...]:
    outcomes = model.outcomes
    wanted, missing = (
        sum(found) if (found := [n for n in counts if n is not None]) else None
        for counts in (
            [run.wanted for run in model.current],
            [run.to_restore for run in model.current],
        )
    )
    if model.dry_run:
        missing = missing if model.run_status is ReportStatus.CLEAN else None
        return (("Deleted before", wanted), ("Would be sent again", missing))
    return (
        ("Deleted before", wanted),
        ("Sent again", outcomes.restored),
        ("Active at once", outcomes.active or None),
        ("There already", outcomes.already_there or None),
        ("Failed", outcomes.failed),
        ("Unknown", outcomes.unclear or None),
        ("Not sent", outcomes.skipped or None),
    )


def facts(model: ReportModel) -> tuple[tuple[str, Cell], ...]:
    """Return the run's metadata: ids, duration, requests, policy and versions."""
    if not model.current:
        return ()
    first, totals = model.current[0], model.totals
    runs = len(model.current)
    requests = (
        f"{totals.requests:,}, retries {totals.retries or 0:,},"
        f" rate-limited {totals.rate_limited or 0:,}"
        if totals.requests is not None
        else ""
    )
    values = (
        ("Run", text_cell(first.run_id) if runs == 1 else Cell(f"{runs} runs of one command")),
        ("Mode", text_cell(first.kind)),
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


def target(model: ReportModel) -> tuple[Cell, ...]:
    """Return the target of the newest command: its organizations, its mode, start and host."""
    if not model.current:
        return ()
    first = model.current[0]
    if model.several_organizations:
        organizations = pluralize(model.organizations.total, "organization")
    else:
        organizations = model.organizations.rows[0].label
    started = f"{first.started:%Y-%m-%d %H:%M} UTC" if first.started else ""
    values = (organizations, first.kind, started, first.base_url)
    return tuple(text_cell(value, 120) for value in values if value)


@dataclass(frozen=True, slots=True)
class ChainLine:
    """Whether the audit log is sound, and up to where.

    Attributes:
        mark: `sound`, `not sound` or `not verified`.
        status: Decides the colour.
        sentences: The result, the last hash, and the checkpoint that signs the log.
    """

    mark: str
    status: ReportStatus
    sentences: tuple[str, ...]


def chain_line(model: ReportModel) -> ChainLine:
    """Return the line about the audit log's chain."""
    chain = model.chain_message
    if chain is None:
        text = "The hash chain was not verified for this report."
        return ChainLine("not verified", ReportStatus.EMPTY, (text,))
    last = f"Hash of the last line: {chain.last_hash}." if chain.last_hash else ""
    sentences = tuple(filter(None, (chain.message, last, *signature_sentences(model, chain))))
    if chain.sound:
        return ChainLine("sound", ReportStatus.CLEAN, sentences)
    return ChainLine("not sound", ReportStatus.DAMAGED, sentences)


def signature_sentences(model: ReportModel, chain: ChainResult) -> tuple[str, ...]:
    """Return whether the runs and the end of the log are signed, and with which key."""
    if chain.key or not any(run.key_ids for run in (*model.current, *model.runs.rows)):
        return (chain.signature,)
    ids = dict.fromkeys(run.key_ids for run in model.current)
    if not all(ids):
        return (chain.signature, "The newest run is not signed.")
    return (chain.signature, f"The newest run is signed with the key ID {', '.join(ids)}.")


@dataclass(frozen=True, slots=True)
class StripCell:
    """One night of the strip.

    Attributes:
        mark: The exit code; `!` without one, `-` for a day without a run.
        status: Decides the colour.
        day: Day of the month, for the row below the marks.
        text: The same for screen readers and as a tooltip.
    """

    mark: str
    status: ReportStatus
    day: str
    text: str


def strip(model: ReportModel) -> tuple[StripCell, ...]:
    """Return a cell for each night; none for a single day."""
    return tuple(map(_strip_cell, model.nights)) if len(model.nights) > 1 else ()


def strip_legend(model: ReportModel) -> tuple[tuple[str, str, ReportStatus], ...]:
    """Return each mark of the strip with its meaning and status."""
    found = {(each.mark, _meaning(night), each.status) for each, night in _with_nights(model)}
    return tuple(sorted(found))


def _with_nights(model: ReportModel) -> tuple[tuple[StripCell, Night], ...]:
    return tuple(zip(strip(model), model.nights, strict=False))


def _meaning(night: Night) -> str:
    if not night.runs:
        return "no run in these logs"
    if night.exit_code is None:
        return f"{night.status.value}, no last line"
    return describe_code(night.exit_code).removeprefix(f"exit code {night.exit_code}, ")


def _strip_cell(night: Night) -> StripCell:
    if not night.runs:
        mark, text = "-", f"{night.day}: no run"
    else:
        mark = "!" if night.exit_code is None else str(night.exit_code)
        runs = pluralize(night.runs, text_cell(night.kind or "run").shown)
        deleted = f", {night.deleted:,} deleted" if night.kind == "sweep" else ""
        text = (
            f"{night.day}: {night.status.value}, {describe_code(night.exit_code)}; {runs}{deleted}"
        )
    return StripCell(mark, night.status, night.day[-2:], text)
