"""Read the files of an audit directory in their order, and check that each continues the others.

There is no other reader of several files: `audit verify` reports what it raises, and what a run
relies on are its lines. So nothing is built on what `audit verify` calls damaged.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.file_chain import Continued, FileChain
from invite_sweeper.audit.run_file import DamagedFile, RunFile


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of `HEAD`: the last run.

    Attributes:
        number: Of the run.
        file: The name of its file, uncompressed.
        last_hash: Of the last line; while the run has not ended, of the line that it continues.
        ended: Whether the run wrote its last line.
    """

    number: int
    file: str
    last_hash: str
    ended: bool

    def check(self, chain: FileChain, continued: str) -> None:
        """Raise DamagedFile if a file contradicts it.

        Args:
            chain: Of the file, read to its end.
            continued: Hash of the last line of the files before it; "" where it is not known.
        """
        file = chain.file
        if file.name == self.file:
            self._check_last_file(chain, continued)
            return
        # A file without a byte above the last one is what a run leaves that was killed at once.
        has_content = chain.last is not None or chain.is_torn
        if file.number >= self.number and has_content:
            raise DamagedFile(
                file.path,
                None,
                f"is not known to HEAD, which names {self.file}",
                "If HEAD was restored from an old copy, delete it: the next run makes it from "
                "the newest file. Otherwise move the file away.",
            )

    def _check_last_file(self, chain: FileChain, continued: str) -> None:
        """Raise DamagedFile if the file of the last run does not have the hash where it should."""
        first = chain.first
        last = chain.last
        if self.ended:  # HEAD was written after the last line
            known_hash = "" if last is None else last.hash
            line = last
        elif first is not None:  # HEAD was written before the first line, which continues its hash
            known_hash = first.header.prev
            line = first
        else:  # the run was killed before its first line
            known_hash = continued or self.last_hash
            line = None
        if known_hash != self.last_hash:
            raise DamagedFile(
                chain.file.path,
                None if line is None else line.number,
                "is not as HEAD describes it: it was cut or changed, or HEAD is from another time",
                "Restore the file or HEAD from a copy.",
            )


class LogReader:
    """Reads the files of an audit log, from one of them to the last.

    Files that were removed from the beginning, the oldest first, are not missed: the chain begins
    with the first file that is there. The file of the last run may be missing, which each command
    reports by itself; those before it must not be.

    Args:
        files: In the order of their names.
        head: The content of `HEAD`; None where it is missing, and for files without a directory.
        first: The index of the first file that is read. Of those before it, only the names are
            checked.
        hashed: Whether the SHA-256 of each file is needed.

    Attributes:
        missing: The file of the last run, where `HEAD` names it and it is gone; else None.
        last_hash: Hash of the last whole line that was read; "" before the first.
    """

    def __init__(
        self,
        files: Sequence[RunFile],
        head: Head | None = None,
        *,
        first: int = 0,
        hashed: bool = False,
    ) -> None:
        self.files = files
        self.head = head
        self.first = first
        self.missing = _missing_file(files, head)
        self.last_hash = ""
        self._last_name = ""
        self._hashed = hashed

    def __iter__(self) -> Iterator[FileChain]:
        """Yield each file; what its caller leaves unread of it is checked before the next one.

        Raises:
            DamagedFile: A file or a line is not as a run wrote it, or a file is missing.
            DamagedLog: A file cannot be opened.
        """
        self.last_hash = ""
        self._last_name = ""
        for index, file in enumerate(self.files):
            if index > 0:
                _check_number(self.files[index - 1], file)
            if index >= self.first:
                yield from self._read(file)
        if self.missing is not None and self.files:
            _check_number(self.files[-1], self.missing)

    def read(self) -> Self:
        """Check all files; raises as the iterator does."""
        for _ in self:
            pass
        return self

    def _read(self, file: RunFile) -> Iterator[FileChain]:
        """Yield one file, and check it against `HEAD` once its caller has read it."""
        chain = FileChain(file, self._continued(), hashed=self._hashed)
        yield chain
        chain.read()
        if self.head is not None:
            self.head.check(chain, self.last_hash)
        if chain.last is not None:
            self.last_hash = chain.last.hash
            self._last_name = file.name

    def _continued(self) -> Continued | None:
        """Return what the next file must continue; None where the files before are not known."""
        if self.last_hash:
            return Continued(self.last_hash, self._last_name)
        if self.first == 0 and self.files[0].number == 1:  # the log begins with it
            return Continued(GENESIS_HASH, "")
        return None


def _missing_file(files: Sequence[RunFile], head: Head | None) -> RunFile | None:
    """Return the file that `HEAD` names, if it is not among the files."""
    if head is None or any(file.name == head.file for file in files):
        return None
    path = Path(head.file)
    if files:
        path = files[-1].path.with_name(head.file)
    return RunFile.of(path)


def _check_number(before: RunFile, file: RunFile) -> None:
    """Raise DamagedFile if a number is missing before a file, or is taken twice."""
    if before.number == 0 or file.number == 0:  # a file outside an audit directory
        return
    if file.number == before.number:
        raise DamagedFile(file.path, None, f"has the number of {before.name}")
    if file.number > before.number + 1:
        missing = f"{before.number + 1:06d}"
        raise DamagedFile(
            file.path,
            None,
            f"follows {before.name}: file {missing} is missing",
            f"Restore it from a copy, or move {before.name} and all files before it away: the log "
            "then begins after it.",
        )
