"""The plan: decide each invitation, count, and choose what is deleted within the limits.

Every entry of a list is decided; `invitations.combine` makes invitations of those of one person,
once the lists of an organization are read. Entries are counted by list, all else by invitation.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from invite_sweeper.audit import AuditLog, DeletedWithin
from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    Event,
    Kept,
    Planned,
    ProjectUnreadable,
    WouldBeAnnounced,
    parse_timestamp,
)
from invite_sweeper.audit.events import SourceRetired as SourceRetiredLine
from invite_sweeper.counts import Counts
from invite_sweeper.models import (
    InvitationList,
    ListRef,
    ListUnreadable,
    ProjectGone,
    Source,
    SourceRetired,
    entries_of,
    is_permission_error,
)
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.guards import share_limit
from invite_sweeper.sweep.invitations import combine, unread_organization
from invite_sweeper.sweep.organization import Organization
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.selection import Decision, Selector
from invite_sweeper.sweep.steps import Step, apply_steps, keep_unrecordable

_LINES_PER_SYNC: Final = 1000

ListOutcome: TypeAlias = InvitationList | ListUnreadable | ProjectGone
Observer: TypeAlias = Callable[[Decision, Decision], None]
"""Called with the decision of the policy about each invitation, and that after all steps."""


class Planner:
    """Decides the invitations of one organization, list by list, into its counts and `stale`.

    Memory holds the people of the organization until `finish`, and what is stale.

    Args:
        log: None for a look that writes nothing.
        steps: May keep invitations that the policy alone would delete.
        announces: Whether there are announcements, and they end: in a sweep.
        records_kept: Whether each kept invitation has a line, `audit.record: all`.
        observe: Sees each invitation, with all of its entries.
    """

    def __init__(
        self,
        organization: Organization,
        log: AuditLog | None,
        selector: Selector,
        now: datetime,
        steps: Sequence[Step] = (),
        *,
        announces: bool,
        records_kept: bool,
        observe: Observer | None = None,
    ) -> None:
        self._organization = organization
        self._log = log
        self._selector = selector
        self._now = now
        self._steps = steps
        self._announces = announces
        self._records_kept = records_kept
        self._observe = observe
        self._unsynced = 0
        self._gone: set[str] = set()
        self._people: list[Decision] = []

    async def add(self, ref: ListRef, found: ListOutcome) -> None:
        """Add one list; a project that no longer exists has no invitations."""
        if isinstance(found, ProjectGone):
            if found.project_id not in self._gone:
                self._organization.count(projects_gone=1)
            self._gone.add(found.project_id)
        elif isinstance(found, SourceRetired):
            self._add_retired(found)
        elif isinstance(found, ListUnreadable):
            self.add_unreadable(found)
        else:
            self._add_entries(ref, found)
        if self._log is not None and self._unsynced > _LINES_PER_SYNC:
            self._unsynced = 0
            await self._log.sync()

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
        source = ref.source
        decide = self._selector.decide
        decisions = [keep_unrecordable(decide(each)) for each in found]
        self._organization.entries[ref] = len(decisions)
        self._organization.count(invitations_by_source={source.value: len(decisions)})
        dates = (each.created_at for each in found)
        self._update_oldest([each for each in dates if isinstance(each, datetime)])
        if source is Source.INVITES:
            self._add_invitations(decisions)
        else:
            self._people += decisions

    def _add_invitations(self, invitations: Iterable[Decision]) -> None:
        kept: Counter[str] = Counter()
        stale = announced = 0
        for before in invitations:
            decision = apply_steps(self._steps, before)
            if self._observe is not None:
                self._observe(before, decision)
            announced += self._add_announcement(decision)
            if decision.keep_reason is None:
                stale += 1
                self._organization.stale.append(self._planned(decision))
            else:
                kept[decision.keep_reason] += 1
                if self._records_kept:
                    self._write_kept(decision)
        self._organization.count(
            invitations_seen=stale + kept.total(),
            stale=stale,
            kept=kept.total(),
            kept_by_reason=kept,
            announced=announced,
        )

    def _planned(self, decision: Decision) -> Planned:
        return Planned.from_invitation(
            decision.invitation,
            self._now,
            entries=entries_of(decision.entries),
            rule=decision.rule,
            bounced=decision.bounced,
            new=decision.new,
            inviter_gone=decision.members_read > 0,
        )

    def _write_kept(self, decision: Decision) -> None:
        entries = entries_of(decision.entries)
        one, reason = decision.invitation, decision.keep_reason
        self._write(Kept.from_invitation(one, self._now, entries=entries, reason=reason))

    def _add_announcement(self, decision: Decision) -> bool:
        """Record what a decision means for announcements; return whether it is a new one."""
        announcement = decision.announcement
        if announcement is None:
            return False
        if self._announces:
            for entry in announcement.ended:
                reason = decision.keep_reason or ""
                self._write(AnnouncementEnded.from_invitation(entry, self._now, reason=reason))
        due = announcement.deletable_from
        if due is None:
            return False
        self._organization.next_due = min(self._organization.next_due or due, due)
        if announcement.rule is None:
            return False
        line = Announced if self._announces else WouldBeAnnounced
        one, rule = decision.invitation, announcement.rule
        day = due.isoformat().replace("+00:00", "Z")
        self._write(line.from_invitation(one, self._now, rule=rule, deletable_from=day))
        return True

    def _write(self, event: Event) -> None:
        if self._log is not None:
            self._log.write(event)
            self._unsynced += 1

    def _update_oldest(self, dates: Sequence[datetime]) -> None:
        oldest = self._organization.oldest
        self._organization.oldest = min((oldest, *dates) if oldest else dates, default=None)

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

    def _add_retired(self, retired: SourceRetired) -> None:
        self._organization.retired[retired.source] = retired
        self._write(
            SourceRetiredLine(
                source=retired.source,
                reason=retired.reason,
                http_status=retired.http_status,
                error_code=retired.error_code,
            )
        )


def trim(
    organizations: Sequence[Organization],
    limits: Limits,
    recent: DeletedWithin,
    shard: Shard | None = None,
) -> None:
    """Leave the oldest stale invitations over all organizations within the limits.

    The others are counted as `trimmed`. `guards` applies the same limits to the result.

    Args:
        limits: With shards, this shard's part of them.
        recent: What earlier runs deleted within `limits.period`.
        shard: The shard that these limits are a part for.
    """
    whole = sum((each.counts for each in organizations), start=Counts())
    left = max(0, limits.max_deletions - recent.total)
    share = share_limit(
        limits, seen=whole.invitations_seen, stale=whole.stale, recent=recent.total, shard=shard
    )
    left = left if share is None else min(left, share)
    chosen = set(_oldest(organizations, limits, recent.by_project, left))
    for organization in organizations:
        stale = organization.stale
        organization.stale = [each for each in stale if each.key in chosen]
        organization.count(trimmed=len(stale) - len(organization.stale))


def _oldest(
    organizations: Iterable[Organization], limits: Limits, recent: Mapping[str, int], most: int
) -> Iterator[tuple[str, ...]]:
    """Yield the keys of the oldest stale invitations, within the limit of each project.

    The order in which lists were read decides nothing.
    """
    stale = [each for organization in organizations for each in organization.stale]
    stale.sort(key=lambda each: (_created_at(each), each.invitation_id, each.key))
    of_project = Counter(recent)
    for each in stale:
        if most and of_project[each.scope_id] < limits.max_deletions_per_project:
            of_project[each.scope_id] += 1
            most -= 1
            yield each.key


def _created_at(planned: Planned) -> datetime:
    created_at = parse_timestamp(planned.created_at)
    # Only an invitation with a readable date can be stale.
    assert isinstance(created_at, datetime)  # noqa: S101
    return created_at
