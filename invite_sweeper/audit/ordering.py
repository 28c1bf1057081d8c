"""Put the files of audit logs in order by their hash chains, whatever their names are."""

import gzip
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import IO, cast

from invite_sweeper.audit.paths import RotatedName
from invite_sweeper.audit.reader import LineHeader, open_log, parse_record
from invite_sweeper.audit.record import GENESIS_HASH, line_hash
from invite_sweeper.errors import GuardRefused


@dataclass(frozen=True, slots=True)
class FileEnds:
    """The first and the last line of a file.

    Attributes:
        first: Header of the first line; None if it is not a line of an audit log.
        first_hash: Hash of the first line.
        ts: Timestamp of the first line; empty if unknown.
        log: Name of the log, from the first `run_started`; None in files of earlier versions.
        is_new_log: Whether the first run was started with `--new-log`.
        last_hash: Hash of the last complete line.
    """

    path: Path
    first: LineHeader | None
    first_hash: str
    ts: str
    log: str | None
    is_new_log: bool
    last_hash: str

    @property
    def prev(self) -> str | None:
        """The hash that the first line continues; None if it is unreadable."""
        return self.first.prev if self.first is not None else None

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


_MAX_LINES_BEFORE_START = 3
"""A file may start with what a killed run left to write: its checkpoint."""
_BLOCK_BYTES = 1 << 16


def read_ends(path: Path) -> FileEnds | None:
    """Return the first and the last line of a file; None without a complete line.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        with open_log(path) as file:
            head = [file.readline() for _ in range(_MAX_LINES_BEFORE_START)]
            if not head[0].endswith(b"\n"):
                return None
            last = _last_line(file) or [line for line in head if line.endswith(b"\n")][-1]
    except GuardRefused:  # a damaged compressed file; reported when its lines are verified
        unreadable = f"{path}"
        return FileEnds(
            path, None, unreadable, "", log=None, is_new_log=False, last_hash=unreadable
        )
    records = [parse_record(line) or {} for line in head]
    ts = records[0].get("ts")
    started = next((each for each in records if each.get("event") == "run_started"), {})
    log = started.get("log")
    return FileEnds(
        path=path,
        first=LineHeader.parse(head[0]),
        first_hash=line_hash(head[0][:-1]),
        ts=ts if isinstance(ts, str) else "",
        log=log if isinstance(log, str) else None,
        is_new_log=started.get("new_log") is True,
        last_hash=line_hash(last[:-1]),
    )


def _last_line(file: IO[bytes]) -> bytes:
    """Return the last complete line after the current position; empty without one."""
    if isinstance(cast("object", file), gzip.GzipFile):  # it cannot seek from its end
        last = previous = b""
        for line in file:
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


def order_files(paths: Sequence[Path]) -> tuple[list[LogFiles], list[Path]]:
    """Group files by log, and return each log's files in the order in which they were written.

    Returns:
        The logs, oldest first, and the files without a complete line.

    Raises:
        UsageError: A file cannot be read.
    """
    found = [(path, read_ends(path)) for path in paths]
    empty = [path for path, ends in found if ends is None]
    chains = list(_link([ends for _, ends in found if ends is not None]))
    by_log: dict[tuple[Path, str], list[list[FileEnds]]] = {}
    for chain in sorted(chains, key=start_of_chain):
        by_log.setdefault(_identity(chain), []).append(chain)
    return [LogFiles(name, each) for (_, name), each in by_log.items()], empty


def in_order(paths: Sequence[Path]) -> list[Path]:
    """Return files of audit logs in the order in which they were written, log after log.

    Raises:
        UsageError: A file cannot be read.
    """
    logs, empty = order_files(paths)
    return [each.path for log in logs for each in log.files] + empty


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


def start_of_chain(chain: Sequence[FileEnds]) -> tuple[str, tuple[float, float]]:
    """Return the time of the chain's first line, and what the name says about its age."""
    start = next((each.ts for each in chain if each.ts), "~")
    return start, RotatedName.of(chain[0].path).age or (inf, 0)


def _identity(chain: Sequence[FileEnds]) -> tuple[Path, str]:
    """Return what the chains of one log have in common: directory and name."""
    name = next((each.log for each in chain if each.log is not None), None)
    path = chain[0].path.absolute()
    return path.parent, RotatedName.of(path).log if name is None else name
