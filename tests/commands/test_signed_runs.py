"""Runs with a signing key: checkpoint line, summary, checkpoint file, and a log that is rotated."""

import gzip
import json
import os
from datetime import timedelta

import pytest

from invite_sweeper.keys import fingerprint, read_public_key
from invite_sweeper.notes import is_signed_by, key_ids

KEY = "INVITE_SWEEPER_SIGNING_KEY"


@pytest.fixture
def cli(cli):
    cli.sim.add_project("Alpha")
    cli.keys["audit"] = {"signing_key_env": KEY}
    assert cli.run("audit", "keygen", "--out", "key").code == 0
    return cli


def signed(cli, *arguments):
    return cli.sweep(*arguments, **{f"{KEY}_FILE": "key"})


def test_signed_run_ends_with_its_checkpoint_everywhere(cli):
    done = signed(cli, "--checkpoint-file", "note")
    assert done.code == 0
    *_, finished, last = cli.lines()
    assert (finished["event"], last["event"]) == ("run_finished", "checkpoint")
    note = last["note"]
    assert (
        json.loads(done.out)["checkpoint"]
        == note
        == (cli.folder / "note").read_text(encoding="utf-8")
    )
    assert is_signed_by(note, read_public_key(cli.folder / "key.pub"))
    assert (cli.folder / "note").stat().st_mode & 0o777 == 0o600
    log = "audit/invite-sweeper.jsonl"
    evidence = ("--public-key", "key.pub", "--checkpoint", "note")
    assert cli.run("audit", "verify", log, *evidence).code == 0
    text = cli.run("sweep", "--policy", "policy.yaml", **{f"{KEY}_FILE": "key"}).out
    assert "Checkpoint" in text
    assert " lines signed, up to " in text


def test_rotated_compressed_log_goes_on_and_cut_file_refuses_the_run(cli):
    assert signed(cli).code == 0
    rotated = cli.log_path.with_name("invite-sweeper.jsonl-20261126.gz")
    rotated.write_bytes(gzip.compress(cli.log_path.read_bytes()))
    cli.log_path.unlink()
    assert signed(cli).code == 0
    files = [str(cli.log_path), str(rotated), "--public-key", "key.pub"]
    assert cli.run("audit", "verify", *files).code == 0
    assert cli.run("audit", "verify", files[0], *files[2:]).code == 3
    lines = cli.log_path.read_bytes().splitlines(keepends=True)
    cli.log_path.write_bytes(b"".join(lines[:-1]))
    before = len(cli.sim.requests)
    done = signed(cli)
    assert (done.code, len(cli.sim.requests)) == (3, before)
    assert "is shorter than what was written" in done.err
    assert "Nothing was deleted." in done.err
    cli.log_path.rename(cli.log_path.with_name("away"))
    assert signed(cli, "--new-log").code == 0
    assert cli.lines("run_started")[0]["new_log"] is True
    assert cli.lines()[0]["prev"] == "0" * 64


@pytest.mark.parametrize("key", [None, "", "secret text"])
def test_missing_or_bad_key_is_2_before_atlas_is_called(cli, key):
    before = len(cli.sim.requests)
    done = cli.sweep(**{KEY: key})
    assert (done.code, len(cli.sim.requests)) == (2, before)
    assert KEY in done.err
    assert "secret" not in done.err
    assert not cli.log_path.exists()


def test_checkpoint_file_without_a_key_or_in_a_missing_directory_is_2(cli):
    assert signed(cli, "--checkpoint-file", "missing/note").code == 2
    del cli.keys["audit"]
    done = cli.sweep("--checkpoint-file", "note")
    assert done.code == 2
    assert "--checkpoint-file needs a signing key" in done.err


@pytest.mark.parametrize("kind", ["device without an end", "pipe without a writer", "directory"])
def test_signing_key_that_is_not_a_regular_file_is_wrong_usage(cli, kind):
    path = cli.folder / "odd"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe without a writer":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    done = cli.sweep(**{f"{KEY}_FILE": "odd"})
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ()), done.err
    assert "Name a regular file" in done.err
    assert "Traceback" not in done.err


# Restore ----------------------------------------------------------------------------------------


def deleted_by_a_signed_run(cli):
    cli.sim.invite(cli.sim.add_project("Beta"), "ada@example.com", age=timedelta(days=20))
    assert signed(cli).code == 0
    return cli.log_path.read_bytes()


def restored(cli, *arguments, **changes):
    return cli.run("restore", LOG, "--yes", "--output", "json", *arguments, **changes)


def test_restore_finds_the_variable_of_the_key_in_the_log_and_signs_its_end(cli):
    deleted_by_a_signed_run(cli)
    done = restored(cli, **{f"{KEY}_FILE": "key"})
    assert (done.code, done.summary["restored"]) == (0, 1), done.err
    assert cli.lines()[-1]["event"] == "checkpoint"
    assert cli.lines("run_started")[-1]["signing_key_env"] == KEY
    assert cli.run("audit", "verify", LOG, "--public-key", "key.pub").code == 0


def test_restore_into_a_signed_log_without_its_key_is_2_before_the_first_line(cli):
    before = deleted_by_a_signed_run(cli)
    requests = len(cli.sim.requests)
    done = restored(cli)
    assert (done.code, len(cli.sim.requests)) == (2, requests)
    assert f"The signing key is missing: {KEY} is not set." in done.err
    assert cli.log_path.read_bytes() == before


def test_dry_run_of_a_restore_writes_nothing_and_needs_no_key(cli):
    before = deleted_by_a_signed_run(cli)
    files = sorted(each.name for each in cli.log_path.parent.iterdir())
    done = restored(cli, "--dry-run")
    assert (done.code, done.summary["to_restore"]) == (0, 1)
    assert cli.log_path.read_bytes() == before
    assert sorted(each.name for each in cli.log_path.parent.iterdir()) == files


# The report -------------------------------------------------------------------------------------

LOG = "audit/invite-sweeper.jsonl"


def report(cli, *arguments, form="md"):
    done = cli.run("report", LOG, "--format", form, *arguments)
    assert done.code == 0, done.err
    return " ".join(done.out.replace("`", "").split())


def test_report_of_signed_runs_names_the_key_of_each_run_and_asks_for_the_public_key(cli):
    for _ in range(2):
        signed(cli)
    (ids,) = {key_ids(line["note"]) for line in cli.lines("checkpoint")}
    text = report(cli)
    assert "2 of 2 runs have checkpoints. The signatures were not verified" in text
    assert f"The run is signed with the key ID {ids[0]}." in text
    assert text.count(f"| {ids[0]} |") == 2
    found = json.loads(cli.run("report", LOG, "--format", "json").out)["report"]
    assert [run["key_ids"] for run in found["runs"]] == [ids[0]] * 2


def test_report_with_the_public_key_says_that_every_run_is_signed_with_it(cli):
    signed(cli)
    text = report(cli, "--public-key", "key.pub")
    assert "Audit log: sound." in text
    key = fingerprint(read_public_key(cli.folder / "key.pub"))
    assert f"The end of every run is signed with the key {key}." in text
    assert "not verified" not in text


@pytest.mark.parametrize("other", [True, False], ids=["other key", "unsigned run"])
def test_report_with_a_key_that_did_not_sign_every_run_is_of_a_damaged_log(cli, other):
    signed(cli)
    if other:
        assert cli.run("audit", "keygen", "--out", "other").code == 0
        text = report(cli, "--public-key", "other.pub")
        assert "is not signed with the public key" in text
    else:
        cli.keys["audit"] = {}
        assert cli.sweep().code == 0
        assert "The run is not signed." in report(cli)
        text = report(cli, "--public-key", "key.pub")
        assert "has no checkpoint" in text
    assert "Damaged audit log" in text


def test_report_with_a_file_that_is_not_a_public_key_is_wrong_usage(cli):
    signed(cli)
    assert cli.run("report", LOG, "--public-key", "key").code == 2
