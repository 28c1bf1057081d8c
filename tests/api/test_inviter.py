"""Re-inviting: the exact requests, the meaning of each response, and current members."""

import json
from itertools import count

import faults
import pytest
from builders import ORG, PROJECT, invitation
from deleting import place_of

from invite_sweeper.atlas.endpoints import V2023_01_01, V2025_02_19
from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.outcomes import Outcome, Sending

OF_ORGANIZATION = {
    "project_id": None,
    "project_name": None,
    "roles": ("ORG_MEMBER", "ORG_READ_ONLY"),
    "team_ids": ("0123456789abcdef01234567",),
    "project_roles": ((PROJECT, "GROUP_OWNER"), (PROJECT, "GROUP_READ_ONLY"), ("", "GROUP_OWNER")),
}
PATHS = {
    Source.INVITES: f"/api/atlas/v2/groups/{PROJECT}/invites",
    Source.USERS: f"/api/atlas/v2/groups/{PROJECT}/users",
    Source.ORG_USERS: f"/api/atlas/v2/orgs/{ORG}/users",
    Source.ORG_INVITES: f"/api/atlas/v2/orgs/{ORG}/users",
}
BODY_OF_PROJECT = {"roles": ["GROUP_READ_ONLY"], "username": "person-1@example.com"}
HELD = {"groupId": PROJECT, "groupRoles": ["GROUP_OWNER", "GROUP_READ_ONLY"]}
BODY_OF_ORGANIZATION = {
    "roles": {"orgRoles": ["ORG_MEMBER", "ORG_READ_ONLY"], "groupRoleAssignments": [HELD]},
    "username": "person-1@example.com",
    "teamIds": ["0123456789abcdef01234567"],
}


@pytest.fixture
def project(sim):
    return sim.add_project("Search", project_id=PROJECT)


def deleted(source, **changes):
    values = OF_ORGANIZATION if source.is_organization_level else {}
    return invitation(1, source=source, **{**values, **changes})


async def invite(online, source=Source.INVITES, *, account=None, attempts=5, **changes):
    async with online(account, attempts=attempts) as atlas:
        return await atlas.inviter().invite(deleted(source, **changes), Sending())


@pytest.mark.parametrize("source", Source)
async def test_each_source_has_its_own_endpoint_and_sends_roles_projects_and_teams_unchanged(
    online, sim, project, source
):
    calls = []
    sim.faults.add(faults.effect(before=calls.append), method="POST")
    assert (await invite(online, source)).outcome is Outcome.RESTORED

    (call,) = calls
    assert call.target == PATHS[source]
    version = V2023_01_01 if source is Source.INVITES else V2025_02_19
    assert (call.headers["Accept"], call.headers["Content-Type"]) == (version, version)
    expected = BODY_OF_ORGANIZATION if source.is_organization_level else BODY_OF_PROJECT
    assert json.loads(call.body) == expected
    usernames = {sim.user(each).username for each in sim.users()}
    assert usernames == (set() if source is Source.INVITES else {"person-1@example.com"})
    assert sim.invitation_count() == (source is Source.INVITES)


async def test_organization_invitation_without_usable_project_roles_has_no_assignments(online, sim):
    calls = []
    sim.faults.add(faults.effect(before=calls.append), method="POST")
    await invite(online, Source.ORG_USERS, project_roles=((PROJECT, ""), ("", "GROUP_OWNER")))
    assert json.loads(calls[0].body)["roles"] == {"orgRoles": ["ORG_MEMBER", "ORG_READ_ONLY"]}


# Responses to the POST

INVITED = {"id": "0" * 24, "username": "person-1@example.com", "expiresAt": "2026-12-25T00:00:00Z"}
BODIES = [
    ({**INVITED, "orgMembershipStatus": "PENDING"}, Outcome.RESTORED),
    (INVITED, Outcome.RESTORED),
    ({**INVITED, "orgMembershipStatus": "ACTIVE"}, Outcome.ACTIVE),
    ({"orgMembershipStatus": "ACTIVE"}, Outcome.ACTIVE),
    *(
        ({**INVITED, "orgMembershipStatus": status}, Outcome.UNKNOWN)
        for status in ("INVITATION_EXPIRED", "active", None, ["PENDING"])
    ),
    *(
        (body, Outcome.UNKNOWN)
        for body in ({**INVITED, "id": 7}, {}, {"errorCode": "UNEXPECTED_ERROR"}, [], "no object")
    ),
]


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        *((faults.malformed(json.dumps(body).encode()), outcome) for body, outcome in BODIES),
        (faults.malformed(b"not JSON"), Outcome.UNKNOWN),
        (faults.fail_with(400, "INVITATIONS_RATE_LIMITED_IP"), None),
        (faults.fail_with(400, "RATE_LIMITED_IP"), None),
        (faults.fail_with(429, "RATE_LIMITED_TOKEN_BUCKET"), None),
        (faults.upgrade(), None),
        (faults.fail_with(409, "USER_ALREADY_EXISTS"), Outcome.FAILED),
        (faults.fail_with(400, "MAX_USERS_PER_ORG_EXCEEDED"), Outcome.FAILED),
        (faults.role_missing(), Outcome.FAILED),
        (faults.fail_with(404, "GROUP_NOT_FOUND"), Outcome.FAILED),
        (faults.fail_with(500, "UNEXPECTED_ERROR"), Outcome.UNKNOWN),
        (faults.html(502), Outcome.UNKNOWN),
        (faults.reset(), Outcome.UNKNOWN),
        (faults.truncated(), Outcome.UNKNOWN),
    ],
    ids=count(1),
)
async def test_response_has_an_outcome_and_is_not_retried(online, sim, project, fault, outcome):
    sim.faults.add(fault, method="POST", times=5)
    found = await invite(online, Source.USERS)
    assert (found.outcome, found.fatal_error, sim.received["POST"]) == (outcome, None, 1)


@pytest.mark.parametrize(("attempts", "posts"), [(1, 1), (2, 2), (5, 3)])
async def test_401_is_retried_twice_if_attempts_allow_it_and_rejects_only_this_invitation(
    online, sim, project, attempts, posts
):
    sim.faults.add(faults.challenge(), method="POST", times=None)
    found = await invite(online, attempts=attempts)
    assert (found.outcome, found.http_status, found.fatal_error) == (Outcome.FAILED, 401, None)
    assert sim.received["POST"] == posts


@pytest.mark.parametrize(
    ("fault", "path", "exit_code"),
    [
        (faults.fail_with(401, "invalid_client"), "/api/oauth/token", 5),
        (faults.fail_with(410, "VERSION_GONE"), "*/invites", 6),
    ],
)
async def test_refused_token_and_retired_version_stop_the_run_and_no_user_is_invited(
    online, sim, project, fault, path, exit_code
):
    sim.faults.add(fault, path=path, times=None)
    found = await invite(online, account=sim.add_service_account())
    assert found.outcome is Outcome.FAILED
    assert found.fatal_error.exit_code == exit_code
    assert "was sent" in found.fatal_error.consequence
    assert sim.invitation_count() == 0


async def test_failed_connection_is_retry_later_because_nothing_was_sent(connecting):
    async with connecting("http://127.0.0.1:9") as atlas:
        progress = Sending()
        found = await atlas.inviter().invite(invitation(1, source=Source.INVITES), progress)
    assert (found.outcome, progress.response_pending) == (None, False)


@pytest.mark.parametrize("project_id", ["../orgs", ""])
async def test_invitation_without_a_valid_id_is_not_sent(online, sim, project, project_id):
    found = await invite(online, project_id=project_id)
    assert found.outcome is Outcome.FAILED
    assert sim.requests == []


# Who is there now


async def people_in(online, source=Source.USERS, place_id=PROJECT):
    async with online() as atlas:
        return await atlas.reader.people(place_of(source, place_id), source)


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_a_list_of_users_shows_active_members_too_and_whose_invitation_has_ended(
    online, sim, project, source
):
    sim.invite(project, "old@example.com")
    statuses = ("PENDING", "ACTIVE", "INVITATION_EXPIRED", "INVITATION_REJECTED")
    for status in statuses:
        sim.add_user(
            f"{status}@example.com", status=status, group_roles={project: ("GROUP_OWNER",)}
        )
    people = await people_in(online, source)
    assert {each.username: each.status for each in people} == {
        f"{status}@example.com": status for status in statuses
    }
    roles = ("GROUP_OWNER",) if source is Source.USERS else ("ORG_MEMBER", "GROUP_OWNER")
    assert {each.all_roles for each in people} == {roles}


NO_NAME = faults.malformed(b'{"results":[{"id":"0123456789abcdef01234567","username":" "}]}')


@pytest.mark.parametrize(
    ("source", "fault", "status", "code"),
    [
        *((s, faults.role_missing(), 401, "USER_UNAUTHORIZED") for s in Source),
        *((s, NO_NAME, 200, None) for s in (Source.USERS, Source.ORG_USERS)),
        (Source.USERS, faults.fail_with(404, "GROUP_NOT_FOUND"), 404, "GROUP_NOT_FOUND"),
        (Source.INVITES, faults.fail_with(404, "GROUP_NOT_FOUND"), 404, None),
    ],
    ids=count(1),
)
async def test_people_are_unreadable_if_their_list_is(
    online, sim, project, source, fault, status, code
):
    sim.faults.add(fault, times=9)
    found = await people_in(online, source)
    assert isinstance(found, ListUnreadable)
    assert (found.http_status, found.error_code) == (status, code)


async def test_people_of_a_malformed_id_are_unreadable_without_a_request(online, sim):
    assert isinstance(await people_in(online, place_id="../orgs"), ListUnreadable)
    assert sim.requests == []
