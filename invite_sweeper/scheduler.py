"""One run, its steps in order: survey, draw up the plan, guard, ask, sweep."""

import asyncio

from invite_sweeper.audit import AuditLog, PlanReader, SweepRecorder
from invite_sweeper.breaker import Breaker
from invite_sweeper.bulletin import Bulletin
from invite_sweeper.draft import Draft
from invite_sweeper.errors import CredentialsRefused, GuardRefused, RunError, StoppedEarly
from invite_sweeper.guard import Population, raise_if_clock_differs, raise_if_fewer, raise_if_unsafe
from invite_sweeper.job import Connection, Job, View
from invite_sweeper.outcome import Outcome
from invite_sweeper.plural import counted
from invite_sweeper.recovery import Recovery
from invite_sweeper.scope import Scope
from invite_sweeper.selection import Selector
from invite_sweeper.stop import NOTHING_DELETED, Stop
from invite_sweeper.sweep import Pace, Sweep
from invite_sweeper.territory import Territory
from invite_sweeper.totals import RunCounts, RunResult
from invite_sweeper.walk import Found, survey, walk

_READERS_A_SLOT = 2
"""Lists asked for at a time, for each request in flight: one may wait between its tries."""


class Run:
    """One run of the job against Atlas, accounted for in the audit log."""

    def __init__(
        self,
        job: Job,
        atlas: Connection,
        log: AuditLog,
        counts: RunCounts,
        *,
        stop: Stop,
        view: View,
    ) -> None:
        self._job = job
        self._atlas = atlas
        self._log = log
        self._counts = counts
        self._stop = stop
        self._view = view
        self._bulletin = Bulletin(job, log, counts, view)
        self._readers = job.policy.execution.concurrency * _READERS_A_SLOT

    async def run(self) -> RunResult:
        """Carry out the job; what went wrong is in what it returns.

        Everything up to `run_finished` is on disk then, unless the log itself failed.
        """
        error: RunError | None = None
        deadline = f"the deadline of {self._job.policy.execution.deadline} came"
        alarm = asyncio.get_running_loop().call_later(
            self._job.deadline_left_s, self._stop.ask, deadline
        )
        try:
            self._log.write("run_started", **self._job.preamble)
            await self._log.durable()
            await self._steps()
        except RunError as trouble:
            error = trouble
            refused = isinstance(trouble, CredentialsRefused)
            cut_off = isinstance(trouble, StoppedEarly) and self._counts.summary().requests > 0
            self._counts.reached_atlas |= cut_off or (self._atlas.has_responded and not refused)
        finally:
            alarm.cancel()
        self._counts.sunset = self._atlas.sunset
        self._counts.deprecation = self._atlas.deprecation
        return await self._counts.close(self._log, error)

    async def _steps(self) -> None:
        territory = await self._stop.unless_asked(self._survey())
        if self._job.open_intents and not self._job.dry_run:
            await self._stop.unless_asked(self._recover())
        draft = await self._stop.unless_asked(self._draw_up(territory))
        if self._job.dry_run and draft.seen:
            self._bulletin.idle(draft.kept)
        self._guard(draft)
        if self._job.dry_run or not draft.planned:
            return
        await self._ask()
        await self._sweep(draft)

    async def _recover(self) -> None:
        """Settle what an earlier run left open, before anything of this one."""
        job, bulletin = self._job, self._bulletin
        recovery = Recovery(self._atlas.reader, self._log, job.now, bulletin.settled)
        try:
            bulletin.warn(*await recovery.run(job.open_intents))
        finally:
            bulletin.closing()

    def _guard(self, draft: Draft) -> None:
        """Let the plan pass, or raise; nothing was sent so far."""
        job, census = self._job, draft.census()
        self._counts.estimate_s = self._atlas.estimate_s(draft.doomed)
        if job.before is not None:
            # A list that Atlas retired holds nobody any more, and nobody has left.
            least = job.before.invitations if draft.retired else 0
            seen = Population(self._counts.projects_seen, max(draft.seen, least))
            raise_if_fewer(job.before, seen, job.limits)
        raise_if_unsafe(census, job.limits, str(job.shard) if job.shard else None)
        refused = job.refusal() if job.refusal is not None else None
        if refused is not None:
            self._bulletin.warn(*refused[1])
            raise refused[0]
        if job.passed is not None:
            self._bulletin.warn(*job.passed(draft.spans))

    async def _survey(self) -> Territory:
        scope = Scope(self._job.policy)
        territory = await survey(self._atlas.reader, scope)
        self._counts.reached_atlas = True
        raise_if_clock_differs(self._atlas.clock_skew_s)
        await self._atlas.fetch_limits()
        self._bulletin.warn(*self._atlas.warnings, *scope.unmatched())
        shard = self._job.shard
        if shard is not None:
            territory = territory.part(shard.holds)
        self._counts.projects_seen = len(territory.projects) + len(territory.unreadable)
        return territory

    async def _draw_up(self, territory: Territory) -> Draft:
        job = self._job
        draft = Draft(self._log, Selector(job.policy, job.now), job.limits, job.now, job.amend)
        self._counts.draft = draft
        sources = job.policy.sources
        self._view.walking(len(territory.places(sources)))

        async def visit(found: Found) -> None:
            await draft.visit(found)
            self._view.walked()

        for unreadable in territory.unreadable:
            await draft.visit(unreadable)
        try:
            await walk(self._atlas.reader, territory, sources, visit, workers=self._readers)
        finally:
            self._bulletin.lists(draft.retired, self._atlas.sunsets)
        await draft.finish()
        return draft

    async def _ask(self) -> None:
        confirm = self._job.confirm
        agreed = confirm is None or await confirm(self._counts.summary())
        if self._stop.reason is not None:
            raise self._stop.as_error(consequence=NOTHING_DELETED)
        if not agreed:
            raise GuardRefused("The person at the terminal did not say yes.")

    async def _sweep(self, draft: Draft) -> None:
        job, stop, execution = self._job, self._stop, self._job.policy.execution
        await self._atlas.prepare_for(draft.doomed)
        sweep = Sweep(
            self._atlas.deleter(job.policy.sources),
            SweepRecorder(self._log, job.now),
            stop=stop,
            breaker=Breaker(job.limits),
            clock=job.clock,
            pace=Pace(
                workers=execution.concurrency,
                stand_ins=execution.concurrency,
                canary=job.limits.canary,
                grace_s=execution.grace.total_seconds(),
                several_doors=len(job.policy.sources) > 1,
            ),
            swept=self._bulletin.swept,
        )
        reckoning = sweep.reckoning
        self._counts.outcomes = tally = reckoning.tally
        self._view.sweeping(draft.planned, self._counts.estimate_s or 0.0)
        try:
            with PlanReader.open(self._log.path, job.run_id) as lane:
                await sweep.run(lane(span) for span in draft.spans)
        except RunError as error:
            done = counted(tally[Outcome.DELETED], "invitation")
            error.consequence = f"{done} had been deleted by then."
            raise
        finally:
            self._bulletin.closing()
        for source, what in reckoning.doors.retired.items():
            self._bulletin.warn(f"The list {source.value} ended in mid-sweep: {what}")
        if reckoning.broken is not None:
            self._bulletin.warn(f"The sweep stopped itself: {reckoning.broken}")
        undone = reckoning.cut_short or tally[Outcome.SKIPPED] or tally[Outcome.UNKNOWN]
        if stop.reason is not None and undone:
            raise stop.as_error(consequence="What was done is in the audit log.")
