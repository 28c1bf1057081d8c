"""One run as its files have it: the first and the last line, and what became of its requests.

Every output of a run, of one that has just ended as of an earlier one, is made from a `RunRecord`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias, cast

import msgspec
from msgspec import structs

from invite_sweeper.audit.events import (
    Event,
    Intent,
    Mode,
    OutcomeLine,
    Planned,
    RunStarted,
)
from invite_sweeper.audit.file_chain import RunFile
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.endings import Status, WarningCode, status_of
from invite_sweeper.models import Invitation, InvitationKey, ListUnreadable


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


class RunLine(NamedTuple):
    """What a run did with an invitation, or another line of its file.

    Attributes:
        number: Of the line in its file; 0 of a plan that was not written.
        ts: When it was written.
        event: The line; of a request the last one that the run has.
        planned: Of a request, the line that planned it; None of a restore, which plans nothing.
    """

    number: int
    ts: str
    event: Event
    planned: Planned | None = None


class RunRecord(msgspec.Struct, eq=False):
    """One run.

    Attributes:
        start: Its first line; one without values if it was killed before.
        end: Its last line; None if the run did not finish, or is at work.
        policy: The text of its policy; None where an earlier version wrote the file.
        finished_at: When the last line was written, RFC 3339; "" without one.
        planned: Its `planned` lines.
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
        before = self.lines.get(request)
        planned = before.planned if before is not None else None
        if isinstance(event, Planned):
            planned = event
        self.lines[request] = RunLine(number, ts, event, planned)

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
        return structs.replace(there, outcomes=outcomes)

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
