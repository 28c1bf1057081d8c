"""Every command of the READMEs is run by a test, and the README's tables are the program's."""

import hashlib
import os
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
from forked import Fork
from readmes import OPERATORS, README, sections
from running import cli_in, end, run_line

from invite_sweeper.endings import ExitCode
from invite_sweeper.models import Source
from invite_sweeper.policy import parse_policy

TESTS = Path(__file__).parent
ROOT = TESTS.parent
PAGE = (ROOT / README).read_text("utf-8")
HERE = "test_readme.py"
GATE = "../.ci/run"
INSTALLED = "deploy/fresh.py"
IMAGE = "deploy/conftest.py"
CLUSTER = "deploy/test_cluster.py"
RUN_BY = {
    (README, "invite_sweeper"): INSTALLED,
    (README, "First policy"): HERE,
    (README, "First dry run"): HERE,
    (README, "First sweep"): HERE,
    (README, "Every night"): HERE,
    (README, "A second person"): HERE,
    (README, "More"): GATE,
    (OPERATORS, "Prerequisites in Atlas"): INSTALLED,
    (OPERATORS, "cron"): INSTALLED,
    (OPERATORS, "systemd"): "deploy/test_systemd_machine.py",
    (OPERATORS, "The image"): IMAGE,
    (OPERATORS, "Kubernetes"): CLUSTER,
    (OPERATORS, "Commands in the cluster"): CLUSTER,
    (OPERATORS, "A plan approved by a second person"): CLUSTER,
    (OPERATORS, "Helm"): CLUSTER,
    (OPERATORS, "What an auditor gets"): "test_auditor_page.py",
}
"""The test that runs the commands of each section, in the order of the page.

Without a cluster, kubectl and `helm install` are replaced by programs that run the Job with
podman. The command that runs the tests is run by the gate.
Blocks of other languages are not commands.
"""


def test_commands_of_every_section_of_both_readmes_are_run_by_a_test():
    with_commands = [
        (page, each.heading) for page in (README, OPERATORS) for each in sections(page)
        if each.commands
    ]  # fmt: skip

    assert with_commands == list(RUN_BY)
    for (_, heading), file in RUN_BY.items():
        source = (TESTS / file).read_text(encoding="utf-8")
        named = f'"{heading}"' in source or f"## {heading}" in source
        assert named or file in (HERE, GATE), heading


def blocks(kind):
    return [block for each in sections(README) for block in each.blocks(kind)]


COMMANDS = [
    command
    for each in sections(README)
    if RUN_BY.get((README, each.heading)) == HERE
    for command in each.commands
]
ASKED = [
    command
    for line in PAGE.splitlines()
    if line.startswith("|")
    for command in re.findall(r"`(invite-sweeper [^`]*)`", line)
]
"""The commands of the table of questions."""
HELP = [
    line.strip()
    for page in sorted((ROOT / "invite_sweeper/help").glob("*.md"))
    for line in page.read_text("utf-8").splitlines()
    if line.startswith("    invite-sweeper ")
]
ACTIVATE = ". .venv/bin/activate"


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    """An empty folder, and a simulated Atlas with stale invitations."""
    folder = tmp_path_factory.mktemp("readme")
    with cli_in(folder) as found:
        for number in range(2):
            project = found.sim.add_project(f"Project {number}")
            for name in ("ada.brandt", "bo.ito"):
                found.sim.invite(project, f"{name}@example.com", age=timedelta(days=20))
        yield found


def test_every_command_of_the_readme_and_of_the_help_pages_works_in_their_order(cli):
    results = {}
    assert (len(COMMANDS), len(ASKED), len(HELP)) == (11, 9, 9)
    for command in (*COMMANDS, *ASKED, *HELP):
        if command == ACTIVATE or " --notify" in command:  # the PATH has it; no receiver is named
            continue
        line = command.replace(" 42 ", " 2 ")
        if " HEX" in line:
            plan = (cli.folder / "plan.jsonl").read_bytes()
            line = line.replace(" HEX", f" {hashlib.sha256(plan).hexdigest()}")
        environment = {**cli.environment, "INVITE_SWEEPER_POLICY": "policy.yaml"}
        done = run_line(line, cli.folder, environment)
        results[command] = (done.code, done.err[-300:])
    assert {c: r for c, r in results.items() if r[0] != 0} == {}
    assert len(cli.sim.deleted) == 4


def test_exit_codes_of_the_readme_are_those_of_the_program():
    rows = re.findall(r"^\| (\d+) \| (.*?) \|$", PAGE, re.MULTILINE)
    assert rows == [(str(code), code.label) for code in ExitCode]


def test_picture_of_the_readme_is_what_the_demo_prints(tmp_path):
    done = end(Fork(["demo"], tmp_path, {**os.environ, "COLUMNS": "100"}))
    picture, *_ = blocks("text")
    assert len(picture.splitlines()) in range(20, 26)
    assert re.sub(r"\d\.\d d", "0.0 d", picture) in re.sub(r"\d\.\d d", "0.0 d", done.out)


def test_policy_of_the_readme_is_valid():
    (policy,) = blocks("yaml")
    found = parse_policy(policy.encode(), "README.md")
    assert found.sources == tuple(Source)
    assert found.warnings(date(2026, 11, 27)) == ()


def test_links_of_the_readme_lead_to_existing_files():
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (ROOT / target).exists(), target


def test_gate_runs_the_test_command_of_the_readme():
    match = re.search(r"<!-- passes the tests -->\n```sh\n(.*)\n```", PAGE)
    assert match is not None
    assert "pytest" in match[1]
    assert "<!-- passes the tests -->" in (ROOT / ".ci" / "run").read_text("utf-8")
