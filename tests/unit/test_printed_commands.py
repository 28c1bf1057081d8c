"""Printed commands begin as the program was called."""

import shutil
import subprocess
import sys

import pytest

from invite_sweeper import text
from invite_sweeper.cli.main import called_as


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "bin" / "invite-sweeper"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("found", "shown"), [("same", "invite-sweeper"), ("none", "{script}"), ("another", "{script}")]
)
def test_script_is_named_if_the_path_finds_it_and_else_printed_as_it_was_called(
    monkeypatch, tmp_path, script, found, shown
):
    folder = tmp_path / "other"
    folder.mkdir()
    if found == "another":
        shutil.copy(script, folder)
    monkeypatch.setenv("PATH", str(script.parent if found == "same" else folder))
    assert called_as(str(script)) == shown.format(script=script)


@pytest.mark.parametrize("name", ["/x/invite_sweeper/__main__.py", ""])
def test_module_and_name_are_printed_as_the_name(name):
    assert called_as(name) == "invite-sweeper"


def test_printed_command_begins_as_the_program_was_called_and_can_be_pasted(monkeypatch):
    monkeypatch.setattr(text.PROGRAM, "called_as", "/opt/my tools/invite-sweeper")
    printed = text.shell_command("plan", "--out", "a b")
    assert printed == "'/opt/my tools/invite-sweeper' plan --out 'a b'"


def test_hint_of_wrong_usage_begins_as_the_program_was_called(script):
    script.write_text("from invite_sweeper.cli import main\nmain()\n", encoding="utf-8")
    words = [sys.executable, script, "--unknown"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={"PATH": ""})
    assert (done.returncode, f"See: {script} --help" in done.stderr) == (2, True), done.stderr
