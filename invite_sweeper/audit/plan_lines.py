"""The plan in the file of a run: read back before a deletion, or taken from a finished dry run.

A sweep deletes what is on disk in its file, not what is in memory.
"""

from pathlib import Path
from typing import NamedTuple

from invite_sweeper.audit.events import Planned, RunFinished, RunStarted
from invite_sweeper.audit.log import AuditLog
from invite_sweeper.audit.reader import DamagedFile, FileChain
from invite_sweeper.endings import COMPLETE_EXIT_CODES, Reason
from invite_sweeper.errors import AuditLogError, GuardRefused, UsageError


async def read_back_plan(log: AuditLog) -> tuple[Planned, ...]:
    """Sync the log, and return the planned lines as the file has them, in the order written.

    The hash of the last line is known, and each line contains the hash of the line before: what
    is returned is what this run wrote.

    Raises:
        AuditLogError: The lines cannot be written, or the file was changed since.
    """
    last_hash = log.last_hash
    await log.sync()
    chain, planned = FileChain(log.file.path), []
    try:
        for line in chain:
            if line.header.event == Planned.event:
                planned.append(chain.decode(line))
            if line.hash == last_hash:
                return tuple(each for each in planned if isinstance(each, Planned))
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
