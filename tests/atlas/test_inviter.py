"""What invites again: the exact requests, and what each answer to a POST means."""

import json
import re
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from builders import ORG, PROJECT, invitation
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from invite_sweeper.errors import CredentialsRefused
from invite_sweeper.models import DeletionProgress, InviteStatus, ListUnreadable, Source
from invite_sweeper.simulator import faults

DOCUMENT = Path(__file__).parents[2].parent / "shared" / "atlas-openapi.json"
OLD, NEW = "application/vnd.atlas.2023-01-01+json", "application/vnd.atlas.2025-02-19+json"
OF_ORGANIZATION = {
    "project_id": ORG,
    "project_name": "",
    "roles": ("ORG_MEMBER", "ORG_READ_ONLY"),
    "team_ids": ("0123456789abcdef01234567",),
    "project_roles": ((PROJECT, "GROUP_OWNER"), (PROJECT, "GROUP_READ_ONLY"), ("", "GROUP_OWNER")),
}
PEOPLE = {
    Source.INVITES: {},
    Source.USERS: {},
    Source.ORG_USERS: OF_ORGANIZATION,
    Source.ORG_INVITES: OF_ORGANIZATION,
}
ASKED = {
    Source.INVITES: (f"/api/atlas/v2/groups/{PROJECT}/invites", OLD),
    Source.USERS: (f"/api/atlas/v2/groups/{PROJECT}/users", NEW),
    Source.ORG_USERS: (f"/api/atlas/v2/orgs/{ORG}/users", NEW),
    Source.ORG_INVITES: (f"/api/atlas/v2/orgs/{ORG}/users", NEW),
}


@pytest.fixture
async def overheard(connecting):
    """Send one invitation of a source to a server that keeps what it is sent."""

    async def send(source):
        kept = []

        async def keep(request):
            kept.append((request.method, request.path, dict(request.headers), await request.json()))
            return web.json_response({})

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", keep)
        async with TestServer(app) as server, connecting(str(server.make_url("/"))) as atlas:
            one = invitation(1, source=source, **PEOPLE[source])
            reply = await atlas.inviter().invite(one, DeletionProgress())
        assert reply.status is InviteStatus.CREATED
        (only,) = kept
        return only

    return send


@pytest.mark.parametrize("source", Source)
async def test_each_source_is_invited_to_by_its_own_call_with_the_pinned_version(overheard, source):
    method, path, headers, _ = await overheard(source)
    assert (method, path, headers["Accept"]) == ("POST", *ASKED[source])
    assert headers["Content-Type"] == ASKED[source][1]


@pytest.mark.parametrize("source", [Source.INVITES, Source.USERS])
async def test_project_s_roles_go_back_as_they_were(overheard, source):
    *_, body = await overheard(source)
    assert body == {"roles": ["GROUP_READ_ONLY"], "username": "person-1@example.com"}


@pytest.mark.parametrize("source", [Source.ORG_USERS, Source.ORG_INVITES])
async def test_organization_s_roles_its_projects_and_teams_go_back_as_they_were(overheard, source):
    *_, body = await overheard(source)
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


async def test_organization_s_invitation_without_projects_names_none(overheard, monkeypatch):
    alone = {**OF_ORGANIZATION, "project_roles": ((PROJECT, ""), ("", "GROUP_OWNER"))}
    monkeypatch.setitem(PEOPLE, Source.ORG_USERS, alone)
    *_, body = await overheard(Source.ORG_USERS)
    assert body["roles"] == {"orgRoles": ["ORG_MEMBER", "ORG_READ_ONLY"]}


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="the OpenAPI document lies beside the checkout")
@pytest.mark.parametrize("source", Source)
async def test_each_request_is_one_of_atlas_s_own_document(overheard, source):
    document = json.loads(DOCUMENT.read_text())
    method, path, headers, body = await overheard(source)
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
    answered = next(a for status, a in described["responses"].items() if status[0] == "2")
    assert headers["Accept"] in answered["content"]


# --- what the answers mean -------------------------------------------------------------------


@pytest.fixture
def project(sim):
    return sim.add_project("Search", project_id=PROJECT)


async def reply_to(online, sim, project, source=Source.INVITES, trail=None, **changes):
    async with online() as atlas:
        one = invitation(1, source=source, **{**PEOPLE[source], **changes})
        return await atlas.inviter().invite(one, trail or DeletionProgress())


@pytest.mark.parametrize("source", Source)
async def test_done_is_sent_and_the_person_is_there(online, sim, project, source):
    found = await reply_to(online, sim, project, source)
    assert found.status is InviteStatus.CREATED
    people = {sim.user(each).username for each in sim.users()}
    assert people == (set() if source is Source.INVITES else {"person-1@example.com"})
    assert sim.invitation_count() == (source is Source.INVITES)


@pytest.mark.parametrize(
    ("fault", "reply"),
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
async def test_each_answer_says_whether_atlas_has_acted_and_is_not_tried_again(
    online, sim, project, fault, reply
):
    sim.faults.add(fault, method="POST", times=5)
    found = await reply_to(online, sim, project)
    assert found.status is reply
    assert found.fatal_error is None
    assert sim.request_log.received["POST"] == 1


async def test_401_that_lasts_is_of_this_invitation_after_one_more_try(online, sim, project):
    sim.faults.add(faults.challenge(), method="POST", times=5)
    found = await reply_to(online, sim, project)
    assert (found.status, found.http_status, found.fatal_error) == (
        InviteStatus.REJECTED,
        401,
        None,
    )
    assert sim.request_log.received["POST"] == 2


async def test_refused_token_ends_the_run_and_nobody_is_invited(online, sim, project):
    sim.faults.add(faults.fail_with(401, "invalid_client"), path="/api/oauth/token", times=None)
    async with online(sim.add_service_account()) as atlas:
        found = await atlas.inviter().invite(invitation(1), DeletionProgress())
    assert found.status is InviteStatus.REJECTED
    assert found.fatal_error is not None
    assert found.fatal_error.exit_code == 5
    assert sim.invitation_count() == 0


@pytest.mark.parametrize(("attempts", "posts"), [(1, 1), (2, 2), (5, 2)])
async def test_post_that_401_answers_is_sent_once_more_where_attempts_allow_it(
    online, sim, project, attempts, posts
):
    sim.faults.add(faults.challenge(), method="POST", path="*/invites", times=None)
    async with online(attempts=attempts) as atlas:
        await atlas.inviter().invite(invitation(1, project_id=project), DeletionProgress())

    assert sum(asked.path.endswith("/invites") for asked in sim.requests) == posts


async def test_signed_post_arrives_once_and_has_its_effect_once(online, sim, project):
    async with online(sim.add_api_key()) as atlas:
        found = await atlas.inviter().invite(invitation(1), DeletionProgress())
    assert found.status is InviteStatus.CREATED
    assert sim.invitation_count() == 1


async def test_version_that_is_gone_ends_the_run(online, sim, project):
    sim.versions.retired.add(("invites", "*"))
    found = await reply_to(online, sim, project)
    assert found.fatal_error is not None
    assert found.fatal_error.exit_code == 6


async def test_no_connection_is_later_since_nothing_was_sent(connecting):
    async with connecting("http://127.0.0.1:9") as atlas:
        trail = DeletionProgress()
        found = await atlas.inviter().invite(invitation(1), trail)
    assert (found.status, trail.response_pending) == (InviteStatus.RETRY_LATER, False)


@pytest.mark.parametrize(
    "changes", [{"username": None}, {"roles": ()}, {"project_id": "../orgs"}, {"project_id": ""}]
)
async def test_what_cannot_be_invited_with_sends_nothing(online, sim, project, changes):
    found = await reply_to(online, sim, project, **changes)
    assert found.status is InviteStatus.REJECTED
    assert sim.requests == ()


# --- who is there ----------------------------------------------------------------------------


async def present(online, source=Source.INVITES):
    async with online() as atlas:
        return await atlas.members().usernames(invitation(1, source=source, **PEOPLE[source]))


async def test_project_s_roll_holds_both_lists_and_members_but_nobody_who_declined(
    online, sim, project
):
    sim.invite(project, "Old@example.com")
    for status in ("PENDING", "ACTIVE", "INVITATION_EXPIRED", "INVITATION_REJECTED"):
        roles = {project: ("GROUP_READ_ONLY",)}
        sim.add_user(f"{status}@example.com", status=status, group_roles=roles)
    assert await present(online) == {
        "old@example.com",
        "pending@example.com",
        "active@example.com",
    }


async def test_organization_s_roll_holds_its_people(online, sim, project):
    sim.invite(project, "old@example.com")
    sim.add_user("new@example.com")
    assert await present(online, Source.ORG_USERS) == {"new@example.com"}


async def test_long_roll_is_read_to_its_end(online, sim, project):
    for number in range(501):
        sim.add_user(f"p{number}@example.com", group_roles={project: ("GROUP_OWNER",)})
    assert len(await present(online, Source.USERS)) == 501


@pytest.mark.parametrize("path", ["*/invites", "*/users*"])
async def test_roll_of_which_one_list_cannot_be_read_is_unreadable(online, sim, project, path):
    sim.faults.add(faults.role_missing(), path=path, times=9)
    found = await present(online)
    assert isinstance(found, ListUnreadable)
    assert (found.http_status, found.error_code) == (401, "USER_UNAUTHORIZED")


async def test_roll_refused_with_401_ends_the_run_where_no_good_answer_came_before_it(
    online, sim, project
):
    sim.faults.add(faults.challenge(), path="*/groups/*/users", times=None)
    with pytest.raises(CredentialsRefused):
        await present(online)


async def test_roll_refused_with_401_after_a_good_answer_is_unreadable(online, sim, project):
    sim.faults.add(faults.challenge(), path="*/groups/*/users", times=None)
    async with online() as atlas:
        assert [one.id async for one in atlas.reader.projects()] == [project]
        found = await atlas.members().usernames(invitation(1))
    assert isinstance(found, ListUnreadable)
    assert found.http_status == 401


async def test_roll_of_a_project_that_is_gone_is_unreadable(online, sim):
    found = await present(online)
    assert isinstance(found, ListUnreadable)
    assert found.http_status == 404


async def test_roll_of_a_project_that_goes_between_its_two_lists_is_unreadable(
    online, sim, project
):
    sim.faults.add(faults.effect(after=lambda _: sim.remove_project(project)), path="*/users")
    found = await present(online)
    assert isinstance(found, ListUnreadable)
    assert (found.reason, found.http_status) == ("The project no longer exists.", 404)


async def test_roll_that_goes_on_and_on_is_unreadable_and_never_taken_for_whole(
    online, sim, project, monkeypatch
):
    monkeypatch.setattr("invite_sweeper.atlas.reader.PAGES_CAP", 1)
    for number in range(501):
        sim.add_user(f"p{number}@example.com", group_roles={project: ("GROUP_OWNER",)})
    found = await present(online, Source.USERS)
    assert isinstance(found, ListUnreadable)
    assert "1 pages" in found.reason


async def test_roll_of_what_is_no_id_asks_nobody(online, sim):
    async with online() as atlas:
        found = await atlas.members().usernames(invitation(1, project_id="../orgs"))
    assert isinstance(found, ListUnreadable)
    assert sim.requests == ()


async def test_person_without_an_address_makes_the_roll_nonsense(online, sim, project):
    body = b'{"results":[{"id":"0123456789abcdef01234567"}]}'
    sim.faults.add(faults.malformed(body), path="*/users*", times=9)
    assert isinstance(await present(online), ListUnreadable)
