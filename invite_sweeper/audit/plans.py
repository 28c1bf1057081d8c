"""The saved plan that a sweep applies: the file of a finished dry run.

Its whole chain is checked, and every line decoded: what was edited or cut is refused.
"""

import re
from collections.abc import Container
from pathlib import Path
from typing import Final, NamedTuple

from invite_sweeper.audit.events import Planned, RunStarted
from invite_sweeper.audit.file_chain import DamagedFile, FileChain, RunFile
from invite_sweeper.audit.record import Fold, RunRecord
from invite_sweeper.endings import COMPLETE_EXIT_CODES, Reason
from invite_sweeper.errors import GuardRefused

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
    """Return the plan in the file of a dry run, whose whole chain is checked.

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
