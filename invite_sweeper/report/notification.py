"""What a notification says about the end of a command.

It names the organizations of the policy, and policy keys and keep entries by their names. Users
are named only in a channel with `details: true`, and at most `MAX_USERS` of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, TypeAlias

from invite_sweeper.audit.events import Announced, InvitationFields
from invite_sweeper.endings import ExitCode, Reason, Status
from invite_sweeper.models import Outcome
from invite_sweeper.report.formatting import (
    NOT_ALL_READ,
    describe_organizations,
    describe_outcomes,
    distinct_errors,
    format_duration,
    hints,
)
from invite_sweeper.report.run_view import PlannedResult
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary
from invite_sweeper.text import escape_unprintable, pluralize

Users: TypeAlias = Sequence[PlannedResult | Announced]
"""Planned invitations with their outcomes, and announced ones."""
MAX_USERS: Final = 10
"""Users that a message with `details: true` names."""
_MAX_ERRORS: Final = 5
_MAX_ORGANIZATIONS: Final = 20
"""Organizations that a text names; a webhook gets all of them."""
_SHOWN_BY_COUNTS: Final = frozenset(
    (Reason.FAILED_DELETIONS, Reason.UNKNOWN_DELETIONS, Reason.REMOVED_MEMBER, Reason.STILL_THERE)
)


def describe_end(summary: RunSummary) -> str:
    """Return how a command ended, in one line that makes sense as the preview on a phone."""
    where = escape_unprintable(describe_organizations(summary))
    return f"invite-sweeper: {_verdict(summary)}: {', '.join(_results(summary))} · {where}"


def _verdict(summary: RunSummary) -> str:
    status = ExitCode(summary.exit_code).status
    if summary.mode == "dry-run" and status is Status.REFUSED:
        return "dry run, a sweep would be refused"
    mode = "dry run" if summary.mode == "dry-run" else summary.mode
    return f"{mode} {status.label.lower()}"


def _results(summary: RunSummary) -> Iterator[str]:
    """Yield what was done, or would be, and why not everything."""
    attempted = any(getattr(summary, outcome) for outcome in Outcome)
    planned = summary.stale - summary.trimmed
    waiting = "notice_pending" in summary.kept_by_reason
    if attempted:
        yield describe_outcomes(summary)
    elif summary.mode == "dry-run" and planned:
        yield f"{planned:,} would be deleted"
    elif not summary.reasons:
        yield "nothing stale" if not planned and not waiting else "nothing was deleted"
    if summary.announced:
        verb = "would be announced" if summary.mode == "dry-run" else "announced"
        yield f"{summary.announced:,} {verb}"
    yield from _reason_words(summary)


def _reason_words(counts: RunSummary | OrganizationSummary) -> Iterator[str]:
    """Yield the reasons that the counts do not show."""
    for reason in counts.reasons:
        if reason not in _SHOWN_BY_COUNTS:
            yield reason.label


def notice_lines(summary: RunSummary, users: Users | None = None) -> Iterator[str]:
    """Yield the message about the end of a command: result, cause, what to do, numbers, evidence.

    Args:
        users: Whom to name; None for a channel without `details`.
    """
    yield describe_end(summary)
    for error in distinct_errors(summary)[:_MAX_ERRORS]:
        yield f"{error['message']} {error['consequence']}".rstrip()
    for hint in hints(summary):
        yield f"What to do: {hint}"
    if len(summary.organizations) > 1:
        for each in summary.organizations[:_MAX_ORGANIZATIONS]:
            yield f"• {escape_unprintable(each.label)}: {_describe_organization(each)}"
        if more := len(summary.organizations) - _MAX_ORGANIZATIONS:
            yield from [f"• and {pluralize(more, 'more organization')}"] if more > 0 else []
    yield _counts_line(summary)
    if users is not None:
        yield from describe_users(users)
    yield from _evidence(summary)


def _describe_organization(each: OrganizationSummary) -> str:
    status = ", ".join((ExitCode(each.exit_code).status.label.lower(), *_reason_words(each)))
    stale = f"{each.stale:,} stale" if each.plan_made else NOT_ALL_READ
    return f"{status}; {stale}, {describe_outcomes(each)}"


def _counts_line(summary: RunSummary) -> str:
    parts = [
        f"{summary.invitations_seen:,} seen",
        f"{summary.stale:,} stale",
        f"{summary.kept:,} kept",
    ]
    if summary.trimmed:
        parts.append(f"{summary.trimmed:,} left for a later run")
    if summary.projects_unreadable:
        parts.append(f"{pluralize(summary.projects_unreadable, 'project')} not read")
    if not all(each.plan_made for each in summary.organizations):
        parts.append(NOT_ALL_READ)
    return ", ".join(parts)


def _evidence(summary: RunSummary) -> Iterator[str]:
    code = f"exit code {summary.exit_code}"
    yield f"Run {summary.run_id}, {code}, {format_duration(summary.duration_s)}"
    if summary.audit_last_hash:
        yield f"Last hash: {summary.audit_last_hash}"


_ORDER: Final = ("accepted_during", "failed", "unknown", "skipped", "deleted", "already_gone")
"""Outcomes that need attention come first."""


def select_users(invitations: Iterable[PlannedResult]) -> list[PlannedResult]:
    """Return one planned invitation a user: those that need attention, then the oldest."""

    def rank(each: PlannedResult) -> tuple[int, float]:
        order = _ORDER.index(each.outcome) if each.outcome in _ORDER else len(_ORDER)
        return order, -(each.age_days or 0.0)

    by_user: dict[str, PlannedResult] = {}
    for each in sorted(invitations, key=rank):
        by_user.setdefault(each.username or each.invitation_id, each)
    return list(by_user.values())[:MAX_USERS]


def describe_users(users: Users) -> Iterator[str]:
    """Yield a line for each user to name, at most `MAX_USERS` planned and as many announced.

    Args:
        users: The announced ones are sorted by inviter.
    """
    for each in [each for each in users if isinstance(each, PlannedResult)][:MAX_USERS]:
        outcome = (each.outcome or "planned").replace("_", " ")
        yield escape_unprintable(f"- {_user_in_project(each)}: {outcome}")
    announced = [each for each in users if isinstance(each, Announced)]
    for inviter, invited in groupby(announced[:MAX_USERS], lambda each: each.inviter):
        yield escape_unprintable(f"Announced, invited by {inviter or '(not known)'}:")
        for one in invited:
            day = one.deletable_from[:10]
            yield escape_unprintable(f"- {_user_in_project(one)}: deletable from {day}")
    if (more := len(announced) - MAX_USERS) > 0:
        yield f"And {pluralize(more, 'more announced invitation')}."


def _user_in_project(invitation: InvitationFields) -> str:
    user = invitation.username or "(no address)"
    return f"{user} in {invitation.project_name or invitation.org_id}"
