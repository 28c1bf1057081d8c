"""`audit verify` with a hash that was kept elsewhere, and `audit show` over a period."""

import csv
import hashlib
import io
import json
import os
import sys

import msgspec
import pytest
from audit.rotated_logs import rotate, write_finished_run
from audit.written_logs import fields_of, lines_of, write_events, write_run
from builders import ORG, invitation
from typer.testing import CliRunner

from invite_sweeper.cli.audit import app as audit_commands
from invite_sweeper.errors import RunError
from invite_sweeper.models import Source


def run(*arguments) -> tuple[int, str]:
    """Run `audit …` and return the exit code and stdout."""
    done = CliRunner().invoke(audit_commands, ["audit", *map(str, arguments)])
    if isinstance(done.exception, RunError):
        return int(done.exception.exit_code), str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout


@pytest.fixture
async def log(tmp_path):
    """Return a log of three runs in two files, and its last hash."""
    path = tmp_path / "log.jsonl"
    await write_finished_run(path, "run-1")
    rotate(path, compress=True)
    await write_finished_run(path, "run-2")
    return path, await write_finished_run(path, "run-3")


# audit verify ---------------------------------------------------------------------------------


async def test_verify_says_what_the_files_prove(log, tmp_path):
    path, last_hash = log
    files = [path, tmp_path / "log.jsonl.1.gz"]
    unproven = "the end is not proven: later lines or files may be missing"
    begins = "log.jsonl: begins with the first line of the log; "
    assert run("verify", *files) == (
        0,
        f"Sound: 18 lines of 3 runs.\n{begins}{unproven}.\nLast hash {last_hash}\n",
    )
    head = ("--expect-head", last_hash)
    assert f"{begins}the end is proven by the expected hash." in run("verify", *files, *head)[1]
    assert "log.jsonl: begins after a file that is not here" in run("verify", path)[1]
    assert run("verify", path, *head)[0] == 3
    assert run("verify", path, *head, "--continuation")[0] == 0


async def test_verify_as_json_names_the_affected_runs(log, tmp_path):
    path, last_hash = log
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:6]))
    files = [path, tmp_path / "log.jsonl.1.gz", "--expect-head", last_hash]
    code, output = run("verify", *files, "--output", "json")
    report = msgspec.json.decode(output)
    assert (code, report["verdict"], report["damage"]) == (3, "damaged", "removed")
    assert report["affected_runs"] == ["run-2"]
    assert f"the expected hash, {last_hash}" in report["error"]["message"]
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
        (["--since", "2026-11-25"], 12),
        (["--since", "2026-11-26"], 0),
        (["--until", "2026-11-25"], 12),
        (["--until", "2026-11-24"], 0),
        (["--since", "2026-11-25T01:00:00.003Z"], 8),
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


@pytest.mark.parametrize(
    "command",
    [("verify", "pipe"), ("show", "pipe")],
)
def test_pipe_in_place_of_a_file_does_not_block(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    write_run(tmp_path / "log.jsonl")
    code, message = run(*command)
    assert (code, "cannot be read: it is not a regular file." in message) == (2, True)
