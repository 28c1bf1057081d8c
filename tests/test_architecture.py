"""Documents and pyproject.toml name files that exist, and the same layers."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict

import mutants
import pytest
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


def test_every_name_that_the_architecture_gives_to_a_file_is_in_it():
    page = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = []
    # `cli/options.py` (its row, and a field of `RunOptions`)
    for file, text in re.findall(r"`([\w/]+\.py)` \(([^)]*)\)", page):
        named += [(file, name) for name in re.findall(r"`([\w.]+)`", text)]
    # `Invitation.key` and `Invitation.person` in `models.py`
    for text, file in re.findall(r"((?:`\S+`\W+)+)in `([\w/]+\.py)`", page):
        named += [(file, name) for name in re.findall(r"`([\w.]+)`", text)]
    assert len(named) > 8
    assert [pair for pair in named if not has_word(*pair)] == []


def has_word(file, name):
    text = (ROOT / "invite_sweeper" / file).read_text("utf-8")
    return re.search(rf"\b{name.rpartition('.')[2]}\b", text) is not None


def anchor(heading):
    """Return the anchor that a forge gives a heading."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_every_link_to_a_section_leads_to_one():
    dead = []
    seen = 0
    for page in map(ROOT.joinpath, PAGES):
        text = page.read_text("utf-8")
        for name, link in re.findall(r"\]\(([^):#]*)#([\w-]+)\)", text):
            target = page.parent / name if name else page
            headings = [each.heading for each in sections(target)]
            seen += 1
            if link not in map(anchor, headings):
                dead.append(f"{page.name}: {name}#{link}")
    assert seen > 10
    assert dead == []


@pytest.mark.parametrize("key", ["only_mutate", "pytest_add_cli_args_test_selection"])
def test_every_file_named_for_mutation_testing_exists(key):
    assert TOOLS["mutmut"][key]
    assert [name for name in TOOLS["mutmut"][key] if not list(ROOT.glob(name))] == []


def test_each_public_name_of_the_package_is_defined_once():
    """A name means one thing in the whole package, so a reader need not look at the import."""
    places = defaultdict(list)
    for path in sorted((ROOT / "invite_sweeper").rglob("*.py")):
        for name in public_names(ast.parse(path.read_text("utf-8"))):
            places[name].append(path.relative_to(ROOT / "invite_sweeper").as_posix())
    assert len(places) > 500
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def public_names(module):
    """Return the names that a module defines at its top level, without those of `_private`."""
    names = set()
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def test_every_mutant_applies_to_the_code_and_is_valid_python():
    problems = []
    for mutant in mutants.mutants():
        path = ROOT / "invite_sweeper" / mutant.file
        try:
            text = mutants.mutated(path, mutant)
            if path.suffix == ".py":  # a mutant that cannot be imported would fail every test
                ast.parse(text)
        except (OSError, SyntaxError, ValueError) as error:
            problems.append(f"{mutant.name}: {error}")
    assert problems == []


def test_the_tests_of_every_mutant_exist():
    paths = {word for mutant in mutants.mutants() for word in mutant.tests.split("::")[0].split()}
    named = {path for path in paths if path.startswith("tests/")}
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_commands_that_send_nothing_do_not_wait_for_the_http_client_to_be_imported():
    code = (
        "import sys\n"
        "from invite_sweeper.cli import audit, help, report, validate\n"
        "print('pydantic' in sys.modules, 'aiohttp' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"
