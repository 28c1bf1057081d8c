"""What stands on top of a report, before any table: title, figures, where they come from."""

from invite_sweeper.report.page.grid import Cell, count, moment, value
from invite_sweeper.report.page.model import ReportModel


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
