"""What a person is told of a run beside its numbers. Pure."""

import shlex
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final, NamedTuple

from invite_sweeper.inventory import Invitation, Retired, Source
from invite_sweeper.plural import counted
from invite_sweeper.policy import Keep

TOLD_FROM_DAYS: Final = 180
"""So long before its end a list is warned of: time to change a policy and watch it."""
URGENT_FROM_DAYS: Final = 30


class Notice(NamedTuple):
    """One sentence for a person.

    Attributes:
        urgent: It belongs among the errors of the log, not among the warnings.
    """

    sentence: str
    urgent: bool = False


def of_sunsets(sunsets: Mapping[Source, date], today: date) -> tuple[Notice, ...]:
    """Tell of each list that Atlas will serve no longer, from 180 days before.

    Args:
        sunsets: The day that Atlas named, by source.
        today: The day of the run.
    """
    return tuple(
        Notice(_of_sunset(source, day, today), urgent=(day - today).days <= URGENT_FROM_DAYS)
        for source, day in sorted(sunsets.items())
        if (day - today).days <= TOLD_FROM_DAYS
    )


def of_retired(retired: Retired) -> Notice:
    """Tell that a source has ended, and what to write in its place."""
    return Notice(f"{retired.reason} {mend_of(retired.source)}", urgent=True)


def of_removed_member(invitation: Invitation, audit_log: str, run_id: str) -> Notice:
    """Tell that somebody accepted while the DELETE was on its way, with the line that mends it."""
    who = invitation.username or invitation.id
    where = invitation.project_name or invitation.org_id
    command = ["invite-sweeper", "restore", audit_log, "--run", run_id]
    if invitation.username is not None:
        command += ["--username", invitation.username]
    return Notice(
        f"{who} accepted while the deletion was on its way, and was removed from {where} as an "
        f"active member. To invite them again: {shlex.join(command)}",
        urgent=True,
    )


def of_unverified(count: int) -> Notice:
    """Tell that removed users could not be looked at afterwards."""
    return Notice(
        f"{count} of the removed users could not be looked at afterwards, so nobody knows "
        "whether one of them had just accepted. The look needs the role Organization Member."
    )


def of_idle(keep: Iterable[Keep], kept: Mapping[str, int], today: date) -> tuple[Notice, ...]:
    """Tell of the keep entries in force that kept nobody: a misspelt one looks like one in order.

    Args:
        kept: Invitations by the reason for which they were kept.
        today: The day of the run.
    """
    return tuple(
        Notice(f"The keep entry {entry.name!r} kept nobody: is it spelt right?")
        for entry in keep
        if entry.holds(today) and not kept.get(f"keep:{entry.name}")
    )


def mend_of(source: Source) -> str:
    """Say what to do about a list that ends."""
    if source.successors:
        return f"Under sources, write {source.successors} instead of {source}."
    return "Upgrade this program: it speaks a version of the list that Atlas drops."


def _of_sunset(source: Source, day: date, today: date) -> str:
    left = (day - today).days
    when = f"on {day}, in {counted(left, 'day')}" if left > 0 else f"since {day}, by its own word"
    return f"Atlas serves the list {source} no longer {when}. {mend_of(source)}"
