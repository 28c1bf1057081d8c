"""Tables of a report, for all renderings.

Every text from a log is truncated and its unprintable characters are escaped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

from invite_sweeper.report.html.charts import Chart
from invite_sweeper.report.html.model import InvitationRow, Truncated
from invite_sweeper.text import escape_unprintable, truncate

T = TypeVar("T")
Kind: TypeAlias = Literal["text", "prose", "number", "date", "state", "code"]

MAX_CELL_LENGTH = 60
"""Maximum characters shown in a cell; the full value is in its title."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table.

    Attributes:
        shown: Truncated and escaped text.
        full: The full text if `shown` is truncated; else empty.
        rank: Sort key if `shown` is a number or a date.
    """

    shown: str
    full: str = ""
    rank: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; its kind decides how it is aligned, sorted and filtered."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        key: Unique on the page; lower-case letters and hyphens.
        total: Number of rows, shown or not.
        filtered: Whether the page has a filter for it.
    """

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    filtered: bool = False

    @property
    def more(self) -> int:
        """Number of rows left out."""
        return self.total - len(self.rows)

    @property
    def states(self) -> tuple[str, ...]:
        """Distinct values of the `state` column; empty without such a column."""
        for index, column in enumerate(self.columns):
            if column.kind == "state":
                return tuple(sorted({row[index].shown for row in self.rows}))
        return ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart with the table behind it."""

    chart: Chart
    grid: Grid


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page."""

    key: str
    heading: str
    sentences: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    grids: tuple[Grid, ...] = ()


Columns: TypeAlias = tuple[tuple[Column, Callable[[T], Cell]], ...]
"""A table's columns, each with the function that returns its cell for a row."""
EntryColumn: TypeAlias = tuple[Column, Callable[[InvitationRow], Cell]]
"""A column of a table of invitations."""


def text_cell(text: str, limit: int = MAX_CELL_LENGTH) -> Cell:
    """Return the cell of a text from a log."""
    printable = escape_unprintable(text)
    cut = truncate(printable, limit)
    return Cell(cut, printable if cut != printable else "")


def count_cell(number: int | None) -> Cell:
    """Return the cell of a count; empty if unknown."""
    return Cell("", rank="") if number is None else Cell(f"{number:,}", rank=str(number))


def age_cell(days: float | None) -> Cell:
    """Return the cell of an age in days; empty if the date is missing or unreadable."""
    return Cell("") if days is None else Cell(f"{days:,.1f}", rank=repr(days))


def time_cell(when: datetime | None) -> Cell:
    """Return the cell of a time in UTC, to the minute."""
    return Cell("") if when is None else Cell(f"{when:%Y-%m-%d %H:%M}", rank=when.isoformat())


def build_grid(
    key: str,
    caption: str,
    columns: Columns[T],
    found: Truncated[T],
    *,
    filtered: bool = False,
) -> Grid:
    """Return a table of the rows; with one row it has no filter."""
    return Grid(
        key=key,
        caption=caption,
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(cell(row) for _, cell in columns) for row in found.rows),
        total=found.total,
        filtered=filtered and len(found.rows) > 1,
    )
