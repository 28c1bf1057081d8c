"""The tests pass for another user, in a folder with a space, in a shell that is set up badly.

A test sees nothing of that shell, and a fork of the program is like a new process.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from environment import ROOT, UMASK, clean
from forked import Fork, is_possible

SOME_TESTS = (
    "tests/test_surroundings.py::test_fork_ends_at_a_hangup_also_under_nohup",
    "tests/test_surroundings.py::test_test_sees_no_variable_and_no_umask_of_the_shell_that_started_pytest",
    "tests/commands/test_golden_files.py::test_audit_log_and_json_result_of_dry_run_sweep_and_restore_are_the_golden_files",
    "tests/commands/test_interrupted.py::test_hangup_ends_a_run_like_sigterm",
)
NOBODY = 65534
NOTHING_LISTENS = "http://127.0.0.1:9"
BAD = (
    "--ignore-signal=HUP",  # as under nohup
    *("PYTHONUNBUFFERED=1", "PYTHONUTF8=0", "PYTHONHASHSEED=0", "LC_ALL=C", "COLUMNS=40"),
    *("NO_COLOR=1", "FORCE_COLOR=1", "TZ=Pacific/Kiritimati", "INVITE_SWEEPER_POLICY=wrong.yaml"),
    *(f"{name}={NOTHING_LISTENS}" for name in ("HTTP_PROXY", "http_proxy", "https_proxy")),
    *("MONGODB_ATLAS_BASE_URL=https://wrong.example.com", "MONGODB_ATLAS_CLIENT_ID=wrong"),
)
"""For `env`."""


def another_user() -> dict[str, int]:
    """Return who runs the tests: root, where Python is in the home folder of root."""
    user = {"user": NOBODY, "group": NOBODY}
    if os.geteuid() != 0:
        return {}
    try:
        subprocess.run([sys.executable, "-c", ""], check=True, **user)
    except PermissionError:
        return {}
    return user


def test_tests_pass_in_a_shell_that_is_set_up_badly():
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "invite sweeper"
        copy.mkdir()
        shutil.copy(ROOT / "pyproject.toml", copy)
        for name in ("config", "invite_sweeper", "tests"):  # with what Python compiled of them
            shutil.copytree(ROOT / name, copy / name)
        user = another_user()
        if user:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", folder], check=True)
        words = ["env", *BAD, sys.executable, "-m", "pytest", "-q", *SOME_TESTS]
        environment = {"PATH": os.environ["PATH"], "HOME": folder}
        done = subprocess.run(
            words, cwd=copy, env=environment, umask=0o077, capture_output=True, check=False, **user
        )
    assert done.returncode == 0, done.stdout.decode()


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
