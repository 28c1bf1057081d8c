"""Sends the planned deletions concurrently and records each outcome.

For each deletion the order is: a rate-limit token, the `intent` on disk, the DELETE, the
`outcome`. One task reads the project queues and writes intents in groups, with one sync per
group; the workers send what is on disk.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from invite_sweeper.audit import PlanReader, SweepRecorder
from invite_sweeper.errors import ApiVersionRetired, AuditLogError, RunError
from invite_sweeper.models import (
    DeletionProgress,
    DeletionResult,
    Invitation,
    Outcome,
    PlannedDeletion,
    Source,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.connection import Deleter
from invite_sweeper.sweep.guards import CircuitBreaker
from invite_sweeper.sweep.work_queue import CanaryLimit, ProjectQueues, ReadyQueue

LINES_PER_SYNC = 1000
"""Lines of skipped deletions that are written between two syncs."""
_SKIPPED = DeletionResult(Outcome.SKIPPED, 0)
_CHANGED = DeletionResult(Outcome.CHANGED, 0)


class OutcomeRecorder:
    """Records outcomes and decides whether the sweep may continue.

    Args:
        is_current: Returns whether an invitation is still listed as it was planned.
        clock: Monotonic seconds.
        on_deletion_done: Called after each outcome was written to the log.
        on_stop: Called when nothing new may be sent; may be called again.

    Attributes:
        retired: Sources that Atlas retired during the sweep, with a message for each; the
            sweep continues with the others.
        outcomes: Deletions by outcome.
        error: What ended the sweep; None while nothing did.
        breaker_reason: Why the circuit breaker opened; None while it is closed.
        retries_cut_short: A deletion failed that could have been retried.
        in_flight: Deletions being sent; the workers add and remove them.
    """

    def __init__(
        self,
        log: SweepRecorder,
        *,
        stop: StopRequest,
        breaker: CircuitBreaker,
        multiple_sources: bool,
        is_current: Callable[[Invitation], bool],
        clock: Callable[[], float],
        on_deletion_done: Callable[[PlannedDeletion, DeletionResult], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._log = log
        self._stop = stop
        self._breaker = breaker
        self._is_current = is_current
        self._clock = clock
        self._on_deletion_done = on_deletion_done
        self._on_stop = on_stop
        self._unsynced = 0
        self._multiple_sources = multiple_sources
        self.retired: dict[Source, str] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self.error: Exception | None = None
        self.breaker_reason = breaker.reason  # it may have opened in another organization
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
        """Return whether a deletion with its intent on disk may still be sent."""
        return not (self.is_stopping or planned.invitation.source in self.retired)

    def record(self, planned: PlannedDeletion, result: DeletionResult, started_s: float) -> None:
        """Record the result of one deletion that began at `started_s`.

        Raises:
            Exception: A defect in `on_deletion_done`; the outcome is counted and logged.
        """
        outcome = result.outcome
        self.outcomes[outcome] += 1
        self.retries_cut_short |= result.retries_cut_short and outcome is Outcome.FAILED
        about_list = False
        if result.fatal_error is not None:
            about_list = self._mark_retired(planned.invitation.source, result.fatal_error)
            if not about_list:
                self.abort(result.fatal_error)
        if result not in (_SKIPPED, _CHANGED) and not about_list:
            self._check_breaker(outcome)
        try:
            self._log.write_outcome(planned, result, (self._clock() - started_s) * 1000)
        except RunError as error:
            self.abort(error)
        self._on_deletion_done(planned, result)

    def admits(self, planned: PlannedDeletion) -> bool:
        """Return whether a deletion may be sent; record that it was not otherwise."""
        if planned.invitation.source in self.retired:
            self.skip((planned,))
        elif not self._is_current(planned.invitation):
            self.skip((planned,), _CHANGED)
        else:
            return True
        return False

    def skip(
        self, planned_deletions: Iterable[PlannedDeletion], result: DeletionResult | None = None
    ) -> None:
        """Record that these deletions were not sent."""
        for planned in planned_deletions:
            try:
                self.record(planned, result or _SKIPPED, self._clock())
            except Exception as error:  # noqa: BLE001 - record the others in spite of a defect
                self.abort(error)

    async def skip_queues(self, queues: Iterable[PlanReader]) -> None:
        """Record that all remaining deletions of these queues were not sent."""
        for queue in queues:
            try:
                await self._skip_queue(queue)
            except Exception as error:  # noqa: BLE001 - skip the other queues as well
                self.abort(error)

    async def _skip_queue(self, queue: PlanReader) -> None:
        while (planned := queue.peek()) is not None:
            queue.pop()
            self.skip((planned,))
            self._unsynced += 1
            if self._unsynced % LINES_PER_SYNC == 0 and self.error is None:
                await self._log.sync()
        queue.release_memory()

    def _mark_retired(self, source: Source, error: RunError) -> bool:
        """Record a 410 response; return True if it concerns only this source of several."""
        if not (self._multiple_sources and isinstance(error, ApiVersionRetired)):
            return False
        self.retired.setdefault(source, " ".join(filter(None, (error.message, error.hint))))
        return True

    def abort(self, error: Exception) -> None:
        """Stop the sweep because of an error that concerns the run."""
        # An incomplete audit log is the worst state, so its error replaces any other.
        takes_precedence = isinstance(error, AuditLogError) and not isinstance(
            self.error, AuditLogError
        )
        if self.error is None or takes_precedence:
            self.error = error
        self.cancel_in_flight()

    def cancel_in_flight(self) -> None:
        """Prevent retries of the deletions in flight, and new deletions."""
        for progress in self.in_flight:
            progress.cancelled = True
        self._on_stop()

    def _check_breaker(self, outcome: Outcome) -> None:
        if self.breaker_reason is None and (reason := self._breaker.record(outcome)) is not None:
            self.breaker_reason = reason
            for progress in self.in_flight:
                # A deletion that was sent may retry, so that its outcome becomes known.
                progress.cancelled |= progress.attempts == 0
            self._on_stop()


_SYNC_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class ExecutorOptions:
    """Settings of a sweep.

    Attributes:
        workers: Deletions sent at a time.
        canary: Deletions that must end before any other is sent; 0 for none.
        grace_s: How long deletions in flight may continue after a stop.
        extra_workers: Workers started at most while other deletions back off.
        multiple_sources: The plan covers several sources: the end of one is not that of all.
        is_current: Returns whether an invitation is still listed as it was planned.
    """

    workers: int
    canary: int
    grace_s: float
    extra_workers: int = 0
    multiple_sources: bool = False
    is_current: Callable[[Invitation], bool] = lambda _: True


class SweepExecutor:
    """Executes a plan once.

    Args:
        clock: Monotonic seconds.
        on_deletion_done: Called after each outcome was written to the log.

    Attributes:
        recorder: The outcomes. After `run` they add up to the plan, except for queues that
            could not be read back.
    """

    def __init__(
        self,
        deleter: Deleter,
        log: SweepRecorder,
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
            multiple_sources=options.multiple_sources,
            is_current=options.is_current,
            clock=clock,
            on_deletion_done=on_deletion_done,
            on_stop=self._close_queue,
        )

    async def run(self, queues: Iterable[PlanReader]) -> None:
        """Execute the plan; every deletion that can be read back gets exactly one outcome.

        Raises:
            RunError: The audit log failed, or a response concerned the run (credentials, API
                version). Deletions in flight have ended; the rest is `skipped`.
            Exception: A defect of the program; the state is the same.
        """
        pending = ProjectQueues(
            queues, self._deleter.try_acquire, self._clock, self.recorder.admits
        )
        if self._options.canary:
            await self._run_phase(pending, max_deletions=self._options.canary)
        await self._run_phase(pending, max_deletions=None)
        await self.recorder.skip_queues(pending.drain())
        if self.recorder.error is not None:
            raise self.recorder.error

    async def _run_phase(self, pending: ProjectQueues, *, max_deletions: int | None) -> None:
        """Delete until the queues are empty, `max_deletions` are done, or the sweep must stop."""
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
        """Start an extra worker while a deletion backs off."""
        if len(self._tasks) < self._max_tasks:
            self._tasks.append(asyncio.create_task(self._worker()))

    async def _cancel_after_grace(self) -> None:
        """After a stop, wait for the grace period, then cancel the deletions in flight."""
        await self._stop.requested.wait()
        self.recorder.cancel_in_flight()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.forced.wait(), self._options.grace_s)
        for task in self._tasks:
            task.cancel()

    async def _sync_periodically(self) -> None:
        """Sync outcomes to disk also while no intents are written, which may take long."""
        try:
            while True:
                await asyncio.sleep(_SYNC_INTERVAL_S)
                await self._log.sync()
        except RunError as error:
            self.recorder.abort(error)

    async def _write_intents(self, source: CanaryLimit) -> None:
        """Write the intents of deletions that may be sent, in groups, as the queue has room."""
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
        except Exception as error:  # noqa: BLE001 - after any error nothing more may be sent
            self.recorder.abort(error)
        finally:
            self._ready.close()
            self.recorder.skip(group)

    async def _sync_intents(self, group: list[PlannedDeletion]) -> None:
        self._log.write_intents(group)
        await self._log.sync()
        self._ready.put(group)
        group.clear()

    async def _worker(self) -> None:
        """Send deletions from the ready queue until it is closed and empty."""
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
        except Exception as error:  # noqa: BLE001 - after any error nothing more may be sent
            recorder.abort(error)
