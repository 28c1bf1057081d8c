"""Words that name no run, and files that no run wrote: an error, and never a traceback."""

import json
import re
from pathlib import Path

import pytest

from invite_sweeper.audit.chain import add_seal, line_hash

POLICY = ("--policy", "policy.yaml")
AUDIT = ("--audit-dir", "audit")
LONG = ("7" * 5_000, "../" * 1_500 + "x", "\u0664")


def resealed(path: Path, old: bytes, new: bytes) -> bytes:
    """Return a run's file with a change, whose chain and seal hold again."""
    lines = []
    last_hash = None
    for raw in path.read_bytes().replace(old, new).splitlines():
        line = raw
        if last_hash is not None:
            line = re.sub(rb'"prev":"[0-9a-f]{64}"', b'"prev":"%b"' % last_hash.encode(), line)
        if b'"event":"run_finished"' in line:
            line = add_seal(re.sub(rb',"seal":"[0-9a-f]{64}"\}$', b"}", line))
        last_hash = line_hash(line)
        lines.append(line + b"\n")
    return b"".join(lines)


@pytest.fixture
def plan(cli):
    """Make a plan in `plan.jsonl`."""
    cli.stock(stale=2)
    assert cli.plan("--out", "plan.jsonl").code == 0
    return cli.folder / "plan.jsonl"


def test_a_run_that_cannot_be_one_is_wrong_usage(cli, plan):
    for word in LONG:
        done = cli.run("sweep", *POLICY, "--plan", word)
        assert (done.code, cli.deletes()) == (2, 0), word
        assert "Traceback" not in done.err
        assert "has no run" in done.err
        assert len(done.err) < 1_000


def test_a_plan_of_two_policies_is_wrong_usage_and_one_of_the_environment_gives_way(cli):
    cli.stock(stale=2)
    done = cli.run("plan", "policy.yaml", "--policy", "other.yaml")
    assert (done.code, cli.sim.requests) == (2, ())
    assert "Two policies: policy.yaml and --policy other.yaml." in done.err
    assert cli.run("plan", "policy.yaml", INVITE_SWEEPER_POLICY="other.yaml").code == 0


@pytest.mark.parametrize("now", ["", "2026-11-25T01:00:00", "10000-01-01T00:00:00Z"])
def test_a_plan_whose_time_cannot_be_read_is_refused(cli, plan, now):
    start = json.loads(plan.read_bytes().splitlines()[0])
    old, new = (f'"now":"{each}"'.encode() for each in (start["now"], now))
    plan.write_bytes(resealed(plan, old, new))
    done = cli.sweep("--plan", "plan.jsonl")
    assert (done.code, cli.deletes(), done.summary["reasons"]) == (3, 0, ["plan"])
    assert "cannot be read" in done.summary["error"]["message"]


def test_a_log_of_version_0_1_is_not_called_damaged(cli):
    old = cli.folder / "invite-sweeper.jsonl"
    start = {
        "ts": "2026-01-01T00:00:00.000000Z", "run_id": "r1", "seq": 1, "event": "run_started",
        "prev": "0" * 64, "mode": "sweep", "tool_version": "0.1.0", "actor": "token",
    }  # fmt: skip
    old.write_text(f"{json.dumps(start, separators=(',', ':'))}\n")
    for words in (("audit", "verify", old.name), ("audit", "show", old.name)):
        done = cli.run(*words)
        assert done.code == 3
        assert "is a log of version 0.1" in done.err
        assert "Verify it with version 0.1" in done.err
        assert "amaged" not in done.err + done.out
