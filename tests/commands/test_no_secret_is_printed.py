"""No secret, token or digest response anywhere: output, log, audit lines, errors, with -v."""

import base64
from datetime import timedelta

import faults
import pytest
from observed import ObservedAtlas
from running import cli_in, wait_until

from invite_sweeper.simulator.seed import ORG_ID

tokens: list[str] = []
"""Return every token that the simulated Atlas issued."""

_KINDS = ["token", "api-key", "service-account"]


@pytest.fixture(params=_KINDS)
def cli(request, tmp_path):
    sim = ObservedAtlas()
    tokens.clear()
    admit = sim.oauth.add_token

    def noted(token, *account):
        tokens.append(token)
        admit(token, *account)

    sim.oauth.add_token = noted
    with cli_in(tmp_path, sim, kind=request.param) as found:
        project = found.sim.add_project("Project")
        for n in range(3):
            found.sim.invite(project, f"p{n}@example.com", age=timedelta(days=20))
        yield found


def secrets_of(cli):
    """Return what must not be shown: the secret, values derived from it, and every token."""
    account = cli.account
    pair = base64.b64encode(f"{account.name}:{account.secret}".encode()).decode()
    return [account.secret, pair, *tokens]


def assert_silent(cli, done):
    output = done.out + done.err
    for path in cli.folder.rglob("*"):
        if path.is_file() and path.name not in {"secret", "client"}:
            output += path.read_text("utf-8", "replace")
    for secret in secrets_of(cli):
        assert secret not in output
    for word in ("Authorization", "Bearer ", 'response="', "Traceback"):
        assert word not in output


def test_credentials_from_files_work_and_show_no_secret(cli):
    changes: dict[str, str | None] = {}
    for name, value in cli.account.environment().items():
        path = cli.folder / (
            "secret" if "SECRET" in name or "PRIVATE" in name or "TOKEN" in name else "client"
        )
        path.write_text(value + "\n", encoding="utf-8")
        changes |= {name: None, f"{name}_FILE": str(path)}
    done = cli.sweep("-v", **changes)
    assert (done.code, done.summary["deleted"]) == (0, 3)
    assert_silent(cli, done)


def test_wrong_secret_is_not_shown(cli):
    changes = {
        name: value + "wrong"
        for name, value in cli.account.environment().items()
        if "SECRET" in name or "PRIVATE" in name or "TOKEN" in name
    }
    done = cli.sweep("-v", **changes)
    assert (done.code, cli.deletes()) == (5, 0)
    assert_silent(cli, done)


def test_password_of_the_pushgateway_is_not_shown_by_this_run_or_the_next(tmp_path):
    with cli_in(tmp_path) as cli:
        project = cli.sim.add_project("Project")
        cli.sim.invite(project, "p@example.com", age=timedelta(days=20))
        cli.sim.faults.add(faults.hang(), path="*/invites", times=None)
        url = "http://pusher-01:p%40ss-w0rd@127.0.0.1:9"
        process = cli.fork("sweep", "--policy", "policy.yaml", "--pushgateway", url)
        holder = tmp_path / "audit" / "lock"
        wait_until(cli.run_files)
        second = cli.sweep("--pushgateway", url)
        held = holder.read_text(encoding="utf-8")
        process.terminate()
        out, err = process.communicate(timeout=60)
        assert (second.code, process.returncode) == (9, 8)
        assert "http://127.0.0.1:9" in second.err
        shown = (
            held
            + second.out
            + second.err
            + (out + err).decode()
            + cli.log_path.read_text(encoding="utf-8")
        )
        for secret in ("p%40ss-w0rd", "p@ss-w0rd", "pusher-01"):
            assert secret not in shown


@pytest.mark.parametrize("cli", ["token"], indirect=True)
def test_invitation_whose_name_contains_a_secret_is_kept_and_the_secret_not_shown(cli):
    named = cli.sim.add_project(f"Team {cli.account.secret}")
    cli.sim.invite(named, "q@example.com", age=timedelta(days=20))
    cli.keys["audit"] = {"record": "all"}
    done = cli.sweep()
    (kept,) = cli.lines("kept")
    assert (kept["project_name"], kept["reason"]) == ("Team ***", "unrecordable")
    assert (done.code, done.summary["deleted"]) == (0, 3), done.err
    assert done.summary["kept_by_reason"] == {"unrecordable": 1}
    assert len(cli.sim.invitations(named)) == 1
    assert_silent(cli, done)


@pytest.mark.parametrize("cli", ["token"], indirect=True)
def test_error_and_organization_names_in_the_last_line_show_no_secret(cli):
    secret = cli.account.secret
    cli.sim.add_organization(ORG_ID, f"Acme {secret}")
    cli.keys["limits"] = {"max_deletions": 0}
    assert_silent(cli, done := cli.sweep())
    (finished,) = cli.lines("run_finished")
    assert [each["name"] for each in finished["organizations"]] == ["Acme ***"]
    assert done.code == 3
    assert finished["error"] == done.summary["error"]
