"""People of the simulated Atlas: both lists, four statuses, two versions, and how they go."""

from datetime import timedelta

import pytest
from simulator.simulated import ORG, V2023, V2025, asking, organization

from invite_sweeper.simulator import faults

STATUSES = ("ACTIVE", "PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")
ALL = "&".join(f"orgMembershipStatuses={each}" for each in STATUSES)


@pytest.fixture
def sim():
    return organization()


@pytest.fixture
def project(sim):
    return sim.add_project("Data Lake")


@pytest.fixture
def people(sim, project):
    return {
        status: sim.add_user(
            f"{status.lower()}@example.com",
            status=status,
            age=timedelta(days=3),
            group_roles={project: ("GROUP_READ_ONLY",)},
        )
        for status in STATUSES
    }


def lists(project):
    return (f"/groups/{project}/users", f"/orgs/{ORG}/users")


def ids(got):
    return {each["id"] for each in got.json()["results"]}


async def test_a_list_shows_active_and_pending_and_others_only_when_asked_for(sim, project, people):
    async with asking(sim) as ask:
        for path in lists(project):
            usual = await ask("GET", path, accept=V2025)
            assert usual.headers["Content-Type"] == f"{V2025};charset=utf-8"
            assert ids(usual) == {people["ACTIVE"], people["PENDING"]}
            expired = await ask(
                "GET", f"{path}?orgMembershipStatuses=INVITATION_EXPIRED", accept=V2025
            )
            assert ids(expired) == {people["INVITATION_EXPIRED"]}
            one = await ask("GET", f"{path}?orgMembershipStatus=INVITATION_REJECTED", accept=V2025)
            assert ids(one) == {people["INVITATION_REJECTED"]}
            assert ids(await ask("GET", f"{path}?{ALL}", accept=V2025)) == set(people.values())
            named = await ask("GET", f"{path}?username=ACTIVE@example.com", accept=V2025)
            assert ids(named) == {people["ACTIVE"]}


async def test_a_page_out_of_bounds_is_400(sim, project):
    async with asking(sim) as ask:
        for path in lists(project):
            assert (await ask("GET", f"{path}?pageNum=0", accept=V2025)).status == 400


@pytest.mark.parametrize(
    "query", ["orgMembershipStatuses=GONE", f"{ALL}&orgMembershipStatus=ACTIVE"]
)
async def test_a_status_that_does_not_exist_or_both_spellings_are_400(sim, project, people, query):
    async with asking(sim) as ask:
        for path in (*lists(project), f"/orgs/{ORG}/users/{people['ACTIVE']}"):
            got = await ask("GET", f"{path}?{query}", accept=V2025)
            assert (got.status, got.code) == (400, "INVALID_QUERY_PARAMETER")


async def test_the_older_version_shows_active_people_whatever_is_asked(sim, project, people):
    async with asking(sim) as ask:
        for path in lists(project):
            got = await ask("GET", f"{path}?orgMembershipStatuses=PENDING", accept=V2023)
            assert got.headers["Content-Type"] == f"{V2023};charset=utf-8"
            assert ids(got) == {people["ACTIVE"]}
            assert "orgMembershipStatus" not in got.json()["results"][0]


async def test_the_older_version_removes_active_people_and_cannot_find_pending_ones(
    sim, project, people
):
    async with asking(sim) as ask:
        for path in lists(project):
            pending = await ask("DELETE", f"{path}/{people['PENDING']}", accept=V2023)
            assert pending.status == 404
        active = await ask("DELETE", f"/orgs/{ORG}/users/{people['ACTIVE']}", accept=V2023)
    assert active.status == 204
    assert people["ACTIVE"] not in sim.users()


async def test_documents_have_the_keys_of_their_list_and_status(sim, project, people):
    async with asking(sim) as ask:
        group, org = [
            {each["orgMembershipStatus"]: each for each in got.json()["results"]}
            for got in [await ask("GET", f"{path}?{ALL}", accept=V2025) for path in lists(project)]
        ]
    invited = ["invitationCreatedAt", "invitationExpiresAt", "inviterUsername"]
    active = ["country", "createdAt", "firstName", "lastAuth", "lastName", "mobileNumber"]
    common = ["id", "orgMembershipStatus", "roles", "username"]
    assert list(group["PENDING"]) == sorted(common + invited)
    assert list(group["ACTIVE"]) == sorted(common + active)
    assert list(org["PENDING"]) == sorted([*common, *invited, "teamIds"])
    assert list(org["ACTIVE"]) == sorted([*common, *active, "teamIds"])
    assert group["PENDING"]["roles"] == ["GROUP_READ_ONLY"]
    assert org["PENDING"]["roles"] == {
        "groupRoleAssignments": [{"groupId": project, "groupRoles": ["GROUP_READ_ONLY"]}],
        "orgRoles": ["ORG_MEMBER"],
    }
    assert group["PENDING"]["invitationCreatedAt"] == "2026-08-07T03:04:57Z"
    assert group["PENDING"]["invitationExpiresAt"] == "2026-09-06T03:04:57Z"
    assert group["INVITATION_REJECTED"]["invitationExpiresAt"] is None


async def test_one_user_is_read_by_id_if_its_status_was_asked_for(sim, project, people):
    async with asking(sim) as ask:
        for path in lists(project):
            for status, user in people.items():
                everything = await ask("GET", f"{path}/{user}?{ALL}", accept=V2025)
                assert everything.json()["orgMembershipStatus"] == status
                usual = await ask("GET", f"{path}/{user}", accept=V2025)
                assert usual.status == (200 if status in {"ACTIVE", "PENDING"} else 404)
            unknown = await ask("GET", f"{path}/{'0' * 24}?{ALL}", accept=V2025)
            assert unknown.status == 404
            older = await ask("GET", f"{path}/{people['ACTIVE']}", accept=V2023)
            assert older.status == 406


async def test_removing_from_a_project_leaves_the_organization_and_the_other_way_round_not(
    sim, project, people
):
    user = people["PENDING"]
    async with asking(sim) as ask:
        first = await ask("DELETE", f"/groups/{project}/users/{user}", accept=V2025)
        again = await ask("DELETE", f"/groups/{project}/users/{user}", accept=V2025)
        assert user in sim.users()
        whole = await ask("DELETE", f"/orgs/{ORG}/users/{user}", accept=V2025)
        after = await ask("DELETE", f"/orgs/{ORG}/users/{user}", accept=V2025)
    assert (first.status, again.status, again.code) == (204, 404, "USER_NOT_IN_GROUP")
    assert (whole.status, after.status, after.code) == (204, 404, "USER_NOT_IN_ORG")
    assert user not in sim.users()
    assert [(each.scope_id, each.user_id) for each in sim.request_log.removed] == [
        (project, user),
        (ORG, user),
    ]


async def test_the_removal_of_somebody_who_accepted_a_moment_before_is_told_by_the_journal(
    sim, project, people
):
    user = people["PENDING"]
    path = f"/orgs/{ORG}/users/{user}"
    accepts = faults.effect(before=lambda visit: sim.set_status(visit.item_id, "ACTIVE"))
    sim.faults.add(accepts, method="DELETE", path="*/users/*")
    async with asking(sim) as ask:
        read = await ask("GET", f"{path}?{ALL}", accept=V2025)
        removed = await ask("DELETE", path, accept=V2025)
    assert read.json()["orgMembershipStatus"] == "PENDING"
    assert removed.status == 204
    assert [each.status for each in sim.request_log.removed] == ["ACTIVE"]


async def test_a_pending_person_is_an_organization_invitation_too_under_another_id(
    sim, project, people
):
    pending = sim.user(people["PENDING"])
    assert pending.invitation_id != pending.id
    async with asking(sim) as ask:
        listed = (await ask("GET", f"/orgs/{ORG}/invites")).json()
        path = f"/orgs/{ORG}/invites/{pending.invitation_id}"
        read = await ask("GET", path)
        wrong = await ask("DELETE", f"/orgs/{ORG}/invites/{pending.id}")
        gone = [await ask("DELETE", path), await ask("DELETE", path), await ask("GET", path)]
    assert [each["id"] for each in listed] == [pending.invitation_id]
    assert listed[0]["groupRoleAssignments"] == [
        {"groupId": project, "groupRole": "GROUP_READ_ONLY"}
    ]
    assert read.json() == listed[0]
    assert wrong.status == 404
    assert [each.status for each in gone] == [204, 404, 404]
    assert pending.id not in sim.users()


async def test_an_older_invitation_is_in_no_list_of_people_until_it_is_accepted(sim, project):
    invitation = sim.invite(project, "ada@example.com", roles=("GROUP_OWNER",))
    async with asking(sim) as ask:
        before = [ids(await ask("GET", f"{p}?{ALL}", accept=V2025)) for p in lists(project)]
        assert (await ask("GET", f"/orgs/{ORG}/invites")).json() == []
        sim.accept(project, invitation)
        sim.accept(project, invitation)
        after = await ask("GET", lists(project)[0], accept=V2025)
        listed = await ask("GET", f"/groups/{project}/invites")
    assert before == [set(), set()]
    assert listed.json() == []
    (member,) = after.json()["results"]
    assert (member["orgMembershipStatus"], member["roles"]) == ("ACTIVE", ["GROUP_OWNER"])


async def test_inviting_an_outsider_to_a_project_makes_one_pending_person(sim, project):
    asked = {"username": "ada@example.com", "roles": ["GROUP_OWNER"]}
    async with asking(sim) as ask:
        made = await ask("POST", f"/groups/{project}/users", accept=V2025, json=asked)
        again = await ask("POST", f"/groups/{project}/users", accept=V2025, json=asked)
        older = await ask("POST", f"/groups/{project}/users", accept=V2023, json=asked)
        listed = await ask("GET", f"/orgs/{ORG}/invites")
    assert made.status == 201
    assert (made.json()["orgMembershipStatus"], made.json()["roles"]) == (
        "PENDING",
        ["GROUP_OWNER"],
    )
    assert (again.status, again.code) == (409, "USER_ALREADY_EXISTS")
    assert older.status == 406
    assert [each["username"] for each in listed.json()] == ["ada@example.com"]


async def test_inviting_a_member_to_a_project_adds_at_once(sim, project):
    user = sim.add_user("ada@example.com", status="ACTIVE")
    asked = {"username": "Ada@example.com", "roles": ["GROUP_OWNER"]}
    async with asking(sim) as ask:
        made = await ask("POST", f"/groups/{project}/users", accept=V2025, json=asked)
    assert (made.status, made.json()["id"]) == (201, user)
    assert made.json()["orgMembershipStatus"] == "ACTIVE"
    assert sim.user(user).group_roles == {project: ("GROUP_OWNER",)}


@pytest.mark.parametrize("status", ["INVITATION_EXPIRED", "INVITATION_REJECTED"])
async def test_inviting_again_replaces_an_expired_or_declined_invitation(
    sim, project, people, status
):
    name = sim.user(people[status]).username
    asked = {
        "username": name,
        "roles": {
            "orgRoles": ["ORG_MEMBER"],
            "groupRoleAssignments": [{"groupId": project, "groupRoles": ["GROUP_OWNER"]}],
        },
        "teamIds": ["5" * 24],
    }
    async with asking(sim) as ask:
        made = await ask("POST", f"/orgs/{ORG}/users", accept=V2025, json=asked)
        again = await ask("POST", f"/orgs/{ORG}/users", accept=V2025, json=asked)
    assert made.status == 201
    assert made.json()["roles"] == asked["roles"]
    assert made.json()["teamIds"] == ["5" * 24]
    assert made.json()["id"] != people[status]
    assert people[status] not in sim.users()
    assert again.status == 409


async def test_the_older_call_invites_to_the_organization_with_200(sim, project):
    asked = {
        "username": "ada@example.com",
        "roles": ["ORG_MEMBER"],
        "groupRoleAssignments": [{"groupId": project, "roles": ["GROUP_OWNER"]}],
    }
    async with asking(sim) as ask:
        made = await ask("POST", f"/orgs/{ORG}/invites", json=asked)
    assert made.status == 200
    assert made.json()["groupRoleAssignments"] == [{"groupId": project, "groupRole": "GROUP_OWNER"}]
    assert made.json()["inviterUsername"].startswith("token-")


@pytest.mark.parametrize(
    "body", [{}, {"username": 1, "roles": []}, {"username": "ada@example.com"}]
)
async def test_an_invitation_without_a_name_or_roles_is_400(sim, project, body):
    async with asking(sim) as ask:
        for path in (*lists(project), f"/orgs/{ORG}/invites"):
            accept = V2023 if path.endswith("invites") else V2025
            got = await ask("POST", path, accept=accept, json=body)
            assert (got.status, got.code) == (400, "MISSING_ATTRIBUTE")


async def test_all_ways_to_invite_share_the_limit_of_an_address(sim, project):
    sim.invite_rate_limit.per_minute = 3
    statuses = []
    async with asking(sim) as ask:
        for number in range(2):
            name = f"u{number}@example.com"
            for path, accept, roles in (
                (f"/groups/{project}/invites", V2023, ["GROUP_OWNER"]),
                (f"/orgs/{ORG}/users", V2025, {"orgRoles": ["ORG_MEMBER"]}),
            ):
                body = {"username": name, "roles": roles}
                statuses.append((await ask("POST", path, accept=accept, json=body)).status)
        sim.invite_rate_limit.per_minute = None
        body = {"username": "u9@example.com", "roles": ["GROUP_OWNER"]}
        free = await ask("POST", f"/groups/{project}/users", accept=V2025, json=body)
    assert statuses == [200, 201, 200, 400]
    assert free.status == 201


async def test_people_are_paged_and_their_oddities_are_their_own(sim):
    for number in range(5):
        sim.add_user(f"u{number}@example.com")
    sim.user_paging.page_size = 2
    async with asking(sim) as ask:
        got = await ask("GET", f"/orgs/{ORG}/users?itemsPerPage=500", accept=V2025)
        last = await ask("GET", f"/orgs/{ORG}/users?itemsPerPage=500&pageNum=3", accept=V2025)
    assert [each["username"] for each in got.json()["results"]] == [
        "u0@example.com",
        "u1@example.com",
    ]
    assert [each["rel"] for each in got.json()["links"]] == ["self", "next"]
    assert [each["rel"] for each in last.json()["links"]] == ["self", "previous"]
    assert got.json()["totalCount"] == 5


async def test_people_with_a_role_in_the_organization_alone_are_shown_in_a_project_on_demand(
    sim, project
):
    owner = sim.add_user("owner@example.com", status="ACTIVE", org_roles=("ORG_OWNER",))
    async with asking(sim) as ask:
        path = f"/groups/{project}/users"
        assert ids(await ask("GET", path, accept=V2025)) == set()
        everyone = await ask("GET", f"{path}?includeOrgUsers=true", accept=V2025)
    assert ids(everyone) == {owner}


def test_member_who_accepts_an_older_invitation_is_one_person_still_and_gains_its_roles(sim):
    first, second = sim.add_project("First"), sim.add_project("Second")
    user = sim.add_user("ada@example.com", status="ACTIVE", group_roles={first: ("GROUP_OWNER",)})
    sim.accept(second, sim.invite(second, "Ada@Example.com", roles=("GROUP_READ_ONLY",)))
    assert tuple(sim.users()) == (user,)
    assert sim.user(user).group_roles == {first: ("GROUP_OWNER",), second: ("GROUP_READ_ONLY",)}


def test_somebody_who_is_gone_may_still_accept_without_harm(sim):
    sim.set_status("0" * 24, "ACTIVE")
    with pytest.raises(KeyError):
        sim.user("0" * 24)


def test_declining_takes_the_end_away(sim):
    user = sim.add_user("ada@example.com")
    sim.set_status(user, "INVITATION_REJECTED")
    assert sim.user(user).expires_at is None
