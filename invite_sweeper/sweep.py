"""Planned deletions, several at a time, each outcome recorded.

For each deletion the order is: a turn at its bucket, `intent` on disk, DELETE, `outcome`.
The plan is read from disk lane by lane (a lane is one project): a lane whose bucket is dry
steps aside until there is a token again, and holds up nobody.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from invite_sweeper.breaker import Breaker
from invite_sweeper.doors import Doors
from invite_sweeper.errors import RunError
from invite_sweeper.lanes import Lane, Lanes, Turns
from invite_sweeper.outcome import Deletion, Outcome, Planned, Trail
from invite_sweeper.ports import Deleter, Journal
from invite_sweeper.stop import Stop

_SKIPPED = Deletion(Outcome.SKIPPED, 0)
_LINES_A_FLUSH = 1000


@dataclass(frozen=True, slots=True)
class Pace:
    """How a sweep goes about it.

    Attributes:
        workers: Deletions open at a time; those that wait for Atlas hold no connection.
        canary: The first so many go out alone; 0 for none.
        grace_s: How long what is in flight may go on after a stop.
        several_doors: The plan is of several lists; see `doors`.
    """

    workers: int
    canary: int
    grace_s: float
    several_doors: bool = False


class Sweep:
    """One pass over a plan.

    Args:
        clock: Monotonic seconds.
        swept: Called after each outcome, when it is in the log.

    Attributes:
        tally: Deletions by outcome; once `run` has returned or raised it adds up to the plan,
            but for a lane that cannot be read back.
        broken: Why the breaker ended the sweep; None when it did not.
        doors: Lists that Atlas dropped in mid-sweep are among what it knows.
    """

    def __init__(
        self,
        deleter: Deleter,
        journal: Journal,
        *,
        stop: Stop,
        breaker: Breaker,
        clock: Callable[[], float],
        pace: Pace,
        swept: Callable[[Planned, Deletion], None] = lambda _planned, _deletion: None,
    ) -> None:
        self._deleter = deleter
        self._journal = journal
        self._stop = stop
        self._breaker = breaker
        self._clock = clock
        self._pace = pace
        self._swept = swept
        self._error: Exception | None = None
        self._open: set[Trail] = set()
        self._unflushed = 0
        self.tally: Counter[Outcome] = Counter()
        self.broken: str | None = None
        self.doors = Doors(several=pace.several_doors)

    async def run(self, lanes: Iterable[Lane]) -> None:
        """Carry out the plan; every planned deletion that can be read back gets one outcome.

        Raises:
            RunError: The audit log failed, or an answer was about the run (credentials,
                version). What was in flight has ended; the rest is `skipped`.
            Exception: A defect of the program, with which a sweep ends in the same way.
        """
        queue = Lanes(lanes, self._deleter.admit, self._clock)
        if self._pace.canary:
            await self._phase(queue, most=self._pace.canary)
        await self._phase(queue, most=None)
        await self._skip(queue)
        if self._error is not None:
            raise self._error

    @property
    def _ended(self) -> bool:
        return self._stop.asked.is_set() or self._error is not None or self.broken is not None

    async def _phase(self, queue: Lanes, *, most: int | None) -> None:
        """Delete until the queue is empty, `most` are done, or the sweep has to end."""
        turns = Turns(queue, most)
        count = self._pace.workers if most is None else min(self._pace.workers, most)
        workers = [asyncio.create_task(self._work(turns)) for _ in range(count)]
        guard = asyncio.create_task(self._cut_off(workers))
        try:
            await asyncio.gather(*workers, return_exceptions=True)
        finally:
            guard.cancel()
            for worker in workers:
                worker.cancel()
            ended = await asyncio.gather(guard, *workers, return_exceptions=True)
        for result in ended:
            if isinstance(result, Exception):
                raise result

    async def _cut_off(self, workers: list["asyncio.Task[None]"]) -> None:
        """After a stop, give what is in flight its grace, and then end it."""
        await self._stop.asked.wait()
        self._call_off()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.given_up.wait(), self._pace.grace_s)
        for worker in workers:
            worker.cancel()

    async def _work(self, turns: Turns) -> None:
        try:
            while not self._ended and (planned := turns.take()) is not None:
                if isinstance(planned, Planned):
                    await self._one(planned)
                    continue
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.asked.wait(), planned)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing more may be sent
            self._end(error)

    async def _one(self, planned: Planned) -> None:
        started_s = self._clock()
        if planned.invitation.source in self.doors.retired:
            self._record(planned, _SKIPPED, started_s)
            return
        trail = Trail()
        self._open.add(trail)
        try:
            self._journal.intent(planned)
            await self._journal.durable()
            ended = self._ended
            deletion = _SKIPPED if ended else await self._deleter.delete(planned.invitation, trail)
        except asyncio.CancelledError:
            self._record(planned, trail.cut_off(), started_s)
            raise
        except Exception as error:  # noqa: BLE001 - the audit log's failure, or a defect
            self._end(error)
            deletion = trail.cut_off()
        finally:
            self._open.discard(trail)
        self._record(planned, deletion, started_s)

    def _record(self, planned: Planned, deletion: Deletion, started_s: float) -> None:
        self.tally[deletion.outcome] += 1
        about_list = self.doors.retires(planned.invitation, deletion)
        if deletion.ends_run is not None and not about_list:
            self._end(deletion.ends_run)
        counts = deletion.outcome is not Outcome.SKIPPED and not about_list
        if counts and not self.doors.were_shut(planned.invitation, deletion):
            self.broken = self.broken or self._breaker.record(deletion.outcome)
        try:
            self._journal.outcome(planned, deletion, (self._clock() - started_s) * 1000)
        except RunError as error:
            self._end(error)
        self._swept(planned, deletion)

    def _end(self, error: Exception) -> None:
        """Send nothing more: the run has met trouble that is not about one invitation."""
        self._error = self._error or error
        self._call_off()

    def _call_off(self) -> None:
        for trail in self._open:
            trail.called_off = True

    async def _skip(self, queue: Lanes) -> None:
        """Record what the end of the sweep left undone."""
        for lane in queue.left():
            try:
                await self._skip_lane(lane)
            except Exception as error:  # noqa: BLE001 - one that cannot be read hides no other
                self._end(error)

    async def _skip_lane(self, lane: Lane) -> None:
        while (planned := lane.head()) is not None:
            lane.advance()
            self._record(planned, _SKIPPED, self._clock())
            self._unflushed += 1
            if self._unflushed % _LINES_A_FLUSH == 0 and self._error is None:
                await self._journal.durable()
        lane.rest()
