"""Every command of the README works, and its tables agree with the program."""

import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from running import desk_in

from invite_sweeper.errors import ExitCode
from invite_sweeper.policy import parse_policy

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


def test_readme_has_at_least_12_commands():
    assert len(COMMANDS) >= 12


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """An empty folder, and a simulated Atlas with stale invitations."""
    folder = tmp_path_factory.mktemp("readme")
    with desk_in(folder) as found:
        for number in range(2):
            project = found.sim.add_project(f"Project {number}")
            for name in ("ada.brandt", "bo.ito"):
                found.sim.invite(project, f"{name}@example.com", age=timedelta(days=20))
        yield found


def test_every_command_of_the_readme_works_in_the_order_of_the_page(desk):
    environment = {**desk.environment, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    results = {}
    for command in COMMANDS:
        arguments = command.replace("invite-sweeper", f"{sys.executable} -m invite_sweeper", 1)
        done = subprocess.run(
            arguments,
            shell=True,
            cwd=desk.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        results[command] = (done.returncode, done.stderr[-300:])
    # doctor warns about the small example (exit 4); all other commands exit with 0.
    allowed = {c: {0, 4} if " doctor " in c else {0} for c in COMMANDS}
    assert {c: r for c, r in results.items() if r[0] not in allowed[c]} == {}
    assert len(desk.sim.deleted) == 4


def test_exit_codes_of_the_readme_are_those_of_the_program():
    rows = re.findall(r"^\| (\d+) \| (.*?) \|(?: (.*))? \|$", README, re.MULTILINE)
    assert rows == [(str(code), code.meaning, code.hint) for code in ExitCode]


def test_policy_of_the_readme_is_valid():
    (policy,) = blocks("yaml")
    assert parse_policy(policy.encode(), "README.md").rules[0].name == "forgotten"


def test_links_of_the_readme_lead_to_existing_files():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_gate_runs_the_test_command_of_the_readme():
    match = re.search(r"<!-- passes the tests -->\n```sh\n(.*)\n```", README)
    assert match is not None
    assert "pytest" in match[1]
    assert "<!-- passes the tests -->" in (ROOT / ".ci" / "run").read_text("utf-8")
