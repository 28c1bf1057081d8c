"""`simulate`: the program over each scenario, with the lines and policy that it prints."""

import os
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from environment import on_real_clock
from forked import Fork, server_on_real_clock
from running import CliRunner, Done, end, wait_until

from invite_sweeper.models import Source
from invite_sweeper.simulator.scenarios import SCENARIOS

SMALL = ("--projects", "6", "--invitations", "4")
FILES = ("--policy-file", "policy.yaml", "--env-file", "exports.sh")


class Simulated:
    """A running `simulate` with its files, and the program with the printed variables.

    It has the clock of the machine, as the `faketime` of a printed line runs under no other.
    """

    def __init__(self, folder, name):
        self.folder = folder
        self.environment = on_real_clock(os.environ)
        exports = folder / "exports.sh"
        with (folder / "printed").open("wb") as file:
            words = ("simulate", *SMALL, "--scenario", name, *FILES)
            self.process = self.start(*words, stdout=file.fileno())
        wait_until(lambda: "# A policy that fits:" in self.printed or self.process.poll())
        lines = exports.read_text(encoding="utf-8").splitlines()
        self.variables = dict(shlex.split(line)[1].split("=", 1) for line in lines)
        self.environment |= self.variables

    @property
    def printed(self):
        return (self.folder / "printed").read_text("utf-8")

    def start(self, *words, **streams):
        return Fork(words, self.folder, self.environment, server=server_on_real_clock(), **streams)

    def sweep(self):
        done = end(self.start("sweep", "--output", "json"))
        return done.code, done.summary

    def lines(self, event):
        return CliRunner(self.folder, None, None, "").lines(event)


@pytest.fixture
def simulated(tmp_path):
    running = []

    def start(name):
        running.append(Simulated(tmp_path, name))
        return running[-1]

    yield start
    for each in running:
        each.process.terminate()
        each.process.wait(60)


@pytest.mark.parametrize(
    ("name", "number"), [("sunset", signal.SIGINT), ("organizations", signal.SIGHUP)]
)
def test_sweep_deletes_in_each_list_and_organization_and_a_signal_ends_it_with_0(
    simulated, name, number
):
    simulation = simulated(name)
    code, summary = simulation.sweep()

    assert code == 0, summary
    outcomes = simulation.lines("outcome")
    shown = {entry["source"] for each in outcomes for entry in (each, *each.get("entries", ()))}
    assert shown == set(Source)
    organizations = dict(SCENARIOS[name].organizations)
    assert {each["org_id"] for each in outcomes} == set(organizations.values())
    assert sum("_CLIENT_ID" in each for each in simulation.variables) == len(organizations)
    assert summary["deleted"] > 0
    assert summary["kept_by_reason"]["too_young"] > 0

    simulation.process.send_signal(number)
    assert end(simulation.process) == Done(0, "", "")
    projects = 6 * len(organizations)
    assert f"It has {4 * projects} invitations in {projects} projects." in simulation.printed


def remove_files_of_killed_faketime():
    """Let `faketime` start: it fails where one that was killed had its process id before."""
    for path in Path("/dev/shm").glob("*faketime_s*_*"):
        if not Path("/proc", path.name.rpartition("_")[2]).exists():
            with suppress(OSError):  # of another user, or gone meanwhile
                path.unlink()


def run_printed_nights(simulation):
    lines = simulation.printed.splitlines()
    (line,) = [each for each in lines if "faketime" in each and "for" in each.split()]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    remove_files_of_killed_faketime()
    done = subprocess.run(
        ["sh", "-exc", line],  # it ends at the first night that fails, and shows each command
        cwd=simulation.folder,
        env=simulation.environment | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("faketime")
def test_printed_nights_announce_first_and_delete_three_days_later(simulated):
    simulation = simulated("nights")
    run_printed_nights(simulation)
    days = [each["ts"][:10] for each in simulation.lines("run_started")]
    assert len(days) == len(set(days)) == 5
    announced = {each["invitation_id"]: each["ts"][:10] for each in simulation.lines("announced")}
    deleted = {each["invitation_id"]: each["ts"][:10] for each in simulation.lines("outcome")}
    first = {key for key, day in announced.items() if day == days[0]}
    assert {key for key, day in deleted.items() if day == days[3]} == first != set()
    assert all(days.index(day) - days.index(announced[key]) == 3 for key, day in deleted.items())
    assert len(announced) > len(first)


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--scenario", "winter", [*SCENARIOS]),
        ("--policy-file", "absent/policy.yaml", ["absent/policy.yaml", "No such file"]),
        ("--port", "TAKEN", ["Cannot listen on port TAKEN", "use another --port"]),
    ],
)
def test_unusable_option_ends_with_2_and_names_what_can_be_used(option, value, expected, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        words = ("simulate", *SMALL, option, value.replace("TAKEN", taken))
        done = end(Fork(words, tmp_path, dict(os.environ)))
    assert done.code == 2
    assert [each for each in expected if each.replace("TAKEN", taken) not in done.err] == []


@pytest.mark.needs("fish")
def test_line_of_fish_sets_the_variables_of_the_line_of_other_shells(simulated):
    simulation = simulated("organizations")
    lines = simulation.printed.splitlines()
    (line,) = [each for each in lines if each.startswith("set -gx")]
    shown = subprocess.check_output(["fish", "-c", f"{line}\nenv"], env={"PATH": os.defpath})
    variables = {f"{name}={value}" for name, value in simulation.variables.items()}
    assert {*shown.decode().splitlines()} >= variables
