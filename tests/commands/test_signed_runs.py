"""Runs with a signing key: checkpoint line, summary, checkpoint file, and a log that is rotated."""

import gzip
import json
import os

import pytest
from running import desk_in

from invite_sweeper.audit import checkpoint
from invite_sweeper.keys import read_public_key
from invite_sweeper.sweep.approval import key_fingerprint

KEY = "INVITE_SWEEPER_SIGNING_KEY"


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as desk:
        desk.sim.add_project("Alpha")
        desk.keys["audit"] = {"signing_key_env": KEY}
        assert desk.run("audit", "keygen", "--out", "key").code == 0
        yield desk


def signed(desk, *arguments):
    return desk.sweep(*arguments, **{f"{KEY}_FILE": "key"})


def test_signed_run_ends_with_its_checkpoint_everywhere(desk):
    done = signed(desk, "--checkpoint-file", "note")
    assert done.code == 0
    *_, finished, last = desk.lines()
    assert (finished["event"], last["event"]) == ("run_finished", "checkpoint")
    note = last["note"]
    assert json.loads(done.out)["checkpoint"] == note == (desk.folder / "note").read_text()
    assert checkpoint.is_signed_by(note, read_public_key(desk.folder / "key.pub"))
    assert (desk.folder / "note").stat().st_mode & 0o777 == 0o600
    log = "audit/invite-sweeper.jsonl"
    evidence = ("--public-key", "key.pub", "--checkpoint", "note")
    assert desk.run("audit", "verify", log, *evidence).code == 0
    text = desk.run("sweep", "--policy", "policy.yaml", **{f"{KEY}_FILE": "key"}).out
    assert "Checkpoint" in text
    assert " lines signed, up to " in text


def test_rotated_compressed_log_goes_on_and_cut_file_refuses_the_run(desk):
    assert signed(desk).code == 0
    rotated = desk.log_path.with_name("invite-sweeper.jsonl-20261126.gz")
    rotated.write_bytes(gzip.compress(desk.log_path.read_bytes()))
    desk.log_path.unlink()
    assert signed(desk).code == 0
    files = [str(desk.log_path), str(rotated), "--public-key", "key.pub"]
    assert desk.run("audit", "verify", *files).code == 0
    assert desk.run("audit", "verify", files[0], *files[2:]).code == 3
    lines = desk.log_path.read_bytes().splitlines(keepends=True)
    desk.log_path.write_bytes(b"".join(lines[:-1]))
    before = len(desk.sim.requests)
    done = signed(desk)
    assert (done.code, len(desk.sim.requests)) == (3, before)
    assert "is shorter than what was written" in done.err
    assert "Nothing was deleted." in done.err
    desk.log_path.rename(desk.log_path.with_name("away"))
    assert signed(desk, "--new-log").code == 0
    assert desk.lines("run_started")[0]["new_log"] is True
    assert desk.lines()[0]["prev"] == "0" * 64


@pytest.mark.parametrize("key", [None, "", "secret text"])
def test_missing_or_bad_key_is_2_before_atlas_is_called(desk, key):
    before = len(desk.sim.requests)
    done = desk.sweep(**{KEY: key})
    assert (done.code, len(desk.sim.requests)) == (2, before)
    assert KEY in done.err
    assert "secret" not in done.err
    assert not desk.log_path.exists()


def test_checkpoint_file_without_a_key_or_in_a_missing_directory_is_2(desk):
    assert signed(desk, "--checkpoint-file", "missing/note").code == 2
    del desk.keys["audit"]
    done = desk.sweep("--checkpoint-file", "note")
    assert done.code == 2
    assert "--checkpoint-file needs a signing key" in done.err


@pytest.mark.parametrize("kind", ["device without an end", "pipe without a writer", "directory"])
def test_signing_key_that_is_not_a_regular_file_is_wrong_usage(desk, kind):
    path = desk.folder / "odd"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe without a writer":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    done = desk.sweep(**{f"{KEY}_FILE": "odd"})
    assert (done.code, done.has_result, desk.sim.requests) == (2, False, ()), done.err
    assert "Name a regular file" in done.err
    assert "Traceback" not in done.err


# The report -------------------------------------------------------------------------------------

LOG = "audit/invite-sweeper.jsonl"


def report(desk, *arguments, form="md"):
    done = desk.run("report", LOG, "--format", form, *arguments)
    assert done.code == 0, done.err
    return " ".join(done.out.replace("`", "").split())


def test_report_of_signed_runs_names_the_key_of_each_run_and_asks_for_the_public_key(desk):
    for _ in range(2):
        signed(desk)
    (ids,) = {checkpoint.key_ids(line["note"]) for line in desk.lines("checkpoint")}
    text = report(desk)
    assert "2 of 2 runs have checkpoints. The signatures were not verified" in text
    assert f"The newest run is signed with the key ID {ids[0]}." in text
    assert text.count(f"| {ids[0]} |") == 2
    assert (
        json.loads(desk.run("report", LOG, "--format", "json").out)["report"]["runs"]["rows"][0][
            "key_ids"
        ]
        == ids[0]
    )


def test_report_with_the_public_key_says_that_every_run_is_signed_with_it(desk):
    signed(desk)
    text = report(desk, "--public-key", "key.pub")
    assert "Audit log: sound." in text
    fingerprint = key_fingerprint(desk.folder / "key.pub")
    assert f"The end of every run is signed with the key {fingerprint}." in text
    assert "not verified" not in text


@pytest.mark.parametrize("other", [True, False], ids=["other key", "unsigned run"])
def test_report_with_a_key_that_did_not_sign_every_run_is_of_a_damaged_log(desk, other):
    signed(desk)
    if other:
        assert desk.run("audit", "keygen", "--out", "other").code == 0
        text = report(desk, "--public-key", "other.pub")
        assert "is not signed with the public key" in text
    else:
        desk.keys["audit"] = {}
        assert desk.sweep().code == 0
        assert "The newest run is not signed." in report(desk)
        text = report(desk, "--public-key", "key.pub")
        assert "has no checkpoint" in text
    assert "Damaged audit log" in text


def test_report_with_a_file_that_is_not_a_public_key_is_wrong_usage(desk):
    signed(desk)
    assert desk.run("report", LOG, "--public-key", "key").code == 2
