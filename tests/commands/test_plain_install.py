"""An installation without extras, or with other packages, has the same commands."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def packages(cli):
    """A folder that Python searches for packages before the installed ones."""
    folder = cli.folder / "packages"
    folder.mkdir()
    cli.changes["PYTHONPATH"] = str(folder)
    return folder


def test_sweep_works_without_the_only_extra(cli, packages):
    (packages / "uvloop.py").write_text("raise ModuleNotFoundError\n", encoding="utf-8")
    cli.stock()
    done = cli.sweep("--metrics-file", "run.prom")
    assert (done.code, done.summary["deleted"]) == (0, 1), done.err


def test_plugin_of_the_library_that_reads_policies_is_not_loaded(cli, packages):
    seen = cli.folder / "seen"
    (packages / "spy.py").write_text(f"open({str(seen)!r}, 'w').close()\nplugin = None\n")
    info = packages / "spy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: spy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pydantic]\nspy = spy:plugin\n")
    assert cli.run("validate", "policy.yaml").code == 0
    assert not seen.exists()
    model = "import pydantic; pydantic.create_model('M', x=(int, 1))"
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    subprocess.run([sys.executable, "-c", model], env=environment, check=False)
    assert seen.exists()  # by another program


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
