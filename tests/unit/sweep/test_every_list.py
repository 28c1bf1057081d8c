"""No guard may be off for one list: each reason to keep, in each of the four lists.

Each case is an entry that is deleted but for one change of it, of the policy or of what the run
knows; a row of `PROTECTIONS` is a protection, and is tried on every list. What protects a person
in one list protects the person in the organization.
"""

from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from audit.runs import finished, intent, outcome, started, write_run
from builders import NOW, ORG, OTHER_ORG, PROJECT, invitation, object_id, policy

from invite_sweeper.audit import AuditDirectory, History, SavedPlan
from invite_sweeper.audit.events import Planned, announcement_key
from invite_sweeper.models import (
    INVITED_STATUSES,
    SOURCES_OF_USERS,
    Source,
    UnreadableDate,
    entries_of,
)
from invite_sweeper.redaction import SECRETS
from invite_sweeper.sweep.invitations import combine
from invite_sweeper.sweep.selection import Selector
from invite_sweeper.sweep.steps import (
    KeepBounced,
    KeepOutsidePlan,
    Notice,
    apply_steps,
    keep_unrecordable,
)

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
OF_PERSON = (Source.ORG_USERS, Source.ORG_INVITES, Source.USERS)
PROJECT_NAME, SECRET, LONG = "Sandbox Alpha", "s3cret-0123", "x" * 1025
STATUSES = [str(each) for each in INVITED_STATUSES]
RULE = {"name": "forgotten", "older_than": "14d", "statuses": STATUSES}


def entry_of(source, **changes):
    """Return a stale entry; one of a list of an organization has the same project as a role."""
    of_organization = {
        "project_id": ORG,
        "project_name": "",
        "roles": ("ORG_MEMBER",),
        "project_roles": ((PROJECT, "GROUP_READ_ONLY"),),
        "linked_projects": ((PROJECT, PROJECT_NAME),),
    }
    place = of_organization if source.is_organization_level else {"project_name": PROJECT_NAME}
    return invitation(source=source, **{**place, **changes})


def line(decision):
    entries = entries_of(decision.entries)
    return Planned.from_invitation(decision.invitation, NOW, rule=decision.rule, entries=entries)


def history_of(deleted):
    """Return the history of runs that deleted these entries."""
    if not deleted:
        return History()
    with TemporaryDirectory() as folder:
        directory = AuditDirectory(Path(folder))
        for number, each in enumerate(deleted):
            own = Planned.from_invitation(each, NOW, rule="forgotten")
            write_run(directory, f"r{number}", own, intent(own), outcome(own))
        return History.read(directory.files())


def decide_all(*entries, deleted=(), planned=None, announced=None, members=None, **keys):
    """Return the decisions of a whole run about the entries of one person.

    Args:
        deleted: Entries that earlier runs deleted.
        planned: Decisions that a saved plan lists.
        announced: When entries were announced; None without a notice.
    """
    steps = [KeepBounced(history_of(deleted), max_bounces=3)]
    if planned is not None:
        lines = tuple(map(line, planned))
        steps.append(
            KeepOutsidePlan(SavedPlan(Path("p"), started(mode="dry-run"), finished(), lines, ""))
        )
    if announced is not None:
        steps.append(Notice(announced, 7 * DAY, NOW))
    selector = Selector(policy(**{"rules": [RULE], **keys}), NOW, members or {})
    decisions = [keep_unrecordable(selector.decide(each)) for each in entries]
    if entries[0].source is not Source.INVITES:
        decisions = combine(decisions, all_read=True)
    return [apply_steps(steps, each) for each in decisions]


def decide(entry, **keys):
    """Return the one decision about a person whom one list shows."""
    (decision,) = decide_all(entry, **keys)
    return decision


def plan_of(*entries):
    """Return what a plan lists of the entries of one person."""
    return decide_all(*entries)


def keep(**keys):
    return {"keep": [{"name": "k", **keys}]}


KEEP_BOSS = keep(inviters=["boss@*"])


def rule(**keys):
    return {"rules": [{**RULE, **keys}]}


PROTECTIONS = {
    "keep by username": ({}, keep(usernames=["person-1@*"]), "keep:k"),
    "keep by username in another spelling": (
        {"username": "\uff30erson-1\u200b@Example.com."},
        keep(usernames=["person-1@example.com"]),
        "keep:k",
    ),
    "keep by inviter": ({}, keep(inviters=["nmtx*"]), "keep:k"),
    "keep by role": ({}, keep(roles=["group_read_only"]), "keep:k"),
    "keep by project": ({}, keep(projects=["sandbox*"]), "keep:k"),
    "keep by id of project": ({}, keep(projects=[PROJECT]), "keep:k"),
    "keep by age": ({}, keep(older_than="15d"), "keep:k"),
    "keep by expiry": ({"expires_at": NOW - DAY}, keep(expired=True), "keep:k"),
    "keep by status": ({}, keep(statuses=["PENDING"]), "keep:k"),
    "keep until today": ({}, keep(usernames=["*"], until=NOW.date()), "keep:k"),
    "keep that needs a username": ({"username": None}, keep(usernames=["x@*"]), "no_username"),
    "keep that needs an inviter": ({"inviter": None}, keep(inviters=["x@*"]), "no_inviter"),
    "inviter unknown": ({}, rule(inviter_gone=True), "inviter_unknown"),
    "inviter is a member": (
        {"inviter": "Ada@Example.com"},
        {**rule(inviter_gone=True), "members": {ORG: frozenset({"ada@example.com"})}},
        "no_rule",
    ),
    "too young": ({"age": 14 * DAY - SECOND}, {}, "too_young"),
    "rule for others": ({}, rule(usernames=["other@*"]), "no_rule"),
    "rule for another status": ({}, rule(statuses=["INVITATION_EXPIRED"]), "no_rule"),
    "no date": ({"created_at": None}, {}, "no_date"),
    "unreadable date": ({"created_at": UnreadableDate("last spring")}, {}, "unreadable_date"),
    "date before Atlas": ({"created_at": NOW - 9999 * DAY}, {}, "no_date"),
    "future date": ({"created_at": NOW + SECOND}, {}, "future_date"),
    "malformed id": ({"id": "../" * 8}, {}, "unreadable_id"),
    "reaches out of scope": ({"links_out_of_scope": True}, {}, "reaches_out_of_scope"),
    "unrecordable name": ({"username": LONG}, {}, "unrecordable"),
    "unrecordable inviter": ({"inviter": LONG}, {}, "unrecordable"),
    "contains a secret": ({"username": f"{SECRET}@x.example"}, {}, "unrecordable"),
}
"""By what protects an entry: changes of a stale one, arguments of `decide`, and the reason."""

CHANGES = {
    "role": {"roles": ("GROUP_OWNER",)},
    "role in a project": {"project_roles": ((PROJECT, "GROUP_OWNER"),)},
    "project": {"linked_projects": ((object_id(77), "prod"),)},
    "team": {"team_ids": (object_id(78),)},
    "inviter": {"inviter": "boss@example.com"},
    "expiry": {"expires_at": NOW + 900 * DAY},
}


@pytest.fixture(autouse=True)
def _secret():
    SECRETS.add(SECRET)


@pytest.mark.parametrize("source", Source)
def test_entry_is_deleted_that_nothing_protects(source):
    one = entry_of(source, age=14 * DAY)
    announced = {announcement_key(one): NOW - 7 * DAY}
    known = {"deleted": [one] * 2, "planned": plan_of(one), "announced": announced}
    assert decide(one, **known, **keep(roles=["X"])).stale
    left = {ORG: frozenset({"other@example.com"})}
    gone = entry_of(source, inviter="ada@example.com")
    assert decide(gone, members=left, **rule(inviter_gone=True)).stale


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("protection", PROTECTIONS)
def test_each_protection_keeps_in_each_list(protection, source):
    changes, keys, reason = PROTECTIONS[protection]
    assert decide(entry_of(source, **changes), **keys).keep_reason == reason


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_since_the_plan_is_kept_in_each_list(change, source):
    one = entry_of(source)
    found = decide(one._replace(**CHANGES[change]), planned=plan_of(one))
    assert found.keep_reason == "changed_since_plan"


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("field", ["created_at", "username"])
def test_another_invitation_than_the_planned_one_is_kept_in_each_list(field, source):
    one = entry_of(source)
    other = {"created_at": one.created_at - DAY, "username": "other@example.com"}
    found = decide(one._replace(**{field: other[field]}), planned=plan_of(one))
    assert found.keep_reason == "not_in_plan"


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize(
    ("ago", "stale"), [(7 * DAY, True), (7 * DAY - SECOND, False), (-SECOND, False)]
)
def test_notice_is_over_exactly_wait_after_the_announcement_in_each_list(ago, stale, source):
    one = entry_of(source)
    found = decide(one, announced={announcement_key(one): NOW - ago})
    assert found.stale is stale
    if ago < timedelta():  # it counts for nothing: this run announces the invitation
        assert (found.announcement.announced_at, found.announcement.rule) == (None, "forgotten")
    again = one._replace(created_at=one.created_at + SECOND)
    assert decide(again, announced={announcement_key(one): NOW - ago}).stale is False


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("status", INVITED_STATUSES)
def test_rule_without_statuses_means_everybody_invited_in_each_list(status, source):
    all_of_them = {"name": "forgotten", "older_than": "14d"}
    assert decide(entry_of(source, status=status), rules=[all_of_them]).stale


@pytest.mark.parametrize("source", sorted(SOURCES_OF_USERS))
@pytest.mark.parametrize("status", ["ACTIVE", "SOMETHING_NEW", None])
def test_person_who_is_not_known_to_be_invited_is_kept(status, source):
    assert decide(entry_of(source, status=status)).keep_reason == "not_pending"


@pytest.mark.parametrize("source", Source)
def test_each_step_keeps_in_each_list(source):
    one = entry_of(source)
    assert decide(one, deleted=[one] * 3).keep_reason == "bounced"
    assert decide(one, announced={}).keep_reason == "notice_pending"
    assert decide(one, planned=()).keep_reason == "not_in_plan"


# --- one person in several lists -----------------------------------------------------------------


def entries_of_person(protected=None, **changes):
    """Return the entries of one person, of whom one list shows something else.

    Each list spells the name in its own way.
    """
    names = ("Person-1@example.com", "person-1@Example.com", "\uff50erson-1\u200b@example.com")
    return [
        entry_of(each, username=name, id=object_id(number))._replace(
            **(changes if each is protected else {})
        )
        for number, (each, name) in enumerate(zip(OF_PERSON, names, strict=True), start=1)
    ]


def test_person_is_one_invitation_that_ends_through_the_organization():
    (decision,) = decide_all(*entries_of_person())
    assert (decision.stale, decision.invitation.source) == (True, Source.ORG_USERS)
    assert {each.source for each in decision.all_entries} == set(OF_PERSON)


def test_same_name_in_two_organizations_is_two_people():
    one, *_ = entries_of_person()
    other = one._replace(org_id=OTHER_ORG, id=object_id(9))
    assert [len(each.all_entries) for each in decide_all(one, other)] == [1, 1]


@pytest.mark.parametrize("source", OF_PERSON)
@pytest.mark.parametrize(
    "changes",
    [
        {"inviter": "boss@example.com"},
        {"created_at": NOW - DAY},
        {"created_at": None},
        {"id": "../x"},
        {"inviter": LONG},
        {"links_out_of_scope": True},
    ],
    ids=["keep", "too young", "no date", "malformed id", "unrecordable", "out of scope"],
)
def test_protected_entry_of_one_list_keeps_the_person_in_the_organization(changes, source):
    found = decide_all(*entries_of_person(source, **changes), **KEEP_BOSS)
    (kept,) = [each for each in found if not each.stale]
    assert kept.invitation.source is source
    assert {Source.ORG_USERS, Source.ORG_INVITES, source} <= {e.source for e in kept.all_entries}
    ended = [each for each in found if each.stale]
    assert [each.invitation.source for each in ended] == [Source.USERS] * (source != Source.USERS)
    assert not any(each.entries for each in ended)


@pytest.mark.parametrize("source", OF_PERSON)
def test_step_that_concerns_one_entry_keeps_the_whole_invitation(source):
    entries = entries_of_person()
    (one,) = [each for each in entries if each.source is source]
    (bounced,) = decide_all(*entries, deleted=[one] * 3)
    assert (bounced.keep_reason, len(bounced.all_entries)) == ("bounced", 3)
    without = [each for each in entries if each is not one]
    assert not any(each.stale for each in decide_all(*entries, planned=plan_of(*without)))


@pytest.mark.parametrize("source", OF_PERSON)
def test_list_that_was_not_read_keeps_the_person_in_the_organization(source):
    others = [each for each in entries_of_person() if each.source is not source]
    selector = Selector(policy(rules=[RULE]), NOW)
    found = combine([selector.decide(each) for each in others], all_read=False)
    assert {each.invitation.source for each in found if each.stale} <= {Source.USERS}
    (kept,) = [each for each in found if not each.stale]
    assert kept.keep_reason == "list_unread"
