"""Verify audit logs: their files, their lines, and what proves their end."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.damage import Damage, VerificationError
from invite_sweeper.audit.files import (
    MAX_LINE_BYTES,
    FileEnds,
    Head,
    LogFiles,
    LogPath,
    RotatedName,
    find_head,
    order_files,
    read_head,
)
from invite_sweeper.audit.line_checker import LineChecker
from invite_sweeper.audit.reader import LinePosition, open_log, reject_duplicates
from invite_sweeper.audit.storage import is_torn_write
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import GuardRefused
from invite_sweeper.text import plural_form, pluralize


class Verdict(StrEnum):
    """The result of a verification in one word."""

    SOUND = "sound"
    UNFINISHED = "unfinished"
    """A run was killed; the next sweep resolves what it left."""
    DAMAGED = "damaged"


class LogStatus(msgspec.Struct, frozen=True):
    """What the files of one log prove about its beginning and its end.

    Attributes:
        name: The log's name.
        files: Its files, oldest first.
        lines: Number of lines in these files.
        last_hash: Hash of the last line, 64 hex digits.
        beginning: One sentence.
        end: One sentence.
        end_proven: Whether a hash that was kept elsewhere proves the end.
    """

    name: str
    files: tuple[str, ...]
    lines: int
    last_hash: str
    beginning: str
    end: str
    end_proven: bool


@dataclass(frozen=True, slots=True)
class ChainStatus:
    """The result of verifying audit logs.

    Attributes:
        lines: Number of verified lines; all lines if the logs are not damaged.
        runs: Number of runs that started in the logs.
        last_hash: Hash of the last line, 64 hex digits, to compare with a copy kept elsewhere.
        error: The first damaged line, or else the first unfinished run; None if the logs are
            sound.
        warnings: Findings that are not errors, one sentence each.
        logs: What is proven about each log; without the damaged one and those after it.
    """

    lines: int
    runs: int
    last_hash: str
    error: VerificationError | None
    warnings: tuple[str, ...]
    logs: tuple[LogStatus, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Whether the logs are sound, unfinished or damaged."""
        if self.error is None:
            return Verdict.SOUND
        is_unfinished = self.error.kind is Damage.UNFINISHED
        return Verdict.UNFINISHED if is_unfinished else Verdict.DAMAGED

    @property
    def exit_code(self) -> ExitCode:
        """0 if the logs are sound, 3 if they are unfinished or damaged."""
        return ExitCode.DONE if self.error is None else ExitCode.REFUSED


def verify(
    paths: Sequence[Path], *, continuation: bool = False, expect_head: str | None = None
) -> ChainStatus:
    """Verify the files up to the last line or the first damaged one.

    The order of the files is found by their hashes. If a log's head file is above its files, the
    log must contain the line that the head names, and nothing after it if the log was closed.

    Args:
        paths: The files of one or more logs, in any order, compressed with gzip or not.
        continuation: Whether the files before the first one of a log were left out on purpose.
        expect_head: A hash that the log had as its last one, 64 hex digits. With it, a log must
            be complete from its beginning.

    Raises:
        UsageError: A file cannot be read, or is given twice.
    """
    reject_duplicates(paths)
    return _Verifier(paths, expect_head, continuation=continuation).run()


class _Verifier:
    """Verifies files line by line and keeps what is known about each log."""

    def __init__(
        self, paths: Sequence[Path], expect_head: str | None, *, continuation: bool
    ) -> None:
        self._paths = paths
        self._lines = LineChecker()
        self._expected_head = expect_head
        self._heads = _find_heads(paths)
        self._heads_to_find = {head.last_hash for head in self._heads.values()} - {GENESIS_HASH}
        self._is_strict = expect_head is not None
        self._continuation = continuation
        self._torn_positions: list[LinePosition] = []
        self._unfinished: VerificationError | None = None
        self._logs: list[LogStatus] = []
        self._first_paths: dict[str, Path] = {}
        self._own_chains = 0
        self._proven_lines: int | None = None
        self._closed_by: LogPath | None = None

    def run(self) -> ChainStatus:
        """Verify all files."""
        logs, without_lines = order_files(self._paths)
        error = next((found for log in logs if (found := self._verify_log(log))), None)
        for path in without_lines:
            error = error or self._verify_file(path)
        error = error or self._missing_line() or self._lines.finish()
        if error is None or (error.kind is Damage.UNFINISHED and self._unfinished is not None):
            error = self._unfinished
        return ChainStatus(
            lines=self._lines.lines,
            runs=self._lines.runs,
            last_hash=self._lines.prev,
            error=error,
            warnings=tuple(self._warnings()),
            logs=tuple(self._logs),
        )

    # Logs -------------------------------------------------------------------------------------

    def _verify_log(self, log: LogFiles) -> VerificationError | None:
        """Verify the files of one log and return the first damage."""
        lines_before = self._lines.lines
        self._lines.start_log()
        self._proven_lines = self._closed_by = None
        previous: FileEnds | None = None
        for ends in log.files:
            if ends.error is not None:
                return _unreadable_file(ends.path)
        for ends in log.files:
            error = self._check_file(ends, previous) or self._start_file(ends, previous)
            error = error or self._verify_file(ends.path)
            if error is not None:
                return self._explain_gap(error, ends, previous)
            previous = ends
        error = self._lines.end_log(torn=self._lines.position in self._torn_positions)
        if error is not None and error.kind is not Damage.UNFINISHED:
            return error
        self._unfinished = self._unfinished or error
        self._logs.append(self._log_status(log, lines_before))
        return None

    def _check_file(self, ends: FileEnds, previous: FileEnds | None) -> VerificationError | None:
        """Return an error if the file is a copy, or its name contradicts the order."""
        original = self._first_paths.setdefault(ends.first_hash, ends.path)
        position, run_id = LinePosition(ends.path, 1), ends.run_id
        if original != ends.path:
            message = f"The file is a copy of {original}: run {run_id} already started there."
            return VerificationError(position, Damage.INSERTED, message, (run_id,))
        if previous is None or ends.prev != previous.last_hash:
            return None
        is_renamed = RotatedName.of(previous.path).contradicts(RotatedName.of(ends.path))
        if ends.path.parent != previous.path.parent or not is_renamed:
            return None
        message = (
            f"The file continues {previous.path.name}, but its name is that of an older file: "
            "files were renamed."
        )
        return VerificationError(position, Damage.INSERTED, message, (run_id,))

    def _start_file(self, ends: FileEnds, previous: FileEnds | None) -> VerificationError | None:
        """Set the hash that the first line of a file must contain as `prev`."""
        if ends.first is None:
            return None
        if previous is None:
            # The oldest file that is here may not be the log's first one.
            starts_between_runs = ends.first.seq == 1
            may_be_missing = self._continuation or (not self._is_strict and starts_between_runs)
            if may_be_missing and not ends.is_start:
                self._lines.start_chain(ends.first.prev)
                if ends.first.seq > 1:
                    self._lines.start_within_run(ends)
            return None
        if not ends.is_start:
            return None
        if self._is_strict or not (ends.is_new_log or previous.log is None):
            return VerificationError(
                LinePosition(ends.path, 1),
                Damage.INSERTED,
                f"A second history begins here: the first line does not continue {previous.path}.",
                (ends.run_id,),
            )
        self._lines.start_chain(GENESIS_HASH)
        self._own_chains += 1
        return None

    def _explain_gap(
        self, error: VerificationError, ends: FileEnds, previous: FileEnds | None
    ) -> VerificationError:
        """Return the error with the files and runs around a gap between two files."""
        if error.kind is not Damage.REMOVED or error.position.line != 1:
            return error
        if previous is None:
            message = (
                "The log begins after a file that is not here. Pass --continuation if it was left "
                f"out on purpose. The first run here is {ends.run_id}."
            )
            return replace(error, message=message, runs=(ends.run_id,))
        last_run = self._lines.last_run
        message = (
            f"The file does not continue {previous.path}: a file between them is missing, or the "
            f"end of {previous.path.name} was cut off or changed. The last run before the gap is "
            f"{last_run}, the first one after it {ends.run_id}."
        )
        return replace(error, message=message, runs=(last_run, ends.run_id))

    def _missing_line(self) -> VerificationError | None:
        """Return an error if the logs do not contain a line that they should end with."""
        what = f"the expected hash, {self._expected_head}" if self._expected_head else None
        if what is None:
            what = next(
                (
                    f"the last line that its head file {log_path.head_path} names, {head.last_hash}"
                    for log_path, head in self._heads.items()
                    if head.last_hash in self._heads_to_find
                ),
                None,
            )
        if what is None:
            return None
        last_run = self._lines.last_run
        return VerificationError(
            self._lines.position,
            Damage.REMOVED,
            f"The logs do not contain {what}: lines or files at the end are missing, or the log "
            "was rewritten.",
            (last_run,) if last_run else (),
        )

    def _log_status(self, log: LogFiles, lines_before: int) -> LogStatus:
        files = tuple(log.files)
        beginning = "begins with the first line of the log"
        if not files[0].is_start:
            beginning = "begins after a file that is not here"
        lines = self._lines.lines
        return LogStatus(
            name=log.name,
            files=tuple(str(each.path) for each in files),
            lines=lines - lines_before,
            last_hash=self._lines.prev,
            beginning=beginning,
            end=self._describe_end(lines),
            end_proven=self._proven_lines == lines,
        )

    def _describe_end(self, lines: int) -> str:
        """Return what proves the end of the current log, as a part of a sentence."""
        if self._proven_lines is None:
            return "the end is not proven: later lines or files may be missing"
        unproven = lines - self._proven_lines
        if not unproven:
            return "the end is proven by the expected hash"
        are = plural_form(unproven, "is", "are")
        return f"{pluralize(unproven, 'line')} after the expected hash {are} not proven"

    # Files ------------------------------------------------------------------------------------

    def _verify_file(self, path: Path) -> VerificationError | None:
        """Verify the lines of one file and return the first error."""
        checker = self._lines
        checker.start_file(path)
        with open_log(path) as file:
            read_line = partial(file.readline, MAX_LINE_BYTES)
            while line := read_line():
                if line[-1:] != b"\n":
                    return self._check_rest(line, is_last=not read_line())
                if (appended := self._appended_line()) is not None:
                    return appended
                if (error := checker.check(line[:-1], read_line)) is not None:
                    return error
                if checker.prev == self._expected_head or checker.prev in self._heads_to_find:
                    self._record_expected()
        return None

    def _record_expected(self) -> None:
        """Record what is known about the last line: it is one of those that were expected."""
        if self._lines.prev == self._expected_head:
            self._expected_head, self._proven_lines = None, self._lines.lines
        if self._lines.prev in self._heads_to_find:
            self._heads_to_find.remove(self._lines.prev)
            for log_path, head in self._heads.items():
                if head.closed and head.last_hash == self._lines.prev:
                    self._closed_by = log_path

    def _appended_line(self) -> VerificationError | None:
        """Return an error if the head names the last line as that of a closed log.

        The head is read again: a run may have opened the log since the verification began.
        """
        log_path, self._closed_by = self._closed_by, None
        if log_path is None or read_head(log_path.head_path) != self._heads[log_path]:
            return None
        return VerificationError(
            LinePosition(self._lines.path, self._lines.line_number + 1),
            Damage.INSERTED,
            f"The line was appended after the log was closed: its head file {log_path.head_path} "
            "names the line before as the last one.",
            (self._lines.last_run,),
        )

    def _check_rest(self, rest: bytes, *, is_last: bool) -> VerificationError | None:
        """Check the bytes after the last newline: a crash leaves a torn line."""
        self._lines.line_number += 1
        position = self._lines.position
        if not is_last or not is_torn_write(rest):
            run_id = self._lines.last_run
            return VerificationError(
                position, Damage.CHANGED, Damage.CHANGED.message, (run_id,) if run_id else ()
            )
        self._torn_positions.append(position)
        return None

    def _warnings(self) -> Iterator[str]:
        for position in self._torn_positions:
            yield f"{position}: the line is torn, as after a crash. No deletion depends on it."
        yield from self._lines.warnings()
        if self._own_chains:
            chains = pluralize(self._own_chains + 1, "file")
            yield f"{chains} each start a hash chain: the order between them is not proven."
        if not self._lines.lines and not self._lines.line_number:
            yield "The audit log is empty."


def _unreadable_file(path: Path) -> VerificationError:
    """Return the error for a damaged compressed file.

    Raises:
        UsageError: The file cannot be opened or read.
    """
    lines = 0
    with suppress(GuardRefused), open_log(path) as file:
        for line in iter(partial(file.readline, MAX_LINE_BYTES), b""):
            lines += line.endswith(b"\n")
    return VerificationError(
        LinePosition(path, lines + 1),
        Damage.CHANGED,
        "The compressed file is damaged from here on.",
    )


def _find_heads(paths: Sequence[Path]) -> dict[LogPath, Head]:
    """Return the heads of the logs whose existing files are all among the paths.

    The end of a log of which a file was left out is not known.
    """
    given = {path.resolve() for path in paths}
    found: dict[LogPath, Head] = {}
    for path in paths:
        if any(log_path.matches(path) for log_path in found):
            continue
        log_path, head = find_head(path)
        if head is not None and given.issuperset(each.resolve() for each in log_path.paths()):
            found[log_path] = head
    return found
