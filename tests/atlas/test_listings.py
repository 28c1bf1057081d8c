"""The four lists, read whole or not at all."""

import pytest

from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused
from invite_sweeper.models import ListUnreadable, Project, ProjectGone, Source, SourceRetired
from invite_sweeper.simulator import faults

ORG = "5efda682a3f2ed2e7dd6cde4"


@pytest.fixture
def people(sim):
    """A project in which everybody is invited by every way; its id."""
    sim.throttling.enforced = False
    project = sim.add_project("Alpha")
    for number in range(5):
        sim.invite(project, f"p{number}@example.com")
        sim.add_user(f"q{number}@example.com", group_roles={project: ["GROUP_OWNER"]})
    return project


async def listing(atlas, source, project_id):
    place = (
        Project(ORG, "", ORG) if source.is_organization_level else Project(project_id, "Alpha", ORG)
    )
    return await atlas.reader.invitations(place, source)


@pytest.mark.parametrize("source", Source)
async def test_each_list_gives_what_it_holds_under_its_own_source(sim, online, people, source):
    async with online() as atlas:
        found = await listing(atlas, source, people)

    assert len({each.id for each in found}) == 5
    assert {each.source for each in found} == {source}


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_only_those_who_are_not_active_are_asked_for(sim, online, people, source):
    for number, status in enumerate(("ACTIVE", "INVITATION_EXPIRED", "INVITATION_REJECTED")):
        sim.set_status(sim.users()[number], status)
    async with online() as atlas:
        found = await listing(atlas, source, people)

    told = sorted(each.status for each in found)
    assert told == ["INVITATION_EXPIRED", "INVITATION_REJECTED", "PENDING", "PENDING"]


@pytest.mark.parametrize("source", [Source.USERS, Source.ORG_USERS])
async def test_page_that_cannot_be_read_makes_the_whole_list_unreadable(
    sim, online, people, source
):
    for number in range(600):
        sim.add_user(f"r{number}@example.com", group_roles={people: ["GROUP_OWNER"]})
    sim.faults.add(faults.fail_with(500), path="*/users", nth=2, times=None)
    async with online() as atlas:
        found = await listing(atlas, source, people)

    assert isinstance(found, ListUnreadable)
    assert (found.source, found.http_status) == (source, 500)
    assert str(source) in found.reason


async def test_list_that_goes_on_and_on_is_unreadable_and_never_taken_for_whole(
    sim, online, people, monkeypatch
):
    monkeypatch.setattr("invite_sweeper.atlas.reader.PAGES_CAP", 1)
    for number in range(600):
        sim.add_user(f"r{number}@example.com", group_roles={people: ["GROUP_OWNER"]})
    async with online() as atlas:
        found = await listing(atlas, Source.USERS, people)

    assert isinstance(found, ListUnreadable)
    assert "1 pages" in found.reason


async def test_person_who_slips_to_the_next_page_meanwhile_is_given_once(sim, online, people):
    for number in range(600):
        sim.add_user(f"r{number:03}@example.com", group_roles={people: ["GROUP_OWNER"]})
    slip = faults.effect(
        after=lambda _: sim.add_user("a@example.com", group_roles={people: ["GROUP_OWNER"]})
    )
    sim.faults.add(slip, path="*/users")
    async with online() as atlas:
        found = await listing(atlas, Source.USERS, people)

    assert len(found) == len({each.id for each in found}) == 605


@pytest.mark.parametrize("source", Source)
async def test_missing_role_is_unreadable_and_names_its_list(sim, online, people, source):
    sim.faults.add(faults.role_missing(), times=None)
    async with online() as atlas:
        found = await listing(atlas, source, people)

    assert isinstance(found, ListUnreadable)
    assert not isinstance(found, SourceRetired)
    assert (found.source, found.error_code) == (source, "USER_UNAUTHORIZED")
    assert source is Source.INVITES or f"The list {source}" in found.reason
    assert not source.is_organization_level or ORG in found.reason


@pytest.mark.parametrize("source", Source)
async def test_group_not_found_is_a_project_that_is_gone_but_never_an_organization(
    sim, online, people, source
):
    sim.faults.add(faults.fail_with(404, "GROUP_NOT_FOUND"), times=None)
    async with online() as atlas:
        found = await listing(atlas, source, people)

    assert isinstance(found, ListUnreadable if source.is_organization_level else ProjectGone)


@pytest.mark.parametrize("source", Source)
async def test_410_retires_the_list(sim, online, people, source):
    sim.versions.retired |= {(source.value, "*")}
    async with online() as atlas:
        found = await listing(atlas, source, people)

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
async def test_answer_about_the_run_ends_it_in_any_list(sim, online, people, source, fault, error):
    sim.faults.add(fault, times=None)
    async with online() as atlas:
        with pytest.raises(error):
            await listing(atlas, source, people)


@pytest.mark.parametrize("source", Source)
async def test_the_end_that_atlas_names_is_known_by_source(sim, online, people, source):
    async with online() as atlas:
        await listing(atlas, source, people)
        told = dict(atlas.sunsets)

    older = source in {Source.INVITES, Source.ORG_INVITES}
    assert {key: day.isoformat() for key, day in told.items()} == (
        {source: "2027-07-01"} if older else {}
    )
