"""The picture of the report as geometry: the nights.

It has no text: it is stretched to the width of the page, and its labels are HTML beside it. A table
has the same numbers. Units are those of the SVG's view box: 100 high, from the
top down.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.report.nights import COUNTED, Night

HEIGHT: Final = 100
_GAP: Final = 0.1
"""Of a column, left free on each side."""
_STROKE: Final = 0.4
"""To each side of the middle of a column."""


class Bar(NamedTuple):
    """A part of a column.

    Attributes:
        style: What it counts: a class of the style sheet.
    """

    x: float
    y: float
    width: float
    height: float
    style: str


class Chart(NamedTuple):
    """A picture.

    Attributes:
        width: Of the view box.
        bars: Columns in parts, one above the other.
        lines: The points of each unbroken piece of a line; `x,y` with blanks between.
        highest: What the full height stands for, of the columns.
        highest_of_line: The same of the line, which has a scale of its own.
        text: What it shows, for screen readers.
    """

    width: float
    bars: tuple[Bar, ...]
    lines: tuple[str, ...]
    highest: int
    highest_of_line: int
    text: str


def nights_chart(nights: Sequence[Night]) -> Chart:
    """Return the nights: what was done as columns, what was pending as a line."""
    columns = [_parts_of(night) for night in nights]
    pending = [night.pending for night in nights]
    highest_of_line = max((count for count in pending if count is not None), default=0)
    highest = max(_height(column) for column in columns)
    text = (
        f"Columns: {', '.join(COUNTED)} in each night, {highest:,} at most. "
        f"Line: pending after it, {highest_of_line:,} at most."
    )
    return Chart(
        width=len(nights),
        bars=tuple(_bars(columns, highest)),
        lines=tuple(_lines(pending, highest_of_line)),
        highest=highest,
        highest_of_line=highest_of_line,
        text=text,
    )


class _Part(NamedTuple):
    """A part of a column: what it counts, and how much."""

    style: str
    number: int


_Column: TypeAlias = Sequence[_Part]
"""The lowest part first."""


def _parts_of(night: Night) -> _Column:
    return [_Part(name, getattr(night, name)) for name in COUNTED]


def _height(column: _Column) -> int:
    return sum(part.number for part in column)


def _bars(columns: Iterable[_Column], highest: int) -> Iterator[Bar]:
    """Yield the parts of columns that are one unit wide."""
    unit = HEIGHT / max(highest, 1)
    width = 1 - 2 * _GAP
    for number, column in enumerate(columns):
        x = round(number + _GAP, 2)
        top = float(HEIGHT)  # downwards, as in the view box
        for part in column:
            height = part.number * unit
            top -= height
            if part.number:
                yield Bar(x, round(top, 2), width, round(height, 2), part.style)


def _lines(values: Sequence[int | None], highest: int) -> Iterator[str]:
    """Yield each piece of a line through the middles of the columns; None interrupts it."""
    unit = HEIGHT / max(highest, 1)
    points: list[_Point] = []
    for number, value in enumerate(values):
        if value is not None:
            points.append(_Point(number + 0.5, round(HEIGHT - value * unit, 2)))
        elif points:
            yield _polyline(points)
            points = []
    if points:
        yield _polyline(points)


class _Point(NamedTuple):
    x: float
    y: float


def _polyline(points: Sequence[_Point]) -> str:
    """Return the points of a line; a single night is a short stroke."""
    if len(points) == 1:
        middle = points[0]
        left = _Point(middle.x - _STROKE, middle.y)
        right = _Point(middle.x + _STROKE, middle.y)
        points = (left, right)
    return " ".join(f"{point.x},{point.y}" for point in points)
