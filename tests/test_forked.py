"""A fork of the program ends like a new process."""

import os
import signal
import subprocess

import pytest
from environment import UMASK, clean
from forked import Fork, is_possible
from running import COMMAND


@pytest.mark.parametrize(
    "arguments",
    [("--version",), ("sweep", "--policy", "missing.yaml", "--output", "json")],
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


def test_fork_ends_at_a_hangup_also_under_nohup(tmp_path):
    hangs = tmp_path / "hangs.py"
    hangs.write_text("import os, signal; os.kill(os.getpid(), signal.SIGHUP)")
    fork = Fork(["--version"], tmp_path, dict(os.environ), prepare=hangs)
    assert fork.wait(timeout=60) == -signal.SIGHUP


@pytest.mark.parametrize(
    ("name", "possible"),
    [
        ("MONGODB_ATLAS_ACCESS_TOKEN", True),
        ("NO_COLOR", True),
        ("TZ", False),
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
