"""Each command that the README tells a person to type does what it says."""

import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from running import desk_in

from invite_sweeper.errors import ExitCode
from invite_sweeper.policy import parse_policy
from invite_sweeper.simulator.seed import ORG_ID

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(kind):
    return re.findall(rf"^ *```{kind}\n(.*?)^ *```$", README, re.DOTALL | re.MULTILINE)


COMMANDS = [
    line.strip()
    for block in blocks("sh")
    for line in block.splitlines()
    if line.strip().startswith("invite-sweeper ")
]


def test_there_are_commands_to_try():
    assert len(COMMANDS) >= 12


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder as a person has it after step 3, and an Atlas with something to find."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "config", folder / "config")
    policy = folder / "config" / "policy.yaml"
    policy.write_text(policy.read_text("utf-8").replace("0" * 24, ORG_ID), "utf-8")
    with desk_in(folder) as found:
        for number in range(2):
            project = found.sim.add_project(f"Project {number}")
            for name in ("ada.brandt", "bo.ito"):
                found.sim.invite(project, f"{name}@example.com", age=timedelta(days=20))
        yield found


def test_every_command_of_the_readme_works_in_the_order_of_the_page(desk):
    environment = {**desk.environment, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    told = {}
    for command in COMMANDS:
        words = command.replace("invite-sweeper", f"{sys.executable} -m invite_sweeper", 1)
        done = subprocess.run(
            words,
            shell=True,
            cwd=desk.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        told[command] = (done.returncode, done.stderr[-300:])
    # doctor warns of what a small example lacks; all the others go through.
    allowed = {c: {0, 4} if " doctor " in c else {0} for c in COMMANDS}
    assert {c: t for c, t in told.items() if t[0] not in allowed[c]} == {}
    assert len(desk.sim.deleted) == 4


def test_exit_codes_of_the_readme_are_those_of_the_program():
    rows = re.findall(r"^\| (\d+) \| (.*?) \|(?: (.*))? \|$", README, re.MULTILINE)
    assert rows == [(str(code), code.meaning, code.hint) for code in ExitCode]


def test_policy_of_the_readme_is_a_valid_one():
    (policy,) = blocks("yaml")
    assert parse_policy(policy.encode(), "README.md").rules[0].name == "forgotten"


def test_links_of_the_readme_lead_to_files():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_gate_runs_the_readme_s_own_test_command():
    match = re.search(r"<!-- passes the tests -->\n```sh\n(.*)\n```", README)
    assert match is not None
    assert "pytest" in match[1]
    assert "<!-- passes the tests -->" in (ROOT / ".ci" / "run").read_text("utf-8")
