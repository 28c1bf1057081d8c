"""The lines of a story: what a run saw and did, a label and a text each.

Every number has a name, and where a line can mislead, such as where lists were not read or a limit
left some for later, the line names that.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from invite_sweeper.audit.record import RunRecord
from invite_sweeper.audit.totals import Forecast, RunFinished
from invite_sweeper.endings import Reason, Style, WarningCode
from invite_sweeper.models import Source
from invite_sweeper.report.document import Fact
from invite_sweeper.report.wording import describe_instant
from invite_sweeper.sweep.selection import describe_keep_reason
from invite_sweeper.text import (
    describe_duration,
    escape_unprintable,
    pluralize,
    shorten_list,
)

_LONG_S: Final = 120
_MAX_RUNS: Final = 3


def run_lines(run: RunRecord, end: RunFinished) -> Iterator[Fact]:
    """Yield what a run saw and did.

    Args:
        end: The last line of the run.
    """
    if run.mode != "restore":
        yield from _decision_lines(end)
    if end.recovered:
        deletions = pluralize(end.recovered, "deletion")
        text = f"{deletions} that an earlier run left without an outcome or an answer"
        yield Fact("Recovered", text)
    if end.sources_retired:
        lists = ", ".join(map(escape_unprintable, end.sources_retired))
        style: Style = "bad" if Reason.RETIRED_SOURCE in end.reasons else "plain"
        yield Fact("Retired", f"Atlas no longer serves these lists: {lists}", style)
    if len(end.organizations) == 1:  # several have them in their own lines
        seats = end.organizations[0].seats
        if seats is not None:
            yield Fact("People", str(seats))
    yield from which_run(run)
    yield Fact("Time", _time(end))


def which_run(run: RunRecord) -> Iterator[Fact]:
    """Yield which run it was, and why or for whom the operator started it."""
    yield run_line(run)
    if run.start.reason is not None:
        yield Fact("Reason", escape_unprintable(run.start.reason))


def run_line(run: RunRecord) -> Fact:
    """Return the number, id and instant of a run, and the plan or the runs that it is based on."""
    start = run.start
    parts = [f"{run.file.number}"] if run.file.number else []
    parts += [run.run_id, describe_instant(start.now)]
    if start.plan_sha256 is not None:
        parts.append(f"of the plan {start.plan_sha256}")
    if start.restored_runs:
        parts.append(f"undoes {shorten_list(start.restored_runs, _MAX_RUNS)}")
    return Fact("Run", ", ".join(parts))


def _decision_lines(end: RunFinished) -> Iterator[Fact]:
    """Yield what a sweep or dry run read, and what the policy decides about it."""
    yield Fact("Seen", _seen(end))
    yield Fact("Stale", describe_stale(end))
    if end.forecast is not None:
        yield Fact("Forecast", _forecast(end.forecast))
    if end.kept:
        yield Fact("Kept", _kept(end))
    for warning in end.warnings:
        if warning.code == WarningCode.NOTICE:
            yield Fact("Notice", escape_unprintable(warning.message))


def _seen(end: RunFinished) -> str:
    """Return how many invitations a run saw and where, and what it could not read."""
    invitations = pluralize(end.invitations_seen, "invitation")
    projects = pluralize(end.projects_seen, "project")
    if not end.plan_made and not end.projects_seen and not end.invitations_seen:
        return "nothing: no list was read"
    if not end.plan_made:
        return f"{invitations}; the lists of {projects} were not all read"
    where = projects
    sources = map(Source, end.invitations_by_source)
    if any(source.is_organization_level for source in sources):
        read = sum(organization.plan_made for organization in end.organizations)
        where += f" and {pluralize(read, 'organization')}"
    parts = [f"{invitations} in {where}"]
    if end.projects_unreadable:
        parts.append(f"{pluralize(end.projects_unreadable, 'list')} not read")
    if end.projects_gone:
        parts.append(f"{pluralize(end.projects_gone, 'project')} deleted since it was listed")
    return ", ".join(parts)


NO_PLAN: Final = "the lists were not all read"
"""Why a run has no plan."""


def describe_stale(end: RunFinished) -> str:
    """Return how many are stale, and where limits leave some for later, how many go when.

    Both numbers have a name, and so has the limit that binds: "186: 10 now, 176 later
    (max_deletions: about 2 nights; earlier runs used 90 of 100)".
    """
    if not end.stale:
        return "none" if end.plan_made else f"unknown: {NO_PLAN}"
    if not end.plan_made:
        return f"{end.stale:,}; {NO_PLAN}"
    if not end.trimmed:
        return f"{end.stale:,}"
    why = "a limit never lets all of them go"
    if end.nights_left is not None:
        why = f"about {pluralize(end.nights_left, 'night')}"
    if end.limited_by is not None:
        why = f"{escape_unprintable(end.limited_by)}: {why}"
    if end.limit_used:
        why += f"; earlier runs used {end.limit_used:,} of {end.limit_most:,}"
    return f"{end.stale:,}: {end.planned:,} now, {end.trimmed:,} later ({why})"


def _forecast(forecast: Forecast) -> str:
    """Return what becomes stale soon, by the policy's rules."""
    week = forecast.stale_within_7d
    month = forecast.stale_within_30d
    return f"{week:,} more become stale within 7 days, {month:,} within 30"


def _kept(end: RunFinished) -> str:
    """Return how many are kept and why, the most frequent reason first."""
    counts = end.kept_by_reason
    reasons = sorted(counts)
    # Sorting is stable: reasons that are equally frequent stay in alphabetical order.
    reasons.sort(key=lambda reason: counts[reason], reverse=True)
    parts = [f"{counts[reason]:,} {describe_keep_reason(reason)}" for reason in reasons]
    return f"{end.kept:,}: {', '.join(parts)}"


def _time(end: RunFinished) -> str:
    """Return how long a run took, and how many requests it sent."""
    took = f"{end.duration_s:.1f} s"
    if end.duration_s >= _LONG_S:
        took = describe_duration(timedelta(seconds=end.duration_s))
    parts = [took, pluralize(end.requests, "request")]
    if end.retries:
        parts.append(pluralize(end.retries, "retry", "retries"))
    if end.rate_limited:
        parts.append(f"{end.rate_limited:,} rate-limited")
    return ", ".join(parts)
