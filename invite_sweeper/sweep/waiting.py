"""What is announced and waits after a run.

An announcement that holds waits if the run saw its invitation, or did not read its list: it could
not, or was narrowed to other projects. What was deleted, accepted or kept meanwhile does not wait,
nor does what the policy no longer reads.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from invite_sweeper.audit import HeldAnnouncement, History, RunRecord
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementKey,
    OutcomeLine,
    RunFinished,
    WouldBeAnnounced,
)
from invite_sweeper.json_text import rfc3339
from invite_sweeper.models import Invitation, InvitationKey
from invite_sweeper.outcomes import Outcome
from invite_sweeper.text import casefold_visible

_ENDED: Final = frozenset(
    {
        Outcome.DELETED,
        Outcome.ALREADY_GONE,
        Outcome.ACCEPTED_BEFORE,
    }
)
"""Outcomes after which the invitation is not there."""


class WaitingInvitation(Announced, frozen=True, kw_only=True, omit_defaults=True):
    """An announced invitation that waits for its deletion.

    Attributes:
        announced_at: The instant of the sweep that announced it; None in a dry run that finds
            that a sweep would.
        new: This run announced it, or a sweep in place of this dry run would.
        unread: Its list was not read this time.
    """

    announced_at: str | None
    new: bool
    unread: bool = False


def find_waiting(
    history: History,
    run: RunRecord,
    seen: Collection[AnnouncementKey],
    wait: timedelta,
) -> tuple[WaitingInvitation, ...]:
    """Return what waits after a run, the next to be deleted first.

    Args:
        history: With the run itself, if it has a file.
        run: With its lines.
        seen: The announced invitations that the run saw and did not find fresh or kept.
        wait: Of the policy in force: it counts from the announcement.
    """
    waiting: list[WaitingInvitation] = []
    ended: set[InvitationKey] = set()
    for line in run.lines.values():
        request = run.request_of(line)
        if isinstance(request, OutcomeLine) and request.outcome in _ENDED:
            ended.add(request.key)
        elif isinstance(line.event, WouldBeAnnounced):
            waiting.append(_would_wait(line.event))
    for key, held in history.announcements(run.start.base_url).items():
        if held.line.key in ended:
            continue
        is_new = held.run_id == run.run_id
        is_seen = is_new or key in seen
        if is_seen or _may_be_there(held.line, run):
            waiting.append(_waiting(held, wait, new=is_new, unread=not is_seen))
    return tuple(sorted(waiting, key=_order))


def _order(invitation: WaitingInvitation) -> tuple[str, ...]:
    """Sort the next to be deleted first, and of one instant those of one inviter together."""
    return (
        invitation.deletable_from,
        invitation.inviter or "",
        invitation.username or "",
        invitation.invitation_id,
    )


def _waiting(
    held: HeldAnnouncement, wait: timedelta, *, new: bool, unread: bool
) -> WaitingInvitation:
    return held.line.as_event(
        WaitingInvitation,
        rule=held.line.rule,
        deletable_from=rfc3339(held.due_at(wait)),
        announced_at=rfc3339(held.announced_at),
        new=new,
        unread=unread,
    )


def _would_wait(line: WouldBeAnnounced) -> WaitingInvitation:
    """Return what a sweep would announce, of the file of a dry run."""
    return line.as_event(
        WaitingInvitation,
        rule=line.rule,
        deletable_from=line.deletable_from,
        announced_at=None,
        new=True,
    )


def _may_be_there(invitation: Invitation, run: RunRecord) -> bool:
    """Return whether an invitation that a run did not see may be in its list for all that.

    The run should have read the list, and did not: of an organization that failed, no list counts
    as read to its end.
    """
    if invitation.org_id not in run.start.organizations:
        return False
    if _is_outside(invitation, run.start.projects):
        return True
    end = run.end or RunFinished(exit_code=0)
    for result in end.lists:  # one for each organization that was read and each of its sources
        if result.org_id == invitation.org_id and result.source == invitation.source:
            return invitation.place_id in result.unread
    return invitation.source not in end.sources_retired


def _is_outside(invitation: Invitation, projects: Collection[str]) -> bool:
    """Return whether an invitation is in a project to which a run was not narrowed.

    Args:
        projects: Names or ids to which it was narrowed; none where it was not.
    """
    if not projects or invitation.source.is_organization_level:
        return False
    wanted = {casefold_visible(name.strip()) for name in projects}
    names = {casefold_visible(invitation.project_name or ""), invitation.project_id}
    return wanted.isdisjoint(names)
