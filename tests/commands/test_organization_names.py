"""The names of organizations in outputs, and runs whose credentials cannot read them."""

from datetime import timedelta

import faults
import pytest

from invite_sweeper.simulator.seed import ORG_ID

LABEL = f"Example Industries ({ORG_ID})"
POLICY = ("--policy", "policy.yaml")


@pytest.fixture
def cli(cli):
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada@example.com", age=timedelta(days=20))
    cli.projects.append(project)
    return cli


def test_result_explain_and_doctor_name_the_organization_with_its_id(cli):
    assert f" · {LABEL}" in cli.run("plan", *POLICY, COLUMNS="120").out
    assert cli.plan().summary["organizations"][0]["name"] == "Example Industries"
    explained = cli.run("explain", "ada@*", *POLICY)
    assert f"ada@example.com in organization {LABEL}" in explained.out
    assert LABEL in cli.run("doctor", *POLICY, COLUMNS="120").out


def test_run_without_access_to_the_names_deletes_as_usual(cli):
    cli.sim.faults.add(faults.fail_with(401), method="GET", path="*/orgs", times=None)
    done = cli.sweep()
    assert (done.code, done.summary["deleted"], done.summary["error"]) == (0, 1, None)
    assert [each["name"] for each in done.summary["organizations"]] == [None]
    assert {each["level"] for each in done.summary["warnings"]} == {"remark"}


def test_run_waits_3_s_for_the_names_and_no_longer(cli):
    cli.sim.faults.add(faults.delay(100), method="GET", path="*/orgs", times=None)
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 1)
    assert done.summary["duration_s"] < 60
    assert [each["name"] for each in done.summary["organizations"]] == [None]
