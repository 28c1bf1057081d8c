"""What Atlas shows of a user whom nobody knows to be removed: read, and never guessed at."""

from datetime import timedelta

import pytest

from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import Invitation, ListUnreadable, Source, UserStatus
from invite_sweeper.simulator import faults

ORG = "5efda682a3f2ed2e7dd6cde4"
IN_PROJECT, IN_ORG = "*/groups/*/users/*", "*/orgs/*/users/*"
USERS = [Source.USERS, Source.ORG_USERS]


@pytest.fixture
def alpha(sim):
    sim.throttling.enforced = False
    return sim.add_project("Alpha")


@pytest.fixture
def look(sim, online, alpha):
    """Invite somebody, let `then` happen to their id, and look."""

    async def run(source=Source.USERS, then=lambda _user: None):
        user = sim.add_user(
            "ada@example.com", age=timedelta(days=20), group_roles={alpha: ["GROUP_OWNER"]}
        )
        scope = ORG if source.is_organization_level else alpha
        then(user)
        one = Invitation(
            user, scope, "Alpha", ORG, "ada@example.com", (), None, None, None, source=source
        )
        async with online(attempts=2) as atlas:
            return await atlas.reader.membership_status(one)

    return run


def gone_from_project(sim, alpha):
    return lambda user: sim.user(user).group_roles.pop(alpha)


@pytest.mark.parametrize(
    "status", ["PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED", "ACTIVE"]
)
@pytest.mark.parametrize("source", USERS)
async def test_who_is_there_still_is_told_with_the_status(sim, look, source, status):
    seen = await look(source, lambda user: sim.set_status(user, status))
    assert seen == UserStatus(status, still_member=True)


@pytest.mark.parametrize("status", ["PENDING", "ACTIVE"])
async def test_who_is_in_the_organization_and_not_in_the_project_is_told_apart(
    sim, alpha, look, status
):
    def leave(user):
        sim.set_status(user, status)
        gone_from_project(sim, alpha)(user)

    assert await look(then=leave) == UserStatus(status, still_member=False)


async def test_membership_of_the_organization_is_there_without_any_project(sim, alpha, look):
    seen = await look(Source.ORG_USERS, gone_from_project(sim, alpha))
    assert seen == UserStatus("PENDING", still_member=True)


@pytest.mark.parametrize("source", USERS)
async def test_whom_the_organization_does_not_know_is_gone(sim, look, source):
    seen = await look(source, sim.organizations[ORG].users.pop)
    assert seen == UserStatus("gone", still_member=False)


@pytest.mark.parametrize("status", [401, 403])
async def test_without_a_look_into_the_organization_who_left_the_project_is_not_judged(
    sim, alpha, look, status
):
    sim.faults.add(faults.fail_with(status, "USER_UNAUTHORIZED"), path=IN_ORG, times=None)
    assert await look(then=gone_from_project(sim, alpha)) == UserStatus(None, still_member=False)


async def test_without_a_look_into_the_organization_the_project_tells_who_is_there(sim, look):
    sim.faults.add(faults.fail_with(403, "USER_UNAUTHORIZED"), path=IN_ORG, times=None)
    seen = await look(then=lambda user: sim.set_status(user, "ACTIVE"))
    assert seen == UserStatus("ACTIVE", still_member=True)


@pytest.mark.parametrize("status", [400, 410, 500])
async def test_trouble_in_the_organization_is_no_refusal_and_nothing_is_said(
    sim, alpha, look, status
):
    sim.faults.add(faults.fail_with(status, "UNEXPECTED"), path=IN_ORG, times=None)
    seen = await look(then=gone_from_project(sim, alpha))
    assert isinstance(seen, ListUnreadable)
    assert (seen.http_status, seen.error_code) == (status, "UNEXPECTED")
    expected = f"The status of the user could not be read: Atlas returned {status} UNEXPECTED"
    assert seen.reason.startswith(expected)


@pytest.mark.parametrize("source", USERS)
@pytest.mark.parametrize("status", [403, 500])
async def test_where_nobody_answers_nothing_is_said(sim, look, source, status):
    sim.faults.add(faults.fail_with(status, "ACCESS_FORBIDDEN"), path="*/users/*", times=None)
    assert isinstance(await look(source), ListUnreadable)


@pytest.mark.parametrize("roles", [b"{}", b'{"groupRoleAssignments":null}', b"[]"])
@pytest.mark.parametrize(("left", "there"), [(True, False), (False, True)])
async def test_organization_that_tells_no_projects_is_helped_out_by_the_project(
    sim, alpha, look, roles, left, there
):
    def then(user):
        sim.set_status(user, "ACTIVE")
        if left:
            gone_from_project(sim, alpha)(user)
        body = b'{"id":"%b","orgMembershipStatus":"ACTIVE","roles":%b}' % (user.encode(), roles)
        sim.faults.add(faults.malformed(body), path=IN_ORG, times=None)

    assert await look(then=then) == UserStatus("ACTIVE", still_member=there)


async def test_neither_projects_nor_an_answer_of_the_project_says_nothing(sim, look):
    def then(user):
        body = b'{"id":"%b","orgMembershipStatus":"ACTIVE","roles":{}}' % user.encode()
        sim.faults.add(faults.malformed(body), path=IN_ORG, times=None)
        sim.faults.add(faults.fail_with(500), path=IN_PROJECT, times=None)

    assert isinstance(await look(then=then), ListUnreadable)


SOMEBODY_ELSE = b'{"id":"000000000000000000000000","orgMembershipStatus":"ACTIVE","roles":{}}'


async def test_answer_of_the_organization_about_somebody_else_is_none(sim, alpha, look):
    sim.faults.add(faults.malformed(SOMEBODY_ELSE), path=IN_ORG, times=None)
    assert isinstance(await look(then=gone_from_project(sim, alpha)), ListUnreadable)


async def test_answer_of_the_project_about_somebody_else_is_none(sim, look):
    sim.faults.add(faults.malformed(SOMEBODY_ELSE), path=IN_PROJECT, times=None)
    sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), path=IN_ORG, times=None)
    assert isinstance(await look(), ListUnreadable)


@pytest.mark.parametrize("code", [None, "UNEXPECTED_ERROR"])
async def test_401_that_names_no_role_is_no_refusal_and_nothing_is_said(sim, alpha, look, code):
    sim.faults.add(faults.fail_with(401, code), path=IN_ORG, times=None)
    seen = await look(then=gone_from_project(sim, alpha))
    assert isinstance(seen, ListUnreadable)
    assert (seen.http_status, seen.error_code) == (401, code)


async def test_access_list_ends_the_run(sim, look):
    sim.faults.add(faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), path=IN_ORG, times=None)
    with pytest.raises(CredentialsRefused):
        await look()
