"""One command over several organizations: limits, refusals and results together.

Each organization has its own credentials.
"""

import re
import signal
from datetime import timedelta

import faults
import pytest
from running import CliRunner, cli_in, wait_until

from invite_sweeper.simulator.seed import ORG_ID

ORGS = (ORG_ID, "0123456789abcdef01234567", "89abcdef0123456789abcdef")
NAMES = ("ALPHA", "BETA", "GAMMA")
DAYS = timedelta(days=1)
POLICY = ("--policy", "policy.yaml")
VARIABLE = "MONGODB_ATLAS_ACCESS_TOKEN_"


class GroupRunner:
    """A cli with three organizations of one project each."""

    def __init__(self, cli: CliRunner) -> None:
        self.cli, self.sim = cli, cli.sim
        self.sweep, self.plan = cli.sweep, cli.plan
        cli.use_organizations(dict(zip(NAMES, ORGS, strict=True)))
        for org_id, name in zip(ORGS, NAMES, strict=True):
            cli.projects.append(self.sim.add_project(f"{name} project", org_id))

    def invite(self, *counts: int) -> None:
        """Add stale invitations to each organization."""
        for project, count in zip(self.cli.projects, counts, strict=True):
            for number in range(count):
                age = (20 + number / 100) * DAYS
                self.sim.invite(project, f"p{number}@example.com", age=age)

    def left(self) -> list[int]:
        return [len(self.sim.invitations(project)) for project in self.cli.projects]

    def verify(self) -> int:
        return self.cli.run("audit", "verify", "audit").code


@pytest.fixture
def group(tmp_path):
    with cli_in(tmp_path) as cli:
        yield GroupRunner(cli)


def wrong(*names):
    return {VARIABLE + name: "wrong" for name in names}


def codes(done):
    return [each["exit_code"] for each in done.summary["organizations"]]


# Limits -------------------------------------------------------------------------------------


def test_max_deletions_counts_over_all_organizations(group):
    group.invite(2, 2, 2)
    group.cli.keys["limits"]["max_deletions"] = 5
    done = group.sweep()
    assert (done.code, group.left(), group.cli.deletes()) == (3, [2] * 3, 0), done.err
    assert codes(done) == [3] * 3
    message = "In 3 organizations together: 6 stale invitations are over max_deletions: 5."
    assert done.errors == [done.summary["error"]["message"]] == [message]


# Failures -----------------------------------------------------------------------------------


def test_one_that_fails_while_reading_does_not_stop_the_others(group):
    group.invite(2, 2, 2)
    done = group.sweep(**wrong("BETA"))
    assert (done.code, group.left()) == (4, [0, 2, 0])
    assert codes(done) == [0, 5, 0]
    failed = done.summary["organizations"][1]
    assert ORGS[1] in failed["error"]["message"]
    assert done.summary["error"] == failed["error"]
    assert any(each.startswith(f"Organization {ORGS[1]}: ") for each in done.errors)
    assert group.verify() == 0


def test_refusal_of_the_others_does_not_hide_why_one_failed(group):
    group.invite(2, 2, 2)
    group.cli.keys["limits"]["max_deletions"] = 3
    done = group.sweep(**wrong("BETA"))
    assert (done.code, group.cli.deletes()) == (3, 0)
    assert codes(done) == [3, 5, 3]
    assert any(each.startswith(f"Organization {ORGS[1]}: ") for each in done.errors)


def test_signal_while_the_second_is_swept_skips_the_rest_and_ends_with_8(group):
    group.invite(2, 4, 2)
    group.cli.keys["execution"] = {"concurrency": 1, "grace": "1s"}
    path = f"*/groups/{group.cli.projects[1]}/*"
    group.sim.faults.add(faults.hang(), method="DELETE", path=path, times=None)
    process = group.cli.fork("sweep", *POLICY)
    wait_until(lambda: len(group.cli.lines("intent")) >= 3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert (process.returncode, group.left()) == (8, [0, 4, 2])
    outcomes = [line["outcome"] for line in group.cli.lines("outcome")]
    assert outcomes.count("deleted") == 2
    assert len(outcomes) == 8
    # The DELETE that hangs is `unknown`, or `skipped` where the signal came just before it.
    assert set(outcomes[2:]) <= {"unknown", "skipped"}
    assert group.verify() == 0


@pytest.mark.parametrize("words", [("explain", "x", *POLICY), ("init", "new.yaml")], ids=" ".join)
def test_refused_credentials_name_their_variables(cli, words):
    done = cli.run(*words, MONGODB_ATLAS_ACCESS_TOKEN="wrong")
    assert done.code == 5
    assert "The credentials are those of MONGODB_ATLAS_ACCESS_TOKEN." in done.err


@pytest.mark.parametrize(("event", "number"), [("planned", 1), ("intent", 4), ("outcome", 1)])
def test_command_killed_after_any_kind_of_line_is_recovered_by_the_next(group, event, number):
    """The file is cut as a kill leaves it, and HEAD is as the run found it."""
    group.invite(2, 2, 2)
    assert group.plan().code == 0
    head = group.cli.audit_dir / "HEAD"
    before = head.read_text("utf-8")
    assert group.sweep().code == 0
    lines, records = group.cli.log_path.read_bytes().splitlines(keepends=True), group.cli.lines()
    records = records[-len(lines) :]
    cut = [n for n, line in enumerate(records) if line["event"] == event][number]
    group.cli.log_path.write_bytes(b"".join(lines[: cut + 1]))
    killed = before.replace('"ended":true', '"ended":false').replace('"number":1', '"number":2')
    head.write_text(re.sub('"file":"[^"]*"', f'"file":"{group.cli.log_path.name}"', killed))
    kept = [line["event"] for line in records[: cut + 1]]
    done = group.sweep()
    assert done.code == 0, done.err
    recovered = [line for line in group.cli.lines("outcome") if "recovers" in line]
    assert len(recovered) == kept.count("intent") - kept.count("outcome")
    assert done.summary["recovered"] == len(recovered)
    assert {line["recovers"] for line in recovered} <= {records[0]["run_id"]}
    assert group.verify() == 0


# The result ---------------------------------------------------------------------------------


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
    assert done.summary["requests"] == len(group.sim.requests)


def test_text_has_a_line_for_each_organization_and_one_verdict(group):
    group.invite(1, 2, 3)
    done = group.cli.run("sweep", *POLICY, **wrong("BETA"), COLUMNS="120")
    assert done.code == 4
    lines = done.out.splitlines()
    named = lines[lines.index("Organizations  3") + 1 :]
    for org_id, state in zip(ORGS, ("Done: ", "Failed: ", "Done: "), strict=True):
        assert any(org_id in line and state in line for line in named), done.out
    assert sum(line.startswith("Partly done") for line in lines) == 1
    assert any(each.startswith(f"Organization {ORGS[1]}: ") for each in done.errors)


# Shards -------------------------------------------------------------------------------------


def only(name):
    """Return an environment with the credentials of one organization."""
    return {VARIABLE + each: None for each in NAMES if each != name}


def test_shards_sweep_each_organization_once_with_its_own_credentials_alone(group):
    group.invite(3, 4, 5)
    for index, name in enumerate(NAMES, start=1):
        options = ("--shard", f"{index}/3", "--audit-dir", f"audit/{index}")
        done = group.cli.sweep(*options, **only(name))
        assert (done.code, done.summary["deleted"]) == (0, 2 + index)
        assert [each["id"] for each in done.summary["organizations"]] == [ORGS[index - 1]]
        assert group.cli.run("audit", "verify", f"audit/{index}").code == 0
    assert group.left() == [0, 0, 0]


def test_shard_without_an_organization_is_done_and_says_so(group):
    group.invite(1, 1, 1)
    done = group.sweep("--shard", "1000000000/1000000000", "--metrics-file", "sweeper.prom")
    assert (done.code, done.summary["exit_code"], done.summary["organizations"]) == (0, 0, [])
    assert (done.summary["invitations"], done.summary["requests"]) == ([], 0)
    assert "nothing to do: no organizations for this shard" in done.err
    assert (group.left(), group.cli.audit_dir.exists()) == ([1, 1, 1], False)
    assert (group.cli.folder / "sweeper-1000000000-of-1000000000.prom").exists()


def test_indexed_job_gets_its_shard_from_the_environment_and_records_it(group):
    assert group.plan("--shard", "auto/3", JOB_COMPLETION_INDEX="1").code == 0
    (started,) = group.cli.lines("run_started")
    assert (started["shard"], started["organizations"]) == ("2/3", [ORGS[1]])


# The organizations that a credential sees ----------------------------------------------------


def test_missing_credentials_of_one_are_wrong_usage_before_atlas_is_called(group):
    done = group.sweep(**dict.fromkeys([VARIABLE + "BETA"]))
    assert (done.code, list(group.sim.requests)) == (2, [])
    assert "MONGODB_ATLAS_CLIENT_ID_BETA" in done.err


def test_organizations_that_no_credential_sees_are_named_and_not_called_clean(group):
    group.invite(2, 2, 2)
    absent = ["f" * 24, "e" * 24]
    group.cli.keys["organizations"] += [{"id": each, "credentials": "ALPHA"} for each in absent]
    done = group.cli.run("sweep", *POLICY, COLUMNS="200")
    assert (done.code, group.left()) == (0, [0, 0, 0])
    for each in absent:
        assert re.search(rf"{each} +Done: not visible with these credentials", done.out)
        (warning,) = [line for line in done.err.splitlines() if f"organization {each}" in line]
        assert "MONGODB_ATLAS_ACCESS_TOKEN_ALPHA" in warning
    visible = [each["visible"] for each in group.plan().summary["organizations"]]
    assert visible.count(False) == 2
