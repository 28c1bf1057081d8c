"""Planned deletions, several at a time, each outcome recorded.

For each deletion the order is: a turn at its bucket, `intent` on disk, DELETE, `outcome`.
The plan is read from disk lane by lane (a lane is one project): a lane whose bucket is dry
steps aside until there is a token again, and holds up nobody. One task announces deletions,
one sync of the disk for a group of them; the others send what was announced.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from invite_sweeper.announced import Announced
from invite_sweeper.breaker import Breaker
from invite_sweeper.doors import Doors
from invite_sweeper.errors import RunError
from invite_sweeper.lanes import Lane, Lanes, Turns
from invite_sweeper.outcome import Deletion, Planned, Trail
from invite_sweeper.ports import Deleter, Journal
from invite_sweeper.reckoning import Reckoning
from invite_sweeper.stop import Stop

_WRITTEN_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Pace:
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
    stand_ins: int = 0
    several_doors: bool = False


class Sweep:
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
        self._clock = clock
        self._pace = pace
        self._announced = Announced(0)
        self._tasks: list[asyncio.Task[None]] = []
        self._most_tasks = 0
        self.reckoning = Reckoning(
            journal,
            stop=stop,
            breaker=breaker,
            doors=Doors(several=pace.several_doors),
            clock=clock,
            swept=swept,
            ends=self._take_no_more,
        )

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
        await self.reckoning.skip_lanes(queue.left())
        if self.reckoning.error is not None:
            raise self.reckoning.error

    async def _phase(self, queue: Lanes, *, most: int | None) -> None:
        """Delete until the queue is empty, `most` are done, or the sweep has to end."""
        count = self._pace.workers if most is None else min(self._pace.workers, most)
        self._announced = Announced(count)
        self._tasks = tasks = [asyncio.create_task(self._announce(Turns(queue, most)))]
        self._most_tasks = 1 + count + self._pace.stand_ins
        tasks += [asyncio.create_task(self._work()) for _ in range(count)]
        helpers = [asyncio.create_task(self._cut_off()), asyncio.create_task(self._keep_written())]
        try:
            while left := [task for task in tasks if not task.done()]:
                await asyncio.wait(left)
        finally:
            for task in (*helpers, *tasks):
                task.cancel()
            ended = await asyncio.gather(*helpers, *tasks, return_exceptions=True)
        self.reckoning.skip(self._announced.left())
        for result in ended:
            if isinstance(result, Exception):
                raise result

    def _take_no_more(self) -> None:
        self._announced.close()

    def _stand_in(self) -> None:
        """Let somebody else send while a deletion waits between its tries."""
        if len(self._tasks) < self._most_tasks:
            self._tasks.append(asyncio.create_task(self._work()))

    async def _cut_off(self) -> None:
        """After a stop, give what is in flight its grace, and then end it."""
        await self._stop.asked.wait()
        self.reckoning.call_off()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.given_up.wait(), self._pace.grace_s)
        for task in self._tasks:
            task.cancel()

    async def _keep_written(self) -> None:
        """Have on disk what has ended, also while nothing is announced: the wait may be long."""
        try:
            while True:
                await asyncio.sleep(_WRITTEN_EVERY_S)
                await self._journal.durable()
        except RunError as error:
            self.reckoning.end(error)

    async def _announce(self, turns: Turns) -> None:
        """Have the intents of all that may be sent on disk, in groups, as there is room."""
        group: list[Planned] = []
        try:
            while (room := await self._announced.room()) and not self.reckoning.ended:
                wait_s = turns.fill(group, room)
                if group:
                    await self._write_ahead(group)
                elif wait_s is None:
                    return
                else:
                    await self._announced.rest(wait_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing more may be sent
            self.reckoning.end(error)
        finally:
            self._announced.close()
            self.reckoning.skip(group)

    async def _write_ahead(self, group: list[Planned]) -> None:
        self.reckoning.skip_retired(group)
        self._journal.write_intents(group)
        await self._journal.durable()
        self._announced.put(group)
        group.clear()

    async def _work(self) -> None:
        """Send what is announced, one after another."""
        announced, reckoning = self._announced, self.reckoning
        try:
            while (planned := announced.take() or await announced.get()) is not None:
                if not reckoning.may_send(planned):
                    reckoning.skip((planned,))
                    continue
                started_s, trail = self._clock(), Trail(rests=self._stand_in)
                reckoning.open.add(trail)
                try:
                    deletion = await self._deleter.delete(planned.invitation, trail)
                except asyncio.CancelledError:
                    reckoning.record(planned, trail.cut_off(), started_s)
                    raise
                except Exception as error:  # noqa: BLE001 - a defect
                    reckoning.end(error)
                    deletion = trail.cut_off()
                finally:
                    reckoning.open.discard(trail)
                reckoning.record(planned, deletion, started_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing more may be sent
            reckoning.end(error)
