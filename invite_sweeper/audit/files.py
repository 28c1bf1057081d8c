"""The files of an audit log: its path, its rotated files, its head file, and their order.

The names only show which files belong to a log. The order comes from the hash chain, so it is
right after files were renamed and after the clock was set back.
"""

import gzip
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from typing import IO, Literal, NamedTuple, cast

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH, line_hash
from invite_sweeper.audit.events import LineHeader, RunStarted, decode
from invite_sweeper.audit.reader import open_log
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused, RunError, UsageError
from invite_sweeper.files import read_small_file, replace_file

DEFAULT_PATH = "audit/invite-sweeper.jsonl"
DEFAULT_LOG = Path(DEFAULT_PATH)
_STDOUT = "-"
_PLACEHOLDER = re.compile(r"\{(date|run_id)\}")
_PLACEHOLDER_PATTERNS = {"date": r"\d{4}-\d\d-\d\d", "run_id": r"[\w-]+"}
_ROTATION_SUFFIX = (
    r"(?:-\d{8}(?:-\d+)?|-\d{4}-\d\d-\d\d|-\d{10}|\.\d+)?(?:\.(?:gz|bz2|xz|lzma|zst|lz4|Z|zip))?"
)
"""The suffixes of logrotate, with and without `dateext`, and of its compression programs.

Only gzip can be read (`reader.open_log`): the other files are found so that a run is refused.
"""
_ROTATED_NAME = re.compile(
    r"(?P<log>.+?)(?:-(?P<date>\d{8})(?:-(?P<part>\d+))?|\.(?P<number>\d+))?(?:\.gz)?"
)


@dataclass(frozen=True, slots=True)
class LogPath:
    """The value of `audit.path` or `--audit-log`.

    Attributes:
        template: A path that may contain `{date}` and `{run_id}`.
        copy_to_stdout: Whether each line is also written to standard output.
    """

    template: str
    copy_to_stdout: bool = False

    def __post_init__(self) -> None:
        """Raise UsageError if files of this locale cannot have the name."""
        try:
            os.fsencode(self.template)
        except UnicodeEncodeError as error:
            raise UsageError(
                f"A file cannot be named {self.template} in this locale.",
                hint="Set LC_ALL=C.UTF-8, or use ASCII alone in the name.",
            ) from error

    @classmethod
    def parse(cls, text: str) -> "LogPath":
        """Parse `FILE`, `FILE -` (with a copy on standard output) or `-` (default file, copied).

        Raises:
            UsageError: The text does not name a file, or contains an unknown placeholder.
        """
        template, copy = text, False
        if text == _STDOUT or text.endswith(f" {_STDOUT}"):
            template, copy = text.removesuffix(_STDOUT).rstrip() or DEFAULT_PATH, True
        if re.search(r"[{}]", _PLACEHOLDER.sub("", template)):
            raise UsageError(
                f"The audit log path {template} contains braces that are not a placeholder.",
                hint="Use only the placeholders {date} and {run_id}.",
            )
        if not Path(template).name:
            raise UsageError(
                f"The audit log path {template!r} does not name a file.",
                hint=f"Name a file, for example {DEFAULT_PATH}.",
            )
        return cls(template, copy)

    @classmethod
    def from_option(cls, option: str | None, default: str) -> "LogPath":
        """Parse the option, or the default if the option was not used.

        Raises:
            UsageError: See `parse`. An empty option does not name a file.
        """
        return cls.parse(default if option is None else option)

    @classmethod
    def of_file(cls, path: Path) -> "LogPath":
        """Return the log to which a file belongs, by the head files above it.

        Without a head, the log is the file itself, or the file from which it was rotated.
        """
        return find_head(path)[0]

    def path_of_run(self, *, now: datetime, run_id: str) -> Path:
        """Return the file of one run; `{date}` is the day of `now` in UTC."""
        values = {"date": now.astimezone(UTC).date().isoformat(), "run_id": run_id}
        return Path(_PLACEHOLDER.sub(lambda found: values[found[1]], self.template))

    @property
    def lock_path(self) -> Path:
        """The lock file of all runs with this template, in the deepest directory they share.

        `audit/log.jsonl.lock` for `audit/log.jsonl`; `audit/date-run_id.jsonl.lock` for
        `audit/{date}/{run_id}.jsonl`.
        """
        directory, varying = self._split_fixed_part()
        return directory / (_PLACEHOLDER.sub(r"\1", "-".join(varying)) + ".lock")

    @property
    def name(self) -> str:
        """The name of all files together: `log.jsonl`, or `date-run_id.jsonl`."""
        return self.lock_path.name.removesuffix(".lock")

    @property
    def head_path(self) -> Path:
        """The file that describes the end of the log, hidden from `audit verify *.jsonl*`."""
        return self.lock_path.with_name(f".{self.name}.head")

    @property
    def varying_part(self) -> str:
        """The template below the directory of the lock file."""
        return str(Path(*self._split_fixed_part()[1]))

    def paths(self) -> list[Path]:
        """Return the existing logs with this template, rotated ones included, by name."""
        directory, patterns = self._name_patterns()
        found = [directory]
        for pattern in patterns:
            name = re.compile(pattern)
            inside = (each for parent in found if parent.is_dir() for each in parent.iterdir())
            found = [each for each in inside if name.fullmatch(each.name)]
        return sorted(path for path in found if path.is_file())

    def files(self) -> tuple[Path, ...]:
        """Return the existing logs in the order in which they were written; see `read_chains`."""
        paths = tuple(self.paths())
        if len(paths) <= 1:
            return paths
        chains, without_lines = read_chains(paths)
        return (*(each.path for chain in chains for each in chain), *without_lines)

    def matches(self, path: Path) -> bool:
        """Return whether `paths` would include this path if the file existed."""
        directory, patterns = self._name_patterns()
        try:
            parts = Path(os.path.realpath(path)).relative_to(os.path.realpath(directory)).parts
        except ValueError:
            return False
        return len(parts) == len(patterns) and all(map(re.fullmatch, patterns, parts))

    def _name_patterns(self) -> tuple[Path, list[str]]:
        """Return the fixed directory, and a regular expression for each path part below it."""
        directory, varying = self._split_fixed_part()
        patterns = [_pattern(part) for part in varying]
        patterns[-1] += _ROTATION_SUFFIX
        return directory, patterns

    def _split_fixed_part(self) -> tuple[Path, tuple[str, ...]]:
        """Return the directory without placeholders and the path parts below it."""
        parts = Path(self.template).parts
        varying = [number for number, part in enumerate(parts) if _PLACEHOLDER.search(part)]
        fixed_count = min((*varying, len(parts) - 1))
        return Path(*parts[:fixed_count]), parts[fixed_count:]


def _pattern(part: str) -> str:
    """Return a regular expression for the names that a part of a template can produce."""
    pieces = _PLACEHOLDER.split(part)
    return "".join(
        _PLACEHOLDER_PATTERNS[piece] if number % 2 else re.escape(piece)
        for number, piece in enumerate(pieces)
    )


class RotatedName(NamedTuple):
    """The name of a log's file, as logrotate builds it.

    Attributes:
        log: The name before rotation.
        age: Sorts the rotated files of one log: the older, the smaller. None without a suffix.
    """

    log: str
    age: tuple[int, int] | None

    @classmethod
    def of(cls, path: Path) -> "RotatedName":
        """Split the name of a file."""
        found = _ROTATED_NAME.fullmatch(path.name)
        if found is None:
            return cls(path.name, None)
        if found["number"]:
            return cls(found["log"], (0, -int(found["number"])))
        if found["date"]:
            return cls(found["log"], (int(found["date"]), int(found["part"] or 0)))
        return cls(found["log"], None)

    def contradicts(self, newer: "RotatedName") -> bool:
        """Return whether the names of two files say that the second one is the older one.

        A file without a suffix is the newest. Numbers cannot be compared with dates.
        """
        if self.log != newer.log or newer.age is None:
            return False
        if self.age is None:
            return True
        return (self.age[0] == 0) == (newer.age[0] == 0) and newer.age < self.age


_MAX_HEAD_BYTES = 1 << 16
_MAX_DIRECTORIES = 3


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of a head file: how far the log reaches.

    Attributes:
        log: The template below the directory of the head file.
        file: Name of the newest file.
        first_hash: Hash of its first line, by which it is found after a rotation; None while it
            has no line.
        file_size: Its size in bytes.
        last_hash: Hash of the log's last line.
        lines: Lines of all files.
        size: Bytes of all files.
        run_id: The run that wrote the head.
        closed: Whether the run ended; False from its start on.
    """

    version: Literal[1] = 1
    log: str
    file: str
    first_hash: str | None
    file_size: int
    last_hash: str
    lines: int
    size: int
    run_id: str
    closed: bool


_decode_head = msgspec.json.Decoder(Head).decode


def read_head(path: Path) -> Head | None:
    """Read a head file; None if it does not exist.

    Raises:
        GuardRefused: It cannot be read, or is not a head file.
    """
    try:
        return _decode_head(read_small_file(path, _MAX_HEAD_BYTES, follow_links=False))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a head file"
        raise GuardRefused(
            f"The head of the audit log, {path}, cannot be read: {reason}.",
            hint="Restore it from a backup. If the log's newest file is in its place, the head "
            "can be deleted.",
            reasons=(Reason.EARLIER_RUNS,),
        ) from None


def find_head(path: Path) -> tuple[LogPath, Head | None]:
    """Return the log to which a file belongs, and its head if it has one; see `of_file`."""
    for directory in path.parents[:_MAX_DIRECTORIES]:
        for head_path in sorted(directory.glob(".*.head")):
            with suppress(GuardRefused):
                head = read_head(head_path)
                if head is not None and (log := LogPath(str(directory / head.log))).matches(path):
                    return log, head
    return LogPath(str(path.with_name(RotatedName.of(path).log))), None


def write_head(path: Path, head: Head) -> None:
    """Write a head file atomically, with mode 0600, and sync it to disk.

    Raises:
        OSError: It was not written; an earlier head is unchanged.
    """
    replace_file(path, [msgspec.json.encode(head) + b"\n"])


@dataclass(frozen=True, slots=True)
class FileEnds:
    """The first and the last line of a file.

    Attributes:
        first: Header of the first line; None if it is not a line of an audit log.
        first_hash: Hash of the first line.
        log: Name of the log, from the first `run_started`; None in files of earlier versions.
        is_new_log: Whether the first run was started with `--new-log`.
        last_hash: Hash of the last complete line.
        error: Why the file cannot be read; its lines are unknown then.
    """

    path: Path
    first: LineHeader | None
    first_hash: str
    log: str | None
    is_new_log: bool
    last_hash: str
    error: RunError | None = None

    @property
    def prev(self) -> str | None:
        """The hash that the first line continues; None if it is unreadable."""
        return self.first.prev if self.first is not None else None

    @property
    def ts(self) -> str:
        """Timestamp of the first line; empty if unknown."""
        return self.first.ts if self.first is not None else ""

    @property
    def run_id(self) -> str:
        """The run of the first line; empty if it is unreadable."""
        return self.first.run_id if self.first is not None else ""

    @property
    def is_start(self) -> bool:
        """Whether the file starts a chain."""
        return self.prev == GENESIS_HASH


@dataclass(frozen=True, slots=True)
class LogFiles:
    """The files of one log.

    Attributes:
        name: The log's name.
        chains: Lists of files of which each continues the one before. More than one if a file
            is missing or damaged, or if the log was written by an earlier version.
    """

    name: str
    chains: Sequence[Sequence[FileEnds]]

    @property
    def files(self) -> Iterator[FileEnds]:
        """All files, oldest first."""
        return (each for chain in self.chains for each in chain)


def in_order(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return files of audit logs in the order in which they were written, log after log.

    Files without a line come last.
    """
    logs, without_lines = order_files(paths)
    return (*(each.path for log in logs for each in log.files), *without_lines)


def order_files(paths: Iterable[Path]) -> tuple[list[LogFiles], list[Path]]:
    """Group files by log, and return each log's files in the order in which they were written.

    Returns:
        The logs, oldest first, and the files without a complete line.
    """
    chains, without_lines = read_chains(paths)
    by_log: dict[tuple[Path, str], list[list[FileEnds]]] = {}
    for chain in chains:
        name = next((each.log for each in chain if each.log is not None), None)
        path = chain[0].path.absolute()
        identity = path.parent, RotatedName.of(path).log if name is None else name
        by_log.setdefault(identity, []).append(chain)
    return [LogFiles(name, each) for (_, name), each in by_log.items()], without_lines


def read_chains(paths: Iterable[Path]) -> tuple[list[list[FileEnds]], list[Path]]:
    """Return lists of files of which each continues the last line of the one before.

    A file that cannot be read is a list of its own, in the last place: reading it reports the
    error.

    Returns:
        The lists, oldest first, and the files without a complete line.
    """
    found = {path: read_ends(path) for path in paths}
    chains = list(_link([ends for ends in found.values() if ends is not None]))
    return sorted(chains, key=_start), [path for path, ends in found.items() if ends is None]


def _start(chain: Sequence[FileEnds]) -> tuple[str, tuple[float, float]]:
    """Return the time of a chain's first line, and what the name says about its age."""
    start = next((each.ts for each in chain if each.ts), "~")
    return start, RotatedName.of(chain[0].path).age or (inf, 0)


def _link(files: Sequence[FileEnds]) -> Iterator[list[FileEnds]]:
    """Yield chains of files: each file continues the last line of the one before."""
    last_hashes = {each.last_hash for each in files}
    followers: dict[str, FileEnds] = {}
    for each in sorted(files, key=lambda ends: ends.ts or "~"):
        if each.prev in last_hashes and each.prev != each.last_hash:
            followers.setdefault(each.prev or "", each)
    linked = [id(each) for each in followers.values()]
    used: set[int] = set()
    # Linked files come last: only files that continue each other in a circle are unused then.
    for each in sorted(files, key=lambda ends: id(ends) in linked):
        chain: list[FileEnds] = []
        following: FileEnds | None = each
        while following is not None and id(following) not in used:
            used.add(id(following))
            chain.append(following)
            following = followers.get(following.last_hash)
        if chain:
            yield chain


MAX_LINE_BYTES = 1 << 22
"""Longer than any line of a log; a file without newlines is not read to its end."""
_BLOCK_BYTES = 1 << 16


def read_ends(path: Path, fd: int | None = None) -> FileEnds | None:
    """Return the first and the last line of a file; None without a complete line.

    Args:
        fd: The file, if it is open already.
    """
    try:
        with open_log(path, fd) as file:
            first = file.readline(MAX_LINE_BYTES)
            if not first.endswith(b"\n"):
                return None
            last = _last_line(file) or first
    except RunError as error:
        name = f"{path}"
        return FileEnds(path, None, name, log=None, is_new_log=False, last_hash=name, error=error)
    started = _parse_start(first)
    return FileEnds(
        path=path,
        first=LineHeader.parse(first),
        first_hash=line_hash(first[:-1]),
        log=started.log if started is not None else None,
        is_new_log=started is not None and started.new_log,
        last_hash=line_hash(last[:-1]),
    )


def _parse_start(line: bytes) -> RunStarted | None:
    """Return the start of a run; None for another line."""
    try:
        found = decode(line)
    except ValueError:
        return None
    return found.event if found is not None and isinstance(found.event, RunStarted) else None


def _last_line(file: IO[bytes]) -> bytes:
    """Return the last complete line after the current position; empty without one."""
    if isinstance(cast("object", file), gzip.GzipFile):  # it cannot seek from its end
        last = previous = b""
        for line in iter(partial(file.readline, MAX_LINE_BYTES), b""):
            previous, last = last, line
        return last if last.endswith(b"\n") else previous
    start, end = file.tell(), file.seek(0, os.SEEK_END)
    data = b""
    while end > start and data.count(b"\n") < 2:  # noqa: PLR2004  the end of the line before, and its own
        size = min(_BLOCK_BYTES, end - start)
        end -= size
        file.seek(end)
        data = file.read(size) + data
    whole_lines = data[: data.rfind(b"\n") + 1]
    return whole_lines[whole_lines.rfind(b"\n", 0, -1) + 1 :]
