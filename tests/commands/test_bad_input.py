"""Words that name no run, and files that no run wrote: an error, and never a traceback."""

import json

POLICY = ("--policy", "policy.yaml")
LONG = ("7" * 5_000, "../" * 1_500 + "x", "\u0664")


def test_a_run_that_cannot_be_one_is_wrong_usage(cli):
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
