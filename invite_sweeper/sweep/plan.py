"""PlanBuilder: judge, count, write `planned` lines; trim."""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from invite_sweeper.audit import AuditLog, PlanSpan, PlanSpanBuilder, invitation_fields
from invite_sweeper.models import (
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    SourceRetired,
    Timestamp,
    user_key,
)
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.discovery import ListOutcome
from invite_sweeper.sweep.guards import PlanCounts, share_limit
from invite_sweeper.sweep.selection import Decision, Selector

# `over_limit: trim`: the oldest stale invitations, up to the ceilings of the guard. Pure.


class OldestFirst:
    """Keeps the oldest stale invitations up to the limits, in memory bounded by them.

    Projects are offered one at a time; `take` gives what may go tonight.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heap: list[tuple[float, int, Decision]] = []
        self._added = 0

    def add(self, stale: Sequence[Decision]) -> None:
        """Take the stale invitations of one project into account."""
        per_project = self._limits.max_deletions_per_project
        for decision in heapq.nsmallest(per_project, stale, key=_age_order):
            # The order of arrival breaks ties, so decisions are never compared themselves.
            self._added += 1
            entry = (-_created_at_s(decision), -self._added, decision)
            if len(self._heap) < self._limits.max_deletions:
                heapq.heappush(self._heap, entry)
            elif self._heap:
                heapq.heappushpop(self._heap, entry)

    def select(self, *, seen: int, stale: int) -> Iterable[tuple[Decision, ...]]:
        """Give what may go, list by list, the list of the oldest first; none is empty.

        The lists of one project share its limit.

        Args:
            seen: The invitations in scope.
            stale: Those that are stale, before anything is left for another night.
        """
        oldest = [decision for *_, decision in sorted(self._heap, reverse=True)]
        max_deletions = share_limit(self._limits, seen=seen, stale=stale)
        per_project: Counter[str] = Counter()
        by_list: dict[tuple[str, str], list[Decision]] = {}
        for decision in oldest[:max_deletions]:
            project_id = decision.invitation.project_id
            if per_project[project_id] == self._limits.max_deletions_per_project:
                continue
            per_project[project_id] += 1
            key = (decision.invitation.source, project_id)
            by_list.setdefault(key, []).append(decision)
        return map(tuple, by_list.values())


def _created_at_s(decision: Decision) -> float:
    created_at = decision.invitation.created_at
    # Only an invitation with a readable date is ever stale.
    assert isinstance(created_at, datetime)  # noqa: S101
    return created_at.timestamp()


def _age_order(decision: Decision) -> tuple[float, str]:
    return _created_at_s(decision), decision.invitation.id


# Ages of invitations in a few fixed classes, so that a million of them stay a few numbers.


AGE_CLASS_STARTS_DAYS = (0, 3, 7, 14, 30, 60, 90, 180, 365)
"""Where each class begins; the last one has no end."""
AGE_CLASS_LABELS = (
    *(f"{low}-{high}" for low, high in pairwise(AGE_CLASS_STARTS_DAYS)),
    f"{AGE_CLASS_STARTS_DAYS[-1]}+",
    "unknown",
)
"""One a class, in days, youngest first; the last is for what has no usable age."""
AGE_CLASS_KEYS = (*map(str, AGE_CLASS_STARTS_DAYS), "none")
"""The classes as they stand in the audit log: the first day of each."""


def age_class(age_days: float | None) -> int:
    """Index into `LABELS`. An age below zero (a date in the future) has no class of its own."""
    if age_days is None or age_days < 0:
        return len(AGE_CLASS_STARTS_DAYS)
    return bisect_right(AGE_CLASS_STARTS_DAYS, age_days) - 1


class AgeHistogram:
    """Counts ages while they stream by; flat, whatever their number."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = [0] * len(AGE_CLASS_LABELS)

    def add(self, age_days: float | None) -> None:
        """Count one invitation."""
        self._counts[age_class(age_days)] += 1

    def to_field(self) -> dict[str, int]:
        """For the audit log's `run_finished`: first day of each class to its number."""
        return dict(zip(AGE_CLASS_KEYS, self._counts, strict=True))


def parse_age_counts(field: object) -> tuple[int, ...] | None:
    """Read `AgeHistogram.field` back: one number a class, or None where there is none."""
    if not isinstance(field, Mapping):
        return None
    values = [field.get(key, 0) for key in AGE_CLASS_KEYS]
    return tuple(value if isinstance(value, int) else 0 for value in values)


# The plan as it comes to be: each listing judged, counted, and its stale ones on disk.


_LINES_PER_SYNC = 1000


class PlanBuilder:
    """Takes what a walk finds; ends as a plan in the audit log, project by project.

    `amend` may keep what the policy alone would not: see `amendments`.

    Memory holds counts, and one span a project that has stale invitations; with
    `over_limit: trim` also the oldest stale ones up to `max_deletions`.

    Attributes:
        retired: Sources that Atlas serves no longer.
        kept: Invitations kept, by reason.
        kept_ages: How old they are, in classes.
        stale: Invitations that a rule makes stale, trimmed ones included.
        spans: Where the planned lines of each project stand in the log.
        oldest: When the oldest invitation in scope was sent; None where none has a date.
    """

    def __init__(
        self,
        log: AuditLog,
        selector: Selector,
        limits: Limits,
        now: datetime,
        decision_filter: Callable[[Decision], Decision] = lambda decision: decision,
    ) -> None:
        self._log = log
        self._selector = selector
        self._now = now
        self._decision_filter = decision_filter
        self._trim = OldestFirst(limits) if limits.over_limit == "trim" else None
        self._unsynced = 0
        self.kept: Counter[str] = Counter()
        self.kept_ages = AgeHistogram()
        self.stale = 0
        self.unreadable = 0
        self.retired: list[SourceRetired] = []
        self._deletions_by_list: Counter[ListRef] = Counter()
        self.spans: list[PlanSpan] = []
        self.oldest: datetime | None = None

    async def add(self, outcome: ListOutcome) -> None:
        """Judge one list; a project that is gone holds nothing to judge."""
        if isinstance(outcome, ProjectGone):
            return
        if isinstance(outcome, SourceRetired):
            self._write_retired(outcome)
        elif isinstance(outcome, ListUnreadable):
            self._write_unreadable(outcome)
        else:
            decide, decision_filter = self._selector.decide, self._decision_filter
            self._decide(
                [decision_filter(decide(invitation)) for invitation in outcome.invitations]
            )
        if self._unsynced > _LINES_PER_SYNC:
            self._unsynced = 0
            await self._log.sync()

    async def finish(self) -> None:
        """Put the whole plan on disk.

        Raises:
            AuditUnwritable: It is not on disk; nothing was deleted.
        """
        if self._trim is not None:
            for decisions in self._trim.select(seen=self.seen, stale=self.stale):
                self._write_planned(decisions)
        await self._log.sync()

    def counts(self) -> PlanCounts:
        """Count the plan, for the guard; a project's lists count together."""
        deletions_by_project: Counter[str] = Counter()
        for span in self.spans:
            deletions_by_project[span.list_ref.project.id] += span.count
        return PlanCounts(
            invitations_seen=self.seen,
            projects_unreadable=self.unreadable,
            deletions_by_project=deletions_by_project,
        )

    @property
    def deletions_by_list(self) -> Mapping[ListRef, int]:
        """What the plan deletes, by the list that it is in."""
        return self._deletions_by_list

    @property
    def seen(self) -> int:
        """How many invitations were in scope, stale and kept together."""
        return self.stale + self.kept.total()

    @property
    def planned(self) -> int:
        """How many deletions the plan holds so far."""
        return sum(span.count for span in self.spans)

    @property
    def trimmed(self) -> int:
        """How many stale ones are left for another night; known once finished."""
        return self.stale - self.planned if self._trim is not None else 0

    def _decide(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            if decision.keep_reason is not None:
                self._record_kept(decision.keep_reason, decision.invitation.created_at)
        stale = [decision for decision in decisions if decision.rule is not None]
        self.stale += len(stale)
        self._update_oldest([decision.invitation.created_at for decision in decisions])
        if not stale:
            return
        if self._trim is not None:
            self._trim.add(stale)
        else:
            self._write_planned(stale)

    def _record_kept(self, reason: str, created_at: Timestamp) -> None:
        self.kept[reason] += 1
        # Whole days will do: each class of ages begins with one.
        self.kept_ages.add(
            (self._now - created_at).days if isinstance(created_at, datetime) else None
        )

    def _update_oldest(self, timestamps: Sequence[Timestamp]) -> None:
        dates = [moment for moment in (self.oldest, *timestamps) if isinstance(moment, datetime)]
        self.oldest = min(dates, default=None)

    def _write_planned(self, decisions: Sequence[Decision]) -> None:
        """Write the planned deletions of one list, one after another."""
        first = decisions[0].invitation
        project = Project(first.project_id, first.project_name, first.org_id)
        list_ref = ListRef(project, first.source)
        self._deletions_by_list[list_ref] += len(decisions)
        builder = PlanSpanBuilder(self._log, list_ref)
        for decision in decisions:
            fields = {**invitation_fields(decision.invitation, self._now), "rule": decision.rule}
            if decision.bounced:
                fields["bounced"] = decision.bounced
            builder.write(fields)
        self._unsynced += len(decisions)
        self.spans.append(builder.build())

    def _write_unreadable(self, unreadable: ListUnreadable) -> None:
        self.unreadable += 1
        self._unsynced += 1
        is_organization_level = unreadable.source.is_organization_level
        self._log.write(
            "project_unreadable",
            project_id=None if is_organization_level else unreadable.project_id,
            project_name=None if is_organization_level else unreadable.project_name,
            reason=unreadable.reason,
            http_status=unreadable.http_status,
            error_code=unreadable.error_code,
            source=unreadable.source,
        )

    def _write_retired(self, retired: SourceRetired) -> None:
        self.retired.append(retired)
        self._log.write(
            "source_retired",
            source=retired.source,
            reason=retired.reason,
            http_status=retired.http_status,
            error_code=retired.error_code,
        )


# Organization invitations that stay behind when a project invitation goes. Pure.
#
# Atlas keeps the two apart: deleting a project invitation leaves the organization's, even where
# both were made together (`deleteGroupInvite` of the OpenAPI document).


_MAX_NAMED = 10


class RemainingOrgInvitations:
    """Takes each decision down, and tells who keeps an organization's invitation.

    It knows only of lists that are read: memory holds a number for each person in an
    organization's list, which Atlas limits to hundreds, and for each planned deletion.
    """

    def __init__(self) -> None:
        self._deleted_users: set[int] = set()
        self._remaining_users: dict[int, str] = {}

    def observe(self, decision: Decision) -> Decision:
        """Take one decision into account; it stays as it is."""
        user = user_key(decision.invitation)
        if user is None:
            return decision
        if decision.invitation.source.is_organization_level:
            if not decision.stale:
                self._remaining_users[hash(user)] = decision.invitation.username or ""
        elif decision.stale:
            self._deleted_users.add(hash(user))
        return decision

    def warnings(self) -> tuple[str, ...]:
        """Say who they are, the first of them by name; empty where there is nobody."""
        names = sorted(
            name for person, name in self._remaining_users.items() if person in self._deleted_users
        )
        if not names:
            return ()
        rest = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
        who = f"{', '.join(names[:_MAX_NAMED])}{rest}"
        subject = f"{len(names)} whose project invitation goes"
        return (f"An organization invitation stays of {subject}: {who}.",)
