"""Every list in scope is read once, and a list that cannot be read is a value."""

import asyncio

import pytest
from builders import OTHER_ORG, invitation, policy, project
from fakes import FakeAtlas

from invite_sweeper.errors import AtlasUnavailable, AuditLogError, GuardRefused
from invite_sweeper.models import ListRef, ListUnreadable, ProjectGone, Source
from invite_sweeper.sweep.discovery import ListedInvitations, discover_projects, list_invitations
from invite_sweeper.sweep.scope import ProjectFilter, RunScope


def scope_of(count):
    return RunScope(tuple(project(n) for n in range(count)))


async def list_all(atlas, projects, workers=3):
    found = []

    async def on_list(outcome):
        found.append(outcome)

    await list_invitations(
        atlas, RunScope(tuple(projects)), (Source.INVITES,), on_list, workers=workers
    )
    return found


async def test_projects_in_scope_keep_the_order_of_atlas():
    own = [project(n) for n in (3, 1, 2)]
    atlas = FakeAtlas(listed=[own[0], project(9, org_id=OTHER_ORG), *own[1:]])
    scope = await discover_projects(atlas, ProjectFilter(policy()))
    assert scope.projects == tuple(own)


async def test_invitations_of_another_organization_are_never_requested():
    foreign = project(9, org_id=OTHER_ORG)
    atlas = FakeAtlas(listed=[project(1), foreign])
    scope = await discover_projects(atlas, ProjectFilter(policy()))
    await list_all(atlas, scope.projects)
    assert atlas.requested == [project(1).id]


async def test_run_without_a_visible_project_of_the_organizations_is_refused():
    atlas = FakeAtlas(listed=[project(1, org_id=OTHER_ORG)])
    with pytest.raises(GuardRefused, match="No project"):
        await discover_projects(atlas, ProjectFilter(policy()))


async def test_empty_list_of_projects_is_refused():
    with pytest.raises(GuardRefused):
        await discover_projects(FakeAtlas(), ProjectFilter(policy()))


async def test_filters_that_exclude_every_project_are_not_an_error():
    atlas = FakeAtlas(listed=[project(1)])
    scope = await discover_projects(atlas, ProjectFilter(policy(projects={"exclude": ["*"]})))
    assert scope.projects == ()
    assert await list_all(atlas, scope.projects) == []


async def test_project_with_an_invalid_id_is_unreadable():
    invalid = ListUnreadable("??", "Odd", "unreadable id")
    scope = await discover_projects(
        FakeAtlas(listed=[project(1), invalid]), ProjectFilter(policy())
    )
    assert scope.unreadable == (invalid,)


async def test_each_list_is_delivered_once_with_its_result():
    unreadable = ListUnreadable(project(2).id, "Project 2", "no role", 401)
    gone = ProjectGone(project(3).id, "Project 3")
    atlas = FakeAtlas(
        lists={project(1).id: (invitation(1, source=Source.INVITES),)},
        list_results={unreadable.project_id: unreadable, gone.project_id: gone},
    )
    found = await list_all(atlas, [project(1), project(2), project(3)])
    assert sorted(map(repr, found)) == sorted(
        map(
            repr,
            [
                ListedInvitations(
                    ListRef(project(1), Source.INVITES), (invitation(1, source=Source.INVITES),)
                ),
                unreadable,
                gone,
            ],
        )
    )


def all_gone(count):
    return {project(n).id: ProjectGone(project(n).id, f"Project {n}") for n in range(count)}


async def test_single_project_that_is_gone_is_not_an_error():
    (found,) = await list_all(FakeAtlas(list_results=all_gone(1)), [project(0)])
    assert isinstance(found, ProjectGone)


async def test_all_but_one_project_may_be_gone():
    atlas = FakeAtlas(list_results=all_gone(3), lists={project(3).id: ()})
    assert len(await list_all(atlas, [project(n) for n in range(4)])) == 4


@pytest.mark.parametrize("count", [2, 20])
async def test_two_or_more_projects_that_are_all_gone_end_the_run(count):
    atlas = FakeAtlas(list_results=all_gone(count))
    with pytest.raises(AtlasUnavailable, match=f"listed {count} projects.*404 to invites"):
        await list_all(atlas, [project(n) for n in range(count)])


@pytest.mark.parametrize("workers", [1, 2, 50])
async def test_each_project_is_requested_once_for_any_number_of_workers(workers):
    projects = [project(n) for n in range(20)]
    atlas = FakeAtlas()
    await list_all(atlas, projects, workers=workers)
    assert sorted(atlas.requested) == sorted(p.id for p in projects)


async def test_error_that_concerns_the_run_is_raised_unchanged():
    atlas = FakeAtlas(list_results={project(2).id: AtlasUnavailable("no longer served")})
    with pytest.raises(AtlasUnavailable, match="no longer served"):
        await list_all(atlas, [project(n) for n in range(1, 9)], workers=2)
    assert len(atlas.requested) < 8


async def test_error_of_the_callback_stops_all_requests():
    atlas = FakeAtlas()

    async def on_list(_):
        raise AuditLogError("disk full")

    with pytest.raises(AuditLogError):
        await list_invitations(atlas, scope_of(50), (Source.INVITES,), on_list, workers=2)
    assert len(atlas.requested) <= 2


async def test_at_most_one_list_per_worker_is_in_memory():
    in_memory = max_in_memory = 0

    async def on_list(_):
        nonlocal in_memory, max_in_memory
        in_memory += 1
        max_in_memory = max(max_in_memory, in_memory)
        await asyncio.sleep(0)
        in_memory -= 1

    await list_invitations(FakeAtlas(), scope_of(30), (Source.INVITES,), on_list, workers=4)
    assert 1 <= max_in_memory <= 4
