"""Every list in scope is read once, and a list that cannot be read is a value."""

import pytest
from builders import ORG, OTHER_ORG, entry_of, invitation, object_id, policy, project
from fakes import FakeAtlas

from invite_sweeper.errors import AtlasUnavailable, AuditLogError, GuardRefused
from invite_sweeper.models import ListUnreadable, ProjectGone, Source, SourceRetired
from invite_sweeper.sweep.discovery import discover_projects, list_invitations
from invite_sweeper.sweep.scope import ProjectFilter, RunScope


async def discover(*listed, **keys):
    rules, atlas = policy(**keys), FakeAtlas(listed=list(listed))
    return await discover_projects(atlas, ProjectFilter(rules), ORG)


async def list_all(atlas, count, *, workers=3, on_list=None, sources=(Source.INVITES,)):
    found = []

    async def add(ref, outcome):
        found.append((ref.project.id, outcome))

    scope = RunScope(ORG, projects=[project(n) for n in range(count)])
    await list_invitations(atlas, scope, sources, on_list or add, workers=workers)
    return found


# Projects ----------------------------------------------------------------------------------------


async def test_projects_in_scope_keep_the_order_of_atlas_and_others_are_left_out():
    own, foreign = [project(n) for n in (3, 1, 2)], project(9, org_id=OTHER_ORG)
    invalid = ListUnreadable("??", "Odd", "unreadable id")
    scope = await discover(own[0], foreign, invalid, *own[1:], projects={"exclude": ["*2"]})
    assert (scope.projects, scope.excluded) == (own[:2], [own[2]])
    assert scope.unreadable == [invalid]


@pytest.mark.parametrize("listed", [(), (project(1, org_id=OTHER_ORG),)], ids=["none", "another's"])
async def test_run_without_a_visible_project_of_the_organizations_is_refused(listed):
    with pytest.raises(GuardRefused, match="No project"):
        await discover(*listed)


async def test_filters_that_exclude_every_project_are_not_an_error():
    assert (await discover(project(1), projects={"exclude": ["*"]})).projects == []
    assert await list_all(FakeAtlas(), 0) == []


@pytest.mark.parametrize(
    ("linked", "named", "is_outside"),
    [
        ((1,), ("Project 1",), False),
        ((1, 2), ("Project 1", "Project 2"), True),
        ((9,), ("",), True),
    ],
    ids=["in scope", "excluded", "not visible"],
)
async def test_linked_projects_are_named_and_marked_if_out_of_scope(linked, named, is_outside):
    scope = await discover(project(1), project(2), projects={"exclude": ["*2"]})
    links = tuple((object_id(n), "") for n in linked)
    one = scope.with_project_names(entry_of(Source.ORG_USERS, linked_projects=links))
    assert [name for _, name in one.linked_projects] == list(named)
    assert one.links_out_of_scope is is_outside


def test_lists_of_organizations_are_read_first_and_then_project_by_project():
    scope = RunScope(ORG, projects=[project(1), project(2)])
    refs = scope.lists([Source.USERS, Source.ORG_USERS, Source.INVITES])
    assert [(ref.project.id, ref.source) for ref in refs] == [
        (ORG, Source.ORG_USERS),
        (object_id(1), Source.USERS),
        (object_id(1), Source.INVITES),
        (object_id(2), Source.USERS),
        (object_id(2), Source.INVITES),
    ]


# Lists -------------------------------------------------------------------------------------------


def all_gone(count):
    return {project(n).id: ProjectGone(project(n).id) for n in range(count)}


@pytest.mark.parametrize("workers", [1, 2, 50])
async def test_each_list_is_requested_and_delivered_once_with_its_result(workers):
    results = {**all_gone(1), project(2).id: ListUnreadable(project(2).id, "P", "no role", 401)}
    one = invitation(1, source=Source.INVITES)
    atlas = FakeAtlas(lists={project(1).id: (one,)}, list_results=results)
    found = await list_all(atlas, 20, workers=workers)
    lists = {project(n).id: () for n in range(20)} | {project(1).id: (one,)} | results
    assert sorted(found, key=lambda each: each[0]) == sorted(lists.items())
    assert sorted(atlas.requested) == sorted(lists)


@pytest.mark.parametrize(("count", "gone", "ends"), [(1, 1, False), (4, 3, False), (2, 2, True)])
async def test_two_or_more_projects_that_are_all_gone_end_the_run(count, gone, ends):
    atlas = FakeAtlas(list_results=all_gone(gone))
    if not ends:
        assert len(await list_all(atlas, count)) == count
        return
    with pytest.raises(AtlasUnavailable, match=f"listed {count} projects.*404 to invites"):
        await list_all(atlas, count)


async def test_error_that_concerns_the_run_is_raised_unchanged_and_ends_the_reading():
    atlas = FakeAtlas(list_results={project(2).id: AtlasUnavailable("no longer served")})
    with pytest.raises(AtlasUnavailable, match="no longer served"):
        await list_all(atlas, 50, workers=2)
    assert len(atlas.requested) < 10


async def test_error_of_the_callback_ends_the_reading():
    atlas = FakeAtlas()

    async def on_list(*_):
        raise AuditLogError("disk full")

    with pytest.raises(AuditLogError):
        await list_all(atlas, 50, workers=2, on_list=on_list)
    assert len(atlas.requested) <= 2


def retired(source, count):
    result = SourceRetired("", "", f"{source} is retired.", 410, "VERSION_GONE", source)
    keys = [
        object_id(n) if source is Source.INVITES else (source, object_id(n)) for n in range(count)
    ]
    return dict.fromkeys(keys, result)


async def test_retired_source_is_reported_once_and_not_requested_again():
    atlas = FakeAtlas(list_results=retired(Source.USERS, 5))
    found = await list_all(atlas, 5, sources=(Source.USERS, Source.INVITES), workers=1)
    assert len(found) == len(atlas.requested) == 6
    assert sum(isinstance(each, SourceRetired) for _, each in found) == 1


async def test_run_ends_with_a_hint_when_every_source_is_retired():
    with pytest.raises(AtlasUnavailable) as caught:
        await list_all(FakeAtlas(list_results=retired(Source.INVITES, 1)), 1)
    assert "users and org_users instead of invites" in caught.value.hint
