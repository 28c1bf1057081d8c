"""Follows audit logs line by line: chain, numbers, and an outcome for each intent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain
from pathlib import Path

from invite_sweeper.audit.damage import Expected, Finding, contradicted, diagnose, edited, spoiled
from invite_sweeper.audit.ledger import NOTED, Ledger
from invite_sweeper.audit.lines import BLOCK_BYTES, Head, Spot, open_log, refuse_doubles
from invite_sweeper.audit.record import GENESIS_HASH, to_json
from invite_sweeper.audit.tail import is_tear
from invite_sweeper.errors import ExitCode

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
