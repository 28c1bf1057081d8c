"""The plan: decide each invitation, count, and choose what is deleted within the limits.

Every entry of a list is decided; `invitations.combine` makes invitations of those of one person,
once the lists of an organization are read. Entries are counted by list, all else by invitation.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import TypeAlias

from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    Event,
    Kept,
    Planned,
    ProjectUnreadable,
    WouldBeAnnounced,
)
from invite_sweeper.audit.events import SourceRetired as SourceRetiredLine
from invite_sweeper.counts import total
from invite_sweeper.models import (
    InvitationList,
    ListRef,
    ListUnreadable,
    ProjectGone,
    Source,
    SourceRetired,
    is_permission_error,
    rfc3339,
)
from invite_sweeper.sweep.command import Command, Organization
from invite_sweeper.sweep.guards import share_limit
from invite_sweeper.sweep.invitations import combine, unread_organization
from invite_sweeper.sweep.selection import Decision, Selector
from invite_sweeper.sweep.steps import Step, keep_unrecordable

ListOutcome: TypeAlias = InvitationList | ListUnreadable | ProjectGone
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
        write: Callable[[Event], None],
        steps: Sequence[Step] = (),
        observe: Observer | None = None,
    ) -> None:
        members = {organization.id: organization.members} if organization.members else {}
        self._organization = organization
        self._command = command
        self._write = write
        self._selector = Selector(command.policy, command.now, members)
        self._steps = steps
        self._observe = observe
        self._gone: set[str] = set()
        self._people: list[Decision] = []

    def add(self, ref: ListRef, found: ListOutcome) -> None:
        """Add one list; a project that no longer exists has no invitations."""
        organization = self._organization
        if isinstance(found, ProjectGone):
            organization.count(projects_gone=int(found.project_id not in self._gone))
            self._gone.add(found.project_id)
        elif isinstance(found, SourceRetired):
            organization.retired[found.source] = found
            self._write(
                SourceRetiredLine(
                    source=found.source,
                    reason=found.reason,
                    http_status=found.http_status,
                    error_code=found.error_code,
                )
            )
        elif isinstance(found, ListUnreadable):
            self.add_unreadable(found)
        else:
            self._add_entries(ref, found)

    def add_unreadable(self, unreadable: ListUnreadable) -> None:
        """Add a list or project that cannot be read: nothing is deleted there."""
        self._organization.unread.append(unreadable)
        refused = is_permission_error(unreadable.http_status, unreadable.error_code)
        self._organization.count(projects_unreadable=1, missing_role=int(refused))
        in_project = not unreadable.source.is_organization_level
        self._write(
            ProjectUnreadable(
                project_id=unreadable.project_id if in_project else None,
                project_name=unreadable.project_name if in_project else None,
                reason=unreadable.reason,
                http_status=unreadable.http_status,
                error_code=unreadable.error_code,
                source=unreadable.source,
                org_id=unreadable.org_id,
            )
        )

    def finish(self) -> None:
        """Decide the invitations of people, once all lists are added."""
        organization = self._organization
        unplaced = organization.scope.unreadable if organization.scope is not None else ()
        lists = (*organization.unread, *organization.retired.values(), *unplaced)
        unread = {unread_organization(each) for each in lists}
        people, self._people = self._people, []
        self._add_invitations(combine(people, all_read=not unread & {organization.id, ""}))

    def _add_entries(self, ref: ListRef, found: InvitationList) -> None:
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
        kept: Counter[str] = Counter()
        stale = announced = 0
        now = self._command.now
        for before in invitations:
            decision = before
            for step in self._steps:
                decision = step(decision)
            if self._observe is not None:
                self._observe(before, decision)
            announced += self._add_announcement(decision)
            one, age_days = decision.invitation, decision.invitation.age_at(now)
            if decision.keep_reason is None:
                stale += 1
                self._organization.stale.append(
                    one.as_event(
                        Planned,
                        age_days=age_days,
                        entries=tuple(each.entry for each in decision.entries),
                        rule=decision.rule,
                        bounced=decision.bounced,
                        new=decision.new,
                        inviter_gone=decision.inviter_gone,
                    )
                )
            else:
                kept[decision.keep_reason] += 1
                if self._command.policy.audit.record == "all":
                    self._write(
                        one.as_event(
                            Kept,
                            age_days=age_days,
                            entries=tuple(each.entry for each in decision.entries),
                            reason=decision.keep_reason,
                        )
                    )
        self._organization.count(
            invitations_seen=stale + kept.total(),
            stale=stale,
            kept=kept.total(),
            kept_by_reason=kept,
            announced=announced,
        )

    def _add_announcement(self, decision: Decision) -> bool:
        """Record what a decision means for announcements; return whether it is a new one."""
        announcement, now = decision.announcement, self._command.now
        if announcement is None:
            return False
        for entry in () if self._command.dry_run else announcement.ended:
            reason = decision.keep_reason or ""
            ended = entry.as_event(AnnouncementEnded, age_days=entry.age_at(now), reason=reason)
            self._write(ended)
        due, rule = announcement.deletable_from, announcement.rule
        if due is None:
            return False
        self._organization.next_due = min(self._organization.next_due or due, due)
        if rule is None:
            return False
        kind: type[Announced | WouldBeAnnounced]
        kind = WouldBeAnnounced if self._command.dry_run else Announced
        self._write(
            decision.invitation.as_event(
                kind,
                age_days=decision.invitation.age_at(now),
                rule=rule,
                deletable_from=rfc3339(due),
            )
        )
        return True


def trim(organizations: Sequence[Organization], command: Command) -> None:
    """Leave the oldest stale invitations over all organizations within the limits.

    The others are counted as `trimmed`. `guards` applies the same limits to the result.
    """
    whole = total(each.counts for each in organizations)
    left = max(0, command.limits.max_deletions - command.recent.total)
    share = share_limit(command, seen=whole.invitations_seen, stale=whole.stale)
    left = left if share is None else min(left, share)
    chosen = set(_oldest(organizations, command, left))
    for organization in organizations:
        stale = organization.stale
        organization.stale = [each for each in stale if each.key in chosen]
        organization.count(trimmed=len(stale) - len(organization.stale))


def _oldest(
    organizations: Iterable[Organization], command: Command, most: int
) -> Iterator[tuple[str, ...]]:
    """Yield the keys of the oldest stale invitations, within the limit of each project.

    The order in which lists were read decides nothing.
    """
    stale = [each for organization in organizations for each in organization.stale]
    stale.sort(key=lambda each: (_sent_at(each), each.invitation_id, each.key))
    of_project = Counter(command.recent.by_project)
    for each in stale:
        if most and of_project[each.scope_id] < command.limits.max_deletions_per_project:
            of_project[each.scope_id] += 1
            most -= 1
            yield each.key


def _sent_at(planned: Planned) -> datetime:
    sent_at = planned.sent_at
    assert sent_at is not None  # noqa: S101 - nothing else can be stale
    return sent_at
