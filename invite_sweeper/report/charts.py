"""The two pictures of the report as geometry: the nights, and the ages of what is pending.

A picture has no text: it is stretched to the width of the page, and its labels are HTML beside it.
Each has a table with the same numbers. Units are those of the SVG's view box: 100 high, from the
top down.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from invite_sweeper.audit import RunRecord
from invite_sweeper.audit.events import Kept, Planned
from invite_sweeper.audit.reader import FileChain
from invite_sweeper.errors import RunError
from invite_sweeper.policy import Policy
from invite_sweeper.report.period import COUNTED, GONE, Night
from invite_sweeper.report.readback import read_rows

HEIGHT: Final = 100
_GAP: Final = 0.1
"""Of a column, left free on each side."""
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
    counts = [[(name, getattr(night, name)) for name in COUNTED] for night in nights]
    pending = [night.pending for night in nights]
    highest_of_line = max((each for each in pending if each is not None), default=0)
    highest = max(sum(number for _, number in night) for night in counts)
    text = (
        f"Columns: {', '.join(COUNTED)} in each night, {highest:,} at most. "
        f"Line: pending after it, {highest_of_line:,} at most."
    )
    bars = tuple(_columns(counts, highest))
    lines = tuple(_lines(pending, highest_of_line))
    return Chart(len(nights), bars, lines, (), highest, highest_of_line, text)


def _columns(columns: Iterable[Iterable[tuple[str, int]]], highest: int) -> Iterator[Bar]:
    """Yield the parts of columns that are one unit wide."""
    for x, column in enumerate(columns):
        y = float(HEIGHT)
        for style, number in column:
            height = HEIGHT * number / max(highest, 1)
            y -= height
            if number:
                width = 1 - 2 * _GAP
                yield Bar(round(x + _GAP, 2), round(y, 2), width, round(height, 2), style)


def _lines(values: Sequence[int | None], highest: int) -> Iterator[str]:
    """Yield each piece of a line through the middles of the columns; None interrupts it."""
    points: list[str] = []
    for x, value in enumerate((*values, None)):
        if value is not None:
            points.append(f"{x + 0.5},{round(HEIGHT - HEIGHT * value / max(highest, 1), 2)}")
        elif points:
            start, _, y = points[0].partition(",")
            if len(points) == 1:  # a single night is a short stroke
                points = [f"{float(start) - 0.4},{y}", f"{float(start) + 0.4},{y}"]
            yield " ".join(points)
            points = []


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


def read_ages(record: RunRecord, policy: Policy | None) -> Ages | None:
    """Return the ages of what a run left pending; None where no line says one.

    Its `planned` lines are what is stale. The others have lines with `audit.record: all` alone.

    Args:
        policy: Of the run, whose rules draw the line; None without its copy.
    """
    stale = Counter[int]()
    kept = Counter[int]()
    for row in read_rows(record).rows.values():
        age_days = row.event.age_days
        is_left = isinstance(row.event, Planned) and row.outcome not in GONE
        if is_left and age_days is not None:
            stale[int(age_days)] += 1
    for age_days in _kept_ages(record):
        kept[int(age_days)] += 1
    if not stale and not kept:
        return None
    oldest = max(*stale, *kept, 0, 0)
    # The narrowest groups of days that fit into the chart; of ages beyond all of them, one group.
    size = next((width for width in _WIDTHS if oldest < width * _MAX_GROUPS), oldest + 1)
    groups = tuple(_groups(stale, kept, oldest, size))
    highest = max(group.stale + group.kept for group in groups)
    columns = [(("kept", group.kept), ("stale", group.stale)) for group in groups]
    marks = tuple(sorted(_marks(policy, size, len(groups))))
    text = f"Pending invitations by age up to {oldest} days, {highest:,} at most in a column."
    text += "".join(f" {mark.text}." for mark in marks)
    bars = tuple(_columns(columns, highest))
    chart = Chart(len(groups), bars, (), marks, highest, 0, text)
    return Ages(groups, stale.total() + kept.total(), chart)


def _kept_ages(record: RunRecord) -> Iterator[float]:
    chain = FileChain(record.file)
    try:
        for line in chain:
            if line.header.event != Kept.event:
                continue
            kept = chain.decode(line)
            if isinstance(kept, Kept) and kept.age_days is not None:
                yield kept.age_days
    except RunError:  # the verification names the file
        return


def _groups(stale: Counter[int], kept: Counter[int], oldest: int, size: int) -> Iterator[AgeGroup]:
    for first in range(0, oldest + 1, size):
        days = range(first, first + size)
        label = f"{first} days"
        if size > 1:
            label = f"{first} to {days[-1]} days"
        stale_count = sum(stale[day] for day in days)
        kept_count = sum(kept[day] for day in days)
        yield AgeGroup(label, stale_count, kept_count)


def _marks(policy: Policy | None, size: int, groups: int) -> Iterator[VerticalMark]:
    """Yield the age from which each rule makes an invitation stale."""
    if policy is None:
        return
    for rule in policy.rules:
        if rule.older_than is not None:
            days = rule.older_than / timedelta(days=1)
            text = f"Rule {rule.name}: stale from {days:g} days on"
            yield VerticalMark(min(round(days / size, 2), groups), text)
