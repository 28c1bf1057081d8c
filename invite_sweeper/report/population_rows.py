"""The rows of a population: every invitation that a run saw, with its decision, as CSV or JSONL."""

import csv
import io
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Final

from invite_sweeper.audit.events import InvitationFields
from invite_sweeper.audit.limits import to_loggable_json
from invite_sweeper.json_text import parse_json
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.text import escape_unprintable, neutralize_formula


class PopulationRow(InvitationFields, frozen=True, kw_only=True, omit_defaults=False):
    """One invitation of the population.

    Attributes:
        complete: Its list was read to the end.
        decision: `stale` or `kept`.
        reason: The rule's name, or the key of `kept_by_reason`.
    """

    complete: bool = True
    decision: str
    reason: str | None


_FIRST: Final = (
    "source",
    "complete",
    "invitation_id",
    "project_id",
    "project_name",
    "org_id",
    "username",
    "roles",
    "inviter",
    "created_at",
    "expires_at",
    "age_days",
    "status",
    "decision",
    "reason",
)
COLUMNS: Final = tuple(dict.fromkeys((*_FIRST, *PopulationRow.__struct_fields__)))
"""The header row of a CSV file."""


def population_row(decision: Decision, now: datetime) -> PopulationRow:
    """Return the row of an invitation."""
    return PopulationRow.from_invitation(
        decision.invitation,
        now,
        decision="stale" if decision.stale else "kept",
        reason=decision.rule or decision.keep_reason,
    )


class JsonRows:
    """One JSON object for each row."""

    header = b""

    def row(self, row: PopulationRow) -> bytes:
        """Return a row as a line, without secrets and with long values cut visibly."""
        return to_loggable_json(row) + b"\n"


class CsvRows:
    """A header row, then the rows; no text becomes a formula of a spreadsheet."""

    def __init__(self) -> None:
        self._buffer = io.StringIO()
        self._writer = csv.writer(self._buffer, lineterminator="\n")
        self.header = self._line(COLUMNS)

    def row(self, row: PopulationRow) -> bytes:
        """Return the line of a row."""
        safe = parse_json(to_loggable_json(row))
        return self._line(_cell(safe[name]) for name in COLUMNS)

    def _line(self, cells: Iterable[str]) -> bytes:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._writer.writerow(cells)
        return self._buffer.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: object) -> str:
    """Return a value as text on one line that no spreadsheet calculates."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        value = ", ".join(each if isinstance(each, str) else ":".join(each) for each in value)
    if not isinstance(value, str):
        return str(value)
    return _AFTER_SEMICOLON.sub(";'", neutralize_formula(escape_unprintable(value)))


_AFTER_SEMICOLON: Final = re.compile(r";(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")
"""A cell starts here where a spreadsheet separates cells by semicolons; quotes do not help."""
