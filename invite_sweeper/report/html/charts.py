"""Stacked bars: where each bar, tick and label of a chart stands.

`chart.svg.j2` draws what `layout` returns, without a style, script, link or identifier: the
page's style sheet sets the colours in light and dark, and its Content-Security-Policy forbids
the rest. No text of a log is part of a drawing: the legend stands beside it, as HTML.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

WIDTH, HEIGHT = 720, 300
TICKS = 5
REST_TONE = 5
"""The last tone of the style sheet: grey."""

_TOP, _RIGHT, _BOTTOM = 12, 36, 28
_GAP = 16
"""Around the labels at the left of the axis."""
_LETTER = 8
"""Width of a letter of a label, with its share of the space between two labels."""
_FILLED, _WIDEST = 0.8, 96
"""Share of the space per label that its bar takes, and how wide a bar may be."""

Row: TypeAlias = tuple[str, tuple[int, ...]]
"""A name and its numbers, one a label."""


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a chart.

    Attributes:
        name: For the legend; may be hostile.
        values: One a label.
        tone: Index of the colour in the page's style sheet.
    """

    name: str
    values: tuple[int, ...]
    tone: int


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars: one a label, the series on top of each other.

    Attributes:
        title: What a screen reader reads in place of the drawing.
        labels: Constants or dates, never text of a log.
    """

    title: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]

    @property
    def total(self) -> int:
        """All bars together."""
        return sum(sum(series.values) for series in self.series)


@dataclass(frozen=True, slots=True)
class Bar:
    """One rectangle, in units of the drawing; `y` is its upper edge."""

    label: str
    value: int
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of a chart stand, in units of the drawing.

    Attributes:
        left: The vertical axis.
        right: Where the horizontal lines end.
        floor: The horizontal axis.
        ticks: Text and height of each horizontal line.
        labels: Each label that is written, and the middle of its bar.
        bars: The bars of each series.
    """

    left: float
    right: float
    floor: float
    ticks: tuple[tuple[str, float], ...]
    labels: tuple[tuple[str, float], ...]
    bars: tuple[tuple[Bar, ...], ...]


def layout(chart: Chart) -> Layout:
    """Place each bar, tick and label; of labels that would overlap, write every n-th only."""
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
    """Return whole numbers in round steps, from 0 to the highest or just over it."""
    steps = (base * 10**power for power in range(20) for base in (1, 2, 5))
    step = next(step for step in steps if step * TICKS >= highest)
    return tuple(range(0, step * -(-max(highest, 1) // step) + 1, step))


def stacked(rows: Sequence[Row], rest: Row) -> tuple[Series, ...]:
    """Return a series for each row, and one for all others if any of its numbers is not zero."""
    named = [Series(name, values, tone) for tone, (name, values) in enumerate(rows)]
    if any(rest[1]):
        named.append(Series(rest[0], rest[1], tone=REST_TONE))
    return tuple(named)
