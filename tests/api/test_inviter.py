"""Re-inviting: the exact requests, the meaning of each response, and current members."""

import json
import re

import faults
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from builders import ORG, PROJECT, invitation
from needs import DOCUMENT
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import DeletionProgress, InviteStatus, ListUnreadable, Source

V2023, V2025 = "application/vnd.atlas.2023-01-01+json", "application/vnd.atlas.2025-02-19+json"
OF_ORGANIZATION = {
    "project_id": ORG,
    "project_name": "",
    "roles": ("ORG_MEMBER", "ORG_READ_ONLY"),
    "team_ids": ("0123456789abcdef01234567",),
    "project_roles": ((PROJECT, "GROUP_OWNER"), (PROJECT, "GROUP_READ_ONLY"), ("", "GROUP_OWNER")),
}
VALUES = {
    Source.INVITES: {},
    Source.USERS: {},
    Source.ORG_USERS: OF_ORGANIZATION,
    Source.ORG_INVITES: OF_ORGANIZATION,
}
ENDPOINTS = {
    Source.INVITES: (f"/api/atlas/v2/groups/{PROJECT}/invites", V2023),
    Source.USERS: (f"/api/atlas/v2/groups/{PROJECT}/users", V2025),
    Source.ORG_USERS: (f"/api/atlas/v2/orgs/{ORG}/users", V2025),
    Source.ORG_INVITES: (f"/api/atlas/v2/orgs/{ORG}/users", V2025),
}


@pytest.fixture
async def sent_request(connecting):
    """Send one invitation of a source to a server and return the request that it receives."""

    async def send(source):
        received = []

        async def record(request):
            body = await request.json()
            received.append((request.method, request.path, dict(request.headers), body))
            return web.json_response({"orgMembershipStatus": "PENDING"})

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", record)
        async with TestServer(app) as server, connecting(str(server.make_url("/"))) as atlas:
            listed = invitation(1, source=source, **VALUES[source])
            result = await atlas.inviter().invite(listed, DeletionProgress())
        assert result.status is InviteStatus.CREATED
        (request,) = received
        return request

    return send


@pytest.mark.parametrize("source", Source)
async def test_each_source_has_its_own_endpoint_with_the_pinned_version(sent_request, source):
    method, path, headers, _ = await sent_request(source)
    assert (method, path, headers["Accept"]) == ("POST", *ENDPOINTS[source])
    assert headers["Content-Type"] == ENDPOINTS[source][1]


@pytest.mark.parametrize("source", [Source.INVITES, Source.USERS])
async def test_roles_of_a_project_are_sent_unchanged(sent_request, source):
    *_, body = await sent_request(source)
    assert body == {"roles": ["GROUP_READ_ONLY"], "username": "person-1@example.com"}


@pytest.mark.parametrize("source", [Source.ORG_USERS, Source.ORG_INVITES])
async def test_organization_roles_project_roles_and_teams_are_sent_unchanged(sent_request, source):
    *_, body = await sent_request(source)
    assert body == {
        "roles": {
            "orgRoles": ["ORG_MEMBER", "ORG_READ_ONLY"],
            "groupRoleAssignments": [
                {"groupId": PROJECT, "groupRoles": ["GROUP_OWNER", "GROUP_READ_ONLY"]}
            ],
        },
        "username": "person-1@example.com",
        "teamIds": ["0123456789abcdef01234567"],
    }


async def test_organization_invitation_without_usable_project_roles_has_no_assignments(
    sent_request, monkeypatch
):
    without_projects = {**OF_ORGANIZATION, "project_roles": ((PROJECT, ""), ("", "GROUP_OWNER"))}
    monkeypatch.setitem(VALUES, Source.ORG_USERS, without_projects)
    *_, body = await sent_request(Source.ORG_USERS)
    assert body["roles"] == {"orgRoles": ["ORG_MEMBER", "ORG_READ_ONLY"]}


@pytest.mark.needs("document")
@pytest.mark.parametrize("source", Source)
async def test_each_request_conforms_to_the_openapi_document(sent_request, source):
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    method, path, headers, body = await sent_request(source)
    described = next(
        verbs[method.lower()]
        for template, verbs in document["paths"].items()
        if method.lower() in verbs
        and re.fullmatch(re.sub(r"\{\w+\}", "[a-f0-9]{24}", template), path)
    )
    schema = described["requestBody"]["content"][headers["Content-Type"]]["schema"]
    whole = {**schema, "components": document["components"]}
    validator = OAS30Validator(whole, format_checker=oas30_format_checker)
    assert [error.message for error in validator.iter_errors(body)] == []
    success = next(each for status, each in described["responses"].items() if status[0] == "2")
    assert headers["Accept"] in success["content"]


# Responses to the POST


@pytest.fixture
def project(sim):
    return sim.add_project("Search", project_id=PROJECT)


async def invite(online, sim, project, source=Source.INVITES, **changes):
    async with online() as atlas:
        listed = invitation(1, source=source, **{**VALUES[source], **changes})
        return await atlas.inviter().invite(listed, DeletionProgress())


@pytest.mark.parametrize("source", Source)
async def test_success_is_created_and_the_user_is_invited(online, sim, project, source):
    found = await invite(online, sim, project, source)
    assert found.status is InviteStatus.CREATED
    usernames = {sim.user(each).username for each in sim.users()}
    assert usernames == (set() if source is Source.INVITES else {"person-1@example.com"})
    assert sim.invitation_count() == (source is Source.INVITES)


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (faults.fail_with(400, "INVITATIONS_RATE_LIMITED_IP"), InviteStatus.RETRY_LATER),
        (faults.fail_with(400, "RATE_LIMITED_IP"), InviteStatus.RETRY_LATER),
        (faults.fail_with(429, "RATE_LIMITED_TOKEN_BUCKET"), InviteStatus.RETRY_LATER),
        (faults.upgrade(), InviteStatus.RETRY_LATER),
        (faults.fail_with(409, "USER_ALREADY_EXISTS"), InviteStatus.ALREADY_PRESENT),
        (faults.fail_with(400, "MAX_USERS_PER_ORG_EXCEEDED"), InviteStatus.REJECTED),
        (faults.role_missing(), InviteStatus.REJECTED),
        (faults.fail_with(404, "GROUP_NOT_FOUND"), InviteStatus.REJECTED),
        (faults.fail_with(500, "UNEXPECTED_ERROR"), InviteStatus.UNKNOWN),
        (faults.fail_with(503, "UNEXPECTED_ERROR"), InviteStatus.UNKNOWN),
        (faults.html(502), InviteStatus.UNKNOWN),
        (faults.reset(), InviteStatus.UNKNOWN),
        (faults.reset(late=True), InviteStatus.UNKNOWN),
        (faults.truncated(), InviteStatus.UNKNOWN),
    ],
)
async def test_each_response_has_a_status_and_is_not_retried(online, sim, project, fault, status):
    sim.faults.add(fault, method="POST", times=5)
    found = await invite(online, sim, project)
    assert found.status is status
    assert found.fatal_error is None
    assert sim.request_log.received["POST"] == 1


async def test_401_is_retried_once_and_rejects_only_this_invitation(online, sim, project):
    sim.faults.add(faults.challenge(), method="POST", times=5)
    found = await invite(online, sim, project)
    assert (found.status, found.http_status, found.fatal_error) == (
        InviteStatus.REJECTED,
        401,
        None,
    )
    assert sim.request_log.received["POST"] == 2


async def test_refused_access_token_stops_the_run_and_no_user_is_invited(online, sim, project):
    sim.faults.add(faults.fail_with(401, "invalid_client"), path="/api/oauth/token", times=None)
    async with online(sim.add_service_account()) as atlas:
        found = await atlas.inviter().invite(
            invitation(1, source=Source.INVITES), DeletionProgress()
        )
    assert found.status is InviteStatus.REJECTED
    assert found.fatal_error is not None
    assert found.fatal_error.exit_code == 5
    assert sim.invitation_count() == 0


@pytest.mark.parametrize(("attempts", "posts"), [(1, 1), (2, 2), (5, 2)])
async def test_post_with_a_401_is_retried_once_if_attempts_allow_it(
    online, sim, project, attempts, posts
):
    sim.faults.add(faults.challenge(), method="POST", path="*/invites", times=None)
    async with online(attempts=attempts) as atlas:
        await atlas.inviter().invite(
            invitation(1, project_id=project, source=Source.INVITES), DeletionProgress()
        )

    assert sum(request.path.endswith("/invites") for request in sim.requests) == posts


async def test_post_with_digest_authentication_invites_once(online, sim, project):
    async with online(sim.add_api_key()) as atlas:
        found = await atlas.inviter().invite(
            invitation(1, source=Source.INVITES), DeletionProgress()
        )
    assert found.status is InviteStatus.CREATED
    assert sim.invitation_count() == 1


async def test_retired_version_stops_the_run(online, sim, project):
    sim.versions.retired.add(("invites", "*"))
    found = await invite(online, sim, project)
    assert found.fatal_error is not None
    assert found.fatal_error.exit_code == 6


async def test_failed_connection_is_retry_later_because_nothing_was_sent(connecting):
    async with connecting("http://127.0.0.1:9") as atlas:
        progress = DeletionProgress()
        found = await atlas.inviter().invite(invitation(1, source=Source.INVITES), progress)
    assert (found.status, progress.response_pending) == (InviteStatus.RETRY_LATER, False)


@pytest.mark.parametrize(
    "changes", [{"username": None}, {"roles": ()}, {"project_id": "../orgs"}, {"project_id": ""}]
)
async def test_invitation_without_username_roles_or_valid_id_is_not_sent(
    online, sim, project, changes
):
    found = await invite(online, sim, project, **changes)
    assert found.status is InviteStatus.REJECTED
    assert sim.requests == ()


INVITED = {"id": "0" * 24, "username": "person-1@example.com", "expiresAt": "2026-12-25T00:00:00Z"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**INVITED, "orgMembershipStatus": "PENDING"}, InviteStatus.CREATED),
        ({**INVITED, "orgMembershipStatus": "ACTIVE"}, InviteStatus.ACTIVE),
        ({"orgMembershipStatus": "ACTIVE"}, InviteStatus.ACTIVE),
        ({**INVITED, "orgMembershipStatus": "INVITATION_EXPIRED"}, InviteStatus.UNREADABLE),
        ({**INVITED, "orgMembershipStatus": "active"}, InviteStatus.UNREADABLE),
        ({**INVITED, "orgMembershipStatus": None}, InviteStatus.UNREADABLE),
        ({**INVITED, "orgMembershipStatus": ["PENDING"]}, InviteStatus.UNREADABLE),
        (INVITED, InviteStatus.CREATED),
        ({**INVITED, "id": 7}, InviteStatus.UNREADABLE),
        ({}, InviteStatus.UNREADABLE),
        ({"error": 500, "errorCode": "UNEXPECTED_ERROR"}, InviteStatus.UNREADABLE),
        ([], InviteStatus.UNREADABLE),
    ],
)
async def test_response_decides_whether_the_user_is_pending_or_active(
    online, sim, project, body, status
):
    sim.faults.add(faults.malformed(json.dumps(body).encode()), method="POST")
    assert (await invite(online, sim, project, Source.USERS)).status is status


async def test_response_that_is_not_json_does_not_say_what_became_of_the_user(online, sim, project):
    sim.faults.add(faults.malformed(b"not JSON"), method="POST")
    found = await invite(online, sim, project, Source.USERS)
    assert found.status in {InviteStatus.UNREADABLE, InviteStatus.UNKNOWN}


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS, Source.ORG_INVITES])
async def test_federated_organization_adds_an_active_member(online, sim, project, source):
    sim.organizations[ORG].federated = True
    assert (await invite(online, sim, project, source)).status is InviteStatus.ACTIVE


# Current members


async def usernames_of(online, source=Source.INVITES):
    found = await statuses_of(online, source)
    return found if isinstance(found, ListUnreadable) else set(found)


async def statuses_of(online, source=Source.INVITES):
    async with online() as atlas:
        return await atlas.members().statuses(invitation(1, source=source, **VALUES[source]))


async def test_users_of_a_project_are_both_lists_without_expired_and_rejected(online, sim, project):
    sim.invite(project, "Old@example.com")
    for status in ("PENDING", "ACTIVE", "INVITATION_EXPIRED", "INVITATION_REJECTED"):
        roles = {project: ("GROUP_READ_ONLY",)}
        sim.add_user(f"{status}@example.com", status=status, group_roles=roles)
    assert await usernames_of(online) == {
        "old@example.com",
        "pending@example.com",
        "active@example.com",
    }


async def test_each_user_has_the_status_of_the_list_and_an_invited_one_is_pending(
    online, sim, project
):
    sim.invite(project, "Old@example.com")
    sim.invite(project, "both@example.com")
    roles = {project: ("GROUP_READ_ONLY",)}
    sim.add_user("both@example.com", status="ACTIVE", group_roles=roles)
    assert await statuses_of(online) == {
        "old@example.com": "PENDING",
        "both@example.com": "ACTIVE",
    }


async def test_users_of_an_organization_are_its_list_of_users(online, sim, project):
    sim.invite(project, "old@example.com")
    sim.add_user("new@example.com")
    assert await usernames_of(online, Source.ORG_USERS) == {"new@example.com"}


async def test_list_of_501_users_is_read_to_the_end(online, sim, project):
    for number in range(501):
        sim.add_user(f"p{number}@example.com", group_roles={project: ("GROUP_OWNER",)})
    assert len(await usernames_of(online, Source.USERS)) == 501


@pytest.mark.parametrize("path", ["*/invites", "*/users*"])
async def test_users_are_unreadable_if_one_of_the_lists_is(online, sim, project, path):
    sim.faults.add(faults.role_missing(), path=path, times=9)
    found = await usernames_of(online)
    assert isinstance(found, ListUnreadable)
    assert (found.http_status, found.error_code) == (401, "USER_UNAUTHORIZED")


async def test_401_for_the_users_stops_the_run_before_the_first_successful_response(
    online, sim, project
):
    sim.faults.add(faults.challenge(), path="*/groups/*/users", times=None)
    with pytest.raises(CredentialsRefused):
        await usernames_of(online)


async def test_401_for_the_users_after_a_successful_response_is_unreadable(online, sim, project):
    sim.faults.add(faults.challenge(), path="*/groups/*/users", times=None)
    async with online() as atlas:
        assert [one.id for one in await atlas.reader.projects()] == [project]
        found = await atlas.members().statuses(invitation(1, source=Source.INVITES))
    assert isinstance(found, ListUnreadable)
    assert found.http_status == 401


async def test_users_of_a_deleted_project_are_unreadable(online, sim):
    found = await usernames_of(online)
    assert isinstance(found, ListUnreadable)
    assert found.http_status == 404


async def test_users_of_a_project_deleted_between_its_two_lists_are_unreadable(
    online, sim, project
):
    sim.faults.add(faults.effect(after=lambda _: sim.remove_project(project)), path="*/users")
    found = await usernames_of(online)
    assert isinstance(found, ListUnreadable)
    assert (found.reason, found.http_status) == ("The project no longer exists.", 404)


async def test_users_with_more_pages_than_the_cap_are_unreadable(online, sim, project, monkeypatch):
    monkeypatch.setattr("invite_sweeper.atlas.lists.MAX_PAGES", 1)
    for number in range(501):
        sim.add_user(f"p{number}@example.com", group_roles={project: ("GROUP_OWNER",)})
    found = await usernames_of(online, Source.USERS)
    assert isinstance(found, ListUnreadable)
    assert "1 pages" in found.reason


async def test_users_of_a_malformed_id_are_unreadable_without_a_request(online, sim):
    async with online() as atlas:
        found = await atlas.members().statuses(
            invitation(1, project_id="../orgs", source=Source.INVITES)
        )
    assert isinstance(found, ListUnreadable)
    assert sim.requests == ()


async def test_user_without_a_username_makes_the_users_unreadable(online, sim, project):
    body = b'{"results":[{"id":"0123456789abcdef01234567"}]}'
    sim.faults.add(faults.malformed(body), path="*/users*", times=9)
    assert isinstance(await usernames_of(online), ListUnreadable)
