"""An output never overwrites a file that a run needs, under any name."""

from datetime import UTC, datetime

import pytest

LOG = "audit/invite-sweeper.jsonl"


@pytest.fixture
def cli(cli):
    cli.stock()
    return cli


def refused(cli, done, option, place, what):
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ())
    assert f"{option} {place} would overwrite {what}" in done.err
    assert "Atlas was not called." in done.err


@pytest.mark.parametrize("option", ["--out", "--metrics-file"])
@pytest.mark.parametrize(
    ("place", "what"),
    [
        (LOG, "the audit log audit/invite-sweeper.jsonl"),
        ("audit/../" + LOG, "the audit log audit/invite-sweeper.jsonl"),
        (LOG + ".lock", "the lock audit/invite-sweeper.jsonl.lock"),
        ("policy.yaml", "the policy policy.yaml"),
        ("link", "the policy policy.yaml"),
        ("hard-link", "the policy policy.yaml"),
    ],
)
def test_output_over_a_file_of_the_run_is_refused(cli, option, place, what):
    policy = cli.write_policy()
    (cli.folder / "link").symlink_to(policy)
    (cli.folder / "hard-link").hardlink_to(policy)
    before = policy.read_bytes()
    for words in (("plan",), ("sweep", "--yes")):
        done = cli.run(*words, "--policy", "policy.yaml", "--audit-log", LOG, option, place)
        refused(cli, done, option, place, what)
    assert policy.read_bytes() == before


@pytest.mark.parametrize(
    ("template", "place"),
    [("audit/{run_id}.jsonl", "audit/2026.jsonl"), ("audit/2026.jsonl", "audit/2026.jsonl.1")],
    ids=["separate", "rotated"],
)
def test_output_over_the_log_of_an_earlier_run_is_refused(cli, template, place):
    log = cli.folder / place
    log.parent.mkdir()
    log.touch(0o600)
    done = cli.sweep("--audit-log", template, "--out", place)
    refused(cli, done, "--out", place, f"the audit log {place}")


def test_output_over_today_s_log_is_refused(cli):
    place = f"audit/{datetime.now(UTC).date()}.jsonl"
    done = cli.sweep("--audit-log", "audit/{date}.jsonl", "--out", place)
    refused(cli, done, "--out", place, f"the audit log {place}")


@pytest.mark.parametrize(
    ("template", "place"),
    [
        ("audit/{run_id}.jsonl", "audit/plan.jsonl"),
        ("audit/{run_id}.jsonl", "audit/../audit/plan.jsonl"),
        ("audit/{date}/{run_id}.jsonl", "audit/2026-11-25/plan.jsonl"),
        ("audit/log.jsonl", "audit/log.jsonl.1"),
        ("audit/log.jsonl", "audit/log.jsonl-20261125"),
    ],
)
@pytest.mark.parametrize("option", ["--out", "--metrics-file"])
def test_output_that_a_later_run_would_read_as_a_log_is_refused(cli, template, place, option):
    done = cli.sweep("--audit-log", template, option, place)
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ())
    assert f"{option} {place} has the name of an audit log: it matches {template}" in done.err
    assert not (cli.folder / place).exists()


@pytest.mark.parametrize(
    ("template", "place"),
    [
        ("audit/{run_id}.jsonl", "audit/plan.json"),
        ("audit/{run_id}.jsonl", "audit/plans/one.jsonl"),
        ("audit/{run_id}.jsonl", "plan.jsonl"),
        ("audit/{date}/{run_id}.jsonl", "audit/plans/one.jsonl"),
        ("audit/log.jsonl", "audit/log.jsonl.prom"),
    ],
)
def test_output_beside_the_logs_with_another_name_is_written(cli, template, place):
    (cli.folder / place).parent.mkdir(parents=True, exist_ok=True)
    assert cli.plan("--audit-log", template, "--out", place).code == 0
    assert (cli.folder / place).exists()


def test_output_over_the_plan_in_use_is_refused(cli):
    done = cli.sweep("--plan", "plan.jsonl", "--metrics-file", "plan.jsonl")
    refused(cli, done, "--metrics-file", "plan.jsonl", "the plan plan.jsonl")


def test_two_outputs_to_one_file_are_refused(cli):
    done = cli.sweep("--out", "one", "--metrics-file", "./one")
    refused(cli, done, "--out", "one", "--metrics-file one")


def test_output_to_a_link_to_itself_is_not_an_internal_error(cli):
    (cli.folder / "loop").symlink_to("loop")
    done = cli.plan("--out", "loop")
    assert (done.code, done.has_result, cli.sim.requests) == (2, False, ())
    assert "The plan loop cannot be written" in done.err


def test_outputs_beside_the_log_and_the_policy_are_written(cli):
    beside = ("--out", "audit/plan.jsonl", "--metrics-file", "policy.yaml.prom")
    assert cli.plan(*beside).code == 0
    assert cli.plan(*beside).code == 0
    found = sorted(path.name for path in cli.folder.iterdir())
    assert found == ["audit", "policy.yaml", "policy.yaml.prom"]


@pytest.mark.parametrize("place", [LOG, "link"])
def test_report_over_its_log_is_refused_and_the_log_is_unchanged(cli, place):
    assert cli.sweep().code == 0
    (cli.folder / "link").symlink_to(LOG)
    before = cli.log_path.read_bytes()
    done = cli.run("report", LOG, "--out", place)
    assert done.code == 2
    assert f"--out {place} would overwrite the audit log {LOG}" in done.err
    assert cli.log_path.read_bytes() == before
