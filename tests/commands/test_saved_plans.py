"""`sweep --plan` deletes at most what was reviewed, once."""

import hashlib
import os
from datetime import timedelta

import pytest

DAYS = timedelta(days=1)


def stock(cli):
    (project,) = cli.stock(stale=3)
    return project, cli.sim.invitations(project)


def saved(cli):
    done = cli.plan("--out", "plan.jsonl")
    assert done.code == 0, done.err
    return cli.folder / "plan.jsonl"


def by_plan(cli, *arguments):
    return cli.sweep("--plan", "plan.jsonl", *arguments)


def refused(cli, done):
    """Return the message of a refusal by which nothing was deleted."""
    assert (done.code, cli.deletes(), done.has_result) == (3, 0, False), done.err
    assert done.summary["reasons"] == ["plan"]
    return done.summary["error"]["message"]


@pytest.mark.parametrize("name", ["number", "run id", "file", "copy"])
def test_plan_is_the_file_of_the_run_and_a_sweep_by_it_deletes_just_what_it_lists(cli, name):
    project, ids = stock(cli)
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
    sha256 = hashlib.sha256(copy.read_bytes()).hexdigest()
    assert done.summary["plan_sha256"] == sha256


def test_dry_run_of_a_plan_deletes_nothing_even_with_yes_and_does_not_use_it_up(cli):
    _, ids = stock(cli)
    saved(cli)
    cli.sim.invite(cli.sim.add_project("Late"), "late@example.com", age=20 * DAYS)
    done = by_plan(cli, "--dry-run", "--yes", "--detailed-exitcode")
    assert (done.code, cli.deletes(), done.summary["stale"]) == (10, 0, 3)
    assert by_plan(cli).code == 0
    assert sorted(cli.sim.deleted) == sorted(ids)
    again = by_plan(cli)
    assert (again.code, len(cli.sim.deleted)) == (3, 3)
    assert "Run 3 has already applied the plan." in again.err


def test_plan_that_was_not_the_one_a_second_person_read_is_refused(cli):
    stock(cli)
    sha256 = hashlib.sha256(saved(cli).read_bytes()).hexdigest()
    shown = cli.run("audit", "show", "plan.jsonl").out
    assert shown.endswith(f"SHA-256      {sha256}\n")
    message = refused(cli, by_plan(cli, "--plan-sha256", "0" * 64))
    assert f"has the SHA-256 {sha256}, not {'0' * 64}." in message
    assert by_plan(cli, "--plan-sha256", sha256.upper()).code == 0


@pytest.mark.parametrize("place", ["missing.jsonl", "folder", "pipe", "/dev/zero"])
def test_plan_that_is_not_a_regular_file_is_wrong_usage_and_does_not_block(cli, place):
    (cli.folder / "folder").mkdir()
    os.mkfifo(cli.folder / "pipe")
    done = cli.sweep("--plan", place)
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ())
    assert place in done.summary["error"]["message"]
