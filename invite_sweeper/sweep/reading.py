"""What is read of one organization: decide each invitation, count, and who of it has left.

Every entry of a list is decided; `invitations.combine` makes invitations of those of one person,
once the lists of an organization are read. Entries are counted by list, all else by invitation.

Of a list that was not read, no entry is decided. Where it may show people, the invitations to its
organization are kept (`list_unread`).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

from msgspec import structs

from invite_sweeper.atlas.responses import is_role_missing
from invite_sweeper.audit import events
from invite_sweeper.endings import WarningCode
from invite_sweeper.errors import RunError
from invite_sweeper.json_text import parse_timestamp, rfc3339
from invite_sweeper.models import (
    Invitation,
    Invitations,
    ListRef,
    ListUnreadable,
    MembershipStatus,
    PersonKey,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.outcomes import Counts
from invite_sweeper.sweep.conditions import ActiveMembers, inviters_who_seem_gone
from invite_sweeper.sweep.dates import Dates
from invite_sweeper.sweep.invitations import combine, identities, may_show_people
from invite_sweeper.sweep.plan import (
    AtlasOrganization,
    Command,
    ReadDates,
    Reading,
    ReadLists,
    ReadPeople,
)
from invite_sweeper.sweep.result import Result
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.selection import Announcement, Decision, Selector
from invite_sweeper.sweep.steps import Step
from invite_sweeper.text import plural_form, pluralize

ListOutcome: TypeAlias = Invitations | ListUnreadable | ProjectGone


class ReadingBuilder:
    """Decides the invitations of one organization, list by list; `reading` is what they add up to.

    Memory holds the people of the organization until `finish`, and what is deletable. An entry of a
    project out of scope only keeps: it is counted nowhere, but in the invitation that it keeps.

    Args:
        write: Writes a line of the run.
        steps: May keep invitations that the policy alone would delete.

    Attributes:
        organization: With its name, once Atlas has returned it.
        returned_name: As in `Reading`, like `scope`, `error`, `people` and `dates`.
    """

    def __init__(
        self,
        organization: AtlasOrganization,
        command: Command,
        write: Callable[[events.Event], None],
        steps: Sequence[Step] = (),
    ) -> None:
        self.organization = organization
        self.scope: RunScope | None = None
        self.error: RunError | None = None
        self.people = ReadPeople()
        self.dates = ReadDates()
        self._command = command
        self._write = write
        self._steps = steps
        self._counts = Counts()
        self._kept_by_reason = Counter[str]()
        self._announced = 0
        self._waiting = 0
        self._stale_within_7d = 0
        self._stale_within_30d = 0
        self._deletable: list[events.Planned] = []
        self._lists = ReadLists()
        self._in_7d = command.now + timedelta(days=7)
        self._in_30d = command.now + timedelta(days=30)
        self._gone_projects: set[str] = set()
        # Entries that `finish` combines: of people, and of those in projects out of scope.
        self._of_people: list[Decision] = []
        self._outside: list[Decision] = []
        self._know(None, None)

    def reading(self) -> Reading:
        """Return what was read so far; after an error nothing is deletable."""
        return Reading(
            organization=self.organization,
            returned_name=self.returned_name,
            scope=self.scope,
            error=self.error,
            deletable=() if self.error is not None else tuple(self._deletable),
            counts=self._counts.plus(**self._counts_of_decided()),
            lists=self._lists,
            people=self.people,
            dates=structs.replace(
                self.dates,
                stale_within_7d=self._stale_within_7d,
                stale_within_30d=self._stale_within_30d,
            ),
        )

    def _counts_of_decided(self) -> dict[str, int | Mapping[str, int]]:
        """Return the counts of what was decided so far: entries by list, all else by invitation."""
        entries = Counter[str]()
        for ref, count in self._lists.entries.items():
            entries[ref.source.value] += count
        due = len(self._deletable)  # before the limits
        stale = due + self._waiting
        kept = self._kept_by_reason.total()
        return {
            "invitations_by_source": entries,
            "invitations_seen": stale + kept,
            "stale": stale,
            "due": due,
            "waiting": self._waiting,
            "kept": kept,
            "kept_by_reason": self._kept_by_reason,
            "announced": self._announced,
        }

    def count(self, **counts: int) -> None:
        """Add to the counts."""
        self._counts = self._counts.plus(**counts)

    def add(self, ref: ListRef, answer: ListOutcome) -> None:
        """Add one list; a project that no longer exists has no invitations."""
        is_outside = self.scope is not None and self.scope.is_outside(ref)
        match answer:
            case ProjectGone() if is_outside:
                pass
            case ProjectGone():
                # Two lists of the project may answer so: it is one project.
                self.count(projects_gone=int(answer.project_id not in self._gone_projects))
                self._gone_projects.add(answer.project_id)
            case SourceRetired():
                self._lists.retired[answer.source] = answer
                self._write(answer)
            case ListUnreadable():
                self.add_unreadable(answer)
            case _ if is_outside:  # entries, as in the last case
                self._outside += map(_kept_outside, answer)
            case _:
                self._add_entries(ref, answer)

    def add_unreadable(self, unreadable: ListUnreadable) -> None:
        """Add a list or project that cannot be read: nothing is deleted there."""
        self._lists.unread.append(unreadable)
        self.count(projects_unreadable=1, missing_role=int(is_role_missing(unreadable)))
        self._write(unreadable)

    def finish(self, ended: Collection[Source]) -> None:
        """Decide the invitations of people, once all lists are added.

        Args:
            ended: The lists whose last day has come that Atlas announced.
        """
        unread = self._lists_that_may_show_others(ended)
        # The people of the organization, as its own lists show them.
        shown: set[PersonKey] = set()
        for decision in self._of_people:
            if decision.invitation.source.is_organization_level:
                shown.update(identities(decision.invitation))
        keys_outside = {decision.invitation.key for decision in self._outside}
        invitations = combine((*self._of_people, *self._outside), unread)
        self._of_people.clear()  # before the lines are made: memory holds them once
        self._outside.clear()
        for invitation in invitations:
            # One whose entries are all in projects out of scope is not of this run.
            is_in_scope = any(entry.key not in keys_outside for entry in invitation.all_entries)
            if is_in_scope:
                self._add_invitation(invitation)
        if any(ref.source.is_organization_level for ref in self._lists.entries):
            of_projects = (each for each in self._deletable if each.source is Source.USERS)
            absent = frozenset(
                each.key for each in of_projects if shown.isdisjoint(identities(each))
            )
            self.people = structs.replace(self.people, absent=absent)

    def _lists_that_may_show_others(self, ended: Collection[Source]) -> tuple[str, ...]:
        """Return the lists that were not read and may show people whom no other list shows."""
        unread = [*self._lists.unread, *self._lists.retired.values()]
        lists = [each for each in unread if may_show_people(each)]
        # A list that Atlas retired before the announced day: its people need not be in others yet.
        for source, retired in self._lists.retired.items():
            if not source.stands_for_itself and source not in ended:
                lists.append(retired)
        return tuple(dict.fromkeys(each.list_name for each in lists))

    def know_name(self, name: str) -> None:
        """Decide by the name of the organization that Atlas returned from now on."""
        self.organization = structs.replace(self.organization, name=name)
        self._know(name, self.people.members)

    def know_members(self, members: ActiveMembers) -> None:
        """Decide by these active members from now on."""
        self._know(self.returned_name, members)

    def _know(self, returned_name: str | None, members: ActiveMembers | None) -> None:
        """Decide by what is known of the organization from now on."""
        self.returned_name = returned_name
        self.people = structs.replace(self.people, members=members)
        org_id = self.organization.id
        known_members = {org_id: members} if members is not None else {}
        names = {org_id: returned_name} if returned_name is not None else {}
        policy = self._command.policy
        now = self._command.now
        self._selector = Selector(policy, now, known_members, names)
        self._date_finder = Dates(policy, self._selector, now)

    def _foretell(self, by_policy: Decision) -> None:
        """Count what is not stale now and will be soon."""
        if by_policy.stale:
            return
        instant = self._date_finder.stale_by(by_policy, self._in_30d)
        if instant is not None:
            self._stale_within_30d += 1
            self._stale_within_7d += int(instant <= self._in_7d)

    def _add_entries(self, ref: ListRef, entries: Invitations) -> None:
        """Decide each entry of a list. Those of `invites` are invitations of their own."""
        decisions = [self._selector.decide(entry) for entry in entries]
        self._lists.entries[ref] = len(decisions)
        self._find_oldest(entries)
        if ref.source.stands_for_itself:
            for decision in decisions:
                self._add_invitation(decision)
        else:
            self._of_people += decisions

    def _find_oldest(self, entries: Invitations) -> None:
        """Find the oldest entry that is PENDING and has not expired.

        Atlas never removes one that has: it would be the oldest for good.
        """
        for entry in entries:
            sent_at = entry.sent_at
            oldest = self.dates.oldest
            if sent_at is None or (oldest is not None and sent_at >= oldest):
                continue
            if entry.status != MembershipStatus.PENDING:
                continue
            expires_at = parse_timestamp(entry.expires_at)
            if expires_at is None or expires_at > self._command.now:
                self.dates = structs.replace(self.dates, oldest=sent_at)

    def _add_invitation(self, by_policy: Decision) -> None:
        """Take the steps after the policy's decision, and count and record what comes of it."""
        if by_policy.keep_reason == "reaches_out_of_scope" and self.scope is not None:
            outside = self.scope.outside_names(by_policy.all_entries)
            by_policy = structs.replace(by_policy, outside=outside)
        decision = by_policy
        for step in self._steps:
            decision = step(decision)
        if self._command.observe is not None:
            self._command.observe(by_policy, decision)
        if self._command.dry_run:  # a sweep acts on what is stale now alone
            self._foretell(by_policy)
        if decision.announcement is not None:
            self._add_announcement(decision, decision.announcement)
        now = self._command.now
        reason = decision.keep_reason
        if reason is not None:
            self._kept_by_reason[reason] += 1
            if self._command.policy.audit.record == "all":  # else no line names what is kept
                kept = decision.invitation.recorded(now, decision.entries)
                self._write(events.Kept.of(kept, reason, decision.unread, decision.outside))
            return
        if decision.waits:
            self._waiting += 1
            return
        deletable = decision.invitation.recorded(now, decision.entries)
        planned = deletable.as_event(
            events.Planned,
            rule=decision.rule,
        )
        self._deletable.append(planned)

    def _add_announcement(self, decision: Decision, announcement: Announcement) -> None:
        """Record which announcements a decision ends, or that the invitation is announced."""
        dry_run = self._command.dry_run
        now = self._command.now
        if not dry_run:  # a dry run ends no announcement
            for entry in announcement.ended_entries:
                ended = entry.recorded(now)
                self._write(ended.as_event(events.AnnouncementEnded, reason=decision.keep_reason))
        deletable_from = announcement.deletable_from
        if deletable_from is None:
            return
        if self.dates.next_due is None or deletable_from < self.dates.next_due:
            self.dates = structs.replace(self.dates, next_due=deletable_from)
        if announcement.rule is None:  # an earlier sweep announced it
            return
        kind: type[events.Announced | events.WouldBeAnnounced]
        kind = events.WouldBeAnnounced if dry_run else events.Announced
        announced = decision.invitation.recorded(now)
        due_at = rfc3339(deletable_from)
        self._write(announced.as_event(kind, rule=announcement.rule, deletable_from=due_at))
        self._announced += 1


def _kept_outside(entry: Invitation) -> Decision:
    """Return the decision to keep an entry in a project out of scope: no rule is asked."""
    outside = structs.replace(entry, links_out_of_scope=True)
    return Decision(outside, None, "reaches_out_of_scope")


class MemberCheck:
    """Reads the active members of one organization, where a clause of the policy needs them.

    For `inviter_gone`, an inviter is gone only where two answers agree: the list of active members,
    read to its end, and the answer of Atlas for that name. What is not known keeps the invitation
    (`inviter_unknown`) and refuses nothing else.

    Args:
        result: Gets the warnings about members and inviters that are not known.
        builder: Gets the members, and each inviter who is gone.
    """

    def __init__(self, result: Result, builder: ReadingBuilder) -> None:
        self._result = result
        self._builder = builder
        self._lock = asyncio.Lock()
        self._asked: set[str] = set()
        self._unknown: dict[str, ListUnreadable] = {}

    async def read(self) -> None:
        """Read the list of active members.

        Raises:
            RunError: A response concerned the run, not the list.
        """
        organization = self._builder.organization
        policy = self._result.command.policy
        if not any(clause.inviter_gone for clause in (*policy.rules, *policy.keep)):
            return
        names = await organization.client.reader.active_members(organization.id)
        if isinstance(names, ListUnreadable):
            self._warn(
                f"The active members of the organization {organization.label} are not known: "
                f"{names.reason.rstrip('.')}."
            )
            return
        self._builder.know_members(ActiveMembers(names))

    async def ask_for_inviters(self, invitations: Iterable[Invitation]) -> None:
        """Request by name, once each, the inviters of some invitations who seem gone.

        Raises:
            RunError: A response concerned the run, not the inviter.
        """
        members = self._builder.people.members
        if members is None or not members.names:
            return
        organization = self._builder.organization
        async with self._lock:  # lists are read at the same time, and have the same inviters
            # While it waited, another list may have found some of them gone.
            members = self._builder.people.members or members
            gone: set[str] = set()
            seem_gone = inviters_who_seem_gone(invitations, members)
            for inviter, name in seem_gone.items():
                if inviter in self._asked:
                    continue
                self._asked.add(inviter)
                reader = organization.client.reader
                is_member = await reader.is_active_member(organization.id, name)
                if isinstance(is_member, ListUnreadable):
                    self._unknown[inviter] = is_member
                elif not is_member:
                    gone.add(inviter)
            if gone:
                self._builder.know_members(structs.replace(members, gone=members.gone | gone))

    def report(self) -> None:
        """Warn of inviters of whom it is not known whether they are active members."""
        if not self._unknown:
            return
        count = len(self._unknown)
        are = plural_form(count, "is", "are")
        first_unknown = next(iter(self._unknown.values()))
        why = first_unknown.reason.rstrip(".")
        self._warn(
            f"{pluralize(count, 'inviter')} in the organization {self._builder.organization.label} "
            f"{are} not in the list of active members, and the answer for the name does not say "
            f"whether they left: {why}.",
            "Their invitations are kept.",
        )

    def _warn(
        self, what: str, consequence: str = "Nothing is deleted there by inviter_gone."
    ) -> None:
        self._result.warn_of(WarningCode.MEMBERS, f"{what} {consequence}")
