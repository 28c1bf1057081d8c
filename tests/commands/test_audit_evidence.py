"""Signed runs, `audit verify` with evidence, `audit show` over a period, `audit keygen`."""

import csv
import hashlib
import io
import json
import os
import stat
import sys

import msgspec
import pytest
from audit.rotated_logs import KEY, rotate, write_signed_run
from audit.written_logs import fields_of, lines_of, write_events, write_run
from builders import ORG, invitation
from cryptography.hazmat.primitives import serialization
from typer.testing import CliRunner

from invite_sweeper import keys
from invite_sweeper.audit import checkpoint
from invite_sweeper.cli.audit import app as audit_commands
from invite_sweeper.errors import RunError, UsageError
from invite_sweeper.keys import fingerprint, read_public_key, read_signing_key
from invite_sweeper.models import Source
from invite_sweeper.notes import is_signed_by


def run(*arguments) -> tuple[int, str]:
    """Run `audit …` and return the exit code and stdout."""
    done = CliRunner().invoke(audit_commands, ["audit", *map(str, arguments)])
    if isinstance(done.exception, RunError):
        return int(done.exception.exit_code), str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


@pytest.fixture
async def log(tmp_path):
    """Return a log of three signed runs in two files, its last hash and its checkpoint file."""
    path = tmp_path / "log.jsonl"
    await write_signed_run(path, "run-1")
    rotate(path, compress=True)
    await write_signed_run(path, "run-2")
    last_hash, note = await write_signed_run(path, "run-3")
    (tmp_path / "note").write_text(note, encoding="utf-8")
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "key.pub").write_bytes(public)
    return path, last_hash


# Keys -----------------------------------------------------------------------------------------


def test_keygen_writes_a_private_key_with_mode_0600_and_its_public_key(tmp_path):
    code, output = run("keygen", "--out", tmp_path / "key")
    assert code == 0
    assert str(tmp_path / "key.pub") in output
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    pem = (tmp_path / "key").read_text(encoding="utf-8")
    assert pem.startswith("-----BEGIN PRIVATE KEY-----")
    signing_key = read_signing_key({"KEY": pem}, "KEY")
    note = checkpoint.sign(checkpoint.Checkpoint("log", 1, 2, "a" * 64, "r"), signing_key)
    assert is_signed_by(note, read_public_key(tmp_path / "key.pub"))


@pytest.mark.parametrize("existing", ["key", "key.pub"])
def test_keygen_never_overwrites_a_file(tmp_path, existing):
    (tmp_path / existing).write_text("precious", encoding="utf-8")
    code, message = run("keygen", "--out", tmp_path / "key")
    assert (code, (tmp_path / existing).read_text(encoding="utf-8")) == (2, "precious")
    assert "exists already" in message
    assert len(list(tmp_path.iterdir())) == 1


def test_signing_key_is_read_from_a_variable_or_the_file_it_names(tmp_path):
    run("keygen", "--out", tmp_path / "key")
    path = str(tmp_path / "key")
    assert read_signing_key({"KEY_FILE": path}, "KEY")
    for environment in ({}, {"KEY": ""}, {"KEY": "secret"}, {"KEY_FILE": "/missing"}):
        with pytest.raises(UsageError) as failed:
            read_signing_key(environment, "KEY")
        assert "secret" not in str(failed.value)
    with pytest.raises(UsageError, match="are both set"):
        read_signing_key({"KEY": "x", "KEY_FILE": path}, "KEY")


# Notes ----------------------------------------------------------------------------------------


def test_example_of_the_specification_is_verified():
    """The example of https://c2sp.org/signed-note, section Verifier keys."""
    from base64 import b64decode

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = b64decode("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    note = (
        "This is an example message.\n\n\u2014 example.com/foo "
        "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
    )
    public_key = Ed25519PublicKey.from_public_bytes(key[1:])
    assert is_signed_by(note, public_key)
    assert not is_signed_by(note.replace("example m", "Example m"), public_key)
    assert not is_signed_by(note, KEY.public_key())


async def test_checkpoint_is_over_lines_bytes_and_the_hash_of_run_finished(log):
    path, _ = log
    *_, finished, last = lines_of(path)
    record = json.loads(last)
    assert (record["event"], record["run_id"], record["seq"]) == ("checkpoint", "run-3", 7)
    noted = checkpoint.parse(record["note"])
    assert noted.last_hash == hashlib.sha256(finished).hexdigest()
    assert (noted.origin, noted.run_id, noted.lines) == ("log.jsonl", "run-3", 3 * 7 - 1)
    assert is_signed_by(record["note"], KEY.public_key())


# audit verify ---------------------------------------------------------------------------------


async def test_verify_says_what_the_files_prove(log, tmp_path):
    path, last_hash = log
    files = [path, tmp_path / "log.jsonl.1.gz"]
    unproven = "the end is not proven: later lines or files may be missing"
    begins = "log.jsonl: begins with the first line of the log; "
    assert run("verify", *files) == (
        0,
        f"Sound: 21 lines of 3 runs.\n{begins}{unproven}.\nLast hash {last_hash}\n",
    )
    key = ("--public-key", tmp_path / "key.pub")
    signed = run("verify", *files, *key)[1]
    assert f"{begins}signed up to run run-3: runs removed after it would not be seen." in signed
    assert f"Key {fingerprint(KEY.public_key())} signed 3 runs, from run-1 to run-3." in signed
    head = ("--expect-head", last_hash)
    assert f"{begins}the end is proven by the expected hash." in run("verify", *files, *head)[1]
    note = ("--checkpoint", tmp_path / "note")
    assert (
        f"{begins}the end is proven by the checkpoint of run run-3."
        in run("verify", *files, *note)[1]
    )
    after = "after a file that is not here, with 7 lines"
    assert f"log.jsonl: begins {after}" in run("verify", path)[1]
    assert run("verify", path, *key)[0] == run("verify", path, *head)[0] == 3
    assert run("verify", path, *key, "--continuation")[0] == 0


async def test_verify_as_json_names_the_affected_runs(log, tmp_path):
    path, _ = log
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:7]))
    files = [path, tmp_path / "log.jsonl.1.gz", "--checkpoint", tmp_path / "note"]
    code, output = run("verify", *files, "--output", "json")
    report = msgspec.json.decode(output)
    assert (code, report["verdict"], report["damage"]) == (3, "damaged", "removed")
    assert report["affected_runs"] == ["run-2"]
    assert "the checkpoint of run run-3" in report["error"]["message"]
    assert [each["name"] for each in report["logs"]] == ["log.jsonl"]


@pytest.mark.parametrize("head", ["", "abc", "g" * 64])
async def test_expected_head_that_is_not_a_hash_is_a_usage_error(log, head):
    assert run("verify", log[0], "--expect-head", head)[0] == 2


# audit show -----------------------------------------------------------------------------------


async def test_show_as_json_and_csv_has_the_digest_of_each_line(log):
    path, _ = log
    digests = [hashlib.sha256(line).hexdigest() for line in lines_of(path)]
    code, output = run("show", path, "--output", "json")
    assert (code, [json.loads(line)["line_sha256"] for line in output.splitlines()]) == (0, digests)
    code, output = run("show", path, "--output", "csv")
    rows = list(csv.DictReader(io.StringIO(output)))
    assert [row["line_sha256"] for row in rows] == digests
    assert rows[2]["outcome"] == "deleted"
    other = json.loads(rows[0]["other"])
    assert (other["mode"], other["log"]) == ("sweep", "log.jsonl")


def test_every_field_of_an_invitation_has_a_column_in_csv(tmp_path):
    path = tmp_path / "log.jsonl"
    one = invitation(1, source=Source.ORG_USERS, project_id=ORG, project_roles=((ORG, "OWNER"),))
    write_events(path, "run-1", [("run_started", {}), ("planned", fields_of(one))])
    _, output = run("show", path, "--output", "csv")
    _, row = csv.DictReader(io.StringIO(output))
    assert (row["username"], row["project_roles"]) == (one.username, f'[["{ORG}","OWNER"]]')
    assert row["other"] == ""


async def test_formulas_are_neutralized_in_csv(tmp_path):
    path = tmp_path / "log.jsonl"
    write_run(path, "=cmd()", numbers=[])
    _, output = run("show", path, "--output", "csv")
    assert {row["run_id"] for row in csv.DictReader(io.StringIO(output))} == {"'=cmd()"}


async def test_show_reads_several_files_and_compressed_ones_in_order(log, tmp_path):
    _, output = run("show", log[0], tmp_path / "log.jsonl.1.gz", "--output", "json")
    runs = [json.loads(line)["run_id"] for line in output.splitlines()]
    assert list(dict.fromkeys(runs)) == ["run-1", "run-2", "run-3"]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--since", "2026-11-25"], 14),
        (["--since", "2026-11-26"], 0),
        (["--until", "2026-11-25"], 14),
        (["--until", "2026-11-24"], 0),
        (["--since", "2026-11-25T01:00:00.003Z"], 10),
        (["--until", "2026-11-25T02:00:00.003+01:00"], 4),
    ],
)
async def test_period_includes_its_first_instant_and_excludes_its_last(log, options, count):
    _, output = run("show", log[0], "--output", "json", *options)
    assert len(output.splitlines()) == count


@pytest.mark.parametrize(
    "options",
    [
        ["--outcome", "nonsense"],
        ["--event", "nonsense"],
        ["--since", "yesterday"],
        ["--until", "2026-11-25T01:00:00"],
    ],
)
async def test_nonsense_is_a_usage_error(log, options):
    code, message = run("show", log[0], *options)
    assert code == 2
    assert options[1] in message


HOSTILE = "run\x1b[31m\x9b31m\u202e\u200f\x7f"


def nameable(text):
    """Return the characters that the name of a file can have: only ASCII in the locale C."""
    return text.encode(sys.getfilesystemencoding(), "ignore").decode()


def test_names_in_a_log_cannot_move_the_cursor_of_the_auditor(tmp_path):
    """Run IDs, names of files and of logs come from the writer of the log."""
    path = tmp_path / f"log{nameable(HOSTILE)}.jsonl"
    write_run(path, HOSTILE)
    write_run(path, f"{HOSTILE}2")
    path.write_bytes(path.read_bytes().replace(b"person-1", b"person-2", 1))
    for command in (("verify", path), ("show", path)):
        for output in ("text", "json"):
            _, text = run(*command, "--output", output)
            unsafe = set(text) & set("\x1b\x9b\u202e\u200f\x7f")
            assert (command[0], output, unsafe) == (command[0], output, set())
    records = [json.loads(line) for line in run("show", path, "--output", "json")[1].splitlines()]
    assert records[0]["run_id"] == HOSTILE


def test_public_key_is_written_before_the_private_one(tmp_path, monkeypatch):
    written, original = [], keys.write_new_file
    monkeypatch.setattr(
        keys,
        "write_new_file",
        lambda path, *more: (written.append(path.name), original(path, *more)),
    )
    run("keygen", "--out", tmp_path / "key")
    assert written == ["key.pub", "key"]


@pytest.mark.parametrize(
    "command",
    [("verify", "pipe"), ("show", "pipe"), ("verify", "log.jsonl", "--checkpoint", "pipe")],
)
def test_pipe_in_place_of_a_file_does_not_block(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    write_run(tmp_path / "log.jsonl")
    code, message = run(*command)
    assert (code, "cannot be read: it is not a regular file." in message) == (2, True)
