"""Tables as data: columns in one order everywhere, one row a line, and texts that are safe to show.

Terminal, pipe, Markdown and page render them. A cell is masked before anything is cut, and has no
control characters and no two blanks together: a row of a pipe can be split at them.
"""

from collections.abc import Callable, Iterable
from itertools import compress
from typing import Any, Final, Generic, Literal, NamedTuple, Self, TypeAlias, TypeVar

from invite_sweeper.endings import Style
from invite_sweeper.redaction import SECRETS
from invite_sweeper.text import escape_unprintable, truncate

_T = TypeVar("_T")
Kind: TypeAlias = Literal["text", "person", "date", "number", "code", "state"]
Fit: TypeAlias = Literal["cut", "falls", "id"]
_MAX_NAME_LENGTH: Final = 120
_MAX_CELL_LENGTH: Final = 2_000
"""Twice the longest name that is not kept for its length."""


def display_text(value: str | None, max_length: int = _MAX_NAME_LENGTH) -> str:
    """Return a name as it is shown: without secrets, truncated, unprintable characters escaped."""
    return escape_unprintable(truncate(SECRETS.redact(value or ""), max_length))


class Cell(NamedTuple):
    """What a row has in a column; empty without a text."""

    text: str
    style: Style = "plain"


class Column(NamedTuple, Generic[_T]):
    """A column of a table.

    Attributes:
        cell: Returns what a record has in it.
        kind: A person is cut last, and an id never; a number stands to the right.
        fit: What becomes of it on a terminal that is too narrow: its cells are cut, or it falls
            away. An id is shown only on request, and falls away first.
    """

    heading: str
    cell: Callable[[_T], Cell | str | None]
    kind: Kind = "text"
    fit: Fit = "cut"


class Table(NamedTuple):
    """A table.

    Attributes:
        key: Unique in a document; lower-case letters and hyphens.
        rows: The cells of each row, in the order of the columns.
    """

    key: str
    columns: tuple[Column[Any], ...]
    rows: tuple[tuple[Cell, ...], ...]

    @classmethod
    def of(cls, key: str, columns: Iterable[Column[_T]], records: Iterable[_T]) -> Self:
        """Return the table of some records; a column without a text in any of them is left out."""
        told = tuple(columns)
        rows = [[_safe(column.cell(record)) for column in told] for record in records]
        is_used = [any(cell.text for cell in cells) for cells in zip(*rows, strict=True)]
        shown = tuple(compress(told, is_used))
        return cls(key, shown, tuple(tuple(compress(row, is_used)) for row in rows))


def _safe(value: Cell | str | None) -> Cell:
    """Return a cell whose text is one line that is safe to show."""
    text, style = value if isinstance(value, Cell) else Cell(value or "")
    return Cell(" ".join(display_text(text, _MAX_CELL_LENGTH).split()), style)
