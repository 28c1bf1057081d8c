"""The four lists: read completely or reported as unreadable."""

import faults
import pytest

from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import ListUnreadable, Project, ProjectGone, Source, SourceRetired

ORG = "5efda682a3f2ed2e7dd6cde4"


@pytest.fixture
def project_id(sim):
    """The id of a project with five invitations and five invited users."""
    sim.throttling.enforced = False
    alpha = sim.add_project("Alpha")
    for number in range(5):
        sim.invite(alpha, f"p{number}@example.com")
        sim.add_user(f"q{number}@example.com", group_roles={alpha: ["GROUP_OWNER"]})
    return alpha


async def listing(atlas, source, project_id):
    list_owner = (
        Project(ORG, "", ORG) if source.is_organization_level else Project(project_id, "Alpha", ORG)
    )
    return await atlas.reader.invitations(list_owner, source)


@pytest.mark.parametrize("source", Source)
async def test_each_list_returns_its_invitations_with_its_source(sim, online, project_id, source):
    async with online() as atlas:
        found = await listing(atlas, source, project_id)

    assert len({each.id for each in found}) == 5
    assert {each.source for each in found} == {source}


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_active_users_are_not_listed(sim, online, project_id, source):
    for number, status in enumerate(("ACTIVE", "INVITATION_EXPIRED", "INVITATION_REJECTED")):
        sim.set_status(sim.users()[number], status)
    async with online() as atlas:
        found = await listing(atlas, source, project_id)

    statuses = sorted(each.status for each in found)
    assert statuses == ["INVITATION_EXPIRED", "INVITATION_REJECTED", "PENDING", "PENDING"]


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_unreadable_page_makes_the_whole_list_unreadable(sim, online, project_id, source):
    for number in range(600):
        sim.add_user(f"r{number}@example.com", group_roles={project_id: ["GROUP_OWNER"]})
    sim.faults.add(faults.fail_with(500), path="*/users", nth=2, times=None)
    async with online() as atlas:
        found = await listing(atlas, source, project_id)

    assert isinstance(found, ListUnreadable)
    assert (found.source, found.http_status) == (source, 500)
    assert str(source) in found.reason


async def test_list_with_more_pages_than_the_cap_is_unreadable(
    sim, online, project_id, monkeypatch
):
    monkeypatch.setattr("invite_sweeper.atlas.lists.MAX_PAGES", 1)
    for number in range(600):
        sim.add_user(f"r{number}@example.com", group_roles={project_id: ["GROUP_OWNER"]})
    async with online() as atlas:
        found = await listing(atlas, Source.USERS, project_id)

    assert isinstance(found, ListUnreadable)
    assert "1 pages" in found.reason


async def test_user_who_moves_to_the_next_page_is_listed_once(sim, online, project_id):
    for number in range(600):
        sim.add_user(f"r{number:03}@example.com", group_roles={project_id: ["GROUP_OWNER"]})
    shift = faults.effect(
        after=lambda _: sim.add_user("a@example.com", group_roles={project_id: ["GROUP_OWNER"]})
    )
    sim.faults.add(shift, path="*/users")
    async with online() as atlas:
        found = await listing(atlas, Source.USERS, project_id)

    assert len(found) == len({each.id for each in found}) == 605


@pytest.mark.parametrize("source", Source)
async def test_missing_role_makes_a_list_unreadable_and_the_reason_names_it(
    sim, online, project_id, source
):
    sim.faults.add(faults.role_missing(), times=None)
    async with online() as atlas:
        found = await listing(atlas, source, project_id)

    assert isinstance(found, ListUnreadable)
    assert not isinstance(found, SourceRetired)
    assert (found.source, found.error_code) == (source, "USER_UNAUTHORIZED")
    assert source is Source.INVITES or f"The list {source}" in found.reason
    assert not source.is_organization_level or ORG in found.reason


@pytest.mark.parametrize("source", Source)
async def test_group_not_found_is_a_project_gone_but_never_an_organization(
    sim, online, project_id, source
):
    sim.faults.add(faults.fail_with(404, "GROUP_NOT_FOUND"), times=None)
    async with online() as atlas:
        found = await listing(atlas, source, project_id)

    assert isinstance(found, ListUnreadable if source.is_organization_level else ProjectGone)


@pytest.mark.parametrize("fault", [faults.fail_with(404, "NOT_FOUND"), faults.html(404)])
@pytest.mark.parametrize("source", Source)
async def test_404_for_another_reason_makes_a_list_unreadable(
    sim, online, project_id, source, fault
):
    sim.faults.add(fault, times=None)
    async with online() as atlas:
        found = await listing(atlas, source, project_id)

    assert isinstance(found, ListUnreadable)
    assert found.http_status == 404


@pytest.mark.parametrize("source", Source)
async def test_410_retires_the_list(sim, online, project_id, source):
    sim.versions.retired |= {(source.value, "*")}
    async with online() as atlas:
        found = await listing(atlas, source, project_id)

    assert isinstance(found, SourceRetired)
    assert (found.source, found.http_status, found.error_code) == (source, 410, "VERSION_GONE")
    assert str(source) in found.reason


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (faults.fail_with(406, "INVALID_VERSION_DATE"), AtlasUnavailable),
        (faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), CredentialsRefused),
    ],
)
async def test_fatal_response_stops_the_run_for_any_list(
    sim, online, project_id, source, fault, error
):
    sim.faults.add(fault, times=None)
    async with online() as atlas:
        with pytest.raises(error):
            await listing(atlas, source, project_id)


@pytest.mark.parametrize("source", Source)
async def test_sunset_date_is_recorded_by_source(sim, online, project_id, source):
    async with online() as atlas:
        await listing(atlas, source, project_id)
        sunsets = dict(atlas.sunsets)

    is_deprecated = source in {Source.INVITES, Source.ORG_INVITES}
    assert {key: day.isoformat() for key, day in sunsets.items()} == (
        {source: "2027-07-01"} if is_deprecated else {}
    )
