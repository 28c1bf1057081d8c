"""Read and filter the lines of audit logs, one at a time, so that files may be large."""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple, NoReturn, TypeAlias, TypeVar, cast

from typing_extensions import override

from invite_sweeper.audit.events import Line, LineHeader, decode, format_timestamp
from invite_sweeper.audit.storage import could_be_first_line
from invite_sweeper.endings import Reason
from invite_sweeper.errors import DamagedLog, GuardRefused, RunError, UsageError
from invite_sweeper.files import open_regular
from invite_sweeper.json_text import parse_json

READ_BLOCK_BYTES = 1 << 18
_MAX_LINE_BYTES = 1 << 24
"""A longer line is damaged; the log writes none over 1 MiB."""
_UNSUPPORTED_COMPRESSIONS = frozenset({".bz2", ".xz", ".lzma", ".zst", ".lz4", ".Z", ".zip"})
_GZIP_SUFFIX = ".gz"
_GZIP_MAGIC = b"\x1f\x8b"
_T = TypeVar("_T")

Record: TypeAlias = Mapping[str, object]
"""One parsed line."""


class LinePosition(NamedTuple):
    """The position of a line.

    Attributes:
        line: Line number, from 1.
    """

    path: Path
    line: int

    @override
    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


def parse_record(line: bytes) -> Record | None:
    """Parse one line; None if it is not a JSON object."""
    try:
        record = parse_json(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


@contextmanager
def open_log(path: Path, fd: int | None = None) -> Iterator[IO[bytes]]:
    """Open an audit log for reading; one that is compressed with gzip is decompressed.

    Args:
        fd: The file, if it is open already; it stays open.

    Raises:
        UsageError: The file cannot be opened or read.
        GuardRefused: The compressed file is damaged or cut off; found while it is read.
    """
    if path.suffix in _UNSUPPORTED_COMPRESSIONS:
        raise UsageError(
            f"The audit log {path} cannot be read: {path.suffix} is not supported.",
            hint="Decompress it, and compress with gzip in future.",
        )
    try:
        with _open_file(path) if fd is None else open(fd, "rb", closefd=False) as file:
            file.seek(0)
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable_error(path, error) from error


def _open_file(path: Path) -> IO[bytes]:
    file = open_regular(path, buffer_bytes=READ_BLOCK_BYTES)  # a pipe cannot be read twice
    is_compressed = path.suffix == _GZIP_SUFFIX or file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    file.seek(0)
    if not is_compressed:
        return file
    file.close()
    if path.stat().st_size == 0:
        raise EOFError  # `gzip` would read it as an empty log
    return cast("IO[bytes]", gzip.open(path))


def _unreadable_error(path: Path, error: OSError | EOFError | zlib.error) -> RunError:
    """Return the error; a failure of the system has `strerror`, one of the content does not."""
    reason = error.strerror if isinstance(error, OSError) else None
    if reason is not None:
        return UsageError(
            f"The audit log {path} cannot be read: {reason}.",
            hint="Check that the file exists and that this user can read it.",
        )
    reason = "the compressed file is cut off" if isinstance(error, EOFError) else f"{error}"
    return DamagedLog(
        f"The audit log {path} cannot be read: {reason}.",
        hint="Restore the file from a copy: it is damaged.",
    )


def raise_damaged(position: LinePosition) -> NoReturn:
    """Raise DamagedLog: a run cannot rely on a log with a damaged line."""
    raise DamagedLog(
        f"The audit log is damaged at {position}. Earlier runs cannot be read from it.",
        hint="Check it with `audit verify`. Runs go on without the file if it is moved away, but "
        "then without its interrupted deletions, used plans and bounced invitations.",
    )


def require_audit_log(path: Path) -> None:
    """Check that a file starts like an audit log: empty, or with a complete or torn line.

    Raises:
        GuardRefused: The first line is not a line of an audit log.
        UsageError: The file cannot be read.
    """
    with open_log(path) as file:
        first_line = file.readline(READ_BLOCK_BYTES)
    if not (LineHeader.parse(first_line) or could_be_first_line(first_line)):
        raise GuardRefused(
            f"{LinePosition(path, 1)} is not a line of an audit log.",
            hint="Name an audit log. Check a damaged one with `audit verify`.",
            reasons=(Reason.EARLIER_RUNS,),
        )


def reject_duplicates(paths: Iterable[Path]) -> None:
    """Raise UsageError if two paths name the same file: its lines would count twice.

    Raises:
        UsageError: Two paths name the same file.
    """
    seen: dict[tuple[int, int], Path] = {}
    for path in paths:
        try:
            status = path.stat()
        except OSError:  # `open_log` reports it
            continue
        identity = (status.st_dev, status.st_ino)
        if identity in seen:
            raise UsageError(
                f"{seen[identity]} and {path} are the same audit log.",
                hint="Name each file once.",
            )
        seen[identity] = path


def read_events(
    paths: Iterable[Path], *, on_damaged: Callable[[LinePosition], object] = raise_damaged
) -> Iterator[Line]:
    """Yield the lines of the files in order, but for the events of later versions.

    A torn or invalid last line is skipped: the next run moves it to another file.

    Args:
        paths: The logs, oldest first.
        on_damaged: Called with the position of each line that cannot be parsed. By default it
            raises DamagedLog.

    Raises:
        GuardRefused: A line is damaged (by default).
        UsageError: A file cannot be read.
    """
    return chain.from_iterable(_parse_file(path, decode, on_damaged) for path in paths)


def _parse_file(
    path: Path,
    parse: Callable[[bytes], _T | None],
    on_damaged: Callable[[LinePosition], object],
) -> Iterator[_T]:
    """Yield what `parse` returns for each line; it raises ValueError for a damaged one."""
    unreadable: tuple[int, bytes] | None = None
    with open_log(path) as file:
        lines = iter(partial(file.readline, _MAX_LINE_BYTES), b"")
        for number, line in enumerate(lines, 1):
            if unreadable is not None:  # not the last line, so not a torn one
                on_damaged(LinePosition(path, unreadable[0]))
                unreadable = None
            try:
                if not line.endswith(b"\n"):
                    raise ValueError  # noqa: TRY301  a torn line is reported as an invalid one
                parsed = parse(line[:-1])
            except ValueError:
                unreadable = (number, line)
            else:
                if parsed is not None:
                    yield parsed
    if unreadable is not None and unreadable[0] == 1 and not could_be_first_line(unreadable[1]):
        on_damaged(LinePosition(path, 1))


@dataclass(frozen=True, slots=True)
class LineFilter:
    """A filter for lines: all criteria that are not None must match.

    Attributes:
        run: A run ID or its prefix.
        group: The ID that the runs of one command share, or its prefix.
        project: A glob for the project's ID or name, case-insensitive.
        username: A glob for the invited user's name, case-insensitive.
        outcome: An outcome; lines without one do not match.
        day: A day in UTC.
        event: The name of an event.
        since: The first instant, timezone-aware.
        until: The instant after the last one, timezone-aware.
    """

    run: str | None = None
    group: str | None = None
    project: str | None = None
    username: str | None = None
    outcome: str | None = None
    day: date | None = None
    event: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, record: Record) -> bool:
        """Return whether the record matches all criteria."""
        return (
            _starts_with(self.run, record.get("run_id"))
            and _starts_with(None if self.day is None else self.day.isoformat(), record.get("ts"))
            and self._is_in_period(record.get("ts"))
            and self.event in (None, record.get("event"))
            and self.outcome in (None, record.get("outcome"))
            and _matches_glob(self.username, record.get("username"))
            and (
                _matches_glob(self.project, record.get("project_id"))
                or _matches_glob(self.project, record.get("project_name"))
            )
        )

    def _is_in_period(self, ts: object) -> bool:
        """Return whether a timestamp is in the period; all are UTC in one format."""
        if self.since is None and self.until is None:
            return True
        return (
            isinstance(ts, str)
            and (self.since is None or ts >= format_timestamp(self.since))
            and (self.until is None or ts < format_timestamp(self.until))
        )


def filter_lines(
    paths: Sequence[Path],
    line_filter: LineFilter,
    *,
    on_damaged: Callable[[LinePosition], object] = raise_damaged,
) -> Iterator[tuple[Record, bytes]]:
    """Return an iterator over the matching records and their lines, one in memory at a time.

    Args:
        paths: The logs, oldest first.
        line_filter: Which records to return.
        on_damaged: See `read_events`.

    Raises:
        GuardRefused: A file is not an audit log, or a line is damaged (by default).
        UsageError: A file cannot be read.
    """
    for path in paths:
        require_audit_log(path)
    found: Iterable[tuple[Record, bytes]] = chain.from_iterable(
        _parse_file(path, _with_record, on_damaged) for path in paths
    )
    if line_filter.group is not None:
        found = _of_group(found, line_filter.group)
    return (each for each in found if line_filter.matches(each[0]))


def _of_group(lines: Iterable[tuple[Record, bytes]], group: str) -> Iterator[tuple[Record, bytes]]:
    """Yield the lines of the runs of one command; only the first line of a run names it."""
    runs: set[object] = set()
    for record, line in lines:
        run_id = record.get("run_id")
        if record.get("event") == "run_started" and _starts_with(
            group, record.get("group_id") or run_id
        ):
            runs.add(run_id)
        if run_id in runs:
            yield record, line


def _with_record(line: bytes) -> tuple[Record, bytes]:
    record = parse_record(line)
    if record is None or "event" not in record:
        raise ValueError
    return record, line


def _starts_with(wanted: str | None, value: object) -> bool:
    return wanted is None or (isinstance(value, str) and value.startswith(wanted))


def _matches_glob(glob: str | None, value: object) -> bool:
    return glob is None or (
        isinstance(value, str) and fnmatchcase(value.casefold(), glob.casefold())
    )
