"""The scenarios of `simulate`: consistent data. Commands run what they script."""

from datetime import timedelta

import pytest
from observed import ObservedAtlas
from simulator.simulated import NOW

from invite_sweeper.models import INVITED_STATUSES
from invite_sweeper.simulator import Size
from invite_sweeper.simulator.scenarios import SCENARIOS


def prepared(name, **size):
    sim = ObservedAtlas(lambda: NOW)
    SCENARIOS[name].prepare(sim, Size(**size))
    return sim


@pytest.mark.parametrize("name", SCENARIOS)
def test_all_four_lists_of_every_organization_are_filled_consistently(name):
    sim = prepared(name)
    assert list(sim.organizations) == [org_id for _, org_id in SCENARIOS[name].organizations]
    for organization in sim.organizations.values():
        users = list(organization.users.values())
        groups = {each.id: each for each in sim.groups.values() if each.org_id == organization.id}
        known_teams = {team for each in groups.values() for team in each.teams}
        for user in users:
            assert user.group_roles.keys() <= groups.keys()
            assert set(user.team_ids) <= known_teams
            if user.status.value == "PENDING":
                assert NOW - user.created_at < timedelta(days=30)
                assert user.expires_at > NOW
            elif user.status.value == "INVITATION_EXPIRED":
                assert user.expires_at <= NOW
            elif user.status.value == "INVITATION_REJECTED":
                assert user.expires_at is None
        assert {user.status for user in users} == {"ACTIVE", *INVITED_STATUSES}
        assert any(user.team_ids for user in users)
        assert any(user.group_roles for user in users)
        *others, last = (each.name.endswith("-prod") for each in groups.values())
        assert (any(others), last) == (False, True)
    assert sim.invitation_count() == 5 * len(sim.groups)


def test_same_seed_prepares_the_same_data_and_each_organization_its_own():
    def contents(seed):
        return [
            list(each.users.values())
            for each in prepared("organizations", seed=seed).organizations.values()
        ]

    first = contents(3)
    assert first == contents(3) != contents(4)
    assert len({tuple(user.username for user in users) for users in first}) == 3
