"""A list that is not known to be complete loses nothing."""

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from time import monotonic

import pytest
import structlog
from aioresponses import CallbackResult
from builders import ORG, PROJECT, object_id, project

from invite_sweeper.atlas import BearerToken, Secret, parse_base_url
from invite_sweeper.atlas.connection import connect_for_run
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import ListUnreadable, Project, Source
from invite_sweeper.policy import Execution
from invite_sweeper.simulator import SimulatedAtlas, serve
from invite_sweeper.sweep.guards import check_clock

BASE = "https://atlas.example.com"
ALPHA = project(1, id=PROJECT)


def user(number, status="PENDING"):
    return {
        "id": object_id(number),
        "username": f"person-{number}@example.com",
        "orgMembershipStatus": status,
        "invitationCreatedAt": "2026-01-01T00:00:00Z",
        "roles": ["GROUP_OWNER"],
    }


def page(*users, has_next=False):
    links = [{"rel": "next", "href": "https://elsewhere.example"}] if has_next else []
    return {"results": list(users), "links": links}


async def users_of(connecting, answering, *pages):
    async with connecting(BASE) as atlas:
        bodies = chain(pages, repeat(pages[-1]))

        def answer(url, **_):
            return CallbackResult(status=200, body=next(bodies), content_type="application/json")

        address = re.compile(f"{BASE}/api/atlas/v2/groups/{PROJECT}/users.*")
        answering.get(address, callback=answer, repeat=True)
        return await atlas.reader.invitations(ALPHA, Source.USERS)


@pytest.mark.parametrize("last", [(), (1,)], ids=["empty", "repeated"])
async def test_page_of_users_without_a_new_one_that_names_a_next_makes_the_list_unreadable(
    connecting, answering, last
):
    found = await users_of(
        connecting,
        answering,
        json.dumps(page(user(1), has_next=True)),
        json.dumps(page(*map(user, last), has_next=True)),
    )
    assert isinstance(found, ListUnreadable)
    assert found.reason == (
        "The list users: Page 2 has no new entry and names a next page, so the list may not be "
        "complete."
    )


async def test_last_page_of_users_may_be_empty_or_repeat(connecting, answering):
    found = await users_of(
        connecting,
        answering,
        json.dumps(page(user(1), has_next=True)),
        json.dumps(page(user(1))),
    )
    assert [one.id for one in found] == [object_id(1)]


async def test_complete_list_counts_the_rows_that_atlas_sent(connecting, answering):
    found = await users_of(
        connecting,
        answering,
        json.dumps(page(user(1), user(2), has_next=True)),
        json.dumps(page(user(2), user(3))),
    )
    assert (len(found), found.rows) == (3, 4)


async def test_unreadable_list_counts_the_rows_of_the_pages_before(connecting, answering):
    found = await users_of(
        connecting,
        answering,
        json.dumps(page(user(1), user(2), has_next=True)),
        json.dumps(page(user(2), has_next=True)),
    )
    assert isinstance(found, ListUnreadable)
    assert (found.rows, found.org_id) == (3, ORG)


async def test_list_whose_second_page_fails_counts_the_rows_of_the_first(connecting, answering):
    found = await users_of(connecting, answering, json.dumps(page(user(1), has_next=True)), "{")
    assert isinstance(found, ListUnreadable)
    assert found.rows == 1


async def test_user_listed_with_two_statuses_has_none_that_a_rule_could_match(
    connecting, answering
):
    (found,) = await users_of(
        connecting,
        answering,
        json.dumps(page(user(1), user(1, "INVITATION_EXPIRED"))),
    )
    assert found.status is None


@pytest.mark.parametrize(
    "body",
    [
        b'{"results": [], "results": [], "links": []}',
        b'{"results": [{"id": "%s", "username": "a@example.com", "username": "b@example.com"}]}'
        % object_id(1).encode(),
    ],
    ids=["page", "user"],
)
async def test_key_that_occurs_twice_in_one_object_makes_the_list_unreadable(
    connecting, answering, body
):
    assert isinstance(await users_of(connecting, answering, body), ListUnreadable)


@pytest.mark.parametrize("days", [-20, 20])
async def test_instant_of_the_run_that_is_days_off_is_refused_though_the_clock_was_set_since(days):
    """Ages count from `now`: the clock's present time says nothing about it."""
    sim = SimulatedAtlas()
    sim.add_organization(ORG, "Example Org")
    sim.add_project("Alpha")
    async with (
        serve(sim) as base_url,
        connect_for_run(
            parse_base_url(base_url),
            BearerToken(Secret(sim.add_token().secret)),
            Execution(),
            now=datetime.now(UTC) + timedelta(days=days),
            started_s=monotonic(),
            deadline_s=monotonic() + 60,
            log=structlog.get_logger(),
        ) as atlas,
    ):
        list(await atlas.reader.projects())
        with pytest.raises(GuardRefused, match="clock"):
            check_clock(atlas.clock_skew_s)


PROJECTS = f"{BASE}/api/atlas/v2/groups?itemsPerPage=500&includeCount=false&pageNum="


def page_of_projects(*numbers, has_next=False, **changes):
    rows = [
        {"id": f"{number:024x}", "name": f"Project {number}", "orgId": ORG, **changes}
        for number in numbers
    ]
    return {"results": rows, "links": [{"rel": "next"}] if has_next else []}


def answer_projects(answering, *readings):
    """Answer with a list of pages, each a list of numbers, for each reading."""
    for pages in readings:
        for number, page in enumerate(pages, start=1):
            answering.get(
                f"{PROJECTS}{number}",
                payload=page_of_projects(*page, has_next=number < len(pages)),
            )


async def read_projects(connecting, **options):
    async with connecting(BASE) as atlas:
        found = await atlas.reader.projects(**options)
    readable = [int(each.id, 16) for each in found if isinstance(each, Project)]
    return readable, [each.reason for each in found if isinstance(each, ListUnreadable)]


@pytest.mark.parametrize(
    "changes", [{"name": "New"}, {"orgId": "0" * 24}, {"tags": [{"key": "a", "value": "b"}]}]
)
async def test_project_listed_twice_with_different_facts_is_unreadable(
    connecting, answering, changes
):
    answering.get(PROJECTS + "1", payload=page_of_projects(1, 2, has_next=True))
    answering.get(PROJECTS + "2", payload=page_of_projects(1, 3, **changes))

    readable, reasons = await read_projects(connecting)

    assert readable == [2, 3]
    assert reasons == ["Atlas listed the project twice, with different facts."]


async def test_project_listed_twice_with_the_same_facts_is_one_project(connecting, answering):
    answer_projects(answering, [[1, 2], [2, 3]])

    assert await read_projects(connecting) == ([1, 2, 3], [])


@pytest.mark.parametrize(
    ("readings", "readable", "unstable"),
    [
        ([[[1, 2]]], [1, 2], 0),
        ([[[1, 2], [3]], [[1, 2], [3]]], [1, 2, 3], 0),
        ([[[1, 2], [4]], [[2, 3], [4]], [[2, 3], [4]]], [2, 3, 4], 0),
        ([[[1, 2], [4]], [[2, 3], [4]], [[3, 4], [5]]], [3, 4, 5], 1),
    ],
    ids=["one page is read once", "no change", "a change", "two changes"],
)
async def test_stable_list_of_projects_is_read_until_it_does_not_change(
    connecting, answering, readings, readable, unstable
):
    answer_projects(answering, *readings)

    found, reasons = await read_projects(connecting, stable=True)

    assert (found, len(reasons)) == (readable, unstable)
    requests = sum(len(calls) for calls in answering.requests.values())
    assert requests == sum(map(len, readings))


async def test_list_of_projects_is_read_once_where_no_team_decides(connecting, answering):
    answer_projects(answering, [[1, 2], [4]])

    assert await read_projects(connecting) == ([1, 2, 4], [])
