"""An installation without extras has the same commands; one without POSIX says that it has none."""

import json
import subprocess
import sys


def test_sweep_works_without_the_only_extra(cli):
    packages = cli.folder / "packages"  # searched before the installed ones
    packages.mkdir()
    (packages / "uvloop.py").write_text("raise ModuleNotFoundError\n", encoding="utf-8")
    cli.stock()
    done = cli.sweep("--metrics-file", "run.prom", PYTHONPATH=str(packages))
    assert (done.code, done.summary["deleted"]) == (0, 1), done.err


def test_without_the_locks_of_posix_as_on_windows_the_error_is_one_sentence_and_one_object():
    words = ["plan", "--output", "json"]
    script = f"import runpy, sys; sys.modules['fcntl'] = None; sys.argv[1:] = {words}; "
    script += "runpy.run_module('invite_sweeper')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 2
    first, *_, last = done.stderr.splitlines()
    assert first == "Error: invite-sweeper runs on Linux: this Python has no file locks of POSIX."
    assert last == "  On Windows, run it in WSL or in a container."
    assert json.loads(done.stdout)["error"]["message"].startswith("invite-sweeper runs on")
