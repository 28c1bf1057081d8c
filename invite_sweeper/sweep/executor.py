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

from invite_sweeper.atlas import AtlasDeleter
from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned
from invite_sweeper.errors import ApiVersionRetired, AuditLogError, RunError
from invite_sweeper.models import (
    DeletionProgress,
    DeletionResult,
    Outcome,
    Source,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.guards import CircuitBreaker
from invite_sweeper.sweep.work_queue import CanaryLimit, Deletion, ProjectQueues, ReadyQueue

LINES_PER_SYNC = 1000
"""Lines of skipped deletions that are written between two syncs."""
_SKIPPED = DeletionResult(Outcome.SKIPPED, 0)


class OutcomeRecorder:
    """Records outcomes and decides whether the sweep may continue.

    Args:
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
        log: AuditLog,
        *,
        stop: StopRequest,
        breaker: CircuitBreaker,
        multiple_sources: bool,
        clock: Callable[[], float],
        on_deletion_done: Callable[[Planned, DeletionResult], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._log = log
        self._stop = stop
        self._breaker = breaker
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

    def can_send(self, deletion: Deletion) -> bool:
        """Return whether a deletion with its intent on disk may still be sent."""
        return not (self.is_stopping or deletion.planned.source in self.retired)

    def record(self, deletion: Deletion, result: DeletionResult, started_s: float) -> None:
        """Record the result of one deletion that began at `started_s`.

        Raises:
            Exception: A defect in `on_deletion_done`; the outcome is counted and logged.
        """
        planned, outcome = deletion.planned, result.outcome
        self.outcomes[outcome] += 1
        self.retries_cut_short |= result.retries_cut_short and outcome is Outcome.FAILED
        about_list = False
        if result.fatal_error is not None:
            about_list = self._mark_retired(planned.source, result.fatal_error)
            if not about_list:
                self.abort(result.fatal_error)
        if result != _SKIPPED and not about_list:
            self._check_breaker(outcome)
        try:
            self._log.write(
                planned.as_event(
                    OutcomeLine,
                    rule=planned.rule,
                    outcome=outcome,
                    attempts=result.attempts,
                    http_status=result.http_status,
                    error_code=result.error_code,
                    duration_ms=round((self._clock() - started_s) * 1000, 1),
                    seen_before=result.seen_before,
                    seen_after=result.seen_after,
                )
            )
        except RunError as error:
            self.abort(error)
        self._on_deletion_done(planned, result)

    def admits(self, planned: Planned) -> bool:
        """Return whether a deletion may be sent; record that it was not otherwise."""
        if planned.source in self.retired:
            self.skip([planned])
        return planned.source not in self.retired

    def skip(self, not_sent: Iterable[Planned]) -> None:
        """Record that these deletions were not sent."""
        for planned in not_sent:
            try:
                self.record(Deletion.of(planned), _SKIPPED, self._clock())
            except Exception as error:  # noqa: BLE001 - record the others in spite of a defect
                self.abort(error)

    async def skip_rest(self, not_sent: Iterable[Planned]) -> None:
        """Record that the rest of the plan was not sent, with a sync now and then."""
        for number, planned in enumerate(not_sent, start=1):
            self.skip([planned])
            if number % LINES_PER_SYNC == 0 and self.error is None:
                await self._log.sync()

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
    """

    workers: int
    canary: int
    grace_s: float
    extra_workers: int = 0
    multiple_sources: bool = False


class SweepExecutor:
    """Executes a plan once.

    Args:
        clock: Monotonic seconds.
        on_deletion_done: Called after each outcome was written to the log.

    Attributes:
        recorder: The outcomes. After `run` they add up to the plan.
    """

    def __init__(
        self,
        deleter: AtlasDeleter,
        log: AuditLog,
        *,
        stop: StopRequest,
        breaker: CircuitBreaker,
        clock: Callable[[], float],
        options: ExecutorOptions,
        on_deletion_done: Callable[[Planned, DeletionResult], None] = lambda _planned, _deletion: (
            None
        ),
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
            clock=clock,
            on_deletion_done=on_deletion_done,
            on_stop=self._close_queue,
        )

    async def run(self, plan: Iterable[Planned]) -> None:
        """Execute the plan; every deletion gets exactly one outcome.

        Raises:
            RunError: The audit log failed, or a response concerned the run (credentials, API
                version). Deletions in flight have ended; the rest is `skipped`.
            Exception: A defect of the program; the state is the same.
        """
        pending = ProjectQueues(plan, self._deleter.try_acquire, self._clock, self.recorder.admits)
        if self._options.canary:
            await self._run_phase(pending, max_deletions=self._options.canary)
        await self._run_phase(pending, max_deletions=None)
        await self.recorder.skip_rest(pending.drain())
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
        self.recorder.skip(each.planned for each in self._ready.drain())
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
        group: list[Deletion] = []
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
            self.recorder.skip(each.planned for each in group)

    async def _sync_intents(self, group: list[Deletion]) -> None:
        for planned, _ in group:
            self._log.write(planned.as_event(Intent, rule=planned.rule))
        await self._log.sync()
        self._ready.put(group)
        group.clear()

    async def _worker(self) -> None:
        """Send deletions from the ready queue until it is closed and empty."""
        ready, recorder = self._ready, self.recorder
        try:
            while (deletion := ready.get_nowait() or await ready.get()) is not None:
                if not recorder.can_send(deletion):
                    recorder.skip([deletion.planned])
                    continue
                started_s, progress = self._clock(), DeletionProgress(on_backoff=self._add_worker)
                recorder.in_flight.add(progress)
                try:
                    result = await self._deleter.delete(deletion.invitation, progress)
                except asyncio.CancelledError:
                    recorder.record(deletion, progress.result_if_interrupted(), started_s)
                    raise
                except Exception as error:  # noqa: BLE001 - a defect
                    recorder.abort(error)
                    result = progress.result_if_interrupted()
                finally:
                    recorder.in_flight.discard(progress)
                recorder.record(deletion, result, started_s)
        except Exception as error:  # noqa: BLE001 - after any error nothing more may be sent
            recorder.abort(error)
