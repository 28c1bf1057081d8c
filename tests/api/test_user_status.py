"""The status of a user whose deletion has an unknown result: read from Atlas, never guessed."""

from datetime import timedelta

import faults
import pytest

from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import Invitation, ListUnreadable, Source, UserStatus

ORG = "5efda682a3f2ed2e7dd6cde4"
IN_PROJECT, IN_ORG = "*/groups/*/users/*", "*/orgs/*/users/*"
USERS = [Source.USERS, Source.ORG_USERS]


@pytest.fixture
def alpha(sim):
    sim.throttling.enforced = False
    return sim.add_project("Alpha")


@pytest.fixture
def read_status(sim, online, alpha):
    """Invite a user, call `then` with the user's id, and read the user's status."""

    async def run(source=Source.USERS, then=lambda _user_id: None):
        user = sim.add_user(
            "ada@example.com", age=timedelta(days=20), group_roles={alpha: ["GROUP_OWNER"]}
        )
        scope = ORG if source.is_organization_level else alpha
        then(user)
        invitation = Invitation(
            user, scope, "Alpha", ORG, "ada@example.com", (), None, None, None, source=source
        )
        async with online(attempts=2) as atlas:
            return await atlas.reader.membership_status(invitation)

    return run


def gone_from_project(sim, alpha):
    return lambda user: sim.user(user).group_roles.pop(alpha)


@pytest.mark.parametrize(
    "status", ["PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED", "ACTIVE"]
)
@pytest.mark.parametrize("source", USERS)
async def test_user_who_is_still_there_is_returned_with_the_status(
    sim, read_status, source, status
):
    found = await read_status(source, lambda user: sim.set_status(user, status))
    assert found == UserStatus(status, still_member=True)


@pytest.mark.parametrize("status", ["PENDING", "ACTIVE"])
async def test_user_in_the_organization_but_not_in_the_project_is_not_a_member(
    sim, alpha, read_status, status
):
    def leave(user):
        sim.set_status(user, status)
        gone_from_project(sim, alpha)(user)

    assert await read_status(then=leave) == UserStatus(status, still_member=False)


async def test_user_of_an_organization_is_a_member_without_any_project(sim, alpha, read_status):
    found = await read_status(Source.ORG_USERS, gone_from_project(sim, alpha))
    assert found == UserStatus("PENDING", still_member=True)


@pytest.mark.parametrize("source", USERS)
async def test_user_that_the_organization_does_not_have_is_gone(sim, read_status, source):
    found = await read_status(source, sim.organizations[ORG].users.pop)
    assert found == UserStatus("gone", still_member=False)


@pytest.mark.parametrize("status", [401, 403])
async def test_user_who_left_the_project_has_no_status_if_the_organization_is_not_readable(
    sim, alpha, read_status, status
):
    sim.faults.add(faults.fail_with(status, "USER_UNAUTHORIZED"), path=IN_ORG, times=None)
    assert await read_status(then=gone_from_project(sim, alpha)) == UserStatus(
        None, still_member=False
    )


async def test_status_is_read_from_the_project_if_the_organization_is_not_readable(
    sim, read_status
):
    sim.faults.add(faults.fail_with(403, "USER_UNAUTHORIZED"), path=IN_ORG, times=None)
    found = await read_status(then=lambda user: sim.set_status(user, "ACTIVE"))
    assert found == UserStatus("ACTIVE", still_member=True)


@pytest.mark.parametrize("status", [400, 410, 500])
async def test_error_of_the_organization_other_than_a_refusal_makes_the_user_unreadable(
    sim, alpha, read_status, status
):
    sim.faults.add(faults.fail_with(status, "UNEXPECTED"), path=IN_ORG, times=None)
    found = await read_status(then=gone_from_project(sim, alpha))
    assert isinstance(found, ListUnreadable)
    assert (found.http_status, found.error_code) == (status, "UNEXPECTED")
    expected = f"The status of the user could not be read: Atlas answered {status} UNEXPECTED"
    assert found.reason.startswith(expected)


@pytest.mark.parametrize("source", USERS)
@pytest.mark.parametrize("status", [403, 500])
async def test_user_is_unreadable_if_neither_project_nor_organization_is_readable(
    sim, read_status, source, status
):
    sim.faults.add(faults.fail_with(status, "ACCESS_FORBIDDEN"), path="*/users/*", times=None)
    assert isinstance(await read_status(source), ListUnreadable)


@pytest.mark.parametrize("roles", [b"{}", b'{"groupRoleAssignments":null}', b"[]"])
@pytest.mark.parametrize(("has_left", "still_member"), [(True, False), (False, True)])
async def test_membership_is_read_from_the_project_if_the_organization_returns_no_projects(
    sim, alpha, read_status, roles, has_left, still_member
):
    def then(user):
        sim.set_status(user, "ACTIVE")
        if has_left:
            gone_from_project(sim, alpha)(user)
        body = b'{"id":"%b","orgMembershipStatus":"ACTIVE","roles":%b}' % (user.encode(), roles)
        sim.faults.add(faults.malformed(body), path=IN_ORG, times=None)

    assert await read_status(then=then) == UserStatus("ACTIVE", still_member=still_member)


async def test_user_is_unreadable_without_projects_if_the_project_is_not_readable(sim, read_status):
    def then(user):
        body = b'{"id":"%b","orgMembershipStatus":"ACTIVE","roles":{}}' % user.encode()
        sim.faults.add(faults.malformed(body), path=IN_ORG, times=None)
        sim.faults.add(faults.fail_with(500), path=IN_PROJECT, times=None)

    assert isinstance(await read_status(then=then), ListUnreadable)


ANOTHER_USER = b'{"id":"000000000000000000000000","orgMembershipStatus":"ACTIVE","roles":{}}'


async def test_organization_response_about_another_user_is_ignored(sim, alpha, read_status):
    sim.faults.add(faults.malformed(ANOTHER_USER), path=IN_ORG, times=None)
    assert isinstance(await read_status(then=gone_from_project(sim, alpha)), ListUnreadable)


async def test_project_response_about_another_user_is_ignored(sim, read_status):
    sim.faults.add(faults.malformed(ANOTHER_USER), path=IN_PROJECT, times=None)
    sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), path=IN_ORG, times=None)
    assert isinstance(await read_status(), ListUnreadable)


@pytest.mark.parametrize("code", [None, "UNEXPECTED_ERROR"])
async def test_401_without_a_role_code_makes_the_user_unreadable(sim, alpha, read_status, code):
    sim.faults.add(faults.fail_with(401, code), path=IN_ORG, times=None)
    found = await read_status(then=gone_from_project(sim, alpha))
    assert isinstance(found, ListUnreadable)
    assert (found.http_status, found.error_code) == (401, code)


async def test_ip_access_list_error_stops_the_run(sim, read_status):
    sim.faults.add(faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), path=IN_ORG, times=None)
    with pytest.raises(CredentialsRefused):
        await read_status()
