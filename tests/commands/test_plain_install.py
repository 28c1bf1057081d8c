"""An installation without extras has all commands."""

import ast
import os
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def names_in(requirements: list[str]) -> set[str]:
    """Names of distributions as the package index compares them (PEP 503)."""
    return {canonical(re.match(r"[\w.-]+", each).group()) for each in requirements}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """Distributions that any module of the package imports."""
    names = set()
    for path in (ROOT / "invite_sweeper").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition(".")[0])
    # `_typeshed` exists for type checkers only.
    foreign = names - {*sys.stdlib_module_names, "invite_sweeper", "_typeshed"}
    found = packages_distributions()
    return {canonical(found[name][0]) for name in foreign}


@pytest.fixture
def cli(cli):
    """A cli without uvloop: importing it fails as if it were not installed."""
    bare = cli.folder / "bare"
    bare.mkdir()
    (bare / "uvloop.py").write_text(
        "raise ModuleNotFoundError('No module named uvloop')\n", encoding="utf-8"
    )
    cli.stock()
    before = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    cli.changes["PYTHONPATH"] = os.pathsep.join([str(bare), *before])
    return cli


def test_every_imported_package_is_a_dependency_and_only_uvloop_is_an_extra():
    direct = names_in(PROJECT["dependencies"])
    # yarl is part of the interface of aiohttp, pydantic-core of that of pydantic.
    installed = direct | names_in([each for name in direct for each in requires(name) or ()])
    assert set(PROJECT["optional-dependencies"]) == {"speed", "dev"}
    assert imported() - installed == {"uvloop"}
    assert names_in(PROJECT["optional-dependencies"]["speed"]) == {"uvloop"}


def test_sweep_verify_show_and_metrics_work(cli):
    done = cli.sweep("--metrics-file", "run.prom")
    assert (done.code, done.summary["deleted"]) == (0, 1), done.err
    assert 'invite_sweeper_outcomes{outcome="deleted"} 1.0' in (cli.folder / "run.prom").read_text(
        encoding="utf-8"
    )
    assert cli.run("audit", "verify", "audit").code == 0
    shown = cli.run("audit", "show", "1", "--audit-dir", "audit")
    assert (shown.code, "p0@example.com" in shown.out) == (0, True), shown.err


def test_saved_plan_is_swept(cli):
    assert cli.plan("--out", "plan.jsonl").code == 0
    done = cli.sweep("--plan", "plan.jsonl")
    assert (done.code, done.summary["deleted"]) == (0, 1), done.err
