"""Read the files of runs, one line at a time: check their chain, decode and filter their lines."""

import errno
import gzip
import re
import zlib
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Final, NamedTuple, Self, TypeAlias, cast

import msgspec

from invite_sweeper.audit.chain import line_hash, seal_holds
from invite_sweeper.audit.events import (
    DECODERS,
    Event,
    Kept,
    LineHeader,
    Planned,
    RunFinished,
    RunStarted,
    format_timestamp,
)
from invite_sweeper.endings import COMPLETE_EXIT_CODES, Reason
from invite_sweeper.errors import DamagedLog, GuardRefused
from invite_sweeper.files import open_regular
from invite_sweeper.json_text import parse_json

_MAX_LINE_BYTES: Final = 1 << 24
"""A longer line is damaged; the totals of the largest estate have 1 MiB."""
VERIFY_HINT: Final = "Check the audit log with `audit verify`."
_GZIP_SUFFIX: Final = ".gz"
_OTHER_COMPRESSIONS: Final = frozenset({".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"})
_LINE_START: Final = b'{"ts":"'
_GZIP_MAGIC: Final = b"\x1f\x8b"
_HEADER: Final = msgspec.json.Decoder(LineHeader)

Record: TypeAlias = Mapping[str, object]
"""One parsed line."""


class DamagedFile(DamagedLog):
    """A file of a run is not as the run wrote it.

    Args:
        line: The first line that is wrong, from 1; None where it is the file as a whole.
    """

    def __init__(self, path: Path, line: int | None, what: str, hint: str = "") -> None:
        super().__init__(
            f"{path}{'' if line is None else f' line {line}'} {what}.",
            hint=f"{VERIFY_HINT} {hint}".strip(),
        )


@contextmanager
def open_log(path: Path) -> Iterator[IO[bytes]]:
    """Open the file of a run for reading; one that is compressed with gzip is decompressed.

    Raises:
        DamagedLog: The file cannot be opened or read.
        DamagedFile: The compressed file is damaged or cut off; found while it is read.
    """
    try:
        with _open_regular(path) as file:
            yield _decompressed(path, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = "is cut off" if isinstance(error, EOFError) else "cannot be decompressed"
        raise DamagedFile(path, None, what) from error
    except OSError as error:
        raise DamagedLog(
            f"The audit log {path} cannot be read: {error.strerror or error}.",
            hint="Check that the file exists and that this user can read it.",
        ) from error


def _open_regular(path: Path) -> IO[bytes]:
    if path.suffix in _OTHER_COMPRESSIONS:
        raise OSError(errno.ENOTSUP, "only gzip can be decompressed")
    try:
        return open_regular(path)
    except FileNotFoundError:  # it may have been compressed since the directory was listed
        return open_regular(path.with_name(f"{path.name}{_GZIP_SUFFIX}"))


def _decompressed(path: Path, file: IO[bytes]) -> IO[bytes]:
    start = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    if not start and path.suffix == _GZIP_SUFFIX:
        raise EOFError  # `gzip` would read it as an empty log
    return cast("IO[bytes]", gzip.open(file)) if start == _GZIP_MAGIC else file


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
    """Reads the file of a run, and checks its chain; every reader of a file goes through it.

    The torn line that a killed run left after its last whole one is skipped.

    Attributes:
        size: How many bytes were read, decompressed.
        lines: How many whole lines were read; without any, the next three are "".
        prev: `prev` of the first line: the hash of the last one of the file before.
        last_hash: Hash of the last whole line.
        run_id: Of all lines.
        finished: Whether the last line is `run_finished`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = self.lines = 0
        self.prev = self.last_hash = self.run_id = ""
        self.finished = False
        self._digest = sha256()

    @property
    def sha256(self) -> str:
        """Of the file before it was compressed, as far as it was read: 64 hex digits."""
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[ChainLine]:
        """Yield the whole lines.

        Raises:
            DamagedFile: A line does not follow the one before it.
            DamagedLog: The file cannot be read.
        """
        with open_log(self.path) as file:
            for number, line in enumerate(iter(partial(file.readline, _MAX_LINE_BYTES), b""), 1):
                self._digest.update(line)
                self.size += len(line)
                if self.finished:
                    raise DamagedFile(
                        self.path, number, f"was added after the end of run {self.run_id}"
                    )
                if _is_torn(line):
                    return
                header, raw = self._parse(number, line), line[:-1]
                self._check(number, raw, header)
                self.lines, self.last_hash = number, line_hash(raw)
                yield ChainLine(number, raw, header, self.last_hash)

    def read(self) -> Self:
        """Check the whole file; raises as the iterator does."""
        for _ in self:
            pass
        return self

    def decode(self, line: ChainLine) -> Event | None:
        """Return the event of a line; None for one of a later version.

        Raises:
            DamagedFile: A field is missing or has another type.
        """
        decoder = DECODERS.get(line.header.event)
        try:
            return None if decoder is None else decoder.decode(line.raw)
        except (ValueError, RecursionError):
            raise DamagedFile(self.path, line.number, "cannot be decoded") from None

    def _parse(self, number: int, line: bytes) -> LineHeader:
        try:
            if line.endswith(b"\n"):
                return _HEADER.decode(line)
        except (ValueError, RecursionError):
            pass
        raise DamagedFile(self.path, number, "is not a line of an audit log")

    def _check(self, number: int, raw: bytes, header: LineHeader) -> None:
        if header.event == RunFinished.event:
            if not seal_holds(raw):  # first: its `prev`, too, may be what was changed
                raise DamagedFile(self.path, number, "was changed: its seal does not hold")
            self.finished = True
        if number == 1:
            self.prev, self.run_id = header.prev, header.run_id
            if (header.seq, header.event) != (1, RunStarted.event):
                raise DamagedFile(self.path, 1, "is not the first line of a run")
        elif (header.prev, header.seq, header.run_id) != (self.last_hash, number, self.run_id):
            raise DamagedFile(self.path, number, f"does not follow line {number - 1}")


def _is_torn(line: bytes) -> bool:
    """Return whether these can be the first bytes of a line, or those of an unwritten block."""
    if line.endswith(b"\n") or len(line) == _MAX_LINE_BYTES:
        return False
    return _LINE_START.startswith(line[: len(_LINE_START)]) or not line.strip(b"\0")


_PLAN_START: Final = re.compile(
    rb'\{"ts":"[^"]*","run_id":"([^"]*)","seq":1,"event":"run_started","prev":"[0-9a-f]{64}",'
    rb'"mode":"([a-z-]+)"'
)


def may_replace_plan(start: bytes, known_runs: Container[str]) -> bool:
    """Return whether a file that starts so is a plan, or the copy of a run that is known.

    Args:
        known_runs: The ids of the runs whose files are in the audit directory: nothing is lost
            where a copy of one of them is replaced.
    """
    found = _PLAN_START.match(start)
    return found is not None and (found[2] == b"dry-run" or found[1].decode() in known_runs)


def read_events(path: Path) -> Iterator[tuple[LineHeader, Event]]:
    """Yield the lines of a file, without those of kept invitations and of later versions.

    Raises as `FileChain` and its `decode`.
    """
    chain = FileChain(path)
    for each in chain:
        if each.header.event != Kept.event and (event := chain.decode(each)) is not None:
            yield each.header, event


class SavedPlan(NamedTuple):
    """The plan of a finished dry run.

    Attributes:
        sha256: Of the file before it was compressed, 64 hex digits; what `sha256sum FILE` prints,
            or `gzip -dc FILE | sha256sum`.
    """

    path: Path
    start: RunStarted
    planned: tuple[Planned, ...]
    sha256: str


def read_plan(path: Path) -> SavedPlan:
    """Return the plan in the file of a dry run, whose whole chain is checked.

    Raises:
        GuardRefused: It is not the whole file of a dry run that made a plan.
    """
    chain, own = FileChain(path), RunStarted | Planned | RunFinished
    try:
        events = [event for event in map(chain.decode, chain) if isinstance(event, own)]
    except DamagedFile as error:
        raise _refused(f"The plan {path} was changed: {error.message}") from None
    match events:
        case [RunStarted(mode="dry-run") as start, *between, RunFinished() as end]:
            if not end.plan_made or end.exit_code not in COMPLETE_EXIT_CODES:
                raise _refused(f"The dry run of {path} ended with exit code {end.exit_code}.")
            planned = tuple(each for each in between if isinstance(each, Planned))
            return SavedPlan(path, start, planned, chain.sha256)
        case [RunStarted(mode="dry-run"), *_]:
            raise _refused(f"The plan {path} was cut off, or its dry run did not finish.")
        case _:
            raise _refused(f"{path} is not the file of a dry run.")


def _refused(message: str) -> GuardRefused:
    return GuardRefused(message, hint="Create a new plan with `plan`.", reasons=(Reason.PLAN,))


def filter_lines(
    path: Path,
    *,
    event: str | None = None,
    outcome: str | None = None,
    username: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Iterator[tuple[Record, bytes]]:
    """Yield the records of a run's file that match all criteria that are not None.

    Args:
        outcome: Lines without one do not match.
        username: A glob for the invited user's name, case-insensitive.
        since: The first instant.
        until: The instant after the last one.

    Yields:
        Each record, and its line without the newline; raises as `FileChain`.
    """
    glob = None if username is None else username.casefold()
    for line in FileChain(path):
        record: Record = parse_json(line.raw)
        name, ts = record.get("username"), line.header.ts  # all are UTC in one format
        if (
            event in {None, line.header.event}
            and outcome in {None, record.get("outcome")}
            and (glob is None or (isinstance(name, str) and fnmatchcase(name.casefold(), glob)))
            and (since is None or ts >= format_timestamp(since))
            and (until is None or ts < format_timestamp(until))
        ):
            yield record, line.raw
