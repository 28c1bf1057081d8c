"""Documents and pyproject.toml name files that exist, and the same layers."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter

import mutants
from readmes import PAGES, ROOT, sections

TOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
PARTS = "(?:cli|sweep|report|atlas|audit|policy|simulator)"
NAMES = {
    None: r"\]\(([^)#:]+)\)",
    ROOT: r"\b(?:deploy|config|tests)/[\w./-]*\w",
    ROOT / "deploy": r"`((?:cron|systemd|kubernetes|helm)/[\w./-]*)`",
    ROOT / "invite_sweeper": rf"`({PARTS}/[\w/]*(?:\.py)?|\w+\.py)`",
}
"""The folder that names of this form are in; None for that of the page, in which links are."""


def test_layers_of_the_architecture_are_those_that_the_import_linter_checks():
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    assert "\n".join(TOOLS["importlinter"]["contracts"][0]["layers"]) in page


def test_every_file_that_a_document_names_exists():
    named = set()
    for page in map(ROOT.joinpath, PAGES):
        text = page.read_text("utf-8")
        for folder, pattern in NAMES.items():
            named |= {(folder or page.parent) / name for name in re.findall(pattern, text)}
    assert len(named) > 100
    assert [path for path in named if not path.exists()] == []


def test_every_link_to_a_section_leads_to_one():
    dead = []
    for page in map(ROOT.joinpath, PAGES):
        for name, link in re.findall(r"\]\(([^):#]*)#([\w-]+)\)", page.read_text("utf-8")):
            headings = [
                each.heading.lower() for each in sections(page.parent / name if name else page)
            ]
            anchors = [re.sub(r"[^\w -]", "", each).replace(" ", "-") for each in headings]
            dead += [] if link in anchors else [f"{page.name}: {name}#{link}"]
    assert dead == []


def test_each_public_name_of_the_package_is_defined_once():
    """A name means one thing in the whole package, so a reader need not look at the import."""
    defined = r"^(?:(?:async )?def |class |(?=\w+(?:: [^\n=]*)? = ))([A-Za-z]\w*)"
    names = Counter()
    for path in (ROOT / "invite_sweeper").rglob("*.py"):
        names.update({*re.findall(defined, path.read_text("utf-8"), re.MULTILINE)})
    assert len(names) > 500
    assert [name for name, times in names.items() if times > 1] == []


def test_every_mutant_applies_to_the_code_and_is_valid_python_and_its_tests_exist():
    problems = []
    for mutant in mutants.mutants():
        path = ROOT / "invite_sweeper" / mutant.file
        try:
            text = mutants.mutated(path, mutant)
            if path.suffix == ".py":  # a mutant that cannot be imported would fail every test
                ast.parse(text)
        except (OSError, SyntaxError, ValueError) as error:
            problems.append(f"{mutant.name}: {error}")
        tests = re.findall(r"tests/[\w/.]+", mutant.tests)
        problems += [each for each in tests if not (ROOT / each).exists()]
    assert problems == []


def test_commands_that_send_nothing_do_not_wait_for_the_http_client_to_be_imported():
    code = (
        "import sys\n"
        "from invite_sweeper.cli import audit, help, report, validate\n"
        "print('pydantic' in sys.modules, 'aiohttp' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
