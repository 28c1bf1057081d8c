"""Reads the lines of audit logs back, one at a time, whatever the size of the files."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import orjson
from typing_extensions import override

from invite_sweeper.audit.record import Record
from invite_sweeper.audit.tail import is_line, may_begin
from invite_sweeper.errors import GuardRefused, UsageFault

BLOCK_BYTES = 1 << 18
_EVENT = re.compile(rb'"event"\s*:\s*"([^"\\]*)"')


class Spot(NamedTuple):
    """Where a line stands.

    Attributes:
        line: From 1.
    """

    path: Path
    line: int

    @override
    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class Head(NamedTuple):
    """What a line says of its place in the log."""

    run_id: str
    seq: int
    event: str
    prev: str

    @classmethod
    def of(cls, line: bytes) -> "Head | None":
        """Read it from a line without its newline; None when this is no line of an audit log."""
        record = parse(line)
        if record is None:
            return None
        run_id, seq, event, prev = map(record.get, ("run_id", "seq", "event", "prev"))
        if not (isinstance(run_id, str) and isinstance(event, str) and isinstance(prev, str)):
            return None
        return cls(run_id, seq, event, prev) if type(seq) is int else None


def parse(line: bytes) -> Record | None:
    """One line as a record; None when it is no JSON object."""
    try:
        record = orjson.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def open_log(path: Path) -> BinaryIO:
    """Open an audit log to be read.

    Raises:
        UsageFault: It cannot be read.
    """
    try:
        return path.open("rb", buffering=BLOCK_BYTES)
    except OSError as error:
        raise UsageFault(
            f"The audit log {path} cannot be read: {error.strerror or error}.",
            hint="Name files that exist and that this user may read.",
        ) from error


def refuse_damaged(spot: Spot) -> NoReturn:
    """Raise what a damaged line means to a run that has to rely on the log.

    Raises:
        GuardRefused: Always.
    """
    raise GuardRefused(
        f"The audit log is damaged at {spot}, so earlier runs cannot be known from it.",
        hint="See what `audit verify` says of it. Moving the file away begins a new one, which "
        "knows nothing of this one's open deletions, used-up plans and bounced invitations.",
    )


def refuse_stranger(path: Path) -> None:
    """Let a file pass that begins as an audit log does: empty, or with at least a torn line.

    Raises:
        GuardRefused: Its first line is none of an audit log.
        UsageFault: It cannot be read.
    """
    with open_log(path) as file:
        first = file.readline(BLOCK_BYTES)
    if not (is_line(first) or may_begin(first)):
        raise GuardRefused(
            f"{Spot(path, 1)} is no line of an audit log.",
            hint="Name an audit log; `audit verify` tells what is wrong with a damaged one.",
        )


def refuse_doubles(paths: Iterable[Path]) -> None:
    """Let files pass that are each given once.

    Raises:
        UsageFault: Two names are of one file: its lines would count twice.
    """
    known: dict[tuple[int, int], Path] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # said by whoever opens it
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in known:
            raise UsageFault(
                f"{known[identity]} and {path} are one audit log, given twice.",
                hint="Name each file once.",
            )
        known[identity] = path


def records(
    paths: Sequence[Path],
    events: frozenset[bytes] | None = None,
    *,
    damaged: Callable[[Spot], object] = refuse_damaged,
) -> Iterator[Record]:
    """The records of some files, one after another, in the order of their lines.

    A last line that is torn or no record is left out: the next run sets it aside. Only lines
    of the events asked for are parsed, which is several times faster than parsing all.

    Args:
        paths: In the order in which they were written.
        events: Names of events; None gives all.
        damaged: Told of each line that is no record; what it raises ends the reading.

    Raises:
        GuardRefused: A line is damaged, and `damaged` was left as it is.
        UsageFault: A file cannot be read.
    """
    for path in paths:
        yield from _records_of(path, events, damaged)


def _records_of(
    path: Path, events: frozenset[bytes] | None, damaged: Callable[[Spot], object]
) -> Iterator[Record]:
    unreadable: int | None = None
    with open_log(path) as file:
        for number, line in enumerate(file, 1):
            if unreadable is not None:  # and this line shows that it was not the last
                damaged(Spot(path, unreadable))
                unreadable = None
            event = _EVENT.search(line)
            if event and events is not None and event[1] not in events:
                continue
            record = parse(line) if event and line.endswith(b"\n") else None
            if record is None:
                unreadable = number
            else:
                yield record
