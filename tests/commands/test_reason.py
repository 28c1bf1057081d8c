"""`--reason`: why or for whom a run was started, in every output of the run."""

import json

import pytest

TEXT = "OPS-1234: Łukasz asked, <b> & all"


def test_reason_is_shown_wherever_the_run_is_shown(cli, receiver):
    cli.stock()
    hook = {"kind": "webhook", "url_env": "HOOK_URL", "secret_env": "HOOK_KEY", "when": "always"}
    cli.keys["notify"] = [hook]
    done = cli.sweep("--reason", f"  {TEXT} ", HOOK_URL=receiver.url, HOOK_KEY="k" * 32)
    (start,) = cli.lines("run_started")
    assert (done.code, done.summary["reason"], start["reason"]) == (0, TEXT, TEXT)
    (_, _, message) = receiver.requests[-1]
    assert json.loads(message)["reason"] == TEXT
    assert TEXT in cli.run("audit", "show", "1").out
    assert f"  {TEXT}  " in cli.run("audit", "show").out
    assert "OPS-1234: Łukasz asked, &lt;b&gt; &amp; all" in cli.run("report").out
    assert "Łukasz asked, `<b> &` all" in cli.run("report", "--format", "md").out


def test_each_command_that_writes_a_run_takes_it_from_the_environment(cli):
    cli.stock()
    reasons = {"plan": "", "sweep": "OPS-1", "restore": "OPS-2"}
    for command, reason in reasons.items():
        assert cli.run(command, INVITE_SWEEPER_REASON=reason).code == 0
    assert [line["reason"] for line in cli.lines("run_started")] == [None, "OPS-1", "OPS-2"]


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("x" * 501, "--reason has 501 characters; at most 500 are allowed."),
        ("a\x1b[2Jb", "--reason has a character that is not printable: a[U+001B][2Jb"),
    ],
    ids=["501 characters", "escape"],
)
def test_a_reason_that_cannot_be_recorded_is_wrong_usage(cli, reason, message):
    done = cli.run("plan", "--reason", reason)
    assert (done.code, cli.run_files(), cli.sim.requests) == (2, [], [])
    assert message in done.err
