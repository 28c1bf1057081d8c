"""Compute the layout of stacked bar charts.

`chart.svg.j2` draws the result of `layout` without styles, scripts, links or ids: the page's
style sheet sets the colours, and its Content-Security-Policy forbids the rest. Drawings
contain no text from a log: the legend is HTML.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

WIDTH, HEIGHT = 720, 300
TICKS = 5
REST_TONE = 5
"""The last colour of the style sheet: grey."""

_TOP, _RIGHT, _BOTTOM = 12, 36, 28
_GAP = 16
"""Space around the labels left of the axis."""
_LETTER = 8
"""Width of a label's letter, including its share of the space between labels."""
_FILLED, _WIDEST = 0.8, 96
"""Share of a label's space that its bar takes, and the maximum width of a bar."""

Row: TypeAlias = tuple[str, tuple[int, ...]]
"""A name and its numbers, one per label."""


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart.

    Attributes:
        name: Text of the legend; may be hostile.
        values: One per label.
        tone: Index of the colour in the page's style sheet.
    """

    name: str
    values: tuple[int, ...]
    tone: int


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars: one per label, the series on top of each other.

    Attributes:
        title: Text for screen readers.
        labels: Constants or dates, never text from a log.
    """

    title: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]

    @property
    def total(self) -> int:
        """Sum of all bars."""
        return sum(sum(series.values) for series in self.series)


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle, in drawing units; `y` is its upper edge."""

    label: str
    value: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Positions of a chart's parts, in drawing units.

    Attributes:
        left: Position of the vertical axis.
        right: End of the horizontal lines.
        floor: Position of the horizontal axis.
        ticks: Text and position of each horizontal line.
        labels: Each visible label and the middle of its bar.
        bars: The bars of each series.
    """

    left: float
    right: float
    floor: float
    ticks: tuple[tuple[str, float], ...]
    labels: tuple[tuple[str, float], ...]
    bars: tuple[tuple[Bar, ...], ...]


def layout(chart: Chart) -> Layout:
    """Return the layout; labels that would overlap are thinned to every n-th."""
    columns = list(zip(*(series.values for series in chart.series), strict=True))
    scale = ticks(max(map(sum, columns), default=0))
    left, right, floor = _GAP + _LETTER * len(f"{scale[-1]:,}"), WIDTH - _RIGHT, HEIGHT - _BOTTOM
    unit, step = (floor - _TOP) / scale[-1], (right - left) / len(columns)
    width = min(step * _FILLED, _WIDEST)
    middles = [left + step * (column + 0.5) for column in range(len(columns))]
    every = math.ceil(_LETTER * max(map(len, chart.labels)) / step)

    def bar(series: int, column: int) -> Bar:
        values = columns[column]
        return Bar(
            label=chart.labels[column],
            value=values[series],
            x=middles[column] - width / 2,
            y=floor - unit * sum(values[: series + 1]),
            width=width,
            height=unit * values[series],
        )

    return Layout(
        left=left,
        right=right,
        floor=floor,
        ticks=tuple((f"{tick:,}", floor - unit * tick) for tick in scale),
        labels=tuple(zip(chart.labels, middles, strict=True))[::every],
        bars=tuple(
            tuple(bar(series, column) for column in range(len(columns)))
            for series in range(len(chart.series))
        ),
    )


def ticks(highest: int) -> tuple[int, ...]:
    """Return whole numbers in round steps, from 0 to at least the highest value."""
    steps = (base * 10**power for power in range(20) for base in (1, 2, 5))
    step = next(step for step in steps if step * TICKS >= highest)
    return tuple(range(0, step * -(-max(highest, 1) // step) + 1, step))


def stacked(rows: Sequence[Row], rest: Row) -> tuple[Series, ...]:
    """Return a series for each row, and one for the rest if any of its numbers is not zero."""
    named = [Series(name, values, tone) for tone, (name, values) in enumerate(rows)]
    if any(rest[1]):
        named.append(Series(rest[0], rest[1], tone=REST_TONE))
    return tuple(named)
