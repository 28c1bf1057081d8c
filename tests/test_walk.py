"""Every project in scope is asked once, and what cannot be read is a value."""

import asyncio

import pytest
from builders import OTHER_ORG, invitation, policy, project
from fakes import FakeAtlas

from invite_sweeper.errors import AtlasUnavailable, AuditLogError, GuardRefused
from invite_sweeper.models import ListRef, ListUnreadable, ProjectGone, Source
from invite_sweeper.sweep.discovery import ListedInvitations, discover_projects, list_invitations
from invite_sweeper.sweep.scope import ProjectFilter, RunScope


def territory_of(count):
    return RunScope(tuple(project(n) for n in range(count)))


async def found_by(atlas, projects, workers=3):
    found = []

    async def visit(one):
        found.append(one)

    await list_invitations(
        atlas, RunScope(tuple(projects)), (Source.INVITES,), visit, workers=workers
    )
    return found


async def test_survey_keeps_the_projects_in_scope_in_atlas_order():
    mine = [project(n) for n in (3, 1, 2)]
    atlas = FakeAtlas(listed=[mine[0], project(9, org_id=OTHER_ORG), *mine[1:]])
    territory = await discover_projects(atlas, ProjectFilter(policy()))
    assert territory.projects == tuple(mine)


async def test_project_of_another_organization_is_never_asked_for_its_invitations():
    foreign = project(9, org_id=OTHER_ORG)
    atlas = FakeAtlas(listed=[project(1), foreign])
    territory = await discover_projects(atlas, ProjectFilter(policy()))
    await found_by(atlas, territory.projects)
    assert atlas.asked == [project(1).id]


async def test_survey_without_a_project_of_the_organizations_is_refused():
    atlas = FakeAtlas(listed=[project(1, org_id=OTHER_ORG)])
    with pytest.raises(GuardRefused, match="No project"):
        await discover_projects(atlas, ProjectFilter(policy()))


async def test_empty_list_of_projects_is_refused_and_not_taken_for_nothing_to_do():
    with pytest.raises(GuardRefused):
        await discover_projects(FakeAtlas(), ProjectFilter(policy()))


async def test_filters_that_leave_no_project_are_no_error():
    atlas = FakeAtlas(listed=[project(1)])
    territory = await discover_projects(atlas, ProjectFilter(policy(projects={"exclude": ["*"]})))
    assert territory.projects == ()
    assert await found_by(atlas, territory.projects) == []


async def test_project_listed_in_a_form_that_nobody_can_ask_about_is_told():
    odd = ListUnreadable("??", "Odd", "unreadable id")
    territory = await discover_projects(
        FakeAtlas(listed=[project(1), odd]), ProjectFilter(policy())
    )
    assert territory.unreadable == (odd,)


async def test_each_project_is_visited_once_with_what_became_of_it():
    lost = ListUnreadable(project(2).id, "Project 2", "no role", 401)
    gone = ProjectGone(project(3).id, "Project 3")
    atlas = FakeAtlas(
        holds={project(1).id: (invitation(1),)},
        answers={lost.project_id: lost, gone.project_id: gone},
    )
    found = await found_by(atlas, [project(1), project(2), project(3)])
    assert sorted(map(repr, found)) == sorted(
        map(
            repr,
            [ListedInvitations(ListRef(project(1), Source.INVITES), (invitation(1),)), lost, gone],
        )
    )


def all_gone(count):
    return {project(n).id: ProjectGone(project(n).id, f"Project {n}") for n in range(count)}


async def test_one_project_that_went_since_the_survey_is_no_failure():
    (found,) = await found_by(FakeAtlas(answers=all_gone(1)), [project(0)])
    assert isinstance(found, ProjectGone)


async def test_several_of_which_one_is_there_may_have_gone():
    atlas = FakeAtlas(answers=all_gone(3), holds={project(3).id: ()})
    assert len(await found_by(atlas, [project(n) for n in range(4)])) == 4


@pytest.mark.parametrize("count", [2, 20])
async def test_two_that_are_all_gone_are_a_call_that_nobody_knows_and_end_the_run(count):
    atlas = FakeAtlas(answers=all_gone(count))
    with pytest.raises(AtlasUnavailable, match=f"listed {count} projects.*404 to invites"):
        await found_by(atlas, [project(n) for n in range(count)])


@pytest.mark.parametrize("workers", [1, 2, 50])
async def test_many_projects_are_each_asked_once_whatever_the_number_of_workers(workers):
    projects = [project(n) for n in range(20)]
    atlas = FakeAtlas()
    await found_by(atlas, projects, workers=workers)
    assert sorted(atlas.asked) == sorted(p.id for p in projects)


async def test_trouble_with_the_run_ends_the_walk_as_itself():
    atlas = FakeAtlas(answers={project(2).id: AtlasUnavailable("no longer served")})
    with pytest.raises(AtlasUnavailable, match="no longer served"):
        await found_by(atlas, [project(n) for n in range(1, 9)], workers=2)
    assert len(atlas.asked) < 8


async def test_visit_that_fails_ends_the_walk_and_nothing_more_is_asked():
    atlas = FakeAtlas()

    async def visit(_):
        raise AuditLogError("disk full")

    with pytest.raises(AuditLogError):
        await list_invitations(atlas, territory_of(50), (Source.INVITES,), visit, workers=2)
    assert len(atlas.asked) <= 2


async def test_not_more_listings_than_workers_are_in_memory():
    open_now = most = 0

    async def visit(_):
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0)
        open_now -= 1

    await list_invitations(FakeAtlas(), territory_of(30), (Source.INVITES,), visit, workers=4)
    assert 1 <= most <= 4
