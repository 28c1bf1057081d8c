"""Files of an unexpected kind or content: an error with a hint, and nothing is lost."""

import os
from datetime import timedelta

import faults
import pytest

DAYS = timedelta(days=1)
MIB = 1 << 20


@pytest.fixture
def cli(cli):
    project = cli.sim.add_project("Project")
    cli.projects.append(project)
    cli.sim.invite(project, "p@example.com", age=20 * DAYS)
    return cli


def refused(cli, done, *texts):
    """Check that the run ended before Atlas was called, with these texts and no traceback."""
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ()), done.err
    for text in (*texts, "Atlas was not called."):
        assert text in done.err
    assert "Traceback" not in done.err


# --- secret files --------------------------------------------------------------------------


def sparse(path):
    with path.open("wb") as file:
        file.truncate(1 << 30)


SECRET_FILES = {
    "device without an end": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "1 GiB": (sparse, "larger than 16 KiB"),
}


@pytest.mark.parametrize(("make", "text"), SECRET_FILES.values(), ids=SECRET_FILES.keys())
def test_secret_file_of_another_kind_is_wrong_usage(cli, make, text):
    make(cli.folder / "secret")
    changes = {"MONGODB_ATLAS_ACCESS_TOKEN": None, "MONGODB_ATLAS_ACCESS_TOKEN_FILE": "secret"}
    refused(cli, cli.sweep(**changes), "MONGODB_ATLAS_ACCESS_TOKEN_FILE", text)


def test_policy_that_is_a_pipe_is_wrong_usage_and_is_not_waited_for(cli):
    os.mkfifo(cli.folder / "pipe")
    done = cli.run("validate", "pipe")
    assert done.code == 2, done.err
    assert "The policy pipe cannot be read: it is not a regular file." in done.out + done.err


NOT_UTF8 = os.fsdecode(b"a\xff")


@pytest.mark.parametrize(
    "words",
    [
        (NOT_UTF8,),
        ("sweep", "--output", "json", "--out", NOT_UTF8),
    ],
)
def test_argument_that_is_not_utf8_is_wrong_usage(cli, words):
    cli.write_policy()
    done = cli.run(*words)
    assert (done.code, cli.sim.requests) == (2, ()), done.err
    assert r"An argument is not valid UTF-8: a\xff." in done.err
    assert "Traceback" not in done.err
    assert bool(done.out) is ("json" in words)


def test_file_that_the_locale_cannot_name_is_wrong_usage(cli):
    cli.keys["audit"] = {"directory": "protokoll-ü"}
    done = cli.run("plan", "--policy", "policy.yaml", LC_ALL="C", PYTHONUTF8="0")
    assert (done.code, cli.sim.deleted) == (2, ()), done.err
    assert done.errors == ["A file cannot be named protokoll-ü in this locale."]
    assert "LC_ALL=C.UTF-8" in done.err


# --- contents ------------------------------------------------------------------------------


def test_names_of_5_mib_are_kept_and_the_next_run_reads_the_log(cli):
    name = "x" * 5 * MIB
    large = cli.sim.add_project(name)
    cli.sim.invite(large, "q@example.com", age=20 * DAYS)
    cli.sim.invite(cli.projects[0], name, age=20 * DAYS)
    cli.sim.invite(cli.projects[0], "r@example.com", age=20 * DAYS, inviterUsername=name)
    unreadable = cli.sim.add_project(f"y{name}")
    cli.sim.faults.add(faults.role_missing(), path=f"*{unreadable}/invites", times=None)
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (4, 1), done.err[-500:]
    assert done.summary["kept_by_reason"] == {"unrecordable": 3}
    assert cli.log_path.stat().st_size < MIB
    assert cli.sweep().code == 4
    assert cli.run("audit", "verify", "audit").code == 0
