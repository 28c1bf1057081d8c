"""ARCHITECTURE.md and pyproject.toml name files that exist, and the picture is up to date."""

import re
import tomllib
from xml.etree import ElementTree as ET

import pytest
from architecture import ROOT, charts, draw
from pictures import FOLDER


@pytest.fixture(scope="module")
def found():
    return charts()


def test_picture_of_the_layers_is_up_to_date(found):
    kept = FOLDER.joinpath("architecture.svg").read_text("utf-8")
    assert kept == draw(found), "run: python tests/pictures.py layout"


def test_each_package_is_drawn_with_its_description(found):
    texts = {
        part.text for part in ET.fromstring(draw(found)).iter("{http://www.w3.org/2000/svg}text")
    }
    for row in found[0].rows:
        assert {row.name, row.about} <= texts
        assert 0 < len(row.about) <= 100


def test_each_import_leads_to_a_lower_layer(found):
    rows = found[0].rows
    assert rows[0].imports
    for row in rows:
        assert all(rows[other].layer > row.layer for other in row.imports), row.name


def test_picture_of_the_layers_loads_nothing_from_the_network(found):
    assert not re.findall(r"@import|url\(|href|src=|<script|<image", draw(found))


def test_every_file_that_the_architecture_names_exists():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    package = r"(?:cli|sweep|report|atlas|audit|policy|simulator)/[\w/]*(?:\.py)?"
    named = {f"invite_sweeper/{name}" for name in re.findall(rf"`({package})`", text)}
    named |= {f"invite_sweeper/{name}" for name in re.findall(r"`(\w+\.py)`", text)}
    named |= set(re.findall(r"`((?:tests|config|deploy)/[\w./-]*)`", text))
    assert len(named) > 50
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("key", ["only_mutate", "pytest_add_cli_args_test_selection"])
def test_every_file_named_for_mutation_testing_exists(key):
    mutmut = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mutmut"]
    assert mutmut[key]
    assert [name for name in mutmut[key] if not list(ROOT.glob(name))] == []
