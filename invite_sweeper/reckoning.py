"""What a sweep has come to: each outcome recorded, and whether it may go on."""

from collections import Counter
from collections.abc import Callable, Iterable

from invite_sweeper.breaker import Breaker
from invite_sweeper.doors import Doors
from invite_sweeper.errors import AuditUnwritable, RunError
from invite_sweeper.lanes import Lane
from invite_sweeper.outcome import Deletion, Outcome, Planned, Trail
from invite_sweeper.ports import Journal
from invite_sweeper.stop import Stop

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
