"""Read the files of runs, one line at a time: check their chain, decode and filter their lines."""

import errno
import gzip
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO, Final, NamedTuple, TypeAlias, cast

from invite_sweeper.audit.chain import line_hash, seal_holds
from invite_sweeper.audit.events import (
    Kept,
    Line,
    LineHeader,
    RunFinished,
    RunStarted,
    decode,
    format_timestamp,
)
from invite_sweeper.errors import DamagedLog, UsageError
from invite_sweeper.files import open_regular
from invite_sweeper.json_text import parse_json

_READ_BLOCK_BYTES: Final = 1 << 18
_MAX_LINE_BYTES: Final = 1 << 24
"""A longer line is damaged; the totals of the largest estate have 1 MiB."""
_GZIP_SUFFIX: Final = ".gz"
_OTHER_COMPRESSIONS: Final = frozenset({".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"})
_LINE_START: Final = b'{"ts":"'
_GZIP_MAGIC: Final = b"\x1f\x8b"

Record: TypeAlias = Mapping[str, object]
"""One parsed line."""


class DamagedFile(DamagedLog):
    """A file of a run is not as the run wrote it.

    Attributes:
        path: The file.
        line: The first line that is wrong, from 1; None where it is the file as a whole.
    """

    def __init__(self, path: Path, line: int | None, what: str) -> None:
        self.path = path
        self.line = line
        super().__init__(
            f"{path}{'' if line is None else f' line {line}'} {what}.",
            hint="Check the audit log with `audit verify`.",
        )


@contextmanager
def open_log(path: Path) -> Iterator[IO[bytes]]:
    """Open the file of a run for reading; one that is compressed with gzip is decompressed.

    Raises:
        UsageError: The file cannot be opened or read.
        DamagedFile: The compressed file is damaged or cut off; found while it is read.
    """
    try:
        with _open_regular(path) as file:
            yield _decompressed(path, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = "is cut off" if isinstance(error, EOFError) else "cannot be decompressed"
        raise DamagedFile(path, None, what) from error
    except OSError as error:
        raise UsageError(
            f"The audit log {path} cannot be read: {error.strerror or error}.",
            hint="Check that the file exists and that this user can read it.",
        ) from error


def _open_regular(path: Path) -> IO[bytes]:
    """Open a file, which may have been compressed since the directory was listed."""
    if path.suffix in _OTHER_COMPRESSIONS:
        raise OSError(errno.ENOTSUP, "only gzip can be decompressed")
    try:
        return open_regular(path, buffer_bytes=_READ_BLOCK_BYTES)
    except FileNotFoundError:
        packed = path.with_name(f"{path.name}{_GZIP_SUFFIX}")
        return open_regular(packed, buffer_bytes=_READ_BLOCK_BYTES)


def _decompressed(path: Path, file: IO[bytes]) -> IO[bytes]:
    start = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    if not start and path.suffix == _GZIP_SUFFIX:
        raise EOFError  # `gzip` would read it as an empty log
    return cast("IO[bytes]", gzip.open(file)) if start == _GZIP_MAGIC else file


@contextmanager
def required() -> Iterator[None]:
    """Raise DamagedLog for a file that a run relies on and cannot open."""
    try:
        yield
    except UsageError as error:
        raise DamagedLog(error.message, hint=error.hint) from error


def _read_lines(path: Path) -> Iterator[tuple[int, bytes, LineHeader | None]]:
    """Yield the number, the bytes without the newline and the header of each whole line.

    The torn line that a killed run left after its last whole one has no header.

    Raises:
        DamagedFile: A line is not a line of an audit log.
        UsageError: The file cannot be read.
    """
    with open_log(path) as file:
        for number, line in enumerate(iter(partial(file.readline, _MAX_LINE_BYTES), b""), 1):
            header = LineHeader.parse(line[:-1]) if line.endswith(b"\n") else None
            if header is None and not _is_torn(line):
                raise DamagedFile(path, number, "is not a line of an audit log")
            yield number, line.removesuffix(b"\n"), header


def _is_torn(line: bytes) -> bool:
    """Return whether these can be the first bytes of a line, or those of an unwritten block."""
    if line.endswith(b"\n") or len(line) == _MAX_LINE_BYTES:
        return False
    return _LINE_START.startswith(line[: len(_LINE_START)]) or not line.strip(b"\0")


class ChainLine(NamedTuple):
    """A line whose place in its file was checked.

    Attributes:
        number: From 1.
        raw: Its bytes without the newline.
        hash: `prev` of the line after it.
    """

    number: int
    raw: bytes
    header: LineHeader
    hash: str


class FileChain:
    """Checks the chain of one file while its whole lines are read.

    Attributes:
        path: The file.
        lines: How many whole lines were read.
        prev: `prev` of the first line: the hash of the last one of the file before; "" without
            lines.
        last_hash: Hash of the last whole line; "" without lines.
        run_id: Of all lines; "" without lines.
        finished: Whether the last line is `run_finished`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self.prev = self.last_hash = self.run_id = ""
        self.finished = False

    def __iter__(self) -> Iterator[ChainLine]:
        """Yield the whole lines.

        The torn line that a killed run left after its last whole one is skipped.

        Raises:
            DamagedFile: A line does not follow the one before it.
            UsageError: The file cannot be read.
        """
        for number, raw, header in _read_lines(self.path):
            if self.finished:
                raise self._damaged(number, f"was added after the end of run {self.run_id}")
            if header is not None:
                self._check(number, raw, header)
                self.lines, self.last_hash = number, line_hash(raw)
                yield ChainLine(number, raw, header, self.last_hash)

    def read(self) -> None:
        """Check the whole file; raises as the iterator does."""
        for _ in self:
            pass

    def _check(self, number: int, raw: bytes, header: LineHeader) -> None:
        if header.event == RunFinished.event:
            if not seal_holds(raw):  # first: its `prev`, too, may be what was changed
                raise self._damaged(number, "was changed: its seal does not hold")
            self.finished = True
        if number == 1:
            self.prev, self.run_id = header.prev, header.run_id
            if (header.seq, header.event) != (1, RunStarted.event):
                raise self._damaged(1, "is not the first line of a run")
        elif (header.prev, header.seq, header.run_id) != (self.last_hash, number, self.run_id):
            raise self._damaged(number, f"does not follow line {number - 1}")

    def _damaged(self, line: int, what: str) -> DamagedFile:
        return DamagedFile(self.path, line, what)


def is_run_file(start: bytes) -> bool:
    """Return whether a file that starts so is the file of a run."""
    first, _, _ = start.partition(b"\n")
    return b'"event":"%b"' % RunStarted.event.encode() in first


def read_events(path: Path) -> Iterator[Line]:
    """Yield the lines of a file, without those of kept invitations and of later versions.

    The chain is not checked. The torn line that a killed run left is skipped.

    Raises:
        DamagedFile: A line cannot be decoded.
        UsageError: The file cannot be read.
    """
    for number, raw, header in _read_lines(path):
        if header is None or header.event == Kept.event:
            continue
        line = decode_line(path, number, raw, header)
        if line is not None:
            yield line


def decode_line(path: Path, number: int, raw: bytes, header: LineHeader) -> Line | None:
    """Return a line; None for an event of a later version.

    Raises:
        DamagedFile: A field is missing or has another type.
    """
    try:
        event = decode(raw, header)
    except ValueError:
        raise DamagedFile(path, number, "cannot be decoded") from None
    return None if event is None else Line(header.ts, header.run_id, event)


@dataclass(frozen=True, slots=True)
class LineFilter:
    """A filter for lines: all criteria that are not None must match.

    Attributes:
        event: The name of an event.
        outcome: An outcome; lines without one do not match.
        username: A glob for the invited user's name, case-insensitive.
        project: A glob for the project's ID or name, case-insensitive.
        since: The first instant, timezone-aware.
        until: The instant after the last one, timezone-aware.
    """

    event: str | None = None
    outcome: str | None = None
    username: str | None = None
    project: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, record: Record) -> bool:
        """Return whether the record matches all criteria."""
        return (
            self.event in {None, record.get("event")}
            and self.outcome in {None, record.get("outcome")}
            and _matches_glob(self.username, record.get("username"))
            and (
                _matches_glob(self.project, record.get("project_id"))
                or _matches_glob(self.project, record.get("project_name"))
            )
            and self._is_in_period(str(record.get("ts")))
        )

    def _is_in_period(self, ts: str) -> bool:
        """Return whether a timestamp is in the period; all are UTC in one format."""
        return (self.since is None or ts >= format_timestamp(self.since)) and (
            self.until is None or ts < format_timestamp(self.until)
        )


def filter_lines(path: Path, line_filter: LineFilter) -> Iterator[tuple[Record, bytes]]:
    """Yield the matching records of a run's file, each with its line without the newline.

    Raises:
        DamagedFile: A line does not follow the one before it.
        UsageError: The file cannot be read.
    """
    for line in FileChain(path):
        record: Record = parse_json(line.raw)
        if line_filter.matches(record):
            yield record, line.raw


def _matches_glob(glob: str | None, value: object) -> bool:
    return glob is None or (
        isinstance(value, str) and fnmatchcase(value.casefold(), glob.casefold())
    )
