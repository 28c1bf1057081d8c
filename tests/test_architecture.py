"""ARCHITECTURE.md and pyproject.toml name files that exist, and the same layers."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]


def test_layers_of_the_architecture_are_those_that_the_import_linter_checks():
    assert "\n".join(TOOLS["importlinter"]["contracts"][0]["layers"]) in PAGE


def test_every_file_that_the_architecture_names_exists():
    package = r"(?:cli|sweep|report|atlas|audit|policy|simulator)/[\w/]*(?:\.py)?"
    named = {f"invite_sweeper/{name}" for name in re.findall(rf"`({package})`", PAGE)}
    named |= {f"invite_sweeper/{name}" for name in re.findall(r"`(\w+\.py)`", PAGE)}
    named |= set(re.findall(r"`((?:tests|config|deploy)/[\w./-]*)`", PAGE))
    assert len(named) > 50
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("key", ["only_mutate", "pytest_add_cli_args_test_selection"])
def test_every_file_named_for_mutation_testing_exists(key):
    assert TOOLS["mutmut"][key]
    assert [name for name in TOOLS["mutmut"][key] if not list(ROOT.glob(name))] == []
