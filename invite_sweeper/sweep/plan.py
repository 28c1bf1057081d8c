"""PlanBuilder: judge, count, write `planned` lines; trim."""

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from invite_sweeper.audit import AuditLog, PlanSpan, PlanSpanBuilder, invitation_fields
from invite_sweeper.models import Gone, Moment, Place, Project, Retired, Unreadable, same_person_key
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.discovery import Found
from invite_sweeper.sweep.guards import Census, share_limit
from invite_sweeper.sweep.selection import Decision, Selector

# `over_limit: trim`: the oldest stale invitations, up to the ceilings of the guard. Pure.


class OldestFirst:
    """Keeps the oldest stale invitations up to the limits, in memory bounded by them.

    Projects are offered one at a time; `take` gives what may go tonight.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._heap: list[tuple[float, int, Decision]] = []
        self._offered = 0

    def offer(self, stale: Sequence[Decision]) -> None:
        """Take the stale invitations of one project into account."""
        per_project = self._limits.max_deletions_per_project
        for decision in heapq.nsmallest(per_project, stale, key=_age_order):
            # The order of arrival breaks ties, so decisions are never compared themselves.
            self._offered += 1
            entry = (-_created(decision), -self._offered, decision)
            if len(self._heap) < self._limits.max_deletions:
                heapq.heappush(self._heap, entry)
            elif self._heap:
                heapq.heappushpop(self._heap, entry)

    def take(self, *, seen: int, stale: int) -> Iterable[tuple[Decision, ...]]:
        """Give what may go, list by list, the list of the oldest first; none is empty.

        The lists of one project share its limit.

        Args:
            seen: The invitations in scope.
            stale: Those that are stale, before anything is left for another night.
        """
        oldest = [decision for *_, decision in sorted(self._heap, reverse=True)]
        allowed = share_limit(self._limits, seen=seen, stale=stale)
        per_project: Counter[str] = Counter()
        by_list: dict[tuple[str, str], list[Decision]] = {}
        for decision in oldest[:allowed]:
            project_id = decision.invitation.project_id
            if per_project[project_id] == self._limits.max_deletions_per_project:
                continue
            per_project[project_id] += 1
            key = (decision.invitation.source, project_id)
            by_list.setdefault(key, []).append(decision)
        return map(tuple, by_list.values())


def _created(decision: Decision) -> float:
    created_at = decision.invitation.created_at
    # Only an invitation with a readable date is ever stale.
    assert isinstance(created_at, datetime)  # noqa: S101
    return created_at.timestamp()


def _age_order(decision: Decision) -> tuple[float, str]:
    return _created(decision), decision.invitation.id


# Ages of invitations in a few fixed classes, so that a million of them stay a few numbers.


BOUNDS_DAYS = (0, 3, 7, 14, 30, 60, 90, 180, 365)
"""Where each class begins; the last one has no end."""
LABELS = (
    *(f"{low}-{high}" for low, high in pairwise(BOUNDS_DAYS)),
    f"{BOUNDS_DAYS[-1]}+",
    "unknown",
)
"""One a class, in days, youngest first; the last is for what has no usable age."""
KEYS = (*map(str, BOUNDS_DAYS), "none")
"""The classes as they stand in the audit log: the first day of each."""


def age_class(age_days: float | None) -> int:
    """Index into `LABELS`. An age below zero (a date in the future) has no class of its own."""
    if age_days is None or age_days < 0:
        return len(BOUNDS_DAYS)
    return bisect_right(BOUNDS_DAYS, age_days) - 1


class AgeHistogram:
    """Counts ages while they stream by; flat, whatever their number."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts = [0] * len(LABELS)

    def add(self, age_days: float | None) -> None:
        """Count one invitation."""
        self._counts[age_class(age_days)] += 1

    def field(self) -> dict[str, int]:
        """For the audit log's `run_finished`: first day of each class to its number."""
        return dict(zip(KEYS, self._counts, strict=True))


def counts_from(field: object) -> tuple[int, ...] | None:
    """Read `AgeHistogram.field` back: one number a class, or None where there is none."""
    if not isinstance(field, Mapping):
        return None
    values = [field.get(key, 0) for key in KEYS]
    return tuple(value if isinstance(value, int) else 0 for value in values)


# The plan as it comes to be: each listing judged, counted, and its stale ones on disk.


_LINES_A_FLUSH = 1000


class Draft:
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
        amend: Callable[[Decision], Decision] = lambda decision: decision,
    ) -> None:
        self._log = log
        self._selector = selector
        self._now = now
        self._amend = amend
        self._trim = OldestFirst(limits) if limits.over_limit == "trim" else None
        self._unflushed = 0
        self.kept: Counter[str] = Counter()
        self.kept_ages = AgeHistogram()
        self.stale = 0
        self.unreadable = 0
        self.retired: list[Retired] = []
        self._doomed: Counter[Place] = Counter()
        self.spans: list[PlanSpan] = []
        self.oldest: datetime | None = None

    async def visit(self, found: Found) -> None:
        """Judge one list; a project that is gone holds nothing to judge."""
        if isinstance(found, Gone):
            return
        if isinstance(found, Retired):
            self._note_retired(found)
        elif isinstance(found, Unreadable):
            self._note_unreadable(found)
        else:
            decide, amend = self._selector.decide, self._amend
            self._judge([amend(decide(invitation)) for invitation in found.invitations])
        if self._unflushed > _LINES_A_FLUSH:
            self._unflushed = 0
            await self._log.durable()

    async def finish(self) -> None:
        """Put the whole plan on disk.

        Raises:
            AuditUnwritable: It is not on disk; nothing was deleted.
        """
        if self._trim is not None:
            for decisions in self._trim.take(seen=self.seen, stale=self.stale):
                self._plan(decisions)
        await self._log.durable()

    def census(self) -> Census:
        """Count the plan, for the guard; a project's lists count together."""
        doomed: Counter[str] = Counter()
        for span in self.spans:
            doomed[span.place.project.id] += span.count
        return Census(
            invitations_seen=self.seen, projects_unreadable=self.unreadable, doomed=doomed
        )

    @property
    def doomed(self) -> Mapping[Place, int]:
        """What the plan deletes, by the list that it is in."""
        return self._doomed

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

    def _judge(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            if decision.kept is not None:
                self._note_kept(decision.kept, decision.invitation.created_at)
        stale = [decision for decision in decisions if decision.rule is not None]
        self.stale += len(stale)
        self._note_oldest([decision.invitation.created_at for decision in decisions])
        if not stale:
            return
        if self._trim is not None:
            self._trim.offer(stale)
        else:
            self._plan(stale)

    def _note_kept(self, reason: str, sent_at: Moment) -> None:
        self.kept[reason] += 1
        # Whole days will do: each class of ages begins with one.
        self.kept_ages.add((self._now - sent_at).days if isinstance(sent_at, datetime) else None)

    def _note_oldest(self, sent: Sequence[Moment]) -> None:
        dates = [moment for moment in (self.oldest, *sent) if isinstance(moment, datetime)]
        self.oldest = min(dates, default=None)

    def _plan(self, decisions: Sequence[Decision]) -> None:
        """Write the planned deletions of one list, one after another."""
        first = decisions[0].invitation
        project = Project(first.project_id, first.project_name, first.org_id)
        place = Place(project, first.source)
        self._doomed[place] += len(decisions)
        builder = PlanSpanBuilder(self._log, place)
        for decision in decisions:
            fields = {**invitation_fields(decision.invitation, self._now), "rule": decision.rule}
            if decision.bounced:
                fields["bounced"] = decision.bounced
            builder.write(fields)
        self._unflushed += len(decisions)
        self.spans.append(builder.span())

    def _note_unreadable(self, found: Unreadable) -> None:
        self.unreadable += 1
        self._unflushed += 1
        of_organization = found.source.of_organization
        self._log.write(
            "project_unreadable",
            project_id=None if of_organization else found.project_id,
            project_name=None if of_organization else found.project_name,
            reason=found.reason,
            http_status=found.http_status,
            error_code=found.error_code,
            source=found.source,
        )

    def _note_retired(self, found: Retired) -> None:
        self.retired.append(found)
        self._log.write(
            "source_retired",
            source=found.source,
            reason=found.reason,
            http_status=found.http_status,
            error_code=found.error_code,
        )


# Organization invitations that stay behind when a project invitation goes. Pure.
#
# Atlas keeps the two apart: deleting a project invitation leaves the organization's, even where
# both were made together (`deleteGroupInvite` of the OpenAPI document).


_NAMED = 10


class Leftovers:
    """Takes each decision down, and tells who keeps an organization's invitation.

    It knows only of lists that are read: memory holds a number for each person in an
    organization's list, which Atlas limits to hundreds, and for each planned deletion.
    """

    def __init__(self) -> None:
        self._going: set[int] = set()
        self._staying: dict[int, str] = {}

    def look(self, decision: Decision) -> Decision:
        """Take one decision into account; it stays as it is."""
        person = same_person_key(decision.invitation)
        if person is None:
            return decision
        if decision.invitation.source.of_organization:
            if not decision.stale:
                self._staying[hash(person)] = decision.invitation.username or ""
        elif decision.stale:
            self._going.add(hash(person))
        return decision

    def sentences(self) -> tuple[str, ...]:
        """Say who they are, the first of them by name; empty where there is nobody."""
        names = sorted(name for person, name in self._staying.items() if person in self._going)
        if not names:
            return ()
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        who = f"{', '.join(names[:_NAMED])}{rest}"
        whose = f"{len(names)} whose project invitation goes"
        return (f"An organization invitation stays of {whose}: {who}.",)
