"""A fork of the program ends like a new process."""

import os
import signal

import pytest
from environment import UMASK, clean
from forked import Fork, is_possible


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
