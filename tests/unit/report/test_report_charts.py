"""Charts as SVG, without a browser."""

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invite_sweeper.report.html import svg
from invite_sweeper.report.html.charts import HEIGHT, WIDTH, Chart, Series, stacked, ticks


def drawn(chart: Chart) -> ET.Element:
    return ET.fromstring(svg(chart))


def bars(root: ET.Element) -> list[list[ET.Element]]:
    """Return the bars of each series."""
    groups = (g for g in root.iter("g") if g.get("class", "").startswith("series"))
    return [list(group.iter("rect")) for group in groups]


@st.composite
def charts(draw) -> Chart:
    width = draw(st.integers(1, 60))
    values = st.lists(st.integers(0, 10**6), min_size=width, max_size=width).map(tuple)
    series = draw(st.lists(values, min_size=1, max_size=6))
    labels = tuple(f"2026-{number:05}" for number in range(width))
    return Chart("t", labels, tuple(Series("s", row, tone) for tone, row in enumerate(series)))


@given(charts())
@settings(max_examples=40, deadline=None)
def test_each_number_has_a_bar_of_proportional_height(chart):
    found = bars(drawn(chart))
    values = [[int(rect.get("data-value")) for rect in group] for group in found]
    assert values == [list(series.values) for series in chart.series]
    heights = [
        (float(rect.get("height")), int(rect.get("data-value"))) for g in found for rect in g
    ]
    scale = max((height / value for height, value in heights if value), default=0.0)
    assert all(height == pytest.approx(value * scale, abs=0.01) for height, value in heights)
    assert max((height for height, _ in heights), default=0.0) <= HEIGHT


@given(charts())
@settings(max_examples=10, deadline=None)
def test_svg_has_no_style_script_link_id_or_comment(chart):
    text = svg(chart)
    root = drawn(chart)
    assert {node.tag for node in root.iter()} <= {
        "svg",
        "g",
        "rect",
        "line",
        "text",
        "title",
        "desc",
    }
    attributes = {name for node in root.iter() for name in node.attrib}
    assert not attributes & {"style", "id", "href", "onclick"}
    assert "<!--" not in text
    assert "http" not in text


@given(charts())
@settings(max_examples=20, deadline=None)
def test_bars_of_a_label_are_stacked_above_the_axis(chart):
    root = drawn(chart)
    axis = max(float(line.get("y1")) for line in root.iter("line"))
    edges = [axis] * len(chart.labels)
    for group in bars(root):
        for column, rect in enumerate(group):
            y, height = float(rect.get("y")), float(rect.get("height"))
            assert y + height == pytest.approx(edges[column], abs=0.01)
            edges[column] = y
    assert min(edges) >= 0


@given(charts())
@settings(max_examples=10, deadline=None)
def test_labels_are_centred_under_their_bars_within_the_drawing(chart):
    root = drawn(chart)
    middles = {
        rect.find("title").text.partition(":")[0]: float(rect.get("x"))
        + float(rect.get("width")) / 2
        for rect in bars(root)[0]
    }
    axis = next(g for g in root.iter("g") if g.get("class") == "labels")
    for text in axis.iter("text"):
        middle = float(text.get("x"))
        assert middle == pytest.approx(middles[text.text], abs=0.01)
        assert middle + len(text.text) * 3.5 <= WIDTH


def test_overlapping_labels_are_thinned():
    labels = tuple(f"2026-11-{day:02}" for day in range(60))
    root = drawn(Chart("t", labels, (Series("s", (1,) * 60, 0),)))
    axis = next(g for g in root.iter("g") if g.get("class") == "labels")
    written = [text for text in axis.iter("text") if text.text]
    assert 2 <= len(written) <= WIDTH // 70


@given(st.integers(0, 10**12))
def test_at_most_6_evenly_spaced_ticks_reach_the_highest_value(highest):
    found = ticks(highest)
    steps = {later - earlier for earlier, later in pairwise(found)}
    assert found[0] == 0
    assert found[-1] >= highest
    assert len(steps) == 1
    assert len(found) <= 6


def test_rest_is_a_series_only_if_not_zero():
    rows = [("a", (1, 2)), ("b", (3, 4))]
    assert [series.name for series in stacked(rows, ("rest", (0, 0)))] == ["a", "b"]
    assert stacked(rows, ("rest", (5, 0)))[-1] == Series("rest", (5, 0), 5)
