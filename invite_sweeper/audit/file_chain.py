"""The file of a run: its name, how it is opened, and how it is read.

It is read once, a line at a time, and each line must follow the one before. One that does not
follow is not yielded, so that nothing is built on it. What a killed run left
after its last whole line is skipped.
"""

import gzip
import re
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import IO, Final, NamedTuple, Self, TypeAlias, cast

import msgspec

from invite_sweeper.audit.chain import ChainLine, seal_holds
from invite_sweeper.audit.events import (
    DECODERS,
    Event,
    LineHeader,
    MissingAccepted,
    PolicyText,
    RunFinished,
    RunStarted,
)
from invite_sweeper.errors import DamagedLog
from invite_sweeper.files import open_regular
from invite_sweeper.json_text import parse_json
from invite_sweeper.text import shell_command

_GZIP_SUFFIX: Final = ".gz"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_NAME: Final = re.compile(r"(?P<number>\d{6,})-(?P<run>[\w-]+)\.jsonl(?:\.gz)?", re.ASCII)
_STAMP: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
"""How an id of a run begins."""

_MAX_LINE_BYTES: Final = 1 << 24
"""A longer line is damaged; the totals of the largest estate have 1 MiB."""
_LINE_START: Final = b'{"ts":"'
_NO_LINE: Final = "is not a line of an audit log"
_HEADER: Final = msgspec.json.Decoder(LineHeader)
_CHECKED: Final = frozenset({PolicyText.event, MissingAccepted.event, RunFinished.event})

Record: TypeAlias = Mapping[str, object]
"""One parsed line."""


class RunFile(NamedTuple):
    """The file of a run.

    Attributes:
        number: 0 for a file outside an audit directory with another name.
        run_id: From the name.
    """

    number: int
    run_id: str
    path: Path

    @classmethod
    def of(cls, path: Path) -> "RunFile":
        """Return the file at a path, of any name."""
        name = _NAME.fullmatch(path.name)
        if name is None:
            return cls(0, "", path)
        return cls(int(name["number"]), name["run"], path)

    def is_before(self, stamp: str) -> bool:
        """Return whether its run began before an instant, as `20261125T010203Z`, by its name."""
        begun = _STAMP.match(self.run_id)
        return begun is not None and begun[0] < stamp

    @property
    def label(self) -> str:
        """The number of the run, or its id where it has none."""
        return str(self.number or self.run_id)

    @property
    def name(self) -> str:
        """Its name before it was compressed."""
        return self.path.name.partition(".jsonl")[0] + ".jsonl"


class DamagedFile(DamagedLog):
    """A file of a run is not as the run wrote it.

    Args:
        line: The first line that is wrong, from 1; None where it is the file as a whole.
    """

    def __init__(self, path: Path, line: int | None, what: str, hint: str = "") -> None:
        where = str(path) if line is None else f"{path} line {line}"
        super().__init__(
            f"{where} {what}.",
            hint=f"{hint} {CHECK_LOG}".strip(),
            command=verifying_command(path),
        )


class MissingFile(DamagedFile):
    """A file is missing that is not among the oldest, and that no run accepted as lost."""

    def __init__(self, path: Path, what: str) -> None:
        how = (
            "Put it back from a copy. If it is lost, run plan or sweep once with --accept-missing: "
            "that run records which runs are missing, and the log goes on."
        )
        super().__init__(path, None, what, how)

    def accepted_by(self, command: str) -> Self:
        """Return the error with the command that accepts what is missing."""
        how = (
            "Put it back from a copy. If it is lost, this records which runs are missing, and the "
            "log goes on:"
        )
        return self.having(hint=how, command=command)


CHECK_LOG: Final = "Check the audit log with:"
"""Before the command of `verifying_command`."""


def verifying_command(path: Path) -> str:
    """Return the command that verifies the directory of a file, or a file outside of one."""
    is_of_directory = path.name == "HEAD" or RunFile.of(path).number > 0
    target = path.parent if is_of_directory else path
    return shell_command("audit", "verify", str(target))


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
    try:
        return open_regular(path)
    except FileNotFoundError:  # it may have been compressed since the directory was listed
        return open_regular(path.with_name(f"{path.name}{_GZIP_SUFFIX}"))


def _decompressed(path: Path, file: IO[bytes]) -> IO[bytes]:
    """Return a file as it was before it was compressed; its first bytes decide, not its name."""
    start = file.read(len(_GZIP_MAGIC))
    file.seek(0)
    if not start and path.suffix == _GZIP_SUFFIX:
        raise EOFError  # `gzip` would read it as an empty log
    if start == _GZIP_MAGIC:
        return cast("IO[bytes]", gzip.open(file))
    return file


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
        accepted: The numbers of missing runs that this one accepted.
    """

    def __init__(
        self, file: RunFile, continued: Continued | None = None, *, hashed: bool = False
    ) -> None:
        self.file = file
        self.first: ChainLine | None = None
        self.last: ChainLine | None = None
        self.finished = False
        self.is_torn = False
        self.accepted: tuple[int, ...] = ()
        self._continued = continued
        self._digest = sha256() if hashed else None
        self._left = self._read()

    @property
    def run_id(self) -> str:
        """The run id of all lines; "" before the first."""
        return "" if self.first is None else self.first.header.run_id

    @property
    def sha256(self) -> str:
        """Of the file before it was compressed, as far as it was read; "" without `hashed`."""
        return "" if self._digest is None else self._digest.hexdigest()

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

    def decode(self, line: ChainLine) -> Event | None:
        """Return the event of a line; None for one of a later version.

        Raises:
            DamagedFile: A field is missing or has another type.
        """
        decoder = DECODERS.get(line.header.event)
        if decoder is None:
            return None
        try:
            return decoder.decode(line.raw)
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
        """Yield the lines, each once it was checked.

        A year of nights has a million of them, so this loop does only what each of them needs.
        """
        path = self.file.path
        digest = self._digest
        before: ChainLine | None = None
        with open_log(path) as file:
            read_line = partial(file.readline, _MAX_LINE_BYTES)  # memory holds no endless line
            lines = iter(read_line, b"")
            for number, data in enumerate(lines, 1):
                if digest is not None:
                    digest.update(data)
                if self.finished:
                    raise DamagedFile(path, number, f"was added after the end of run {self.run_id}")
                if not data.endswith(b"\n"):  # the end of the file, or a line that is too long
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
                if header.event in _CHECKED:
                    self._check_event(line)
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

    def _check_event(self, line: ChainLine) -> None:
        """Note which missing runs this one accepted, and that it finished.

        Raises:
            DamagedFile: A `run_finished` does not have its seal, or a policy its hash. That is
                checked before its `prev`, which may be what was changed. A sweep compares the hash
                in the first line with its own policy: what a second person reads must be the same.
        """
        if line.header.event == RunFinished.event:
            if not seal_holds(line.raw):
                what = "was changed: its seal does not hold"
                raise DamagedFile(self.file.path, line.number, what)
            self.finished = True
            return
        event = self.decode(line)
        if isinstance(event, MissingAccepted):
            self.accepted += event.numbers
        start = None if self.first is None else self.decode(self.first)
        if isinstance(start, RunStarted) and isinstance(event, PolicyText):
            found = sha256(event.text.encode(errors="replace")).hexdigest()
            if found != start.policy_sha256:
                what = "is not the policy whose SHA-256 the first line has"
                raise DamagedFile(self.file.path, line.number, what)

    def _check_first(self, line: ChainLine) -> None:
        """Raise DamagedFile if the first line is not that of the next run in the log."""
        self.first = line
        header = line.header
        if header.seq != 1 or header.event != RunStarted.event:
            raise DamagedFile(self.file.path, 1, "is not the first line of a run")
        if self.file.run_id and header.run_id != self.file.run_id:
            raise DamagedFile(self.file.path, 1, "is of another run than the name of its file")
        if self._continued is None or header.prev == self._continued.last_hash:
            return
        before = self._continued.name
        if not before:
            raise DamagedFile(self.file.path, 1, "is not the first line of a log")
        raise DamagedFile(self.file.path, 1, f"does not follow the last line of {before}")


def _is_torn(line: bytes) -> bool:
    """Return whether these may be what a killed run left after its last whole line."""
    if len(line) == _MAX_LINE_BYTES:
        return False
    begins_as_a_line = _LINE_START.startswith(line[: len(_LINE_START)])
    # A file system may have made the file longer before it wrote the bytes.
    is_unwritten = not line.strip(b"\0")
    return begins_as_a_line or is_unwritten
