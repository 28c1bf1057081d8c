"""Every command of the documents is run by a test, and what they promise is what it prints."""

import hashlib
import os
import re
import shlex
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import click
import pictures
import pytest
from benchmarks import figures
from forked import Fork
from readmes import OPERATORS, PAGES, README, section, sections
from running import cli_in, run_line, wait_until

from invite_sweeper.audit.chain import line_hash
from invite_sweeper.cli.main import app
from invite_sweeper.models import Source
from invite_sweeper.policy import parse_policy

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGE = (ROOT / README).read_text("utf-8")
HELP = "invite_sweeper/help"
FOLLOWED = (
    (README, "From nothing to a nightly sweep"),
    (OPERATORS, "What an auditor gets"),
    (f"{HELP}/audit.md", "The audit log"),
    (f"{HELP}/audit.md", "Restore"),
    (f"{HELP}/deployment.md", "Running it every night"),
    (f"{HELP}/limits.md", "Approval by a second person"),
)


def test_commands_of_every_section_of_every_document_are_run_by_a_test():
    """A test names the section. What it cannot run is replaced.

    - kubectl and `helm install`, which need a cluster, by programs that run the Job with podman;
    - what needs a published release, by a comparison with build.yml.
    """
    texts = "".join(path.read_text("utf-8") for path in TESTS.rglob("*.py"))
    pages = [page for page in PAGES if page != "CONTRIBUTING.md"]  # its commands take minutes
    found = Counter(each.heading for page in pages for each in sections(page) if each.commands)
    unnamed = [heading for heading, times in found.items() if texts.count(f'"{heading}"') < times]
    assert unnamed == []


def blocks(kind):
    return [block for each in sections(README) for block in each.blocks(kind)]


WORDS = "audit|doctor|explain|help|list|plan|report|restore|sweep"
INLINE = [
    f"invite-sweeper {each}"
    for each in re.findall(rf"`(?:invite-sweeper )?((?:{WORDS}) [^`]*|help|list|doctor)`", PAGE)
]
"""Those of the table "Which command answers which question" and in sentences, also without it."""
ACTIVATE = ". .venv/bin/activate"


def follow(cli, commands):
    """Run commands of a page in their order; return what each one did."""
    done = {}
    for command in commands:
        if command == ACTIVATE:  # the PATH has it
            continue
        line = re.sub(r"\b4([12])\b", r"\1", command).replace(" NAME", " 'Project 0'")
        if "2026-11-12" in line:
            line = line.replace("2026-11-12", cli.lines()[0]["now"][:10])
        if " HEX" in line:
            plan = (cli.folder / "plan.jsonl").read_bytes()
            line = line.replace(" HEX", f" {hashlib.sha256(plan).hexdigest()}")
        if "LAST_HASH" in line:
            last = cli.log_path.read_bytes().splitlines()[-1]
            line = line.replace("LAST_HASH", line_hash(last))
        done[command] = run_line(line, cli.folder, cli.environment)
    assert {c: (d.code, d.err[-300:]) for c, d in done.items() if d.code} == {}
    return done


def test_every_command_of_the_readme_and_of_the_help_pages_works(tmp_path):
    own = [command for each in FOLLOWED for command in section(*each).commands]
    assert (len(own), len(INLINE)) == (22, 18)
    with cli_in(tmp_path) as cli:
        for number in range(2):
            project = cli.sim.add_project(f"Project {number}")
            for name in ("ada.brandt", "bo.ito"):
                cli.sim.invite(project, f"{name}@example.com", age=timedelta(days=20))
        follow(cli, (*own, *INLINE))
    assert len(cli.sim.deleted) == 4


def test_rehearsal_of_the_readme_leads_to_a_dry_run(tmp_path):
    (rehearse,) = re.findall(r"`\.venv/bin/(invite-sweeper simulate [^`]*)`", PAGE)
    variables = tmp_path / "atlas.env"
    process = Fork(shlex.split(rehearse)[1:], tmp_path, dict(os.environ))
    wait_until(lambda: variables.exists() and variables.stat().st_size)
    lines = variables.read_text("utf-8").splitlines()
    exported = dict(shlex.split(line)[1].split("=", 1) for line in lines)
    done = [
        run_line(command, tmp_path, {**os.environ, **exported})
        for command in section(README, "From nothing to a nightly sweep").commands[1:4]
    ]
    process.kill()
    process.wait(timeout=60)
    assert [each.code for each in done] == [0, 0, 3], done  # as the page says of first runs
    assert "max_deletions" in done[-1].err


def test_gate_runs_the_command_of_the_readme_that_passes_the_tests():
    (command,) = section(README, "Where to go next").commands
    assert f"<!-- passes the tests -->\n```sh\n{command}\n```" in PAGE
    assert "<!-- passes the tests -->" in (ROOT / ".ci/run").read_text("utf-8")


def parse(words):
    """Parse a command without running it; return the words of its name."""
    names = []
    parsed = app
    while isinstance(parsed, click.Group) and words and not words[0].startswith("-"):
        names.append(words.pop(0))
        parsed = parsed.get_command(click.Context(parsed), names[-1])
    parsed.make_parser(click.Context(parsed)).parse_args(words)
    return names


def test_commands_in_the_sentences_of_every_document_have_known_names_and_options():
    found = {}
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        for command in re.findall(r"`invite-sweeper ([^`\n]*)`", text):
            words, _, _ = command.partition(" > ")
            found[page, command] = parse(shlex.split(words))
    assert len(found) > 30
    assert [command for command, names in found.items() if not names] == []


def test_pictures_show_what_this_version_shows():
    """`python tests/pictures.py` makes them anew: look at them."""
    shown = pictures.show()
    for scheme in pictures.SCHEMES:
        terminal = (pictures.FOLDER / f"terminal-{scheme}.svg").read_text("utf-8")
        assert terminal == pictures.picture_of(shown.terminal, scheme)
        page = (pictures.FOLDER / f"page-{scheme}.png").read_bytes()
        assert len(page) < 200_000
        assert pictures.sha256_in(page) == pictures.sha256(shown.page)


def test_policy_of_the_readme_is_valid():
    (policy,) = blocks("yaml")
    found = parse_policy(policy.encode(), "README.md")
    assert found.sources == tuple(Source)
    assert found.warnings(date(2026, 11, 27)) == ()


@pytest.mark.parametrize("source", Source)
def test_roles_of_a_list_are_those_that_the_program_names(source):
    reading, deleting = source.roles
    page = (ROOT / HELP / "credentials.md").read_text("utf-8")
    assert f"| `{source}` | {reading} | {deleting} |\n" in page


def test_results_of_the_benchmarks_have_a_row_for_each_figure():
    text = (TESTS / "benchmarks" / "RESULTS.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == [*figures.ALL]
