"""The plan, streamed back from the audit log it was written to."""

from collections.abc import Iterator
from pathlib import Path

import orjson

from invite_sweeper.audit.record import PlannedSpan, planned_invitation
from invite_sweeper.errors import AuditUnwritable
from invite_sweeper.inventory import Invitation


def read_planned(path: Path, span: PlannedSpan, run_id: str) -> Iterator[tuple[Invitation, str]]:
    """One project's planned invitations and the rules' names, in the order of the plan.

    Streams: one line in memory at a time.

    Raises:
        AuditUnwritable: The file does not hold, in that place, what this run wrote there.
            What was given out before was planned; nothing else is.
    """
    read = 0
    try:
        with path.open("rb") as file:
            file.seek(span.start)
            while file.tell() < span.stop:
                yield _planned(file.readline(), span, run_id)
                read += 1
            is_whole = read == span.count and file.tell() == span.stop
    except (OSError, ValueError) as error:
        raise _changed(path, str(error)) from error
    if not is_whole:
        raise _changed(path, f"{read} lines where {span.count} were written")


def _planned(line: bytes, span: PlannedSpan, run_id: str) -> tuple[Invitation, str]:
    record = orjson.loads(line)
    if not isinstance(record, dict):
        raise ValueError("a line is no object")  # noqa: TRY004  one kind of error for a line
    expected = {"event": "planned", "run_id": run_id, "project_id": span.project_id}
    for name, value in expected.items():
        if record.get(name) != value:
            raise ValueError(f"`{name}` is {record.get(name)!r} where it was {value!r}")
    return planned_invitation(record)


def _changed(path: Path, why: str) -> AuditUnwritable:
    return AuditUnwritable(
        f"The plan in the audit log {path} is not as this run wrote it: {why}.",
        state="Each deletion that was sent has its intent in it; none is sent after this.",
        mend="See what `audit verify` says of it.",
    )
