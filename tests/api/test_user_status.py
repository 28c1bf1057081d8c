"""The status of a user whose deletion has an unknown result: read from Atlas, never guessed."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import NamedTuple

import faults
import pytest
from builders import ORG, entry_of

from invite_sweeper.atlas.reader import UserStatus
from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import ListUnreadable, Source

IN_PROJECT = "*/groups/*/users/*"
IN_ORG = "*/orgs/*/users/*"


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
NO_PROJECTS = b'{"id":"%b","orgMembershipStatus":"ACTIVE","roles":{}}'
ANOTHER_USER = b'{"id":"000000000000000000000000","orgMembershipStatus":"ACTIVE","roles":{}}'


def odd(status, code="ODD"):
    return faults.fail_with(status, code)


ROLE = "USER_UNAUTHORIZED"


class _Case(NamedTuple):
    """What is read of a user who was invited to a project.

    Attributes:
        expected: The status, and whether the user is a member of the place of the invitation; where
            that cannot be read, the HTTP status and the error code.
        left: What the user left meanwhile.
        answers: Faults and bodies of answers by path.
    """

    status: str
    expected: tuple[object, object]
    left: str | None = None
    answers: Mapping[str, object] = MappingProxyType({})


CASES = {
    "there": _Case(status="PENDING", expected=("PENDING", True)),
    "there and expired": _Case(status="INVITATION_EXPIRED", expected=("INVITATION_EXPIRED", True)),
    "there and active": _Case(status="ACTIVE", expected=("ACTIVE", True)),
    "gone": _Case(left=GONE, status="PENDING", expected=("gone", False)),
    "404 of the organization alone": _Case(
        status="PENDING", answers={IN_ORG: odd(404)}, expected=("PENDING", True)
    ),
    "not in the project": _Case(left=PROJECT_GONE, status="PENDING", expected=("PENDING", False)),
    "active, not in the project": _Case(
        left=PROJECT_GONE, status="ACTIVE", expected=("ACTIVE", False)
    ),
    "by the project alone": _Case(
        status="ACTIVE", answers={IN_ORG: odd(403, ROLE)}, expected=("ACTIVE", True)
    ),
    "not in the project alone": _Case(
        left=PROJECT_GONE, status="ACTIVE", answers={IN_ORG: odd(401, ROLE)}, expected=(None, False)
    ),
    "no projects": _Case(status="ACTIVE", answers={IN_ORG: NO_PROJECTS}, expected=("ACTIVE", True)),
    "no projects, gone there": _Case(
        left=PROJECT_GONE,
        status="ACTIVE",
        answers={IN_ORG: NO_PROJECTS},
        expected=("ACTIVE", False),
    ),
    "no projects, no answer there": _Case(
        status="ACTIVE",
        answers={IN_ORG: NO_PROJECTS, IN_PROJECT: odd(500, ROLE)},
        expected=(200, None),
    ),
    "400": _Case(
        left=PROJECT_GONE, status="PENDING", answers={IN_ORG: odd(400)}, expected=(400, "ODD")
    ),
    "410": _Case(
        left=PROJECT_GONE, status="PENDING", answers={IN_ORG: odd(410)}, expected=(410, "ODD")
    ),
    "500": _Case(
        left=PROJECT_GONE, status="PENDING", answers={IN_ORG: odd(500)}, expected=(500, "ODD")
    ),
    "401 about the credentials": _Case(
        left=PROJECT_GONE, status="PENDING", answers={IN_ORG: odd(401, None)}, expected=(401, None)
    ),
    "neither is readable": _Case(
        status="PENDING", answers={IN_ORG: odd(403), IN_PROJECT: odd(403)}, expected=(403, "ODD")
    ),
    "another user": _Case(
        left=PROJECT_GONE, status="PENDING", answers={IN_ORG: ANOTHER_USER}, expected=(200, None)
    ),
    "another user in the project": _Case(
        status="PENDING",
        answers={IN_PROJECT: ANOTHER_USER, IN_ORG: odd(403)},
        expected=(403, "ODD"),
    ),
}
OF_ORGANIZATION = {
    "in no project": _Case(left=PROJECT_GONE, status="PENDING", expected=("PENDING", True)),
    "gone from it": _Case(left=GONE, status="PENDING", expected=("gone", False)),
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
    case = (CASES | OF_ORGANIZATION)[name]

    def then(user):
        sim.set_status(user, case.status)
        if case.left == PROJECT_GONE:
            sim.user(user).group_roles.pop(alpha)
        elif case.left == GONE:
            sim.organizations[ORG].users.pop(user)
        for path, answer in case.answers.items():
            if isinstance(answer, bytes):
                answer = faults.malformed(answer.replace(b"%b", user.encode()))  # noqa: PLW2901
            sim.faults.add(answer, path=path, times=None)

    found = await read_status(then, source)

    if isinstance(case.expected[1], bool):
        assert found == UserStatus(*case.expected)
    else:
        assert isinstance(found, ListUnreadable)
        assert (found.http_status, found.error_code) == case.expected
        assert found.reason.startswith("The status of the user could not be read: ")


@pytest.mark.parametrize("path", [IN_ORG, IN_PROJECT])
async def test_ip_access_list_error_stops_the_run(sim, read_status, path):
    sim.faults.add(faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), path=path, times=None)
    with pytest.raises(CredentialsRefused):
        await read_status(sim.organizations[ORG].users.pop)
