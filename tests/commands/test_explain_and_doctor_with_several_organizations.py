"""`explain`, `doctor` and `restore` with a policy over several sets of credentials."""

import json
from datetime import timedelta

import pytest
from running import cli_in

from invite_sweeper.simulator.seed import ORG_ID

OTHER = "0123456789abcdef01234567"
LOG = "audit/invite-sweeper.jsonl"


@pytest.fixture
def cli(tmp_path):
    """Two organizations with a project each; ALPHA and BETA name their credentials."""
    with cli_in(tmp_path) as found:
        found.sim.invite_rate_limit.per_minute = None
        found.sim.add_organization(OTHER, "Elsewhere")
        for org_id in (ORG_ID, OTHER):
            project = found.sim.add_project(f"Of {org_id[:4]}", org_id)
            found.projects.append(project)
            found.sim.invite(project, "old@example.com", age=timedelta(days=20))
        found.keys["sources"] = ["invites", "users"]
        found.keys["rules"].append({"name": "p", "older_than": "21d", "statuses": ["PENDING"]})
        found.keys["organizations"] = [
            {"id": ORG_ID, "credentials": "ALPHA"},
            {"id": OTHER, "credentials": "BETA"},
        ]
        found.changes = {
            "MONGODB_ATLAS_ACCESS_TOKEN": None,
            "MONGODB_ATLAS_ACCESS_TOKEN_ALPHA": found.account.secret,
            "MONGODB_ATLAS_ACCESS_TOKEN_BETA": found.sim.add_token(OTHER).secret,
        }
        yield found


@pytest.fixture
def broken(cli):
    """The same, with credentials of one that Atlas refuses."""
    return {**cli.changes, "MONGODB_ATLAS_ACCESS_TOKEN_ALPHA": "wrong"}


def run(cli, *arguments, code, changes):
    done = cli.run(*arguments, "--output", "json", **changes)
    assert done.code == code, done.err
    return json.loads(done.out)


def test_explain_searches_each_organization_with_its_own_credentials(cli):
    result = run(cli, "explain", "old*", "--policy", "policy.yaml", code=0, changes=cli.changes)
    assert [each["org_id"] for each in result["found"]] == [OTHER, ORG_ID]
    assert result["projects"] == 2


def test_explain_continues_when_one_organization_fails_and_ends_with_4(cli, broken):
    result = run(cli, "explain", "old*", "--policy", "policy.yaml", code=4, changes=broken)
    assert [each["org_id"] for each in result["found"]] == [OTHER]
    assert ORG_ID in result["unreadable"][0]["project_name"]


def test_doctor_checks_each_organization_and_names_the_credentials(cli):
    checks = run(cli, "doctor", "--policy", "policy.yaml", code=0, changes=cli.changes)["checks"]
    names = {check["check"] for check in checks}
    assert names >= {"credentials (ALPHA)", "credentials (BETA)", "clock (BETA)", "policy"}


def test_doctor_ends_with_4_as_a_sweep_would_if_one_of_two_is_refused(cli, broken):
    result = run(cli, "doctor", "--policy", "policy.yaml", code=4, changes=broken)
    failed = [check["check"] for check in result["checks"] if check["state"] == "failed"]
    assert failed == ["credentials (ALPHA)"]
    (message,) = (each["message"] for each in result["checks"] if each["state"] == "failed")
    assert message.startswith(f"In organization {ORG_ID}: Atlas refused the credentials")
    organizations = f"{ORG_ID}, Elsewhere ({OTHER})"
    assert result["verdict"] == (
        f"1 failed: a sweep of {organizations} would end with exit code 4 (partly done)."
    )
    assert result["organizations"] == [
        {"id": ORG_ID, "name": None}, {"id": OTHER, "name": "Elsewhere"},
    ]  # fmt: skip
    assert cli.sweep(**broken).code == 4


def test_restore_selects_the_credentials_by_name(cli):
    assert cli.sweep(**cli.changes).code == 0
    first = cli.lines("run_started")[1]
    result = run(
        cli,
        *("restore", LOG, "--yes", "--run", first["run_id"], "--credentials", "BETA"),
        code=0,
        changes=cli.changes,
    )
    assert result["restored"] == 1
    assert cli.sim.invitations(cli.projects[0]) == ()
    assert len(cli.sim.invitations(cli.projects[1])) == 1
