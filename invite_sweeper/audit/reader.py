"""Read the files of an audit directory in their order, and check that each continues the others.

There is no other reader of several files: `audit verify` reports what it raises, and what a run
relies on are its lines. So nothing is built on what `audit verify` calls damaged.
"""

import re
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec

from invite_sweeper.audit.chain import GENESIS_HASH
from invite_sweeper.audit.events import Kept, Planned, RunStarted
from invite_sweeper.audit.file_chain import Continued, DamagedFile, FileChain, MissingFile, RunFile
from invite_sweeper.audit.record import Fold, RunRecord
from invite_sweeper.endings import COMPLETE_EXIT_CODES, Reason
from invite_sweeper.errors import GuardRefused, RunError
from invite_sweeper.text import describe_span, plural_form


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
            raise self.unknown(file)

    def unknown(self, file: RunFile) -> DamagedFile:
        """Return the error of a file that no run which it names has left."""
        return DamagedFile(
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


_MOST_MISSING: Final = 100_000
"""Files that may be missing one after the other; a number above such a gap is not that of a run."""


class LogReader:
    """Reads the files of an audit log, from one of them to the last.

    Files that were removed from the beginning, the oldest first, are not missed: the chain begins
    with the first file that is there. Any other file that is missing, the last one too, is damage
    until a later run has accepted it (`missing_accepted`). One that was accepted and is there again
    is read if the file after it continues it, and else left aside: no run since has gone by it.

    Args:
        files: In the order of their names.
        head: The content of `HEAD`; None where it is missing, and for files without a directory.
        first: The index of the first file that is read. Of those before it, only the names are
            checked, and where one of them is missing, who accepted it.
        hashed: Whether the SHA-256 of each file is needed.
        accepts_missing: The caller accepts what is missing.
        folder: Of the files.

    Attributes:
        missing: The numbers of the files that are gone and that no run accepted, in ascending
            order; complete once all files were read.
        left_aside: The files that a run accepted as lost, and that the next file does not continue.
        last_hash: Hash of the last whole line that was read; "" before the first.
    """

    def __init__(
        self,
        files: Sequence[RunFile],
        head: Head | None = None,
        *,
        first: int = 0,
        hashed: bool = False,
        accepts_missing: bool = False,
        folder: Path = Path(),
    ) -> None:
        self.files = files
        self.head = head
        self.first = first
        self.missing: list[range] = []
        self.left_aside: tuple[RunFile, ...] = ()
        self.last_hash = ""
        self._continued: Continued | None = None
        self._hashed = hashed
        self._accepts_missing = accepts_missing
        self._folder = folder

    def __iter__(self) -> Iterator[FileChain]:
        """Yield each file; what its caller leaves unread of it is checked before the next one.

        Raises:
            DamagedFile: A file or a line is not as a run wrote it, or a file is missing.
            DamagedLog: A file cannot be opened.
        """
        self.missing = []
        self.left_aside = tuple(self._find_left_aside())
        self.last_hash = ""
        self._continued = None
        damage: MissingFile | None = None  # by the first file that is missing
        if self.first == 0 and self.files and self.files[0].number == 1:  # the log begins with it
            self._continued = Continued(GENESIS_HASH, "")
        for index, file in enumerate(self.files):
            gone = _numbers_between(self.files[index - 1], file) if index > 0 else range(0)
            if gone:
                if self.head is not None and file.number > self.head.number:
                    raise self.head.unknown(file)
                damage = damage or _missing(gone, self.files[index - 1], file.path)
                self._add_missing(gone, file.path)
                self._continued = None  # the last line of a file that is gone
            if file in self.left_aside:
                self._continued = None  # as of a file that is gone
            elif index >= self.first:
                yield from self._read(file)
            elif self.missing:
                for chain in self._read(file):  # it may have accepted them
                    chain.read()
            else:
                self._continued = None  # the last line of a file that is not read
        damage_at_end = self._check_end()  # also adds what is missing there
        damage = damage or damage_at_end
        if self.missing and damage is not None and not self._accepts_missing:
            raise damage

    def read(self) -> Self:
        """Check all files; raises as the iterator does."""
        for _ in self:
            pass
        return self

    def _read(self, file: RunFile) -> Iterator[FileChain]:
        """Yield one file, and check it against `HEAD` once its caller has read it."""
        continued = self._continued
        chain = FileChain(file, continued, hashed=self._hashed)
        yield chain
        chain.read()
        if self.head is not None:
            self.head.check(chain, continued.last_hash if continued is not None else "")
        if chain.last is not None:
            self.last_hash = chain.last.hash
            self._continued = Continued(self.last_hash, file.name)
        if chain.accepted:
            self.missing = list(_without(self.missing, chain.accepted))

    def _find_left_aside(self) -> Iterator[RunFile]:
        """Yield the files to leave aside, the newest first; what they have is not checked."""
        accepted: set[int] = set()
        continued = ""  # the hash that the file after has
        for file in reversed(self.files[self.first :]):
            opening = _read_opening(file)
            if file.number in accepted and _last_hash_of(file) != continued:
                yield file
                continued = ""
            else:
                continued = opening.first.header.prev if opening.first is not None else ""
            accepted.update(opening.accepted)

    def _add_missing(self, gone: range, path: Path) -> None:
        """Add the numbers that are missing before a file, or before that which `HEAD` names.

        Raises:
            DamagedFile: They are too many: the number after them is not that of a run.
        """
        if gone.stop - gone.start > _MOST_MISSING:
            what = "has a number that no run before it leads to"
            raise DamagedFile(path, None, what, "Find out where it comes from, and move it away.")
        self.missing.append(gone)

    def _check_end(self) -> MissingFile | None:
        """Add what is missing after the last file up to that which `HEAD` names, and return why."""
        head = self.head
        if head is None or any(file.name == head.file for file in self.files):
            return None
        last = self.files[-1] if self.files else None
        gone = range(head.number if last is None else last.number + 1, head.number)
        path = self._folder / head.file
        self._add_missing(range(gone.start, head.number + 1), path)
        if last is not None and gone:
            return _missing(gone, last, path)
        what = "is missing: it is the last run that HEAD names"
        return MissingFile(path, what)


def _read_opening(file: RunFile) -> FileChain:
    """Return a file of which the lines were read with what it continues and what it accepted.

    They are `run_started`, `policy` and `missing_accepted`, in this order. What is wrong there is
    found where the file is read.
    """
    chain = FileChain(file)
    with closing(chain), suppress(RunError):
        for _ in islice(chain, 3):
            pass
    return chain


def _last_hash_of(file: RunFile) -> str:
    """Return the hash of the last whole line of a file; "" where it is damaged."""
    with suppress(RunError):
        last = FileChain(file).read().last
        return last.hash if last is not None else ""
    return ""


def _missing(gone: range, before: RunFile, path: Path) -> MissingFile:
    """Return the error of the first files that are missing between two others."""
    numbers = describe_span(f"{gone.start:06d}", f"{gone.stop - 1:06d}")
    count = gone.stop - gone.start
    are_missing = plural_form(count, f"file {numbers} is", f"files {numbers} are")
    return MissingFile(path, f"follows {before.name}: {are_missing} missing")


def _without(gaps: Iterable[range], accepted: Collection[int]) -> Iterator[range]:
    """Yield the parts of gaps whose numbers were not accepted."""
    for gap in gaps:
        start = gap.start
        for number in sorted(filter(gap.__contains__, accepted)):
            if start < number:
                yield range(start, number)
            start = number + 1
        if start < gap.stop:
            yield range(start, gap.stop)


def _numbers_between(before: RunFile, file: RunFile) -> range:
    """Return the numbers that are missing before a file.

    Raises:
        DamagedFile: Its number is taken twice.
    """
    if before.number == 0 or file.number == 0:  # a file outside an audit directory
        return range(0)
    if file.number == before.number:
        raise DamagedFile(file.path, None, f"has the number of {before.name}")
    return range(before.number + 1, file.number)


def read_run(chain: FileChain, fold: Fold) -> RunRecord:
    """Return the run of a file, which is read to its end, without its lines.

    Args:
        fold: Of the runs before it.

    Raises:
        DamagedLog: The file is damaged.
    """
    run = RunRecord(chain.file)
    for _ in fold.follow(run, chain, chain.decode):
        pass
    run.sha256 = chain.sha256
    return run


def add_lines(run: RunRecord, chain: FileChain, fold: Fold, *, with_kept: bool = False) -> None:
    """Add the lines of its file to a run, and what they add up to.

    Args:
        fold: Of the runs before it.
        with_kept: Also those about kept invitations: there may be far more than of deletions.

    Raises:
        DamagedLog: The file is damaged; what comes before is known.
    """
    for line, event in fold.follow(run, chain, chain.decode):
        if event is not None and (with_kept or not isinstance(event, Kept)):
            run.add(event, line.number, line.header.ts)
    run.sha256 = chain.sha256


def read_whole_run(chain: FileChain) -> RunRecord:
    """Return a run with all its lines.

    Raises:
        DamagedLog: The file is damaged.
    """
    run = RunRecord(chain.file)
    add_lines(run, chain, Fold(), with_kept=True)
    return run


def read_back(run: RunRecord) -> RunRecord:
    """Return a run of this process with the lines of its file, as far as that can be read."""
    found = RunRecord(run.file, run.start, run.end, last_hash=run.last_hash)
    with suppress(RunError):  # the verification names the file, and the totals are known
        add_lines(found, FileChain(run.file), Fold())
    for planned in run.unwritten:
        found.add(planned)
    return found


_FIRST_LINE: Final = re.compile(
    rb'\{"ts":"[^"]*","run_id":"([^"]*)","seq":1,"event":"run_started","prev":"[0-9a-f]{64}",'
    rb'"mode":"([a-z-]+)"'
)
"""How the file of a run begins, up to its mode."""


def may_replace_plan(start: bytes, known_runs: Container[str]) -> bool:
    """Return whether a file that starts so is a plan, or the copy of a run that is known.

    Args:
        known_runs: The ids of the runs whose files are in the audit directory: nothing is lost
            where a copy of one of them is replaced.
    """
    first_line = _FIRST_LINE.match(start)
    if first_line is None:
        return False
    run_id, mode = first_line.groups()
    return mode == b"dry-run" or run_id.decode() in known_runs


class SavedPlan(NamedTuple):
    """The plan of a finished dry run.

    Attributes:
        run_id: Of the dry run.
        sha256: Of the file before it was compressed, 64 hex digits; what `sha256sum FILE` prints,
            or `gzip -dc FILE | sha256sum`.
    """

    path: Path
    run_id: str
    start: RunStarted
    planned: tuple[Planned, ...]
    sha256: str


def read_plan(path: Path, new_plan: str) -> SavedPlan:
    """Return the plan in the file of a dry run: what was edited or cut is refused.

    Args:
        new_plan: The command that makes another plan.

    Raises:
        GuardRefused: It is not the whole file of a dry run that made a plan.
    """
    chain = FileChain(RunFile.of(path), hashed=True)
    record = RunRecord(chain.file)
    # Each line is decoded, also one that the plan does not need: else the plan is refused.
    lines = Fold().follow(record, chain, chain.decode)
    planned: tuple[Planned, ...] = ()
    try:
        planned = tuple(event for _, event in lines if isinstance(event, Planned))
    except DamagedFile as error:
        why_refused = f"The plan {path} was changed: {error.message}"
    else:
        why_refused = why_not_made(record)
    if why_refused:
        raise GuardRefused(
            why_refused,
            hint="Create a new plan with:",
            command=new_plan,
            reasons=(Reason.PLAN,),
        )
    return SavedPlan(path, record.run_id, record.start, planned, chain.sha256)


def why_not_made(record: RunRecord) -> str:
    """Return why a run is not a dry run that made a plan which a sweep may apply; "" if it is.

    Args:
        record: Of a file that was read to its end.
    """
    path = record.file.path
    end = record.end
    if record.mode != "dry-run":
        return f"{path} is not the file of a dry run."
    if end is None:
        return f"The plan {path} was cut off, or its dry run did not finish."
    if not end.plan_made or end.exit_code not in COMPLETE_EXIT_CODES:
        return f"The dry run of {path} ended with exit code {end.exit_code}."
    return ""
