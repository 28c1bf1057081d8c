"""The file of a run: its name, how it is opened, and the error of a damaged one."""

import errno
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, Self, cast

from invite_sweeper.errors import DamagedLog
from invite_sweeper.files import open_regular
from invite_sweeper.text import shell_command

_GZIP_SUFFIX: Final = ".gz"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_OTHER_COMPRESSIONS: Final = frozenset({".bz2", ".xz", ".zst", ".lz4", ".Z", ".zip"})
_NAME: Final = re.compile(
    r"(?P<number>\d{6,})-(?P<run>[\w-]+)\.jsonl(?:\.(?:gz|bz2|xz|zst|lz4|Z|zip))?", re.ASCII
)
"""Only gzip can be read; the other files are found so that a run is refused."""
_STAMP: Final = re.compile(r"\d{8}T\d{6}Z", re.ASCII)
"""How an id of a run begins."""


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
    if path.suffix in _OTHER_COMPRESSIONS:
        raise OSError(errno.ENOTSUP, "only gzip can be decompressed")
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
