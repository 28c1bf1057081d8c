"""Closed, full or broken standard streams do not change how a run ends."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from running import COMMAND, IN_SHELL, cli_in, wait_until

SWEEP = "exec {} sweep --policy policy.yaml --yes"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


@pytest.fixture
def cli(cli):
    cli.stock(stale=12)
    return cli


def shell(cli, redirections, command=SWEEP):
    """Run the program in a shell with redirections; return exit code, stdout and stderr."""
    cli.write_policy()
    line = f"{command.format(IN_SHELL)} {redirections}"
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def is_whole(cli):
    """Return whether every deletion was done and is in the log."""
    assert cli.sim.invitation_count() == 0
    assert [line["outcome"] for line in cli.lines("outcome")] == ["deleted"] * 12
    assert [line["exit_code"] for line in cli.lines("run_finished")] == [0]
    return cli.run("audit", "verify", "--policy", "policy.yaml").code == 0


CLOSED = ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize(
    ("redirections", "output"), [*((each, "text") for each in CLOSED), (">&-", "json")]
)
def test_closed_stream_changes_nothing_and_no_output_reaches_the_log(cli, redirections, output):
    code, _, err = shell(cli, f"--output {output} {redirections}")
    assert code == 0, err
    assert is_whole(cli)
    assert "Traceback" not in err


@FULL
@pytest.mark.parametrize("verbose", ["", "-v"])
def test_full_disk_behind_stderr_does_not_stop_a_run(cli, verbose):
    code, out, _ = shell(cli, f"--output json {verbose} 2>/dev/full")
    assert code == 0
    assert '"deleted":12' in out
    assert is_whole(cli)


@FULL
@pytest.mark.parametrize("output", ["text", "json"])
def test_full_disk_behind_stdout_is_reported_once(cli, output):
    code, _, err = shell(cli, f"--output {output} >/dev/full")
    assert code == 0
    assert "could not be written to standard output: No space left on device" in err
    assert "Traceback" not in err
    assert is_whole(cli)


@pytest.mark.parametrize("number", ["1", "2"])
def test_closed_pipe_does_not_stop_a_run(cli, number):
    reading, writing = os.pipe()
    os.close(reading)
    cli.write_policy()
    streams = {"1": {"stdout": writing}, "2": {"stderr": writing}}[number]
    done = subprocess.run(
        [*COMMAND, "sweep", "--policy", "policy.yaml", "--yes", "-v"],
        cwd=cli.folder,
        env=cli.environment,
        check=False,
        timeout=60,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )
    os.close(writing)
    assert done.returncode == 0
    assert is_whole(cli)


@FULL
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_unwritable_copy_of_the_audit_log_does_not_stop_a_run(cli, redirection):
    cli.keys["audit"] = {"stdout": True}
    code, _, err = shell(cli, redirection)
    assert code == 0
    assert "Traceback" not in err
    assert is_whole(cli)


@FULL
@pytest.mark.parametrize("command", ["{} --version", "{} schema", "{} --help"])
def test_other_commands_report_an_unwritable_stdout(cli, command):
    _, _, err = shell(cli, ">/dev/full", command)
    assert "could not be written to standard output" in err
    assert "Traceback" not in err


def stuck_pipe():
    """Return both ends of a pipe without room, whose reader does not read."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return reading, writing


STUCK = {
    "stderr": ({"stderr"}, ["-v"], False),
    "copy of the log": ({"stdout"}, [], True),
}


def run_stuck(folder, streams, arguments, copy):
    with cli_in(folder) as cli:
        project = cli.sim.add_project("Project")
        for n in range(12):
            cli.sim.invite(project, f"p{n}@example.com", age=timedelta(days=20))
        cli.keys["audit"] = {"stdout": copy}
        cli.write_policy()
        reading, writing = stuck_pipe()
        done = subprocess.run(
            [*COMMAND, "sweep", "--policy", "policy.yaml", "--yes", *arguments],
            cwd=cli.folder,
            env=cli.environment,
            check=False,
            timeout=60,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            | dict.fromkeys(streams, writing),
        )
        os.close(reading)
        os.close(writing)
        assert is_whole(cli)
        return done


@pytest.mark.slow
def test_reader_that_does_not_read_is_left_behind_and_the_run_is_whole(tmp_path):
    with ThreadPoolExecutor() as threads:
        running = {}
        for number, (name, case) in enumerate(STUCK.items()):
            (folder := tmp_path / str(number)).mkdir()
            running[name] = threads.submit(run_stuck, folder, *case)
        done = {name: each.result() for name, each in running.items()}
    assert {name: each.returncode for name, each in done.items()} == dict.fromkeys(STUCK, 0)
    assert b"12 deleted" in done["stderr"].stdout
    err = done["copy of the log"].stderr.decode()
    assert "the copy of the audit log on standard output is incomplete" in err
    assert "its reader does not read" in err


def test_command_behind_a_full_stdout_ends_after_a_signal(cli):
    reading, writing = stuck_pipe()
    process = subprocess.Popen(
        [*COMMAND, "schema"], stdout=writing, stderr=subprocess.PIPE, cwd=cli.folder
    )
    wait_until(lambda: is_blocked(process.pid))
    process.terminate()
    _, err = process.communicate(timeout=60)
    os.close(reading)
    os.close(writing)
    assert (process.returncode, err) == (8, b"Interrupted. Nothing was deleted.\n")


def is_blocked(pid):
    """Return whether a process sleeps and handles SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    handled = int(fields["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1
    return handled and fields["State"].split()[0] == "S"
