"""One command over several organizations: limits, refusals and results together.

Each organization has its own credentials.
"""

import re
from datetime import timedelta

import pytest

from invite_sweeper.simulator.seed import ORG_ID

ORGS = (ORG_ID, "0123456789abcdef01234567", "89abcdef0123456789abcdef")
NAMES = ("ALPHA", "BETA", "GAMMA")
DAYS = timedelta(days=1)
POLICY = ("--policy", "policy.yaml")
VARIABLE = "MONGODB_ATLAS_ACCESS_TOKEN_"


@pytest.fixture
def cli(cli):
    """Three organizations of one project each."""
    cli.use_organizations(dict(zip(NAMES, ORGS, strict=True)))
    for org_id, name in zip(ORGS, NAMES, strict=True):
        cli.projects.append(cli.sim.add_project(f"{name} project", org_id))
    return cli


def invite(cli, *counts):
    """Add stale invitations to each organization."""
    for project, count in zip(cli.projects, counts, strict=True):
        for number in range(count):
            cli.sim.invite(project, f"p{number}@example.com", age=(20 + number / 100) * DAYS)


def left(cli):
    return [len(cli.sim.invitations(project)) for project in cli.projects]


def verify(cli):
    return cli.run("audit", "verify", "audit").code


def wrong(*names):
    return {VARIABLE + name: "wrong" for name in names}


def codes(done):
    return [each["exit_code"] for each in done.summary["organizations"]]


# Failures -----------------------------------------------------------------------------------


def test_one_that_fails_while_reading_does_not_stop_the_others(cli):
    invite(cli, 2, 2, 2)
    done = cli.sweep(**wrong("BETA"))
    assert (done.code, left(cli)) == (4, [0, 2, 0])
    assert codes(done) == [0, 5, 0]
    failed = done.summary["organizations"][1]
    assert ORGS[1] in failed["error"]["message"]
    assert done.summary["error"] == failed["error"]
    assert any(each.startswith(f"Organization {ORGS[1]}: ") for each in done.errors)
    assert verify(cli) == 0


# The result ---------------------------------------------------------------------------------


# Shards -------------------------------------------------------------------------------------


def only(name):
    """Return an environment with the credentials of one organization."""
    return {VARIABLE + each: None for each in NAMES if each != name}


def test_shards_sweep_each_organization_once_with_its_own_credentials_alone(cli):
    invite(cli, 3, 4, 5)
    for index, name in enumerate(NAMES, start=1):
        options = ("--shard", f"{index}/3", "--audit-dir", f"audit/{index}")
        done = cli.sweep(*options, **only(name))
        assert (done.code, done.summary["deleted"]) == (0, 2 + index)
        assert [each["id"] for each in done.summary["organizations"]] == [ORGS[index - 1]]
        assert cli.run("audit", "verify", f"audit/{index}").code == 0
    assert left(cli) == [0, 0, 0]


def test_shard_without_an_organization_is_done_and_says_so(cli):
    invite(cli, 1, 1, 1)
    done = cli.sweep("--shard", "1000000000/1000000000", "--metrics-file", "sweeper.prom")
    assert (done.code, done.summary["exit_code"], done.summary["organizations"]) == (0, 0, [])
    assert (done.summary["invitations"], done.summary["requests"]) == ([], 0)
    assert left(cli) == [1, 1, 1]
    assert (cli.folder / "sweeper-1000000000-of-1000000000.prom").exists()


def test_indexed_job_gets_its_shard_from_the_environment_and_records_it(cli):
    assert cli.plan("--shard", "auto/3", JOB_COMPLETION_INDEX="1").code == 0
    (started,) = cli.lines("run_started")
    assert (started["shard"], started["organizations"]) == ("2/3", [ORGS[1]])


# The organizations that a credential sees ----------------------------------------------------


# One plan for all ---------------------------------------------------------------------------


def test_one_plan_is_read_by_a_second_person_and_applied_in_all_organizations_once(cli):
    invite(cli, 2, 2, 2)
    assert cli.plan().code == 0
    cli.stock(1)
    shown = cli.run("audit", "show", "1", *POLICY, COLUMNS="200").out
    for name, organization, org_id in zip(NAMES, ("Example", "Beta", "Gamma"), ORGS, strict=True):
        heading = rf"^{name} project of organization {organization} Industries \({org_id}\)  2$"
        row = rf"{heading}\n +20\.\d d +p1@example\.com"
        assert re.search(row, shown, re.MULTILINE), shown
    sha256 = re.search(r"^SHA-256  ([0-9a-f]{64})\n\Z", shown, re.MULTILINE)[1]
    by_plan = ("--plan", "1", "--plan-sha256", sha256)
    done = cli.sweep(*by_plan)
    assert (done.code, left(cli)) == (0, [0, 0, 0, 1]), done.err
    assert cli.lines("run_started")[-1]["plan_sha256"] == sha256
    assert (cli.sweep(*by_plan).code, cli.deletes()) == (3, 6)


def test_organization_whose_credential_fails_after_the_plan_is_left_out_and_said(cli):
    invite(cli, 2, 2, 2)
    cli.plan()
    done = cli.sweep("--plan", "1", **wrong("BETA"))
    assert (done.code, left(cli), codes(done)) == (4, [0, 2, 0], [0, 5, 0])
    beta = done.summary["organizations"][1]
    assert (beta["name"], beta["deleted"]) == ("Beta Industries", 0)  # known from the log
    assert done.errors[0].startswith(f"Organization Beta Industries ({ORGS[1]}): ")
    assert f"{VARIABLE}BETA" in done.err
