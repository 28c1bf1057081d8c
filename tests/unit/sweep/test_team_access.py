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
        project_id=None,
        project_name=None,
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

    scope = await discover_projects(atlas, ProjectFilter(rules), ORG)
    sources = [Source.ORG_USERS, Source.ORG_INVITES]
    warnings = await list_invitations(atlas, scope, sources, on_list, workers=2)
    selector = Selector(rules, NOW)
    return [selector.decide(one) for one in found], atlas, warnings


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
        ({"teams": (TEAM_2, TEAM)}, TO_PROD, WITHOUT_PROD, OUT, (PROD,)),
        (IN_SANDBOX, TO_PROD, WITHOUT_PROD, OUT, (PROD,)),
        # Rules and keep entries for projects mean those of teams, too.
        ({}, TO_PROD, KEEP, "keep:payments", ALL),
        (IN_SANDBOX, {SANDBOX: frozenset({TEAM})}, ONLY, "r", ALL),
        (IN_SANDBOX, TO_PROD, ONLY, "no_rule", ALL),
        # No teams are read where they cannot change the decision.
        ({"teams": ()}, TO_PROD, WITHOUT_PROD, "forgotten", ()),
        ({"links_out_of_scope": True}, {}, WITHOUT_PROD, OUT, ()),
        ({"linked_projects": ((PROD, ""),)}, {}, WITHOUT_PROD, OUT, ()),
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
    assert (tuple(sorted(atlas.teams_requested)), warnings) == (requested, ())


async def test_projects_of_roles_and_teams_are_linked_with_their_names():
    (decision,), _, _ = await decide(invited(**IN_SANDBOX), teams=TO_PROD, **WITHOUT_PROD)
    assert decision.invitation.linked_projects == ((SANDBOX, "sandbox"), (PROD, "prod"))


async def test_unreadable_teams_of_one_project_keep_every_invitation_with_a_team_and_warn():
    listed = (*PROJECTS, project(4, name="prod-2"))
    own = [invited(1), invited(2, teams=(TEAM_2,)), invited(4, source=Source.ORG_INVITES)]
    decisions, atlas, (warning,) = await decide(
        *own,
        invited(3, teams=()),
        listed=listed,
        teams={PROD: UNREADABLE},
        projects={"exclude": ["prod*"]},
    )
    reasons = {decision.invitation.invitation_id: decision.keep_reason for decision in decisions}
    assert reasons == {object_id(n): None if n == 3 else OUT for n in (1, 2, 3, 4)}
    assert warning.startswith("The teams of 1 project could not be read")
    assert "prod: 401 USER_UNAUTHORIZED." in warning
    assert sorted(atlas.teams_requested) == [PROD, object_id(4)]  # once for both lists


@pytest.mark.parametrize(
    "odd",
    [
        ListUnreadable("X", "odd", "The project id is malformed."),
        ListUnreadable("", "", "The list of projects changed."),
    ],
    ids=["malformed", "changed"],
)
async def test_list_of_projects_that_is_not_known_keeps_every_invitation_with_a_team(odd):
    decisions, _, _ = await decide(invited(1), invited(2, teams=()), listed=(*PROJECTS, odd))
    assert [decision.keep_reason for decision in decisions] == [OUT, None]


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
