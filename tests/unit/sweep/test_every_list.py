"""No step may be off for one list: notice, plan and log, in each of the four lists.

`test_selection` has the reasons of the policy. What protects a person in one list protects the
person in the organization.
"""

from datetime import timedelta
from functools import reduce

import pytest
from builders import NOW, OTHER_ORG, PROJECT, announced_once, changed, entry_of, object_id, policy
from sweep.night import line_of

from invite_sweeper.models import Source
from invite_sweeper.redaction import SECRETS
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Selector
from invite_sweeper.sweep.steps import KeepOutsidePlan, Notice

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
WAIT = 7 * DAY - timedelta(hours=1)
OF_PERSON = (Source.ORG_USERS, Source.ORG_INVITES, Source.USERS)
SECRET = "s3cret-0123"
LONG = "x" * 1025


def decide_all(*entries, planned=None, announced=None, **keys):
    """Return the decisions of a whole run about the entries of one person.

    Args:
        planned: Decisions that a saved plan lists.
        announced: The announcements that hold; None without a notice.
    """
    steps = []
    if planned is not None:
        steps.append(KeepOutsidePlan(map(line_of, planned)))
    if announced is not None:
        steps.append(Notice(announced, 7 * DAY, NOW))
    selector = Selector(policy(**keys), NOW)
    decisions = [selector.decide(each) for each in entries]
    if not entries[0].source.stands_for_itself:
        decisions = combine(decisions)
    return [reduce(lambda found, step: step(found), steps, each) for each in decisions]


def decide(entry, **keys):
    (decision,) = decide_all(entry, **keys)
    return decision


KEEP_BOSS = {"keep": [{"name": "k", "inviters": ["boss@*"]}]}

CHANGES = {
    "role": {"roles": ("GROUP_OWNER",)},
    "no role": {"roles": ()},
    "role in a project": {"project_roles": ((PROJECT, "GROUP_OWNER"),)},
    "project": {"linked_projects": ((object_id(77), "prod"),)},
    "team": {"team_ids": (object_id(78),)},
    "inviter": {"inviter": "boss@example.com"},
    "expiry": {"expires_at": NOW + 900 * DAY},
    "no expiry": {"expires_at": None},
}


@pytest.mark.parametrize("source", Source)
def test_each_step_keeps_in_each_list_and_what_none_keeps_is_deleted(source):
    one = entry_of(source, age=14 * DAY)
    announced = announced_once(one, 7 * DAY)
    assert decide(one, planned=decide_all(one), announced=announced).deletable
    waiting = decide(one, announced={})
    assert (waiting.stale, waiting.waits, waiting.deletable) == (True, True, False)
    assert decide(one, planned=()).keep_reason == "not_in_plan"


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("username", [LONG, f"{SECRET}@x.example"], ids=["long", "secret"])
def test_what_the_log_cannot_record_is_kept_in_each_list(username, source):
    SECRETS.add(SECRET)
    assert decide(entry_of(source, username=username)).keep_reason == "unrecordable"
    assert decide(entry_of(source, username=username, age=DAY)).keep_reason == "too_young"


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_since_the_plan_is_kept_in_each_list(change, source):
    one = entry_of(source)
    found = decide(changed(one, **CHANGES[change]), planned=decide_all(one))
    assert found.keep_reason == "changed_since_plan"


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("ago", "is_over"),
    [(WAIT, True), (WAIT - SECOND, False), (timedelta(), False), (-SECOND, False)],
)
def test_notice_is_over_exactly_an_hour_before_the_wait_is_in_each_list(ago, is_over, source):
    one = entry_of(source)
    found = decide(one, announced=announced_once(one, ago))
    assert (found.stale, found.deletable) == (True, is_over)
    assert found.announcement.announced_at == (NOW - ago if ago >= timedelta() else None)
    if ago < timedelta():  # it counts for nothing: this run announces the invitation
        assert found.announcement.rule == "forgotten"
    again = changed(one, created_at=one.sent_at + SECOND)
    assert decide(again, announced=announced_once(one, ago)).waits


def entries_of_person(protected=None, **changes):
    """Return the entries of one person; one list shows something else than the others.

    Each list spells the name in its own way.
    """
    names = ("Person-1@example.com", "person-1@Example.com", "\uff50erson-1\u200b@example.com")
    return [
        changed(
            entry_of(each, username=name, invitation_id=object_id(number)),
            **(changes if each is protected else {}),
        )
        for number, (each, name) in enumerate(zip(OF_PERSON, names, strict=True), start=1)
    ]


def test_same_name_in_two_organizations_is_two_people():
    one, *_ = entries_of_person()
    other = changed(one, org_id=OTHER_ORG, invitation_id=object_id(9))
    assert [len(each.all_entries) for each in decide_all(one, other)] == [1, 1]


@pytest.mark.parametrize("source", OF_PERSON)
@pytest.mark.parametrize(
    "changes",
    [
        {"inviter": "boss@example.com"},
        {"created_at": NOW - DAY},
        {"invitation_id": "../x"},
        {"inviter": LONG},
        {"links_out_of_scope": True},
    ],
    ids=["keep", "too young", "malformed id", "unrecordable", "out of scope"],
)
def test_protected_entry_of_one_list_keeps_the_person_in_the_organization(changes, source):
    found = decide_all(*entries_of_person(source, **changes), **KEEP_BOSS)
    (kept,) = [each for each in found if not each.stale]
    assert kept.invitation.source is source
    assert {Source.ORG_USERS, Source.ORG_INVITES, source} <= {e.source for e in kept.all_entries}
    ended = [each for each in found if each.stale]
    assert [each.invitation.source for each in ended] == [Source.USERS] * (source != Source.USERS)
    assert not any(each.entries for each in ended)


SINCE_THE_PLAN = {
    **{name: change for name, change in CHANGES.items() if name != "project"},
    "date": {"created_at": NOW - 19 * DAY},
    "rejection": {"status": "INVITATION_REJECTED"},
}


@pytest.mark.parametrize("source", OF_PERSON)
@pytest.mark.parametrize("change", SINCE_THE_PLAN)
def test_entry_of_one_list_that_changed_since_the_plan_keeps_the_whole_invitation(change, source):
    """A plan is a ceiling for every entry, not only for the one that its DELETE names."""
    planned = decide_all(*entries_of_person())
    assert [each.stale for each in decide_all(*entries_of_person(), planned=planned)] == [True]
    now = entries_of_person(source, **SINCE_THE_PLAN[change])
    assert not any(each.stale for each in decide_all(*now, planned=planned))


@pytest.mark.parametrize("source", OF_PERSON)
@pytest.mark.parametrize(
    ("approved", "now", "stale"),
    [
        ("PENDING", "INVITATION_EXPIRED", True),
        ("INVITATION_EXPIRED", "INVITATION_EXPIRED", True),
        ("INVITATION_REJECTED", "INVITATION_REJECTED", True),
        ("INVITATION_EXPIRED", "INVITATION_REJECTED", False),
        ("INVITATION_EXPIRED", "PENDING", False),
        ("INVITATION_REJECTED", "INVITATION_EXPIRED", False),
    ],
)
def test_end_that_has_passed_since_the_plan_is_covered_by_it_and_another_status_is_not(
    approved, now, stale, source
):
    planned = decide_all(*entries_of_person(source, status=approved))
    found = decide_all(*entries_of_person(source, status=now), planned=planned)
    assert any(each.stale for each in found) is stale
