"""What became of the requests of runs: the one place that adds up what their lines say.

A request has an intent before it is sent, and an outcome after. A killed run leaves intents without
an outcome, a lost answer an outcome that is `unknown`. The next run that can find out what became
of such a request records its outcome, with `recovers`.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from typing import Final

from invite_sweeper.audit.chain import ChainLine
from invite_sweeper.audit.events import Event, Intent, OutcomeLine, Planned, PolicyText, RunStarted
from invite_sweeper.audit.record import Recovered, RunRecord, Unfinished
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.models import InvitationKey
from invite_sweeper.outcomes import Outcome

_INTENT: Final = Intent.event
_OUTCOME: Final = OutcomeLine.event
_UNANSWERED: Final = f',"outcome":"{Outcome.UNKNOWN}"'.encode()
"""What the line of a request has whose answer was lost. No name can: JSON escapes its quotes."""
_FIRST_AND_LAST: Final = frozenset({RunStarted.event, RunFinished.event})
_NOTHING_SENT: Final = frozenset({Outcome.SKIPPED, Outcome.CHANGED, Outcome.ACCEPTED_BEFORE})
"""Outcomes of an intent after which no DELETE was sent."""


class Fold:
    """Adds up runs, one file after the other, in their order.

    Memory holds the requests of the file that is read, and the runs that were killed or left a
    request of which it is not known what became.

    Attributes:
        runs: These runs, by their ids.
    """

    def __init__(self) -> None:
        self.runs: dict[str, RunRecord] = {}
        self._last: RunRecord | None = None

    def follow(
        self,
        run: RunRecord,
        lines: Iterable[ChainLine],
        decode: Callable[[ChainLine], Event | None],
        wanted: Container[str] | None = None,
    ) -> Iterator[tuple[ChainLine, Event | None]]:
        """Yield the lines of a run with their events, and set the fields of the run.

        Of a damaged file they are set from what precedes the damage.

        Args:
            lines: In the order of the file.
            decode: Returns the event of a line; None for one of a later version.
            wanted: Beside the first and the last line and what is left, only these events are
                decoded, yielded and counted; None for all. It may grow while the file is read.

        Raises:
            DamagedLog: The file is damaged.
        """
        if self._last is not None:
            self._last.is_last = False
        self._last = run
        requests = _Requests(run)
        try:
            for line in lines:
                name = line.header.event
                is_wanted = wanted is None or name in wanted or name in _FIRST_AND_LAST
                is_needed = is_wanted or (name == _OUTCOME and not requests.close(line))
                event = decode(line) if is_needed else None  # None of a later version, too
                if name == _INTENT:
                    requests.send(line)
                if is_needed:
                    self._add(run, requests, line, event)
                    yield line, event
            run.is_whole = True
        finally:
            requests.end(decode)
            if run.left or run.end is None:
                self.runs[run.file.run_id] = run

    def _add(
        self, run: RunRecord, requests: "_Requests", line: ChainLine, event: Event | None
    ) -> None:
        """Add an event of a run; those that a run has many of are first."""
        if isinstance(event, Planned):
            run.planned += 1
        elif isinstance(event, OutcomeLine):
            if event.recovers is None:
                requests.answer(line, event)
            elif event.recovers in self.runs:
                self.runs[event.recovers].recover(event, run.file.number)
        elif isinstance(event, RunStarted):
            run.start = event
            if not run.file.run_id:  # a copy with another name: its lines have the id of the run
                run.file = run.file._replace(number=event.number, run_id=line.header.run_id)
        elif isinstance(event, PolicyText):
            run.policy = event.text
        elif isinstance(event, RunFinished):
            run.end = event
            run.finished_at = line.header.ts

    def unfinished(self) -> tuple[Unfinished, ...]:
        """Return the runs that left something open, in the order of their files."""
        return tuple(filter(None, (run.unfinished for run in self.runs.values())))

    def recovered(self) -> tuple[Recovered, ...]:
        """Return the runs that were killed and left nothing open, in the order of their files."""
        return tuple(filter(None, (run.recovered for run in self.runs.values())))


class _Requests:
    """The requests of the run that is read.

    Nearly all outcomes have the bytes of their intent: where the caller wants no outcomes, neither
    of the two is decoded.
    """

    def __init__(self, run: RunRecord) -> None:
        self._run = run
        self._open: dict[bytes, ChainLine] = {}  # intents, by their bytes about the invitation
        self._answered: set[InvitationKey] = set()  # by outcomes without an intent of these bytes

    def send(self, line: ChainLine) -> None:
        """Add an intent."""
        self._open[_invitation_bytes(line.raw)] = line

    def close(self, line: ChainLine) -> bool:
        """Add an outcome that the caller does not want; return whether it need not be decoded."""
        if _UNANSWERED in line.raw:
            return False
        return self._open.pop(_invitation_bytes(line.raw), None) is not None

    def answer(self, line: ChainLine, outcome: OutcomeLine) -> None:
        """Add an outcome."""
        run = self._run
        if self._open.pop(_invitation_bytes(line.raw), None) is None:
            self._answered.add(outcome.key)
        run.outcomes[outcome.outcome] += 1
        if outcome.attempts > 0 and outcome.outcome not in _NOTHING_SENT:
            run.sent[outcome.place_id] += 1
        # Of an invitation of a restore nothing more can be found out.
        if outcome.outcome == Outcome.UNKNOWN and run.mode != "restore":
            run.left[outcome.key] = outcome

    def end(self, decode: Callable[[ChainLine], Event | None]) -> None:
        """Decode the intents that stayed open."""
        for line in self._open.values():
            intent = decode(line)
            if isinstance(intent, Intent) and intent.key not in self._answered:
                self._run.left[intent.key] = intent
                self._run.sent[intent.place_id] += 1


def _invitation_bytes(raw: bytes) -> bytes:
    """Return the bytes of a line about its invitation: the same in its intent and its outcome.

    `chain.HashChain` writes the fields of an event in the order of its struct.
    """
    return raw[raw.find(b',"invitation_id":') : raw.rfind(b',"rule":')]
