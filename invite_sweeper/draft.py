"""The plan as it comes to be: each listing judged, counted, and its stale ones on disk."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from invite_sweeper.audit import AuditLog, PlanSpan, PlanSpanBuilder, invitation_fields
from invite_sweeper.guard import Census
from invite_sweeper.inventory import Gone, Moment, Place, Project, Retired, Unreadable
from invite_sweeper.policy import Limits
from invite_sweeper.report.ages import AgeHistogram
from invite_sweeper.selection import Decision, Selector
from invite_sweeper.trimming import OldestFirst
from invite_sweeper.walk import Found

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
