"""The two pictures of the report as geometry: the nights, and the ages of what is pending.

A picture has no text: it is stretched to the width of the page, and its labels are HTML beside it.
Each has a table with the same numbers. Units are those of the SVG's view box: 100 high, from the
top down.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final, NamedTuple, TypeAlias

from invite_sweeper.audit.events import Planned
from invite_sweeper.policy import Policy
from invite_sweeper.report.nights import COUNTED, Night
from invite_sweeper.report.readback import RecordedRun, kept_lines

HEIGHT: Final = 100
_GAP: Final = 0.1
"""Of a column, left free on each side."""
_STROKE: Final = 0.4
"""To each side of the middle of a column."""
_MAX_GROUPS: Final = 30
_WIDTHS: Final = (1, 2, 5, 7, 10, 14, 30, 60, 100, 365)
"""Days in a group of ages."""


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


class VerticalMark(NamedTuple):
    """A vertical line with what it stands for."""

    x: float
    text: str


class Chart(NamedTuple):
    """A picture.

    Attributes:
        width: Of the view box.
        bars: Columns in parts, one above the other.
        lines: The points of each unbroken piece of a line; `x,y` with blanks between.
        marks: Vertical lines.
        highest: What the full height stands for, of the columns.
        highest_of_line: The same of the line, which has a scale of its own.
        text: What it shows, for screen readers.
    """

    width: float
    bars: tuple[Bar, ...]
    lines: tuple[str, ...]
    marks: tuple[VerticalMark, ...]
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
        marks=(),
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


# Ages --------------------------------------------------------------------------------------------


class AgeGroup(NamedTuple):
    """How many pending invitations have an age.

    Attributes:
        label: The ages, in whole days.
    """

    label: str
    stale: int
    kept: int


class Ages(NamedTuple):
    """The ages of what a sweep or a dry run left pending.

    Attributes:
        groups: The youngest first.
        known: How many have a line in the file, and a date.
        chart: The picture.
    """

    groups: tuple[AgeGroup, ...]
    known: int
    chart: Chart


def read_ages(run: RecordedRun, policy: Policy | None) -> Ages | None:
    """Return the ages of what a run left pending; None where no line has one.

    Its `planned` lines are what is stale. The others have lines with `audit.record: all` alone.

    Args:
        policy: Of the run, whose rules draw the line; None without its copy.
    """
    stale = Counter[int]()
    kept = Counter[int]()
    for row in run.rows.invitations.values():
        age_days = row.event.age_days
        is_left = isinstance(row.event, Planned) and not row.is_gone
        if is_left and age_days is not None:
            stale[int(age_days)] += 1
    for line in kept_lines(run.record):
        if line.age_days is not None:
            kept[int(line.age_days)] += 1
    if not stale and not kept:
        return None
    oldest = max(0, *stale, *kept)
    days_in_group = _days_in_group(oldest)
    groups = tuple(_groups(stale, kept, oldest, days_in_group))
    marks = tuple(sorted(_marks(policy, days_in_group, len(groups))))
    return Ages(
        groups=groups,
        known=stale.total() + kept.total(),
        chart=_ages_chart(groups, marks, oldest),
    )


def _days_in_group(oldest: int) -> int:
    """Return the narrowest groups that fit into the chart; all in one for ages beyond them."""
    for days in _WIDTHS:
        if oldest < days * _MAX_GROUPS:
            return days
    return oldest + 1


def _ages_chart(groups: Sequence[AgeGroup], marks: tuple[VerticalMark, ...], oldest: int) -> Chart:
    columns = [(_Part("kept", group.kept), _Part("stale", group.stale)) for group in groups]
    highest = max(_height(column) for column in columns)
    text = f"Pending invitations by age up to {oldest} days, {highest:,} at most in a column."
    text += "".join(f" {mark.text}." for mark in marks)
    return Chart(
        width=len(groups),
        bars=tuple(_bars(columns, highest)),
        lines=(),
        marks=marks,
        highest=highest,
        highest_of_line=0,
        text=text,
    )


def _groups(stale: Counter[int], kept: Counter[int], oldest: int, size: int) -> Iterator[AgeGroup]:
    """Yield how many invitations are stale and kept in each `size` days of age."""
    for first in range(0, oldest + 1, size):
        days = range(first, first + size)
        label = f"{first} days" if size == 1 else f"{first} to {days[-1]} days"
        yield AgeGroup(
            label,
            stale=sum(stale[day] for day in days),
            kept=sum(kept[day] for day in days),
        )


def _marks(policy: Policy | None, size: int, groups: int) -> Iterator[VerticalMark]:
    """Yield the age from which each rule makes an invitation stale."""
    if policy is None:
        return
    for rule in policy.rules:
        if rule.older_than is not None:
            days = rule.older_than / timedelta(days=1)
            text = f"Rule {rule.name}: stale from {days:g} days on"
            yield VerticalMark(min(round(days / size, 2), groups), text)
