"""What is read beside the policy's lists costs few requests, whatever the size of the estate."""

import re
from collections import Counter
from datetime import timedelta

import pytest

from invite_sweeper.simulator.seed import ORG_ID

ORGANIZATIONS = (ORG_ID, *(f"{number:024x}" for number in range(1, 5)))
PROJECTS = 3
SECRET = "serviceAccounts"


@pytest.fixture
def estate(cli):
    """Five organizations, each with three projects, an invited user and an account."""
    org_ids = {f"N{number}": org_id for number, org_id in enumerate(ORGANIZATIONS)}
    cli.use_organizations(org_ids, "service-account")
    for org_id in ORGANIZATIONS:
        cli.stock(PROJECTS, stale=0, org_id=org_id)
        cli.sim.add_user("web@example.com", org_id, age=timedelta(days=20))
    return cli


def requests(cli):
    """The requests so far: those of each organization by what they read, those of projects."""
    of_organizations = {org_id: Counter() for org_id in ORGANIZATIONS}
    of_projects = Counter()
    for each in cli.sim.requests:
        path = each.path.partition("?")[0]
        if found := re.search(r"/groups/([a-f0-9]{24})/(\w+)$", path):
            of_projects[found.groups()] += 1
        elif found := re.search(r"/orgs/([a-f0-9]{24})/(\w+)", path):
            of_organizations[found[1]][found[2]] += 1
    return of_organizations, of_projects


def test_run_adds_one_request_an_organization_and_none_a_project(estate):
    done = estate.plan()
    assert done.code == 0, done.err

    of_organizations, of_projects = requests(estate)
    for found in of_organizations.values():
        assert found == {SECRET: 1}
    assert set(of_projects.values()) == {1}
    assert {what for _, what in of_projects} == {"invites"}
    assert len(of_projects) == PROJECTS * len(ORGANIZATIONS)
