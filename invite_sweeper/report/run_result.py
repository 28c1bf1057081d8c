"""What `--output json` prints of a run: the first and the last line of its file, and the plan."""

from typing import Any, Final

import msgspec
from msgspec import structs

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import Planned, RunStarted
from invite_sweeper.audit.totals import OrganizationResult, RunFinished
from invite_sweeper.report.handover import PlanToApply
from invite_sweeper.report.readback import RunRows
from invite_sweeper.report.rows import NO_OUTCOME, Row

MAX_PLANNED: Final = 10_000
"""Planned invitations that the JSON result contains; the audit log has all."""


class PlannedResult(Planned, frozen=True, kw_only=True):
    """A planned invitation, and what became of it.

    Attributes:
        outcome: Only after a sweep.
    """

    outcome: str | None = None


_FIELDS_OF_START: Final = structs.fields(RunStarted)
RunResult: Final = msgspec.defstruct(
    "RunResult",
    [
        ("run_id", str),
        *((of_start.name, of_start.type, of_start.default) for of_start in _FIELDS_OF_START),
        ("organizations", tuple[OrganizationResult, ...], ()),
        ("audit_file", str),
        ("audit_last_hash", str),
        ("invitations", tuple[PlannedResult, ...], ()),
        ("truncated", bool, False),
        ("plan", PlanToApply | None, None),
    ],
    bases=(RunFinished,),
    namespace={
        "__doc__": """What `--output json` prints: the first and the last line, and the plan.

        Attributes:
            audit_file: The file of the run.
            audit_last_hash: SHA-256 of its last line, to be kept elsewhere.
            invitations: The planned invitations, at most 10,000.
            truncated: There are more, or the file could not be read; it has all.
            plan: Of a dry run; None where no sweep can apply it.
        """
    },
    frozen=True,
    kw_only=True,
)


def result_json(
    record: RunRecord, run_rows: RunRows, plan: PlanToApply | None = None
) -> dict[str, Any]:
    """Return what `--output json` prints of a run that has ended, a `RunResult`.

    Args:
        run_rows: The invitations in the run's file.
        plan: Of a dry run, if a sweep can apply it.
    """
    assert record.end is not None  # noqa: S101 - it has ended
    planned = [row for row in run_rows.invitations.values() if isinstance(row.event, Planned)]
    has_file = record.file.number > 0  # a command that began no run has none
    is_cut = has_file and not run_rows.is_whole
    end = structs.asdict(record.end)
    return {
        **end,
        "run_id": record.run_id,
        **structs.asdict(record.start),
        "organizations": end["organizations"],  # the first line has their ids alone
        "audit_file": str(record.file.path),
        "audit_last_hash": record.last_hash,
        "invitations": [planned_result(row) for row in planned[:MAX_PLANNED]],
        "truncated": len(planned) > MAX_PLANNED or is_cut,
        "plan": plan,
    }


def planned_result(row: Row) -> PlannedResult:
    """Return a planned invitation, and what became of it."""
    is_known = row.outcome not in {"", NO_OUTCOME}
    outcome = row.outcome if is_known else None
    return PlannedResult(**structs.asdict(row.event), outcome=outcome)
