"""A plan that is passed on: what `plan` and `audit show` end with works as it is printed."""

import hashlib
import json
import re
from datetime import datetime, timedelta

import pytest
from running import run_line

SHA256 = re.compile(r"\b[0-9a-f]{64}\b")
DAY = timedelta(days=1)


def text_plan(cli, *options):
    """Return the lines with which `plan` ends, by label."""
    done = cli.run("plan", "--policy", "policy.yaml", *options)
    assert done.code == 0, done.err
    assert "Last hash" not in done.out
    block = done.out.rpartition("\n\n")[2].splitlines()
    return dict(re.split("  +", line, maxsplit=1) for line in block)


def typed(cli, command):
    """Run a printed command: stdin is no terminal, so that a sweep does not ask."""
    return run_line(command, cli.folder, cli.environment)


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

    shown = typed(cli, lines["To read it"])
    assert shown.code == 0, shown.err
    assert shown.out.splitlines()[-1] == f"SHA-256      {lines['SHA-256']}"
    applied = typed(cli, lines["To apply it"])
    assert applied.code == 0, applied.err
    assert len(cli.sim.deleted) == 2


def test_refused_plan_is_not_copied_and_the_copy_of_yesterday_stays_with_a_warning(cli):
    cli.stock(stale=2)
    text_plan(cli, "--out", "plan.jsonl")
    copied = sha256_of(cli.folder / "plan.jsonl")
    cli.keys["limits"] = {"max_deletions": 1}
    done = cli.run("plan", "--policy", "policy.yaml", "--quiet", "--out", "plan.jsonl")
    assert done.code == 3
    assert "The plan was not copied to plan.jsonl: no sweep can apply it." in done.err
    assert sha256_of(cli.folder / "plan.jsonl") == copied
