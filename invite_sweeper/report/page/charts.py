"""Stacked bars as SVG without a style, script, link or identifier of its own.

pygal draws; what it adds for pages of its own (style sheet, configuration script, tooltips) is
taken off again, so that the page's Content-Security-Policy can forbid all of it, and the page's
style sheet gives the colours in light and dark. No text of a log gets into a drawing: the
legend stands beside it, as HTML.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from xml.etree import ElementTree as ET

import pygal  # type: ignore[import-untyped]
from pygal.style import Style  # type: ignore[import-untyped]

# pygal hooks itself into the import system for plug-ins of its own, in a form that Python 3.12
# ignores and 3.11 warns of at every import that fails from then on.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

WIDTH, HEIGHT = 720, 300
TICKS = 5
LETTER = 8
"""Width of a letter of a label, with its share of the space between two labels."""

_DROPPED = {"defs", "title", "desc"}

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
        title: What a screen reader says in place of the drawing.
        labels: Of our own making, never from a log.
    """

    title: str
    labels: tuple[str, ...]
    series: tuple[Series, ...]

    @property
    def total(self) -> int:
        """All bars together."""
        return sum(sum(series.values) for series in self.series)


def ticks(highest: int) -> tuple[int, ...]:
    """Whole numbers from 0 to just over the highest, in round steps."""
    steps = (base * 10**power for power in range(20) for base in (1, 2, 5))
    step = next(step for step in steps if step * TICKS >= highest)
    return tuple(range(0, step * -(-max(highest, 1) // step) + 1, step))


def svg(chart: Chart) -> str:
    """Draw it; `<rect data-value>` is a bar, in the order of series, then labels."""
    bars = pygal.StackedBar(
        width=WIDTH,
        height=HEIGHT,
        js=[],
        css=[],
        no_prefix=True,
        show_legend=False,
        margin=8,
        disable_xml_declaration=True,
        truncate_label=-1,
        style=Style(font_family="system-ui", label_font_size=12, major_label_font_size=12),
    )
    heights = [sum(column) for column in zip(*(s.values for s in chart.series), strict=True)]
    scale = ticks(max(heights, default=0))
    bars.range = (0, scale[-1])
    bars.y_labels = scale
    bars.value_formatter = "{:,.0f}".format
    bars.x_labels = chart.labels
    fitting = WIDTH // (LETTER * max(map(len, chart.labels), default=1))
    if len(chart.labels) > fitting:
        bars.x_labels_major_every = -(-len(chart.labels) // fitting)
        bars.show_minor_x_labels = False
    for series in chart.series:
        bars.add("", series.values)
    root = ET.fromstring(bars.render(is_unicode=True))  # noqa: S314 - our own drawing
    return ET.tostring(_bare(root, chart), encoding="unicode")


def _bare(root: ET.Element, chart: Chart) -> ET.Element:
    """Only shapes, numbers and classes, with the values where a test or a pointer finds them."""
    _strip(root)
    root.attrib = {
        "class": "chart",
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": chart.title,
    }
    for group, series in zip(_groups(root), chart.series, strict=True):
        group.set("class", f"series tone-{series.tone}")
        rects = group.iter("rect")
        for rect, label, value in zip(rects, chart.labels, series.values, strict=True):
            rect.set("data-value", str(value))
            ET.SubElement(rect, "title").text = f"{label}: {value:,}"
    return root


def _strip(element: ET.Element) -> None:
    for child in tuple(element):
        child.tag = child.tag.rpartition("}")[2]
        if child.tag in _DROPPED or "overlay" in child.get("class", ""):
            element.remove(child)
        else:
            _strip(child)
    element.tag = element.tag.rpartition("}")[2]
    for name in ("id", "style"):
        element.attrib.pop(name, None)


def _groups(root: ET.Element) -> Iterator[ET.Element]:
    return (group for group in root.iter("g") if group.get("class", "").startswith("series"))


def stacked(rows: Sequence[Row], rest: Row) -> tuple[Series, ...]:
    """A series a row, and one for all that have no row of their own, where there are any."""
    named = [Series(name, values, tone) for tone, (name, values) in enumerate(rows)]
    if any(rest[1]):
        named.append(Series(rest[0], rest[1], tone=len(TONES) - 1))
    return tuple(named)


TONES = ("blue", "orange", "green", "purple", "ochre", "grey")
"""What the tones are in the style sheet; the last is for the rest."""
