"""No secret is in an output, file or error, also with -v, where no answer echoes it."""

import base64
from datetime import timedelta

import faults
import pytest
from running import cli_in, wait_until

from invite_sweeper.cli.console import configure_logging


@pytest.fixture(params=["token", "api-key", "service-account"])
def cli(request, tmp_path):
    with cli_in(tmp_path, kind=request.param) as found:
        found.stock(stale=3)
        yield found


token_alone = pytest.mark.parametrize("cli", ["token"], indirect=True)


def assert_silent(cli, *outputs, secrets=()):
    """Check that no output and no file of the program has a secret of the account, or these."""
    files = [path for path in cli.folder.rglob("*") if path.is_file() and path.suffix != ".mounted"]
    written = "".join([*outputs, *(path.read_text("utf-8", "replace") for path in files)])
    pair = base64.b64encode(f"{cli.account.name}:{cli.account.secret}".encode()).decode()
    for secret in (cli.account.secret, pair, *secrets):
        assert secret not in written
    for word in ("Authorization", "Bearer ", 'response="', "Traceback"):
        assert word not in written


def test_credentials_from_files_work_and_show_no_secret(cli):
    changes: dict[str, str | None] = {}
    for name, value in cli.account.environment().items():
        path = cli.folder / f"{name}.mounted"
        path.write_text(value + "\n", encoding="utf-8")
        changes |= {name: None, f"{name}_FILE": str(path)}
    done = cli.sweep("-v", **changes)
    assert (done.code, done.summary["deleted"]) == (0, 3)
    assert_silent(cli, done.out, done.err)


def test_wrong_secret_is_not_shown(cli):
    variables = cli.account.environment().items()
    changes = {name: f"{value}wrong" for name, value in variables if cli.account.secret == value}
    done = cli.sweep("-v", **changes)
    assert (done.code, cli.deletes()) == (5, 0)
    assert_silent(cli, done.out, done.err)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_traceback_in_the_log_shows_no_local_variable(log_format, capsys):
    log = configure_logging(quiet=False, verbose=True, log_format=log_format)
    token = f"a-very-secret-{log_format}"
    try:
        int("no")
    except ValueError:
        log.exception("failed")
    shown = capsys.readouterr().err
    assert "ValueError: invalid literal" in shown
    assert "in test_traceback_in_the_log" in shown
    assert token not in shown


@token_alone
def test_password_of_the_pushgateway_is_not_shown_by_this_run_or_the_next(cli):
    cli.sim.faults.add(faults.hang(), path="*/invites", times=None)
    gateway = ("--pushgateway", "http://pusher-01:p%40ss-w0rd@127.0.0.1:9")
    process = cli.fork("sweep", "--policy", "policy.yaml", *gateway)
    wait_until(cli.run_files)
    second = cli.sweep(*gateway)
    held = (cli.audit_dir / "lock").read_text(encoding="utf-8")
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (second.code, process.returncode) == (9, 8)
    assert "http://127.0.0.1:9" in second.err
    shown = (held, second.out, second.err, out.decode(), err.decode())
    assert_silent(cli, *shown, secrets=("p%40ss-w0rd", "p@ss-w0rd", "pusher-01"))


@token_alone
def test_invitation_whose_name_contains_a_secret_is_kept_and_the_secret_not_shown(cli):
    named = cli.sim.add_project(f"Team {cli.account.secret}")
    cli.sim.invite(named, "q@example.com", age=timedelta(days=20))
    cli.keys["audit"] = {"record": "all"}
    done = cli.sweep()
    (kept,) = cli.lines("kept")
    assert (kept["project_name"], kept["reason"]) == ("Team ***", "unrecordable")
    assert (done.code, done.summary["deleted"]) == (0, 3), done.err
    assert len(cli.sim.invitations(named)) == 1
    assert_silent(cli, done.out, done.err)
