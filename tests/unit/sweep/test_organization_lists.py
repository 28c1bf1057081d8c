"""Lists of organizations: linked projects, and duplicate invitations of one user."""

import pytest
from builders import NOW, ORG, invitation, object_id, policy, project
from fakes import FakeAtlas

from invite_sweeper.errors import AtlasUnavailable
from invite_sweeper.models import (
    ListRef,
    Outcome,
    Project,
    Source,
    SourceRetired,
    organization_list_ref,
)
from invite_sweeper.sweep.discovery import discover_projects, list_invitations
from invite_sweeper.sweep.guards import CircuitBreaker
from invite_sweeper.sweep.scope import ProjectFilter, RunScope
from invite_sweeper.sweep.selection import Selector

A, B = object_id(1), object_id(2)
ORG_LISTS = [Source.ORG_USERS, Source.ORG_INVITES]


def org_invitation(*linked, source=Source.ORG_INVITES, **changes):
    return invitation(
        project_id=ORG, project_name="", source=source, linked_projects=tuple(linked), **changes
    )


def decide(one, **keys):
    return Selector(policy(**keys), NOW).decide(one)


def rule(**keys):
    return {"rules": [{"name": "r", "older_than": "14d", **keys}]}


# --- linked projects -------------------------------------------------------------------------


def test_invitation_linked_to_a_project_out_of_scope_is_kept():
    decision = decide(org_invitation((A, "Alpha"), links_out_of_scope=True))
    assert decision.keep_reason == "reaches_out_of_scope"


@pytest.mark.parametrize("pattern", ["alp*", A])
def test_keep_entry_for_one_of_the_linked_projects_keeps(pattern):
    one = org_invitation((A, "Alpha"), (B, "Beta"))
    assert decide(one, keep=[{"name": "k", "projects": [pattern]}]).keep_reason == "keep:k"


def test_rule_for_projects_must_match_all_linked_projects():
    both, alone = org_invitation((A, "Alpha"), (B, "Beta")), org_invitation((A, "Alpha"))
    assert decide(alone, **rule(projects=["alpha"])).rule == "r"
    assert decide(both, **rule(projects=["alpha"])).keep_reason == "no_rule"
    assert decide(both, **rule(projects=["alpha", "beta"])).rule == "r"


def test_rule_for_projects_does_not_match_without_linked_projects():
    for pattern in ("*", ORG):
        assert decide(org_invitation(), **rule(projects=[pattern])).keep_reason == "no_rule"
    assert decide(org_invitation()).stale


def test_keep_entry_for_roles_matches_roles_in_linked_projects():
    one = org_invitation((A, "Alpha"), roles=("ORG_MEMBER",), project_roles=((A, "GROUP_OWNER"),))
    for role in ("GROUP_OWNER", "org_member"):
        assert decide(one, keep=[{"name": "k", "roles": [role]}]).keep_reason == "keep:k"
    assert decide(one, keep=[{"name": "k", "roles": ["GROUP_READ_ONLY"]}]).stale


# --- discovery -------------------------------------------------------------------------------


async def test_linked_projects_are_named_and_marked_if_out_of_scope():
    atlas = FakeAtlas(listed=[project(1, name="Alpha"), project(2, name="prod")])
    scope = await discover_projects(atlas, ProjectFilter(policy(projects={"exclude": ["prod"]})))
    inside = scope.with_project_names(org_invitation((A, "")))
    outside = scope.with_project_names(org_invitation((A, ""), (B, "")))
    unseen = scope.with_project_names(org_invitation((object_id(9), "")))
    assert (inside.linked_projects, inside.links_out_of_scope) == (((A, "Alpha"),), False)
    assert (outside.linked_projects, outside.links_out_of_scope) == (
        ((A, "Alpha"), (B, "prod")),
        True,
    )
    assert (unseen.linked_projects, unseen.links_out_of_scope) == (((object_id(9), ""),), True)


async def test_lists_are_ordered_organizations_first_then_by_project():
    atlas = FakeAtlas(listed=[project(1), project(2)])
    scope = await discover_projects(atlas, ProjectFilter(policy()))
    list_refs = scope.lists([Source.USERS, Source.ORG_USERS, Source.INVITES])
    assert list_refs == (
        organization_list_ref(ORG, Source.ORG_USERS),
        ListRef(project(1), Source.USERS),
        ListRef(project(1), Source.INVITES),
        ListRef(project(2), Source.USERS),
        ListRef(project(2), Source.INVITES),
    )
    assert organization_list_ref(ORG, Source.ORG_USERS).project == Project(ORG, "", ORG)


async def list_all(atlas, scope, *sources):
    found = []

    async def on_list(_, outcome):
        found.append(outcome)

    await list_invitations(atlas, scope, sources, on_list, workers=1)
    return found


def retired(source):
    return SourceRetired("", "", f"{source} is retired.", 410, "VERSION_GONE", source)


async def test_retired_source_is_reported_once_and_not_requested_again():
    scope = RunScope(tuple(project(n) for n in range(5)))
    result = retired(Source.USERS)
    atlas = FakeAtlas(list_results={(Source.USERS, project(n).id): result for n in range(5)})
    found = await list_all(atlas, scope, Source.USERS, Source.INVITES)
    assert found.count(result) == 1
    assert len(found) == len(atlas.requested) == 6


async def test_run_ends_with_a_hint_when_every_source_is_retired():
    scope = RunScope((project(1),))
    atlas = FakeAtlas(list_results={project(1).id: retired(Source.INVITES)})
    with pytest.raises(AtlasUnavailable) as caught:
        await list_all(atlas, scope, Source.INVITES)
    assert "users and org_users instead of invites" in caught.value.hint


# --- duplicate invitations of one user -------------------------------------------------------


def test_user_key_ignores_case_and_falls_back_to_the_id():
    one, other = (
        invitation(1, username="Ada@Example.com", source=Source.INVITES),
        invitation(2, username="ada@example.com", source=Source.INVITES),
    )
    assert one.user_key == other.user_key != invitation(3, source=Source.INVITES).user_key
    assert invitation(4, username=None, source=Source.INVITES).user_key == (ORG, f"#{object_id(4)}")


def test_removed_members_open_the_breaker_like_failures():
    breaker = CircuitBreaker(policy(limits={"canary": 3}).limits)
    reasons = [breaker.record(Outcome.ACCEPTED_DURING) for _ in range(3)]
    assert reasons == [None, None, "3 of the first 3 deletions (the canary) failed."]


def test_users_who_accepted_before_do_not_open_the_breaker():
    breaker = CircuitBreaker(policy(limits={"canary": 3, "breaker_window": 5}).limits)
    assert not any(breaker.record(Outcome.ACCEPTED_BEFORE) for _ in range(50))
