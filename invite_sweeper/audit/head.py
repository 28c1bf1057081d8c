"""The head file: how far an audit log reaches, so that a new file continues the one before it.

The head is written when a log is opened and when it is closed. In between, and after a kill, the
log's file is longer than the head says; then the file is right. A file that is shorter than the
head says, or has another line at its end, was cut or changed, and the run is refused. So is one
that is longer although the head says that it was closed. A log that is gone or empty was moved
elsewhere or deleted: the run says so, and continues after the line that the head names.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH, line_hash
from invite_sweeper.audit.events import RunStarted
from invite_sweeper.audit.files import (
    FileEnds,
    Head,
    LogPath,
    RotatedName,
    read_chains,
    read_ends,
    read_head,
    write_head,
)
from invite_sweeper.audit.reader import open_log
from invite_sweeper.audit.storage import OpenedLog
from invite_sweeper.endings import Reason
from invite_sweeper.errors import AuditLogError, GuardRefused, UsageError
from invite_sweeper.text import pluralize

_NEW_LOG_HINT = "To start a new log instead, run with --new-log."


class ChainEnd(NamedTuple):
    """The end of a log.

    Attributes:
        last_hash: Hash of the last line; 64 zeros at the beginning.
        lines: Lines of all files.
        size: Bytes of these lines.
        missing: A sentence about the lines that are not here; empty if the last one is.
    """

    last_hash: str = GENESIS_HASH
    lines: int = 0
    size: int = 0
    missing: str = ""

    @classmethod
    def of(cls, head: Head) -> "ChainEnd":
        """Return the end of the log when the head was written."""
        return cls(head.last_hash, head.lines, head.size)


def find_end(
    log_path: LogPath,
    path: Path,
    head: Head | None,
    *,
    existed: bool,
    new_log: bool,
    fd: int | None = None,
) -> ChainEnd:
    """Return the end of a log, which the first line of a run continues.

    Args:
        log_path: The log.
        path: The run's file, absolute, open and without a torn line.
        head: The log's head; None if it does not exist.
        existed: Whether the file existed before the run opened it.
        new_log: Start a new log (`--new-log`).
        fd: The run's file, if it is open already.

    Raises:
        GuardRefused: The end of the log is missing, or was cut or changed.
        UsageError: A new log cannot start in a file that has lines, or a file cannot be read.
    """
    own = read_ends(path, fd) if path.exists() else None
    if new_log:
        if own is not None:
            raise UsageError(
                f"--new-log cannot start a new log in {path}, which has lines.",
                hint="Move the file away, or name another one.",
            )
        return ChainEnd()
    if head is not None and own is not None and own.first_hash == head.first_hash:
        return _end_of_file(head, path, fd)
    chains, empty = read_chains(
        [*([path] if path.exists() else ()), *(each.absolute() for each in log_path.paths())]
    )
    files = [each for chain in chains for each in chain]
    if (error := next((each.error for each in files if each.error is not None), None)) is not None:
        raise error
    own = next((each for each in files if each.path == path), None)
    if head is not None:
        was_empty = existed or any(each != path for each in empty)
        return _end_after_head(head, files, own, was_empty=was_empty)
    if not files:
        return ChainEnd()
    newest = own or files[-1]
    if any(each.prev == newest.last_hash for each in files):
        raise _not_newest(newest.path, files[-1].path.name)
    if own is None:
        _check_newest_present(files)
    chain = next(each for each in chains if newest in each)
    return _count_lines(each.path for each in chain)


def check_end(log_path: LogPath, path: Path) -> str:
    """Return a sentence about the lines of a log that are not here; empty if the last one is.

    Args:
        log_path: The log.
        path: The file of the next run.

    Raises:
        GuardRefused: A run would be refused: the end of the log was cut or changed.
        UsageError: A file cannot be read.
    """
    head = read_head(log_path.head_path.absolute())
    path = path.absolute()
    return find_end(log_path, path, head, existed=path.exists(), new_log=False).missing


def _end_after_head(
    head: Head, files: Sequence[FileEnds], own: FileEnds | None, *, was_empty: bool
) -> ChainEnd:
    """Return the end of a log with a head: that of its newest file, if it is still here."""
    if head.first_hash is None:
        newest = next((each for each in files if each.prev == head.last_hash), None)
    else:
        newest = next((each for each in files if each.first_hash == head.first_hash), None)
    if own is not None and newest is not own:
        raise _not_newest(own.path, head.file)
    if newest is not None:
        return _end_of_file(head, newest.path)
    if head.closed or (head.first_hash is None and was_empty):
        return ChainEnd.of(head)._replace(missing=describe_missing(head))
    raise GuardRefused(
        f"Run {head.run_id} was interrupted, and its audit log {head.file} is missing.",
        hint=f"Move the file back, compressed or not, and run again. {_NEW_LOG_HINT}",
        reasons=(Reason.EARLIER_RUNS,),
    )


def _end_of_file(head: Head, path: Path, fd: int | None = None) -> ChainEnd:
    """Return the end of the newest file, after checking it against the head."""
    size = lines = 0
    last = b""
    is_unchanged = head.file_size == 0
    with open_log(path, fd) as file:
        for line in file:
            if not line.endswith(b"\n"):  # a torn line of a rotated file
                break
            size += len(line)
            if size == head.file_size:
                is_unchanged = line_hash(line[:-1]) == head.last_hash
            elif size > head.file_size:
                last, lines = line, lines + 1
    if size < head.file_size or not is_unchanged:
        what = "is shorter than" if size < head.file_size else "differs from"
        raise GuardRefused(
            f"The audit log {path} {what} what was written: lines were cut off or changed.",
            hint="Check it with `audit verify`, and restore it from a backup. "
            f"To go on without it, move it away. {_NEW_LOG_HINT}",
            reasons=(Reason.EARLIER_RUNS,),
        )
    if not last:
        return ChainEnd.of(head)
    if head.closed:
        raise GuardRefused(
            f"The audit log {path} is longer than what was written: "
            f"{pluralize(lines, 'line')} were appended after run {head.run_id} had ended.",
            hint="Check it with `audit verify`, and restore it from a backup. "
            f"To go on without it, move it away. {_NEW_LOG_HINT}",
            reasons=(Reason.EARLIER_RUNS,),
        )
    size_after = head.size + size - head.file_size
    return ChainEnd(line_hash(last[:-1]), head.lines + lines, size_after)


def describe_missing(head: Head) -> str:
    """Return a sentence about a log whose last line is not here; empty if it never had one."""
    if not head.lines:
        return ""
    return (
        f"The audit log {head.file} is missing or empty, and its end with it: the log has "
        f"{pluralize(head.lines, 'line')} up to run {head.run_id}, and continues after them. What "
        "the missing runs recorded is not known: the last population, used plans, and how often "
        "invitations were deleted."
    )


def _first_hash(path: Path, opened: OpenedLog) -> str | None:
    """Return the hash of the first line of an open file; None without a line."""
    if not opened.size:
        return None
    with open_log(path, opened.fd) as file:
        return line_hash(file.readline()[:-1])


def _count_lines(paths: Iterable[Path]) -> ChainEnd:
    """Return the end of files that continue each other."""
    lines = size = 0
    last = b""
    for path in paths:
        with open_log(path) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                last, lines, size = line, lines + 1, size + len(line)
    return ChainEnd(line_hash(last[:-1]), lines, size)


def _check_newest_present(files: Sequence[FileEnds]) -> None:
    """Raise GuardRefused if the names show that the newest rotated file is missing."""
    numbers = [
        -name.age[1]
        for name in (RotatedName.of(each.path) for each in files)
        if name.age is not None and name.age[0] == 0
    ]
    if numbers and min(numbers) > 1:
        raise GuardRefused(
            f"The newest file of the audit log is missing: {files[-1].path} is the newest one "
            "here, and no head file shows where the log ended.",
            hint=f"Move the missing file back and run again. {_NEW_LOG_HINT}",
            reasons=(Reason.EARLIER_RUNS,),
        )


def _not_newest(path: Path, newest: str) -> GuardRefused:
    return GuardRefused(
        f"The audit log {path} does not end with the lines that were written last.",
        hint=f"They are in {newest}: move it back, and this file away. {_NEW_LOG_HINT}",
        reasons=(Reason.EARLIER_RUNS,),
    )


class LogEnding:
    """The end of an open log, and its head file.

    Attributes:
        start: The end of the log when it was opened.
        lines: Number of lines of the log, in all files.
    """

    def __init__(
        self,
        log_path: LogPath,
        path: Path,
        opened: OpenedLog,
        *,
        run_id: str,
        existed: bool,
        new_log: bool,
    ) -> None:
        """Find the end of the log and write its head.

        Args:
            log_path: The log.
            path: The run's file, absolute, without a torn line.
            opened: The open file.
            run_id: The run.
            existed: Whether the file existed before the run opened it.
            new_log: Start a new log (`--new-log`).

        Raises:
            GuardRefused: The end of the log is missing, or was cut or changed.
            AuditLogError: The head was not written.
            UsageError: `--new-log` does not apply.
        """
        self._log_path, self._path, self._run_id = log_path, path, run_id
        self._is_new_log = new_log
        head = None if new_log else read_head(log_path.head_path.absolute())
        self.start = find_end(log_path, path, head, existed=existed, new_log=new_log, fd=opened.fd)
        self.lines = self.start.lines
        self._size_before = self.start.size - opened.size
        self._first_hash = _first_hash(path, opened)
        self._write_head(self.start, opened.size, closed=False)

    def add_line(self, line_hash: str) -> None:
        """Count a line that was written, and remember the first one of a new file."""
        self.lines += 1
        self._first_hash = self._first_hash or line_hash

    def with_log(self, started: RunStarted) -> RunStarted:
        """Return the first line of a run with the log's name, and whether the log is new."""
        name = self._log_path.name
        return msgspec.structs.replace(started, log=name, new_log=self._is_new_log)

    def close(self, last_hash: str, offset: int) -> None:
        """Write the head of the closed log. An error is ignored: the file itself has all lines."""
        end = ChainEnd(last_hash, self.lines, self._size_before + offset)
        with suppress(AuditLogError):
            self._write_head(end, offset, closed=True)

    def _write_head(self, end: ChainEnd, file_size: int, *, closed: bool) -> None:
        """Write the head: before the first line of a run, and after its last.

        Raises:
            AuditLogError: It was not written.
        """
        path = self._log_path.head_path.absolute()
        try:
            head = Head(
                log=self._log_path.varying_part,
                file=self._path.name,
                first_hash=self._first_hash,
                file_size=file_size,
                last_hash=end.last_hash,
                lines=end.lines,
                size=end.size,
                run_id=self._run_id,
                closed=closed,
            )
            write_head(path, head)
        except OSError as error:
            raise AuditLogError(
                f"The head of the audit log, {path}, cannot be written: {error.strerror or error}.",
                hint="Use a disk with free space and a directory that this user can write to.",
            ) from error
