"""Verify the files of runs: what `LogReader` finds, and the intents without an outcome."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.directory import AuditDirectory
from invite_sweeper.audit.file_chain import DamagedFile, RunFile
from invite_sweeper.audit.reader import Head, LogReader
from invite_sweeper.audit.record import Fold, Recovered, RunRecord, Unfinished
from invite_sweeper.endings import ExitCode


class Verdict(StrEnum):
    """What the files of an audit log are."""

    SOUND = "sound"
    UNFINISHED = "unfinished"
    """A run was killed; the next sweep or restore recovers what it left."""
    DAMAGED = "damaged"


class Verification(msgspec.Struct, kw_only=True):
    """What was found; after a damage, up to it. The result of `audit verify`.

    Attributes:
        files: How many files were verified.
        lines: Whole lines in the files.
        first_run: The number of the first file; above 1 where the oldest files are gone.
        last_hash: Hash of the last of these lines, to compare with a copy kept elsewhere; 64
            zeros without one.
        missing_accepted: The numbers of files that are gone, and that a run accepted.
        left_aside: The names of the files that are there again after a run accepted them as lost,
            and that the next file does not continue: no run goes by them.
        head_missing: `HEAD` is gone, so later files may be missing, too.
        damage: The first file or line that is wrong, in one sentence; None without one.
        unfinished: In the order of their files.
        recovered: Runs that were killed, and whose requests have an outcome now.
        expected_at: Where the expected hash was found, `FILE line N`; None where it was not.
    """

    verdict: Verdict = Verdict.SOUND
    files: int = 0
    lines: int = 0
    first_run: int | None = None
    last_hash: str = GENESIS_HASH
    missing_accepted: tuple[int, ...] = ()
    left_aside: tuple[str, ...] = ()
    head_missing: bool = False
    damage: str | None = None
    unfinished: tuple[Unfinished, ...] = ()
    recovered: tuple[Recovered, ...] = ()
    expected_at: str | None = None
    exit_code: int = 0


def verify_directory(
    directory: AuditDirectory, expect_head: str | None = None, fold: Fold | None = None
) -> Verification:
    """Verify all files of a directory, and `HEAD`; see `verify`."""
    return verify(directory.files(), directory, expect_head, fold)


def verify(
    files: Sequence[RunFile],
    directory: AuditDirectory | None = None,
    expect_head: str | None = None,
    fold: Fold | None = None,
) -> Verification:
    """Verify files up to their end, or to the first line that does not follow.

    Args:
        files: The files in the order of their names, compressed with gzip or not.
        directory: Its `HEAD` is verified; None for single files.
        expect_head: A hash that the log had as its last one, 64 hex digits.
        fold: Adds up the runs, for a caller that asks what became of their requests.

    Raises:
        DamagedLog: A file cannot be opened.
    """
    result = Verification(first_run=files[0].number if files else None)
    try:
        _verify(result, files, directory, expect_head, fold or Fold())
    except DamagedFile as error:
        result.damage = error.message
    if result.damage is not None:
        result.verdict = Verdict.DAMAGED
    elif result.unfinished:
        result.verdict = Verdict.UNFINISHED
    exit_code = ExitCode.DONE if result.verdict is Verdict.SOUND else ExitCode.REFUSED
    result.exit_code = int(exit_code)
    return result


def _verify(
    result: Verification,
    files: Sequence[RunFile],
    directory: AuditDirectory | None,
    expect_head: str | None,
    fold: Fold,
) -> None:
    """Decode and count all lines, and find the expected hash; `result` has what was found so far.

    Raises:
        DamagedFile: The first damage, as `LogReader`.
    """
    head: Head | None = None
    folder = Path()
    if directory is not None:
        folder = directory.path
        head = directory.read_head()
        result.head_missing = head is None and bool(files)
    reader = LogReader(files, head, folder=folder)
    for chain in reader:
        result.files += 1
        for line, _ in fold.follow(RunRecord(chain.file), chain, chain.decode):
            result.lines += 1
            result.last_hash = line.hash
            if line.hash == expect_head:
                result.expected_at = f"{chain.file.path} line {line.number}"
        result.missing_accepted += chain.accepted
    result.left_aside = tuple(sorted(file.name for file in reader.left_aside))
    if expect_head is not None and result.expected_at is None:
        result.damage = f"No line has the expected hash {expect_head}."
    result.unfinished = fold.unfinished()
    result.recovered = fold.recovered()
