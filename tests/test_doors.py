"""What the lists of an organization add: projects that an invitation reaches, several doors."""

import pytest
from builders import NOW, ORG, PROJECT, invitation, object_id, policy, project
from fakes import FakeAtlas, FakeJournal, ListLane

from invite_sweeper.audit import invitation_fields, invitation_from_record
from invite_sweeper.errors import AtlasUnavailable
from invite_sweeper.models import (
    Deletion,
    Outcome,
    Place,
    Planned,
    Project,
    Retired,
    Source,
    organization_place,
    same_person_key,
)
from invite_sweeper.shutdown import Stop
from invite_sweeper.sweep.discovery import survey, walk
from invite_sweeper.sweep.executor import Pace, Sweep
from invite_sweeper.sweep.guards import Breaker
from invite_sweeper.sweep.scope import Scope, Territory
from invite_sweeper.sweep.selection import Selector

A, B = object_id(1), object_id(2)
ORG_LISTS = [Source.ORG_USERS, Source.ORG_INVITES]


def org_invitation(*reaches, source=Source.ORG_INVITES, **changes):
    return invitation(
        project_id=ORG, project_name="", source=source, reaches=tuple(reaches), **changes
    )


def decide(one, **keys):
    return Selector(policy(**keys), NOW).decide(one)


def rule(**matcher):
    return {"rules": [{"name": "r", "older_than": "14d", **matcher}]}


# --- what an organization's invitation reaches -----------------------------------------------


def test_what_reaches_outside_is_kept_whatever_the_rules_say():
    decision = decide(org_invitation((A, "Alpha"), reaches_outside=True))
    assert decision.kept == "reaches_out_of_scope"


@pytest.mark.parametrize("pattern", ["alp*", A])
def test_keep_entry_for_one_of_the_projects_protects(pattern):
    one = org_invitation((A, "Alpha"), (B, "Beta"))
    assert decide(one, keep=[{"name": "k", "projects": [pattern]}]).kept == "keep:k"


def test_rule_for_projects_speaks_only_of_what_reaches_no_other():
    both, alone = org_invitation((A, "Alpha"), (B, "Beta")), org_invitation((A, "Alpha"))
    assert decide(alone, **rule(projects=["alpha"])).rule == "r"
    assert decide(both, **rule(projects=["alpha"])).kept == "no_rule"
    assert decide(both, **rule(projects=["alpha", "beta"])).rule == "r"


def test_rule_for_projects_does_not_speak_of_what_reaches_none():
    for pattern in ("*", ORG):
        assert decide(org_invitation(), **rule(projects=[pattern])).kept == "no_rule"
    assert decide(org_invitation()).stale


def test_roles_in_projects_are_seen_by_a_keep_entry():
    one = org_invitation((A, "Alpha"), roles=("ORG_MEMBER",), origin=((A, "GROUP_OWNER"),))
    for role in ("GROUP_OWNER", "org_member"):
        assert decide(one, keep=[{"name": "k", "roles": [role]}]).kept == "keep:k"
    assert decide(one, keep=[{"name": "k", "roles": ["GROUP_READ_ONLY"]}]).stale


# --- the survey ------------------------------------------------------------------------------


async def test_survey_names_what_is_reached_and_knows_what_is_outside():
    atlas = FakeAtlas(listed=[project(1, name="Alpha"), project(2, name="prod")])
    territory = await survey(atlas, Scope(policy(projects={"exclude": ["prod"]})))
    inside = territory.located(org_invitation((A, "")))
    outside = territory.located(org_invitation((A, ""), (B, "")))
    unseen = territory.located(org_invitation((object_id(9), "")))
    assert (inside.reaches, inside.reaches_outside) == (((A, "Alpha"),), False)
    assert (outside.reaches, outside.reaches_outside) == (((A, "Alpha"), (B, "prod")), True)
    assert (unseen.reaches, unseen.reaches_outside) == (((object_id(9), ""),), True)


async def test_lists_to_read_are_those_of_the_sources_by_organization_and_by_project():
    atlas = FakeAtlas(listed=[project(1), project(2)])
    territory = await survey(atlas, Scope(policy()))
    places = territory.places([Source.USERS, Source.ORG_USERS, Source.INVITES])
    assert places == (
        organization_place(ORG, Source.ORG_USERS),
        Place(project(1), Source.USERS),
        Place(project(1), Source.INVITES),
        Place(project(2), Source.USERS),
        Place(project(2), Source.INVITES),
    )
    assert organization_place(ORG, Source.ORG_USERS).project == Project(ORG, "", ORG)


async def walked(atlas, territory, *sources):
    found = []

    async def visit(one):
        found.append(one)

    await walk(atlas, territory, sources, visit, workers=1)
    return found


def gone_for_good(source):
    return Retired("", "", f"{source} is over.", 410, "VERSION_GONE", source)


async def test_retired_source_is_told_once_and_not_asked_again():
    territory = Territory(tuple(project(n) for n in range(5)))
    over = gone_for_good(Source.USERS)
    atlas = FakeAtlas(answers={(Source.USERS, project(n).id): over for n in range(5)})
    found = await walked(atlas, territory, Source.USERS, Source.INVITES)
    assert found.count(over) == 1
    assert len(found) == len(atlas.asked) == 6


async def test_walk_whose_every_source_is_retired_ends_the_run_and_says_the_hint():
    territory = Territory((project(1),))
    atlas = FakeAtlas(answers={project(1).id: gone_for_good(Source.INVITES)})
    with pytest.raises(AtlasUnavailable) as caught:
        await walked(atlas, territory, Source.INVITES)
    assert "users and org_users instead of invites" in caught.value.hint


# --- the audit log ---------------------------------------------------------------------------


@pytest.mark.parametrize("source", ORG_LISTS)
def test_organization_line_names_no_project_and_reads_back(source):
    one = org_invitation((A, "Alpha"), source=source, origin=((A, "GROUP_OWNER"),))
    fields = invitation_fields(one, NOW)
    assert (fields["project_id"], fields["project_name"], fields["org_id"]) == (None, None, ORG)
    as_read = {
        **fields,
        "rule": "r",
        "roles": list(one.roles),
        "reaches": [[A, "Alpha"]],
        "origin": [[A, "GROUP_OWNER"]],
    }
    assert invitation_from_record(as_read) == (one, "r")


# --- one person, several doors ---------------------------------------------------------------


def test_same_person_is_known_whatever_the_case_and_not_without_an_address():
    one, other = (
        invitation(1, username="Ada@Example.com"),
        invitation(2, username="ada@example.com"),
    )
    assert same_person_key(one) == same_person_key(other) != same_person_key(invitation(3))
    assert same_person_key(invitation(username=None)) is None


def doors(count, username):
    return [
        Planned(invitation(n, username=username(n), project_id=PROJECT), "r")
        for n in range(1, count + 1)
    ]


async def swept(planned, outcome, *, several_doors):
    atlas = FakeAtlas()
    for each in planned[1:]:
        atlas.fails[each.invitation.id] = Deletion(outcome, 1, 404)
    sweep = Sweep(
        atlas,
        FakeJournal(),
        stop=Stop(),
        breaker=Breaker(policy(limits={"breaker_window": 4, "canary": 0}).limits),
        clock=lambda: 0.0,
        pace=Pace(workers=1, canary=0, grace_s=1.0, several_doors=several_doors),
    )
    await sweep.run([ListLane(planned)])
    return sweep.reckoning.broken


async def test_door_that_was_shut_with_another_of_the_same_person_is_no_sign_of_trouble():
    same = doors(20, lambda _: "ada@example.com")
    assert await swept(same, Outcome.ALREADY_GONE, several_doors=True) is None
    assert await swept(same, Outcome.ALREADY_GONE, several_doors=False) is not None


async def test_doors_of_other_people_that_are_gone_still_are():
    many = doors(20, lambda n: f"p{n}@example.com")
    assert await swept(many, Outcome.ALREADY_GONE, several_doors=True) is not None


async def test_failures_count_whoever_they_are_about():
    same = doors(20, lambda _: "ada@example.com")
    assert await swept(same, Outcome.FAILED, several_doors=True) is not None


def test_removed_members_stop_the_sweep_as_failures_do():
    breaker = Breaker(policy(limits={"canary": 3}).limits)
    said = [breaker.record(Outcome.ACCEPTED_DURING) for _ in range(3)]
    assert said == [None, None, "3 of the first 3 deletions (the canary) failed."]


def test_those_who_accepted_in_time_stop_nothing():
    breaker = Breaker(policy(limits={"canary": 3, "breaker_window": 5}).limits)
    assert not any(breaker.record(Outcome.ACCEPTED_BEFORE) for _ in range(50))
