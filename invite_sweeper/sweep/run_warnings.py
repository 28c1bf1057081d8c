"""The sentences that a run says to the operator, and how important each is."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import Enum
from typing import Final, NamedTuple

from invite_sweeper.models import Invitation, Source, SourceRetired
from invite_sweeper.policy import Keep
from invite_sweeper.text import pluralize

SUNSET_WARNING_DAYS: Final = 180
"""Runs warn this long before a list ends: time to change a policy and to watch the result."""
SUNSET_URGENT_DAYS: Final = 30

STOPPED_ITSELF: Final = "The sweep stopped itself"
"""How the warning about a stop by the canary or the circuit breaker begins."""
RETIRED_IN_SWEEP: Final = "Atlas retired the list"
"""How the warning about a list begins whose deletions were skipped for it."""


class WarningLevel(Enum):
    """How important a warning is."""

    REMARK = "remark"
    """About the policy or the setup; the run did what it should, and will next time."""
    WARNING = "warning"
    URGENT = "urgent"


class RunWarning(NamedTuple):
    """One sentence for the operator.

    Attributes:
        level: With `-q`, remarks are not shown.
    """

    text: str
    level: WarningLevel = WarningLevel.WARNING


def sunset_warnings(sunsets: Mapping[Source, date], today: date) -> tuple[RunWarning, ...]:
    """Warn about each list that Atlas will stop serving, from 180 days before.

    Args:
        sunsets: The day that Atlas named, by source.
        today: The day of the run.
    """
    return tuple(
        RunWarning(_sunset_text(source, day, today), _sunset_level((day - today).days))
        for source, day in sorted(sunsets.items())
        if (day - today).days <= SUNSET_WARNING_DAYS
    )


def _sunset_level(days_left: int) -> WarningLevel:
    return WarningLevel.URGENT if days_left <= SUNSET_URGENT_DAYS else WarningLevel.REMARK


def retired_warning(retired: SourceRetired) -> RunWarning:
    """Warn that Atlas no longer serves a list, with the source that replaces it."""
    return RunWarning(f"{retired.reason} {retired.source.replacement_hint}", WarningLevel.URGENT)


def removed_member_warning(invitation: Invitation, audit_log: str, run_id: str) -> RunWarning:
    """Warn that a user accepted during the DELETE, with the command that invites them again."""
    who = invitation.username or invitation.id
    where = invitation.project_name or invitation.org_id
    command = ["invite-sweeper", "restore", audit_log, "--run", run_id]
    if invitation.username is not None:
        command += ["--username", invitation.username]
    return RunWarning(
        f"{who} accepted while the deletion was in flight and was removed from {where} as an "
        f"active member. To invite them again: {shlex.join(command)}",
        WarningLevel.URGENT,
    )


def unverified_warning(count: int) -> RunWarning:
    """Warn that the status of removed users could not be checked afterwards."""
    return RunWarning(
        f"{count} of the removed users could not be checked afterwards: they may have accepted "
        "just before. The check requires the role Organization Member."
    )


_MAX_NAMED: Final = 10


def still_there_warnings(invitations: Sequence[Invitation]) -> tuple[RunWarning, ...]:
    """Warn that invitations are still in their list although Atlas confirmed their deletion."""
    if not invitations:
        return ()
    named = ", ".join(
        f"{each.username or each.id} ({each.project_name or each.org_id})"
        for each in invitations[:_MAX_NAMED]
    )
    rest = f" and {len(invitations) - _MAX_NAMED} more" if len(invitations) > _MAX_NAMED else ""
    count = pluralize(len(invitations), "invitation")
    return (
        RunWarning(
            f"Atlas confirmed the deletion of {count} that its lists still contain: {named}{rest}. "
            "Run the command again later; if they stay, ask MongoDB support.",
            WarningLevel.URGENT,
        ),
    )


def unused_keep_warnings(
    keep: Iterable[Keep], kept: Mapping[str, int], today: date
) -> tuple[RunWarning, ...]:
    """Warn about keep entries in force that matched no invitation: they may be misspelt.

    Args:
        kept: Invitations by the reason for which they were kept.
        today: The day of the run.
    """
    return tuple(
        RunWarning(
            f"The keep entry {entry.name!r} matched no invitation: check its spelling.",
            WarningLevel.REMARK,
        )
        for entry in keep
        if entry.is_active(today) and not kept.get(f"keep:{entry.name}")
    )


def _sunset_text(source: Source, day: date, today: date) -> str:
    left = (day - today).days
    if left > 0:
        end = f"Atlas stops serving the list {source} on {day}, in {pluralize(left, 'day')}."
    else:
        end = f"Atlas announced {day} as the last day of the list {source}."
    return f"{end} {source.replacement_hint}"
