"""Verify the files of runs: their chain, that each continues the one before, and their intents."""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.directory import AuditDirectory, Head, RunFile
from invite_sweeper.audit.events import Intent, OutcomeLine
from invite_sweeper.audit.reader import DamagedFile, FileChain
from invite_sweeper.errors import DamagedLog
from invite_sweeper.models import InvitationKey


class Verdict(StrEnum):
    """What the files of an audit log are."""

    SOUND = "sound"
    UNFINISHED = "unfinished"
    """A run was killed; the next sweep resolves what it left."""
    DAMAGED = "damaged"


class Verification(msgspec.Struct):
    """What was found; after a damage, up to it.

    Attributes:
        lines: Whole lines in the files.
        last_hash: Hash of the last of these lines, to compare with a copy kept elsewhere; 64
            zeros without one.
        damage: The first file or line that is wrong, in one sentence; None without one.
        unfinished: The runs that left something open, in the order of their files, with the number
            of their intents without an outcome; 0 if a run was only killed.
        expected_at: Where the expected hash was found, `FILE line N`; None where it was not.
    """

    files: list[RunFile] = []
    lines: int = 0
    last_hash: str = GENESIS_HASH
    damage: str | None = None
    unfinished: dict[RunFile, int] = {}
    expected_at: str | None = None

    @property
    def first_number(self) -> int | None:
        """The number of the first file; above 1 where the oldest files are gone."""
        return self.files[0].number if self.files else None

    @property
    def verdict(self) -> Verdict:
        """The result in one word."""
        if self.damage is not None:
            return Verdict.DAMAGED
        return Verdict.UNFINISHED if self.unfinished else Verdict.SOUND


def verify_directory(directory: AuditDirectory, expect_head: str | None = None) -> Verification:
    """Verify all files of a directory, and `HEAD`; see `verify`."""
    try:
        head = directory.read_head()
    except DamagedLog as error:
        return Verification(damage=error.message)
    return verify(directory.files(), head, expect_head)


def verify(
    files: Sequence[RunFile], head: Head | None = None, expect_head: str | None = None
) -> Verification:
    """Verify files up to their end, or to the first line that does not follow.

    Args:
        files: The files in the order of their names, compressed with gzip or not.
        head: What `HEAD` beside them says; None where there is none, or for single files.
        expect_head: A hash that the log had as its last one, 64 hex digits.

    Raises:
        DamagedLog: A file cannot be opened.
    """
    result = Verification()
    opened: dict[tuple[str, InvitationKey], RunFile] = {}
    finished = True
    try:
        for file in files:
            chain = _verify_file(file, result, opened, expect_head)
            finished = chain.finished
            if head is not None:
                head.check(file, chain)
    except DamagedFile as error:
        result.damage = error.message
        return result
    if head is not None and head.file not in {file.name for file in files}:
        result.damage = f"{head.file} is missing: it is the last run that HEAD names."
    elif expect_head is not None and result.expected_at is None:
        result.damage = f"No line has the expected hash {expect_head}."
    intents = Counter(opened.values())
    result.unfinished = {
        file: intents[file]
        for file in files
        if intents[file] or (file == files[-1] and not finished)
    }
    return result


def _verify_file(
    file: RunFile,
    result: Verification,
    opened: dict[tuple[str, InvitationKey], RunFile],
    expect_head: str | None,
) -> FileChain:
    """Verify a file, and that it continues the one before; `opened` are the intents so far."""
    chain = FileChain(file.path)
    if result.files:
        _check_number(result.files[-1], file)
    result.files.append(file)
    for line in chain:
        if line.number == 1:
            _check_first(result, file, chain)
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


def _check_first(result: Verification, file: RunFile, chain: FileChain) -> None:
    """Raise DamagedFile if the first line of a file does not continue the one before."""
    if file.run_id and chain.run_id != file.run_id:
        raise DamagedFile(file.path, 1, "is of another run than the name of its file")
    if result.lines and chain.prev != result.last_hash:
        before = result.files[-2].name
        raise DamagedFile(file.path, 1, f"does not follow the last line of {before}")
    if not result.lines and result.first_number == 1 and chain.prev != GENESIS_HASH:
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
