"""The plan: decide each invitation, count, and choose what is deleted within the limits.

Every entry of a list is decided; `invitations.combine` makes invitations of those of one person,
once the lists of an organization are read. Entries are counted by list, all else by invitation.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from invite_sweeper.atlas.responses import is_permission_error
from invite_sweeper.audit import events
from invite_sweeper.counts import total
from invite_sweeper.models import (
    InvitationKey,
    Invitations,
    ListRef,
    ListUnreadable,
    ProjectGone,
    Source,
    SourceRetired,
    rfc3339,
)
from invite_sweeper.sweep.command import Command, Organization
from invite_sweeper.sweep.guards import share_limit
from invite_sweeper.sweep.invitations import combine, may_show_people
from invite_sweeper.sweep.selection import Decision, Selector
from invite_sweeper.sweep.steps import Step, keep_unrecordable

ListOutcome: TypeAlias = Invitations | ListUnreadable | ProjectGone
Observer: TypeAlias = Callable[[Decision, Decision], None]
"""Called with the decision of the policy about each invitation, and that after all steps."""


class Planner:
    """Decides the invitations of one organization, list by list, into its counts and `stale`.

    Memory holds the people of the organization until `finish`, and what is stale.

    Args:
        write: Writes a line of the run.
        steps: May keep invitations that the policy alone would delete.
        observe: Sees each invitation, with all of its entries.
    """

    def __init__(
        self,
        organization: Organization,
        command: Command,
        write: Callable[[events.Event], None],
        steps: Sequence[Step] = (),
        observe: Observer | None = None,
    ) -> None:
        members = {organization.id: organization.members} if organization.members else {}
        self._organization = organization
        self._command = command
        self._write = write
        names = {organization.id: organization.name} if organization.name else {}
        self._selector = Selector(command.policy, command.now, members, names)
        self._steps = steps
        self._observe = observe
        self._gone: set[str] = set()
        self._people: list[Decision] = []

    def add(self, ref: ListRef, found: ListOutcome) -> None:
        """Add one list; a project that no longer exists has no invitations."""
        organization = self._organization
        match found:
            case ProjectGone():
                organization.count(projects_gone=int(found.project_id not in self._gone))
                self._gone.add(found.project_id)
            case SourceRetired():
                organization.retired[found.source] = found
                self._write(found)
            case ListUnreadable():
                self.add_unreadable(found)
            case _:
                self._add_entries(ref, found)

    def add_unreadable(self, unreadable: ListUnreadable) -> None:
        """Add a list or project that cannot be read: nothing is deleted there."""
        self._organization.unread.append(unreadable)
        refused = is_permission_error(unreadable.http_status, unreadable.error_code)
        self._organization.count(projects_unreadable=1, missing_role=int(refused))
        self._write(unreadable)

    def finish(self) -> None:
        """Decide the invitations of people, once all lists are added."""
        organization = self._organization
        unread = (*organization.unread, *organization.retired.values())
        people, self._people = self._people, []
        self._add_invitations(combine(people, all_read=not any(map(may_show_people, unread))))

    def _add_entries(self, ref: ListRef, found: Invitations) -> None:
        """Decide each entry of a list. Those of `invites` are invitations of their own."""
        organization, decide = self._organization, self._selector.decide
        decisions = [keep_unrecordable(decide(each)) for each in found]
        organization.entries[ref] = len(decisions)
        organization.count(invitations_by_source={ref.source.value: len(decisions)})
        dates = [sent_at for each in found if (sent_at := each.sent_at) is not None]
        known = [] if organization.oldest is None else [organization.oldest]
        organization.oldest = min((*known, *dates), default=None)
        if ref.source is Source.INVITES:
            self._add_invitations(decisions)
        else:
            self._people += decisions

    def _add_invitations(self, invitations: Iterable[Decision]) -> None:
        organization, kept, announced = self._organization, Counter[str](), 0
        known = len(organization.stale)
        for before in invitations:
            decision = before
            for step in self._steps:
                decision = step(decision)
            if self._observe is not None:
                self._observe(before, decision)
            announced += self._add_announcement(decision)
            one = decision.invitation.recorded(self._command.now, decision.entries)
            if (reason := decision.keep_reason) is None:
                planned = one.as_event(
                    events.Planned,
                    rule=decision.rule,
                    bounced=decision.bounced,
                    new=decision.new,
                    inviter_gone=decision.inviter_gone,
                )
                organization.stale.append(planned)
            else:
                kept[reason] += 1
                if self._command.policy.audit.record == "all":
                    self._write(events.Kept.of(one, reason))
        stale = len(organization.stale) - known
        organization.count(
            invitations_seen=stale + kept.total(),
            stale=stale,
            kept=kept.total(),
            kept_by_reason=kept,
            announced=announced,
        )

    def _add_announcement(self, decision: Decision) -> bool:
        """Record what a decision means for announcements; return whether it is a new one."""
        announcement, dry_run = decision.announcement, self._command.dry_run
        now = self._command.now
        if announcement is None:
            return False
        for entry in () if dry_run else announcement.ended:
            reason = decision.keep_reason
            self._write(entry.recorded(now).as_event(events.AnnouncementEnded, reason=reason))
        if (due := announcement.deletable_from) is not None:
            self._organization.next_due = min(self._organization.next_due or due, due)
            if announcement.rule is not None:
                kind: type[events.Announced | events.WouldBeAnnounced]
                kind = events.WouldBeAnnounced if dry_run else events.Announced
                one, due_at = decision.invitation.recorded(now), rfc3339(due)
                self._write(one.as_event(kind, rule=announcement.rule, deletable_from=due_at))
        return announcement.rule is not None


def trim(organizations: Sequence[Organization], command: Command) -> None:
    """Leave the oldest stale invitations over all organizations within the limits.

    The others are counted as `trimmed`. `guards` applies the same limits to the result. The order
    in which lists were read decides nothing.
    """
    whole = total(each.counts for each in organizations)
    most = max(0, command.limits.max_deletions - command.recent.total())
    share = share_limit(command, seen=whole.invitations_seen, stale=whole.stale)
    most = most if share is None else min(most, share)
    stale = [each for organization in organizations for each in organization.stale]
    stale.sort(key=lambda each: (each.sent_at or command.now, each.invitation_id, each.key))
    chosen: set[InvitationKey] = set()
    of_project = command.recent.copy()
    for each in stale:
        place = each.scope_id
        if len(chosen) < most and of_project[place] < command.limits.max_deletions_per_project:
            of_project[place] += 1
            chosen.add(each.key)
    for organization in organizations:
        left = [each for each in organization.stale if each.key in chosen]
        organization.count(trimmed=len(organization.stale) - len(left))
        organization.stale = left
