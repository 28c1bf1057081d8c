"""The picture of ARCHITECTURE.md shows the layers and imports as they are."""

import re
from xml.etree import ElementTree as ET

import pytest
from architecture import charts, draw
from pictures import FOLDER


@pytest.fixture(scope="module")
def found():
    return charts()


def test_picture_of_the_layers_is_up_to_date(found):
    kept = FOLDER.joinpath("architecture.svg").read_text("utf-8")
    assert kept == draw(found), "make it anew: python tests/pictures.py layout"


def test_each_package_of_the_layers_is_drawn_with_one_line_about_it(found):
    texts = {
        part.text for part in ET.fromstring(draw(found)).iter("{http://www.w3.org/2000/svg}text")
    }
    for row in found[0].rows:
        assert {row.name, row.about} <= texts
        assert 0 < len(row.about) <= 100


def test_each_import_leads_down_and_the_highest_layer_imports_others(found):
    rows = found[0].rows
    assert rows[0].imports
    for row in rows:
        assert all(rows[other].layer > row.layer for other in row.imports), row.name


def test_picture_of_the_layers_asks_nothing_of_any_network(found):
    assert not re.findall(r"@import|url\(|href|src=|<script|<image", draw(found))
