"""Pages of the simulated Atlas, ordinary and odd."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from simulator.simulated import ORG, asking, organization


def names(got):
    return [each["name"] for each in got.json()["results"]]


def links(got):
    return {each["rel"]: each["href"] for each in got.json()["links"]}


async def follow(ask, path, most=20):
    """All pages, by the `next` links alone."""
    pages = []
    while path and len(pages) < most:
        pages.append(await ask("GET", path))
        target = urlsplit(links(pages[-1]).get("next", ""))
        path = f"{target.path}?{target.query}" if target.path else ""
    return pages


def filled(number, **settings):
    sim = organization(**settings)
    for each in range(number):
        sim.add_project(f"project-{each:03}")
    return sim


async def test_pages_have_next_and_previous_links_with_the_servers_own_address():
    async with asking(filled(5)) as ask:
        pages = await follow(ask, "/groups?itemsPerPage=2")
        address = ask.base_url
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


async def test_projects_come_by_name_byte_by_byte_with_upper_case_first():
    sim = organization()
    for name in ("b", "a", "B", "é", "A b"):
        sim.add_project(name)
    async with asking(sim) as ask:
        assert names(await ask("GET", "/groups")) == ["A b", "B", "a", "b", "é"]
        sim.paging.unsorted = True
        assert names(await ask("GET", "/groups")) == ["b", "a", "B", "é", "A b"]


@pytest.mark.parametrize(
    "query", ["itemsPerPage=501", "itemsPerPage=0", "pageNum=0", "pageNum=x", "itemsPerPage=٣"]
)
async def test_numbers_out_of_bounds_are_400(query):
    async with asking(filled(1)) as ask:
        for path in ("/groups", "/orgs", f"/orgs/{ORG}/groups"):
            got = await ask("GET", f"{path}?{query}")
            assert (got.status, got.code) == (400, "INVALID_QUERY_PARAMETER")


async def test_a_page_has_at_most_100_unless_up_to_500_are_asked_for():
    async with asking(filled(501)) as ask:
        assert len(names(await ask("GET", "/groups"))) == 100
        assert len(names(await ask("GET", "/groups?itemsPerPage=500"))) == 500


async def test_the_count_is_left_out_where_it_is_not_wanted():
    async with asking(filled(1)) as ask:
        got = await ask("GET", "/groups?includeCount=false")
    assert "totalCount" not in got.json()
    assert ("includeCount", "false") in parse_qsl(urlsplit(links(got)["self"]).query)


async def test_the_empty_id_is_the_whole_list():
    async with asking(filled(2)) as ask:
        got = await ask("GET", "/groups/")
    assert (got.status, len(names(got))) == (200, 2)


async def test_a_count_may_be_too_high():
    sim = filled(3)
    sim.paging.extra_count = 5
    async with asking(sim) as ask:
        got = await ask("GET", "/groups")
    assert got.json()["totalCount"] == 8
    assert "next" not in links(got)


async def test_a_new_project_is_counted_and_holds_a_place_but_is_not_shown():
    sim = filled(3)
    sim.add_project("project-000-new", hidden=True)
    async with asking(sim) as ask:
        first, second = await follow(ask, "/groups?itemsPerPage=2")
    assert first.json()["totalCount"] == 4
    assert names(first) == ["project-000"]
    assert names(second) == ["project-001", "project-002"]


async def test_short_pages_may_have_a_next():
    sim = filled(5)
    sim.paging.page_size = 2
    async with asking(sim) as ask:
        pages = await follow(ask, "/groups?itemsPerPage=500")
    assert [len(names(each)) for each in pages] == [2, 2, 1]


async def test_ids_may_come_again_on_the_next_page():
    sim = filled(4)
    sim.paging.repeated_items = 1
    async with asking(sim) as ask:
        pages = await follow(ask, "/groups?itemsPerPage=2")
    assert names(pages[0]) == ["project-000", "project-001"]
    assert names(pages[1]) == ["project-001", "project-002", "project-003"]


async def test_a_loop_gives_the_first_page_for_ever():
    sim = filled(2)
    sim.paging.endless = True
    async with asking(sim) as ask:
        pages = await follow(ask, "/groups", most=4)
    assert len(pages) == 4
    assert len({tuple(names(each)) for each in pages}) == 1


async def test_links_may_name_another_host():
    sim = filled(3)
    sim.paging.link_host = "https://elsewhere.example.com"
    async with asking(sim) as ask:
        got = await ask("GET", "/groups?itemsPerPage=1")
    assert {urlsplit(each).hostname for each in links(got).values()} == {"elsewhere.example.com"}


async def test_organizations_are_filtered_by_the_beginning_of_their_name():
    sim = organization()
    async with asking(sim) as ask:
        found = await ask("GET", "/orgs?name=exa")
        none = await ask("GET", "/orgs?name=xa")
        one = await ask("GET", f"/orgs/{ORG}")
        unknown = await ask("GET", f"/orgs/{'0' * 24}")
    assert names(found) == ["Example Org"]
    assert none.json()["results"] == []
    assert one.json() == found.json()["results"][0]
    assert (unknown.status, unknown.code) == (404, "ORG_NOT_FOUND")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/nothing", 404, "RESOURCE_NOT_FOUND"),
        ("/groups/a/b/c/d/e", 404, "RESOURCE_NOT_FOUND"),
        ("/api/atlas/v1.0/groups", 404, "RESOURCE_NOT_FOUND"),
        ("/api/atlas/v2groups", 404, "RESOURCE_NOT_FOUND"),
        ("/groups/xyz/invites", 404, "INVALID_GROUP_ID"),
        ("/groups/..%2Forgs/invites", 404, "INVALID_GROUP_ID"),
    ],
)
async def test_where_nothing_lives_it_is_404(path, status, code):
    async with asking(organization()) as ask:
        got = await ask("GET", path)
    assert (got.status, got.code) == (status, code)


async def test_a_method_that_a_path_does_not_have_is_405_and_names_those_it_has():
    sim = organization()
    project = sim.add_project("Data Lake")
    async with asking(sim) as ask:
        got = await ask("DELETE", f"/groups/{project}/invites/")
    assert got.status == 405
    assert got.headers["Allow"] == "GET,POST,OPTIONS"


async def test_the_root_tells_which_key_asks():
    sim = organization()
    async with asking(sim) as ask:
        got = await ask("GET", "")
    assert got.json()["apiKey"] is None
    assert got.json()["appName"] == "MongoDB Atlas"


async def test_a_project_that_was_removed_is_unknown_from_then_on():
    sim = filled(1)
    (project,) = sim.groups
    async with asking(sim) as ask:
        assert (await ask("GET", f"/groups/{project}")).status == 200
        sim.remove_project(project)
        got = await ask("GET", f"/groups/{project}")
    assert (got.status, got.code) == (404, "GROUP_NOT_FOUND")
