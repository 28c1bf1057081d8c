"""Which intents have no outcome, and which run recorded the outcomes that a killed one left open.

A run that was killed is unfinished while an intent of it has no outcome, or no later run began. The
next run that can find out what became of a request records its outcome, with `recovers`.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from invite_sweeper.audit.events import Event, Intent, Mode, OutcomeLine, RunStarted
from invite_sweeper.audit.run_file import RunFile
from invite_sweeper.models import InvitationKey
from invite_sweeper.outcomes import Outcome


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """A run that left something open.

    Attributes:
        run: Its number; 0 for a file outside an audit directory.
        run_id: From the name of its file.
        file: The name of its file, uncompressed.
        intents: Its intents without an outcome; 0 if it was only killed.
        mode: Of the run; None if it was killed before its first line.
    """

    run: int
    run_id: str
    file: str
    intents: int
    mode: Mode | None = None


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was killed, and that left nothing open, or nothing any more.

    Attributes:
        run: Its number; 0 for a file outside an audit directory.
        run_id: From the name of its file.
        file: The name of its file, uncompressed.
        by: The number of the run that recorded the last outcome; None if every intent had one.
        outcomes: How often later runs recorded each outcome, beside those that it recorded itself.
    """

    run: int
    run_id: str
    file: str
    by: int | None
    outcomes: dict[str, int] = {}


class IntentLedger:
    """The intents without an outcome, from the events of runs in their order."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, InvitationKey], RunFile] = {}
        self._unanswered: dict[tuple[str, InvitationKey], RunFile] = {}  # `unknown` so far
        self._modes: dict[RunFile, Mode] = {}
        # Each run that was killed, with the number of the run that recorded its last outcome.
        self._killed: dict[RunFile, int | None] = {}
        self._settled: defaultdict[RunFile, list[OutcomeLine]] = defaultdict(list)
        self._file: RunFile | None = None
        self._is_last_killed = False

    def begin(self, file: RunFile) -> None:
        """Begin the file of the next run."""
        self._file = file

    def add(self, run_id: str, event: Event) -> None:
        """Add an event of that run."""
        assert self._file is not None  # noqa: S101 - after `begin`
        if isinstance(event, Intent):
            self._open[run_id, event.key] = self._file
        elif isinstance(event, OutcomeLine):
            self._add_outcome((event.recovers or run_id, event.key), event, self._file.number)
        elif isinstance(event, RunStarted):
            self._modes[self._file] = event.mode

    def _add_outcome(
        self, request: tuple[str, InvitationKey], event: OutcomeLine, run: int
    ) -> None:
        """Add what a run recorded of a request of its own, or of one that an earlier run left."""
        opened = self._open.pop(request, None)
        unanswered = self._unanswered.pop(request, None)
        if event.recovers is None:
            if opened is not None and event.outcome == Outcome.UNKNOWN:
                self._unanswered[request] = opened
        elif opened is not None:
            self._killed[opened] = run
            self._settled[opened].append(event)
        elif unanswered is not None:
            self._settled[unanswered].append(event)

    def end(self, *, finished: bool) -> None:
        """End the file of that run."""
        assert self._file is not None  # noqa: S101 - after `begin`
        if not finished:
            self._killed[self._file] = None
        self._is_last_killed = not finished

    def open_in(self, file: RunFile) -> int:
        """Return how many intents of a file have no outcome so far."""
        return list(self._open.values()).count(file)

    def settled_in(self, file: RunFile) -> Sequence[OutcomeLine]:
        """Return what later runs recorded of what a file left without an outcome or an answer."""
        return self._settled.get(file, ())

    def unfinished(self) -> tuple[Unfinished, ...]:
        """Return the runs that left something open, in the order of their files."""
        open_intents = dict(Counter(self._open.values()))
        # A killed run that left no intent open is unfinished until the next one begins.
        if self._is_last_killed and self._file is not None:
            open_intents.setdefault(self._file, 0)
        return tuple(
            Unfinished(
                run=file.number,
                run_id=file.run_id,
                file=file.name,
                intents=intents,
                mode=self._modes.get(file),
            )
            for file, intents in sorted(open_intents.items())
        )

    def recovered_by_file(self) -> dict[str, Recovered]:
        """Return what `recovered` does, by the name of the file."""
        return {run.file: run for run in self.recovered()}

    def recovered(self) -> tuple[Recovered, ...]:
        """Return the runs that were killed and left nothing open, in the order of their files."""
        unfinished = {run.file for run in self.unfinished()}
        return tuple(
            Recovered(
                run=file.number,
                run_id=file.run_id,
                file=file.name,
                by=by,
                outcomes=Counter(line.outcome for line in self.settled_in(file)),
            )
            for file, by in self._killed.items()
            if file.name not in unfinished
        )
