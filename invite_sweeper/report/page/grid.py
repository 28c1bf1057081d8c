"""Tables and sections as both renderings take them: every text cut and made visible."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias, TypeVar

from invite_sweeper.report.page.charts import Chart
from invite_sweeper.report.page.rows import Cut
from invite_sweeper.report.values import shortened, visible

T = TypeVar("T")
Kind: TypeAlias = Literal["text", "prose", "number", "date", "state", "code"]

WIDEST = 60
"""Characters of a value that a cell shows; the rest is in its title."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table.

    Attributes:
        shown: Cut and made visible.
        full: The whole of what is known of it, where `shown` was cut; else empty.
        rank: What to sort by, where `shown` is a number or a date.
    """

    shown: str
    full: str = ""
    rank: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A table's column; its kind says how it is set, sorted and filtered."""

    name: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        key: Unique on the page; lower-case letters and hyphens.
        total: Rows that there are, shown or not.
        filtered: Whether the page offers a filter for it.
    """

    key: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    filtered: bool = False

    @property
    def more(self) -> int:
        """How many rows are left out."""
        return self.total - len(self.rows)

    @property
    def states(self) -> tuple[str, ...]:
        """Values of the `state` column, each once; empty where there is none to choose from."""
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
    """A part of the page under one heading."""

    key: str
    heading: str
    sentences: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    grids: tuple[Grid, ...] = ()


Columns: TypeAlias = tuple[tuple[Column, Callable[[T], Cell]], ...]
"""A table's columns, each with the function that makes its cell of a row."""


def value(written: str, limit: int = WIDEST) -> Cell:
    """A text out of a log."""
    seen = visible(written)
    cut = shortened(seen, limit)
    return Cell(cut, seen if cut != seen else "")


def count(number: int | None) -> Cell:
    """A number of things; empty where nobody knows."""
    return Cell("", rank="") if number is None else Cell(f"{number:,}", rank=str(number))


def age(days: float | None) -> Cell:
    """An age in days; empty where the date is missing or unreadable."""
    return Cell("") if days is None else Cell(f"{days:,.1f}", rank=repr(days))


def moment(when: datetime | None) -> Cell:
    """An instant to the minute, UTC."""
    return Cell("") if when is None else Cell(f"{when:%Y-%m-%d %H:%M}", rank=when.isoformat())


def grid(
    key: str,
    caption: str,
    columns: Columns[T],
    cut: Cut[T],
    *,
    filtered: bool = False,
) -> Grid:
    """Return the rows as a table; it has a filter if `filtered` and more than one row."""
    return Grid(
        key=key,
        caption=caption,
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(cell(row) for _, cell in columns) for row in cut.rows),
        total=cut.total,
        filtered=filtered and len(cut.rows) > 1,
    )
