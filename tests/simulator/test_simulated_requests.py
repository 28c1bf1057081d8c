"""Pages, rate limits, versions and connections of the simulated Atlas."""

import asyncio
from datetime import timedelta
from urllib.parse import urlsplit

import faults
import pytest
from buckets import set_bucket
from simulator.simulated import ORG, open_client, organization
from virtual_time import FakeTime

from invite_sweeper.simulator import serve

DAY = timedelta(days=1)


def names(page):
    return [each["name"] for each in page.json()["results"]]


async def all_pages(request, path):
    """Return the pages until one names no next one."""
    pages = []
    while not pages or pages[-1].json()["links"]:
        pages.append(await request("GET", f"{path}&pageNum={len(pages) + 1}"))
    return pages


@pytest.mark.parametrize(
    ("size", "fault", "expected"),
    [
        (2, faults.delay(0), ["ab", "cd", "e"]),
        (500, faults.delay(0), ["abcde"]),
        (500, faults.short_pages(2), ["ab", "cd", "e"]),
        (500, faults.short_pages(2, 1), ["ab", "bcd", "de"]),
    ],
)
async def test_last_page_alone_names_no_next_one(sim, size, fault, expected):
    for name in "edcba":
        sim.add_project(name)
    sim.faults.add(fault, times=None)
    async with open_client(sim) as request:
        pages = await all_pages(request, f"/groups?itemsPerPage={size}")
    assert ["".join(names(each)) for each in pages] == expected
    assert {each.json()["totalCount"] for each in pages} == {5}


async def test_empty_project_bucket_is_429_with_the_documented_text_until_its_refill():
    clock = FakeTime()
    sim = organization(monotonic=clock.monotonic)
    limited = sim.add_project("hot")
    unlimited = sim.add_project("cold")
    set_bucket(sim, "projects_group", limited, capacity=2, refill=1, period_s=60)

    async def status(project):
        return (await request("GET", f"/groups/{project}/invites")).status

    async with open_client(sim) as request:
        assert [await status(limited) for _ in range(2)] == [200, 200]
        clock.now_s += 5
        refused = await request("GET", f"/groups/{limited}/invites")
        assert await status(unlimited) == 200
        clock.now_s += 55
        assert [await status(limited) for _ in range(2)] == [200, 429]
        sim.throttling.enforced = False
        assert await status(limited) == 200
    resource = f"api/atlas/v2/groups/{limited}/invites"
    assert refused.json() == {
        "detail": f"Rate limit exceeded for {resource}. Please retry after 55 seconds."
        " Request capacity: 2. Refill rate: 1 per 60 seconds.",
        "error": 429,
        "errorCode": "RATE_LIMITED_TOKEN_BUCKET",
        "parameters": [resource, 55, 2, 1, 60],
        "reason": "Too Many Requests",
    }
    shown = {"Retry-After": "55", "RateLimit-Limit": "2", "RateLimit-Remaining": "0"}
    assert {name: refused.headers[name] for name in shown} == shown


async def test_operations_of_a_project_share_a_bucket_but_users_have_their_own(sim, project):
    invites = f"/groups/{project}/invites"
    left = []
    async with open_client(sim) as request:
        for method, path in (
            ("GET", invites),
            ("DELETE", f"{invites}/{'0' * 24}"),
            ("GET", f"/groups/{project}/users"),
            ("GET", f"/orgs/{ORG}/invites"),
        ):
            response = await request(method, path)
            left.append(int(response.headers["RateLimit-Remaining"]))
    assert left == [1199, 1198, 1199, 499]


async def test_connection_close_is_confirmed_and_the_port_is_free_after_the_block(sim):
    async with open_client(sim) as request:
        response = await request("GET", "/groups", headers={"Connection": "close"})
        port = urlsplit(request.base_url).port
    assert response.headers["Connection"] == "close"
    async with serve(sim, port=port) as again:
        assert urlsplit(again).port == port
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
