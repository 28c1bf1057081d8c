"""Workers: intent on disk, DELETE, outcome."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from invite_sweeper.errors import AuditUnwritable, RunError, VersionGone
from invite_sweeper.models import (
    Deletion,
    Invitation,
    Outcome,
    Planned,
    Source,
    Trail,
    same_person_key,
)
from invite_sweeper.shutdown import Stop
from invite_sweeper.sweep.guards import Breaker
from invite_sweeper.sweep.work_queue import Announced, Lane, Lanes, Turns

# What one deletion tells of the others where a sweep has several lists. Pure.


class Doors:
    """One person may be in several lists: then one deletion shuts the others' doors, too.

    Args:
        several: The plan is of several lists; of a single one nothing is known or noted.

    Attributes:
        retired: Lists that Atlas dropped in mid-sweep, and what to say of each; others went on.
    """

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._people: set[int] = set()
        self.retired: dict[Source, str] = {}

    def retires(self, invitation: Invitation, deletion: Deletion) -> bool:
        """Tell whether an answer ends its own list alone, since there are others."""
        if not (self._several and isinstance(deletion.ends_run, VersionGone)):
            return False
        said = " ".join(filter(None, (deletion.ends_run.message, deletion.ends_run.hint)))
        self.retired.setdefault(invitation.source, said)
        return True

    def has_ended(self, invitation: Invitation) -> bool:
        """Tell whether Atlas has dropped the list that it is in."""
        return invitation.source in self.retired

    def were_shut(self, invitation: Invitation, deletion: Deletion) -> bool:
        """Tell whether a door was shut with another one of the same person, in this sweep.

        Such an `already_gone` is no sign of trouble.
        """
        if not self._several or (person := same_person_key(invitation)) is None:
            return False
        known = hash(person)
        if deletion.outcome is Outcome.ALREADY_GONE:
            return known in self._people
        if deletion.outcome is Outcome.DELETED:
            self._people.add(known)
        return False


# What a sweep needs of Atlas and of the audit log, whoever stands in for them.


class Deleter(Protocol):
    """What a sweep needs of Atlas; only a sweep is ever given one."""

    def admit(self, invitation: Invitation) -> float:
        """Take the turn of one deletion (0.0), or give the seconds until there may be one."""
        ...

    async def delete(self, invitation: Invitation, trail: Trail) -> Deletion:
        """Revoke one invitation that was admitted; trouble with it is a value."""
        ...


class Journal(Protocol):
    """What a sweep needs of the audit log."""

    def write_intents(self, group: Iterable[Planned]) -> None:
        """Record that these are about to be deleted."""
        ...

    def write_outcome(self, planned: Planned, deletion: Deletion, duration_ms: float) -> None:
        """Record the outcome of one deletion."""
        ...

    async def durable(self) -> None:
        """Return when every line so far is on disk."""
        ...


# What a sweep has come to: each outcome recorded, and whether it may go on.


LINES_A_FLUSH = 1000
"""So many lines are written at most before the disk has them."""
_SKIPPED = Deletion(Outcome.SKIPPED, 0)


class Reckoning:
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
        journal: Journal,
        *,
        stop: Stop,
        breaker: Breaker,
        doors: Doors,
        clock: Callable[[], float],
        swept: Callable[[Planned, Deletion], None],
        ends: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._stop = stop
        self._breaker = breaker
        self._clock = clock
        self._swept = swept
        self._ends = ends
        self._unflushed = 0
        self.doors = doors
        self.tally: Counter[Outcome] = Counter()
        self.error: Exception | None = None
        self.broken: str | None = None
        self.cut_short = False
        self.open: set[Trail] = set()

    @property
    def ended(self) -> bool:
        """Whether nothing new may be sent."""
        return self.error is not None or self.broken is not None or self._stop.reason is not None

    def may_send(self, planned: Planned) -> bool:
        """Tell whether one that was announced may still go out."""
        return not (self.ended or self.doors.has_ended(planned.invitation))

    def record(self, planned: Planned, deletion: Deletion, started_s: float) -> None:
        """Take the end of one deletion, which began then.

        Raises:
            Exception: A defect in what is told of it; it is counted, and in the log.
        """
        outcome = deletion.outcome
        self.tally[outcome] += 1
        self.cut_short |= deletion.cut_short and outcome is Outcome.FAILED
        about_list = False
        if deletion.ends_run is not None:
            about_list = self.doors.retires(planned.invitation, deletion)
            if not about_list:
                self.end(deletion.ends_run)
        counts = outcome is not Outcome.SKIPPED and not about_list
        if counts and not self.doors.were_shut(planned.invitation, deletion):
            self._judge(outcome)
        try:
            self._journal.write_outcome(planned, deletion, (self._clock() - started_s) * 1000)
        except RunError as error:
            self.end(error)
        self._swept(planned, deletion)

    def skip(self, left: Iterable[Planned]) -> None:
        """Record of each that it was not sent."""
        for planned in left:
            try:
                self.record(planned, _SKIPPED, self._clock())
            except Exception as error:  # noqa: BLE001 - one defect hides no other deletion
                self.end(error)

    def skip_retired(self, group: list[Planned]) -> None:
        """Take out of a group, and record, what is in a list that Atlas has dropped."""
        if self.doors.retired:
            self.skip(each for each in group if self.doors.has_ended(each.invitation))
            group[:] = [each for each in group if not self.doors.has_ended(each.invitation)]

    async def skip_lanes(self, lanes: Iterable[Lane]) -> None:
        """Record of all that is left in these that it was not sent."""
        for lane in lanes:
            try:
                await self._skip_lane(lane)
            except Exception as error:  # noqa: BLE001 - one that cannot be read hides no other
                self.end(error)

    async def _skip_lane(self, lane: Lane) -> None:
        while (planned := lane.head()) is not None:
            lane.advance()
            self.skip((planned,))
            self._unflushed += 1
            if self._unflushed % LINES_A_FLUSH == 0 and self.error is None:
                await self._journal.durable()
        lane.rest()

    def end(self, error: Exception) -> None:
        """Send nothing more: the run has met trouble that is not about one invitation."""
        # What is not in the log cannot be shown to anybody: that counts before all else.
        graver = isinstance(error, AuditUnwritable) and not isinstance(self.error, AuditUnwritable)
        if self.error is None or graver:
            self.error = error
        self.call_off()

    def call_off(self) -> None:
        """Let what is on its way try no further, and nothing new be sent."""
        for trail in self.open:
            trail.called_off = True
        self._ends()

    def _judge(self, outcome: Outcome) -> None:
        if self.broken is None and (broken := self._breaker.record(outcome)) is not None:
            self.broken = broken
            for trail in self.open:
                # Whoever has sent a try goes on: its end had better be known.
                trail.called_off |= trail.attempts == 0
            self._ends()


# Planned deletions, several at a time, each outcome recorded.
#
# For each deletion the order is: a turn at its bucket, `intent` on disk, DELETE, `outcome`.
# The plan is read from disk lane by lane (a lane is one project): a lane whose bucket is dry
# steps aside until there is a token again, and holds up nobody. One task announces deletions,
# one sync of the disk for a group of them; the others send what was announced.


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
