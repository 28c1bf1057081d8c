"""Paging of the simulated Atlas, with and without quirks."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from simulator.simulated import open_client, organization


def names(response):
    return [each["name"] for each in response.json()["results"]]


def links(response):
    return {each["rel"]: each["href"] for each in response.json()["links"]}


async def follow(request, path, max_pages=20):
    """Return all pages by following `next` links."""
    pages = []
    while path and len(pages) < max_pages:
        pages.append(await request("GET", path))
        target = urlsplit(links(pages[-1]).get("next", ""))
        path = f"{target.path}?{target.query}" if target.path else ""
    return pages


def filled(number, **settings):
    sim = organization(**settings)
    for each in range(number):
        sim.add_project(f"project-{each:03}")
    return sim


async def test_pages_have_next_and_previous_links_with_the_server_url():
    async with open_client(filled(5)) as request:
        pages = await follow(request, "/groups?itemsPerPage=2")
        address = request.base_url
    assert [len(names(each)) for each in pages] == [2, 2, 1]
    assert [sorted(links(each)) for each in pages] == [
        ["next", "self"],
        ["next", "previous", "self"],
        ["previous", "self"],
    ]
    url = f"{address}/api/atlas/v2/groups?includeCount=true&"
    assert links(pages[0])["next"] == f"{url}itemsPerPage=2&pageNum=2"
    assert links(pages[0])["self"] == f"{url}pageNum=1&itemsPerPage=2"
    assert {each.json()["totalCount"] for each in pages} == {5}


async def test_projects_are_sorted_by_name_in_byte_order(sim):
    for name in ("b", "a", "B", "é", "A b"):
        sim.add_project(name)
    async with open_client(sim) as request:
        assert names(await request("GET", "/groups")) == ["A b", "B", "a", "b", "é"]


@pytest.mark.parametrize(
    "query", ["itemsPerPage=501", "itemsPerPage=0", "pageNum=0", "pageNum=x", "itemsPerPage=٣"]
)
async def test_page_parameters_out_of_bounds_are_400(query):
    async with open_client(filled(1)) as request:
        for path in ("/groups", "/orgs"):
            response = await request("GET", f"{path}?{query}")
            assert (response.status, response.code) == (400, "INVALID_QUERY_PARAMETER")


async def test_page_has_100_items_by_default_and_at_most_500():
    async with open_client(filled(501)) as request:
        assert len(names(await request("GET", "/groups"))) == 100
        assert len(names(await request("GET", "/groups?itemsPerPage=500"))) == 500


async def test_include_count_false_omits_total_count():
    async with open_client(filled(1)) as request:
        response = await request("GET", "/groups?includeCount=false")
    assert "totalCount" not in response.json()
    assert ("includeCount", "false") in parse_qsl(urlsplit(links(response)["self"]).query)


async def test_trailing_slash_returns_the_list():
    async with open_client(filled(2)) as request:
        response = await request("GET", "/groups/")
    assert (response.status, len(names(response))) == (200, 2)


async def test_short_page_has_a_next_link():
    sim = filled(5)
    sim.paging.page_size = 2
    async with open_client(sim) as request:
        pages = await follow(request, "/groups?itemsPerPage=500")
    assert [len(names(each)) for each in pages] == [2, 2, 1]


async def test_repeated_items_appear_again_on_the_next_page():
    sim = filled(4)
    sim.paging.repeated_items = 1
    async with open_client(sim) as request:
        pages = await follow(request, "/groups?itemsPerPage=2")
    assert names(pages[0]) == ["project-000", "project-001"]
    assert names(pages[1]) == ["project-001", "project-002", "project-003"]


async def test_endless_list_repeats_the_first_page():
    sim = filled(2)
    sim.paging.endless = True
    async with open_client(sim) as request:
        pages = await follow(request, "/groups", max_pages=4)
    assert len(pages) == 4
    assert len({tuple(names(each)) for each in pages}) == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("", 404, "RESOURCE_NOT_FOUND"),
        ("/nothing", 404, "RESOURCE_NOT_FOUND"),
        ("/groups/a/b/c/d/e", 404, "RESOURCE_NOT_FOUND"),
        ("/api/atlas/v1.0/groups", 404, "RESOURCE_NOT_FOUND"),
        ("/api/atlas/v2groups", 404, "RESOURCE_NOT_FOUND"),
        ("/groups/xyz/invites", 404, "INVALID_GROUP_ID"),
        ("/groups/..%2Forgs/invites", 404, "INVALID_GROUP_ID"),
    ],
)
async def test_unknown_path_is_404(path, status, code):
    async with open_client(organization()) as request:
        response = await request("GET", path)
    assert (response.status, response.code) == (status, code)


async def test_unsupported_method_is_405_with_allow(sim, project):
    async with open_client(sim) as request:
        response = await request("DELETE", f"/groups/{project}/invites/")
    assert response.status == 405
    assert response.headers["Allow"] == "GET,POST,OPTIONS"


async def test_removed_project_is_404():
    sim = filled(1)
    (project,) = sim.groups
    async with open_client(sim) as request:
        assert (await request("GET", f"/groups/{project}/invites")).status == 200
        sim.remove_project(project)
        response = await request("GET", f"/groups/{project}/invites")
    assert (response.status, response.code) == (404, "GROUP_NOT_FOUND")
