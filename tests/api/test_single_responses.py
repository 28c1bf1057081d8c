"""Result and number of attempts for each status, with single responses and no server."""

import platform

import aiohttp
import pytest
from builders import PROJECT, invitation, object_id, project

from invite_sweeper import __version__
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.errors import ApiVersionRetired, AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import DeletionProgress, ListUnreadable, Outcome, Source

BASE = "https://atlas.example.com"
LISTED = invitation(7, source=Source.INVITES)
DELETE = f"{BASE}/api/atlas/v2/groups/{PROJECT}/invites/{LISTED.id}"
ALPHA = project(1, id=PROJECT)
INVITES = f"{BASE}/api/atlas/v2/groups/{PROJECT}/invites"
GROUPS = f"{BASE}/api/atlas/v2/groups?itemsPerPage=500&includeCount=false&pageNum="


def error(code):
    return {"error": 1, "errorCode": code}


def attempts_sent(answering):
    return sum(len(calls) for calls in answering.requests.values())


async def delete(connecting, listed=LISTED, **options):
    async with connecting(BASE, **options) as atlas:
        deleter = atlas.deleter(Source)
        assert deleter.try_acquire(listed) == 0.0
        return await deleter.delete(listed, DeletionProgress())


@pytest.mark.parametrize(("errors", "backoffs"), [(0, 0), (1, 1), (3, 3)])
async def test_deletion_calls_on_backoff_before_each_retry(connecting, answering, errors, backoffs):
    for _ in range(errors):
        answering.delete(DELETE, status=500, payload=error("UNEXPECTED_ERROR"))
    answering.delete(DELETE, status=204)
    counted = []
    async with connecting(BASE) as atlas:
        deleter = atlas.deleter(Source)
        progress = DeletionProgress(on_backoff=lambda: counted.append(attempts_sent(answering)))
        deletion = await deleter.delete(LISTED, progress)
    assert deletion.outcome is Outcome.DELETED
    assert counted == [number + 1 for number in range(backoffs)]


async def test_body_of_a_204_is_not_read(connecting, answering):
    answering.delete(DELETE, status=204, body=b'{"half', content_type="application/json")

    assert (await delete(connecting)).outcome is Outcome.DELETED


@pytest.mark.parametrize(
    "listed",
    [
        invitation(1, id="", source=Source.INVITES),
        invitation(1, id="../../../groups", source=Source.INVITES),
        invitation(1, project_id="", source=Source.INVITES),
        invitation(1, project_id=PROJECT.upper(), source=Source.INVITES),
        *(invitation(1, id="..", source=source) for source in Source),
        invitation(1, source="teams"),
    ],
)
async def test_deletion_with_a_malformed_id_or_unknown_source_is_not_sent(
    connecting, answering, listed
):
    deletion = await delete(connecting, listed)

    assert (deletion.outcome, deletion.attempts) == (Outcome.FAILED, 0)
    assert attempts_sent(answering) == 0


async def list_invitations(connecting, **options):
    async with connecting(BASE, **options) as atlas:
        return await atlas.reader.invitations(ALPHA)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (401, None, 2),
        (401, "UNEXPECTED_ERROR", 2),
        (401, "USER_UNAUTHORIZED", 2),
        (401, "NOT_IN_GROUP", 2),
        (403, "ACCESS_FORBIDDEN", 1),
        (400, "INVALID_PATH_PARAMETER", 1),
        (204, None, 1),
        (301, None, 1),
        (429, "RATE_LIMITED", None),
        (500, "UNEXPECTED_ERROR", 5),
        (502, None, 5),
        (503, None, 5),
        (504, None, 5),
    ],
)
async def test_list_with_an_error_response_is_unreadable(
    connecting, answering, status, code, expected
):
    answering.get(INVITES, status=status, payload=error(code), repeat=True)

    found = await list_invitations(connecting)

    assert isinstance(found, ListUnreadable)
    assert (found.project_id, found.http_status, found.error_code) == (PROJECT, status, code)
    assert str(status) in found.reason
    assert expected is None or attempts_sent(answering) == expected


@pytest.mark.parametrize("media_type", ["text/plain; charset=utf-8", "application/octet-stream"])
async def test_404_that_is_neither_json_nor_html_is_gone_only_for_a_deletion(
    connecting, answering, media_type
):
    for method, url in ((answering.get, INVITES), (answering.delete, DELETE)):
        method(url, status=404, body="404: Not Found", headers={"Content-Type": media_type})

    assert isinstance(await list_invitations(connecting), ListUnreadable)
    assert (await delete(connecting)).outcome is Outcome.ALREADY_GONE


async def test_404_with_html_is_an_unreadable_list(connecting, answering):
    answering.get(INVITES, status=404, body="<html>", content_type="text/html")

    assert isinstance(await list_invitations(connecting), ListUnreadable)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'[{"id":"', b"[1]", b'[{"groupId":"' + object_id(2).encode() + b'"}]']
)
async def test_invalid_list_is_retried_and_then_unreadable(connecting, answering, body):
    answering.get(INVITES, body=body, repeat=True)

    found = await list_invitations(connecting)

    assert isinstance(found, ListUnreadable)
    assert found.http_status == 200
    assert "Unexpected response from Atlas" in found.reason
    assert attempts_sent(answering) == 5


async def test_list_that_is_valid_after_a_retry_is_returned(connecting, answering):
    answering.get(INVITES, body=b'[{"id":"')
    answering.get(INVITES, body=b"[]")

    assert await list_invitations(connecting) == ()


async def list_projects(connecting, **options):
    async with connecting(BASE, **options) as atlas:
        return list(await atlas.reader.projects())


def page(*numbers, has_next=False):
    links = [{"rel": "next", "href": "https://elsewhere.example.com/"}] if has_next else []
    results = [
        {"id": object_id(n), "name": f"P{n}", "orgId": ALPHA.org_id, "clusterCount": 0}
        for n in numbers
    ]
    return {"results": results, "links": links, "totalCount": 999}


@pytest.mark.parametrize(
    ("status", "code", "error_type", "expected"),
    [
        (401, None, CredentialsRefused, 2),
        (401, "USER_UNAUTHORIZED", CredentialsRefused, 2),
        (403, "ACCESS_FORBIDDEN", CredentialsRefused, 1),
        (404, None, AtlasUnavailable, 1),
        (406, None, AtlasUnavailable, 1),
        (410, "VERSION_GONE", ApiVersionRetired, 1),
        (500, None, AtlasUnavailable, 5),
        (302, None, AtlasUnavailable, 1),
    ],
)
async def test_error_for_the_first_page_of_projects_stops_the_run(
    connecting, answering, status, code, error_type, expected
):
    answering.get(GROUPS + "1", status=status, payload=error(code), repeat=True)

    with pytest.raises(error_type):
        await list_projects(connecting)
    assert attempts_sent(answering) == expected


async def test_pages_are_requested_by_number_and_not_by_the_next_link(connecting, answering):
    answering.get(GROUPS + "1", payload=page(1, 2, has_next=True))
    answering.get(GROUPS + "2", payload=page(2, 3, has_next=True))
    answering.get(GROUPS + "3", payload=page(4))

    assert [p.id for p in await list_projects(connecting)] == [object_id(n) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("last", [(), (1,), (2, 1)])
async def test_page_of_projects_without_a_new_one_that_names_a_next_ends_the_run(
    connecting, answering, last
):
    answering.get(GROUPS + "1", payload=page(1, 2, has_next=True))
    answering.get(GROUPS + "2", payload=page(*last, has_next=True))

    with pytest.raises(AtlasUnavailable, match="to the end: page 2 has no new entry"):
        await list_projects(connecting)
    assert attempts_sent(answering) == 2


async def test_error_for_a_later_page_of_projects_stops_the_run(connecting, answering):
    answering.get(GROUPS + "1", payload=page(1, has_next=True))
    answering.get(GROUPS + "2", status=500, repeat=True)

    with pytest.raises(AtlasUnavailable, match="to the end"):
        await list_projects(connecting)


@pytest.mark.parametrize(
    ("status", "code", "error_type"),
    [
        (401, None, AtlasUnavailable),
        (401, "USER_UNAUTHORIZED", AtlasUnavailable),
        (403, "ACCESS_FORBIDDEN", AtlasUnavailable),
        (403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", CredentialsRefused),
        (410, "VERSION_GONE", ApiVersionRetired),
    ],
)
async def test_401_for_a_later_page_is_not_an_error_of_the_credentials(
    connecting, answering, status, code, error_type
):
    answering.get(GROUPS + "1", payload=page(1, has_next=True))
    answering.get(GROUPS + "2", status=status, payload=error(code), repeat=True)

    with pytest.raises(error_type):
        await list_projects(connecting)


@pytest.mark.parametrize("changes", [{"name": None}, {"orgId": ""}])
async def test_project_without_name_or_organization_makes_the_list_invalid(
    connecting, answering, changes
):
    listed = page(1)
    listed["results"][0].update(changes)
    answering.get(GROUPS + "1", payload=listed, repeat=True)

    with pytest.raises(AtlasUnavailable, match=r"[Uu]nexpected response"):
        await list_projects(connecting)


async def test_projects_with_a_malformed_id_are_returned_once(connecting, answering):
    listed = page(1, 2, 3)
    for item in listed["results"][:2]:
        item["id"] = ""
    answering.get(GROUPS + "1", payload={**listed, "links": page(has_next=True)["links"]})
    answering.get(GROUPS + "2", payload=listed)

    found = await list_projects(connecting)

    assert [type(item).__name__ for item in found] == [
        "ListUnreadable",
        "ListUnreadable",
        "Project",
    ]


async def test_list_of_projects_with_more_pages_than_the_cap_is_an_error(
    connecting, answering, monkeypatch
):
    monkeypatch.setattr("invite_sweeper.atlas.lists.MAX_PAGES", 3)
    for number in range(1, 5):
        answering.get(GROUPS + str(number), payload=page(number, has_next=True))

    with pytest.raises(AtlasUnavailable, match="3 pages"):
        await list_projects(connecting)
    assert attempts_sent(answering) == 3


async def test_each_request_has_a_version_and_a_user_agent(connecting, answering):
    answering.get(INVITES, body=b"[]")

    await list_invitations(connecting)

    ((call,),) = answering.requests.values()
    assert call.kwargs["headers"] == {
        "Accept": "application/vnd.atlas.2023-01-01+json",
        "Authorization": "Bearer a-ready-token",
        "Cache-Control": "no-cache",
        "User-Agent": f"invite-sweeper/{__version__} (linux; {platform.machine()})",
    }
    assert call.kwargs["allow_redirects"] is False


async def test_client_without_a_deleter_cannot_delete(connecting):
    async with connecting(BASE) as atlas:
        objects = [*vars(atlas).values(), *vars(atlas.reader).values()]
        assert not any(isinstance(value, AtlasDeleter) for value in objects)
        assert not hasattr(atlas.reader, "delete")


async def test_retries_are_logged(connecting, answering, retry_log):
    answering.get(INVITES, status=500)
    answering.get(INVITES, exception=aiohttp.ServerDisconnectedError())
    answering.get(INVITES, body=b"[]")

    await list_invitations(connecting)

    assert [fields["why"] for _, fields in retry_log.lines] == [
        500,
        "connection lost before the response arrived",
    ]


@pytest.mark.parametrize("source", Source)
async def test_deleter_for_other_lists_sends_nothing_for_this_one(answering, connecting, source):
    listed = invitation(1, source=source)
    async with connecting(BASE) as atlas:
        deleter = atlas.deleter([other for other in Source if other is not source])
        assert deleter.try_acquire(listed) == 0.0
        deletion = await deleter.delete(listed, DeletionProgress())
    assert (deletion.outcome, deletion.attempts) == (Outcome.FAILED, 0)
    assert attempts_sent(answering) == 0
