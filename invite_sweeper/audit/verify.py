"""Verify the files of runs: their chain, that each continues the one before, and their intents."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.directory import AuditDirectory, RunFile
from invite_sweeper.audit.events import Intent, OutcomeLine
from invite_sweeper.audit.reader import DamagedFile, FileChain
from invite_sweeper.endings import ExitCode
from invite_sweeper.models import InvitationKey


class Verdict(StrEnum):
    """What the files of an audit log are."""

    SOUND = "sound"
    UNFINISHED = "unfinished"
    """A run was killed; the next sweep resolves what it left."""
    DAMAGED = "damaged"


class Unfinished(msgspec.Struct, frozen=True, kw_only=True):
    """A run that left something open.

    Attributes:
        run: Its number; 0 for a file outside an audit directory.
        run_id: As the name of its file says it.
        file: The name of its file, uncompressed.
        intents: Its intents without an outcome; 0 if it was only killed.
    """

    run: int
    run_id: str
    file: str
    intents: int


class Verification(msgspec.Struct, kw_only=True):
    """What was found; after a damage, up to it. The result of `audit verify`.

    Attributes:
        files: How many files were verified.
        lines: Whole lines in the files.
        first_run: The number of the first file; above 1 where the oldest files are gone.
        last_hash: Hash of the last of these lines, to compare with a copy kept elsewhere; 64
            zeros without one.
        damage: The first file or line that is wrong, in one sentence; None without one.
        unfinished: In the order of their files.
        expected_at: Where the expected hash was found, `FILE line N`; None where it was not.
    """

    verdict: Verdict = Verdict.SOUND
    files: int = 0
    lines: int = 0
    first_run: int | None = None
    last_hash: str = GENESIS_HASH
    damage: str | None = None
    unfinished: tuple[Unfinished, ...] = ()
    expected_at: str | None = None
    exit_code: int = 0


def verify_directory(directory: AuditDirectory, expect_head: str | None = None) -> Verification:
    """Verify all files of a directory, and `HEAD`; see `verify`."""
    return verify(directory.files(), directory, expect_head)


def verify(
    files: Sequence[RunFile],
    directory: AuditDirectory | None = None,
    expect_head: str | None = None,
) -> Verification:
    """Verify files up to their end, or to the first line that does not follow.

    Args:
        files: The files in the order of their names, compressed with gzip or not.
        directory: Its `HEAD` is verified; None for single files.
        expect_head: A hash that the log had as its last one, 64 hex digits.

    Raises:
        DamagedLog: A file cannot be opened.
    """
    result = Verification(first_run=files[0].number if files else None)
    opened: dict[tuple[str, InvitationKey], RunFile] = {}
    killed: Sequence[RunFile] = ()
    try:
        head = directory.read_head() if directory is not None else None
        for before, file in zip((None, *files), files, strict=False):
            chain = _verify_file(file, before, result, opened, expect_head)
            killed = () if chain.finished else (file,)
            if head is not None:
                head.check(file, chain)
        if head is not None and head.file not in {file.name for file in files}:
            result.damage = f"{head.file} is missing: it is the last run that HEAD names."
        elif expect_head is not None and result.expected_at is None:
            result.damage = f"No line has the expected hash {expect_head}."
        intents = Counter(opened.values())
        result.unfinished = tuple(
            Unfinished(run=file.number, run_id=file.run_id, file=file.name, intents=intents[file])
            for file in files
            if intents[file] or file in killed
        )
    except DamagedFile as error:
        result.damage = error.message
    if result.damage is not None:
        result.verdict = Verdict.DAMAGED
    elif result.unfinished:
        result.verdict = Verdict.UNFINISHED
    is_sound = result.verdict is Verdict.SOUND
    result.exit_code = int(ExitCode.DONE if is_sound else ExitCode.REFUSED)
    return result


def _verify_file(
    file: RunFile,
    before: RunFile | None,
    result: Verification,
    opened: dict[tuple[str, InvitationKey], RunFile],
    expect_head: str | None,
) -> FileChain:
    """Verify a file, and that it continues the one before; `opened` are the intents so far."""
    chain = FileChain(file.path)
    if before is not None:
        _check_number(before, file)
    result.files += 1
    for line in chain:
        if line.number == 1:
            _check_first(result, before, file, chain)
        event = chain.decode(line)
        if isinstance(event, Intent):
            opened[chain.run_id, event.key] = file
        elif isinstance(event, OutcomeLine):
            opened.pop((event.recovers or chain.run_id, event.key), None)
        result.lines += 1
        result.last_hash = line.hash
        if line.hash == expect_head:
            result.expected_at = f"{file.path} line {line.number}"
    return chain


def _check_first(
    result: Verification, before: RunFile | None, file: RunFile, chain: FileChain
) -> None:
    """Raise DamagedFile if the first line of a file does not continue the one before."""
    if file.run_id and chain.run_id != file.run_id:
        raise DamagedFile(file.path, 1, "is of another run than the name of its file")
    if before is not None and result.lines and chain.prev != result.last_hash:
        raise DamagedFile(file.path, 1, f"does not follow the last line of {before.name}")
    if not result.lines and result.first_run == 1 and chain.prev != GENESIS_HASH:
        raise DamagedFile(file.path, 1, "is not the first line of a log")


def _check_number(before: RunFile, file: RunFile) -> None:
    """Raise DamagedFile if a number is missing before a file, or taken twice."""
    if 0 in {before.number, file.number}:
        return
    if file.number == before.number:
        raise DamagedFile(file.path, None, f"has the number of {before.name}")
    if file.number > before.number + 1:
        missing = f"{before.number + 1:06d}"
        raise DamagedFile(file.path, None, f"follows {before.name}: file {missing} is missing")
