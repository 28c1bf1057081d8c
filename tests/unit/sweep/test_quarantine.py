"""The effect of a policy that is not accepted yet."""

from datetime import timedelta

import pytest
from builders import (
    NOW,
    OTHER_ORG,
    PROJECT,
    invitation,
    policy,
    project,
)

from invite_sweeper.audit import DeletionCounts
from invite_sweeper.models import Source
from invite_sweeper.sweep.accepted_policy import (
    AcceptedPolicy,
)
from invite_sweeper.sweep.quarantine import PolicyChange
from invite_sweeper.sweep.scope import RunScope
from invite_sweeper.sweep.selection import Selector


def quarantined(**keys):
    return policy(**{"limits": {"quarantine": True}, **keys})


NEW = quarantined(rules=[{"name": "sooner", "older_than": "3d"}])
OLD = quarantined(rules=[{"name": "forgotten", "older_than": "14d"}])


def change_from(old, new=NEW, *invitations, scope=None, **options):
    """Return the change after it has seen the scope and the invitations."""
    accepted = None if old is None else AcceptedPolicy("0" * 64, True, old)
    change = PolicyChange(new, accepted, NOW, **options)
    listed_ids = {each.project_id for each in invitations} - {""}
    projects = tuple(project(id=each, name=f"Project {each[-1]}") for each in listed_ids)
    ids = frozenset(each.id for each in projects)
    change.observe_scope(scope or RunScope(projects, in_scope_ids=ids))
    decide = Selector(new, NOW).decide
    for each in invitations:
        decision = decide(each)
        assert change.observe(decision) is decision
    return change


def aged(days, number=1, **changes):
    return invitation(number, age=timedelta(days=days), **changes)


def counts(change):
    return change.added_count, change.removed_count


def test_invitations_that_only_one_policy_deletes_are_counted_and_named():
    sooner = change_from(OLD, NEW, aged(2), aged(5), aged(20))
    assert (counts(sooner), sooner.added, sooner.removed) == (
        (1, 0),
        ["Sandbox Alpha: person-1@example.com"],
        [],
    )
    later = change_from(NEW, OLD, aged(2), aged(5), aged(20))
    assert (counts(later), later.added, later.removed) == (
        (0, 1),
        [],
        ["Sandbox Alpha: person-1@example.com"],
    )
    assert later.messages() == ("The new policy would keep Sandbox Alpha: person-1@example.com",)


def test_invitation_without_a_username_is_named_with_a_question_mark():
    change = change_from(OLD, NEW, aged(5, username=None))
    assert change.messages() == ("The new policy would also delete Sandbox Alpha: ?",)


@pytest.mark.parametrize("number", [19, 20, 21, 1500])
def test_at_most_20_names_are_shown_and_all_are_counted(number):
    invitations = [aged(5, n) for n in range(number)]
    for change, verb in (
        (change_from(OLD, NEW, *invitations), "also delete"),
        (change_from(NEW, OLD, *invitations), "keep"),
    ):
        assert sum(counts(change)) == number
        messages = change.messages()
        assert messages[:2] == tuple(
            f"The new policy would {verb} Sandbox Alpha: person-{n}@example.com" for n in range(2)
        )
        rest = (f"The new policy would {verb} {number - 20:,} more",) if number > 20 else ()
        assert (len(messages), messages[20:]) == (min(number, 20) + len(rest), rest)


def test_without_the_old_policy_all_stale_invitations_count_as_added():
    for old in (None, "there is not a copy of it at x"):
        assert counts(change_from(old, NEW, aged(2), aged(5), aged(20))) == (2, 0)


def test_invitation_of_a_project_source_or_organization_that_the_old_policy_did_not_read_is_added():
    one = aged(20)
    scope = RunScope(
        (project(id=PROJECT, name="Sandbox Alpha"),), in_scope_ids=frozenset([PROJECT])
    )
    excluding = quarantined(projects={"exclude": ["sandbox *"]})
    assert counts(change_from(excluding, NEW, one, scope=scope)) == (1, 0)
    including = quarantined(projects={"include": ["sandbox *"]})
    assert counts(change_from(including, NEW, one, scope=scope)) == (0, 0)
    assert counts(change_from(quarantined(sources=["users"]), NEW, one)) == (1, 0)
    assert counts(change_from(quarantined(sources=["users", "invites"]), NEW, one)) == (0, 0)
    assert counts(change_from(quarantined(organizations=[OTHER_ORG]), NEW, one)) == (1, 0)


def test_organization_s_invitation_is_compared_with_the_old_scope_of_its_projects():
    linked = project(2, name="Linked")
    one = aged(
        20, source=Source.ORG_INVITES, project_id="", linked_projects=((linked.id, "Linked"),)
    )
    scope = RunScope((linked,), project_names={linked.id: "Linked"}, in_scope_ids={linked.id})
    sources = {"sources": ["org_invites"]}
    new = quarantined(**sources, rules=[{"name": "sooner", "older_than": "3d"}])
    assert counts(change_from(quarantined(**sources), new, one, scope=scope)) == (0, 0)
    excluding = quarantined(**sources, projects={"exclude": ["Linked"]})
    assert counts(change_from(excluding, new, one, scope=scope)) == (1, 0)


def test_projects_that_enter_and_leave_the_scope_are_counted():
    new = policy(projects={"exclude": ["Project 1", "Project 2"]}, limits={"quarantine": True})
    old = policy(projects={"exclude": ["Project 3"]}, limits={"quarantine": True})
    inside = (project(3), project(4))
    scope = RunScope(
        inside,
        excluded=(project(1), project(2)),
        in_scope_ids=frozenset(each.id for each in inside),
    )
    assert change_from(old, new, scope=scope).messages() == (
        "1 project is newly in scope",
        "2 projects are no longer in scope: their invitations stay",
    )
    assert (
        change_from(
            old, old, scope=RunScope((project(4),), in_scope_ids={project(4).id})
        ).messages()
        == ()
    )
    assert change_from(None, new, scope=scope).messages() == ()


def test_changed_limits_and_sources_are_shown():
    old = policy(limits={"quarantine": True, "max_deletions": 7}, sources=["invites", "org_users"])
    new = policy(limits={"max_deletions": 9000}, sources=["users", "org_invites", "invites"])
    assert change_from(old, new).messages() == (
        "The new policy changes limits.max_deletions from 7 to 9000",
        "The new policy changes limits.quarantine from true to false",
        "The new policy also reads org_invites, users",
        "The new policy does not read org_users",
    )
    assert change_from(None, new).messages() == ()


def test_bounces_are_kept_by_each_policy_s_own_max_bounces():
    twice = DeletionCounts()
    for _ in range(2):
        twice.add(aged(20))
    strict = policy(limits={"quarantine": True, "max_bounces": 2})
    assert counts(change_from(strict, NEW, aged(20), deletions=twice)) == (1, 0)
    assert counts(change_from(OLD, NEW, aged(20), deletions=twice)) == (0, 0)


def test_error_of_a_changed_policy_counts_and_has_the_hash_to_accept():
    error = change_from(OLD, NEW, aged(5), aged(6)).as_error()
    assert error.message == (
        "The policy has changed since the last sweep (quarantine). "
        "It adds 2 stale invitations and removes 0."
    )
    assert error.hint == (
        f"Read the plan, then accept the policy with --accept-policy {NEW.sha256}"
    )
    thousands = change_from(NEW, OLD, *(aged(5, n) for n in range(1500))).as_error()
    assert thousands.message.endswith("It adds 0 stale invitations and removes 1,500.")


def test_error_of_the_first_policy_and_of_one_without_a_copy_says_so():
    assert change_from(None, NEW, aged(5)).as_error().message == (
        "No sweep has accepted a policy in this audit log yet (quarantine). "
        "1 invitation would be deleted by this policy."
    )
    assert change_from("its copy x was changed", NEW, aged(5)).as_error().message == (
        "The policy has changed since the last sweep (quarantine). "
        "The last accepted policy cannot be compared: its copy x was changed. "
        "1 invitation would be deleted by this policy."
    )


def test_error_names_a_dropped_quarantine_and_a_wrong_hash():
    dropped = policy(rules=[{"name": "sooner", "older_than": "3d"}])
    assert change_from(OLD, dropped, accepted_option="0" * 64).as_error().message == (
        "The policy has changed since the last sweep (quarantine). "
        "It removes quarantine, which the last accepted policy set: it must be accepted. "
        "It adds 0 stale invitations and removes 0. "
        "--accept-policy names another policy."
    )
