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
    org_ids = {"ALPHA": "1" * 24, "BETA": "2" * 24, "GAMMA": "3" * 24}
    cli.use_organizations(org_ids, "service-account")
    for org_id in org_ids.values():
        cli.stock(stale=5, org_id=org_id)
    return cli


BETA = {"MONGODB_ATLAS_CLIENT_SECRET_BETA": "wrong"}


def test_quiet_night_in_which_one_of_three_failed_is_at_most_eight_lines(three):
    done = three.run("sweep", *POLICY, "-q", "--log-format", "text", **BETA)
    assert (done.code, done.out) == (4, "")
    lines = done.err.splitlines()
    assert len(lines) <= 8
    assert "2" * 24 in lines[1]
    variables = "MONGODB_ATLAS_CLIENT_ID_BETA and MONGODB_ATLAS_CLIENT_SECRET_BETA"
    assert any(variables in line for line in lines)


def test_name_of_an_organization_that_cannot_be_asked_comes_from_the_log(three):
    assert three.run("sweep", *POLICY, "--dry-run").code == 0
    done = three.run("sweep", *POLICY, "-q", "--log-format", "text", **BETA)
    assert f"Organization Beta Industries ({'2' * 24}): " in done.err


@pytest.mark.parametrize("command", ["explain", "init", "restore"])
def test_refused_credentials_name_their_variables(cli, command):
    words = {"explain": ("x", *POLICY), "init": ("new.yaml",), "restore": ("--yes", *POLICY)}
    if command == "restore":
        cli.sim.invite(cli.sim.add_project("Sandbox"), "ada@example.com", age=20 * DAYS)
        assert cli.sweep().code == 0
    done = cli.run(command, *words[command], MONGODB_ATLAS_ACCESS_TOKEN="wrong")
    assert done.code == 5
    assert "The credentials are those of MONGODB_ATLAS_ACCESS_TOKEN." in done.err


def interrupted(cli, *options):
    cli.sim.faults.add(faults.hang(), method="GET", path="*/groups/*/invites", times=None)
    process = cli.fork("sweep", *POLICY, *options)
    wait_until(lambda: cli.sim.request_log.received.total() > 4)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    cli.sim.faults.clear()
    assert process.returncode == 8
    return err.decode()


def test_signal_is_reported_once_for_all_organizations(three):
    assert interrupted(three, "--log-format", "text").count("SIGINT received") == 1


def test_stderr_off_a_terminal_is_json_lines_alone(three):
    lines = [json.loads(line) for line in interrupted(three).splitlines()]
    (error,) = [line for line in lines if line["level"] == "error"]
    assert error["event"] == "Stopped early: SIGINT received."
    assert error["consequence"] == "Nothing was deleted."
    assert error["hint"].startswith("Run the command again")
