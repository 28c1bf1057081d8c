"""Every list in scope is read once; one that cannot be read is a value; teams link projects."""

from itertools import product

import pytest
from builders import ORG, OTHER_ORG, entry_of, invitation, object_id, policy, project
from hypothesis import given
from hypothesis import strategies as st
from sweep.fakes import FakeAtlas
from sweep.night import QuietView, command_of
from sweep.reads import decided

from invite_sweeper.errors import AtlasUnavailable, GuardRefused
from invite_sweeper.models import ListUnreadable, ProjectGone, Source, SourceRetired
from invite_sweeper.sweep.plan import AtlasOrganization, OrganizationRead
from invite_sweeper.sweep.reading import discover_projects, read_each_list, read_lists
from invite_sweeper.sweep.scope import ProjectFilter, RunScope


async def discover(*listed, **keys):
    rules = policy(**keys)
    atlas = FakeAtlas(listed=list(listed))
    return await discover_projects(atlas, ProjectFilter(rules), ORG)


async def read(atlas, count, *sources, workers=3):
    """Return what becomes of each list of these sources in that number of projects."""
    scope = RunScope(ORG, projects=[project(n) for n in range(1, count + 1)])
    refs = scope.lists(sources or (Source.INVITES,))
    found = await read_each_list(atlas, refs, QuietView(), workers=workers)
    assert [*found] == refs
    return {(ref.project.id, ref.source): answer for ref, answer in found.items()}


@pytest.mark.parametrize(
    ("sources", "source"), [(["invites"], Source.INVITES), (["org_users", "users"], Source.USERS)]
)
async def test_projects_in_scope_keep_the_order_of_atlas_and_others_are_left_out(sources, source):
    """One that cannot be read may be of any organization, and may show its people."""
    own = [project(n) for n in (3, 1, 2)]
    foreign = project(9, org_id=OTHER_ORG)
    odd = [foreign, ListUnreadable("??", "Odd", "unreadable id")]
    keys = {"projects": {"exclude": ["*2"]}, "sources": sources}
    scope = await discover(own[0], *odd, *own[1:], **keys)
    assert (scope.projects, scope.excluded) == (own[:2], [own[2]])
    assert scope.unreadable == [ListUnreadable("??", "Odd", "unreadable id", source=source)]


async def test_run_without_a_visible_project_is_refused_and_with_excluded_ones_alone_it_is_not():
    for listed in ((), (project(1, org_id=OTHER_ORG),)):
        with pytest.raises(GuardRefused, match="No project"):
            await discover(*listed)
    assert (await discover(project(1), projects={"exclude": ["*"]})).projects == []
    assert await read(FakeAtlas(), 0) == {}


def test_lists_of_organizations_are_read_first_and_then_project_by_project():
    scope = RunScope(ORG, projects=[project(1), project(2)])
    refs = scope.lists([Source.USERS, Source.ORG_USERS, Source.INVITES])
    of_projects = product((object_id(1), object_id(2)), (Source.USERS, Source.INVITES))
    found = [(ref.project.id, ref.source) for ref in refs]
    assert found == [(ORG, Source.ORG_USERS), *of_projects]


def gone(*numbers):
    return {object_id(n): ProjectGone(object_id(n)) for n in numbers}


@pytest.mark.parametrize("workers", [1, 50])
async def test_each_list_is_requested_once_and_has_its_result(workers):
    unread = {object_id(2): ListUnreadable(object_id(2), "P", "no role", 401)}
    one = invitation(1, project_id=object_id(3), source=Source.INVITES)
    atlas = FakeAtlas(list_results=gone(1) | unread)
    atlas.show(one)
    lists = {object_id(n): () for n in range(1, 21)} | {one.place_id: (one,)} | gone(1) | unread
    found = await read(atlas, 20, workers=workers)
    assert found == {(id_, Source.INVITES): outcome for id_, outcome in lists.items()}
    assert sorted(atlas.requested) == sorted(lists)


async def test_two_or_more_projects_that_are_all_gone_end_the_run():
    for count, numbers in ((1, [1]), (4, [1, 2, 3])):
        assert len(await read(FakeAtlas(list_results=gone(*numbers)), count)) == count
    with pytest.raises(AtlasUnavailable, match=r"listed 2 projects.*404 to invites"):
        await read(FakeAtlas(list_results=gone(1, 2)), 2)


@pytest.mark.parametrize("source", [Source.INVITES, Source.USERS])
@pytest.mark.parametrize("shown_by", [None, "projects", Source.ORG_USERS, Source.ORG_INVITES])
async def test_404_is_believed_only_of_a_project_that_atlas_shows_nowhere(source, shown_by):
    """Not in its list of projects, and not as the place of a role."""
    listed = [project(1), project(2)] if shown_by == "projects" else [project(2)]
    atlas = FakeAtlas(listed, list_results=gone(1))
    of_organization = [shown_by] if isinstance(shown_by, Source) else []
    for each in of_organization:
        atlas.show(entry_of(each, linked_projects=((object_id(1), ""),)))
    found = (await read(atlas, 2, source, *of_organization))[object_id(1), source]
    if shown_by is None:
        assert found == ProjectGone(object_id(1))
        return
    assert isinstance(found, ListUnreadable)
    shown = found.project_id, found.source, found.http_status, found.error_code
    assert shown == (object_id(1), source, 404, "GROUP_NOT_FOUND")
    assert "still shows the project" in found.reason


async def test_404_is_not_believed_where_the_list_of_projects_is_not_complete():
    listed = [project(2), ListUnreadable("", "", "It changed.")]
    with pytest.raises(AtlasUnavailable, match="changed"):
        await read(FakeAtlas(listed, list_results=gone(1)), 2)


async def test_error_that_concerns_the_run_is_raised_unchanged_and_ends_the_reading():
    atlas = FakeAtlas(list_results={object_id(2): AtlasUnavailable("no longer served")})
    with pytest.raises(AtlasUnavailable, match="no longer served"):
        await read(atlas, 50, workers=2)
    assert len(atlas.requested) < 10


def retired(source, count):
    result = SourceRetired("", "", f"{source} is retired.", 410, "VERSION_GONE", source)
    return {(source, object_id(number)): result for number in range(1, count + 1)}


@pytest.mark.parametrize(("workers", "most"), [(1, 6), (3, 10)])
async def test_retired_source_is_not_requested_again_and_all_its_lists_have_one_reason(
    workers, most
):
    """Also where several of its lists are read at a time."""
    atlas = FakeAtlas(list_results=retired(Source.USERS, 5))
    found = await read(atlas, 5, Source.USERS, Source.INVITES, workers=workers)
    assert 6 <= len(atlas.requested) <= most
    shown = [answer for (_, source), answer in found.items() if source is Source.USERS]
    assert len({id(each) for each in shown}) == 1
    assert isinstance(shown[0], SourceRetired)


async def test_run_ends_with_a_hint_when_every_source_is_retired():
    with pytest.raises(AtlasUnavailable) as caught:
        await read(FakeAtlas(list_results=retired(Source.INVITES, 1)), 1)
    assert caught.value.hint == "In the policy, write `sources: [users, org_users]`."


SANDBOX = object_id(1)
PROD = object_id(2)
OTHER = object_id(3)
TEAM = "7" * 24
TEAM_2 = "8" * 24
PROJECTS = (
    project(1, name="sandbox"),
    project(2, name="prod"),
    project(3, name="other", org_id=OTHER_ORG),
)
WITHOUT_PROD = {"projects": {"exclude": ["prod"]}}
UNREADABLE = ListUnreadable(PROD, "prod", "401 USER_UNAUTHORIZED.")


def invited(number=1, *, source=Source.ORG_USERS, teams=(TEAM,), **changes):
    status = "INVITATION_EXPIRED" if source is Source.ORG_USERS else "PENDING"
    own = {"status": status, "team_ids": teams, "linked_projects": (), **changes}
    return entry_of(source, number, **own)


OF_ORGANIZATION = (Source.ORG_USERS, Source.ORG_INVITES)


async def read_organization(atlas, **keys):
    rules = policy(**{"sources": [str(each) for each in OF_ORGANIZATION], **keys})
    scope = await discover_projects(atlas, ProjectFilter(rules), ORG)
    read = OrganizationRead(AtlasOrganization(ORG, atlas), scope=scope)
    return rules, await read_lists(read, rules, (), QuietView(), workers=2)


async def decide(*invitations, teams=None, listed=PROJECTS, **keys):
    """Return what is decided about invitations to an organization, the reader and the warnings."""
    atlas = FakeAtlas(listed=list(listed), teams=teams or {})
    atlas.show(*invitations)
    rules, read = await read_organization(atlas, **keys)
    found, _ = decided(read, command_of(rules), ended=Source)
    ordered = sorted(found.decisions, key=lambda each: each.invitation.invitation_id)
    return ordered, atlas, [each.message for each in found.warnings]


OUT = "reaches_out_of_scope"
TO_PROD = {PROD: frozenset({TEAM})}
TO_SANDBOX = {SANDBOX: frozenset({TEAM}), PROD: frozenset({TEAM_2})}
IN_SANDBOX = {"linked_projects": ((SANDBOX, ""),)}
KEEP = {"keep": [{"name": "payments", "projects": ["prod"]}]}
ONLY = {"rules": [{"name": "r", "older_than": "14d", "projects": ["sandbox"]}]}
ALL = (SANDBOX, PROD)


@pytest.mark.parametrize("source", [Source.ORG_USERS, Source.ORG_INVITES])
@pytest.mark.parametrize(
    ("changes", "teams", "keys", "verdict", "requested"),
    [
        ({}, TO_PROD, WITHOUT_PROD, OUT, (PROD,)),
        ({}, TO_SANDBOX, WITHOUT_PROD, "forgotten", (PROD,)),
        # Rules and keep entries for projects mean those of teams, too.
        ({}, TO_PROD, KEEP, "keep:payments", ALL),
        (IN_SANDBOX, {SANDBOX: frozenset({TEAM})}, ONLY, "r", ALL),
        (IN_SANDBOX, TO_PROD, ONLY, "no_rule", ALL),
        # No teams are read where they cannot change the decision.
        ({"teams": ()}, TO_PROD, WITHOUT_PROD, "forgotten", ()),
        ({"links_out_of_scope": True}, {}, WITHOUT_PROD, OUT, ()),
        ({"linked_projects": ((object_id(9), ""),)}, {}, {}, OUT, ()),  # not visible
        ({}, TO_PROD, {}, "forgotten", ()),
    ],
)
async def test_invitation_reaches_the_projects_of_its_teams(
    changes, teams, keys, verdict, requested, source
):
    (decision,), atlas, warnings = await decide(
        invited(source=source, **changes), teams=teams, **keys
    )
    assert (decision.rule or decision.keep_reason) == verdict
    assert (tuple(sorted(atlas.teams_requested)), warnings) == (requested, [])


async def test_projects_of_roles_and_teams_are_linked_with_the_names_that_are_known():
    hidden = invited(2, teams=(), linked_projects=((object_id(9), ""), (OTHER, "")))
    found, _, _ = await decide(invited(**IN_SANDBOX), hidden, teams=TO_PROD, **WITHOUT_PROD)
    assert [each.invitation.linked_projects for each in found] == [
        ((SANDBOX, "sandbox"), (PROD, "prod")),
        ((object_id(9), ""), (OTHER, "other")),
    ]


async def test_teams_that_cannot_be_read_are_a_warning_and_are_read_once_for_both_lists():
    own = invited(1), invited(2, source=Source.ORG_INVITES)
    _, atlas, (warning,) = await decide(*own, teams={PROD: UNREADABLE}, **WITHOUT_PROD)
    assert warning.startswith("The teams of 1 project could not be read")
    assert "prod: 401 USER_UNAUTHORIZED." in warning
    assert atlas.teams_requested == [PROD]


async def test_list_of_projects_that_is_not_known_keeps_every_invitation_with_a_team():
    changed = ListUnreadable("", "", "The list of projects changed.")
    decisions, _, _ = await decide(invited(1), invited(2, teams=()), listed=(*PROJECTS, changed))
    assert [decision.keep_reason for decision in decisions] == [OUT, None]


async def test_teams_that_are_read_in_part_end_the_reading():
    atlas = FakeAtlas(list(PROJECTS), teams={PROD: AtlasUnavailable("no longer served")})
    atlas.show(*(invited(source=each) for each in OF_ORGANIZATION))
    with pytest.raises(AtlasUnavailable):
        await read_organization(atlas, **WITHOUT_PROD)


TEAM_LISTS = st.one_of(st.just(UNREADABLE), st.frozensets(st.sampled_from([TEAM, TEAM_2])))
PEOPLE = st.lists(st.lists(st.sampled_from([TEAM, TEAM_2]), unique=True), min_size=1, max_size=4)


@given(
    people=PEOPLE,
    teams=st.tuples(*[TEAM_LISTS] * 4),
    excluded=st.frozensets(st.sampled_from(range(4)), max_size=4),
    sources=st.lists(st.sampled_from([Source.ORG_USERS, Source.ORG_INVITES]), min_size=4),
)
async def test_no_invitation_that_may_reach_an_excluded_project_is_stale(
    people, teams, excluded, sources
):
    """Recompute from the teams alone which invitations had to stay."""
    listed = [project(10 + n, name=f"p{n}") for n in range(4)]
    by_project = {each.id: found for each, found in zip(listed, teams, strict=True)}
    decisions, _, _ = await decide(
        *(invited(n, teams=tuple(t), source=sources[n]) for n, t in enumerate(people)),
        listed=[project(99, name="p-in-scope"), *listed],
        teams=by_project,
        projects={"exclude": [f"p{n}" for n in sorted(excluded)]},
    )
    assert len(decisions) == len(people)
    for decision in decisions:
        may_reach = any(
            isinstance(teams[n], ListUnreadable) or team in teams[n]
            for n, team in product(excluded, decision.invitation.team_ids)
        )
        assert decision.stale is not may_reach


@pytest.mark.parametrize("source", Source)
async def test_inviter_that_is_an_api_key_gets_the_name_of_the_key_which_is_read_once(source):
    atlas = FakeAtlas([project(1)], api_keys={"wkzjqvtb": "terraform payments"})
    inviters = ("wkzjqvtb", "boss@example.com", "qqqqqqqq", None)
    place = {} if source.is_organization_level else {"project_id": object_id(1)}
    rows = [
        entry_of(source, number, inviter=each, linked_projects=(), project_roles=(), **place)
        for number, each in enumerate(inviters)
    ]
    keys = {"sources": [str(source)]}
    atlas.show(*rows[1::2])
    await read_organization(atlas, **keys)
    assert atlas.keys_requested == []
    atlas.show(*rows[::2])
    rules, read = await read_organization(atlas, **keys)
    found, _ = decided(read, command_of(rules))
    labels = {each.invitation.inviter_label for each in found.decisions}
    assert labels == {"API key 'terraform payments' (wkzjqvtb)", *inviters[1:]}
    assert atlas.keys_requested == [ORG]
