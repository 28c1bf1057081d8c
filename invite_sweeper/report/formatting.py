"""Describe what a run did: reasons, outcomes, changes and durations as text."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from invite_sweeper.audit.checkpoint import parse as parse_checkpoint
from invite_sweeper.audit.events import PlanChanges, PolicyDifference, Unseen
from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.errors import ErrorParts
from invite_sweeper.models import Source
from invite_sweeper.program import command
from invite_sweeper.report.run_view import RunView
from invite_sweeper.sweep.selection import KEEP_REASONS
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary
from invite_sweeper.text import (
    escape_unprintable,
    plural_form,
    pluralize,
    shorten_list,
    to_datetime,
)

NOT_ALL_READ: Final = "the lists were not all read"

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_MAX_NAMED: Final = 10


def describe_keep_reason(key: str) -> str:
    """Return the text for a key of `kept_by_reason`."""
    kind, _, entry = key.partition(":")
    if kind == "keep":
        return f"keep entry {escape_unprintable(entry)}"
    return KEEP_REASONS.get(key) or escape_unprintable(key).replace("_", " ")


def show_command(audit_log: str, run_ids: Collection[str], group_id: str, *words: str) -> str:
    """Return the command that lists records of runs.

    Args:
        run_ids: The run, or all runs of one command; none for the whole log.
        group_id: The id that the runs of one command share.
    """
    match list(dict.fromkeys(run_ids)):
        case []:
            runs: tuple[str, ...] = ()
        case [run_id]:
            runs = ("--run", run_id)
        case _:
            runs = ("--group", group_id)
    return command("audit", "show", audit_log, *runs, *words)


def describe_checkpoint(note: str) -> str:
    """Return a run's checkpoint in one line: the number of lines that are signed, and the hash."""
    checkpoint = parse_checkpoint(note)
    return f"{pluralize(checkpoint.lines, 'line')} signed, up to {checkpoint.last_hash}"


def format_duration(seconds: float) -> str:
    """Return a duration in the units that suit its size."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S:,} h {whole % _HOUR_S // _MINUTE_S} min"


def format_countdown(seconds: float) -> str:
    """Return a remaining time as `0:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    if minutes < _MINUTE_S:
        return f"{minutes}:{rest:02}"
    return f"{minutes // _MINUTE_S}:{minutes % _MINUTE_S:02}:{rest:02}"


def describe_trimmed(trimmed: int) -> str:
    """Describe how many stale invitations a trimmed plan leaves."""
    return f"{trimmed:,} more {plural_form(trimmed, 'is', 'are')} left for a later run"


def describe_status(summary: RunSummary) -> str:
    """Return how a run ended; after a stop by the canary or the breaker, the rest is not done."""
    if Reason.CIRCUIT_BREAKER in summary.reasons:
        return Reason.CIRCUIT_BREAKER.label.capitalize()
    return ExitCode(summary.exit_code).status.label


def describe_outcomes(summary: RunSummary | OrganizationSummary) -> str:
    """Return the number of deletions with each outcome."""
    counts = (
        ("deleted", summary.deleted),
        ("already gone", summary.already_gone),
        ("changed", summary.changed),
        ("accepted before", summary.accepted_before),
        ("accepted during", summary.accepted_during),
        ("still there", summary.still_there),
        ("failed", summary.failed),
        ("unknown", summary.unknown),
        ("skipped", summary.skipped),
    )
    parts = ", ".join(f"{count:,} {name}" for name, count in counts if count)
    return parts or "nothing was deleted"


def describe_changes(changes: PlanChanges) -> str:
    """Return how many stale invitations are new, and what became of the earlier ones."""
    since = f"since {_describe_compared(changes)}"
    counts = (
        (changes.still_stale, "still stale"),
        (changes.deleted, "deleted"),
        (changes.kept, "kept now"),
        (changes.gone, "gone"),
        (changes.not_read, "in lists that were not read now"),
        (changes.not_read_then, "stale in lists that were not read then"),
    )
    rest = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    new = f"{changes.new:,} new" if changes.new else "nothing new"
    return f"{new} {since}{'; ' if rest else ''}{rest}"


def describe_policy_change(change: PolicyDifference) -> str:
    """Return how many invitations a policy adds and removes that is not accepted."""
    if change.accepted_sha256 is None:
        return "not accepted: no sweep has accepted a policy in this audit log yet"
    if not change.compared:
        return "changed since the last sweep; the accepted one cannot be compared"
    return (
        f"changed since the last sweep: {change.added:,} more stale, "
        f"{change.removed:,} no longer stale"
    )


def describe_unseen(unseen: Unseen, labels: Mapping[str, str]) -> Iterator[str]:
    """Yield who is invited only in lists that the policy does not read, and what is not known."""
    if unseen.people:
        lists = "; ".join(filter(None, (_describe_list(unseen, each) for each in Source)))
        outlook = ""
        if unseen.after is not None:
            sees = f"{unseen.seen_after:,} of {unseen.everyone:,}"
            outlook = f" After {unseen.after} this policy would see {sees}."
        yield (
            f"{pluralize(unseen.people, 'person', 'people')} "
            f"{plural_form(unseen.people, 'is', 'are')} invited only in lists that the "
            f"policy does not read: {lists}.{outlook}"
        )
    unknown: defaultdict[tuple[str | None, str], list[str]] = defaultdict(list)
    for each in unseen.lists:
        if each.reason is not None:
            unknown[each.org_id, each.reason].append(each.source)
    places: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for (org_id, reason), sources in unknown.items():
        kind = plural_form(len(sources), "list", "lists")
        organizations = [labels.get(org_id, org_id)] if org_id is not None else []
        places[f"{kind} {' and '.join(sources)}", reason] += organizations
    for (named, reason), names in places.items():
        kind = plural_form(len(names), "organization", "organizations")
        where = f" of {kind} {shorten_list(names, _MAX_NAMED)}" if names else ""
        yield f"Who is invited in the {named}{where} is not known. {reason}"


def _describe_list(unseen: Unseen, source: Source) -> str:
    """Return how many people of a kind of list the policy does not see, by status."""
    lists = [each for each in unseen.lists if each.source is source]
    people = sum(each.people or 0 for each in lists)
    counts = (
        (sum(each.pending or 0 for each in lists), "pending"),
        (sum(each.expired or 0 for each in lists), "expired"),
        (sum(each.rejected or 0 for each in lists), "rejected"),
    )
    by_status = ", ".join(f"{count:,} {status}" for count, status in counts if count)
    return f"{source} {people:,} ({by_status})" if people else ""


def _describe_compared(changes: PlanChanges) -> str:
    runs = sorted(changes.runs, key=lambda run: run.now)
    only_planned = all(run.mode == "dry-run" or run.refused for run in runs)
    swept = all(run.mode == "sweep" and not run.refused for run in runs)
    noun = "plan" if only_planned else "sweep" if swept else "run"
    times = sorted({_describe_instant(run.now) for run in runs})
    if len(times) == 1:
        return f"the {noun} of {times[0]}"
    return f"the {noun}s of {times[0]} to {times[-1]}"


def _describe_instant(text: str) -> str:
    found = to_datetime(text)
    return f"{found:%Y-%m-%d %H:%M} UTC" if found is not None else "an unknown time"


def describe_failed_organizations(summary: RunSummary) -> str:
    """Return how many of several organizations an error stopped; empty if it was none or all."""
    failed = sum(each.error is not None for each in summary.organizations)
    if failed in {0, len(summary.organizations)}:
        return ""
    return f"{failed:,} of {len(summary.organizations):,} organizations failed"


def describe_organizations(summary: RunSummary) -> str:
    """Return the only organization with its id, or how many there are and were not read."""
    if len(summary.organizations) == 1:
        return summary.organizations[0].label
    parts = [pluralize(len(summary.organizations), "organization")]
    unread = sum(not each.plan_made for each in summary.organizations)
    if unread not in {0, len(summary.organizations)}:
        parts.append(f"{unread:,} of them not read")
    hidden = sum(not each.visible for each in summary.organizations)
    if hidden:
        parts.append(f"{hidden:,} of them not visible")
    return ", ".join(parts)


def describe_places(projects: int, organization_lists: int) -> str:
    """Return how many projects and organization lists a plan concerns."""
    counts = (projects, "project"), (organization_lists, "organization list")
    return " and ".join(pluralize(count, noun) for count, noun in counts if count)


def describe_dry_run(summary: RunSummary, view: RunView) -> str:
    """Return what a dry run found, and why a sweep would not delete it."""
    where = describe_organizations(summary)
    planned = summary.stale - summary.trimmed
    if planned:
        what = (
            f"{pluralize(planned, 'invitation')} would be deleted in "
            f"{describe_places(view.projects, view.organization_lists)} of {where}"
        )
    elif not summary.plan_made:
        what = f"the lists of {where} were not all read"
    else:
        due = "due" if "notice_pending" in summary.kept_by_reason else "stale"
        what = f"nothing {due} in {pluralize(summary.projects_seen, 'project')} of {where}"
    if summary.error is None:
        return f"{what}; nothing was deleted"
    if ExitCode(summary.exit_code) is ExitCode.REFUSED:
        return f"{what}; a sweep would refuse: {summary.error['message']}"
    return f"{what}; not complete: {summary.error['message']}"


def distinct_errors(summary: RunSummary) -> list[ErrorParts]:
    """Return the errors that stopped runs, each once."""
    found = (summary.error, *(each.error for each in summary.organizations))
    return list({each["message"]: each for each in found if each is not None}.values())


def hints(summary: RunSummary) -> tuple[str, ...]:
    """Return what to do about a command that did not do everything, each sentence once."""
    found = [each["hint"] for each in distinct_errors(summary)]
    return tuple(dict.fromkeys(each for each in (*found, *summary.advice) if each))
