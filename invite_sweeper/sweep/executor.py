"""Sends the planned deletions of one organization concurrently and records each outcome.

For each deletion the order is: a rate-limit token, the `intent` on disk, the DELETE, the
`outcome`. One task reads the project queues and writes intents in groups, with one sync per
group; a deletion whose intent is on disk is a task that waits for a slot.
"""

import asyncio
import contextlib
import heapq
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from typing import Final, TypeAlias

from invite_sweeper.atlas import AtlasDeleter
from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned
from invite_sweeper.errors import ApiVersionRetired, AuditLogError, RunError
from invite_sweeper.models import DeletionProgress, DeletionResult, Invitation, Outcome, Source
from invite_sweeper.policy import Execution
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.guards import CircuitBreaker

LINES_PER_SYNC: Final = 1000
"""Lines of skipped deletions that are written between two syncs."""
_SYNC_INTERVAL_S = 1.0
_SKIPPED: Final = DeletionResult(Outcome.SKIPPED, 0)

Deletion: TypeAlias = tuple[Planned, Invitation]
"""A planned deletion, and the invitation that its DELETE names."""


class ProjectQueues:
    """The planned deletions by list.

    A queue that the rate limits do not admit is postponed, so that it does not block the others.
    When its wait is over it comes first, because it has the most left to do.

    Args:
        try_acquire: Acquires the tokens for one deletion and returns 0.0, or returns the
            seconds to wait.
        clock: Monotonic seconds.
        admits: Returns whether a deletion may be sent; one that may not is removed.
    """

    def __init__(
        self,
        plan: Iterable[Planned],
        try_acquire: Callable[[Invitation], float],
        clock: Callable[[], float],
        admits: Callable[[Planned], bool] = lambda _: True,
    ) -> None:
        queues: dict[tuple[str, ...], deque[Planned]] = {}
        for planned in plan:
            queues.setdefault(planned.key[:3], deque()).append(planned)
        self._ready = deque(queues.values())
        self._waiting: list[tuple[float, int, deque[Planned]]] = []
        self._try_acquire = try_acquire
        self._clock = clock
        self._admits = admits
        self._sequence = 0

    def take(self, group: list[Deletion], most: int) -> float | None:
        """Fill a group with deletions that may be sent now.

        If a queue raises, the group contains what was taken before.

        Returns:
            The seconds to wait for more if the rate limits ended the group; None if the group
            is full or no deletion is left.
        """
        while len(group) < most:
            found = self.next()
            if not isinstance(found, tuple):
                return found
            group.append(found)
        return None

    def next(self) -> Deletion | float | None:
        """Return the next deletion, the seconds to wait for one, or None at the end."""
        while self._waiting and self._waiting[0][0] <= self._clock():
            self._ready.appendleft(heapq.heappop(self._waiting)[2])
        while self._ready:
            queue = self._ready[0]
            if not queue:
                self._ready.popleft()
            elif not self._admits(queue[0]):
                queue.popleft()
            else:
                invitation = queue[0].invitation()
                wait_s = self._try_acquire(invitation)
                if wait_s <= 0:
                    return queue.popleft(), invitation
                self._sequence += 1
                entry = (self._clock() + wait_s, self._sequence, self._ready.popleft())
                heapq.heappush(self._waiting, entry)
        return max(0.0, self._waiting[0][0] - self._clock()) if self._waiting else None

    def drain(self) -> Iterator[Planned]:
        """Remove and yield what is left; no token is acquired."""
        for queue in (*self._ready, *(queue for *_, queue in self._waiting)):
            while queue:
                yield queue.popleft()


class SweepExecutor:
    """Executes a plan once.

    Args:
        several_sources: The policy has several: the end of one is not that of all.
        clock: Monotonic seconds.
        on_deletion_done: Called after each outcome was written to the log.

    Attributes:
        outcomes: Deletions by outcome. After `run` they add up to the plan.
        retired: Sources that Atlas retired during the sweep, with a message for each; the
            sweep continues with the others.
        error: What ended the sweep; None while nothing did.
        breaker_reason: Why the circuit breaker opened; None while it is closed.
        retries_cut_short: A deletion failed that could have been retried.
    """

    def __init__(
        self,
        deleter: AtlasDeleter,
        log: AuditLog,
        *,
        stop: StopRequest,
        breaker: CircuitBreaker,
        clock: Callable[[], float],
        execution: Execution,
        several_sources: bool,
        on_deletion_done: Callable[[Planned, DeletionResult], None],
    ) -> None:
        self._deleter = deleter
        self._log = log
        self._stop = stop
        self._breaker = breaker
        self._clock = clock
        self._execution = execution
        self._several_sources = several_sources
        self._on_deletion_done = on_deletion_done
        self._slots = asyncio.Semaphore(execution.concurrency)
        self._extra_slots = execution.concurrency  # at most, while others back off
        self._ready: deque[Deletion] = deque()  # on disk, and without a slot
        self._wake = asyncio.Event()  # when more intents may be written, or nothing more is sent
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: set[DeletionProgress] = set()
        self.outcomes: Counter[Outcome] = Counter()
        self.retired: dict[Source, str] = {}
        self.error: Exception | None = None
        self.breaker_reason = breaker.reason  # it may have opened in another organization
        self.retries_cut_short = False

    async def run(self, plan: Iterable[Planned]) -> None:
        """Execute the plan; every deletion gets exactly one outcome.

        Raises:
            RunError: The audit log failed, or a response concerned the run (credentials, API
                version). Deletions in flight have ended; the rest is `skipped`.
            Exception: A defect of the program; the state is the same.
        """
        queues = ProjectQueues(plan, self._deleter.try_acquire, self._clock, self._admits)
        helpers = [
            asyncio.create_task(self._cancel_after_grace()),
            asyncio.create_task(self._sync_periodically()),
        ]
        try:
            for most in (self._breaker.canary_left, None):
                self._start(self._write_intents(queues, most))
                while self._tasks:
                    await asyncio.wait(self._tasks)
        finally:
            ending = (*helpers, *self._tasks)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
        left = (*(planned for planned, _ in self._ready), *queues.drain())
        for number, planned in enumerate(left, start=1):
            self._record(planned, _SKIPPED)
            if number % LINES_PER_SYNC == 0 and self.error is None:
                await self._sync()
        if self.error is not None:
            raise self.error

    @property
    def _is_stopping(self) -> bool:
        """Whether nothing new may be sent."""
        reasons = self.error, self.breaker_reason, self._stop.reason
        return any(each is not None for each in reasons)

    def _start(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _admits(self, planned: Planned) -> bool:
        """Return whether a deletion may be sent; record that it was not otherwise."""
        if planned.source not in self.retired:
            return True
        self._record(planned, _SKIPPED)
        return False

    async def _write_intents(self, queues: ProjectQueues, most: int | None) -> None:
        """Write the intents of deletions that may be sent, in groups, and start them.

        Each group costs one sync to disk. So the next one is written while deletions wait for
        as many slots as there are, and only once half of them have got one.

        Args:
            most: The canary, which ends before any other deletion begins; None for no limit.
        """
        group: list[Deletion] = []
        try:
            while most != 0 and not self._is_stopping:
                self._wake.clear()
                free = self._execution.concurrency - len(self._ready)
                if free * 2 < self._execution.concurrency:
                    await self._wake.wait()
                    continue
                wait_s = queues.take(group, free if most is None else min(free, most))
                if group:
                    most = None if most is None else most - len(group)
                    for planned, _ in group:
                        self._log.write(planned.as_event(Intent, rule=planned.rule))
                    await self._log.sync()
                    self._ready.extend(group)
                    for _ in group:
                        self._start(self._send())
                    group.clear()
                elif wait_s is None:
                    return
                else:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), wait_s)
        except Exception as error:  # noqa: BLE001 - after any error nothing more may be sent
            self._abort(error)
        finally:
            for planned, _ in group:
                self._record(planned, _SKIPPED)

    async def _send(self) -> None:
        """Send the next deletion whose intent is on disk, once there is a slot for it."""
        async with self._slots:
            planned, invitation = self._ready.popleft()
            self._wake.set()
            if self._is_stopping or planned.source in self.retired:
                self._record(planned, _SKIPPED)
                return
            started_s, progress = self._clock(), DeletionProgress(on_backoff=self._add_slot)
            self._in_flight.add(progress)
            try:
                result = await self._deleter.delete(invitation, progress)
            except asyncio.CancelledError:
                self._record(planned, progress.result_if_interrupted(), started_s)
                raise
            except Exception as error:  # noqa: BLE001 - a defect
                self._abort(error)
                result = progress.result_if_interrupted()
            finally:
                self._in_flight.discard(progress)
            self._record(planned, result, started_s)

    def _add_slot(self) -> None:
        """Let another deletion be sent while one backs off."""
        if self._extra_slots:
            self._extra_slots -= 1
            self._slots.release()

    def _record(
        self, planned: Planned, result: DeletionResult, started_s: float | None = None
    ) -> None:
        """Record the result of one deletion, and whether the sweep may go on."""
        outcome, error = result.outcome, result.fatal_error
        self.outcomes[outcome] += 1
        self.retries_cut_short |= result.retries_cut_short and outcome is Outcome.FAILED
        if self._several_sources and isinstance(error, ApiVersionRetired):
            text = " ".join(filter(None, (error.message, error.hint)))
            self.retired.setdefault(planned.source, text)
        else:
            if error is not None:
                self._abort(error)
            if result != _SKIPPED:
                self._check_breaker(outcome)
        elapsed_s = 0.0 if started_s is None else self._clock() - started_s
        try:
            self._log.write(
                planned.as_event(
                    OutcomeLine,
                    rule=planned.rule,
                    outcome=outcome,
                    attempts=result.attempts,
                    http_status=result.http_status,
                    error_code=result.error_code,
                    duration_ms=round(elapsed_s * 1000, 1),
                    seen_before=result.seen_before,
                    seen_after=result.seen_after,
                )
            )
        except RunError as failure:
            self._abort(failure)
        try:
            self._on_deletion_done(planned, result)
        except Exception as defect:  # noqa: BLE001 - record the others in spite of a defect
            self._abort(defect)

    def _check_breaker(self, outcome: Outcome) -> None:
        if self.breaker_reason is None and (reason := self._breaker.record(outcome)) is not None:
            self.breaker_reason = reason
            for progress in self._in_flight:
                # A deletion that was sent may retry, so that its outcome becomes known.
                progress.cancelled |= progress.attempts == 0
            self._wake.set()

    def _abort(self, error: Exception) -> None:
        """Stop the sweep because of an error that concerns the run."""
        # An incomplete audit log is the worst state, so its error replaces any other.
        takes_precedence = isinstance(error, AuditLogError) and not isinstance(
            self.error, AuditLogError
        )
        if self.error is None or takes_precedence:
            self.error = error
        self._cancel_in_flight()

    def _cancel_in_flight(self) -> None:
        """Prevent retries of the deletions in flight, and new deletions."""
        for progress in self._in_flight:
            progress.cancelled = True
        self._wake.set()

    async def _cancel_after_grace(self) -> None:
        """After a stop, wait for the grace period, then cancel the deletions in flight."""
        await self._stop.requested.wait()
        self._cancel_in_flight()
        with contextlib.suppress(TimeoutError):
            grace_s = self._execution.grace.total_seconds()
            await asyncio.wait_for(self._stop.forced.wait(), grace_s)
        for task in self._tasks:
            task.cancel()

    async def _sync_periodically(self) -> None:
        """Sync outcomes to disk also while no intents are written, which may take long."""
        while True:
            await asyncio.sleep(_SYNC_INTERVAL_S)
            await self._sync()

    async def _sync(self) -> None:
        try:
            await self._log.sync()
        except Exception as error:  # noqa: BLE001 - after any error nothing more may be sent
            self._abort(error)
