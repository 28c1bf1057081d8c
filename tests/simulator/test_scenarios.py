"""The scenarios of `simulate`: consistent data. Commands run what they script."""

from datetime import timedelta

import pytest
from observed import ObservedAtlas
from simulator.simulated import NOW, ORG

from invite_sweeper.models import Source
from invite_sweeper.policy import parse_policy
from invite_sweeper.simulator import Size
from invite_sweeper.simulator.scenarios import SCENARIOS, describe_scenarios


def prepared(name, **size):
    sim = ObservedAtlas()
    SCENARIOS[name].prepare(sim, Size(**size))
    return sim


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_has_a_policy_that_is_valid_and_names_its_organizations(name):
    scenario = SCENARIOS[name]
    policy = parse_policy(scenario.policy().encode(), "policy.yaml")

    assert set(policy.sources) == set(Source)
    assert [(each.credentials or "", each.id) for each in policy.organizations] == list(
        scenario.organizations
    )
    assert set(prepared(name).organizations) == {org_id for _, org_id in scenario.organizations}


def test_descriptions_have_one_line_of_at_most_78_characters_each():
    lines = describe_scenarios().splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)
    assert max(map(len, lines)) <= 76


@pytest.mark.parametrize("name", SCENARIOS)
def test_all_four_lists_of_every_organization_are_filled_consistently(name):
    sim = prepared(name)
    for organization in sim.organizations.values():
        users = list(organization.users.values())
        assert {user.status.value for user in users} == {
            "ACTIVE",
            "PENDING",
            "INVITATION_EXPIRED",
            "INVITATION_REJECTED",
        }
        groups = {each.id for each in sim.groups.values() if each.org_id == organization.id}
        known_teams = {team for each in groups for team in sim.groups[each].teams}
        for user in users:
            assert user.group_roles.keys() <= groups
            assert set(user.team_ids) <= known_teams
            age = sim.clock() - user.created_at
            if user.status.value == "PENDING":
                assert age < timedelta(days=30)
                assert user.expires_at > sim.clock()
            elif user.status.value == "INVITATION_EXPIRED":
                assert user.expires_at <= sim.clock()
            elif user.status.value == "INVITATION_REJECTED":
                assert user.expires_at is None
        assert any(user.team_ids for user in users)
        assert any(user.group_roles for user in users)
    assert sim.invitation_count() == 5 * len(sim.groups)


@pytest.mark.parametrize(("count", "is_production"), [(1, False), (2, True)])
def test_last_of_several_projects_is_for_production(count, is_production):
    *_, last = prepared("demo", projects=count).groups.values()
    assert last.name.endswith("-prod") is is_production


@pytest.mark.parametrize("seed", [1, 15, 80])
def test_each_user_is_in_the_organization_once(seed):
    # With 15 and 80, a project invitation has the name of a user of the organization.
    users = prepared("demo", projects=40, seed=seed).organizations[ORG].users.values()
    assert len({user.username for user in users}) == len(users)


def contents(name, seed):
    """Return all that a scenario prepares, by organization."""
    sim = ObservedAtlas(lambda: NOW)
    SCENARIOS[name].prepare(sim, Size(seed=seed))
    return {
        org_id: (
            list(organization.users.values()),
            [group for group in sim.groups.values() if group.org_id == org_id],
        )
        for org_id, organization in sim.organizations.items()
    }


def test_same_seed_prepares_the_same_data_and_each_organization_its_own():
    first = contents("organizations", 3)
    assert first == contents("organizations", 3) != contents("organizations", 4)
    usernames = {
        tuple(user.username for user in users) for users, _ in contents("organizations", 3).values()
    }
    assert len(usernames) == len(first) == 3
