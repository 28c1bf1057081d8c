"""`sweep --plan` deletes at most what was reviewed, once, and each printed command works."""

import hashlib
import json
import os
import re
from datetime import datetime, timedelta

import pytest
from running import run_line

DAYS = timedelta(days=1)
SHA256 = re.compile(r"\b[0-9a-f]{64}\b")


def saved(cli):
    done = cli.plan("--out", "plan.jsonl")
    assert done.code == 0, done.err
    return cli.folder / "plan.jsonl"


def by_plan(cli, *arguments):
    return cli.sweep("--plan", "plan.jsonl", *arguments)


@pytest.mark.parametrize("name", ["number", "run id", "file", "copy"])
def test_plan_is_the_file_of_the_run_and_a_sweep_by_it_deletes_just_what_it_lists(cli, name):
    (project,) = cli.stock(stale=3)
    ids = cli.sim.invitations(project)
    copy = saved(cli)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.read_bytes() == cli.log_path.read_bytes()
    _, _, run_id = cli.log_path.stem.partition("-")
    words = {"number": "1", "run id": run_id, "file": str(cli.log_path), "copy": copy.name}
    late = cli.sim.invite(project, "late@example.com", age=20 * DAYS)
    done = cli.sweep("--plan", words[name])
    assert done.code == 0, done.err
    assert sorted(cli.sim.deleted) == sorted(ids)
    assert cli.sim.invitations(project) == (late,)
    assert done.summary["kept_by_reason"] == {"not_in_plan": 1}
    assert done.summary["plan_sha256"] == sha256_of(copy)


def test_dry_run_of_a_plan_deletes_nothing_even_with_yes_and_does_not_use_it_up(cli):
    cli.stock(stale=3)
    saved(cli)
    cli.sim.invite(cli.sim.add_project("Late"), "late@example.com", age=20 * DAYS)
    done = by_plan(cli, "--dry-run", "--yes", "--detailed-exitcode")
    assert (done.code, cli.deletes(), done.summary["stale"]) == (10, 0, 3)
    assert (by_plan(cli).code, cli.deletes()) == (0, 3)
    again = by_plan(cli)
    assert (again.code, cli.deletes()) == (3, 3)
    assert "Run 3 has already applied the plan." in again.err


def test_plan_that_was_not_the_one_a_second_person_read_is_refused(cli):
    cli.stock()
    sha256 = sha256_of(saved(cli))
    shown = cli.run("audit", "show", "plan.jsonl").out
    assert shown.endswith(f"SHA-256      {sha256}\n")
    done = by_plan(cli, "--plan-sha256", "0" * 64)
    assert (done.code, cli.deletes(), done.has_result) == (3, 0, False)
    assert done.summary["reasons"] == ["plan"]
    assert f"has the SHA-256 {sha256}, not {'0' * 64}." in done.summary["error"]["message"]
    assert by_plan(cli, "--plan-sha256", sha256.upper()).code == 0


@pytest.mark.parametrize("place", ["missing.jsonl", "folder", "pipe", "/dev/zero"])
def test_plan_that_is_not_a_regular_file_is_wrong_usage_and_does_not_block(cli, place):
    (cli.folder / "folder").mkdir()
    os.mkfifo(cli.folder / "pipe")
    done = cli.sweep("--plan", place)
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, [])
    assert place in done.summary["error"]["message"]


# What is printed to pass a plan on ----------------------------------------------


def text_plan(cli, *options):
    done = cli.run("plan", *options)
    assert done.code == 0, done.err
    assert "Last hash" not in done.out
    block = done.out.rpartition("\n\n")[2].splitlines()
    return dict(re.split("  +", line, maxsplit=1) for line in block)


def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("options", "file"),
    [
        ((), None),
        (("--out", "a plan's copy.jsonl"), "a plan's copy.jsonl"),
        (("--out", "1"), "./1"),
        (("--out=-x.jsonl",), "./-x.jsonl"),
        (("--audit-dir", "other dir", "--shard", "1/2", "--plan-max-age", "36h"), None),
    ],
)
def test_plan_ends_with_its_file_and_the_commands_that_read_and_apply_it(cli, options, file):
    cli.stock(stale=2)
    lines = text_plan(cli, *options)
    assert list(lines) == ["Plan", "SHA-256", "Valid until", "To read it", "To apply it"]
    run_file = next(cli.folder.rglob("000001-*.jsonl"))
    assert lines["Plan"] == (file or str(run_file))
    assert lines["SHA-256"] == sha256_of(cli.folder / lines["Plan"]) == sha256_of(run_file)
    hours = 36 if "36h" in options else 24
    began = datetime.fromisoformat(json.loads(run_file.read_bytes().splitlines()[0])["now"])
    assert lines["Valid until"] == f"{began + timedelta(hours=hours):%Y-%m-%d %H:%M} UTC"
    assert cli.base_url in lines["To apply it"]
    assert SHA256.findall(lines["To apply it"]) == [lines["SHA-256"]]

    shown = run_line(lines["To read it"], cli.folder, cli.environment)
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[-1] == f"SHA-256      {lines['SHA-256']}"
    applied = run_line(lines["To apply it"], cli.folder, cli.environment)
    assert (applied.code, cli.deletes()) == (0, 2), applied.err


def test_refused_plan_is_not_copied_and_the_copy_of_yesterday_stays_with_a_warning(cli):
    cli.stock(stale=2)
    text_plan(cli, "--out", "plan.jsonl")
    copied = sha256_of(cli.folder / "plan.jsonl")
    cli.keys["limits"] = {"max_deletions": 1}
    done = cli.run("plan", "--quiet", "--out", "plan.jsonl")
    assert done.code == 3
    assert "The plan was not copied to plan.jsonl: no sweep can apply it." in done.err
    assert sha256_of(cli.folder / "plan.jsonl") == copied
