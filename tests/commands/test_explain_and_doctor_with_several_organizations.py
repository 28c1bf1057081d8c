"""`explain`, `doctor` and `restore` with a policy over several sets of credentials."""

import json

import pytest

from invite_sweeper.simulator.seed import ORG_ID

OTHER = "0123456789abcdef01234567"
LOG = "audit/invite-sweeper.jsonl"


@pytest.fixture
def cli(cli):
    """Two organizations with a project each; ALPHA and BETA name their credentials."""
    cli.sim.invite_rate_limit.per_minute = None
    cli.use_organizations({"ALPHA": ORG_ID, "BETA": OTHER})
    cli.stock(org_id=ORG_ID)
    cli.stock(org_id=OTHER)
    cli.keys["sources"] = ["invites", "users"]
    cli.keys["rules"].append({"name": "p", "older_than": "21d", "statuses": ["PENDING"]})
    return cli


WRONG = {"MONGODB_ATLAS_ACCESS_TOKEN_ALPHA": "wrong"}


def run(cli, *arguments, code=0, **changes):
    done = cli.run(*arguments, "--output", "json", **changes)
    assert done.code == code, done.err
    return json.loads(done.out)


def test_explain_searches_each_organization_with_its_own_credentials(cli):
    result = run(cli, "explain", "p0*", "--policy", "policy.yaml")
    assert [each["org_id"] for each in result["found"]] == [ORG_ID, OTHER]
    assert result["projects"] == 2


def test_explain_continues_when_one_organization_fails_and_ends_with_4(cli):
    result = run(cli, "explain", "p0*", "--policy", "policy.yaml", code=4, **WRONG)
    assert [each["org_id"] for each in result["found"]] == [OTHER]
    assert ORG_ID in result["unreadable"][0]["project_name"]


def test_doctor_checks_each_organization_and_names_the_credentials(cli):
    checks = run(cli, "doctor", "--policy", "policy.yaml")["checks"]
    names = {check["check"] for check in checks}
    assert names >= {"credentials (ALPHA)", "credentials (BETA)", "clock (BETA)", "policy"}


def test_doctor_shows_the_checks_of_each_organization_below_its_name(cli):
    cli.write_policy()
    lines = cli.run("doctor", "--policy", "policy.yaml").out.splitlines()
    headings = [at for at, line in enumerate(lines) if line.startswith("organization ")]
    assert lines[headings[1]] == f"organization Beta Industries ({OTHER})"
    assert len(headings) == 2
    assert not any("(BETA)" in line for line in lines[headings[0] : headings[1]])
    assert not any("(ALPHA)" in line for line in lines[headings[1] :])


def test_doctor_ends_with_4_as_a_sweep_would_if_one_of_two_is_refused(cli):
    result = run(cli, "doctor", "--policy", "policy.yaml", code=4, **WRONG)
    failed = [check["check"] for check in result["checks"] if check["state"] == "failed"]
    assert failed == ["credentials (ALPHA)"]
    (found,) = (each for each in result["checks"] if each["state"] == "failed")
    assert found["message"].startswith("Atlas refused the credentials")
    assert found["organizations"] == ORG_ID
    organizations = f"{ORG_ID}, Beta Industries ({OTHER})"
    assert result["verdict"] == (
        f"1 failed: a sweep of {organizations} would end with exit code 4 (partly done)."
    )
    assert result["organizations"] == [
        {"id": ORG_ID, "name": None}, {"id": OTHER, "name": "Beta Industries"},
    ]  # fmt: skip
    assert cli.sweep(**WRONG).code == 4


def test_restore_selects_the_credentials_by_name(cli):
    assert cli.sweep().code == 0
    first = cli.lines("run_started")[1]
    result = run(
        cli,
        *("restore", LOG, "--yes", "--run", first["run_id"], "--credentials", "BETA"),
    )
    assert result["restored"] == 1
    assert cli.sim.invitations(cli.projects[0]) == ()
    assert len(cli.sim.invitations(cli.projects[1])) == 1
