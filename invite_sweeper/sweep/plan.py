"""Builds the plan: decides each invitation, counts, and writes `planned` lines to the audit log.

With `over_limit: trim`, the plans of one command contain only the oldest stale invitations
within the limits, over all organizations.
"""

import heapq
from bisect import bisect_left, insort
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from invite_sweeper.audit import AuditLog, PlanSpan, PlanSpanBuilder, events
from invite_sweeper.audit.events import Announced, AnnouncementEnded, Planned
from invite_sweeper.counts import Counts, total
from invite_sweeper.models import (
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    SourceRetired,
    Timestamp,
    is_permission_error,
)
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.decision_steps import Step, apply_steps
from invite_sweeper.sweep.discovery import ListOutcome
from invite_sweeper.sweep.guards import share_limit
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.selection import Decision, Selector
from invite_sweeper.text import plural_form, pluralize

_Entry: TypeAlias = tuple[float, int, Decision]
"""When the invitation was created, a number that breaks ties, and the decision."""


class OldestFirst:
    """Selects the oldest stale invitations within the limits (`over_limit: trim`).

    Both limits hold after each addition: an invitation over the limit of its project replaces the
    youngest one of this project, one over `max_deletions` the youngest of all. So what is left is
    the oldest selection that both limits allow, in any order of arrival. Memory is bounded by
    `max_deletions`. `guards` applies the same limits to the result.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._selected: list[_Entry] = []
        self._of_project: defaultdict[str, list[_Entry]] = defaultdict(list)
        self._added = 0

    def add(self, stale: Sequence[Decision]) -> None:
        """Add the stale invitations of one list."""
        per_project = self._limits.max_deletions_per_project
        for decision in heapq.nsmallest(per_project, stale, key=_age_order):
            self._add(decision)

    def add_all(self, other: "OldestFirst") -> None:
        """Add what another plan of the same command has selected so far."""
        for decision in other.oldest():
            self._add(decision)

    def _add(self, decision: Decision) -> None:
        self._added += 1
        entry = (_created_at_s(decision), self._added, decision)
        project = self._of_project[decision.invitation.project_id]
        insort(project, entry)
        insort(self._selected, entry)
        if len(project) > self._limits.max_deletions_per_project:
            self._remove(project[-1])
        elif len(self._selected) > self._limits.max_deletions:
            self._remove(self._selected[-1])

    def _remove(self, entry: _Entry) -> None:
        project_id = entry[2].invitation.project_id
        project = self._of_project[project_id]
        for entries in (project, self._selected):
            del entries[bisect_left(entries, entry)]
        if not project:
            del self._of_project[project_id]

    def oldest(self) -> list[Decision]:
        """Return what is selected so far, the oldest first."""
        return [decision for *_, decision in self._selected]

    def select(
        self, *, seen: int, stale: int, shard: Shard | None = None
    ) -> Iterable[tuple[Decision, ...]]:
        """Return the selected decisions by list, the list with the oldest one first.

        No list is empty.

        Args:
            seen: The invitations in scope.
            stale: The stale ones before trimming.
            shard: The shard that the limits are a part for.
        """
        max_deletions = share_limit(self._limits, seen=seen, stale=stale, shard=shard)
        by_list: dict[tuple[str, str], list[Decision]] = {}
        for decision in self.oldest()[:max_deletions]:
            key = (decision.invitation.source, decision.invitation.project_id)
            by_list.setdefault(key, []).append(decision)
        return map(tuple, by_list.values())


def _created_at_s(decision: Decision) -> float:
    created_at = decision.invitation.created_at
    # Only an invitation with a readable date can be stale.
    assert isinstance(created_at, datetime)  # noqa: S101
    return created_at.timestamp()


def _age_order(decision: Decision) -> tuple[float, str]:
    return _created_at_s(decision), decision.invitation.id


_LINES_PER_SYNC = 1000
_NO_ORGANIZATIONS: Mapping[str, str] = MappingProxyType({})


class PlanBuilder:
    """Builds the plan of a run and writes it to the audit log, list by list.

    Memory holds counts and one span per list with stale invitations; with `over_limit: trim`
    also the oldest stale ones, up to `max_deletions`.

    Args:
        steps: May keep invitations that the policy alone would delete.
        organization_of: The organization's id by project id, for lists that cannot be read.
        on_list: Called with each list and the decisions about its invitations.
        announces: Whether announcements are written, and end: in a sweep.

    Attributes:
        trim: The oldest stale invitations so far; None without `over_limit: trim`.
        counts: What was counted by organization id, in "" where the organization is unknown.
        gone_ids: Projects that were gone when their lists were read.
        unreadable: Projects with a list that could not be read, or organizations, by id.
        retired: Sources that Atlas no longer serves.
        spans: The positions of the planned lines of each list in the log.
        oldest: When the oldest invitation in scope was sent; None where none has a date.
        next_due: When the first of the announced invitations may be deleted; None without one.
    """

    def __init__(
        self,
        log: AuditLog,
        selector: Selector,
        limits: Limits,
        now: datetime,
        steps: Sequence[Step] = (),
        organization_of: Mapping[str, str] = _NO_ORGANIZATIONS,
        on_list: Callable[[ListOutcome, Sequence[Decision]], None] = lambda *_: None,
        *,
        announces: bool = False,
    ) -> None:
        self._log = log
        self._announces = announces
        self._selector = selector
        self._now = now
        self._steps = steps
        self._organization_of = organization_of
        self._on_list = on_list
        self._unsynced = 0
        self.trim = OldestFirst(limits) if limits.over_limit == "trim" else None
        self.counts: defaultdict[str, Counts] = defaultdict(Counts)
        self.gone_ids: set[str] = set()
        self.unreadable: dict[str, Project] = {}
        self.retired: list[SourceRetired] = []
        self._deletions_by_list: Counter[ListRef] = Counter()
        self._planned: Counter[str] = Counter()  # by organization
        self.spans: list[PlanSpan] = []
        self.oldest: datetime | None = None
        self.next_due: datetime | None = None

    async def add(self, outcome: ListOutcome) -> None:
        """Add one list; a project that no longer exists has no invitations."""
        decisions: Sequence[Decision] = ()
        if isinstance(outcome, ProjectGone):
            self._add_gone(outcome.project_id)
        elif isinstance(outcome, SourceRetired):
            self._write_retired(outcome)
        elif isinstance(outcome, ListUnreadable):
            self._write_unreadable(outcome)
        else:
            decide, steps = self._selector.decide, self._steps
            decisions = [apply_steps(steps, decide(each)) for each in outcome.invitations]
            self._decide(outcome.list_ref, decisions)
        self._on_list(outcome, decisions)
        if self._unsynced > _LINES_PER_SYNC:
            self._unsynced = 0
            await self._log.sync()

    async def finish(self, trimmed_to: Iterable[Sequence[Decision]] = ()) -> None:
        """Write the rest of the plan and sync it to disk.

        Args:
            trimmed_to: With `over_limit: trim`, what `trim_plans` left of this plan, by list.

        Raises:
            AuditLogError: The plan could not be written; nothing was deleted.
        """
        for decisions in trimmed_to:
            self._write_planned(decisions)
        if self.trim is not None:
            for org_id, counts in self.counts.items():
                left = counts.stale - self._planned[org_id]
                self.counts[org_id] = replace(counts, trimmed=left)
        await self._log.sync()

    def total(self) -> Counts:
        """Return what was counted in all organizations together."""
        return total(self.counts.values())

    @property
    def deletions_by_project(self) -> Counter[str]:
        """Planned deletions by project; the lists of a project are added up."""
        found: Counter[str] = Counter()
        for list_ref, count in self._deletions_by_list.items():
            found[list_ref.project.id] += count
        return found

    @property
    def places(self) -> Mapping[str, Project]:
        """The projects with planned deletions, or organizations for their own lists, by id."""
        return {each.project.id: each.project for each in self._deletions_by_list}

    @property
    def planned(self) -> int:
        """The number of planned deletions so far."""
        return self._planned.total()

    def _decide(self, list_ref: ListRef, decisions: Sequence[Decision]) -> None:
        kept: Counter[str] = Counter()
        for decision in decisions:
            if decision.keep_reason is not None:
                kept[decision.keep_reason] += 1
        stale = [decision for decision in decisions if decision.rule is not None]
        self.counts[list_ref.project.org_id] += Counts(
            invitations_seen=len(stale) + kept.total(),
            invitations_by_source={list_ref.source.value: len(decisions)},
            stale=len(stale),
            kept=kept.total(),
            kept_by_reason=kept,
            announced=self._add_announcements(decisions),
        )
        self._update_oldest([decision.invitation.created_at for decision in decisions])
        if not stale:
            return
        if self.trim is not None:
            self.trim.add(stale)
        else:
            self._write_planned(stale)

    def _add_announcements(self, decisions: Sequence[Decision]) -> int:
        """Record what the decisions mean for announcements; return how many are new."""
        new = 0
        for decision in decisions:
            announcement = decision.announcement
            if announcement is None:
                continue
            if announcement.ends:
                self._announce(AnnouncementEnded, decision, reason=decision.keep_reason or "")
            elif (due := announcement.deletable_from) is not None:
                self.next_due = min(self.next_due or due, due)
                if announcement.rule is not None:
                    new += 1
                    day = due.isoformat().replace("+00:00", "Z")
                    self._announce(Announced, decision, rule=announcement.rule, deletable_from=day)
        return new

    def _announce(
        self, event: type[Announced | AnnouncementEnded], decision: Decision, **more: str
    ) -> None:
        if self._announces:
            self._log.write(event.from_invitation(decision.invitation, self._now, **more))
            self._unsynced += 1

    def _update_oldest(self, timestamps: Sequence[Timestamp]) -> None:
        dates = [each for each in (self.oldest, *timestamps) if isinstance(each, datetime)]
        self.oldest = min(dates, default=None)

    def _write_planned(self, decisions: Sequence[Decision]) -> None:
        """Write the planned deletions of one list as one span."""
        first = decisions[0].invitation
        project = Project(first.project_id, first.project_name, first.org_id)
        list_ref = ListRef(project, first.source)
        self._deletions_by_list[list_ref] += len(decisions)
        self._planned[first.org_id] += len(decisions)
        builder = PlanSpanBuilder(self._log, list_ref)
        for decision in decisions:
            planned = Planned.from_invitation(
                decision.invitation,
                self._now,
                rule=decision.rule,
                bounced=decision.bounced,
                new=decision.new,
                inviter_gone=decision.members_read > 0,
                members_read=decision.members_read,
            )
            builder.write(planned)
        self._unsynced += len(decisions)
        self.spans.append(builder.build())

    def _add_gone(self, project_id: str) -> None:
        """Count a project that is gone, once for all its lists."""
        if project_id not in self.gone_ids:
            org_id = self._organization_of.get(project_id, "")
            self.counts[org_id] += Counts(projects_gone=1)
        self.gone_ids.add(project_id)

    def _write_unreadable(self, unreadable: ListUnreadable) -> None:
        self._unsynced += 1
        org_id = self._organization_of.get(unreadable.project_id)
        refused = is_permission_error(unreadable.http_status, unreadable.error_code)
        self.counts[org_id or ""] += Counts(projects_unreadable=1, missing_role=int(refused))
        id_ = unreadable.project_id
        self.unreadable[id_] = Project(id_, unreadable.project_name, org_id or "")
        is_organization_level = unreadable.source.is_organization_level
        self._log.write(
            events.ProjectUnreadable(
                project_id=None if is_organization_level else unreadable.project_id,
                project_name=None if is_organization_level else unreadable.project_name,
                reason=unreadable.reason,
                http_status=unreadable.http_status,
                error_code=unreadable.error_code,
                source=unreadable.source,
                org_id=org_id,
            )
        )

    def _write_retired(self, retired: SourceRetired) -> None:
        self.retired.append(retired)
        self._log.write(
            events.SourceRetired(
                source=retired.source,
                reason=retired.reason,
                http_status=retired.http_status,
                error_code=retired.error_code,
            )
        )


def trim_plans(
    plans: Sequence[PlanBuilder], limits: Limits, shard: Shard | None
) -> Iterator[tuple[PlanBuilder, tuple[tuple[Decision, ...], ...]]]:
    """Yield each plan with the lists that it deletes from: the oldest over all plans together.

    Without `over_limit: trim`, the lists are already written, and nothing is left to select.

    Args:
        plans: The plans of one command; each organization is in one of them.
        limits: With shards, this shard's part of them.
        shard: The shard that these limits are a part for.
    """
    oldest = OldestFirst(limits)
    for plan in plans:
        if plan.trim is not None:
            oldest.add_all(plan.trim)
    whole = total(plan.total() for plan in plans)
    seen, stale = whole.invitations_seen, whole.stale
    selected = tuple(oldest.select(seen=seen, stale=stale, shard=shard))
    for plan in plans:
        lists = (each for each in selected if each[0].invitation.org_id in plan.counts)
        yield plan, tuple(lists)


_MAX_NAMED = 10


class RemainingOrgInvitations:
    """Finds users who keep an organization invitation when their project invitation is deleted.

    Atlas keeps the two apart: deleting a project invitation leaves the organization's, even
    where both were created together (`deleteGroupInvite` of the OpenAPI document).

    Only lists that the policy reads are known. Memory holds a number for each user in an
    organization's list, which Atlas limits to hundreds, and for each planned deletion.
    """

    def __init__(self) -> None:
        self._deleted_users: set[int] = set()
        self._remaining_users: dict[int, str] = {}

    def observe(self, decision: Decision) -> Decision:
        """Record one decision and return it unchanged."""
        invitation = decision.invitation
        user = hash(invitation.user_key)
        if invitation.source.is_organization_level:
            if not decision.stale:
                self._remaining_users[user] = invitation.username or invitation.id
        elif decision.stale:
            self._deleted_users.add(user)
        return decision

    def warnings(self) -> tuple[str, ...]:
        """Return one warning that names the first of these users, or nothing."""
        names = sorted(
            name for user, name in self._remaining_users.items() if user in self._deleted_users
        )
        if not names:
            return ()
        rest = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        subject = f"{pluralize(len(names), 'user')} {plural_form(len(names), 'keeps', 'keep')}"
        message = f"{subject} an organization invitation when the project invitation is deleted"
        return (f"{message}: {', '.join(names[:_MAX_NAMED])}{rest}.",)
