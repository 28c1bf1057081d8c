"""Follow the chain; match intents and outcomes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path

import orjson

from invite_sweeper.audit.reader import BLOCK_BYTES, Head, Spot, open_log, parse, refuse_doubles
from invite_sweeper.audit.record import GENESIS_HASH, seal_holds, to_json
from invite_sweeper.audit.storage import is_tear
from invite_sweeper.audit.tampering import (
    Damage,
    Expected,
    Finding,
    contradicted,
    diagnose,
    edited,
    spoiled,
)
from invite_sweeper.errors import ExitCode
from invite_sweeper.models import Outcome
from invite_sweeper.text import counted, fitting

# What a verifier remembers of the lines it has followed: runs, and intents not yet answered.


NOTED = frozenset({b"intent", b"outcome", b"run_finished"})
"""The events whose lines mean something to it; the others are followed and forgotten."""

_NAMED = 5
"""Runs without an end that a warning names; the last ones."""
_FIRST = b',"invitation_id":"'
_AFTER = b',"project_name":'
_SOURCE = b',"source":"'


class Ledger:
    """The accounts of the runs of a log.

    Attributes:
        runs: How many have begun.
        run_id: The one at hand; "" before the first.
        finished: It has written its last line.
        known: All so far.
        unfinished: Earlier ones that did not, in order.
        unsealed: Last lines of runs that nothing vouches for.
        elsewhere: Outcomes that recover runs of files that were not given.
    """

    def __init__(self) -> None:
        self.runs = 0
        self.run_id = ""
        self.finished = True
        self.known: set[str] = set()
        self.unfinished: list[str] = []
        self.unsealed = 0
        self.elsewhere = 0
        self._open: dict[tuple[str, bytes], tuple[Path, int]] = {}
        self._seen_whole = True

    def begin(self, run_id: str, *, whole: bool = True) -> None:
        """A run begins; not `whole` when its first lines are in a file that was not given."""
        if not self.finished:
            self.unfinished.append(self.run_id)
        self.runs += 1
        self.run_id = run_id
        self.finished = False
        self._seen_whole = whole
        self.known.add(run_id)

    def begun_before(self, run_id: str, path: Path, number: int) -> Finding | None:
        """Tell that a run which is about to begin has begun before: a copy, whatever its chain."""
        if run_id not in self.known:
            return None
        return Finding(
            Spot(path, number), Damage.INSERTED, f"The run {run_id} has begun before this line."
        )

    def note(self, event: bytes, line: bytes, at: int, path: Path, number: int) -> Finding | None:
        """Account for one line; give what is wrong with it, if anything.

        Args:
            event: One of `NOTED`.
            line: Without its newline.
            at: Where the fields after `prev` begin; -1 where the line is in another form.
            path: The file at hand.
            number: The line's, from 1.
        """
        if event == b"run_finished":
            self.finished = True
            held = seal_holds(line)
            self.unsealed += held is None
            if held is False:
                return edited(Spot(path, number))
            return None
        key = _key(line, at)
        if event == b"intent":
            return self._intent(key, path, number)
        return self._outcome(key, line, path, number)

    def end(self, last: Spot, *, torn: bool) -> Finding | None:
        """Close the accounts; give what is missing, if anything.

        Args:
            last: The last line.
            torn: A torn line follows it, which tells why a run has no end.
        """
        if not self.finished and not torn:
            return Finding(
                last,
                Damage.CUT_SHORT,
                f"Run {self.run_id} has no end, and {len(self._open)} of its intents no outcome: "
                "it was killed, or lines were cut off. The next sweep finishes what was killed.",
            )
        if self._open:
            (run_id, _), (path, number) = next(iter(self._open.items()))
            return Finding(
                Spot(path, number),
                Damage.UNANSWERED,
                f"{counted(len(self._open), 'intent')} {fitting(len(self._open), 'has', 'have')} "
                f"no outcome; this is the first, of run {run_id}.",
            )
        return None

    def warnings(self) -> Iterator[str]:
        """What a person may want to know although nothing is wrong, a sentence each."""
        if self.unfinished:
            runs = ", ".join(self.unfinished[-_NAMED:])
            many = len(self.unfinished)
            have, them = fitting(many, "has", "have"), fitting(many, "it", "them")
            yield f"{counted(many, 'run')} {have} no end, and others came after {them}: {runs}."
        if self.unsealed:
            end = fitting(self.unsealed, "ends", "end")
            yield f"{counted(self.unsealed, 'run')} {end} with a line that carries no seal."
        if self.elsewhere:
            finish = fitting(self.elsewhere, "finishes a run that is", "finish runs that are")
            yield f"{counted(self.elsewhere, 'outcome')} {finish} in none of these files."

    def _intent(self, key: bytes, path: Path, number: int) -> Finding | None:
        before = self._open.setdefault((self.run_id, key), (path, number))
        if before == (path, number):
            return None
        return Finding(
            Spot(*before), Damage.UNANSWERED, f"The intent has no outcome before line {number}."
        )

    def _outcome(self, key: bytes, line: bytes, path: Path, number: int) -> Finding | None:
        if self._open.pop((self.run_id, key), None) is not None:
            return None
        record = parse(line) or {}
        recovers = record.get("recovers")
        if isinstance(recovers, str):
            if recovers not in self.known:
                self.elsewhere += 1
                return None
            if self._open.pop((recovers, key), None) is not None:
                return None
        if _was_not_sent(record) or not self._seen_whole:
            return None
        return Finding(
            Spot(path, number), Damage.UNANNOUNCED, "The outcome is of something without an intent."
        )


def _was_not_sent(record: Mapping[str, object]) -> bool:
    """Whether an outcome needs no intent: a breaker, the deadline or a signal came first."""
    return record.get("outcome") == Outcome.SKIPPED or record.get("attempts") == 0


def _key(line: bytes, at: int) -> bytes:
    """The bytes that name an invitation: its id, its project's and its source.

    Cut out of a line in our writer's form, or made like that out of one in another form.
    """
    if line.startswith(_FIRST, at):
        end, source = line.find(_AFTER, at), line.rfind(_SOURCE)
        if at < end < source:
            return line[at:end] + line[source : line.find(b'"', source + len(_SOURCE)) + 1]
    record = parse(line) or {}
    names = ("invitation_id", "project_id", "source")
    return b"".join(b',"%b":%b' % (n.encode(), orjson.dumps(record.get(n))) for n in names)


# Follows audit logs line by line: chain, numbers, and an outcome for each intent.


_TS_BYTES = len('{"ts":"2026-11-25T01:02:03.000000Z')
"""What comes before `run_id`; of one length in every line."""
_PREV = b'","prev":"%b"'
_PREV_BYTES = len(_PREV % GENESIS_HASH.encode())


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found of some audit logs.

    Attributes:
        lines: How many were followed; all of them where nothing is wrong.
        runs: How many began in them.
        last_hash: The hash of the last line, 64 hex: compare it with one kept elsewhere.
        finding: The first line that is wrong; None where the logs are sound.
        warnings: What a person may want to know of sound logs, a sentence each.
    """

    lines: int
    runs: int
    last_hash: str
    finding: Finding | None
    warnings: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """0 where the logs are sound, 3 where they are damaged or incomplete."""
        return ExitCode.DONE if self.finding is None else ExitCode.REFUSED


def verify(paths: Sequence[Path], *, continuation: bool = False) -> Verification:
    """Follow the files from the first line to the last, or to the first that is wrong.

    Memory is flat: a block of lines, the intents that are open, the names of the runs.

    Args:
        paths: In the order in which they were written (`in_order` sorts them). A file begins
            a chain of its own, with 64 zeros, or goes on with that of the one before it.
        continuation: The first file goes on with the chain of one that is not given; its
            first line is taken at its word.

    Raises:
        UsageFault: A file cannot be read, or is given twice.
    """
    refuse_doubles(paths)
    follower = _Follower()
    for number, path in enumerate(paths):
        finding = follower.follow(path, continuation=continuation and number == 0)
        if finding is not None:
            return follower.result(finding)
    return follower.result(follower.end())


class _Follower:
    """Goes from line to line over all files; what it knows is what the lines so far said."""

    def __init__(self) -> None:
        self._ledger = Ledger()
        self._lines = 0
        self._prev = GENESIS_HASH.encode()
        self._seq = 0
        self._run = b""
        self._path = Path()
        self._number = 0
        self._before: bytes | None = None
        self._torn: list[Spot] = []
        self._finding: Finding | None = None

    def follow(self, path: Path, *, continuation: bool) -> Finding | None:
        """Follow one file to its end; give the first thing that is wrong."""
        self._path, self._number, self._before = path, 0, None
        with open_log(path) as file:
            self._join(Head.of(file.readline()), continuation=continuation)
            file.seek(0)
            while block := file.readlines(BLOCK_BYTES):
                lines = iter(block)
                for line in lines:
                    if line[-1:] != b"\n":
                        return self._end_of_file(line)
                    self._number += 1
                    if not self._step(line[:-1]):
                        rest = (each.removesuffix(b"\n") for each in chain(lines, file))
                        return self._diagnose(line[:-1], rest)
            return self._end_of_file(b"")

    def end(self) -> Finding | None:
        """Close the accounts after the last file."""
        last = Spot(self._path, self._number)
        return self._ledger.end(last, torn=last in self._torn)

    def result(self, finding: Finding | None) -> Verification:
        return Verification(
            lines=self._lines,
            runs=self._ledger.runs,
            last_hash=self._prev.decode(),
            finding=finding,
            warnings=tuple(self._warnings()),
        )

    def _join(self, first: Head | None, *, continuation: bool) -> None:
        """Decide what the first line of a file has to follow."""
        if first is None:
            return
        if continuation:
            self._prev = first.prev.encode()
            if first.seq > 1:
                self._begin(first.run_id, first.seq - 1, whole=False)
        elif first.prev.encode() != self._prev:
            self._prev = GENESIS_HASH.encode()

    def _begin(self, run_id: str, seq: int, *, whole: bool = True) -> None:
        self._ledger.begin(run_id, whole=whole)
        self._run = b'","run_id":%b,"seq":' % to_json(run_id)
        self._seq = seq

    def _step(self, line: bytes) -> bool:
        """Take one line if it follows the one before, and nothing is wrong with it.

        A line in our writer's form is compared byte by byte, which is several times faster
        than parsing it: the chain vouches for the rest.
        """
        seq = self._seq + 1
        head = b'%b%d,"event":"' % (self._run, seq)
        start = _TS_BYTES + len(head)
        end = line.find(b'"', start)
        at = end + _PREV_BYTES
        if line[_TS_BYTES:start] == head and line[end:at] == _PREV % self._prev:
            self._seq = seq
            event = line[start:end]
        elif (parsed := Head.of(line)) is not None and self._takes(parsed):
            event, at = parsed.event.encode(), -1
        else:
            return False
        self._prev = sha256(line).hexdigest().encode()
        self._before = line
        self._lines += 1
        if event in NOTED:
            self._finding = self._ledger.note(event, line, at, self._path, self._number)
            return self._finding is None
        return True

    def _takes(self, head: Head) -> bool:
        """Whether a line begins a run here, or goes on with the one at hand in another form."""
        if head.prev.encode() != self._prev:
            return False
        if head.seq == 1 and (self._ledger.finished or head.run_id != self._ledger.run_id):
            self._finding = self._ledger.begun_before(head.run_id, self._path, self._number)
            if self._finding is None:
                self._begin(head.run_id, 1)
            return self._finding is None
        if (head.run_id, head.seq) != (self._ledger.run_id, self._seq + 1):
            return False
        self._seq += 1
        return True

    def _diagnose(self, line: bytes, rest: Iterator[bytes]) -> Finding:
        spot = Spot(self._path, self._number)
        if self._finding is not None:
            return contradicted(spot, line, rest) or self._finding
        ledger = self._ledger
        expected = Expected(
            self._prev.decode(), ledger.run_id, self._seq + 1, self._before, ledger.known
        )
        return diagnose(spot, line, expected, rest)

    def _end_of_file(self, rest: bytes) -> Finding | None:
        """Look at what no later line vouches for: the last whole line, and what follows it."""
        if self._before is not None and Head.of(self._before) is None:
            return spoiled(Spot(self._path, self._number), self._before)
        if not rest:
            return None
        self._number += 1
        self._torn.append(Spot(self._path, self._number))
        return None if is_tear(rest) else edited(self._torn[-1])

    def _warnings(self) -> Iterator[str]:
        for spot in self._torn:
            yield f"{spot}: the line is torn, as a crash leaves it; it announced nothing."
        yield from self._ledger.warnings()
        if not self._lines and not self._number:
            yield "There is no line in it."
