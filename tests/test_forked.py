"""A fork of the program ends like a new process."""

import os
import signal
import subprocess

import faults
import pytest
from environment import UMASK, clean, on_real_clock
from forked import Fork, is_possible
from running import COMMAND, cli_in


@pytest.mark.parametrize(
    "arguments",
    [
        ("--version",),
        ("nonsense",),
        ("sweep", "--policy", "missing.yaml", "--output", "json"),
        ("schema",),
    ],
    ids=" ".join,
)
def test_fork_has_the_output_and_exit_code_of_a_process(tmp_path, arguments):
    environment = dict(os.environ)
    fork = Fork(arguments, tmp_path, environment)
    output = fork.communicate(timeout=60)
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (fork.returncode, *output) == (done.returncode, done.stdout, done.stderr)


def test_garbage_collector_of_a_fork_closes_no_file_of_the_program(tmp_path):
    opens = tmp_path / "opens.py"
    opens.write_text(
        """
import gc, os
assert os.listdir("/proc/self/fd")[:-1] == ["0", "1", "2"]  # the last is that of the folder
files = [open("/dev/null", "wb") for _ in range(7)]
gc.collect()
for file in files:
    os.fstat(file.fileno())
    file.close()
"""
    )
    with cli_in(tmp_path) as cli:  # beside another fork
        cli.sim.faults.add(faults.hang(), path="*", times=None)
        other = cli.fork("sweep", "--policy", "policy.yaml")
        fork = Fork(["--version"], tmp_path, dict(os.environ), prepare=opens)
        _, err = fork.communicate(timeout=60)
        other.kill()
        other.wait(timeout=60)
    assert (fork.returncode, err) == (0, b"")


def test_fork_ends_at_a_hangup_also_under_nohup(tmp_path):
    hangs = tmp_path / "hangs.py"
    hangs.write_text("import os, signal; os.kill(os.getpid(), signal.SIGHUP)")
    fork = Fork(["--version"], tmp_path, dict(os.environ), prepare=hangs)
    assert fork.wait(timeout=60) == -signal.SIGHUP


@pytest.mark.parametrize(
    ("name", "possible"),
    [
        ("MONGODB_ATLAS_ACCESS_TOKEN", True),
        ("COLUMNS", True),
        ("TZ", False),
        ("PYTHONUTF8", False),
        ("NO_COLOR", True),
        ("PATH", False),
    ],
)
def test_variable_that_takes_effect_at_the_start_needs_a_process(name, possible):
    without = {each: value for each, value in os.environ.items() if each != name}
    assert is_possible({**without, name: "1"}) is possible
    assert is_possible(without) is (possible or name not in os.environ)


def test_test_sees_no_variable_and_no_umask_of_the_shell_that_started_pytest():
    shell = {"PATH": "/bin", "TZ": "Pacific/Kiritimati", "NO_COLOR": "1", "PYTHONUTF8": "0"}
    shell |= {"https_proxy": "http://127.0.0.1:9", "INVITE_SWEEPER_POLICY": "wrong.yaml"}
    assert clean(shell) == {"PATH": "/bin"}
    assert dict(os.environ) == clean(os.environ)
    assert os.umask(UMASK) == UMASK


def test_program_that_a_test_starts_has_the_clock_of_the_test():
    clock = {"FAKETIME": "+45d", "FAKETIME_DISABLE_SHM": "1", "LD_PRELOAD": "libfaketime.so.1"}
    assert clean(clock) == clock
    assert on_real_clock({**clock, "PATH": "/bin"}) == {"PATH": "/bin"}
