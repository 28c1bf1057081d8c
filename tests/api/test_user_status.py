"""The status of a user whose deletion has an unknown result: read from Atlas, never guessed."""

from datetime import timedelta

import faults
import pytest
from builders import ORG, entry_of

from invite_sweeper.atlas.reader import UserStatus
from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import ListUnreadable, Source

IN_PROJECT, IN_ORG = "*/groups/*/users/*", "*/orgs/*/users/*"


@pytest.fixture
def read_status(sim, online, alpha):
    """Invite a user, call `then` with the user's id, and read the user's status."""

    async def run(then, source=Source.USERS):
        user = sim.add_user(
            "ada@example.com", age=timedelta(days=20), group_roles={alpha: ["GROUP_OWNER"]}
        )
        place = {} if source.is_organization_level else {"project_id": alpha}
        then(user)
        one = entry_of(source, invitation_id=user, **place)
        async with online(attempts=2) as atlas:
            return await atlas.reader.membership_status(one)

    return run


PROJECT_GONE = "the user left the project"
GONE = "the user left the organization"
NOTHING = {}
NO_PROJECTS = b'{"id":"%b","orgMembershipStatus":"ACTIVE","roles":{}}'
ANOTHER_USER = b'{"id":"000000000000000000000000","orgMembershipStatus":"ACTIVE","roles":{}}'


def odd(status, code="ODD"):
    return faults.fail_with(status, code)


ROLE = "USER_UNAUTHORIZED"
CASES = {
    "there": (None, "PENDING", NOTHING, ("PENDING", True)),
    "there and expired": (None, "INVITATION_EXPIRED", NOTHING, ("INVITATION_EXPIRED", True)),
    "there and active": (None, "ACTIVE", NOTHING, ("ACTIVE", True)),
    "gone": (GONE, "PENDING", NOTHING, ("gone", False)),
    "404 of the organization alone": (None, "PENDING", {IN_ORG: odd(404)}, ("PENDING", True)),
    "not in the project": (PROJECT_GONE, "PENDING", NOTHING, ("PENDING", False)),
    "active, not in the project": (PROJECT_GONE, "ACTIVE", NOTHING, ("ACTIVE", False)),
    "by the project alone": (None, "ACTIVE", {IN_ORG: odd(403, ROLE)}, ("ACTIVE", True)),
    "not in the project alone": (PROJECT_GONE, "ACTIVE", {IN_ORG: odd(401, ROLE)}, (None, False)),
    "no projects": (None, "ACTIVE", {IN_ORG: NO_PROJECTS}, ("ACTIVE", True)),
    "no projects, gone there": (PROJECT_GONE, "ACTIVE", {IN_ORG: NO_PROJECTS}, ("ACTIVE", False)),
    "no projects, no answer there": (
        None, "ACTIVE", {IN_ORG: NO_PROJECTS, IN_PROJECT: odd(500, ROLE)}, (200, None),
    ),
    "400": (PROJECT_GONE, "PENDING", {IN_ORG: odd(400)}, (400, "ODD")),
    "410": (PROJECT_GONE, "PENDING", {IN_ORG: odd(410)}, (410, "ODD")),
    "500": (PROJECT_GONE, "PENDING", {IN_ORG: odd(500)}, (500, "ODD")),
    "401 about the credentials": (PROJECT_GONE, "PENDING", {IN_ORG: odd(401, None)}, (401, None)),
    "neither is readable": (
        None, "PENDING", {IN_ORG: odd(403), IN_PROJECT: odd(403)}, (403, "ODD"),
    ),
    "another user": (PROJECT_GONE, "PENDING", {IN_ORG: ANOTHER_USER}, (200, None)),
    "another user in the project": (
        None, "PENDING", {IN_PROJECT: ANOTHER_USER, IN_ORG: odd(403)}, (403, "ODD"),
    ),
}  # fmt: skip
"""What happened, the status, answers; status and membership, or HTTP status and error code."""
OF_ORGANIZATION = {
    "in no project": (PROJECT_GONE, "PENDING", NOTHING, ("PENDING", True)),
    "gone from it": (GONE, "PENDING", NOTHING, ("gone", False)),
}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        *((Source.USERS, name) for name in CASES),
        *((Source.ORG_USERS, name) for name in OF_ORGANIZATION),
    ],
)
async def test_status_is_read_from_the_organization_and_the_project_or_is_unreadable(
    sim, alpha, read_status, source, name
):
    what, status, answers, expected = (CASES | OF_ORGANIZATION)[name]

    def then(user):
        sim.set_status(user, status)
        if what == PROJECT_GONE:
            sim.user(user).group_roles.pop(alpha)
        elif what == GONE:
            sim.organizations[ORG].users.pop(user)
        for path, answer in answers.items():
            if isinstance(answer, bytes):
                answer = faults.malformed(answer.replace(b"%b", user.encode()))  # noqa: PLW2901
            sim.faults.add(answer, path=path, times=None)

    found = await read_status(then, source)

    if isinstance(expected[1], bool):
        assert found == UserStatus(*expected)
    else:
        assert isinstance(found, ListUnreadable)
        assert (found.http_status, found.error_code) == expected
        assert found.reason.startswith("The status of the user could not be read: ")


@pytest.mark.parametrize("path", [IN_ORG, IN_PROJECT])
async def test_ip_access_list_error_stops_the_run(sim, read_status, path):
    sim.faults.add(faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), path=path, times=None)
    with pytest.raises(CredentialsRefused):
        await read_status(sim.organizations[ORG].users.pop)
