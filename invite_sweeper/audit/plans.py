"""Plans of earlier runs: the saved one that a sweep applies, and the last one, to compare with.

A saved plan is the file of a finished dry run. Its whole chain is checked, and every line decoded:
what was edited or cut is refused. The last plan of a scope is read again from the file of its run.
"""

import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from invite_sweeper.advice import Advisor
from invite_sweeper.audit.compact import EntryLog
from invite_sweeper.audit.events import Planned, RunStarted
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.intents import IntentLedger
from invite_sweeper.audit.record import RunRecord, follow_run
from invite_sweeper.audit.run_file import DamagedFile, RunFile
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.endings import COMPLETE_EXIT_CODES, ExitCode, Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import InvitationKey

_FIRST_LINE: Final = re.compile(
    rb'\{"ts":"[^"]*","run_id":"([^"]*)","seq":1,"event":"run_started","prev":"[0-9a-f]{64}",'
    rb'"mode":"([a-z-]+)"'
)
"""How the file of a run begins, up to its mode."""
_PLANNING_CODES: Final = COMPLETE_EXIT_CODES | {ExitCode.REFUSED}
"""Exit codes of runs with a whole plan; a run that a guard refused may have one."""


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


def read_plan(path: Path, *, advisor: Advisor | None = None) -> SavedPlan:
    """Return the plan in the file of a dry run, whose whole chain is checked.

    Args:
        advisor: Makes the command that makes another plan; None without options.

    Raises:
        GuardRefused: It is not the whole file of a dry run that made a plan.
    """
    advisor = advisor or Advisor()
    chain = FileChain(RunFile.of(path), hashed=True)
    record = RunRecord(chain.file)
    # Each line is decoded, also one that the plan does not need: else the plan is refused.
    events = follow_run(record, chain, IntentLedger())
    try:
        planned = tuple(event for event in events if isinstance(event, Planned))
    except DamagedFile as error:
        raise _refused(f"The plan {path} was changed: {error.message}", advisor) from None
    check_made_plan(record, advisor)
    return SavedPlan(path, record.run_id, record.start, planned, chain.sha256)


def check_made_plan(record: RunRecord, advisor: Advisor | None = None) -> None:
    """Raise GuardRefused if a run is not a dry run that made a plan which a sweep may apply.

    Args:
        record: Of a file that was read to its end.
        advisor: As in `read_plan`.
    """
    advisor = advisor or Advisor()
    path = record.file.path
    end = record.end
    if record.mode != "dry-run":
        raise _refused(f"{path} is not the file of a dry run.", advisor)
    if end is None:
        raise _refused(f"The plan {path} was cut off, or its dry run did not finish.", advisor)
    if not end.plan_made or end.exit_code not in COMPLETE_EXIT_CODES:
        raise _refused(f"The dry run of {path} ended with exit code {end.exit_code}.", advisor)


def _refused(message: str, advisor: Advisor) -> GuardRefused:
    """Return the refusal of a saved plan, with the command that makes another one."""
    hint = f"Create a new plan with: {advisor.new_plan()}"
    return GuardRefused(message, hint=hint, reasons=(Reason.PLAN,))


class PlanScope(NamedTuple):
    """What two runs have in common if their plans can be compared."""

    policy_sha256: str
    organizations: frozenset[str]
    base_url: str


class LastPlan(NamedTuple):
    """The last whole plan of a scope.

    Attributes:
        keys: Of all entries of each planned invitation, by the key that names it.
        deleted: The entries that its run or a later one has deleted.
    """

    run_id: str
    start: RunStarted
    end: RunFinished
    keys: Mapping[InvitationKey, tuple[InvitationKey, ...]]
    deleted: frozenset[InvitationKey]


def scope_of_plan(start: RunStarted, end: RunFinished) -> PlanScope | None:
    """Return the scope in which a run planned everything that is stale; None if it did not.

    A sweep of a saved plan and a trimmed plan list only a part of it.
    """
    if start.mode == "restore" or start.policy_sha256 is None:
        return None
    if start.plan_sha256 is not None or end.trimmed:
        return None
    if not end.plan_made or end.exit_code not in _PLANNING_CODES:
        return None
    return PlanScope(start.policy_sha256, frozenset(start.organizations), start.base_url)


def read_last_plan(file: RunFile, ended: EntryLog, position: int) -> LastPlan | None:
    """Return the plan in the file of a run; None where the run did not finish.

    Args:
        ended: What runs did to entries; `position` is that in it before the run ended any.

    Raises:
        DamagedLog: The file was changed since it was read.
    """
    keys: dict[InvitationKey, tuple[InvitationKey, ...]] = {}
    entries: set[InvitationKey] = set()
    start: RunStarted | None = None
    end: RunFinished | None = None
    for _, event in FileChain(file).events():
        if isinstance(event, RunStarted):
            start = event
        elif isinstance(event, Planned):
            keys[event.key] = event.keys
            entries.update(event.keys)
        elif isinstance(event, RunFinished):
            end = event
    if start is None or end is None:
        return None
    deleted = ended.deleted_since(position, entries)
    return LastPlan(file.run_id, start, end, keys, frozenset(deleted))
