"""One of three organizations fails, or a signal comes: what the operator reads, and where."""

import json
import signal
from datetime import timedelta

import faults
import pytest
from running import wait_until

DAYS = timedelta(days=1)
POLICY = ("--policy", "policy.yaml")


@pytest.fixture
def three(cli):
    """Three organizations with 5 stale invitations each, and named credentials for each."""
    changes = dict.fromkeys(cli.account.environment(), "")
    cli.keys["organizations"] = []
    for number, name in enumerate(("ALPHA", "BETA", "GAMMA"), 1):
        org_id = f"{number}" * 24
        cli.sim.add_organization(org_id, f"{name.title()} Industries")
        project = cli.sim.add_project(f"Project {name}", org_id=org_id)
        for person in range(5):
            address = f"someone.with.a.long.name-{person}@{name.lower()}.example.com"
            cli.sim.invite(project, address, age=20 * DAYS)
        account = cli.sim.add_service_account(org_id)
        changes |= {f"{key}_{name}": value for key, value in account.environment().items()}
        cli.keys["organizations"].append({"id": org_id, "credentials": name})
    return changes


BETA = {"MONGODB_ATLAS_CLIENT_SECRET_BETA": "wrong"}


def test_quiet_night_in_which_one_of_three_failed_is_at_most_eight_lines(cli, three):
    done = cli.run("sweep", *POLICY, "-q", "--log-format", "text", **{**three, **BETA})
    assert (done.code, done.out) == (4, "")
    lines = done.err.splitlines()
    assert len(lines) <= 8
    assert "2" * 24 in lines[0]
    variables = "MONGODB_ATLAS_CLIENT_ID_BETA and MONGODB_ATLAS_CLIENT_SECRET_BETA"
    assert any(variables in line for line in lines)


def test_name_of_an_organization_that_cannot_be_asked_comes_from_the_log(cli, three):
    assert cli.run("sweep", *POLICY, "--dry-run", **three).code == 0
    done = cli.run("sweep", *POLICY, "-q", "--log-format", "text", **{**three, **BETA})
    assert f"Organization Beta Industries ({'2' * 24}): " in done.err.splitlines()[0]


@pytest.mark.parametrize("command", ["explain", "init", "restore"])
def test_refused_credentials_name_their_variables(cli, command):
    words = {"explain": ("x", *POLICY), "init": ("new.yaml",), "restore": ("log.jsonl", "--yes")}
    if command == "restore":
        cli.sim.invite(cli.sim.add_project("Sandbox"), "ada@example.com", age=20 * DAYS)
        assert cli.sweep("--audit-log", "log.jsonl").code == 0
    done = cli.run(command, *words[command], MONGODB_ATLAS_ACCESS_TOKEN="wrong")
    assert done.code == 5
    assert "The credentials are those of MONGODB_ATLAS_ACCESS_TOKEN." in done.err


def interrupted(cli, three, *options):
    cli.sim.faults.add(faults.hang(), method="GET", path="*/groups/*/invites", times=None)
    process = cli.fork("sweep", *POLICY, *options, **three)
    wait_until(lambda: cli.sim.request_log.received.total() > 4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    cli.sim.faults.clear()
    assert process.returncode == 8
    return err.decode()


def test_signal_is_reported_once_for_all_organizations(cli, three):
    assert interrupted(cli, three, "--log-format", "text").count("SIGINT received") == 1


def test_stderr_off_a_terminal_is_json_lines_alone(cli, three):
    lines = [json.loads(line) for line in interrupted(cli, three).splitlines()]
    (error,) = [line for line in lines if line["level"] == "error"]
    assert error["event"] == "Stopped early: SIGINT received."
    assert error["consequence"] == "Nothing was deleted."
    assert error["hint"].startswith("Run the command again")
