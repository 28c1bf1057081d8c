"""The scenarios of `simulate`: consistent data, and the scripted changes."""

from datetime import timedelta
from email.utils import parsedate_to_datetime

import pytest
from observed import ObservedAtlas
from simulator.exchanges import ALL
from simulator.simulated import NOW, ORG, open_client

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

    assert tuple(source.value for source in policy.sources) == scenario.sources
    assert [(each.credentials or "", each.id) for each in policy.organizations] == list(
        scenario.organizations
    )
    assert set(prepared(name).organizations) == {org_id for _, org_id in scenario.organizations}


def test_descriptions_have_one_line_of_at_most_78_characters_each():
    lines = describe_scenarios().splitlines()
    assert [line.split()[0] for line in lines] == list(SCENARIOS)
    assert max(map(len, lines)) <= 76


@pytest.mark.parametrize("name", [each for each in SCENARIOS if each != "invites"])
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


@pytest.mark.parametrize("seed", [1, 15, 80])
def test_each_user_is_in_the_organization_once(seed):
    # With 15 and 80, a project invitation has the name of a user of the organization.
    users = prepared("lists", projects=40, seed=seed).organizations[ORG].users.values()
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


async def test_roles_are_missing_in_some_projects_and_in_the_organization():
    sim = prepared("roles")
    async with open_client(sim) as request:
        listed = (await request("GET", "/groups")).json()["results"]
        statuses = [
            (await request("GET", f"/groups/{each['id']}/invites")).status for each in listed
        ]
        users = await request("GET", f"/orgs/{ORG}/users")
        invites = await request("GET", f"/orgs/{ORG}/invites")
        path = f"/orgs/{ORG}/users/{sim.users()[0]}"
        deleted = await request("DELETE", path)
    assert len(listed) < len(sim.groups)
    assert set(statuses) == {200, 401}
    assert (users.status, invites.status, deleted.status) == (200, 401, 401)


async def test_accepting_changes_one_user_before_the_read_and_another_before_the_delete():
    sim = prepared("accepting")
    group = next(iter(sim.groups))
    async with open_client(sim) as request:
        pending = [
            sim.add_user(f"p{number}@example.com", group_roles={group: ("GROUP_OWNER",)})
            for number in range(3)
        ]
        for user in pending:
            path = f"/groups/{group}/users/{user}"
            seen = (await request("GET", f"{path}?{ALL}")).json()
            if seen["orgMembershipStatus"] == "PENDING":
                await request("DELETE", path)
    assert sim.user(pending[0]).status.value == "ACTIVE"
    assert [each.status.value for each in sim.request_log.removed] == ["ACTIVE", "PENDING"]


async def test_user_who_is_invited_again_to_a_federated_organization_is_active_at_once():
    sim = prepared("federated")
    body = {"username": "new@example.com", "roles": {"orgRoles": ["ORG_MEMBER"]}}
    async with open_client(sim) as request:
        response = await request("POST", f"/orgs/{ORG}/users", json=body)
    assert (response.status, response.json()["orgMembershipStatus"]) == (201, "ACTIVE")


async def test_a_night_passes_before_each_further_list_of_projects():
    sim = prepared("nights", projects=2)
    group = next(iter(sim.groups))
    old = sim.add_user("old@example.com", age=timedelta(days=28, hours=12))

    async def night(request):
        """Return the day that Atlas shows, and the dates of the invitations."""
        day = parsedate_to_datetime((await request("GET", "/groups")).headers["Date"]).date()
        invites = (await request("GET", f"/groups/{group}/invites")).json()
        return day, {each["id"]: each["createdAt"] for each in invites}, sim.user(old).status

    async with open_client(sim) as request:
        nights = [await night(request) for _ in range(3)]
    days, invites, statuses = zip(*nights, strict=True)
    assert [(day - days[0]).days for day in days] == [0, 1, 2]
    assert statuses == ("PENDING", "PENDING", "INVITATION_EXPIRED")
    assert invites[0].items() <= invites[1].items() <= invites[2].items()
    assert sim.invitation_count() == 2 * 5 + 2


async def test_both_lists_of_invitations_announce_their_end_reach_it_and_are_gone():
    sim = prepared("sunset", projects=2)
    lists = [f"/groups/{next(iter(sim.groups))}/invites", f"/orgs/{ORG}/invites"]

    async def night(request):
        await request("GET", "/groups")
        return [await request("GET", path) for path in lists]

    async with open_client(sim) as request:
        before, last_day, after, later = [await night(request) for _ in range(4)]
        users = await request("GET", f"/orgs/{ORG}/users")
    today = sim.clock().date()
    ends = [
        {parsedate_to_datetime(each.headers["Sunset"]).date() for each in found}
        for found in (before, last_day)
    ]
    assert ends == [{today + timedelta(days=1)}, {today}]
    assert {each.status for each in (*before, *last_day)} == {200}
    assert {(each.status, each.code) for each in (*after, *later)} == {(410, "VERSION_GONE")}
    assert (users.status, "Sunset" in users.headers) == (200, False)
