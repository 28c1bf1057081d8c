"""An invitation with a team is linked to the projects that the team has access to."""

from itertools import product

import pytest
from builders import NOW, ORG, OTHER_ORG, invitation, object_id, policy, project
from fakes import FakeAtlas
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.sweep.discovery import discover_projects, list_invitations
from invite_sweeper.sweep.scope import ProjectFilter
from invite_sweeper.sweep.selection import Selector

SANDBOX, PROD, OTHER = object_id(1), object_id(2), object_id(3)
TEAM, TEAM_2 = "7" * 24, "8" * 24
PROJECTS = (
    project(1, name="sandbox"),
    project(2, name="prod"),
    project(3, name="other", org_id=OTHER_ORG),
)
WITHOUT_PROD = {"projects": {"exclude": ["prod"]}}
UNREADABLE = ListUnreadable(PROD, "prod", "401 USER_UNAUTHORIZED.")


def invited(number=1, *, source=Source.ORG_USERS, teams=(TEAM,), **changes):
    """Return an invitation that every rule of age makes stale."""
    return invitation(
        number,
        project_id=ORG,
        project_name="",
        source=source,
        status="INVITATION_EXPIRED" if source is Source.ORG_USERS else "PENDING",
        team_ids=teams,
        **changes,
    )


async def decide(*invitations, teams=None, listed=PROJECTS, **keys):
    """Return the decisions about invitations to an organization, the reader and the warnings."""
    rules = policy(**keys)
    by_source = {}
    for one in invitations:
        by_source.setdefault((one.source, ORG), []).append(one)
    atlas = FakeAtlas(
        listed=list(listed),
        lists={key: tuple(found) for key, found in by_source.items()},
        teams=teams or {},
    )
    found = []

    async def on_list(_, invitations):
        found.extend(invitations)

    scope = await discover_projects(atlas, ProjectFilter(rules))
    sources = [Source.ORG_USERS, Source.ORG_INVITES]
    warnings = await list_invitations(atlas, scope, sources, on_list, workers=2)
    selector = Selector(rules, NOW)
    return [selector.decide(one) for one in found], atlas, warnings


@pytest.mark.parametrize("source", [Source.ORG_USERS, Source.ORG_INVITES])
async def test_team_with_access_to_an_excluded_project_keeps(source):
    (decision,), _, _ = await decide(
        invited(source=source), teams={PROD: frozenset({TEAM})}, **WITHOUT_PROD
    )
    assert decision.keep_reason == "reaches_out_of_scope"
    assert decision.invitation.linked_projects == ((PROD, "prod"),)


async def test_team_without_access_to_an_excluded_project_is_stale():
    (decision,), _, warnings = await decide(
        invited(), teams={PROD: frozenset({TEAM_2}), SANDBOX: frozenset({TEAM})}, **WITHOUT_PROD
    )
    assert (decision.stale, warnings) == (True, ())


async def test_one_of_two_teams_with_access_to_an_excluded_project_keeps():
    (decision,), _, _ = await decide(
        invited(teams=(TEAM_2, TEAM)), teams={PROD: frozenset({TEAM})}, **WITHOUT_PROD
    )
    assert decision.keep_reason == "reaches_out_of_scope"


async def test_unreadable_teams_of_one_project_keep_every_invitation_with_a_team_and_warn():
    listed = (*PROJECTS, project(4, name="prod-2"))
    decisions, _, warnings = await decide(
        invited(1),
        invited(2, teams=(TEAM_2,)),
        invited(3, teams=()),
        invited(4, source=Source.ORG_INVITES),
        listed=listed,
        teams={PROD: UNREADABLE},
        projects={"exclude": ["prod*"]},
    )
    reasons = sorted((d.invitation.id, d.keep_reason) for d in decisions)
    assert [reason for _, reason in reasons] == [
        "reaches_out_of_scope",
        "reaches_out_of_scope",
        None,
        "reaches_out_of_scope",
    ]
    (warning,) = warnings
    assert warning.startswith("The teams of 1 project could not be read")
    assert "prod: 401 USER_UNAUTHORIZED." in warning


async def test_project_with_an_invalid_id_keeps_every_invitation_with_a_team():
    listed = (*PROJECTS, ListUnreadable("X", "odd", "The project id is malformed."))
    decisions, _, _ = await decide(invited(1), invited(2, teams=()), listed=listed)
    assert [d.keep_reason for d in decisions] == ["reaches_out_of_scope", None]


async def test_teams_are_read_once_for_both_lists_and_only_of_excluded_projects():
    _, atlas, _ = await decide(invited(1), invited(2, source=Source.ORG_INVITES), **WITHOUT_PROD)
    assert atlas.teams_requested == [PROD]


@pytest.mark.parametrize(
    ("one", "keys"),
    [
        (invited(teams=()), WITHOUT_PROD),
        (invited(links_out_of_scope=True), WITHOUT_PROD),
        (invited(linked_projects=((PROD, ""),)), WITHOUT_PROD),
        (invited(), {}),
    ],
    ids=["no team", "unknown links", "linked by a role", "every project in scope"],
)
async def test_no_teams_are_read_where_they_cannot_change_the_decision(one, keys):
    _, atlas, _ = await decide(one, **keys)
    assert atlas.teams_requested == []


async def test_role_in_a_project_in_scope_does_not_hide_a_team_in_an_excluded_one():
    (decision,), _, _ = await decide(
        invited(linked_projects=((SANDBOX, ""),)), teams={PROD: frozenset({TEAM})}, **WITHOUT_PROD
    )
    assert decision.keep_reason == "reaches_out_of_scope"
    assert decision.invitation.linked_projects == ((SANDBOX, "sandbox"), (PROD, "prod"))


async def test_keep_entry_for_a_project_keeps_an_invitation_that_reaches_it_by_a_team():
    entry = {"name": "payments", "projects": ["prod"]}
    (decision,), atlas, _ = await decide(invited(), teams={PROD: frozenset({TEAM})}, keep=[entry])
    assert decision.keep_reason == "keep:payments"
    assert sorted(atlas.teams_requested) == [SANDBOX, PROD]


async def test_rule_for_projects_must_match_the_projects_of_teams_too():
    rules = [{"name": "r", "older_than": "14d", "projects": ["sandbox"]}]
    one = invited(linked_projects=((SANDBOX, ""),))
    (alone,), _, _ = await decide(one, teams={SANDBOX: frozenset({TEAM})}, rules=rules)
    (both,), _, _ = await decide(one, teams={PROD: frozenset({TEAM})}, rules=rules)
    assert (alone.rule, both.keep_reason) == ("r", "no_rule")


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


async def test_linked_project_of_a_team_that_is_not_visible_has_an_empty_name():
    (decision,), _, _ = await decide(
        invited(linked_projects=((SANDBOX, ""),)),
        teams={PROD: frozenset({TEAM})},
        **WITHOUT_PROD,
    )
    assert decision.invitation.linked_projects == ((SANDBOX, "sandbox"), (PROD, "prod"))


async def test_list_of_projects_that_changed_while_it_was_read_keeps_invitations_with_a_team():
    changed = ListUnreadable("", "", "The list of projects changed.")
    (decision,), _, _ = await decide(invited(), listed=[*PROJECTS, changed])

    assert not decision.stale
