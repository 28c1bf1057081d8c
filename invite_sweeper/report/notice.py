"""How a command ended, for people who get a message about it and have no terminal before them.

Texts name organizations, never users; `describe_users` is for channels with `details: true`.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from invite_sweeper.errors import ErrorParts, ExitCode, Reason, RunStatus
from invite_sweeper.models import Outcome
from invite_sweeper.report.formatting import (
    describe_checkpoint,
    describe_organizations,
    describe_outcomes,
    format_duration,
)
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary
from invite_sweeper.text import escape_unprintable, pluralize

MAX_USERS: Final = 10
"""Users that a message with `details: true` names."""
_MAX_ERRORS: Final = 5
_MAX_ORGANIZATIONS: Final = 20
"""Organizations that a text names; a webhook gets all of them."""
_PHRASES: Final = {
    Reason.CLOCK: "clock off",
    Reason.QUARANTINE: "changed policy (quarantine)",
    Reason.PLAN: "saved plan not valid",
    Reason.APPROVAL: "plan not approved",
    Reason.EARLIER_RUNS: "audit log of earlier runs",
    Reason.NO_VISIBLE_PROJECT: "no visible project",
    Reason.NOT_CONFIRMED: "not confirmed",
    Reason.UNREADABLE_PROJECTS: "projects not read",
    Reason.RETIRED_SOURCE: "retired list",
    Reason.CIRCUIT_BREAKER: "stopped itself",
    Reason.CREDENTIALS: "credentials refused",
    Reason.UNREACHABLE: "Atlas not reachable",
    Reason.AUDIT_LOG: "audit log not writable",
    Reason.LOCKED: "another run holds the lock",
}
"""Reasons that are not the name of a policy key, for people."""
_SHOWN_BY_COUNTS: Final = frozenset(
    {
        *(Reason.FAILED_DELETIONS, Reason.UNKNOWN_DELETIONS),
        *(Reason.REMOVED_MEMBER, Reason.STILL_THERE),
    }
)


def describe_end(summary: RunSummary) -> str:
    """Return how a command ended, in one line that makes sense as the preview on a phone."""
    where = escape_unprintable(describe_organizations(summary))
    return f"invite-sweeper: {_verdict(summary)}: {', '.join(_results(summary))} · {where}"


def _verdict(summary: RunSummary) -> str:
    status = ExitCode(summary.exit_code).status
    if summary.mode == "dry-run" and status is RunStatus.REFUSED:
        return "dry run, a sweep would be refused"
    mode = "dry run" if summary.mode == "dry-run" else summary.mode
    return f"{mode} {'stopped early' if status is RunStatus.STOPPED else status}"


def _results(summary: RunSummary) -> Iterator[str]:
    """Yield what was done, or would be, and why not everything."""
    attempted = any(getattr(summary, outcome) for outcome in Outcome)
    planned = summary.stale - summary.trimmed
    if attempted:
        yield describe_outcomes(summary)
    elif summary.mode == "dry-run" and planned:
        yield f"{planned:,} would be deleted"
    elif not summary.reasons:
        yield "nothing stale" if not planned else "nothing was deleted"
    yield from _reason_words(summary)


def _reason_words(counts: RunSummary | OrganizationSummary) -> Iterator[str]:
    """Yield the reasons that the counts do not show."""
    for reason in counts.reasons:
        if reason not in _SHOWN_BY_COUNTS:
            yield _PHRASES.get(reason, reason)


def notice_lines(
    summary: RunSummary, users: Sequence[Mapping[str, object]] | None = None
) -> Iterator[str]:
    """Yield the message about the end of a command: result, cause, what to do, numbers, evidence.

    Args:
        users: The planned invitations to name; None for a channel without `details`.
    """
    yield describe_end(summary)
    for error in _errors(summary)[:_MAX_ERRORS]:
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


def _errors(summary: RunSummary) -> list[ErrorParts]:
    """Return the errors that stopped runs, each once."""
    found = (summary.error, *(each.error for each in summary.organizations))
    return list({each["message"]: each for each in found if each is not None}.values())


def _describe_organization(each: OrganizationSummary) -> str:
    status = ", ".join((ExitCode(each.exit_code).status, *_reason_words(each)))
    return f"{status}; {each.stale:,} stale, {describe_outcomes(each)}"


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
    return ", ".join(parts)


def _evidence(summary: RunSummary) -> Iterator[str]:
    code = f"exit code {summary.exit_code}"
    yield f"Run {summary.run_id}, {code}, {format_duration(summary.duration_s)}"
    if summary.checkpoint is not None:
        yield f"Audit log: {describe_checkpoint(summary.checkpoint)}"
    if summary.audit_last_hash:
        yield f"Last hash: {summary.audit_last_hash}"


_ORDER: Final = {
    outcome: number
    for number, outcome in enumerate(
        ("accepted_during", "failed", "unknown", "skipped", "deleted", "already_gone")
    )
}
"""Outcomes that need attention come first."""


def select_users(invitations: Sequence[Mapping[str, object]]) -> list[Mapping[str, object]]:
    """Return one planned invitation a user: those that need attention, then the oldest."""

    def rank(invitation: Mapping[str, object]) -> tuple[int, float]:
        age = invitation.get("age_days")
        order = _ORDER.get(str(invitation.get("outcome")), len(_ORDER))
        return order, -age if isinstance(age, (int, float)) else 0.0

    by_user: dict[object, Mapping[str, object]] = {}
    for each in sorted(invitations, key=rank):
        by_user.setdefault(each.get("username") or each.get("invitation_id"), each)
    return list(by_user.values())[:MAX_USERS]


def describe_users(invitations: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """Yield one line for each user to name."""
    for each in invitations:
        user = each.get("username") or "(no address)"
        project = each.get("project_name") or each.get("org_id")
        outcome = str(each.get("outcome") or "planned").replace("_", " ")
        yield escape_unprintable(f"- {user} in {project}: {outcome}")


def hints(summary: RunSummary) -> tuple[str, ...]:
    """Return what to do about a command that did not do everything, each sentence once."""
    log = shlex.quote(summary.audit_log)
    found = [each["hint"] or ExitCode(summary.exit_code).hint for each in _errors(summary)]
    found += [_HINTS[reason].format(log=log) for reason in summary.reasons if reason in _HINTS]
    return tuple(dict.fromkeys(each for each in found if each))


_HINTS: Final = {
    Reason.UNREADABLE_PROJECTS: (
        "Run `invite-sweeper doctor`: it names the projects and the role that is missing."
    ),
    Reason.RETIRED_SOURCE: "Replace the retired list under `sources` in the policy.",
    Reason.FAILED_DELETIONS: (
        "The next sweep tries the failed deletions again. To list them: "
        "invite-sweeper audit show {log} --outcome failed"
    ),
    Reason.UNKNOWN_DELETIONS: "The next sweep checks the deletions without a response.",
    Reason.REMOVED_MEMBER: (
        "Invite the removed members again. To list them: "
        "invite-sweeper audit show {log} --outcome accepted_during"
    ),
    Reason.STILL_THERE: (
        "Run the command again later. If the invitations are still listed, ask MongoDB support."
    ),
    Reason.CIRCUIT_BREAKER: (
        "Find out why the deletions failed before you run the sweep again: "
        "invite-sweeper report {log}"
    ),
}
"""For reasons without an error, whose hint is more precise."""
