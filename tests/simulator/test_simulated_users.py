"""Users of the simulated Atlas: both lists, four statuses, two versions, deletion."""

from datetime import timedelta

import pytest
from simulator.simulated import ORG, V2023, V2025, open_client

STATUSES = ("ACTIVE", "PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED")
ALL = "&".join(f"orgMembershipStatuses={each}" for each in STATUSES)


@pytest.fixture
def users(sim, project):
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


def ids(response):
    return {each["id"] for each in response.json()["results"]}


async def test_list_returns_active_and_pending_and_others_only_on_request(sim, project, users):
    async with open_client(sim) as request:
        for path in lists(project):
            default = await request("GET", path, accept=V2025)
            assert default.headers["Content-Type"] == f"{V2025};charset=utf-8"
            assert ids(default) == {users["ACTIVE"], users["PENDING"]}
            expired = await request(
                "GET", f"{path}?orgMembershipStatuses=INVITATION_EXPIRED", accept=V2025
            )
            assert ids(expired) == {users["INVITATION_EXPIRED"]}
            assert ids(await request("GET", f"{path}?{ALL}", accept=V2025)) == set(users.values())


async def test_unknown_status_is_400(sim, project, users):
    async with open_client(sim) as request:
        for path in (*lists(project), f"/orgs/{ORG}/users/{users['ACTIVE']}"):
            response = await request("GET", f"{path}?orgMembershipStatuses=GONE", accept=V2025)
            assert (response.status, response.code) == (400, "INVALID_QUERY_PARAMETER")


async def test_documents_have_the_keys_of_their_list_and_status(sim, project, users):
    async with open_client(sim) as request:
        group, org = [
            {each["orgMembershipStatus"]: each for each in response.json()["results"]}
            for response in [
                await request("GET", f"{path}?{ALL}", accept=V2025) for path in lists(project)
            ]
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


async def test_user_is_read_by_id_if_its_status_is_requested(sim, project, users):
    async with open_client(sim) as request:
        for path in lists(project):
            for status, user in users.items():
                everything = await request("GET", f"{path}/{user}?{ALL}", accept=V2025)
                assert everything.json()["orgMembershipStatus"] == status
                default = await request("GET", f"{path}/{user}", accept=V2025)
                assert default.status == (200 if status in {"ACTIVE", "PENDING"} else 404)
            unknown = await request("GET", f"{path}/{'0' * 24}?{ALL}", accept=V2025)
            assert unknown.status == 404
            older = await request("GET", f"{path}/{users['ACTIVE']}", accept=V2023)
            assert older.status == 406


async def test_project_invitation_is_not_in_user_lists_until_accepted(sim, project):
    invitation = sim.invite(project, "ada@example.com", roles=("GROUP_OWNER",))
    async with open_client(sim) as request:
        before = [ids(await request("GET", f"{p}?{ALL}", accept=V2025)) for p in lists(project)]
        assert (await request("GET", f"/orgs/{ORG}/invites")).json() == []
        sim.accept(project, invitation)
        sim.accept(project, invitation)
        after = await request("GET", lists(project)[0], accept=V2025)
        listed = await request("GET", f"/groups/{project}/invites")
    assert before == [set(), set()]
    assert listed.json() == []
    (member,) = after.json()["results"]
    assert (member["orgMembershipStatus"], member["roles"]) == ("ACTIVE", ["GROUP_OWNER"])


async def test_inviting_a_new_user_to_a_project_adds_one_pending_user(sim, project):
    body = {"username": "ada@example.com", "roles": ["GROUP_OWNER"]}
    async with open_client(sim) as request:
        created = await request("POST", f"/groups/{project}/users", accept=V2025, json=body)
        again = await request("POST", f"/groups/{project}/users", accept=V2025, json=body)
        older = await request("POST", f"/groups/{project}/users", accept=V2023, json=body)
        listed = await request("GET", f"/orgs/{ORG}/invites")
    assert created.status == 201
    assert (created.json()["orgMembershipStatus"], created.json()["roles"]) == (
        "PENDING",
        ["GROUP_OWNER"],
    )
    assert (again.status, again.code) == (409, "USER_ALREADY_EXISTS")
    assert older.status == 406
    assert [each["username"] for each in listed.json()] == ["ada@example.com"]


@pytest.mark.parametrize("status", ["INVITATION_EXPIRED", "INVITATION_REJECTED"])
async def test_inviting_again_replaces_an_expired_or_rejected_invitation(
    sim, project, users, status
):
    name = sim.user(users[status]).username
    body = {
        "username": name,
        "roles": {
            "orgRoles": ["ORG_MEMBER"],
            "groupRoleAssignments": [{"groupId": project, "groupRoles": ["GROUP_OWNER"]}],
        },
        "teamIds": ["5" * 24],
    }
    async with open_client(sim) as request:
        created = await request("POST", f"/orgs/{ORG}/users", accept=V2025, json=body)
        again = await request("POST", f"/orgs/{ORG}/users", accept=V2025, json=body)
    assert created.status == 201
    assert created.json()["roles"] == body["roles"]
    assert created.json()["teamIds"] == ["5" * 24]
    assert created.json()["id"] != users[status]
    assert users[status] not in sim.users()
    assert again.status == 409


async def test_all_invite_operations_share_the_limit_per_address(sim, project):
    sim.invite_rate_limit.per_minute = 3
    statuses = []
    async with open_client(sim) as request:
        for number in range(2):
            name = f"u{number}@example.com"
            for path, accept, roles in (
                (f"/groups/{project}/invites", V2023, ["GROUP_OWNER"]),
                (f"/orgs/{ORG}/users", V2025, {"orgRoles": ["ORG_MEMBER"]}),
            ):
                body = {"username": name, "roles": roles}
                statuses.append((await request("POST", path, accept=accept, json=body)).status)
        sim.invite_rate_limit.per_minute = None
        body = {"username": "u9@example.com", "roles": ["GROUP_OWNER"]}
        free = await request("POST", f"/groups/{project}/users", accept=V2025, json=body)
    assert statuses == [200, 201, 200, 400]
    assert free.status == 201


def test_member_who_accepts_a_project_invitation_gains_its_roles(sim):
    first, second = sim.add_project("First"), sim.add_project("Second")
    user = sim.add_user("ada@example.com", status="ACTIVE", group_roles={first: ("GROUP_OWNER",)})
    sim.accept(second, sim.invite(second, "Ada@Example.com", roles=("GROUP_READ_ONLY",)))
    assert tuple(sim.users()) == (user,)
    assert sim.user(user).group_roles == {first: ("GROUP_OWNER",), second: ("GROUP_READ_ONLY",)}
