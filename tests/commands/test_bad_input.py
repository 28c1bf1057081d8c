"""Words, files and locales that no one expects: an error with a hint, and never a traceback."""

import os
from datetime import timedelta

import pytest

LONG = ("7" * 5_000, "../" * 1_500 + "x", "\u0664")


def test_a_run_that_cannot_be_one_is_wrong_usage(cli):
    for word in LONG:
        done = cli.run("sweep", "--plan", word)
        assert (done.code, cli.deletes()) == (2, 0), word
        assert "Traceback" not in done.err
        assert "has no run" in done.err
        assert len(done.err) < 1_000


def test_a_plan_of_two_policies_is_wrong_usage_and_one_of_the_environment_gives_way(cli):
    cli.stock()
    done = cli.run("plan", "policy.yaml", "--policy", "other.yaml")
    assert (done.code, cli.sim.requests) == (2, [])
    assert "Two policies: policy.yaml and --policy other.yaml." in done.err
    assert cli.run("plan", "policy.yaml", INVITE_SWEEPER_POLICY="other.yaml").code == 0


def test_policy_that_is_a_pipe_is_wrong_usage_and_is_not_waited_for(cli):
    os.mkfifo(cli.folder / "pipe")
    done = cli.run("validate", "pipe")
    assert done.code == 2, done.err
    assert "The policy pipe cannot be read: it is not a regular file." in done.out + done.err


NOT_UTF8 = os.fsdecode(b"a\xff")


@pytest.mark.parametrize("words", [(NOT_UTF8,), ("sweep", "--output", "json", "--out", NOT_UTF8)])
def test_argument_that_is_not_utf8_is_wrong_usage(cli, words):
    cli.write_policy()
    done = cli.run(*words)
    assert (done.code, cli.sim.requests) == (2, []), done.err
    assert r"An argument is not valid UTF-8: a\xff." in done.err
    assert "Traceback" not in done.err
    assert bool(done.out) is ("json" in words)


def test_file_that_the_locale_cannot_name_is_wrong_usage(cli):
    cli.keys["audit"] = {"directory": "protokoll-ü"}
    done = cli.run("plan", LC_ALL="C", PYTHONUTF8="0")
    assert (done.code, cli.sim.deleted) == (2, []), done.err
    assert done.errors == ["A file cannot be named protokoll-ü in this locale."]
    assert "LC_ALL=C.UTF-8" in done.err


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_names_are_escaped_in_a_locale_without_their_characters_but_for_a_report(cli):
    project = cli.sim.add_project("Büro")
    cli.sim.invite(project, "ada@example.com", age=timedelta(days=20))
    done = cli.run("sweep", **ASCII)
    assert (done.code, "B\\xfcro" in done.out) == (0, True), done.err
    report = cli.run("report", **ASCII)
    assert (report.code, "Büro" in report.out) == (0, True), report.err
