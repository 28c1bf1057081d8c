"""Delete what the plan contains.

For each deletion the order is: its rate-limit tokens, the `intent` on disk, the DELETE, the
`outcome`. `atlas.deleter` sends the DELETE, and reads a user just before it.

Each planned deletion gets exactly one outcome; what was not sent is `skipped`. After an error that
concerns the run, a stop or the circuit breaker, nothing new is sent. The breaker opens if more than
half of the canary, the first deletions, failed; after that if, of the last `breaker_window`
outcomes, more than `max_failure_share` failed or more than `max_already_gone_share` were gone.

One task reads the project queues and writes intents in groups, with one sync per group; a deletion
whose intent is on disk is a task that waits for a slot.
"""

import asyncio
import contextlib
import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Container, Coroutine, Iterable, Iterator
from fractions import Fraction
from typing import Final, NamedTuple

from invite_sweeper.atlas.responses import is_permission_error
from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned
from invite_sweeper.endings import Reason, WarningCode
from invite_sweeper.errors import ApiVersionRetired, AuditLogError, RunError
from invite_sweeper.models import Invitation, ListKey, PersonKey, Source, hint_without
from invite_sweeper.outcomes import Counts, Outcome, Sending
from invite_sweeper.policy import Limits
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.plan import OrganizationPlan, Swept
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import pluralize

_SYNC_INTERVAL_S: Final = 1.0
"""How long outcomes may wait for the disk while no intents are written."""


async def delete(result: Result, log: AuditLog, stop: StopRequest) -> None:
    """Delete what is planned, one organization after the other.

    Each deletion gets an outcome, which is added to the result. One breaker watches all of them.

    Raises:
        RunError: The audit log failed, or a stop came. The rest is `skipped`.
    """
    breaker = CircuitBreaker(result.command.policy.limits)
    log_failure: AuditLogError | None = None
    for plan in result.plans:
        organization = plan.organization
        if log_failure is not None:  # no deletion of any organization can be recorded any more
            result.skip(plan)
            continue
        if not plan.deletions:
            continue
        result.view.started("Deleting invitations", len(plan.deletions), organization.label)
        executor = Executor(result, plan, log, stop, breaker)
        error: RunError | None = None
        try:
            await executor.run()
        except AuditLogError as raised:
            log_failure = raised
        except RunError as raised:  # of this organization: the others go on
            consequence = _deleted_by_then(executor.swept())
            error = result.error_in(organization, raised.having(consequence=consequence))
        result.add_swept(organization, executor.swept(error))

    if breaker.reason is not None:
        result.stopped_by.append(Reason.CIRCUIT_BREAKER)
        result.warn_of(WarningCode.CIRCUIT_BREAKER, f"The sweep stopped itself: {breaker.reason}")
    if log_failure is not None:
        raise log_failure.having(consequence=_deleted_by_then(*result.swept.values()))

    # A stop after which nothing was left to do does not make the end an error.
    is_unfinished = any(_is_unfinished(swept) for swept in result.swept.values())
    if stop.reason is not None and is_unfinished:
        raise stop.as_error(consequence="The audit log is complete.")


def _is_unfinished(swept: Swept) -> bool:
    """Return whether a deletion of an organization was not sent, failed, or is not known."""
    unfinished = (Outcome.SKIPPED, Outcome.UNKNOWN, Outcome.FAILED)
    return any(swept.outcomes[outcome] for outcome in unfinished)


def _deleted_by_then(*parts: Swept) -> str:
    count = sum(swept.outcomes[Outcome.DELETED] for swept in parts)
    return f"{pluralize(count, 'invitation')} had been deleted by then."


class _Postponed(NamedTuple):
    """A queue that the rate limits do not admit before an instant.

    Postponed queues are ordered by this instant. Of two with the same, the first one that was
    postponed comes first: its number decides, as deletions have no order.
    """

    ready_at_s: float
    sequence: int
    queue: deque[Planned]


class ProjectQueues:
    """The planned deletions by list.

    A queue that the rate limits do not admit is postponed, so that it does not block the others.
    When its wait is over it comes first, because it has the most left to do.

    Args:
        try_acquire: Acquires the tokens for one deletion and returns 0.0, or returns the
            seconds to wait.
        clock: Monotonic seconds.
        retired: Sources of which nothing more is sent.
    """

    def __init__(
        self,
        plan: Iterable[Planned],
        try_acquire: Callable[[Invitation], float],
        clock: Callable[[], float],
        retired: Container[Source] = (),
    ) -> None:
        queues: defaultdict[ListKey, deque[Planned]] = defaultdict(deque)
        for planned in plan:
            queues[planned.list_key].append(planned)
        self._all = tuple(queues.values())
        self._ready = deque(self._all)
        self._postponed: list[_Postponed] = []  # a heap
        self._try_acquire = try_acquire
        self._clock = clock
        self._retired = retired
        self._sequence = 0

    def take(self, group: list[Planned], size: int) -> float | None:
        """Fill a group with deletions that may be sent now.

        If a token cannot be acquired for a defect, the group contains what was taken before.

        Args:
            size: Of the full group.

        Returns:
            The seconds to wait for more if the rate limits ended the group; None if the group
            is full or no deletion is left.
        """
        now_s = self._clock()
        while self._postponed and self._postponed[0].ready_at_s <= now_s:
            ready = heapq.heappop(self._postponed)
            self._ready.appendleft(ready.queue)
        while self._ready and len(group) < size:
            queue = self._ready[0]
            if not queue or queue[0].source in self._retired:
                self._ready.popleft()
                continue
            wait_s = self._try_acquire(queue[0])
            if wait_s <= 0:
                group.append(queue.popleft())
            else:
                self._ready.popleft()
                self._sequence += 1
                postponed = _Postponed(now_s + wait_s, self._sequence, queue)
                heapq.heappush(self._postponed, postponed)
        if self._ready or len(group) == size or not self._postponed:
            return None
        return self._postponed[0].ready_at_s - now_s

    def left(self) -> Iterator[Planned]:
        """Yield the deletions that were not taken."""
        for queue in self._all:
            yield from queue


_JUDGED: Final = (
    (Outcome.FAILED, "failed", "max_failure_share"),
    (Outcome.ALREADY_GONE, "were already gone", "max_already_gone_share"),
)
"""The outcomes that are judged, each with its words and the limit of its share."""


class _ShareLimit(NamedTuple):
    """How many outcomes of a full window may be of one kind.

    Attributes:
        did: What the deletions with this outcome did, for the operator.
        key: Of the policy.
        share: Its value.
        allowed: That share of the window in whole outcomes.
    """

    outcome: Outcome
    did: str
    key: str
    share: float
    allowed: int


def _share_limits(limits: Limits) -> tuple[_ShareLimit, ...]:
    """Return the limits of a window; exact, as floating-point multiplication is not."""
    share_limits: list[_ShareLimit] = []
    for outcome, did, key in _JUDGED:
        share: float = getattr(limits, key)
        allowed = int(Fraction(str(share)) * limits.breaker_window)
        share_limits.append(_ShareLimit(outcome, did, key, share, allowed))
    return tuple(share_limits)


class CircuitBreaker:
    """Decides from the last outcomes whether a sweep must stop.

    One command has one breaker. When it opens in one organization, nothing more is deleted in
    any: what was decided about the others came from the same program, policy and Atlas.

    Attributes:
        reason: Why it opened; None while it is closed.
    """

    def __init__(self, limits: Limits) -> None:
        self.reason: str | None = None
        self._limits = limits
        self._share_limits = _share_limits(limits)
        self._seen = 0
        self._failed = 0
        self._window: deque[Outcome] = deque()
        self._in_window = Counter[Outcome]()

    @property
    def canary_left(self) -> int:
        """How many of the first deletions must still end before any other is sent."""
        return max(0, self._limits.canary - self._seen)

    def opens_at(self, outcome: Outcome) -> bool:
        """Record one outcome; return whether the sweep must stop from now on.

        A deletion without an answer counts as a failure.
        """
        if self.reason is not None:
            return False
        if outcome is Outcome.UNKNOWN:
            outcome = Outcome.FAILED
        self._window.append(outcome)
        self._in_window[outcome] += 1
        if len(self._window) > self._limits.breaker_window:
            oldest = self._window.popleft()
            self._in_window[oldest] -= 1
        self._seen += 1
        self._failed += outcome is Outcome.FAILED
        self.reason = self._why_open()
        return self.reason is not None

    def _why_open(self) -> str | None:
        """Return why the outcomes so far are too bad to go on; None where they are not."""
        limits = self._limits
        # The canary is judged once, by its last outcome.
        if self._seen == limits.canary:
            if self._failed * 2 <= self._seen:
                return None
            return f"{self._failed} of the first {self._seen} deletions (the canary) failed."
        # Of a few outcomes, one is a large share: nothing is judged before the window is full.
        if len(self._window) != limits.breaker_window:
            return None
        for limit in self._share_limits:
            count = self._in_window[limit.outcome]
            if count > limit.allowed:
                counted = f"{count} of the last {limits.breaker_window} deletions {limit.did}"
                return f"{counted}, over {limit.key}: {limit.share}."
        return None


class Executor:
    """Executes the plan of one organization once; `swept` is what became of it.

    Attributes:
        retired: Sources that Atlas retired during the sweep, which goes on with the others.
        error: What ended the sweep; None while nothing did.
    """

    def __init__(
        self,
        result: Result,
        plan: OrganizationPlan,
        log: AuditLog,
        stop: StopRequest,
        breaker: CircuitBreaker,
    ) -> None:
        policy = result.command.policy
        self._result = result
        self._plan = plan
        self._log = log
        self._stop = stop
        self._breaker = breaker
        self._clock = result.command.clock
        self._execution = policy.execution
        self._has_other_sources = len(policy.sources) > 1
        self._deleter = plan.organization.client.deleter(policy.sources, plan.decided.absent)
        self._slots = asyncio.Semaphore(policy.execution.concurrency)
        self._extra_slots = policy.execution.concurrency  # at most, while others back off
        self._ready: deque[Planned] = deque()  # on disk, and without a slot
        self._wake = asyncio.Event()  # when more intents may be written, or nothing more is sent
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: set[Sending] = set()
        self._outcomes: Counter[str] = Counter()
        self._missing_role = 0
        self._left_projects: set[PersonKey] = set()  # people deleted from projects
        self.retired: set[Source] = set()
        self.error: Exception | None = None

    def swept(self, error: RunError | None = None) -> Swept:
        """Return what became of the plan so far; the error is that of the organization."""
        is_left = self._result.command.policy.leaves_invited
        still_invited = len(self._left_projects) if is_left else 0
        counts = Counts(missing_role=self._missing_role, still_invited=still_invited)
        return Swept(self._outcomes, counts, error)

    async def run(self) -> None:
        """Execute the plan; every deletion gets exactly one outcome.

        Raises:
            RunError: The audit log failed, or a response concerned the run (credentials, API
                version). Deletions in flight have ended; the rest is `skipped`.
            Exception: A defect of the program; the state is the same.
        """
        queues = ProjectQueues(
            self._plan.deletions, self._deleter.try_acquire, self._clock, self.retired
        )
        grace = asyncio.create_task(self._cancel_after_grace())
        try:
            # The canary ends before any other deletion begins.
            for count in (self._breaker.canary_left, len(self._plan.deletions)):
                self._start(self._write_intents(queues, count))
                await self._wait_for_tasks()
        finally:
            ending = (grace, *self._tasks)
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
        for planned in (*self._ready, *queues.left()):
            self._record(planned, Sending(Outcome.SKIPPED))
        if self.error is not None:
            raise self.error

    async def _wait_for_tasks(self) -> None:
        """Wait until no task is at work; outcomes reach the disk also without new intents."""
        while self._tasks:
            _, at_work = await asyncio.wait(self._tasks, timeout=_SYNC_INTERVAL_S)
            try:
                if at_work:
                    await self._log.sync()
            except Exception as error:  # noqa: BLE001 - after any error nothing more may be sent
                self._abort(error)

    @property
    def _is_stopping(self) -> bool:
        """Whether nothing new may be sent."""
        return bool(self.error or self._breaker.reason or self._stop.reason)

    def _start(self, coroutine: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_intents(self, queues: ProjectQueues, count: int) -> None:
        """Write the intents of deletions that may be sent, in groups, and start them.

        Each group costs one sync to disk, so a group is large: as many deletions as there are slots
        may wait for one, and the next group is written once half of them have got theirs.

        Args:
            count: How many deletions are started, unless fewer are left.
        """
        group: list[Planned] = []
        try:
            while count > 0 and not self._is_stopping:
                self._wake.clear()
                may_wait = self._execution.concurrency - len(self._ready)
                if may_wait * 2 < self._execution.concurrency:
                    await self._wake.wait()
                    continue
                wait_s = queues.take(group, min(may_wait, count))
                if not group:
                    if wait_s is None:  # no deletion is left
                        return
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), wait_s)
                    continue
                for planned in group:
                    self._log.write(planned.as_event(Intent, rule=planned.rule))
                await self._log.sync()
                self._ready.extend(group)
                for _ in group:
                    self._start(self._send())
                count -= len(group)
                group.clear()
        except Exception as error:  # noqa: BLE001 - after any error nothing more may be sent
            self._abort(error)
        finally:
            for planned in group:
                self._record(planned, Sending(Outcome.SKIPPED))

    async def _send(self) -> None:
        """Send the next deletion whose intent is on disk, once there is a slot for it."""
        async with self._slots:
            planned = self._ready.popleft()
            self._wake.set()
            if self._is_stopping or planned.source in self.retired:
                self._record(planned, Sending(Outcome.SKIPPED))
                return
            started_s = self._clock()
            sending = Sending(on_backoff=self._add_slot)
            self._in_flight.add(sending)
            try:
                sent = await self._deleter.delete(planned, sending)
            except asyncio.CancelledError:
                self._record(planned, sending.interrupt(), started_s)
                raise
            except Exception as error:  # noqa: BLE001 - a defect
                self._abort(error)
                sent = sending.interrupt()
            finally:
                self._in_flight.discard(sending)
            self._record(planned, sent, started_s)

    def _add_slot(self) -> None:
        """Let another deletion be sent while one backs off."""
        if self._extra_slots:
            self._extra_slots -= 1
            self._slots.release()

    def _record(self, planned: Planned, sent: Sending, started_s: float | None = None) -> None:
        """Record what became of one deletion: decide what it stops, write its line, show it."""
        outcome = sent.outcome or Outcome.UNKNOWN
        error = sent.fatal_error
        self._outcomes[outcome] += 1
        # A list that Atlas retired (410) ends its own deletions alone, where the policy has others.
        if self._has_other_sources and isinstance(error, ApiVersionRetired):
            self._retire(planned.source, error)
        else:
            if error is not None:
                self._abort(error)
            # What the end of the sweep cancelled, or left without an answer, Atlas did not fail.
            is_unanswered = outcome is Outcome.UNKNOWN and self._is_stopping
            is_cancelled = outcome is Outcome.SKIPPED or is_unanswered
            if not is_cancelled and self._breaker.opens_at(outcome):
                self._cancel_unsent()
        elapsed_s = 0.0 if started_s is None else self._clock() - started_s
        try:
            self._log.write(OutcomeLine.of(planned, outcome, sent, elapsed_s))
        except RunError as failure:
            self._abort(failure)
        try:
            self._result.view.done(outcome)
        except Exception as defect:  # noqa: BLE001 - record the others in spite of a defect
            self._abort(defect)
        if outcome is Outcome.FAILED and is_permission_error(sent.http_status, sent.error_code):
            self._missing_role += 1
        if outcome is Outcome.DELETED and planned.source is Source.USERS:
            self._left_projects.add(planned.person)

    def _retire(self, source: Source, error: ApiVersionRetired) -> None:
        """Report once that Atlas retired a list during the sweep."""
        if source in self.retired:
            return
        self.retired.add(source)
        self._result.stopped_by.append(Reason.RETIRED_SOURCE)
        advice = hint_without(self.retired, self._result.command.policy.sources)
        text = f"Atlas retired the list {source.value} during the sweep: {error.message} {advice}"
        self._result.warn_of(WarningCode.RETIRED_SOURCE, text)

    def _abort(self, error: Exception) -> None:
        """Stop the sweep because of an error that concerns the run."""
        # The first error counts. But an incomplete audit log is the worst state, so its error
        # replaces any other.
        is_worst = isinstance(error, AuditLogError) and not isinstance(self.error, AuditLogError)
        if self.error is None or is_worst:
            self.error = error
        self._cancel_in_flight()

    def _cancel_unsent(self) -> None:
        """Prevent new deletions. One that was sent may retry, so that its outcome becomes known."""
        for sending in self._in_flight:
            if sending.attempts == 0:
                sending.cancelled = True
        self._wake.set()

    def _cancel_in_flight(self) -> None:
        """Prevent retries of the deletions in flight, and new deletions."""
        for sending in self._in_flight:
            sending.cancelled = True
        self._wake.set()

    async def _cancel_after_grace(self) -> None:
        """After a stop, wait for the grace period, then cancel the deletions in flight."""
        await self._stop.requested.wait()
        self._cancel_in_flight()
        await self._stop.wait_for_grace(self._execution.grace)
        for task in self._tasks:
            task.cancel()
