"""Columns and cells as data, which the terminal, the page and Markdown lay out."""

from collections.abc import Callable
from datetime import datetime
from typing import Generic, Literal, NamedTuple, TypeAlias, TypeVar

from invite_sweeper.text import escape_unprintable

T = TypeVar("T")


Style: TypeAlias = Literal[
    "plain", "note", "strong", "privileged", "good", "info", "warning", "bad"
]
Kind: TypeAlias = Literal["text", "address", "prose", "number", "date", "state", "code"]


class Line(NamedTuple):
    """One line of a cell."""

    text: str
    style: Style = "plain"


class Cell(NamedTuple):
    """One value of a table.

    Attributes:
        rank: Sort key if the text is a number or a date.
    """

    lines: tuple[Line, ...]
    rank: str = ""

    @property
    def text(self) -> str:
        """The lines as one text."""
        return ", ".join(line.text for line in self.lines)


class Column(NamedTuple, Generic[T]):
    """A column of a table.

    Attributes:
        kind: Decides how it is aligned and sorted.
        max_width: Terminal cells; longer text wraps.
    """

    heading: str
    cell: Callable[[T], Cell]
    kind: Kind = "text"
    max_width: int = 24


def text_cell(text: str, style: Style = "plain") -> Cell:
    """Return the cell of a text; unprintable characters are escaped."""
    return Cell((Line(escape_unprintable(text), style),) if text else ())


def count_cell(number: int | None) -> Cell:
    """Return the cell of a count; empty if unknown."""
    return Cell(()) if number is None else Cell((Line(f"{number:,}"),), str(number))


def age_cell(days: float | None) -> Cell:
    """Return the cell of an age in days; `?` if it is unknown."""
    return Cell((Line(format_age(days)),), "" if days is None else repr(days))


def time_cell(when: datetime | None) -> Cell:
    """Return the cell of a time in UTC, to the minute."""
    return Cell((Line(f"{when:%Y-%m-%d %H:%M}"),), when.isoformat()) if when else Cell(())


def format_age(age_days: float | None) -> str:
    """Return an age in days, or `?` if it is unknown."""
    return "?" if age_days is None else f"{age_days:,.1f} d"
