"""The plan of an organization: every invitation decided, counted once, and written if stale."""

from collections import Counter
from datetime import timedelta

import pytest
from builders import DAY, HOUR, NOW, ORG, PROJECT, entry_of, object_id, policy
from hypothesis import given
from hypothesis import strategies as st
from sweep.night import Earlier, command_of

from invite_sweeper.audit.events import Kept, OrganizationResult, WouldBeAnnounced
from invite_sweeper.models import (
    SOURCES_OF_USERS,
    ListRef,
    ListUnreadable,
    Project,
    ProjectGone,
    Source,
    SourceRetired,
)
from invite_sweeper.outcomes import Counts, Outcome, total
from invite_sweeper.sweep.plan import AtlasOrganization, awaited_limits, backlog, make_plans
from invite_sweeper.sweep.reading import ReadingBuilder
from invite_sweeper.sweep.steps import Notice

PEOPLE = ["org_users", "org_invites", "users"]


class Plan:
    """What is read of one organization, and what is planned there."""

    def __init__(self, *, steps=(), dry_run=False, **keys):
        self.lines = []
        command = command_of(policy(**keys), dry_run=dry_run)
        organization = AtlasOrganization(ORG, None)
        self.builder = ReadingBuilder(organization, command, self.lines.append, steps)

    def add(self, *lists, finish=True):
        for each in lists:
            self.builder.add(*(each if isinstance(each, tuple) else (None, each)))
        if finish:
            self.builder.finish(ended=Source)
        return self

    @property
    def reading(self):
        return self.builder.reading()

    @property
    def counts(self):
        return self.reading.counts


def listed(*invitations, source=Source.INVITES, project_id=PROJECT):
    place = Project(ORG if source.is_organization_level else project_id, "Sandbox Alpha", ORG)
    return ListRef(place, source), tuple(invitations)


def one(number, source=Source.INVITES, **changes):
    return entry_of(source, number, **changes)


ADA = listed(one(1, Source.ORG_USERS), source=Source.ORG_USERS)


@pytest.mark.parametrize("source", Source)
def test_oldest_leaves_out_what_has_expired_or_was_rejected_and_what_has_no_date(source):
    rows = [
        one(1, source, age=60 * DAY, status="INVITATION_EXPIRED"),
        one(2, source, age=30 * DAY),  # until this instant
        one(3, source, age=30 * DAY - timedelta.resolution),
    ]
    if source in SOURCES_OF_USERS:
        endless = {"status": "INVITATION_REJECTED", "expires_at": None}
        rows.append(one(4, source, age=50 * DAY, **endless))
    rows.append(one(5, source, created_at=None))
    reading = Plan(sources=[source.value]).add(listed(*rows, source=source)).reading
    assert reading.dates.oldest == NOW - 30 * DAY + timedelta.resolution


def unread(source, org_id=ORG):
    return ListUnreadable(PROJECT, "p", "503", source=source, org_id=org_id)


def retired(source):
    return SourceRetired(PROJECT, "p", "410", source=source, org_id=ORG)


@pytest.mark.parametrize(
    ("unread", "kept"),
    [
        *((unread(each), not each.stands_for_itself) for each in Source),
        (unread(Source.USERS, org_id=None), True),  # a malformed id: it may be of any organization
        # The older lists are replaced: their people are in the newer ones once Atlas ends them.
        *((retired(each), each in SOURCES_OF_USERS) for each in Source),
    ],
)
def test_list_that_was_not_read_keeps_the_people_that_it_may_show(unread, kept):
    plan = Plan(sources=["invites", *PEOPLE])
    plan.add(unread, ADA)
    assert (plan.reading.deletable == ()) is kept
    assert plan.counts.kept_by_reason == ({"list_unread": 1} if kept else {})


@pytest.mark.parametrize("source", Source)
def test_list_that_atlas_ended_before_its_day_was_not_read(source):
    plan = Plan(sources=["invites", *PEOPLE])
    plan.add(ADA, retired(source), finish=False)
    plan.builder.finish(ended=())
    assert (plan.reading.deletable == ()) is (source is not Source.INVITES)


@given(
    st.lists(
        st.tuples(st.sampled_from(Source), st.integers(1, 4), st.integers(10, 18)), max_size=12
    ),
    st.booleans(),
)
def test_each_entry_is_in_one_invitation_and_counts_add_up(rows, is_unread):
    plan = Plan(sources=[str(each) for each in Source], audit={"record": "all"})
    entries = {}
    for number, (source, name, age) in enumerate(rows):
        who = {"username": f"p{name}@example.com", "age": age * DAY}
        entries.setdefault(source, []).append(one(number, source, **who))
    lists = [listed(*found, source=source) for source, found in entries.items()]
    unread = [ListUnreadable(object_id(9), "p", "503", source=Source.USERS, org_id=ORG)]
    plan.add(*lists, *(unread if is_unread else ()))
    kept = [each for each in plan.lines if isinstance(each, Kept)]
    found = [key for each in (*plan.reading.deletable, *kept) for key in each.keys]
    assert sorted(found) == sorted(each.key for own in entries.values() for each in own)
    counts = plan.counts
    assert counts.invitations_seen == counts.stale + counts.kept
    assert (counts.stale, counts.kept) == (len(plan.reading.deletable), len(kept))
    assert sum(counts.kept_by_reason.values()) == counts.kept
    assert sum(counts.invitations_by_source.values()) == len(rows)


def test_project_that_is_gone_counts_once_for_all_its_lists():
    gone = [ProjectGone(each) for each in (PROJECT, PROJECT, object_id(8))]
    assert (Plan().add(*gone)).counts.projects_gone == 2


def test_unreadable_list_is_recorded_with_its_reason_and_counts_where_a_role_is_missing():
    codes = ((500, "X"), (403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), (None, None))
    missing = ((401, "USER_UNAUTHORIZED"), (401, "NOT_ORG_GROUP_CREATOR"))
    unread = [
        ListUnreadable(object_id(number), "A", "HTTP.", status, code, org_id=ORG)
        for number, (status, code) in enumerate((*codes, *missing))
    ]
    unread.append(ListUnreadable(None, None, "HTTP 500.", 500, None, Source.ORG_USERS, ORG))
    plan = Plan().add(*unread)
    assert (plan.counts.projects_unreadable, plan.counts.missing_role) == (6, 2)
    assert plan.lines == unread


def test_retired_source_is_recorded_and_is_not_an_unreadable_list():
    retired = SourceRetired(PROJECT, "A", "Gone for good.", 410, "RETIRED", Source.INVITES)
    plan = Plan().add(retired)
    assert plan.reading.lists.retired == {Source.INVITES: retired}
    assert (plan.counts.projects_unreadable, plan.lines) == (0, [retired])


def test_dry_run_writes_what_a_sweep_would_announce_and_counts_it():
    plan = Plan(steps=[Notice({}, 7 * DAY, NOW)], dry_run=True).add(listed(one(1)))
    assert (plan.counts.announced, plan.counts.stale, plan.counts.due) == (1, 1, 0)
    assert plan.reading.dates.next_due == NOW + 7 * DAY - HOUR
    assert list(map(type, plan.lines)) == [WouldBeAnnounced]


def planned_in(places, *, deleted_before=0, **limits):
    """Return the plans of stale invitations of these ages by place, and the limits of the run."""
    plan = Plan()
    number = 0
    for place, ages in enumerate(places, start=1):
        where = {"project_id": object_id(place)}
        entries = [one(number + n, age=age * DAY, **where) for n, age in enumerate(ages)]
        number += len(ages)
        plan.add(listed(*entries, **where), finish=False)
    plan.add()
    history = Earlier(recent=Counter({object_id(1): deleted_before}))
    command = command_of(policy(limits={"max_share": 1.0, **limits}), history=history)
    return make_plans([plan.reading], command.limits, command.now), command.limits


IN_PROJECT = "max_deletions_per_project in project Sandbox Alpha"


@pytest.mark.parametrize(
    ("limits", "stale", "deleted_before", "binding", "nights"),
    [
        ({"max_deletions": 3}, [7], 0, "max_deletions", 2),
        ({"max_deletions": 0}, [7], 0, "max_deletions", None),
        ({"max_deletions_per_project": 2}, [7, 3], 0, f"{IN_PROJECT} ({object_id(1)})", 3),
        ({"max_share": 0.25}, [40], 0, "max_share", 3),
        # What earlier runs used makes the rest larger and no night shorter.
        ({"max_deletions": 3}, [7], 3, "max_deletions (3 of 3 used)", 3),
        # The limit that holds back is named; the other one counts in the nights, too.
        ({"max_deletions": 40, "max_deletions_per_project": 8}, [8], 8, "(8 of 8 used)", 1),
        ({"max_deletions": 30, "max_deletions_per_project": 3}, [3, 4, 9], 3, object_id(3), 2),
    ],
)
def test_nights_are_what_is_left_divided_by_what_one_run_may_delete(
    limits, stale, deleted_before, binding, nights
):
    limits = {"max_deletions_per_project": 100, "over_limit": "trim", **limits}
    places = [(20,) * count for count in stale]
    left = backlog(*planned_in(places, deleted_before=deleted_before, **limits))
    assert binding in left.limit.describe_use({})
    assert left.nights == nights


@pytest.mark.parametrize(
    ("limits", "found"),
    [
        ({"over_limit": "trim"}, dict.fromkeys((1, 3), "max_deletions_per_project")),
        ({"over_limit": "refuse"}, dict.fromkeys(range(4), "max_deletions")),  # it keeps all
        ({"max_deletions": 4, "max_deletions_per_project": 2}, {}),
    ],
)
def test_each_stale_invitation_that_may_not_go_now_has_the_limit_it_waits_for(limits, found):
    given_limits = {"max_deletions": 2, "max_deletions_per_project": 1, **limits}
    awaited = awaited_limits(*planned_in([(40, 30), (35, 20)], **given_limits))
    assert {int(key[3], 16): limit.reason.value for key, limit in awaited.items()} == found


KEYED = {"invitations_by_source", "kept_by_reason"}
NUMBERS = [each for each in Counts.__struct_fields__ if each not in KEYED]


def test_each_count_is_added():
    one = Counts(**{name: n for n, name in enumerate(NUMBERS)}, kept_by_reason={"a": 1, "b": 0})
    two = Counts(**dict.fromkeys(NUMBERS, 1), kept_by_reason={"a": 2, "c": 3})
    found = total([OrganizationResult(id="a"), one, two])
    assert [getattr(found, name) for name in NUMBERS] == [n + 1 for n in range(len(NUMBERS))]
    assert found.kept_by_reason == {"a": 3, "b": 0, "c": 3}


def test_there_is_a_count_for_each_outcome():
    assert set(map(str, Outcome)) <= set(Counts.__struct_fields__)
