"""Closed, full or broken standard streams do not change how a run ends."""

import os
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from forked import Fork
from running import COMMAND, IN_SHELL, end, full_pipe, wait_until


@pytest.fixture
def cli(cli):
    cli.stock(stale=12)
    cli.write_policy()
    return cli


def assert_whole(cli):
    """Check that every deletion was done and is in the log."""
    assert cli.sim.invitation_count() == 0
    assert [line["outcome"] for line in cli.lines("outcome")] == ["deleted"] * 12
    assert [line["exit_code"] for line in cli.lines("run_finished")] == [0]
    assert cli.run("audit", "verify").code == 0


def test_closed_streams_change_nothing_and_no_output_reaches_the_log(cli):
    line = f"exec {IN_SHELL} sweep --output json <&- >&- 2>&-"
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert_whole(cli)


def broken(kind: str, stack: ExitStack) -> int:
    """Return the descriptor of a stream that cannot be written."""
    if kind == "stuck pipe":
        return stack.enter_context(full_pipe())[1]
    if kind == "full disk":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, descriptor = os.pipe()
        os.close(reading)
    stack.callback(os.close, descriptor)
    return descriptor


NO_SPACE = "could not be written to standard output: No space left on device"
INCOMPLETE = "the copy of the audit log on standard output is incomplete"


@pytest.mark.parametrize(
    ("kind", "stream", "words", "copy", "said"),
    [
        ("full disk", "stdout", (), False, NO_SPACE),
        ("full disk", "stdout", (), True, ""),
        ("closed pipe", "stdout", (), False, ""),
        ("stuck pipe", "stderr", ("-v",), False, "12 deleted"),
        ("stuck pipe", "stdout", (), True, INCOMPLETE),
    ],
)
def test_broken_stream_does_not_stop_a_run(cli, kind, stream, words, copy, said):
    cli.keys["audit"] = {"stdout": copy}
    cli.write_policy()
    with ExitStack() as stack:
        streams = {stream: broken(kind, stack)}
        done = end(Fork(("sweep", *words), cli.folder, cli.environment, **streams))
    assert done.code == 0, done.err
    assert said in done.out + done.err
    assert "Traceback" not in done.err
    assert_whole(cli)


def test_other_commands_report_an_unwritable_stdout(cli):
    with ExitStack() as stack:
        stdout = broken("full disk", stack)
        done = end(Fork(("schema",), cli.folder, cli.environment, stdout=stdout))
    assert "could not be written to standard output" in done.err
    assert "Traceback" not in done.err


def test_command_behind_a_full_stdout_ends_after_a_second_signal(cli):
    with ExitStack() as stack:
        _, stdout = stack.enter_context(full_pipe())
        words = [*COMMAND, "schema"]
        process = stack.enter_context(
            subprocess.Popen(words, stdout=stdout, stderr=subprocess.PIPE, cwd=cli.folder)
        )
        stack.callback(process.kill)
        wait_until(lambda: is_blocked(process.pid))
        process.terminate()
        said = process.stderr.readline()
        process.terminate()
        code = process.wait(timeout=60)
    assert (code, said) == (-signal.SIGTERM, b"Interrupted. Nothing was deleted.\n")


def is_blocked(pid):
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    handled = int(fields["SigCgt"], 16) >> (signal.SIGTERM - 1) & 1
    return handled and fields["State"].split()[0] == "S"
