"""The rows of tables over many runs: the newest of them, and how many there were.

Memory holds as many rows as a table shows, for any number of nights.
"""

from collections import deque
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Self

from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.report.nights import NightRun
from invite_sweeper.report.readback import MAX_TABLE_ROWS
from invite_sweeper.report.rows import Row, sorted_rows


@dataclass(slots=True)
class NightRow(Row):
    """A row of a table over many runs.

    Attributes:
        run: The number of its run.
        night: On which that run began.
    """

    run: int = 0
    night: date | None = None

    @classmethod
    def of(cls, row: Row, run: NightRun) -> Self:
        """Return the row of a run."""
        fields = (row.event, row.labels, row.outcome, row.detail, row.rule, row.due)
        return cls(*fields, run.number, run.night)


class KeepEntry(NamedTuple):
    """What an entry of `keep` kept in the runs of a period, as each run counted it.

    Attributes:
        runs: Runs in which it kept an invitation.
        most: In one of them.
        newest: In the last of them.
        first: The night of the first of them, as `last` of the last.
        until: The day after which it no longer holds; None for none, or where it is not known.
    """

    name: str
    runs: int
    most: int
    newest: int
    first: date
    last: date
    until: date | None = None


def add_kept(entries: dict[str, KeepEntry], end: RunFinished, night: date) -> None:
    """Add what the entries of `keep` kept in a run to that of the runs before it."""
    for reason, count in end.kept_by_reason.items():
        kind, _, name = reason.partition(":")
        if kind != "keep":
            continue
        before = entries.get(name, KeepEntry(name, 0, 0, 0, night, night))
        entries[name] = before._replace(
            runs=before.runs + 1, most=max(before.most, count), newest=count, last=night
        )


class NewestRows:
    """The newest rows of a table, those that failed before all others, and how many there were."""

    def __init__(self) -> None:
        self.total = 0
        self._failed = deque[NightRow](maxlen=MAX_TABLE_ROWS)
        self._others = deque[NightRow](maxlen=MAX_TABLE_ROWS)

    def add(self, row: NightRow) -> None:
        """Add a row of the newest run so far."""
        self.total += 1
        newest = self._failed if row.has_failed else self._others
        newest.append(row)

    def rows(self) -> list[NightRow]:
        """Return the rows: what failed, then the newest run first."""
        rows = sorted_rows([*self._failed, *self._others])
        # Sorting is stable: rows of one run stay in their order.
        rows.sort(key=lambda row: (not row.has_failed, -row.run))
        return rows[:MAX_TABLE_ROWS]


class KeptRows:
    """What a keep entry kept, once for each entry, as of the last run that recorded it.

    Of all that were kept, memory holds a hash each, and the rows of the newest.
    """

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self._newest: dict[int, NightRow] = {}

    @property
    def total(self) -> int:
        """How many there were."""
        return len(self._hashes)

    def add(self, row: NightRow) -> None:
        """Add what a keep entry kept in the newest run so far."""
        key = hash((row.event.key, row.detail))
        self._hashes.add(key)
        self._newest.pop(key, None)
        self._newest[key] = row  # the last one in the order of insertion
        if len(self._newest) > MAX_TABLE_ROWS:
            oldest = next(iter(self._newest))
            del self._newest[oldest]

    def rows(self) -> list[NightRow]:
        """Return the rows, the newest run first."""
        return sorted(sorted_rows(self._newest.values()), key=lambda row: -row.run)
