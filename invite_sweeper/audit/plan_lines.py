"""The plan in the file of a run: written ahead and read back, or taken from a finished dry run.

A sweep deletes what is on disk in its file, not what is in memory.
"""

from collections.abc import Iterator
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Final, NamedTuple

from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.events import LineHeader, Planned, RunFinished, RunStarted, decode
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.reader import DamagedFile, FileChain, decode_line, open_log
from invite_sweeper.endings import COMPLETE_EXIT_CODES, Reason
from invite_sweeper.errors import AuditLogError, GuardRefused

_BLOCK_BYTES: Final = 1 << 18
_CHANGED: Final = "The plan in the audit log was changed after this run wrote it."


class PlanLines:
    """Writes the `planned` lines of a run, and reads them back before anything is deleted.

    Other lines may be written between them.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._start = self._stop = log.offset
        self._last_hash = log.last_hash
        self._written: list[Planned] = []

    def write(self, planned: Planned) -> None:
        """Write one line. It is on disk after the next `sync` of the log."""
        self._log.write(planned)
        self._stop, self._last_hash = self._log.offset, self._log.last_hash
        self._written.append(planned)

    async def read_back(self) -> tuple[Planned, ...]:
        """Sync the log and return the lines as the file has them, in the order written.

        Each line is decoded and compared, and memory holds the plan once.

        Raises:
            AuditLogError: They cannot be written, or the file was changed since.
        """
        await self._log.sync()
        if any(a != b for a, b in zip_longest(self._read_backwards(), reversed(self._written))):
            raise _plan_error()
        return tuple(self._written)

    def _read_backwards(self) -> Iterator[Planned]:
        """Yield the planned lines, the last one first.

        The hash of the last line is known, and each line contains the hash of the line before. So
        no line is parsed before its hash is proved.
        """
        expected_hash = self._last_hash
        for line in self._lines_backwards():
            if line_hash(line) != expected_hash:
                raise _plan_error()
            header = LineHeader.parse(line)
            if header is None:
                raise _plan_error()
            expected_hash = header.prev
            if header.event == Planned.event:
                event = decode(line, header)
                if isinstance(event, Planned):
                    yield event

    def _lines_backwards(self) -> Iterator[bytes]:
        """Yield all lines from the first planned one on, the last one first."""
        rest, stop = b"", self._stop
        while stop > self._start:
            start = max(self._start, stop - _BLOCK_BYTES)
            block = self._log.read_back(start, stop)
            if len(block) < stop - start:
                raise _plan_error()
            if stop == self._stop:
                block = block.removesuffix(b"\n")
            rest, *lines = (block + rest).split(b"\n")
            yield from reversed(lines)
            stop = start
        if self._stop > self._start:
            yield rest


def _plan_error() -> AuditLogError:
    return AuditLogError(_CHANGED, hint="Check the audit log with `audit verify`.")


class SavedPlan(NamedTuple):
    """The plan of a finished dry run.

    Attributes:
        sha256: Of the file before it was compressed, 64 hex digits; what `sha256sum FILE` prints,
            or `gzip -dc FILE | sha256sum`.
    """

    path: Path
    start: RunStarted
    end: RunFinished
    planned: tuple[Planned, ...]
    sha256: str


def read_plan(path: Path) -> SavedPlan:
    """Return the plan in the file of a dry run, whose whole chain is checked.

    Raises:
        GuardRefused: It is not the whole file of a dry run that made a plan.
        UsageError: The file cannot be read.
    """
    digest = sha256()
    start: RunStarted | None = None
    end: RunFinished | None = None
    planned = []
    try:
        for line in FileChain(path):
            digest.update(line.raw + b"\n")
            decoded = decode_line(path, line.number, line.raw, line.header)
            event = None if decoded is None else decoded.event
            if isinstance(event, RunStarted):
                start = event
            elif isinstance(event, Planned):
                planned.append(event)
            elif isinstance(event, RunFinished):
                end = event
    except DamagedFile as error:
        raise _refused(f"The plan {path} was changed: {error.message}") from None
    if start is None or start.mode != "dry-run":
        raise _refused(f"{path} is not the file of a dry run.")
    if end is None:
        raise _refused(f"The plan {path} was cut off, or its dry run did not finish.")
    if not end.plan_made or end.exit_code not in COMPLETE_EXIT_CODES:
        raise _refused(f"The dry run of {path} ended with exit code {end.exit_code}.")
    return SavedPlan(path, start, end, tuple(planned), digest.hexdigest())


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a run's file before it was compressed, as `SavedPlan.sha256`.

    Raises:
        UsageError: The file cannot be read.
        DamagedFile: The compressed file is damaged.
    """
    digest = sha256()
    with open_log(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _refused(message: str) -> GuardRefused:
    return GuardRefused(message, hint="Create a new plan with `plan`.", reasons=(Reason.PLAN,))
