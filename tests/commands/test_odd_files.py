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


def fifo(path):
    os.mkfifo(path)


def sparse(path):
    with path.open("wb") as file:
        file.truncate(1 << 30)


SECRET_FILES = {
    "device without an end": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "pipe without a writer": (fifo, "not a regular file"),
    "directory": (lambda path: path.mkdir(), "directory"),
    "1 GiB": (sparse, "larger than 16 KiB"),
    "missing": (lambda _: None, "No such file"),
}


@pytest.mark.parametrize(("make", "text"), SECRET_FILES.values(), ids=SECRET_FILES.keys())
def test_secret_file_of_another_kind_is_wrong_usage(cli, make, text):
    make(cli.folder / "secret")
    changes = {"MONGODB_ATLAS_ACCESS_TOKEN": None, "MONGODB_ATLAS_ACCESS_TOKEN_FILE": "secret"}
    refused(cli, cli.sweep(**changes), "MONGODB_ATLAS_ACCESS_TOKEN_FILE", text)


@pytest.mark.parametrize("command", ["sweep", "validate", "explain", "doctor"])
def test_policy_that_is_a_pipe_is_wrong_usage_and_is_not_waited_for(cli, command):
    fifo(cli.folder / "pipe")
    words = {"validate": ("pipe",), "explain": ("x", "--policy", "pipe")}
    done = cli.run(command, *words.get(command, ("--policy", "pipe")))
    assert done.code == 2, done.err
    assert "The policy pipe cannot be read: it is not a regular file." in done.out + done.err


NOT_UTF8 = os.fsdecode(b"a\xff")


@pytest.mark.parametrize(
    "words",
    [
        ("sweep", "--audit-dir", NOT_UTF8),
        ("sweep", "--out", NOT_UTF8),
        ("doctor", "--policy", NOT_UTF8),
        ("explain", NOT_UTF8),
        ("restore", NOT_UTF8),
        ("audit", "verify", NOT_UTF8),
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


# --- outputs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "what"), [("--out", "a plan"), ("--metrics-file", "a metrics file")]
)
@pytest.mark.parametrize("behind", ["file", "link", "hard link"])
def test_output_over_another_file_is_refused_and_the_file_stays(cli, option, what, behind):
    letter = cli.folder / "letter"
    letter.write_text("dear all,\n", encoding="utf-8")
    place = cli.folder / "out"
    if behind == "link":
        place.symlink_to(letter)
    elif behind == "hard link":
        place.hardlink_to(letter)
    else:
        place = letter
    done = cli.plan(option, place.name)
    refused(cli, done, f"{option} {place.name} would overwrite a file that is not {what}")
    assert letter.read_text(encoding="utf-8") == "dear all,\n"
    assert place.is_symlink() == (behind == "link")


@pytest.mark.parametrize("option", ["--out", "--metrics-file"])
def test_output_over_an_empty_file_or_an_earlier_output_is_written(cli, option):
    place = cli.folder / "out"
    place.touch()
    assert cli.plan(option, "out").code == 0
    first = place.read_bytes()
    assert first
    assert cli.plan(option, "out").code == 0
    assert place.read_bytes() != first


@pytest.mark.parametrize("option", ["--out", "--metrics-file"])
def test_output_over_an_output_of_the_other_kind_is_refused(cli, option):
    other = {"--out": "--metrics-file", "--metrics-file": "--out"}[option]
    assert cli.plan(other, "out").code == 0
    before, calls = (cli.folder / "out").read_bytes(), len(cli.sim.requests)
    done = cli.plan(option, "out")
    assert (done.code, len(cli.sim.requests)) == (2, calls)
    assert (cli.folder / "out").read_bytes() == before


@pytest.mark.parametrize("option", ["--out", "--metrics-file"])
def test_output_to_a_directory_is_refused_before_atlas_is_called(cli, option):
    (cli.folder / "taken").mkdir()
    refused(cli, cli.sweep(option, "taken"), f"{option} taken is a directory", "Name a file")


@pytest.mark.parametrize("option", ["--out", "--metrics-file"])
def test_output_in_the_audit_directory_is_refused(cli, option):
    refused(cli, cli.sweep(option, "audit/new"), f"{option} audit/new is in the audit directory")


@pytest.mark.parametrize(
    "url", ["ftp://gateway", "gateway:9091", "http://", "http://[gateway", "http://gateway:x", ""]
)
def test_pushgateway_that_is_not_a_url_is_wrong_usage(cli, url):
    refused(cli, cli.sweep("--pushgateway", url), "--pushgateway", "Write it as http://")


# --- contents ------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["project", "username", "inviter"])
def test_name_of_20_mib_is_kept_and_the_next_run_reads_the_log(cli, field):
    name = "x" * 20 * MIB
    fields = {"username": "q@example.com"}
    project = cli.sim.add_project(name if field == "project" else "Large")
    if field != "project":
        fields[field] = name
    username = fields.pop("username")
    overrides = {"inviterUsername": name} if field == "inviter" else {}
    cli.sim.invite(project, username, age=20 * DAYS, **overrides)
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 1), done.err[-500:]
    assert done.summary["kept_by_reason"] == {"unrecordable": 1}
    assert cli.log_path.stat().st_size < MIB
    assert cli.sweep().code == 0
    assert cli.run("audit", "verify", "audit").code == 0


def test_unreadable_project_with_a_name_of_20_mib_does_not_stop_the_next_run(cli):
    project = cli.sim.add_project("y" * 20 * MIB)
    cli.sim.faults.add(faults.role_missing(), path=f"*{project}/invites", times=None)
    for code in (4, 4):
        done = cli.sweep()
        assert done.code == code, done.err[-500:]
    assert cli.log_path.stat().st_size < MIB
