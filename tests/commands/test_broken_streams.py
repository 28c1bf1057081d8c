"""Closed, full or broken standard streams do not change how a run ends."""

import os
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from running import COMMAND, desk_in

SWEEP = "exec {} sweep --policy policy.yaml --yes"
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as found:
        project = found.sim.add_project("Project")
        for n in range(12):
            found.sim.invite(project, f"p{n}@example.com", age=timedelta(days=20))
        yield found


def shell(desk, redirections, command=SWEEP):
    """Run the program in a shell with redirections; return exit code, stdout and stderr."""
    desk.write_policy()
    line = f"{command.format(' '.join(COMMAND))} {redirections}"
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=desk.folder,
        env=desk.environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def is_whole(desk):
    """Return whether every deletion was done and is in the log."""
    assert desk.sim.invitation_count() == 0
    assert [line["outcome"] for line in desk.lines("outcome")] == ["deleted"] * 12
    assert [line["exit_code"] for line in desk.lines("run_finished")] == [0]
    return desk.run("audit", "verify", str(desk.log_path)).code == 0


CLOSED = ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"]


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("redirections", CLOSED)
def test_closed_stream_changes_nothing_and_no_output_reaches_the_log(desk, redirections, output):
    code, _, err = shell(desk, f"--output {output} {redirections}")
    assert code == 0, err
    assert is_whole(desk)
    assert "Traceback" not in err


@FULL
@pytest.mark.parametrize("verbose", ["", "-v"])
def test_full_disk_behind_stderr_does_not_stop_a_run(desk, verbose):
    code, out, _ = shell(desk, f"--output json {verbose} 2>/dev/full")
    assert code == 0
    assert '"deleted":12' in out
    assert is_whole(desk)


@FULL
@pytest.mark.parametrize("output", ["text", "json"])
def test_full_disk_behind_stdout_is_reported_once(desk, output):
    code, _, err = shell(desk, f"--output {output} >/dev/full")
    assert code == 0
    assert "could not be written to standard output: No space left on device" in err
    assert "Traceback" not in err
    assert is_whole(desk)


@pytest.mark.parametrize("number", ["1", "2"])
def test_closed_pipe_does_not_stop_a_run(desk, number):
    reading, writing = os.pipe()
    os.close(reading)
    desk.write_policy()
    streams = {"1": {"stdout": writing}, "2": {"stderr": writing}}[number]
    done = subprocess.run(
        [*COMMAND, "sweep", "--policy", "policy.yaml", "--yes", "-v"],
        cwd=desk.folder,
        env=desk.environment,
        check=False,
        timeout=60,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
    )
    os.close(writing)
    assert done.returncode == 0
    assert is_whole(desk)


@FULL
@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_unwritable_copy_of_the_audit_log_does_not_stop_a_run(desk, redirection):
    desk.keys["audit"] = {"path": "audit/invite-sweeper.jsonl -"}
    code, _, err = shell(desk, redirection)
    assert code == 0
    assert "Traceback" not in err
    assert is_whole(desk)


@FULL
@pytest.mark.parametrize("command", ["{} --version", "{} schema", "{} --help"])
def test_other_commands_report_an_unwritable_stdout(desk, command):
    _, _, err = shell(desk, ">/dev/full", command)
    assert "could not be written to standard output" in err
    assert "Traceback" not in err
