"""One run, its steps in order."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Protocol

from invite_sweeper.audit import AuditLog, OpenIntent, PlanReader, PlanSpan, SweepRecorder
from invite_sweeper.errors import CredentialsRefused, GuardRefused, RunError, StoppedEarly
from invite_sweeper.models import (
    USER_LISTS,
    Deletion,
    Invitation,
    Outcome,
    Place,
    Planned,
    Retired,
    Source,
)
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.shutdown import NOTHING_DELETED, Stop
from invite_sweeper.sweep.discovery import Found, survey, walk
from invite_sweeper.sweep.executor import Deleter, Pace, Sweep
from invite_sweeper.sweep.guards import (
    Breaker,
    Population,
    raise_if_clock_differs,
    raise_if_fewer,
    raise_if_unsafe,
)
from invite_sweeper.sweep.plan import Draft
from invite_sweeper.sweep.previous_runs import Recovery, Witness
from invite_sweeper.sweep.scope import Scope, Shard, Territory
from invite_sweeper.sweep.selection import Decision, Selector, as_decided
from invite_sweeper.sweep.summary import (
    RunCounts,
    RunResult,
    RunSummary,
    RunWarning,
    removed_member_warning,
    retired_warning,
    sunset_warnings,
    unused_keep_warnings,
    unverified_warning,
)
from invite_sweeper.text import counted

# What a run is asked to do, and what it needs of the world.


class Connection(Protocol):
    """What a run needs of Atlas."""

    @property
    def reader(self) -> Witness:
        """Give the part that reads, and cannot delete."""
        ...

    def deleter(self, sources: Iterable[Source]) -> Deleter:
        """Give the part that deletes from these lists; called by a sweep alone."""
        ...

    @property
    def clock_skew_s(self) -> float | None:
        """How far our clock is ahead of Atlas's; None while no answer had a date."""
        ...

    @property
    def has_responded(self) -> bool:
        """Tell whether Atlas has answered anything."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Give what the answers left open, as sentences for a person."""
        ...

    @property
    def sunset(self) -> date | None:
        """The day on which Atlas says that it stops serving a list; None where it does not."""
        ...

    @property
    def sunsets(self) -> Mapping[Source, date]:
        """The same for each source that Atlas names a day for."""
        ...

    @property
    def deprecation(self) -> date | None:
        """The day from which Atlas advises against what is in use; None where it does not."""
        ...

    async def fetch_limits(self) -> None:
        """Ask Atlas for its limits, if it tells them; nothing depends on the answer."""
        ...

    async def prepare_for(self, deletions: Mapping[Place, int]) -> None:
        """Prepare for so many deletions in each list; nothing depends on it but the time."""
        ...

    def estimate_s(self, deletions: Mapping[Place, int]) -> float:
        """Give the seconds that Atlas's limits ask for so many deletions a list."""
        ...


class View(Protocol):
    """What a person sees while it runs."""

    def walking(self, projects: int) -> None:
        """So many projects are about to be read."""
        ...

    def walked(self) -> None:
        """One project has been read, or could not be."""
        ...

    def sweeping(self, deletions: int, estimate_s: float) -> None:
        """So many deletions are about to begin, and should take so long by Atlas's limits."""
        ...

    def swept(self, outcome: Outcome) -> None:
        """One deletion has ended."""
        ...

    def warn(self, sentence: str) -> None:
        """Something deserves a look, and does not stop the run."""
        ...

    def alarm(self, sentence: str) -> None:
        """Something has to be seen to, though the run goes on."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is asked to do.

    Attributes:
        now: The one instant of the run, aware UTC.
        dry_run: Stop before the first DELETE.
        clock: Monotonic seconds; the run began at `started_s` on it.
        confirm: Asked once, after the guard, before the first DELETE; None asks nobody.
        preamble: The fields of the `run_started` line.
        amend: A second look at each decision; it only ever keeps more.
        before: What the last complete run left; None where nothing is known, or not asked.
        open_intents: What a run that was cut off left unsettled.
        passed: Called when the plan is on disk and has passed the guard; gives sentences for
            a person.
        refusal: What the run ends with after the guard, whatever the plan, and sentences for
            a person; None for nothing.
    """

    policy: Policy
    now: datetime
    run_id: str
    dry_run: bool
    clock: Callable[[], float]
    started_s: float
    shard: Shard | None = None
    confirm: Callable[[RunSummary], Awaitable[bool]] | None = None
    preamble: Mapping[str, object] = field(default_factory=dict)
    amend: Callable[[Decision], Decision] = as_decided
    before: Population | None = None
    open_intents: tuple[OpenIntent, ...] = ()
    passed: Callable[[Sequence[PlanSpan]], tuple[str, ...]] | None = None
    refusal: Callable[[], tuple[GuardRefused, tuple[str, ...]] | None] | None = None

    @property
    def limits(self) -> Limits:
        """The limits of this run: the shard's part of them where there are several."""
        whole = self.policy.limits
        return self.shard.share_of(whole) if self.shard is not None else whole

    @property
    def deadline_left_s(self) -> float:
        """Seconds until the deadline; 0.0 when it has passed."""
        spent_s = self.clock() - self.started_s
        return max(0.0, self.policy.execution.deadline.total_seconds() - spent_s)


# What a run tells a person while it goes on, and keeps for its summary.


MOST_KEPT: Final = 1000
"""So many sentences are kept for the summary; the log has all of them."""


class Bulletin:
    """Says things at once, and puts them among the warnings of the summary."""

    def __init__(self, job: Job, log: AuditLog, counts: RunCounts, view: View) -> None:
        self._job = job
        self._log = log
        self._counts = counts
        self._view = view
        self._unverified = 0

    def warn(self, *sentences: str) -> None:
        """Say what deserves a look."""
        self._notify(map(RunWarning, sentences))

    def idle(self, kept: Mapping[str, int]) -> None:
        """Tell of keep entries that kept nobody."""
        self._notify(unused_keep_warnings(self._job.policy.keep, kept, self._job.now.date()))

    def lists(self, retired: Iterable[Retired], sunsets: Mapping[Source, date]) -> None:
        """Tell of lists that have ended, and of those that soon will."""
        ended = {each.source: each for each in retired}
        coming = {source: day for source, day in sunsets.items() if source not in ended}
        self._notify(map(retired_warning, ended.values()))
        self._notify(sunset_warnings(coming, self._job.now.date()))

    def swept(self, planned: Planned, deletion: Deletion) -> None:
        """Show that one deletion has ended; a member that was removed is told at once."""
        self._view.swept(deletion.outcome)
        if deletion.outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(planned.invitation)
        elif deletion.outcome is Outcome.DELETED and deletion.seen_after is None:
            self._unverified += planned.invitation.source in USER_LISTS

    def settled(self, intent: OpenIntent, outcome: Outcome) -> None:
        """Count what an earlier run had left open; a member that it removed is told at once."""
        self._counts.recovered[outcome] += 1
        if outcome is Outcome.ACCEPTED_DURING:
            self._removed_member(intent.invitation)
        elif outcome is Outcome.UNKNOWN:
            self._unverified += not intent.of_restore

    def closing(self) -> None:
        """Tell what could not be found out so far."""
        if self._unverified:
            self._notify([unverified_warning(self._unverified)])
        self._unverified = 0

    def _removed_member(self, invitation: Invitation) -> None:
        path, run_id = str(self._log.path), self._job.run_id
        self._notify([removed_member_warning(invitation, path, run_id)])

    def _notify(self, warnings: Iterable[RunWarning]) -> None:
        for text, urgent in warnings:
            if len(self._counts.warnings) < MOST_KEPT:
                self._counts.warnings.append(text)
            (self._view.alarm if urgent else self._view.warn)(text)


# One run, its steps in order: survey, draw up the plan, guard, ask, sweep.


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
