"""What the lists of an organization add: projects that an invitation reaches, several doors."""

import pytest
from builders import NOW, ORG, PROJECT, invitation, object_id, policy, project
from fakes import FakeAtlas, FakeDeletionLog, ListQueue

from invite_sweeper.audit import invitation_fields, invitation_from_record
from invite_sweeper.errors import AtlasUnavailable
from invite_sweeper.models import (
    DeletionResult,
    ListRef,
    Outcome,
    PlannedDeletion,
    Project,
    Source,
    SourceRetired,
    organization_list_ref,
    user_key,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.discovery import discover_projects, list_invitations
from invite_sweeper.sweep.executor import ExecutorOptions, SweepExecutor
from invite_sweeper.sweep.guards import CircuitBreaker
from invite_sweeper.sweep.scope import ProjectFilter, RunScope
from invite_sweeper.sweep.selection import Selector

A, B = object_id(1), object_id(2)
ORG_LISTS = [Source.ORG_USERS, Source.ORG_INVITES]


def org_invitation(*reaches, source=Source.ORG_INVITES, **changes):
    return invitation(
        project_id=ORG, project_name="", source=source, linked_projects=tuple(reaches), **changes
    )


def decide(one, **keys):
    return Selector(policy(**keys), NOW).decide(one)


def rule(**matcher):
    return {"rules": [{"name": "r", "older_than": "14d", **matcher}]}


# --- what an organization's invitation reaches -----------------------------------------------


def test_what_reaches_outside_is_kept_whatever_the_rules_say():
    decision = decide(org_invitation((A, "Alpha"), links_out_of_scope=True))
    assert decision.keep_reason == "reaches_out_of_scope"


@pytest.mark.parametrize("pattern", ["alp*", A])
def test_keep_entry_for_one_of_the_projects_protects(pattern):
    one = org_invitation((A, "Alpha"), (B, "Beta"))
    assert decide(one, keep=[{"name": "k", "projects": [pattern]}]).keep_reason == "keep:k"


def test_rule_for_projects_speaks_only_of_what_reaches_no_other():
    both, alone = org_invitation((A, "Alpha"), (B, "Beta")), org_invitation((A, "Alpha"))
    assert decide(alone, **rule(projects=["alpha"])).rule == "r"
    assert decide(both, **rule(projects=["alpha"])).keep_reason == "no_rule"
    assert decide(both, **rule(projects=["alpha", "beta"])).rule == "r"


def test_rule_for_projects_does_not_speak_of_what_reaches_none():
    for pattern in ("*", ORG):
        assert decide(org_invitation(), **rule(projects=[pattern])).keep_reason == "no_rule"
    assert decide(org_invitation()).stale


def test_roles_in_projects_are_seen_by_a_keep_entry():
    one = org_invitation((A, "Alpha"), roles=("ORG_MEMBER",), project_roles=((A, "GROUP_OWNER"),))
    for role in ("GROUP_OWNER", "org_member"):
        assert decide(one, keep=[{"name": "k", "roles": [role]}]).keep_reason == "keep:k"
    assert decide(one, keep=[{"name": "k", "roles": ["GROUP_READ_ONLY"]}]).stale


# --- the survey ------------------------------------------------------------------------------


async def test_survey_names_what_is_reached_and_knows_what_is_outside():
    atlas = FakeAtlas(listed=[project(1, name="Alpha"), project(2, name="prod")])
    territory = await discover_projects(
        atlas, ProjectFilter(policy(projects={"exclude": ["prod"]}))
    )
    inside = territory.with_project_names(org_invitation((A, "")))
    outside = territory.with_project_names(org_invitation((A, ""), (B, "")))
    unseen = territory.with_project_names(org_invitation((object_id(9), "")))
    assert (inside.linked_projects, inside.links_out_of_scope) == (((A, "Alpha"),), False)
    assert (outside.linked_projects, outside.links_out_of_scope) == (
        ((A, "Alpha"), (B, "prod")),
        True,
    )
    assert (unseen.linked_projects, unseen.links_out_of_scope) == (((object_id(9), ""),), True)


async def test_lists_to_read_are_those_of_the_sources_by_organization_and_by_project():
    atlas = FakeAtlas(listed=[project(1), project(2)])
    territory = await discover_projects(atlas, ProjectFilter(policy()))
    places = territory.lists([Source.USERS, Source.ORG_USERS, Source.INVITES])
    assert places == (
        organization_list_ref(ORG, Source.ORG_USERS),
        ListRef(project(1), Source.USERS),
        ListRef(project(1), Source.INVITES),
        ListRef(project(2), Source.USERS),
        ListRef(project(2), Source.INVITES),
    )
    assert organization_list_ref(ORG, Source.ORG_USERS).project == Project(ORG, "", ORG)


async def walked(atlas, territory, *sources):
    found = []

    async def visit(one):
        found.append(one)

    await list_invitations(atlas, territory, sources, visit, workers=1)
    return found


def gone_for_good(source):
    return SourceRetired("", "", f"{source} is over.", 410, "VERSION_GONE", source)


async def test_retired_source_is_told_once_and_not_asked_again():
    territory = RunScope(tuple(project(n) for n in range(5)))
    over = gone_for_good(Source.USERS)
    atlas = FakeAtlas(answers={(Source.USERS, project(n).id): over for n in range(5)})
    found = await walked(atlas, territory, Source.USERS, Source.INVITES)
    assert found.count(over) == 1
    assert len(found) == len(atlas.asked) == 6


async def test_walk_whose_every_source_is_retired_ends_the_run_and_says_the_hint():
    territory = RunScope((project(1),))
    atlas = FakeAtlas(answers={project(1).id: gone_for_good(Source.INVITES)})
    with pytest.raises(AtlasUnavailable) as caught:
        await walked(atlas, territory, Source.INVITES)
    assert "users and org_users instead of invites" in caught.value.hint


# --- the audit log ---------------------------------------------------------------------------


@pytest.mark.parametrize("source", ORG_LISTS)
def test_organization_line_names_no_project_and_reads_back(source):
    one = org_invitation((A, "Alpha"), source=source, project_roles=((A, "GROUP_OWNER"),))
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
    assert user_key(one) == user_key(other) != user_key(invitation(3))
    assert user_key(invitation(username=None)) is None


def doors(count, username):
    return [
        PlannedDeletion(invitation(n, username=username(n), project_id=PROJECT), "r")
        for n in range(1, count + 1)
    ]


async def swept(planned, outcome, *, several_doors):
    atlas = FakeAtlas()
    for each in planned[1:]:
        atlas.fails[each.invitation.id] = DeletionResult(outcome, 1, 404)
    sweep = SweepExecutor(
        atlas,
        FakeDeletionLog(),
        stop=StopRequest(),
        breaker=CircuitBreaker(policy(limits={"breaker_window": 4, "canary": 0}).limits),
        clock=lambda: 0.0,
        options=ExecutorOptions(workers=1, canary=0, grace_s=1.0, multiple_sources=several_doors),
    )
    await sweep.run([ListQueue(planned)])
    return sweep.recorder.breaker_reason


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
    breaker = CircuitBreaker(policy(limits={"canary": 3}).limits)
    said = [breaker.record(Outcome.ACCEPTED_DURING) for _ in range(3)]
    assert said == [None, None, "3 of the first 3 deletions (the canary) failed."]


def test_those_who_accepted_in_time_stop_nothing():
    breaker = CircuitBreaker(policy(limits={"canary": 3, "breaker_window": 5}).limits)
    assert not any(breaker.record(Outcome.ACCEPTED_BEFORE) for _ in range(50))
