"""The plan in the file of a run: read back before a deletion, or taken from a finished dry run.

A sweep deletes what is on disk in its file, not what is in memory.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from invite_sweeper.audit.events import Planned, RunFinished, RunStarted
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.reader import DamagedFile, FileChain
from invite_sweeper.endings import COMPLETE_EXIT_CODES, Reason
from invite_sweeper.errors import AuditLogError, GuardRefused, UsageError


async def check_written_plan(log: AuditLog, written: Iterable[Planned]) -> None:
    """Sync the log, read the plan back, and check that the file has these lines in this order.

    The hash of the last line is known, and each line contains the hash of the line before. One
    line at a time is decoded, so memory holds the plan once.

    Raises:
        AuditLogError: The lines cannot be written, or the file was changed since.
    """
    last_hash = log.last_hash
    await log.sync()
    chain, left = FileChain(log.file.path), iter(written)
    try:
        for line in chain:
            if line.header.event == Planned.event and chain.decode(line) != next(left, None):
                break
            if line.hash == last_hash and next(left, None) is None:
                return
    except (DamagedFile, UsageError) as error:
        raise _changed_error() from error
    raise _changed_error()


def _changed_error() -> AuditLogError:
    return AuditLogError(
        "The plan in the audit log was changed after this run wrote it.",
        hint="Check the audit log with `audit verify`.",
    )


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
    start: RunStarted | None = None
    end: RunFinished | None = None
    planned = []
    chain = FileChain(path)
    try:
        for event in map(chain.decode, chain):
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
    return SavedPlan(path, start, end, tuple(planned), chain.sha256)


def _refused(message: str) -> GuardRefused:
    return GuardRefused(message, hint="Create a new plan with `plan`.", reasons=(Reason.PLAN,))
