"""Printed commands begin as the program was called."""

import shutil
import sys

import pytest

from invite_sweeper import text


@pytest.fixture(autouse=True)
def no_memory():
    text.called_as.cache_clear()
    yield
    text.called_as.cache_clear()


@pytest.fixture
def script(tmp_path):
    found = tmp_path / "bin" / "invite-sweeper"
    found.parent.mkdir()
    found.write_text("#!/bin/sh\n", encoding="utf-8")
    found.chmod(0o755)
    return found


@pytest.mark.parametrize(
    ("found", "shown"),
    [("same", "invite-sweeper"), ("none", "{script}"), ("another", "{script}")],
)
def test_script_is_named_if_the_path_finds_it_and_else_printed_as_it_was_called(
    monkeypatch, tmp_path, script, found, shown
):
    folder = tmp_path / "other"
    folder.mkdir()
    if found == "another":
        shutil.copy(script, folder)
    monkeypatch.setenv("PATH", str(script.parent if found == "same" else folder))
    monkeypatch.setattr(sys, "argv", [str(script)])
    program = shown.format(script=script)
    assert text.command("plan", "--out", "a b") == f"{program} plan --out 'a b'"


@pytest.mark.parametrize("name", ["/x/invite_sweeper/__main__.py", "invite-sweeper", ""])
def test_module_and_name_are_printed_as_the_name(name):
    assert text.called_as(name) == "invite-sweeper"
