"""One command over several organizations is one group: limits, refusals and results together.

Each organization has its own credentials, so its own run.
"""

import json
import re
import shlex
import signal
from datetime import timedelta

import faults
import pytest
from running import CliRunner, cli_in, wait_until

from invite_sweeper.simulator.seed import ORG_ID

ORGS = (ORG_ID, "0123456789abcdef01234567", "89abcdef0123456789abcdef")
NAMES = ("ALPHA", "BETA", "GAMMA")
DAYS = timedelta(days=1)
LOG = "audit/invite-sweeper.jsonl"
VARIABLE = "MONGODB_ATLAS_ACCESS_TOKEN_"


class GroupRunner:
    """A cli with three organizations of one project each."""

    def __init__(self, cli: CliRunner) -> None:
        self.cli, self.sim = cli, cli.sim
        self.sweep, self.plan = cli.sweep, cli.plan
        cli.use_organizations(dict(zip(NAMES, ORGS, strict=True)))
        for org_id, name in zip(ORGS, NAMES, strict=True):
            cli.projects.append(self.sim.add_project(f"{name} project", org_id))

    def invite(self, *counts: int, age: float = 20) -> None:
        """Add stale invitations to each organization."""
        for project, count in zip(self.cli.projects, counts, strict=True):
            for number in range(count):
                self.sim.invite(
                    project, f"p{number}-{age:g}@example.com", age=(age + number / 100) * DAYS
                )

    def left(self) -> list[int]:
        return [len(self.sim.invitations(project)) for project in self.cli.projects]

    def limit(self, **limits) -> None:
        self.cli.keys["limits"] |= limits

    def run_ids(self) -> list[str]:
        return [line["run_id"] for line in self.cli.lines("run_started")]

    def verify(self) -> int:
        return self.cli.run("audit", "verify", LOG).code


@pytest.fixture
def group(tmp_path):
    with cli_in(tmp_path) as cli:
        yield GroupRunner(cli)


def wrong(*names):
    return {VARIABLE + name: "wrong" for name in names}


# Limits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("limit", "code", "left"), [(6, 0, 0), (5, 3, 2), (0, 3, 2)])
def test_max_deletions_counts_over_all_organizations(group, limit, code, left):
    group.invite(2, 2, 2)
    group.limit(max_deletions=limit)
    done = group.sweep()
    assert (done.code, group.left()) == (code, [left] * 3), done.err
    if code == 3:
        assert f"6 stale invitations are over max_deletions: {limit}." in done.err
        assert "In 3 organizations together" in done.summary["error"]["message"]
        assert len(done.errors) == 1
        assert group.cli.deletes() == 0
        assert [each["exit_code"] for each in done.summary["organizations"]] == [3] * 3
    assert group.verify() == 0


@pytest.mark.parametrize(("share", "code"), [(0.5, 0), (0.49, 3)])
def test_max_share_counts_over_all_organizations(group, share, code):
    """12 of 24: all in one organization, of which they are all."""
    group.invite(12, 0, 0)
    for number in range(12):
        group.sim.invite(group.cli.projects[1], f"young{number}@example.com", age=1 * DAYS)
    group.limit(max_share=share)
    assert group.sweep().code == code


def test_max_share_is_not_ignored_for_a_few_in_each_organization(group):
    group.invite(4, 4, 4)
    group.limit(max_share=0)
    assert (group.sweep().code, group.left()) == (3, [4, 4, 4])


def test_canary_is_that_of_the_group(group):
    group.invite(2, 2, 4)
    group.sim.faults.add(faults.fail_with(400), method="DELETE", times=None)
    group.limit(canary=5, breaker_window=50)
    done = group.sweep()
    assert (done.code, done.summary["failed"], done.summary["skipped"]) == (4, 5, 3)
    assert done.warnings == [
        "The sweep stopped itself: 5 of the first 5 deletions (the canary) failed."
    ]


# Failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", range(3))
def test_one_that_fails_while_reading_does_not_stop_the_others(group, failing):
    group.invite(2, 2, 2)
    done = group.sweep(**wrong(NAMES[failing]))
    expected = [0, 0, 0]
    expected[failing] = 2
    assert (done.code, group.left()) == (4, expected)
    codes = [each["exit_code"] for each in done.summary["organizations"]]
    assert codes == [5 if number == failing else 0 for number in range(3)]
    failed = done.summary["organizations"][failing]
    assert ORGS[failing] in failed["error"]["message"]
    assert done.summary["error"] == failed["error"]
    assert any(each.startswith(f"Organization {ORGS[failing]}: ") for each in done.errors)
    assert group.verify() == 0


def test_all_that_fail_end_with_their_common_code(group):
    done = group.sweep(**wrong(*NAMES))
    assert (done.code, done.summary["exit_code"], done.summary["projects_seen"]) == (5, 5, 0)
    assert len(done.errors) == 3


def test_refusal_beside_a_failure_is_not_called_partly_done(group):
    group.invite(2, 2, 2)
    group.limit(max_deletions=3)
    done = group.sweep(**wrong("BETA"))
    assert (done.code, group.cli.deletes()) == (5, 0)
    assert [each["exit_code"] for each in done.summary["organizations"]] == [3, 5, 3]


def test_one_that_fails_while_deleting_does_not_stop_the_others(group):
    group.invite(2, 2, 2)
    group.sim.faults.add(
        faults.fail_with(410),
        method="DELETE",
        path=f"*/groups/{group.cli.projects[0]}/*",
        times=None,
    )
    done = group.sweep()
    assert (done.code, group.left()) == (4, [2, 0, 0])
    assert [each["exit_code"] for each in done.summary["organizations"]] == [6, 0, 0]


def test_signal_while_the_second_is_swept_skips_the_rest_and_ends_with_8(group):
    group.invite(2, 4, 2)
    group.cli.keys["execution"] = {"concurrency": 1, "grace": "1s"}
    group.sim.faults.add(
        faults.hang(), method="DELETE", path=f"*/groups/{group.cli.projects[1]}/*", times=None
    )
    process = group.cli.fork("sweep", "--policy", "policy.yaml", "--output", "json")
    log = group.cli.log_path
    wait_until(lambda: log.exists() and log.read_bytes().count(b'"event":"intent"') >= 3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (process.returncode, group.left()) == (8, [0, 4, 2])
    assert [line["exit_code"] for line in group.cli.lines("run_finished")] == [0, 8, 8]
    outcomes = [line["outcome"] for line in group.cli.lines("outcome")]
    assert outcomes.count("deleted") == 2
    assert len(outcomes) == 8
    # The DELETE that hangs is `unknown`, or `skipped` where the signal came just before it.
    assert set(outcomes[2:]) <= {"unknown", "skipped"}
    assert group.verify() == 0


# The log ------------------------------------------------------------------------------------


def test_path_with_run_id_is_one_file_named_by_the_first_run(group):
    group.invite(1, 1, 1)
    done = group.sweep("--audit-log", "logs/{run_id}.jsonl")
    (file,) = (group.cli.folder / "logs").glob("*.jsonl")
    assert file.stem == done.summary["run_id"]
    assert group.cli.run("audit", "verify", str(file)).code == 0


def test_report_shows_all_runs_of_the_newest_command(group):
    group.invite(1, 2, 3)
    assert group.sweep().code == 0
    done = group.cli.run("report", LOG, "--out", "report.html")
    assert done.code == 0, done.err
    page = (group.cli.folder / "report.html").read_text("utf-8").replace("<wbr>", "")
    for run_id in group.run_ids():
        assert run_id in page
    for name in NAMES:
        assert f"{name} project" in page


def test_restore_brings_back_the_deletions_of_one_run(group):
    group.invite(1, 2, 3)
    assert group.sweep().code == 0
    run_id = group.run_ids()[1]
    done = group.cli.run("restore", LOG, "--run", run_id, "--yes", **only("BETA"))
    assert (done.code, group.left()) == (0, [0, 2, 0]), done.err
    assert group.verify() == 0


@pytest.mark.parametrize("event", ["planned", "intent", "outcome"])
@pytest.mark.parametrize("run", range(3))
def test_group_killed_after_any_kind_of_line_is_recovered_by_the_next_command(group, event, run):
    """The log is cut as a kill leaves it: after the first such line of the first to third run."""
    group.invite(2, 2, 2)
    assert group.plan().code == 0
    assert group.sweep().code == 0
    lines = group.cli.log_path.read_bytes().splitlines(keepends=True)
    run_id = group.run_ids()[3 + run]
    records = group.cli.lines()
    cut = next(
        number
        for number, line in enumerate(records)
        if (line["event"], line["run_id"]) == (event, run_id)
    )
    group.cli.log_path.write_bytes(b"".join(lines[: cut + 1]))
    group.cli.log_path.with_name(".invite-sweeper.jsonl.head").unlink()
    intents = [line for line in records[: cut + 1] if line["event"] == "intent"]
    outcomes = [line for line in records[: cut + 1] if line["event"] == "outcome"]
    done = group.sweep()
    assert done.code == 0, done.err
    assert done.summary["recovered"] == len(intents) - len(outcomes)
    recovered = [line for line in group.cli.lines("outcome") if "recovers" in line]
    assert [line["recovers"] for line in recovered] == [run_id] * done.summary["recovered"]
    assert group.verify() == 0


# The result ---------------------------------------------------------------------------------


def test_json_has_each_organization_and_each_planned_invitation(group):
    group.invite(1, 2, 0)
    done = group.sweep()
    summary = done.summary
    assert [each["id"] for each in summary["organizations"]] == list(ORGS)
    assert [each["run_id"] for each in summary["organizations"]] == group.run_ids()
    for name in ("projects_seen", "invitations_seen", "stale", "kept", "deleted", "requests"):
        counts = [each[name] for each in summary["organizations"]]
        assert summary[name] == sum(counts), name
    assert [each["stale"] for each in summary["organizations"]] == [1, 2, 0]
    assert {(each["org_id"], each["outcome"]) for each in summary["invitations"]} == {
        (ORGS[0], "deleted"),
        (ORGS[1], "deleted"),
    }
    assert len(summary["invitations"]) == 3
    assert all(each["rule"] == "forgotten" for each in summary["invitations"])
    assert "truncated" not in summary
    assert summary["error"] is None
    assert summary["audit_last_hash"] in group.cli.run("audit", "verify", LOG).out


def test_planned_invitations_of_a_dry_run_have_no_outcome(group):
    group.invite(1, 1, 1)
    invitations = group.plan().summary["invitations"]
    assert [each["org_id"] for each in invitations] == list(ORGS)
    assert not any("outcome" in each for each in invitations)


def test_counts_of_organizations_that_share_credentials_are_separate(group):
    group.invite(1, 2, 3)
    shared = group.sim.add_token(*ORGS)
    group.cli.keys["organizations"] = list(ORGS)
    done = group.cli.sweep(MONGODB_ATLAS_ACCESS_TOKEN=shared.secret)
    found = done.summary["organizations"]
    assert [(each["id"], each["deleted"], each["stale"]) for each in found] == [
        (ORGS[0], 1, 1),
        (ORGS[1], 2, 2),
        (ORGS[2], 3, 3),
    ]
    assert {each["run_id"] for each in found} == {done.summary["run_id"]}
    assert [each["requests"] for each in found] == [None] * 3


def test_text_has_a_line_for_each_organization_and_one_verdict(group):
    group.invite(1, 2, 3)
    changes = wrong("BETA") | {"COLUMNS": "120"}
    done = group.cli.run("sweep", "--policy", "policy.yaml", **changes)
    assert done.code == 4
    lines = done.out.splitlines()
    named = lines[lines.index("Organizations  3") + 1 :]
    states = ("Done: ", "Failed: ", "Done: ")
    for org_id, state in zip(ORGS, states, strict=True):
        assert any(org_id in line and state in line for line in named), done.out
    assert sum(line.startswith("Partly done") for line in lines) == 1
    assert any(each.startswith(f"Organization {ORGS[1]}: ") for each in done.errors)


def test_quiet_failure_messages_name_the_organization(group):
    group.invite(1, 1, 1)
    group.sim.faults.add(
        faults.fail_with(400), method="DELETE", path=f"*/groups/{group.cli.projects[1]}/*"
    )
    group.sim.faults.add(
        faults.fail_with(403),
        method="GET",
        path=f"*/groups/{group.cli.projects[2]}/invites",
        times=None,
    )
    done = group.cli.run("sweep", "--policy", "policy.yaml", "-q")
    assert (done.code, done.out) == (4, "")
    assert (
        f"BETA project of organization Beta Industries ({ORGS[1]}) may still be invited" in done.err
    )
    assert f"GAMMA project of organization Gamma Industries ({ORGS[2]}) was not read" in done.err


def test_metrics_are_those_of_the_command(group):
    group.invite(1, 2, 3)
    assert group.sweep("--metrics-file", "metrics.prom").code == 0
    text = (group.cli.folder / "metrics.prom").read_text("utf-8")
    assert "invite_sweeper_stale 6.0" in text
    assert 'invite_sweeper_outcomes{outcome="deleted"} 6.0' in text
    for org_id, stale in zip(ORGS, (1, 2, 3), strict=True):
        assert f'invite_sweeper_organization_stale{{organization="{org_id}"}} {stale}.0' in text
        exit_code = f'invite_sweeper_organization_exit_code{{organization="{org_id}"}} 0.0'
        assert exit_code in text


# Shards -------------------------------------------------------------------------------------


def only(name):
    """Return an environment with the credentials of one organization."""
    return {VARIABLE + each: None for each in NAMES if each != name}


def test_shards_sweep_each_organization_once_with_its_own_credentials_alone(group):
    group.invite(3, 4, 5)
    for index, name in enumerate(NAMES, start=1):
        options = ("--shard", f"{index}/3", "--audit-log", f"audit/{index}.jsonl")
        done = group.cli.sweep(*options, **only(name))
        assert (done.code, done.summary["deleted"]) == (0, 2 + index)
        assert [each["id"] for each in done.summary["organizations"]] == [ORGS[index - 1]]
    assert group.left() == [0, 0, 0]
    logs = [f"audit/{index}.jsonl" for index in (1, 2, 3)]
    assert group.cli.run("audit", "verify", *logs).code == 0


@pytest.mark.parametrize("shard", ["4/4", "1000000000/1000000000"])
def test_shard_without_credentials_is_done_and_says_so(group, shard):
    group.invite(1, 1, 1)
    done = group.sweep("--shard", shard, "--metrics-file", "sweeper.prom")
    assert (done.code, done.summary["exit_code"], done.summary["organizations"]) == (0, 0, [])
    assert (done.summary["invitations"], done.summary["requests"]) == ([], 0)
    assert "nothing to do: no credentials for this shard" in done.err
    assert group.left() == [1, 1, 1]
    assert not group.cli.log_path.exists()
    assert (group.cli.folder / "sweeper.prom").exists()


def test_indexed_job_gets_its_shard_from_the_environment_and_records_it(group):
    done = group.plan("--shard", "auto/3", JOB_COMPLETION_INDEX="1")
    assert done.code == 0
    (started,) = group.cli.lines("run_started")
    assert (started["shard"], started["organizations"]) == ("2/3", [ORGS[1]])


def test_each_shard_is_compared_with_the_last_run_of_its_organizations(group):
    group.invite(12, 12, 12)
    group.cli.keys["rules"][0]["older_than"] = "29d"
    for shard in ("1/3", "2/3", "3/3"):
        assert group.plan("--shard", shard).summary["changes"] is None
    assert group.sweep().code == 0
    for id_ in group.sim.invitations(group.cli.projects[0])[:6]:
        group.sim.accept(group.cli.projects[0], id_)
    assert "6 invitations were found, but the last complete run left 12" in (
        group.sweep("--shard", "1/3").err
    )
    assert group.sweep("--shard", "2/3").code == 0


# A saved plan -------------------------------------------------------------------------------


# The organizations that a credential sees ----------------------------------------------------


def test_missing_credentials_of_one_are_wrong_usage_before_atlas_is_called(group):
    done = group.sweep(**dict.fromkeys([VARIABLE + "BETA"]))
    assert (done.code, list(group.sim.requests)) == (2, [])
    assert "MONGODB_ATLAS_CLIENT_ID_BETA" in done.err


@pytest.mark.parametrize("output", ["json", "text"])
def test_log_that_cannot_be_opened_ends_all_with_7_without_a_result(group, output):
    (group.cli.folder / "log.jsonl").mkdir()
    done = group.sweep("--output", output, "--audit-log", "log.jsonl")
    assert (done.code, done.has_result, group.cli.deletes()) == (7, False, 0)
    assert len(done.errors) == 1


def test_invisible_organization_is_reported_beside_one_that_is_swept(group):
    group.invite(2, 2, 2)
    group.cli.keys["organizations"] = list(ORGS[:2])
    done = group.sweep(MONGODB_ATLAS_ACCESS_TOKEN=group.cli.account.secret)
    assert (done.code, done.summary["deleted"]) == (0, 2)
    (warning,) = done.warnings
    assert warning.startswith(f"No project of organization {ORGS[1]} is visible")
    assert warning in done.err


def test_show_all_lists_the_records_of_all_organizations(group):
    group.invite(42, 42, 0)
    done = group.cli.run("plan", "--policy", "policy.yaml")
    group.plan()  # a later command, perhaps in the same second
    (shown,) = re.findall(r"^Show all: .*? (audit show .*)$", done.out, re.MULTILINE)
    assert "--group" in shown
    rows = group.cli.run(*shlex.split(shown), "--output", "json").out.splitlines()
    found = [json.loads(row)["org_id"] for row in rows]
    assert (found.count(ORGS[0]), found.count(ORGS[1])) == (42, 42)


def test_organizations_that_no_credential_sees_are_neither_counted_nor_called_clean(group):
    absent = ["f" * 24, "e" * 24]
    group.cli.keys["organizations"] += [{"id": each, "credentials": "ALPHA"} for each in absent]
    done = group.cli.run("plan", "--policy", "policy.yaml", COLUMNS="200")
    assert "3 projects of 5 organizations, 2 of them not visible" in done.out
    for each in absent:
        assert re.search(rf"{each} +Dry run: not visible with these credentials", done.out)
        (warning,) = [line for line in done.err.splitlines() if f"organization {each}" in line]
        assert "MONGODB_ATLAS_ACCESS_TOKEN_ALPHA" in warning
    visible = [each["visible"] for each in group.plan().summary["organizations"]]
    assert visible.count(False) == 2
