"""The plan of an organization: every invitation decided, counted once, and written if stale."""

from collections import Counter
from datetime import timedelta

import pytest
from builders import DAY, HOUR, NOW, ORG, PROJECT, entry_of, object_id, policy, project
from hypothesis import given
from hypothesis import strategies as st
from sweep.night import Earlier, command_of
from sweep.reads import decided, read_of, unreadable

from invite_sweeper.audit.events import Kept, OrganizationResult, WouldBeAnnounced
from invite_sweeper.models import SOURCES_OF_USERS, ProjectGone, Source, SourceRetired
from invite_sweeper.outcomes import Counts, Outcome, total
from invite_sweeper.sweep.plan import awaited_limits, backlog, make_plans
from invite_sweeper.sweep.scope import RunScope


def decide(*rows, keys=None, dry_run=False, ended=Source, **read):
    """Return what is decided about these rows, and the lines about it."""
    command = command_of(
        policy(sources=[str(each) for each in Source], **keys or {}), dry_run=dry_run
    )
    return decided(read_of(*rows, **read), command, ended=ended)


def one(number, source=Source.INVITES, **changes):
    return entry_of(source, number, **changes)


ADA = one(1, Source.ORG_USERS)


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
    found, _ = decide(*rows)
    assert found.dates.oldest == NOW - 30 * DAY + timedelta.resolution


def retired(source):
    return SourceRetired(PROJECT, "p", "410", source=source, org_id=ORG)


@pytest.mark.parametrize(
    ("unread", "is_kept"),
    [
        *((unreadable(each), not each.stands_for_itself) for each in Source),
        # A malformed id: it may be of any organization.
        (unreadable(Source.USERS, org_id=None), True),
        # The older lists are replaced: their people are in the newer ones once Atlas ends them.
        *((retired(each), each in SOURCES_OF_USERS) for each in Source),
    ],
)
def test_list_that_was_not_read_keeps_the_people_that_it_may_show(unread, is_kept):
    ada = one(1, Source.ORG_INVITES if unread.source is Source.ORG_USERS else Source.ORG_USERS)
    found, _ = decide(ada, unread=[unread])
    assert (found.deletable == ()) is is_kept
    assert found.counts.kept_by_reason == ({"list_unread": 1} if is_kept else {})


@pytest.mark.parametrize("source", Source)
def test_list_that_atlas_ended_before_its_day_was_not_read(source):
    ada = one(1, Source.ORG_INVITES if source is Source.ORG_USERS else Source.ORG_USERS)
    found, _ = decide(ada, unread=[retired(source)], ended=())
    assert (found.deletable == ()) is (source is not Source.INVITES)


@given(
    st.lists(
        st.tuples(st.sampled_from(Source), st.integers(1, 4), st.integers(10, 18)), max_size=12
    ),
    st.booleans(),
)
def test_each_entry_is_in_one_invitation_and_counts_add_up(rows, is_unread):
    entries = [
        one(number, source, username=f"p{name}@example.com", age=age * DAY)
        for number, (source, name, age) in enumerate(rows)
    ]
    elsewhere = unreadable(Source.USERS, project_id=object_id(9))
    unread = [elsewhere] if is_unread else []
    found, lines = decide(*entries, unread=unread, keys={"audit": {"record": "all"}})
    kept = [each for each in lines if isinstance(each, Kept)]
    keys = [key for each in (*found.deletable, *kept) for key in each.keys]
    assert sorted(keys) == sorted(each.key for each in entries)
    counts = found.counts
    assert counts.invitations_seen == counts.stale + counts.kept == len(found.decisions)
    assert (counts.stale, counts.kept) == (len(found.deletable), len(kept))
    assert sum(counts.kept_by_reason.values()) == counts.kept
    assert sum(counts.invitations_by_source.values()) == len(rows)


def test_project_that_is_gone_counts_once_for_all_its_lists_and_none_out_of_scope_does():
    places = [project(n) for n in (1, 2, 3)]
    scope = RunScope(ORG, projects=places[:2], excluded=places[2:])
    gone = {
        ref.key: ProjectGone(ref.project.id)
        for ref in scope.lists([*Source])
        if ref.project in places
    }
    found, _ = decide(scope=scope, lists=gone)
    assert found.counts.projects_gone == 2


def test_unreadable_list_is_recorded_with_its_reason_and_counts_where_a_role_is_missing():
    codes = ((500, "X"), (403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), (None, None))
    missing = ((401, "USER_UNAUTHORIZED"), (401, "NOT_ORG_GROUP_CREATOR"))
    unread = [unreadable(Source.ORG_USERS, http_status=500)]
    unread += [
        unreadable(Source.USERS, project_id=object_id(n), http_status=status, error_code=code)
        for n, (status, code) in enumerate((*codes, *missing))
    ]
    found, lines = decide(unread=unread)
    assert (found.counts.projects_unreadable, found.counts.missing_role) == (6, 2)
    assert lines == unread


def test_retired_source_is_recorded_once_and_is_not_an_unreadable_list():
    gone = retired(Source.INVITES)
    found, lines = decide(unread=[gone])
    assert found.lists.retired == {Source.INVITES: gone}
    assert (found.counts.projects_unreadable, lines) == (0, [gone])


def test_dry_run_writes_what_a_sweep_would_announce_and_counts_it():
    found, lines = decide(one(1), keys={"notice": {"wait": "7d"}}, dry_run=True)
    assert (found.counts.announced, found.counts.stale, found.counts.due) == (1, 1, 0)
    assert found.dates.next_due == NOW + 7 * DAY - HOUR
    assert list(map(type, lines)) == [WouldBeAnnounced]


def planned_in(places, *, deleted_before=0, **limits):
    """Return the plans of stale invitations of these ages by place, and the limits of the run."""
    entries = []
    for place, ages in enumerate(places, start=1):
        where = {"project_id": object_id(place)}
        entries += [one(len(entries) + n, age=age * DAY, **where) for n, age in enumerate(ages)]
    found, _ = decide(*entries)
    history = Earlier(recent=Counter({object_id(1): deleted_before}))
    command = command_of(policy(limits={"max_share": 1.0, **limits}), history=history)
    return make_plans([found], command.limits, command.now), command.limits


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
