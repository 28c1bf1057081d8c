"""`sweep` and `plan` as processes: deletions, output, exit codes and audit log."""

import hashlib
import json
import re
import signal
from datetime import UTC, datetime, timedelta

import faults
import pytest
from running import cli_in, wait_until

DAYS = timedelta(days=1)


def names(lines):
    return sorted((line["project_id"], line["invitation_id"]) for line in lines)


# --- the run -------------------------------------------------------------------------------


def test_dry_run_and_sweep_name_the_same_invitations_and_the_dry_run_sends_no_delete(cli):
    cli.stock(3, 2, 1)
    dry = cli.plan()
    assert (dry.code, cli.deletes(), cli.sim.invitation_count()) == (0, 0, 9)
    planned = names(cli.lines("planned"))
    swept = cli.sweep()
    assert swept.code == 0
    assert cli.sim.invitation_count() == 3
    assert len(planned) == 6
    assert names(cli.lines("planned")[6:]) == planned
    assert names(cli.lines("intent")) == planned == names(cli.lines("outcome"))
    assert {line["outcome"] for line in cli.lines("outcome")} == {"deleted"}


def test_sweep_dry_run_is_the_same_command_as_plan(cli):
    cli.stock(3, 2, 1)
    first, second = cli.plan().summary, cli.sweep("--dry-run").summary
    assert second["changes"]["run_id"] == first["run_id"]
    # Of the first run in a directory it is said that no earlier one is known.
    of_one = ("run_id", "now", "duration_s", "audit_file", "audit_last_hash", "oldest_pending_days")
    for key in (*of_one, "changes", "warnings"):
        first.pop(key), second.pop(key)
    for summary in (first, second):
        summary["invitations"].sort(key=lambda each: each["invitation_id"])
    assert first == second
    assert first["mode"] == "dry-run"


# --- exit codes ----------------------------------------------------------------------------


def test_more_stale_than_a_limit_refuses_all(cli):
    cli.stock(3, 2, 1)
    cli.keys["limits"] = {"max_deletions": 5, "max_share": 1.0}
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (3, 0)
    assert "6 stale invitations are over max_deletions: 5." in done.err
    assert len(cli.lines("planned")) == 6


@pytest.mark.parametrize(
    "way", [timedelta(minutes=6), timedelta(minutes=-6)], ids=["ahead", "behind"]
)
def test_clock_more_than_5_minutes_off_is_refused(cli, way):
    cli.stock(3, 2, 1)
    cli.sim.date_offset = way
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (3, 0)
    assert "clock" in done.err


def test_no_visible_project_of_the_organizations_is_refused(cli):
    cli.stock(3, 2, 1)
    cli.keys["organizations"] = ["0123456789abcdef01234567"]
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (3, 0)
    assert "organizations" in done.err


def test_refused_credentials_end_with_5_and_no_result(cli):
    cli.stock(3, 2, 1)
    done = cli.sweep(MONGODB_ATLAS_ACCESS_TOKEN="wrong")
    assert (done.code, done.summary["projects_seen"], cli.deletes()) == (5, 0, 0)


def test_atlas_that_cannot_be_reached_ends_with_6_and_no_result(cli):
    cli.keys["execution"] = {"attempts": 1}
    done = cli.sweep("--base-url", "http://127.0.0.1:9")
    assert (done.code, done.summary["projects_seen"]) == (6, 0)
    assert "127.0.0.1" in done.err


def test_audit_log_that_cannot_be_opened_ends_with_7_and_atlas_is_not_called(cli):
    cli.stock(3, 2, 1)
    (cli.folder / "audit").write_text("a file where the folder should be", encoding="utf-8")
    done = cli.sweep()
    assert (done.code, done.has_result, list(cli.sim.requests)) == (7, False, [])


def test_detailed_exitcode_applies_only_to_dry_runs(cli):
    cli.stock(3, 2, 1)
    done = cli.plan("--detailed-exitcode")
    assert (done.code, done.summary["exit_code"]) == (10, 10)
    assert cli.sweep("--detailed-exitcode").code == 0
    assert cli.plan("--detailed-exitcode").code == 0


def test_faulty_policy_ends_with_2_and_atlas_is_not_called(cli):
    cli.keys["ruels"] = []
    done = cli.sweep()
    assert (done.code, done.has_result, list(cli.sim.requests)) == (2, False, [])
    assert "policy.yaml:" in done.err
    assert "rules" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--base-url", "http://atlas.example.com"),
        ("--shard", "4/3"),
        ("--deadline", "soon"),
        ("--output", "xml"),
        ("--no-such-option",),
        ("--policy", "missing.yaml"),
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_2_and_atlas_is_not_called(cli, arguments):
    done = cli.run("sweep", "--policy", "policy.yaml", *arguments)
    assert (done.code, done.has_result, list(cli.sim.requests)) == (2, False, [])
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("5", "Write a whole number and a unit: `90s`, `30m`, `12h`, `14d` or `2w`."),
        ("0s", "Write a duration above zero, such as `14d`."),
    ],
)
def test_invalid_duration_is_reported_once_with_its_hint(cli, text, hint):
    done = cli.run("sweep", "--policy", "policy.yaml", "--deadline", text)
    what = "is not a duration" if text == "5" else "is zero"
    assert done.code == 2
    assert done.err == f"Error: --deadline '{text}' {what}.\n  Atlas was not called.\n  {hint}\n"


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "verify", "nope"),
        ("audit", "show", "nope"),
        ("validate", "nope"),
    ],
    ids=" ".join,
)
def test_offline_command_does_not_mention_atlas_in_its_error(cli, words):
    done = cli.run(*words)
    assert (done.code, "cannot be read" in done.err) == (2, True)
    assert "Atlas" not in done.err


# --- signals, deadline, lock ---------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_signal_ends_the_sweep_with_8_and_everything_is_accounted_for(cli, number):
    cli.stock(4, 20)
    cli.keys["execution"] = {"concurrency": 4}
    cli.sim.faults.set_latency(0.2)
    process = cli.fork("sweep", "--policy", "policy.yaml", "--output", "json")
    wait_until(lambda: cli.deletes() >= 8)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 8, err
    summary = json.loads(out)
    outcomes = [line["outcome"] for line in cli.lines("outcome")]
    assert len(outcomes) == 80
    assert outcomes.count("deleted") == len(cli.sim.deleted) == summary["deleted"]
    assert outcomes.count("skipped") == summary["skipped"] > 0
    assert cli.lines()[-1]["event"] == "run_finished"
    cli.sim.faults.set_latency(0.0)
    assert cli.sweep().code == 0
    assert cli.sim.invitation_count() == 0


def test_second_run_on_the_same_log_ends_with_9_and_names_the_first(cli):
    cli.stock(3, 2, 1)
    cli.sim.faults.add(faults.hang(), path="*/groups", times=99)
    first = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: cli.sim.request_log.received.total() > 0)
    try:
        second = cli.plan()
        assert (second.code, second.has_result) == (9, False)
        assert str(first.pid) in second.err
    finally:
        first.kill()
        first.communicate()
    cli.sim.faults.clear()
    assert cli.plan().code == 0


# --- what is shown -------------------------------------------------------------------------


def test_text_result_goes_to_stdout_and_the_log_to_stderr_as_json_lines(cli):
    cli.stock(3, 2, 1)
    done = cli.run("sweep", "--policy", "policy.yaml")
    assert "p0@example.com" in done.out
    assert "deleted" in done.out
    for line in done.err.splitlines():
        assert json.loads(line)["level"]


def test_quiet_successful_run_prints_nothing(cli):
    cli.stock(3, 2, 1)
    done = cli.run("sweep", "--policy", "policy.yaml", "-q")
    assert (done.code, done.out, done.err) == (0, "", "")


def test_policy_path_comes_from_the_environment(cli):
    cli.stock(3, 2, 1)
    done = cli.run("plan", "--output", "json", INVITE_SWEEPER_POLICY="policy.yaml")
    assert done.summary["stale"] == 6


def test_audit_directory_of_the_option_overrides_the_policy(cli):
    cli.stock()
    done = cli.plan("--audit-dir", "elsewhere")
    (file,) = (cli.folder / "elsewhere").glob("000001-*.jsonl")
    assert done.summary["audit_file"] == str(file)
    assert not cli.audit_dir.exists()


def test_result_has_the_hash_of_the_last_line(cli):
    cli.stock()
    hashes = [cli.sweep().summary["audit_last_hash"]]
    shown = cli.run("sweep", "--policy", "policy.yaml").out
    hashes += re.findall(r"^Last hash +(\w{64})$", shown, re.MULTILINE)
    last = [path.read_bytes().splitlines()[-1] for path in cli.run_files()]
    assert hashes == [hashlib.sha256(line).hexdigest() for line in last]


@pytest.mark.parametrize("words", [("sweep", "--output", "json"), ("plan",)], ids=" ".join)
def test_invalid_proxy_is_wrong_usage_without_a_connection(cli, words):
    cli.stock(1, 1, 1)
    done = cli.run(
        *words,
        "--policy",
        "policy.yaml",
        "--base-url",
        "https://atlas.example.com",
        HTTPS_PROXY="ada:p4ssw0rd@proxy.example.com:3128",
        https_proxy=None,
        NO_PROXY=None,
        no_proxy=None,
    )
    assert (done.code, done.has_result) == (2, False)
    assert "The value of HTTPS_PROXY is not a valid proxy URL." in done.err
    assert "Atlas was not called." in done.err
    assert "p4ssw0rd" not in done.err
    assert cli.sim.requests == ()


@pytest.mark.parametrize(
    "words",
    [("sweep", "--shard", ""), ("sweep", "--audit-dir", ""), ("explain", "a", "--audit-dir", "")],
    ids=" ".join,
)
def test_empty_option_is_wrong_usage(cli, words):
    cli.stock(1, 1, 1)
    done = cli.run(*words, "--policy", "policy.yaml")
    assert (done.code, done.out, cli.sim.requests) == (2, "", ()), done.err
    assert words[-2] in done.err


@pytest.mark.parametrize("refused", [False, True])
def test_secret_that_ends_soon_is_a_warning_of_the_run_and_no_failure(tmp_path, refused):
    with cli_in(tmp_path, kind="service-account") as cli:
        cli.stock(1, 2, 1)
        cli.account.secrets_expire_at = (datetime.now(UTC) + 5.5 * DAYS,)
        if refused:
            cli.sim.faults.add(faults.role_missing(), path="*/serviceAccounts/*", times=None)
        done = cli.sweep()
    assert (done.code, done.summary["reasons"]) == (0, [])
    codes = [each["code"] for each in done.summary["warnings"]]
    assert codes.count("secret") == (not refused)
    assert (", in 5 days. A new secret leaves" in done.err) == (not refused)
