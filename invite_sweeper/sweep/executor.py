"""Workers: intent on disk, DELETE, outcome."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from invite_sweeper.errors import ApiVersionRetired, AuditLogError, RunError
from invite_sweeper.models import (
    DeletionProgress,
    DeletionResult,
    Invitation,
    Outcome,
    PlannedDeletion,
    Source,
    user_key,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.guards import CircuitBreaker
from invite_sweeper.sweep.work_queue import CanaryLimit, ProjectQueue, ProjectQueues, ReadyQueue

# What one deletion tells of the others where a sweep has several lists. Pure.


class SourceTracker:
    """One person may be in several lists: then one deletion shuts the others' doors, too.

    Args:
        several: The plan is of several lists; of a single one nothing is known or noted.

    Attributes:
        retired: Lists that Atlas dropped in mid-sweep, and what to say of each; others went on.
    """

    def __init__(self, *, multiple_sources: bool) -> None:
        self._multiple_sources = multiple_sources
        self._deleted_users: set[int] = set()
        self.retired: dict[Source, str] = {}

    def mark_retired(self, invitation: Invitation, result: DeletionResult) -> bool:
        """Tell whether an answer ends its own list alone, since there are others."""
        if not (self._multiple_sources and isinstance(result.fatal_error, ApiVersionRetired)):
            return False
        message = " ".join(filter(None, (result.fatal_error.message, result.fatal_error.hint)))
        self.retired.setdefault(invitation.source, message)
        return True

    def is_retired(self, invitation: Invitation) -> bool:
        """Tell whether Atlas has dropped the list that it is in."""
        return invitation.source in self.retired

    def is_duplicate(self, invitation: Invitation, result: DeletionResult) -> bool:
        """Tell whether a door was shut with another one of the same person, in this sweep.

        Such an `already_gone` is no sign of trouble.
        """
        if not self._multiple_sources or (user := user_key(invitation)) is None:
            return False
        known = hash(user)
        if result.outcome is Outcome.ALREADY_GONE:
            return known in self._deleted_users
        if result.outcome is Outcome.DELETED:
            self._deleted_users.add(known)
        return False


# What a sweep needs of Atlas and of the audit log, whoever stands in for them.


class Deleter(Protocol):
    """What a sweep needs of Atlas; only a sweep is ever given one."""

    def try_acquire(self, invitation: Invitation) -> float:
        """Take the turn of one deletion (0.0), or give the seconds until there may be one."""
        ...

    async def delete(self, invitation: Invitation, progress: DeletionProgress) -> DeletionResult:
        """Revoke one invitation that was admitted; trouble with it is a value."""
        ...


class DeletionLog(Protocol):
    """What a sweep needs of the audit log."""

    def write_intents(self, group: Iterable[PlannedDeletion]) -> None:
        """Record that these are about to be deleted."""
        ...

    def write_outcome(
        self, planned: PlannedDeletion, deletion: DeletionResult, duration_ms: float
    ) -> None:
        """Record the outcome of one deletion."""
        ...

    async def sync(self) -> None:
        """Return when every line so far is on disk."""
        ...


# What a sweep has come to: each outcome recorded, and whether it may go on.


LINES_PER_SYNC = 1000
"""So many lines are written at most before the disk has them."""
_SKIPPED = DeletionResult(Outcome.SKIPPED, 0)


class OutcomeRecorder:
    """Takes the end of each planned deletion.

    Args:
        clock: Monotonic seconds.
        swept: Called after each outcome, when it is in the log.
        ends: Called when nothing new may be sent; also when that was so already.

    Attributes:
        tally: Deletions by outcome.
        error: What ended the sweep; None where nothing did.
        cut_short: A deletion has failed that might have been tried again.
        broken: Why the breaker ended the sweep; None when it did not.
        doors: Lists that Atlas dropped in mid-sweep are among what it knows.
        open: What is on its way; whoever sends puts it there and takes it away.
    """

    def __init__(
        self,
        log: DeletionLog,
        *,
        stop: StopRequest,
        breaker: CircuitBreaker,
        sources: SourceTracker,
        clock: Callable[[], float],
        on_deletion_done: Callable[[PlannedDeletion, DeletionResult], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._log = log
        self._stop = stop
        self._breaker = breaker
        self._clock = clock
        self._on_deletion_done = on_deletion_done
        self._on_stop = on_stop
        self._unsynced = 0
        self.sources = sources
        self.outcomes: Counter[Outcome] = Counter()
        self.error: Exception | None = None
        self.breaker_reason: str | None = None
        self.retries_cut_short = False
        self.in_flight: set[DeletionProgress] = set()

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new may be sent."""
        return (
            self.error is not None
            or self.breaker_reason is not None
            or self._stop.reason is not None
        )

    def can_send(self, planned: PlannedDeletion) -> bool:
        """Tell whether one that was announced may still go out."""
        return not (self.is_stopping or self.sources.is_retired(planned.invitation))

    def record(self, planned: PlannedDeletion, result: DeletionResult, started_s: float) -> None:
        """Take the end of one deletion, which began then.

        Raises:
            Exception: A defect in what is told of it; it is counted, and in the log.
        """
        outcome = result.outcome
        self.outcomes[outcome] += 1
        self.retries_cut_short |= result.retries_cut_short and outcome is Outcome.FAILED
        about_list = False
        if result.fatal_error is not None:
            about_list = self.sources.mark_retired(planned.invitation, result)
            if not about_list:
                self.abort(result.fatal_error)
        counts = outcome is not Outcome.SKIPPED and not about_list
        if counts and not self.sources.is_duplicate(planned.invitation, result):
            self._check_breaker(outcome)
        try:
            self._log.write_outcome(planned, result, (self._clock() - started_s) * 1000)
        except RunError as error:
            self.abort(error)
        self._on_deletion_done(planned, result)

    def skip(self, planned_deletions: Iterable[PlannedDeletion]) -> None:
        """Record of each that it was not sent."""
        for planned in planned_deletions:
            try:
                self.record(planned, _SKIPPED, self._clock())
            except Exception as error:  # noqa: BLE001 - one defect hides no other deletion
                self.abort(error)

    def skip_retired(self, group: list[PlannedDeletion]) -> None:
        """Take out of a group, and record, what is in a list that Atlas has dropped."""
        if self.sources.retired:
            self.skip(each for each in group if self.sources.is_retired(each.invitation))
            group[:] = [each for each in group if not self.sources.is_retired(each.invitation)]

    async def skip_queues(self, queues: Iterable[ProjectQueue]) -> None:
        """Record of all that is left in these that it was not sent."""
        for queue in queues:
            try:
                await self._skip_queue(queue)
            except Exception as error:  # noqa: BLE001 - one that cannot be read hides no other
                self.abort(error)

    async def _skip_queue(self, queue: ProjectQueue) -> None:
        while (planned := queue.peek()) is not None:
            queue.pop()
            self.skip((planned,))
            self._unsynced += 1
            if self._unsynced % LINES_PER_SYNC == 0 and self.error is None:
                await self._log.sync()
        queue.release_memory()

    def abort(self, error: Exception) -> None:
        """Send nothing more: the run has met trouble that is not about one invitation."""
        # What is not in the log cannot be shown to anybody: that counts before all else.
        takes_precedence = isinstance(error, AuditLogError) and not isinstance(
            self.error, AuditLogError
        )
        if self.error is None or takes_precedence:
            self.error = error
        self.cancel_in_flight()

    def cancel_in_flight(self) -> None:
        """Let what is on its way try no further, and nothing new be sent."""
        for progress in self.in_flight:
            progress.cancelled = True
        self._on_stop()

    def _check_breaker(self, outcome: Outcome) -> None:
        if self.breaker_reason is None and (reason := self._breaker.record(outcome)) is not None:
            self.breaker_reason = reason
            for progress in self.in_flight:
                # Whoever has sent a try goes on: its end had better be known.
                progress.cancelled |= progress.attempts == 0
            self._on_stop()


# Planned deletions, several at a time, each outcome recorded.
#
# For each deletion the order is: a turn at its bucket, `intent` on disk, DELETE, `outcome`.
# The plan is read from disk lane by lane (a lane is one project): a lane whose bucket is dry
# steps aside until there is a token again, and holds up nobody. One task announces deletions,
# one sync of the disk for a group of them; the others send what was announced.


_SYNC_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """How a sweep goes about it.

    Attributes:
        workers: So many send at a time; whoever waits between tries is stood in for.
        stand_ins: So many do that at most.
        canary: The first so many go out alone; 0 for none.
        grace_s: How long what is in flight may go on after a stop.
        several_doors: The plan is of several lists; see `doors`.
    """

    workers: int
    canary: int
    grace_s: float
    extra_workers: int = 0
    multiple_sources: bool = False


class SweepExecutor:
    """One pass over a plan.

    Args:
        clock: Monotonic seconds.
        swept: Called after each outcome, when it is in the log.

    Attributes:
        reckoning: How it stands; once `run` has returned or raised its tally adds up to the
            plan, but for a lane that cannot be read back.
    """

    def __init__(
        self,
        deleter: Deleter,
        log: DeletionLog,
        *,
        stop: StopRequest,
        breaker: CircuitBreaker,
        clock: Callable[[], float],
        options: ExecutorOptions,
        on_deletion_done: Callable[
            [PlannedDeletion, DeletionResult], None
        ] = lambda _planned, _deletion: None,
    ) -> None:
        self._deleter = deleter
        self._log = log
        self._stop = stop
        self._clock = clock
        self._options = options
        self._ready = ReadyQueue(0)
        self._tasks: list[asyncio.Task[None]] = []
        self._max_tasks = 0
        self.recorder = OutcomeRecorder(
            log,
            stop=stop,
            breaker=breaker,
            sources=SourceTracker(multiple_sources=options.multiple_sources),
            clock=clock,
            on_deletion_done=on_deletion_done,
            on_stop=self._close_queue,
        )

    async def run(self, queues: Iterable[ProjectQueue]) -> None:
        """Carry out the plan; every planned deletion that can be read back gets one outcome.

        Raises:
            RunError: The audit log failed, or an answer was about the run (credentials,
                version). What was in flight has ended; the rest is `skipped`.
            Exception: A defect of the program, with which a sweep ends in the same way.
        """
        pending = ProjectQueues(queues, self._deleter.try_acquire, self._clock)
        if self._options.canary:
            await self._run_phase(pending, max_deletions=self._options.canary)
        await self._run_phase(pending, max_deletions=None)
        await self.recorder.skip_queues(pending.drain())
        if self.recorder.error is not None:
            raise self.recorder.error

    async def _run_phase(self, pending: ProjectQueues, *, max_deletions: int | None) -> None:
        """Delete until the queue is empty, `most` are done, or the sweep has to end."""
        count = (
            self._options.workers
            if max_deletions is None
            else min(self._options.workers, max_deletions)
        )
        self._ready = ReadyQueue(count)
        self._tasks = tasks = [
            asyncio.create_task(self._write_intents(CanaryLimit(pending, max_deletions)))
        ]
        self._max_tasks = 1 + count + self._options.extra_workers
        tasks += [asyncio.create_task(self._worker()) for _ in range(count)]
        helpers = [
            asyncio.create_task(self._cancel_after_grace()),
            asyncio.create_task(self._sync_periodically()),
        ]
        try:
            while unfinished := [task for task in tasks if not task.done()]:
                await asyncio.wait(unfinished)
        finally:
            for task in (*helpers, *tasks):
                task.cancel()
            results = await asyncio.gather(*helpers, *tasks, return_exceptions=True)
        self.recorder.skip(self._ready.drain())
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _close_queue(self) -> None:
        self._ready.close()

    def _add_worker(self) -> None:
        """Let somebody else send while a deletion waits between its tries."""
        if len(self._tasks) < self._max_tasks:
            self._tasks.append(asyncio.create_task(self._worker()))

    async def _cancel_after_grace(self) -> None:
        """After a stop, give what is in flight its grace, and then end it."""
        await self._stop.requested.wait()
        self.recorder.cancel_in_flight()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.forced.wait(), self._options.grace_s)
        for task in self._tasks:
            task.cancel()

    async def _sync_periodically(self) -> None:
        """Have on disk what has ended, also while nothing is announced: the wait may be long."""
        try:
            while True:
                await asyncio.sleep(_SYNC_INTERVAL_S)
                await self._log.sync()
        except RunError as error:
            self.recorder.abort(error)

    async def _write_intents(self, source: CanaryLimit) -> None:
        """Have the intents of all that may be sent on disk, in groups, as there is room."""
        group: list[PlannedDeletion] = []
        try:
            while (free_slots := await self._ready.free_slots()) and not self.recorder.is_stopping:
                wait_s = source.take_batch(group, free_slots)
                if group:
                    await self._sync_intents(group)
                elif wait_s is None:
                    return
                else:
                    await self._ready.sleep(wait_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing more may be sent
            self.recorder.abort(error)
        finally:
            self._ready.close()
            self.recorder.skip(group)

    async def _sync_intents(self, group: list[PlannedDeletion]) -> None:
        self.recorder.skip_retired(group)
        self._log.write_intents(group)
        await self._log.sync()
        self._ready.put(group)
        group.clear()

    async def _worker(self) -> None:
        """Send what is announced, one after another."""
        ready, recorder = self._ready, self.recorder
        try:
            while (planned := ready.get_nowait() or await ready.get()) is not None:
                if not recorder.can_send(planned):
                    recorder.skip((planned,))
                    continue
                started_s, progress = self._clock(), DeletionProgress(on_backoff=self._add_worker)
                recorder.in_flight.add(progress)
                try:
                    result = await self._deleter.delete(planned.invitation, progress)
                except asyncio.CancelledError:
                    recorder.record(planned, progress.result_if_interrupted(), started_s)
                    raise
                except Exception as error:  # noqa: BLE001 - a defect
                    recorder.abort(error)
                    result = progress.result_if_interrupted()
                finally:
                    recorder.in_flight.discard(progress)
                recorder.record(planned, result, started_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing more may be sent
            recorder.abort(error)
