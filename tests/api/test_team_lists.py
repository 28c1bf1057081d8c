"""The teams of a project: every page is read, and an incomplete list is unreadable."""

import faults
import pytest

from invite_sweeper.models import ListUnreadable, Project

ORG = "5efda682a3f2ed2e7dd6cde4"
TEAMS = "*/groups/*/teams"


@pytest.fixture
def alpha(sim):
    sim.throttling.enforced = False
    return Project(sim.add_project("Alpha"), "Alpha", ORG)


async def test_teams_of_all_pages_are_returned(sim, online, alpha):
    teams = {sim.add_team(alpha.id) for _ in range(1203)}
    sim.add_team(sim.add_project("Beta"))
    async with online() as atlas:
        assert await atlas.reader.project_teams(alpha) == teams

    pages = [each.path.rpartition("=")[2] for each in sim.requests if "/teams?" in each.path]
    assert pages == ["1", "2", "3"]


async def test_short_pages_with_a_next_link_are_read_to_the_end(sim, online, alpha):
    teams = {sim.add_team(alpha.id) for _ in range(7)}
    sim.team_paging.page_size, sim.team_paging.repeated_items = 2, 1
    async with online() as atlas:
        assert await atlas.reader.project_teams(alpha) == teams


@pytest.mark.parametrize("count", [0, 3])
async def test_page_without_a_new_team_that_names_a_next_one_is_unreadable(
    sim, online, alpha, count
):
    for _ in range(count):
        sim.add_team(alpha.id)
    sim.team_paging.endless = True
    async with online() as atlas:
        found = await atlas.reader.project_teams(alpha)
    assert isinstance(found, ListUnreadable)
    assert "no new entry and names a next page" in found.reason


@pytest.mark.parametrize(
    "fault",
    [
        faults.role_missing(),
        faults.fail_with(500),
        faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"),
        faults.fail_with(404, "RESOURCE_NOT_FOUND"),
        faults.fail_with(406, "INVALID_VERSION_DATE"),
        faults.fail_with(410, "VERSION_GONE"),
        faults.malformed(b"[]"),
        faults.malformed(b'{"results": [{"roleNames": []}]}'),
        faults.malformed(b'{"results": [{"teamId": ""}]}'),
        faults.malformed(b'{"results": [{"teamId": 7}]}'),
        faults.truncated(),
        faults.reset(),
        faults.html(502),
    ],
)
@pytest.mark.parametrize("nth", [1, 2], ids=["first page", "second page"])
async def test_failed_page_makes_the_teams_unreadable(sim, online, alpha, fault, nth):
    for _ in range(4):
        sim.add_team(alpha.id)
    sim.team_paging.page_size = 2
    sim.faults.add(fault, path=TEAMS, nth=nth, times=None)
    async with online() as atlas:
        found = await atlas.reader.project_teams(alpha)
    assert isinstance(found, ListUnreadable)


async def test_project_that_is_gone_has_no_teams(sim, online, alpha):
    sim.remove_project(alpha.id)
    async with online() as atlas:
        assert await atlas.reader.project_teams(alpha) == frozenset()
