"""Printed commands begin as the program was called."""

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


def test_script_that_the_path_finds_is_named(monkeypatch, script):
    monkeypatch.setenv("PATH", str(script.parent))
    assert text.called_as(str(script)) == "invite-sweeper"


@pytest.mark.parametrize("other", [False, True], ids=["not on the path", "another on the path"])
def test_script_that_the_path_does_not_find_is_printed_as_it_was_called(
    monkeypatch, tmp_path, script, other
):
    folder = tmp_path / "other"
    folder.mkdir()
    if other:
        (folder / "invite-sweeper").write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / "invite-sweeper").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert text.command("plan", "--out", "a b") == f"{script} plan --out 'a b'"


@pytest.mark.parametrize("name", ["/x/invite_sweeper/__main__.py", "invite-sweeper", ""])
def test_module_and_name_are_printed_as_the_name(name):
    assert text.called_as(name) == "invite-sweeper"
