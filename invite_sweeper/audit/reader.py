"""Read and filter lines."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

import orjson
from typing_extensions import override

from invite_sweeper.audit.record import Record
from invite_sweeper.audit.storage import could_be_first_line, is_record
from invite_sweeper.errors import GuardRefused, UsageError

# Reads the lines of audit logs back, one at a time, whatever the size of the files.


READ_BLOCK_BYTES = 1 << 18
_EVENT_FIELD = re.compile(rb'"event"\s*:\s*"([^"\\]*)"')


class LinePosition(NamedTuple):
    """Where a line stands.

    Attributes:
        line: From 1.
    """

    path: Path
    line: int

    @override
    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class LineHeader(NamedTuple):
    """What a line says of its place in the log."""

    run_id: str
    seq: int
    event: str
    prev: str

    @classmethod
    def parse(cls, line: bytes) -> "LineHeader | None":
        """Read it from a line without its newline; None when this is no line of an audit log."""
        record = parse_record(line)
        if record is None:
            return None
        run_id, seq, event, prev = map(record.get, ("run_id", "seq", "event", "prev"))
        if not (isinstance(run_id, str) and isinstance(event, str) and isinstance(prev, str)):
            return None
        return cls(run_id, seq, event, prev) if type(seq) is int else None


def parse_record(line: bytes) -> Record | None:
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
        return path.open("rb", buffering=READ_BLOCK_BYTES)
    except OSError as error:
        raise UsageError(
            f"The audit log {path} cannot be read: {error.strerror or error}.",
            hint="Name files that exist and that this user may read.",
        ) from error


def raise_damaged(position: LinePosition) -> NoReturn:
    """Raise what a damaged line means to a run that has to rely on the log.

    Raises:
        GuardRefused: Always.
    """
    raise GuardRefused(
        f"The audit log is damaged at {position}, so earlier runs cannot be known from it.",
        hint="See what `audit verify` says of it. Moving the file away begins a new one, which "
        "knows nothing of this one's open deletions, used-up plans and bounced invitations.",
    )


def require_audit_log(path: Path) -> None:
    """Let a file pass that begins as an audit log does: empty, or with at least a torn line.

    Raises:
        GuardRefused: Its first line is none of an audit log.
        UsageFault: It cannot be read.
    """
    with open_log(path) as file:
        first_line = file.readline(READ_BLOCK_BYTES)
    if not (is_record(first_line) or could_be_first_line(first_line)):
        raise GuardRefused(
            f"{LinePosition(path, 1)} is no line of an audit log.",
            hint="Name an audit log; `audit verify` tells what is wrong with a damaged one.",
        )


def reject_duplicates(paths: Iterable[Path]) -> None:
    """Let files pass that are each given once.

    Raises:
        UsageFault: Two names are of one file: its lines would count twice.
    """
    seen: dict[tuple[int, int], Path] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # said by whoever opens it
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            raise UsageError(
                f"{seen[identity]} and {path} are one audit log, given twice.",
                hint="Name each file once.",
            )
        seen[identity] = path


def read_records(
    paths: Sequence[Path],
    events: frozenset[bytes] | None = None,
    *,
    on_damaged: Callable[[LinePosition], object] = raise_damaged,
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
        yield from _read_file(path, events, on_damaged)


def _read_file(
    path: Path, events: frozenset[bytes] | None, on_damaged: Callable[[LinePosition], object]
) -> Iterator[Record]:
    unreadable: int | None = None
    with open_log(path) as file:
        for number, line in enumerate(file, 1):
            if unreadable is not None:  # and this line shows that it was not the last
                on_damaged(LinePosition(path, unreadable))
                unreadable = None
            event = _EVENT_FIELD.search(line)
            if event and events is not None and event[1] not in events:
                continue
            record = parse_record(line) if event and line.endswith(b"\n") else None
            if record is None:
                unreadable = number
            else:
                yield record


# Picks lines out of audit logs: those of a run, a project, a person, an outcome, a day.


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines to show; what is None chooses all, and all that is given must hold.

    Attributes:
        run: A run's id, or its beginning.
        project: A project's id, or a glob on its name; case does not matter.
        username: A glob on the invited person's address; case does not matter.
        outcome: An outcome's name; lines of other events have none.
        day: A day in UTC.
        event: An event's name.
    """

    run: str | None = None
    project: str | None = None
    username: str | None = None
    outcome: str | None = None
    day: date | None = None
    event: str | None = None

    def matches(self, record: Record) -> bool:
        """Whether the record is chosen."""
        return (
            _starts_with(self.run, record.get("run_id"))
            and _starts_with(None if self.day is None else self.day.isoformat(), record.get("ts"))
            and self.event in (None, record.get("event"))
            and self.outcome in (None, record.get("outcome"))
            and _matches_glob(self.username, record.get("username"))
            and (
                _matches_glob(self.project, record.get("project_id"))
                or _matches_glob(self.project, record.get("project_name"))
            )
        )


def filter_records(
    paths: Sequence[Path],
    line_filter: LineFilter,
    *,
    on_damaged: Callable[[LinePosition], object] = raise_damaged,
) -> Iterator[Record]:
    """The chosen records, in the order of their lines; one is in memory at a time.

    Args:
        paths: In the order in which they were written.
        choice: What to show.
        damaged: Told of each line that is no record; what it raises ends the reading.

    Raises:
        GuardRefused: A line is damaged, and `damaged` was left as it is; or a file begins
            with what is no line of an audit log.
        UsageFault: A file cannot be read.
    """
    for path in paths:
        require_audit_log(path)
    events = None if line_filter.event is None else frozenset({line_filter.event.encode()})
    return filter(line_filter.matches, read_records(paths, events, on_damaged=on_damaged))


def _starts_with(wanted: str | None, value: object) -> bool:
    return wanted is None or (isinstance(value, str) and value.startswith(wanted))


def _matches_glob(glob: str | None, value: object) -> bool:
    return glob is None or (
        isinstance(value, str) and fnmatchcase(value.casefold(), glob.casefold())
    )
