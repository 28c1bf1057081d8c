"""Status to result and number of tries, for one answer at a time and without a server."""

import platform

import aiohttp
import pytest
from builders import PROJECT, invitation, object_id, project

from invite_sweeper import __version__
from invite_sweeper.atlas.deleter import AtlasDeleter
from invite_sweeper.errors import ApiVersionRetired, AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import DeletionProgress, ListUnreadable, Outcome, ProjectGone, Source

BASE = "https://atlas.example.com"
ONE = invitation(7)
DELETE = f"{BASE}/api/atlas/v2/groups/{PROJECT}/invites/{ONE.id}"
ALPHA = project(1, id=PROJECT)
INVITES = f"{BASE}/api/atlas/v2/groups/{PROJECT}/invites"
GROUPS = f"{BASE}/api/atlas/v2/groups?itemsPerPage=500&includeCount=false&pageNum="


def error(code):
    return {"error": 1, "errorCode": code}


def tries(answering):
    return sum(len(calls) for calls in answering.requests.values())


async def deletion_of(connecting, one=ONE, **options):
    async with connecting(BASE, **options) as atlas:
        deleter = atlas.deleter(Source)
        assert deleter.try_acquire(one) == 0.0
        return await deleter.delete(one, DeletionProgress())


@pytest.mark.parametrize(
    ("status", "code", "outcome", "made"),
    [
        (204, None, Outcome.DELETED, 1),
        (200, "GROUP_NOT_FOUND", Outcome.FAILED, 1),
        (202, "UNEXPECTED_ERROR", Outcome.FAILED, 1),
        (404, None, Outcome.ALREADY_GONE, 1),
        (404, "GROUP_NOT_FOUND", Outcome.ALREADY_GONE, 1),
        (400, "INVALID_INVITATION_ID", Outcome.ALREADY_GONE, 1),
        (400, "ALREADY_EXPIRED", Outcome.ALREADY_GONE, 1),
        (400, "CANNOT_DELETE_ORG_INVITATION", Outcome.FAILED, 1),
        (400, None, Outcome.FAILED, 1),
        (401, None, Outcome.FAILED, 2),
        (401, "UNEXPECTED_ERROR", Outcome.FAILED, 2),
        (401, "USER_UNAUTHORIZED", Outcome.FAILED, 2),
        (403, "ACCESS_FORBIDDEN", Outcome.FAILED, 1),
        (405, None, Outcome.FAILED, 1),
        (405, "WRITES_NOT_ALLOWED_DURING_APP_UPGRADES", Outcome.FAILED, 5),
        (409, "CONFLICT", Outcome.FAILED, 1),
        (500, "UNEXPECTED_ERROR", Outcome.FAILED, 5),
        (501, None, Outcome.FAILED, 1),
        (502, None, Outcome.FAILED, 5),
        (503, None, Outcome.FAILED, 5),
        (504, None, Outcome.FAILED, 5),
    ],
)
async def test_a_deletions_outcome_and_tries(connecting, answering, status, code, outcome, made):
    answering.delete(DELETE, status=status, payload=error(code), repeat=True)

    deletion = await deletion_of(connecting)

    assert (deletion.outcome, deletion.fatal_error) == (outcome, None)
    assert deletion.error_code == code
    assert tries(answering) == made


@pytest.mark.parametrize(("refusals", "rests"), [(0, 0), (1, 1), (3, 3)])
async def test_deletion_says_so_each_time_that_it_waits_for_another_try(
    connecting, answering, refusals, rests
):
    for _ in range(refusals):
        answering.delete(DELETE, status=500, payload=error("UNEXPECTED_ERROR"))
    answering.delete(DELETE, status=204)
    counted = []
    async with connecting(BASE) as atlas:
        deleter = atlas.deleter(Source)
        trail = DeletionProgress(on_backoff=lambda: counted.append(tries(answering)))
        ended = await deleter.delete(ONE, trail)
    assert ended.outcome is Outcome.DELETED
    assert counted == [number + 1 for number in range(rests)]


@pytest.mark.parametrize(
    ("status", "code", "error_type", "made"),
    [
        (402, "ACCOUNT_SUSPENDED", AtlasUnavailable, 1),
        (403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", CredentialsRefused, 1),
        (403, "ORG_REQUIRES_WHITELIST", CredentialsRefused, 1),
        (406, "INVALID_VERSION_DATE", AtlasUnavailable, 1),
        (410, "VERSION_GONE", ApiVersionRetired, 1),
    ],
)
async def test_a_deletion_whose_answer_is_about_the_run_ends_it(
    connecting, answering, status, code, error_type, made
):
    answering.delete(DELETE, status=status, payload=error(code), repeat=True)

    deletion = await deletion_of(connecting)

    assert deletion.outcome is Outcome.FAILED
    assert type(deletion.fatal_error) is error_type
    assert "Nothing was deleted" not in str(deletion.fatal_error)
    assert tries(answering) == made


async def test_a_done_deletions_body_is_not_read(connecting, answering):
    answering.delete(DELETE, status=204, body=b'{"half', content_type="application/json")

    assert (await deletion_of(connecting)).outcome is Outcome.DELETED


async def test_a_passing_failure_is_followed_by_the_true_outcome(connecting, answering):
    answering.delete(DELETE, status=503)
    answering.delete(DELETE, exception=aiohttp.ServerDisconnectedError())
    answering.delete(DELETE, status=404)

    assert (await deletion_of(connecting)).outcome is Outcome.ALREADY_GONE
    assert tries(answering) == 3


async def test_a_401_that_passes_is_not_believed(connecting, answering):
    answering.delete(DELETE, status=401)
    answering.delete(DELETE, status=204)

    assert (await deletion_of(connecting)).outcome is Outcome.DELETED


@pytest.mark.parametrize("attempts", [1, 3, 7])
async def test_as_many_tries_as_attempts(connecting, answering, attempts):
    answering.delete(DELETE, exception=TimeoutError(), repeat=True)

    deletion = await deletion_of(connecting, attempts=attempts)

    assert deletion.outcome is Outcome.FAILED
    assert tries(answering) == attempts


@pytest.mark.parametrize(
    "one",
    [
        invitation(1, id=""),
        invitation(1, id="../../../groups"),
        invitation(1, project_id=""),
        invitation(1, project_id=PROJECT.upper()),
        *(invitation(1, id="..", source=source) for source in Source),
        invitation(1, source="teams"),
    ],
)
async def test_what_must_not_be_sent_is_not(connecting, answering, one):
    deletion = await deletion_of(connecting, one)

    assert (deletion.outcome, deletion.attempts) == (Outcome.FAILED, 0)
    assert tries(answering) == 0


async def listing_of(connecting, **options):
    async with connecting(BASE, **options) as atlas:
        return await atlas.reader.invitations(ALPHA)


@pytest.mark.parametrize(
    ("status", "code", "made"),
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
async def test_a_list_that_cannot_be_had_is_unreadable(connecting, answering, status, code, made):
    answering.get(INVITES, status=status, payload=error(code), repeat=True)

    found = await listing_of(connecting)

    assert isinstance(found, ListUnreadable)
    assert (found.project_id, found.http_status, found.error_code) == (PROJECT, status, code)
    assert str(status) in found.reason
    assert made is None or tries(answering) == made


async def test_a_429_for_ever_ends_with_the_deadline(connecting, answering, fake_time):
    answering.get(INVITES, status=429, repeat=True)
    begin_s = fake_time.now_s

    found = await listing_of(connecting, deadline_s=begin_s + 600)

    assert found.http_status == 429
    assert fake_time.now_s - begin_s < 600 + 120
    assert tries(answering) > 5


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize(
    ("body", "content_type", "outcome"),
    [
        ("{}", "application/json", Outcome.DELETED),
        ("", "application/json", Outcome.FAILED),
        ("<html></html>", "application/json", Outcome.FAILED),
        ("<html></html>", "text/html", Outcome.FAILED),
    ],
)
async def test_a_body_with_200_or_202_is_read_before_a_deletion_is_claimed(
    connecting, answering, status, body, content_type, outcome
):
    answering.delete(DELETE, status=status, body=body, content_type=content_type, repeat=True)

    deletion = await deletion_of(connecting)

    assert (deletion.outcome, deletion.http_status) == (outcome, status)


async def test_a_404_with_group_not_found_is_a_project_that_is_gone(connecting, answering):
    answering.get(INVITES, status=404, payload=error("GROUP_NOT_FOUND"))

    assert await listing_of(connecting) == ProjectGone(PROJECT, ALPHA.name)


@pytest.mark.parametrize("code", [None, "RESOURCE_NOT_FOUND", "group_not_found", "NOT_FOUND"])
async def test_another_404_is_a_list_that_cannot_be_read(connecting, answering, code):
    answering.get(INVITES, status=404, payload=error(code))

    found = await listing_of(connecting)

    assert isinstance(found, ListUnreadable)
    assert (found.http_status, found.error_code) == (404, code)


@pytest.mark.parametrize("media_type", ["text/plain; charset=utf-8", "application/octet-stream"])
async def test_a_404_that_is_neither_json_nor_html_is_gone_in_a_deletion_alone(
    connecting, answering, media_type
):
    for method, url in ((answering.get, INVITES), (answering.delete, DELETE)):
        method(url, status=404, body="404: Not Found", headers={"Content-Type": media_type})

    assert isinstance(await listing_of(connecting), ListUnreadable)
    assert (await deletion_of(connecting)).outcome is Outcome.ALREADY_GONE


async def test_a_proxys_404_is_not_believed(connecting, answering):
    answering.get(INVITES, status=404, body="<html>", content_type="text/html")

    assert isinstance(await listing_of(connecting), ListUnreadable)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'[{"id":"', b"[1]", b'[{"groupId":"' + object_id(2).encode() + b'"}]']
)
async def test_nonsense_is_asked_again_and_then_unreadable(connecting, answering, body):
    answering.get(INVITES, body=body, repeat=True)

    found = await listing_of(connecting)

    assert isinstance(found, ListUnreadable)
    assert found.http_status == 200
    assert "nonsense" in found.reason
    assert tries(answering) == 5


async def test_nonsense_that_passes_does_no_harm(connecting, answering):
    answering.get(INVITES, body=b'[{"id":"')
    answering.get(INVITES, body=b"[]")

    assert await listing_of(connecting) == ()


@pytest.mark.parametrize(
    ("status", "code", "error_type"),
    [
        (402, None, AtlasUnavailable),
        (403, "IP_ADDRESS_NOT_ON_ACCESS_LIST", CredentialsRefused),
        (406, "INVALID_VERSION_DATE", AtlasUnavailable),
    ],
)
async def test_a_list_whose_answer_is_about_the_run_ends_it(
    connecting, answering, status, code, error_type
):
    answering.get(INVITES, status=status, payload=error(code), repeat=True)

    with pytest.raises(error_type):
        await listing_of(connecting)


async def projects_of(connecting, **options):
    async with connecting(BASE, **options) as atlas:
        return [item async for item in atlas.reader.projects()]


def page(*numbers, has_next=False):
    links = [{"rel": "next", "href": "https://elsewhere.example.com/"}] if has_next else []
    results = [
        {"id": object_id(n), "name": f"P{n}", "orgId": ALPHA.org_id, "clusterCount": 0}
        for n in numbers
    ]
    return {"results": results, "links": links, "totalCount": 999}


@pytest.mark.parametrize(
    ("status", "code", "error_type", "made"),
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
async def test_projects_that_cannot_be_listed_end_the_run(
    connecting, answering, status, code, error_type, made
):
    answering.get(GROUPS + "1", status=status, payload=error(code), repeat=True)

    with pytest.raises(error_type):
        await projects_of(connecting)
    assert tries(answering) == made


async def test_pages_are_counted_on_our_own_address(connecting, answering):
    answering.get(GROUPS + "1", payload=page(1, 2, has_next=True))
    answering.get(GROUPS + "2", payload=page(2, 3, has_next=True))
    answering.get(GROUPS + "3", payload=page(4))

    assert [p.id for p in await projects_of(connecting)] == [object_id(n) for n in (1, 2, 3, 4)]


@pytest.mark.parametrize("last", [(), (1,), (2, 1)])
async def test_page_of_projects_without_a_new_one_that_names_a_next_ends_the_run(
    connecting, answering, last
):
    answering.get(GROUPS + "1", payload=page(1, 2, has_next=True))
    answering.get(GROUPS + "2", payload=page(*last, has_next=True))

    with pytest.raises(AtlasUnavailable, match="to the end: page 2 has no new project"):
        await projects_of(connecting)
    assert tries(answering) == 2


async def test_a_later_page_that_fails_leaves_no_half_list_in_silence(connecting, answering):
    answering.get(GROUPS + "1", payload=page(1, has_next=True))
    answering.get(GROUPS + "2", status=500, repeat=True)

    with pytest.raises(AtlasUnavailable, match="to the end"):
        await projects_of(connecting)


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
async def test_credentials_that_were_good_for_the_first_page_are_not_blamed_for_a_later_one(
    connecting, answering, status, code, error_type
):
    answering.get(GROUPS + "1", payload=page(1, has_next=True))
    answering.get(GROUPS + "2", status=status, payload=error(code), repeat=True)

    with pytest.raises(error_type):
        await projects_of(connecting)


@pytest.mark.parametrize("spoilt", [{"name": None}, {"orgId": ""}])
async def test_a_project_that_says_too_little_makes_the_list_nonsense(
    connecting, answering, spoilt
):
    listed = page(1)
    listed["results"][0].update(spoilt)
    answering.get(GROUPS + "1", payload=listed, repeat=True)

    with pytest.raises(AtlasUnavailable, match="nonsense"):
        await projects_of(connecting)


async def test_projects_with_a_wrong_id_are_each_told_once(connecting, answering):
    listed = page(1, 2, 3)
    for item in listed["results"][:2]:
        item["id"] = ""
    answering.get(GROUPS + "1", payload={**listed, "links": page(has_next=True)["links"]})
    answering.get(GROUPS + "2", payload=listed)

    found = await projects_of(connecting)

    assert [type(item).__name__ for item in found] == [
        "ListUnreadable",
        "ListUnreadable",
        "Project",
    ]


async def test_an_endless_list_of_new_projects_is_given_up(connecting, answering, monkeypatch):
    monkeypatch.setattr("invite_sweeper.atlas.reader.PAGES_CAP", 3)
    for number in range(1, 5):
        answering.get(GROUPS + str(number), payload=page(number, has_next=True))

    with pytest.raises(AtlasUnavailable, match="3 pages"):
        await projects_of(connecting)
    assert tries(answering) == 3


async def test_each_request_says_its_version_and_who_asks(connecting, answering):
    answering.get(INVITES, body=b"[]")

    await listing_of(connecting)

    ((call,),) = answering.requests.values()
    assert call.kwargs["headers"] == {
        "Accept": "application/vnd.atlas.2023-01-01+json",
        "Authorization": "Bearer a-ready-token",
        "User-Agent": f"invite-sweeper/{__version__} (linux; {platform.machine()})",
    }
    assert call.kwargs["allow_redirects"] is False


async def test_a_dry_run_builds_nothing_that_can_delete(connecting):
    async with connecting(BASE) as atlas:
        held = [*vars(atlas).values(), *vars(atlas.reader).values()]
        assert not any(isinstance(value, AtlasDeleter) for value in held)
        assert not hasattr(atlas.reader, "delete")


async def test_retries_are_told_to_those_who_look_closely(connecting, answering, diary):
    answering.get(INVITES, status=500)
    answering.get(INVITES, exception=aiohttp.ServerDisconnectedError())
    answering.get(INVITES, body=b"[]")

    await listing_of(connecting)

    assert [fields["why"] for _, fields in diary.lines] == [
        500,
        "the connection was cut before the answer was there",
    ]


@pytest.mark.parametrize("source", Source)
async def test_deleter_of_other_lists_sends_nothing_for_this_one(answering, connecting, source):
    one = invitation(1, source=source)
    async with connecting(BASE) as atlas:
        deleter = atlas.deleter([other for other in Source if other is not source])
        assert deleter.try_acquire(one) == 0.0
        ended = await deleter.delete(one, DeletionProgress())
    assert (ended.outcome, ended.attempts) == (Outcome.FAILED, 0)
    assert tries(answering) == 0
