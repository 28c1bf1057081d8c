"""One run as its files have it: the first and the last line, and what became of its requests.

Every output of a run, of one that has just ended as of an earlier one, is made from a `RunRecord`.

`Fold` is the one place that adds up what lines say of requests. A request has an intent before it
is sent, and an outcome after. A killed run leaves intents without an outcome, a lost answer an
outcome that is `unknown`. The next run that can find out what became of such a request records its
outcome, with `recovers`.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias, cast

import msgspec
from msgspec import structs

from invite_sweeper.audit.chain import ChainLine
from invite_sweeper.audit.events import (
    Announced,
    Event,
    Intent,
    Mode,
    OutcomeLine,
    Planned,
    PolicyText,
    RunFinished,
    RunStarted,
)
from invite_sweeper.audit.file_chain import RunFile
from invite_sweeper.endings import Status, WarningCode, status_of
from invite_sweeper.models import Invitation, InvitationKey, ListUnreadable
from invite_sweeper.outcomes import Outcome


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """A run that left something open.

    Attributes:
        run: Its number; 0 for a file outside an audit directory.
        run_id: From the name of its file.
        file: The name of its file, uncompressed.
        intents: Its intents without an outcome; 0 if it was only killed.
        mode: Of the run; None if it was killed before its first line, like `now`.
        now: The instant at which it began, RFC 3339.
        sent: How many requests it sent, or may have sent.
        again: The words of its command; see `RunStarted.again`.
    """

    run: int
    run_id: str
    file: str
    intents: int
    mode: Mode | None = None
    now: str | None = None
    sent: int = 0
    again: tuple[str, ...] = ()


class Recovered(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was killed, and that left nothing open, or nothing any more.

    Attributes:
        run: Its number; 0 for a file outside an audit directory.
        run_id: From the name of its file.
        file: The name of its file, uncompressed.
        by: The number of the run that recorded the last outcome; None if it left no request open.
        outcomes: How often later runs recorded each outcome, beside those that it recorded itself.
    """

    run: int
    run_id: str
    file: str
    by: int | None
    outcomes: dict[str, int] = {}


_NOT_STARTED: Final = RunStarted(
    mode=cast("Mode", ""),
    tool_version="",
    policy_sha256=None,
    policy_path=None,
    organizations=(),
    actors={},
    base_url="",
    now="",
    shard=None,
)


class RecoveredRequest(NamedTuple):
    """A request that a run left, and its outcome as a later run recorded it.

    Attributes:
        line: The outcome.
        by: The number of the later run.
    """

    line: OutcomeLine
    by: int


RequestLine: TypeAlias = Planned | Intent | OutcomeLine
"""A line about an invitation that is to be deleted, or sent again."""


class RunLine(msgspec.Struct, frozen=True):
    """What a run did with an invitation, or another line of its file.

    Attributes:
        number: Of the line in its file; 0 of a plan that was not written.
        ts: When it was written.
        event: The line; of a request the last one that the run has, which repeats its plan.
    """

    number: int
    ts: str
    event: Event


class RunRecord(msgspec.Struct, eq=False):
    """One run.

    Attributes:
        start: Its first line; one without values if it was killed before.
        end: Its last line; None if the run did not finish, or is at work.
        policy: The text of its policy; None where an earlier version wrote the file.
        finished_at: When the last line was written, RFC 3339; "" without one.
        planned: Its `planned` lines.
        announced: Its `announced` lines.
        outcomes: What became of its requests, as far as it is known: a deletion without an answer
            is `unknown` until a later run records more.
        sent: How many requests it sent, or may have sent, by the project of the entry that names
            the invitation, or its organization.
        left: Its requests of which it is not known what became: an intent without an outcome, of
            a DELETE whose answer was lost the outcome.
        recovered_requests: Such requests of which later runs recorded the outcome.
        lines: Those that a reader added, by what they are about, in the order of the file.
        is_whole: Whether its file was read to its end.
        is_last: Whether it is the newest run that was read.
        sha256: Of its file before it was compressed, 64 hex digits; "" where it was not asked for.
        last_hash: Of the last line, of a run that has just ended; "" otherwise.
        unwritten: The plan of a run that has just ended, of which the file may not have all.
    """

    file: RunFile
    start: RunStarted = _NOT_STARTED
    end: RunFinished | None = None
    policy: str | None = None
    finished_at: str = ""
    planned: int = 0
    announced: int = 0
    outcomes: Counter[str] = msgspec.field(default_factory=Counter)
    sent: Counter[str] = msgspec.field(default_factory=Counter)
    left: dict[InvitationKey, Intent | OutcomeLine] = {}
    recovered_requests: dict[InvitationKey, RecoveredRequest] = {}
    lines: dict[object, RunLine] = {}
    is_whole: bool = False
    is_last: bool = True
    sha256: str = ""
    last_hash: str = ""
    unwritten: Sequence[Planned] = ()

    def recover(self, line: OutcomeLine, by: int) -> None:
        """Add what a later run recorded of a request that this one left.

        Args:
            by: The number of that run.
        """
        request = self.left.pop(line.key, None)
        if request is None:
            return
        if isinstance(request, OutcomeLine):
            self.outcomes[request.outcome] -= 1
        self.outcomes[line.outcome] += 1
        self.recovered_requests[line.key] = RecoveredRequest(line, by)

    def recover_as(self, known: "RunRecord") -> None:
        """Add what later runs recorded, as the fold of all runs has it."""
        self.is_last = known.is_last
        for line, by in known.recovered_requests.values():
            self.recover(line, by)

    def add(self, event: Event, number: int = 0, ts: str = "") -> None:
        """Add a line; the plan, the request and the outcome of an invitation are one."""
        if not isinstance(event, RequestLine):
            self.lines[number] = RunLine(number, ts, event)
            return
        recovers = event.recovers if isinstance(event, OutcomeLine) else None
        request = event.key, recovers
        self.lines[request] = RunLine(number, ts, event)

    def request_of(self, line: RunLine) -> RequestLine | None:
        """Return what became of its own request, as far as it is known; None of another line."""
        event = line.event
        if not isinstance(event, RequestLine) or (
            isinstance(event, OutcomeLine) and event.recovers
        ):
            return None
        recovered = self.recovered_requests.get(event.key)
        return event if recovered is None else recovered.line

    @property
    def has_started(self) -> bool:
        """Whether its first line is known."""
        return self.start is not _NOT_STARTED

    @property
    def open_requests(self) -> int:
        """How many of its intents have no outcome: each may have been sent."""
        return sum(isinstance(request, Intent) for request in self.left.values())

    @property
    def status(self) -> Status:
        """How it ended; of a killed run, what is left of it."""
        if self.recovered is None:
            return status_of(self.exit_code)
        has_left = bool(self.left or self.recovered_requests)
        return Status.RECOVERED if has_left else Status.CUT_OFF

    @property
    def unfinished(self) -> Unfinished | None:
        """The run as one that left something open; None where it left nothing."""
        # A killed run that left no intent open is unfinished until the next one begins.
        is_unfinished = self.open_requests > 0 or (self.end is None and self.is_last)
        if not is_unfinished:
            return None
        return Unfinished(
            run=self.file.number,
            run_id=self.file.run_id,
            file=self.file.name,
            intents=self.open_requests,
            mode=self.start.mode if self.has_started else None,
            now=self.start.now if self.has_started else None,
            sent=self.sent.total(),
            again=self.start.again,
        )

    @property
    def recovered(self) -> Recovered | None:
        """The run as one that was killed and left nothing open; None for any other."""
        if self.end is not None or self.unfinished is not None:
            return None
        requests = tuple(self.recovered_requests.values())
        return Recovered(
            run=self.file.number,
            run_id=self.file.run_id,
            file=self.file.name,
            by=requests[-1].by if requests else None,
            outcomes=Counter(request.line.outcome for request in requests),
        )

    def of_organization(self, org_id: str) -> "RunRecord":
        """Return what it did in one organization, of a run whose lines were added."""
        start = structs.replace(self.start, organizations=(org_id,))
        end = self.end
        if end is not None:
            end = end.of_organization(org_id)
        lines = {
            about: line
            for about, line in self.lines.items()
            if isinstance(line.event, Invitation | ListUnreadable) and line.event.org_id == org_id
        }
        recovered = {
            key: request
            for key, request in self.recovered_requests.items()
            if request.line.org_id == org_id
        }
        left = {key: line for key, line in self.left.items() if line.org_id == org_id}
        there = structs.replace(
            self, start=start, end=end, left=left, recovered_requests=recovered, lines=lines
        )
        requests = map(there.request_of, lines.values())
        outcomes = Counter(each.outcome for each in requests if isinstance(each, OutcomeLine))
        announced = sum(isinstance(line.event, Announced) for line in lines.values())
        return structs.replace(there, outcomes=outcomes, announced=announced)

    def without_people(self) -> "RunRecord":
        """Return it for readers to whom no person is named.

        Warnings about the policy are left out: a pattern of it may be a person's address.
        """
        if self.end is None:
            return self
        warnings = tuple(
            warning for warning in self.end.warnings if warning.code != WarningCode.POLICY
        )
        end = structs.replace(self.end, warnings=warnings)
        return structs.replace(self, end=end)

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.file.run_id

    @property
    def mode(self) -> str:
        """The mode; "" without a first line."""
        return self.start.mode

    @property
    def exit_code(self) -> int | None:
        """The exit code; None if the run did not finish."""
        return self.end.exit_code if self.end is not None else None


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
        elif isinstance(event, Announced):
            run.announced += 1
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
