"""Read the files of runs, one line at a time: check their chain, decode and filter their lines."""

import errno
import gzip
import re
import zlib
from collections.abc import Container, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Final, NamedTuple, Self, TypeAlias, cast

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH, seal_holds
from invite_sweeper.audit.events import (
    DECODERS,
    Event,
    Kept,
    LineHeader,
    Planned,
    RunFinished,
    RunStarted,
)
from invite_sweeper.endings import COMPLETE_EXIT_CODES, Reason
from invite_sweeper.errors import DamagedLog, GuardRefused
from invite_sweeper.files import open_regular
from invite_sweeper.json_text import parse_json
from invite_sweeper.text import shell_command

_MAX_LINE_BYTES: Final = 1 << 24
"""A longer line is damaged; the totals of the largest estate have 1 MiB."""
_GZIP_SUFFIX: Final = ".gz"
_OTHER_COMPRESSIONS: Final = frozenset({".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"})
_NAME: Final = re.compile(
    r"(?P<number>\d{6,})-(?P<run>[\w-]+)\.jsonl(?:\.(?:gz|bz2|xz|zst|lz4|Z|zip))?", re.ASCII
)
"""Only gzip can be read; the other files are found so that a run is refused."""
_OF_VERSION_0_1: Final = re.compile(rb'"tool_version":"0\.1\.|^(?!.*"actors":).*"actor":"')
"""What the first line of a log of version 0.1 has: one actor, as it knew one organization."""
_STAMP: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
"""How an id of a run begins."""
_LINE_START: Final = b'{"ts":"'
_GZIP_MAGIC: Final = b"\x1f\x8b"
_NO_LINE: Final = "is not a line of an audit log"
_HEADER: Final = msgspec.json.Decoder(LineHeader)
_LAST_EVENT: Final = RunFinished.event

Record: TypeAlias = Mapping[str, object]
"""One parsed line."""


class DamagedFile(DamagedLog):
    """A file of a run is not as the run wrote it.

    Args:
        line: The first line that is wrong, from 1; None where it is the file as a whole.
    """

    def __init__(self, path: Path, line: int | None, what: str, hint: str = "") -> None:
        where = str(path) if line is None else f"{path} line {line}"
        super().__init__(f"{where} {what}.", hint=f"{hint} {verify_hint(path)}".strip())


def verify_hint(path: Path) -> str:
    """Return the advice to verify the audit directory of a file, or a file outside of one."""
    in_directory = path.name == "HEAD" or RunFile.of(path).number
    target = path.parent if in_directory else path
    return f"Check the audit log with: {shell_command('audit', 'verify', str(target))}"


class RunFile(NamedTuple):
    """The file of a run.

    Attributes:
        number: 0 for a file outside an audit directory with another name.
        run_id: As the name says it.
    """

    number: int
    run_id: str
    path: Path

    @classmethod
    def of(cls, path: Path) -> "RunFile":
        """Return the file at a path, whatever its name is."""
        name = _NAME.fullmatch(path.name)
        if name is None:
            return cls(0, "", path)
        return cls(int(name["number"]), name["run"], path)

    def is_before(self, stamp: str) -> bool:
        """Return whether its run began before an instant, as `20261125T010203Z`, by its name."""
        begun = _STAMP.match(self.run_id)
        return begun is not None and begun[0] < stamp

    @property
    def name(self) -> str:
        """Its name before it was compressed."""
        return self.path.name.partition(".jsonl")[0] + ".jsonl"


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `HEAD` says of the last run.

    Attributes:
        number: Of the run.
        file: The name of its file, uncompressed.
        last_hash: Of the last line; while the run has not ended, of the line that it continues.
        ended: Whether the run wrote its last line.
    """

    number: int
    file: str
    last_hash: str
    ended: bool

    def check(self, chain: "FileChain", continued: str) -> None:
        """Raise DamagedFile if a file contradicts it.

        Args:
            chain: Of the file, read to its end.
            continued: Hash of the last line of the files before it; "" where it is not known.
        """
        file = chain.file
        last = chain.last
        if file.name != self.file:
            if file.number >= self.number and (last is not None or chain.is_torn):
                raise DamagedFile(
                    file.path,
                    None,
                    f"is not known to HEAD, which names {self.file}",
                    "If HEAD was restored from an old copy, delete it: the next run makes it from "
                    "the newest file. Otherwise move the file away.",
                )
            return
        line: int | None
        if self.ended:
            known = "" if last is None else last.hash
            line = None if last is None else last.number
        elif chain.first is not None:
            known = chain.first.header.prev
            line = 1
        else:  # killed before its first line
            known = continued or self.last_hash
            line = None
        if known != self.last_hash:
            raise DamagedFile(
                file.path,
                line,
                "is not as HEAD describes it: it was cut or changed after its run, or HEAD is from "
                "another time",
                "Restore the file or HEAD from a copy.",
            )


class OldLog(DamagedLog):
    """A file is the log of version 0.1, which wrote all runs to one file."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is a log of version 0.1, which this version does not read.",
            hint="Verify it with version 0.1, which wrote it, and keep it as it is. This version "
            "begins a log of its own in an empty directory.",
        )


@contextmanager
def open_log(path: Path) -> Iterator[IO[bytes]]:
    """Open the file of a run for reading; one that is compressed with gzip is decompressed.

    Raises:
        DamagedLog: The file cannot be opened or read.
        DamagedFile: The compressed file is damaged or cut off; found while it is read.
    """
    try:
        with _open_log_file(path) as file:
            yield _decompressed(path, file)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        what = "is cut off" if isinstance(error, EOFError) else "cannot be decompressed"
        raise DamagedFile(path, None, what) from error
    except OSError as error:
        raise DamagedLog(
            f"The audit log {path} cannot be read: {error.strerror or error}.",
            hint="Check that the file exists and that this user can read it.",
        ) from error


def _open_log_file(path: Path) -> IO[bytes]:
    if path.suffix in _OTHER_COMPRESSIONS:
        raise OSError(errno.ENOTSUP, "only gzip can be decompressed")
    try:
        return open_regular(path)
    except FileNotFoundError:  # it may have been compressed since the directory was listed
        return open_regular(path.with_name(f"{path.name}{_GZIP_SUFFIX}"))


def _decompressed(path: Path, file: IO[bytes]) -> IO[bytes]:
    """Return a file as it was before it was compressed; its first bytes say so, not its name."""
    start = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    if not start and path.suffix == _GZIP_SUFFIX:
        raise EOFError  # `gzip` would read it as an empty log
    if start == _GZIP_MAGIC:
        return cast("IO[bytes]", gzip.open(file))
    return file


class ChainLine(msgspec.Struct, frozen=True, gc=False):
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


class Continued(NamedTuple):
    """What the first line of a file must continue.

    Attributes:
        last_hash: Hash of the last whole line of the files before.
        name: The file that has this line; "" where the log begins.
    """

    last_hash: str
    name: str


class FileChain:
    """Reads the file of a run once, and checks its chain.

    The torn line that a killed run left after its last whole one is skipped.

    Args:
        file: Its name has the run id of its lines; a file outside an audit directory may have
            another name.
        continued: None where the files before are not known.
        hashed: Whether `sha256` is needed.

    Attributes:
        first: The first whole line that was read; None before it.
        last: The last whole line that was read.
        finished: Whether the last line is `run_finished`.
        is_torn: Whether a torn line was skipped.
    """

    def __init__(
        self, file: RunFile, continued: Continued | None = None, *, hashed: bool = False
    ) -> None:
        self.file = file
        self.first: ChainLine | None = None
        self.last: ChainLine | None = None
        self.finished = False
        self.is_torn = False
        self._continued = continued
        self._digest = sha256() if hashed else None
        self._left = self._read()

    @property
    def run_id(self) -> str:
        """The run id of all lines; "" before the first."""
        return "" if self.first is None else self.first.header.run_id

    @property
    def sha256(self) -> str:
        """Of the file before it was compressed, as far as it was read: 64 hex digits."""
        assert self._digest is not None  # noqa: S101 - asked for with `hashed`
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[ChainLine]:
        """Return the whole lines that were not read yet.

        Raises:
            DamagedFile: A line does not follow the one before it.
            DamagedLog: The file cannot be read.
        """
        return self._left

    def read(self) -> Self:
        """Check the rest of the file; raises as the iterator does."""
        for _ in self._left:
            pass
        return self

    def close(self) -> None:
        """Close the file before its end: a chain that is only let go keeps it open for a while."""
        self._left.close()

    def events(self) -> Iterator[tuple[LineHeader, Event]]:
        """Yield the events, without those of kept invitations and of later versions.

        Raises as the iterator and `decode`.
        """
        for line in self._left:
            if line.header.event != Kept.event and (event := self.decode(line)) is not None:
                yield line.header, event

    def decode(self, line: ChainLine) -> Event | None:
        """Return the event of a line; None for one of a later version.

        Raises:
            DamagedFile: A field is missing or has another type.
        """
        decoder = DECODERS.get(line.header.event)
        try:
            return None if decoder is None else decoder.decode(line.raw)
        except (ValueError, RecursionError):
            raise DamagedFile(self.file.path, line.number, "cannot be decoded") from None

    def parse(self, line: ChainLine) -> Record:
        """Return a line as it is; raises as `decode`."""
        try:
            record: Record = parse_json(line.raw)
        except ValueError:
            raise DamagedFile(self.file.path, line.number, "cannot be decoded") from None
        return record

    def _read(self) -> Generator[ChainLine, None, None]:
        """Yield the lines. A year of nights has a million of them: each takes a few steps alone."""
        path = self.file.path
        digest = self._digest
        before: ChainLine | None = None
        with open_log(path) as file:
            for number, data in enumerate(iter(partial(file.readline, _MAX_LINE_BYTES), b""), 1):
                if digest is not None:
                    digest.update(data)
                if self.finished:
                    raise DamagedFile(path, number, f"was added after the end of run {self.run_id}")
                if not data.endswith(b"\n"):
                    if not _is_torn(data):
                        raise DamagedFile(path, number, _NO_LINE)
                    self.is_torn = True
                    return
                try:
                    header = _HEADER.decode(data)
                except (ValueError, RecursionError):
                    raise DamagedFile(path, number, _NO_LINE) from None
                raw = data[:-1]
                line = ChainLine(number, raw, header, sha256(raw).hexdigest())
                if header.event == _LAST_EVENT:
                    self._check_last(line)
                if before is None:
                    self._check_first(line)
                elif (
                    header.prev != before.hash
                    or header.seq != number
                    or header.run_id != before.header.run_id
                ):
                    raise DamagedFile(path, number, f"does not follow line {number - 1}")
                self.last = before = line
                yield line

    def _check_last(self, line: ChainLine) -> None:
        """Raise DamagedFile if a `run_finished` does not have its seal.

        Before its `prev`, which may be what was changed.
        """
        if not seal_holds(line.raw):
            what = "was changed: its seal does not hold"
            raise DamagedFile(self.file.path, line.number, what)
        self.finished = True

    def _check_first(self, line: ChainLine) -> None:
        """Raise DamagedFile if the first line is not that of the next run in the log."""
        self.first = line
        header = line.header
        if header.event == RunStarted.event and _OF_VERSION_0_1.search(line.raw):
            raise OldLog(self.file.path)
        if (header.seq, header.event) != (1, RunStarted.event):
            raise DamagedFile(self.file.path, 1, "is not the first line of a run")
        if self.file.run_id and header.run_id != self.file.run_id:
            raise DamagedFile(self.file.path, 1, "is of another run than the name of its file")
        if self._continued is None or header.prev == self._continued.last_hash:
            return
        if self._continued.name:
            what = f"does not follow the last line of {self._continued.name}"
        else:
            what = "is not the first line of a log"
        raise DamagedFile(self.file.path, 1, what)


class LogReader:
    """Reads the files of an audit log in their order, and checks that each continues the others.

    There is no other reader of several files: `audit verify` reports what it raises, and what a
    run relies on are its lines. Files that were removed from the beginning, the oldest first, are
    not missed: the chain begins with the first file that is there.

    Args:
        files: In the order of their names.
        head: What `HEAD` says; None where it is missing, and for files without a directory.
        first: The index of the first file that is read. Of those before it, only the names are
            checked.

    Attributes:
        last_hash: Hash of the last whole line that was read; "" before the first.
    """

    def __init__(
        self, files: Sequence[RunFile], head: Head | None = None, *, first: int = 0
    ) -> None:
        self.files = files
        self.head = head
        self.first = first
        self.last_hash = ""
        self._last_name = ""

    @property
    def is_last_file_missing(self) -> bool:
        """Whether the file of the last run, which `HEAD` names, is gone."""
        return self.head is not None and all(file.name != self.head.file for file in self.files)

    def __iter__(self) -> Iterator[FileChain]:
        """Yield each file; what its caller leaves unread of it is checked before the next one.

        Raises:
            DamagedFile: A file or a line is not as a run wrote it, or a file is missing.
            DamagedLog: A file cannot be opened.
        """
        self.last_hash = self._last_name = ""
        for index, file in enumerate(self.files):
            if index > 0:
                _check_number(self.files[index - 1], file)
            if index >= self.first:
                yield from self._read(file)
        # The file of the last run may be gone, which `audit verify` says; those before it must not.
        if self.head is not None and self.is_last_file_missing and self.files:
            last = self.files[-1]
            missing = last.path.with_name(self.head.file)
            _check_number(last, RunFile(self.head.number, "", missing))

    def read(self) -> Self:
        """Check all files; raises as the iterator does."""
        for _ in self:
            pass
        return self

    def _read(self, file: RunFile) -> Iterator[FileChain]:
        chain = FileChain(file, self._continued())
        yield chain
        chain.read()
        if self.head is not None:
            self.head.check(chain, self.last_hash)
        if chain.last is not None:
            self.last_hash = chain.last.hash
            self._last_name = file.name

    def _continued(self) -> Continued | None:
        """Return what the next file must continue; None where the files before are not known."""
        if self.last_hash:
            return Continued(self.last_hash, self._last_name)
        if self.first == 0 and self.files[0].number == 1:
            return Continued(GENESIS_HASH, "")
        return None


def _check_number(before: RunFile, file: RunFile) -> None:
    """Raise DamagedFile if a number is missing before a file, or is taken twice."""
    if 0 in {before.number, file.number}:
        return
    if file.number == before.number:
        raise DamagedFile(file.path, None, f"has the number of {before.name}")
    if file.number > before.number + 1:
        missing = f"{before.number + 1:06d}"
        raise DamagedFile(
            file.path,
            None,
            f"follows {before.name}: file {missing} is missing",
            f"Restore it from a copy, or move {before.name} and all files before it away: the log "
            "then begins after it.",
        )


def _is_torn(line: bytes) -> bool:
    """Return whether these can be the first bytes of a line, or those of an unwritten block."""
    if len(line) == _MAX_LINE_BYTES:
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
    first_line = _PLAN_START.match(start)
    if first_line is None:
        return False
    run_id, mode = first_line.groups()
    return mode == b"dry-run" or run_id.decode() in known_runs


class SavedPlan(NamedTuple):
    """The plan of a finished dry run.

    Attributes:
        run_id: Of the dry run.
        sha256: Of the file before it was compressed, 64 hex digits; what `sha256sum FILE` prints,
            or `gzip -dc FILE | sha256sum`.
    """

    path: Path
    run_id: str
    start: RunStarted
    planned: tuple[Planned, ...]
    sha256: str


def read_plan(path: Path, *, policy: str = "") -> SavedPlan:
    """Return the plan in the file of a dry run, whose whole chain is checked.

    Args:
        policy: The policy file, for the command that makes another plan; empty if not known.

    Raises:
        GuardRefused: It is not the whole file of a dry run that made a plan.
    """

    def refused(message: str) -> GuardRefused:
        option = ("--policy", policy) if policy else ()
        hint = f"Create a new plan with: {shell_command('plan', *option)}"
        return GuardRefused(message, hint=hint, reasons=(Reason.PLAN,))

    chain = FileChain(RunFile.of(path), hashed=True)
    events: list[Event] = []
    try:
        for line in chain:  # to the end: each line is decoded, or the plan is refused
            event = chain.decode(line)
            if isinstance(event, RunStarted | Planned | RunFinished):
                events.append(event)
    except DamagedFile as error:
        raise refused(f"The plan {path} was changed: {error.message}") from None
    match events:
        case [RunStarted(mode="dry-run") as start, *between, RunFinished() as end]:
            if not end.plan_made or end.exit_code not in COMPLETE_EXIT_CODES:
                raise refused(f"The dry run of {path} ended with exit code {end.exit_code}.")
            planned = tuple(event for event in between if isinstance(event, Planned))
            return SavedPlan(path, chain.run_id, start, planned, chain.sha256)
        case [RunStarted(mode="dry-run"), *_]:
            raise refused(f"The plan {path} was cut off, or its dry run did not finish.")
        case _:
            raise refused(f"{path} is not the file of a dry run.")
