"""`--reason`: why or for whom a run was started, in every output of the run."""

import json

import pytest

TEXT = "OPS-1234: Łukasz asked, <b> & all"


def started(cli):
    return cli.lines("run_started")[-1]


def test_reason_is_shown_wherever_the_run_is_shown(cli, receiver):
    cli.stock()
    hook = {"kind": "webhook", "url_env": "HOOK_URL", "secret_env": "HOOK_KEY", "when": "always"}
    cli.keys["notify"] = [hook]
    done = cli.sweep("--reason", f"  {TEXT} ", HOOK_URL=receiver.url, HOOK_KEY="k" * 32)
    assert (done.code, done.summary["reason"], started(cli)["reason"]) == (0, TEXT, TEXT)
    (_, _, message) = receiver.requests[-1]
    assert json.loads(message)["reason"] == TEXT
    assert TEXT in cli.run("audit", "show", "1", "--audit-dir", "audit").out
    listed = " ".join(cli.run("audit", "show", "--audit-dir", "audit").out.split())
    assert listed.endswith(f"· reason: {TEXT}")
    assert "OPS-1234: Łukasz asked, &lt;b&gt; &amp; all" in cli.run("report", "audit").out
    assert "OPS-1234: Łukasz asked, <b> & all" in cli.run("report", "audit", "--format", "md").out


@pytest.mark.parametrize("command", ["plan", "sweep", "restore"])
def test_each_command_that_writes_a_run_takes_it_from_the_environment(cli, command):
    cli.stock()
    assert cli.sweep(INVITE_SWEEPER_REASON="").code == 0
    assert started(cli)["reason"] is None
    words = ("1",) if command == "restore" else ()
    yes = () if command == "plan" else ("--yes",)
    done = cli.run(
        command, *words, *yes, "--policy", "policy.yaml", "-o", "json",
        INVITE_SWEEPER_REASON="OPS-1",
    )  # fmt: skip
    assert (done.code, done.summary["reason"]) == (0, "OPS-1"), done.err
    assert (started(cli)["reason"], len(cli.run_files())) == ("OPS-1", 2)


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("x" * 501, "--reason has 501 characters; at most 500 are allowed."),
        ("a\x1b[2Jb", "--reason has a character that is not printable: a[U+001B][2Jb"),
    ],
    ids=["501 characters", "escape"],
)
def test_a_reason_that_cannot_be_recorded_is_wrong_usage(cli, reason, message):
    cli.stock()
    done = cli.run("plan", "--policy", "policy.yaml", "--reason", reason)
    assert (done.code, cli.run_files(), cli.sim.requests) == (2, [], ())
    assert message in done.err
