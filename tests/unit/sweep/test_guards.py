"""Limits at their boundary and with 0, over organizations, shards and runs; trim; saved plans."""

import re
from collections import Counter
from datetime import timedelta
from fractions import Fraction
from itertools import count, zip_longest
from pathlib import Path

import pytest
import yaml
from audit.runs import finished, planned, started, write_run
from builders import DAY, NOW, ORG, OTHER_ORG, entry_of, invitation, object_id, policy
from hypothesis import example, given
from hypothesis import strategies as st
from reviewed import assert_reviewed
from sweep.night import Earlier, command_of, line_of, refusal

from invite_sweeper.audit import History, SavedPlan
from invite_sweeper.audit.events import MissingAccepted
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import ListUnreadable, Source
from invite_sweeper.outcomes import Counts
from invite_sweeper.sweep.guards import check_clock, check_limits, check_plan, why_possibly_used
from invite_sweeper.sweep.limits import RunLimits
from invite_sweeper.sweep.plan import (
    AtlasOrganization,
    Decided,
    OrganizationPlan,
    ReadLists,
    make_plans,
)
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.steps import KeepOutsidePlan

WIDE = {
    "max_deletions": 10**6,
    "max_deletions_per_project": 10**6,
    "max_share": 1.0,
    "max_unreadable_projects": 10**6,
}
NONE = Counter()
RECENT = Counter({object_id(0): 3, object_id(9): 1})


def command(recent=NONE, shard=None, **limits):
    rules = policy(limits={**WIDE, **limits})
    return command_of(rules, history=Earlier(recent=recent), shard=shard)


def organization(stale=(), *, seen=0, unreadable=0, org_id=ORG, name=None, unread=()):
    unread = unread or [
        ListUnreadable(object_id(500 + n), f"P{n}", "503", org_id=org_id) for n in range(unreadable)
    ]
    counts = Counts(
        invitations_seen=max(seen, len(stale)),
        stale=len(stale),
        due=len(stale),
        projects_unreadable=len(unread),
    )
    who = AtlasOrganization(org_id, None, name=name)
    decided = Decided(who, counts=counts, deletable=tuple(stale), lists=ReadLists(unread=unread))
    return OrganizationPlan(decided, decided.deletable)


def trim(plans, **limits):
    """Return the plans with the oldest that the limits allow."""
    found = command(over_limit="trim", **limits)
    return make_plans([each.decided for each in plans], found.limits, found.now)


def plan(*deletions, seen=10**6, unreadable=0):
    number = count()
    stale = [
        stale_line(next(number), project=place)
        for place, size in enumerate(deletions)
        for _ in range(size)
    ]
    return organization(stale, seen=seen, unreadable=unreadable)


def stale_line(number, *, days=20, project=1, source=Source.INVITES, org_id=ORG):
    return planned(
        number,
        project_id=object_id(project),
        project_name=f"p{project}",
        age=timedelta(days=days),
        source=source,
        org_id=org_id,
    )


def violations(found, recent=NONE, shard=None, **limits):
    try:
        check_limits([found], command(recent, shard, **limits))
    except GuardRefused as refused:
        return refused.reasons
    return ()


@pytest.mark.parametrize("limit", [6, 0])
def test_as_many_lists_as_max_unreadable_projects_may_be_unread_and_not_one_more(limit):
    assert violations(plan(unreadable=limit), max_unreadable_projects=limit) == ()
    refused = violations(plan(unreadable=limit + 1), max_unreadable_projects=limit)
    assert refused == (Reason.MAX_UNREADABLE_PROJECTS,)


def unread(status=500, code=None, **changes):
    own = {"project_id": object_id(9), "project_name": "a\nb", "org_id": ORG, **changes}
    reason = "Row of ada@example.com."
    return ListUnreadable(**own, reason=reason, http_status=status, error_code=code)


NONE_ALLOWED = dict.fromkeys(WIDE, 0)
ONE_IN_PLACE = {"max_deletions_per_project": 1}
OF_EACH_PLACE = (unread(), unread(org_id=OTHER_ORG), unread(org_id=None), unread(project_id=ORG))
OF_EACH_CAUSE = (unread(200), unread(None), unread(401, "NOT_IN_GROUP"))
UNKNOWN = unread(404, "GROUP_NOT_FOUND")
TIGHT = {"max_deletions": 9, "max_share": 0.1}
REFUSED = {
    "each limit": ([plan(11, seen=11, unreadable=1)], NONE_ALLOWED),
    "in a shard": ([plan(11, seen=11, unreadable=1)], {**NONE_ALLOWED, "shard": Shard(1, 3)}),
    "more lists than are named": ([plan(unreadable=7)], NONE_ALLOWED),
    "two places": ([plan(2, 3)], ONE_IN_PLACE),
    "three places": ([plan(2, 3, 1, 2)], ONE_IN_PLACE),
    "each cause": ([organization(unread=OF_EACH_CAUSE)], NONE_ALLOWED),
    "a project that is not known": ([organization(unread=[UNKNOWN])], NONE_ALLOWED),
    "earlier runs": ([plan(4, 7, seen=96)], {**TIGHT, "recent": RECENT}),
    "two organizations": (
        [organization(name="Acme", unread=OF_EACH_PLACE), organization(org_id=OTHER_ORG)],
        NONE_ALLOWED,
    ),
}


def test_refusals_are_as_they_were_reviewed():
    parts = [
        f"== {name}\n{refusal(check_limits, plans, command(**options))}"
        for name, (plans, options) in REFUSED.items()
    ]
    parts += [
        f"== a clock that is off by {skew_s} seconds\n{refusal(check_clock, skew_s)}"
        for skew_s in (0.0, 300.0, 301.5, -300.0, -300.5, None)
    ]
    text = "\n\n".join(parts) + "\n"
    assert_reviewed(text, __file__, "refusals.txt")


@pytest.mark.parametrize("recent", [NONE, RECENT])
@pytest.mark.parametrize("seen", [12, 37, 96])
def test_plan_passes_with_the_keys_of_the_hint_and_not_with_less(seen, recent):
    found = plan(7, 5, seen=seen)
    tight = command(recent, max_deletions=1, max_deletions_per_project=1, max_share=0.01)
    with pytest.raises(GuardRefused) as caught:
        check_limits([found], tight)
    keys = re.search(r"policy, set (.*), or", caught.value.hint)[1]
    keys = yaml.safe_load(f"{{{keys}}}")
    assert violations(found, recent, **keys) == ()
    for name, value in keys.items():
        less = round(value - (0.01 if name == "max_share" else 1), 2)
        assert violations(found, recent, **keys | {name: less}) == (name,)


def test_limits_count_over_all_organizations_together():
    own = organization([stale_line(n) for n in range(6)], seen=20)
    other = [stale_line(n, project=2, org_id=OTHER_ORG) for n in range(6)]
    both = [own, organization(other, seen=4, org_id=OTHER_ORG)]
    check_limits(both, command(max_deletions=12, max_share=0.5))
    for tight in ({"max_deletions": 11}, {"max_share": 0.45}):
        with pytest.raises(GuardRefused, match=r"^In 2 organizations together: 12 stale"):
            check_limits(both, command(**tight))


@pytest.mark.parametrize(("shard", "exempt"), [(None, 10), (Shard(1, 3), 4), (Shard(3, 3), 3)])
def test_ten_stale_invitations_of_all_shards_are_exempt_from_the_share(shard, exempt):
    for size in (exempt, exempt + 1):
        found = violations(plan(size, seen=100), shard=shard, max_share=0)
        assert bool(found) is (size > exempt)


sizes = st.lists(st.integers(0, 30), max_size=6)
some_limits = st.builds(
    dict,
    max_deletions=st.integers(0, 60),
    max_deletions_per_project=st.integers(0, 30),
    max_share=st.integers(0, 100).map(lambda n: n / 100),
    max_unreadable_projects=st.integers(0, 3),
)


@example([29], [], 71, 0, {**WIDE, "max_share": 0.29})  # 0.29 * 100 < 29 in floating point
@given(sizes, sizes, st.integers(0, 60), st.integers(0, 4), some_limits)
def test_plan_has_no_violations_exactly_if_every_limit_holds(
    deletions, earlier, kept, unreadable, limits
):
    """By how many deletions each project has, and how many earlier runs sent there."""
    total = sum(deletions)
    before = sum(earlier)
    recent = Counter({object_id(place): size for place, size in enumerate(earlier)})
    found = plan(*deletions, seen=total + kept, unreadable=unreadable)
    in_places = [size + sent for size, sent in zip_longest(deletions, earlier, fillvalue=0) if size]
    share = Fraction(round(limits["max_share"] * 100), 100)
    of_share = total + before <= 10 or total + before <= share * (total + kept + before)
    holds = not total or (
        total + before <= limits["max_deletions"]
        and max(in_places) <= limits["max_deletions_per_project"]
        and of_share
    )
    holds = holds and unreadable <= limits["max_unreadable_projects"]
    assert (violations(found, recent, **limits) == ()) is holds


PLACES = st.integers(1, 3)
COUNTS = st.integers(0, 15)
SENT = st.dictionaries(PLACES.map(object_id), COUNTS).map(Counter)


@given(
    places=st.lists(PLACES, max_size=30),
    others=COUNTS,
    most=COUNTS,
    in_place=COUNTS,
    share=st.integers(0, 100),
    sent=SENT,
)
def test_trimmed_plan_keeps_each_limit_and_leaves_out_only_what_one_holds_back(
    places, others, most, in_place, share, sent
):
    keys = {"max_deletions": most, "max_deletions_per_project": in_place, "max_share": share / 100}
    limits = RunLimits(policy(limits=keys).limits, None, sent)
    planned = [stale_line(n, days=90 - n, project=place) for n, place in enumerate(places)]
    seen = len(planned) + others
    left = limits.trim(planned, seen, NOW)
    fitting = [each for each in planned if each.key not in left]
    assert not list(limits.exceeded(fitting, seen, len(planned)))
    by_place = Counter(each.place_id for each in fitting)
    if fitting:
        assert len(fitting) + sent.total() <= most
    for place, number in by_place.items():
        assert number + sent[place] <= in_place
    for each in planned:
        limit = left.get(each.key)
        if limit is None:
            continue
        # The limit is used up, and the invitations that go from its place are older.
        going = len(fitting) if limit.place is None else by_place[each.place_id]
        assert going == limit.left
        assert all(
            other.created_at < each.created_at
            for other in fitting
            if other.place_id == each.place_id
        )
    backlog = limits.backlog(left, seen, len(planned))
    assert (backlog is None) == (not left)
    assert backlog is None or backlog.nights is None or backlog.nights >= 1


def test_trim_leaves_the_oldest_of_all_organizations_within_each_limit():
    own = organization([stale_line(1, days=20), stale_line(2, days=40)])
    theirs = [stale_line(3, days=30, project=2, org_id=OTHER_ORG)]
    found = trim([own, organization(theirs, org_id=OTHER_ORG)], max_deletions=2)
    left = [[int(each.invitation_id, 16) for each in one.deletions] for one in found]
    assert (left, [each.counts.trimmed for each in found]) == ([[2], [3]], [1, 0])


@given(st.permutations([(1, 1), (1, 2), (2, 1), (2, 2), (3, 1)]))
def test_trim_leaves_the_same_whatever_list_was_read_first(order):
    """A person has the same id and date in the lists of two projects."""
    lines = [stale_line(n, project=project, source=Source.USERS) for n, project in order]
    (found,) = trim([organization(lines)], max_deletions=3)
    assert {each.key for each in found.deletions} == {
        stale_line(n, project=project, source=Source.USERS).key
        for n, project in ((1, 1), (1, 2), (2, 1))
    }


SHA256 = "5abc" * 16


def stale(number=1, rule="r", **changes):
    return Decision(invitation(number, **{"source": Source.INVITES, **changes}), rule, None)


def kept(number=1, reason="too_young"):
    return Decision(invitation(number, source=Source.INVITES), None, reason)


def outside(*decisions):
    return KeepOutsidePlan(map(line_of, decisions))


def saved(*decisions, start=None, sha256=SHA256):
    start = start or started(mode="dry-run")
    return SavedPlan(Path("p.jsonl"), "dry", start, tuple(map(line_of, decisions)), sha256)


@pytest.mark.parametrize(
    "changes",
    [
        {"username": None},
        {"created_at": None},
        {"created_at": "x"},
        {"created_at": NOW - 15 * DAY},
        {"project_id": object_id(99)},
        {"org_id": object_id(98)},
        {"source": Source.ORG_INVITES},
    ],
    ids=str,
)
def test_invitation_with_another_name_date_or_place_is_not_in_the_plan(changes):
    assert outside(stale())(stale(**changes)).keep_reason == "not_in_plan"


def test_order_of_roles_another_name_status_or_time_zone_is_not_a_change():
    roles = ("GROUP_OWNER", "GROUP_READ_ONLY")
    local = (NOW - 20 * DAY).astimezone()
    shown = {"project_name": "renamed", "status": "INVITATION_EXPIRED", "created_at": local}
    assert outside(stale(roles=roles))(stale(roles=roles[::-1], **shown)).stale


@pytest.mark.parametrize("created_at", [None, "x"])
def test_planned_line_without_a_date_allows_nothing(created_at):
    planned = stale(created_at=created_at)
    for now in (stale(), stale(created_at=created_at)):
        assert outside(planned)(now).keep_reason == "not_in_plan"


def person(*lists):
    named, *others = map(entry_of, lists)
    return Decision(named, "r", None, entries=tuple(others))


def test_delete_may_end_fewer_entries_than_the_plan_showed_and_none_that_it_did_not():
    of_two = person(Source.ORG_USERS, Source.USERS)
    assert outside(of_two)(person(Source.ORG_USERS)).stale
    assert outside(of_two)(of_two).stale
    of_three = person(Source.ORG_USERS, Source.USERS, Source.ORG_INVITES)
    step = outside(of_two)
    assert step(of_three).keep_reason == "changed_since_plan"


def test_what_was_another_invitation_when_the_plan_was_made_is_kept_and_reported():
    lists = Source.USERS, Source.ORG_INVITES
    step = outside(*map(person, lists))
    assert step(person(Source.ORG_USERS, *lists)).keep_reason == "not_in_plan"
    assert [each.partition(" because")[0] for each in step.left().sentences()] == [
        "2 of the plan's invitations are kept"
    ]


@given(st.sets(st.integers(1, 30)), st.lists(st.tuples(st.integers(1, 30), st.booleans())))
def test_planned_invitations_are_allowed_once_unless_one_is_kept_and_no_others(planned, present):
    step = outside(*map(stale, planned))
    first = {}
    for number, is_stale in present:
        first.setdefault(number, is_stale)
    allowed = [n for n, is_stale in present if step(stale(n) if is_stale else kept(n)).stale]
    assert allowed == [n for n, is_stale in first.items() if is_stale and n in planned]


RULES = policy()


def apply(*, age=DAY, history=None, expected=None, **start):
    own = {"mode": "dry-run", "policy_sha256": RULES.sha256, "organizations": (ORG,), **start}
    plan, history = saved(stale(), start=started(**own)), history or History()
    command = command_of(RULES, saved=plan, now=NOW + age, history=history)
    check_plan(command, max_age=DAY, sha256=expected)


def test_plan_may_be_applied_up_to_its_greatest_age_and_from_a_machine_5_minutes_ahead():
    """And with its hash, as a person may write it."""
    for age in (DAY, timedelta(), timedelta(minutes=-5)):
        apply(age=age, expected=f" {SHA256.upper()}\n")
    check_plan(command_of(RULES), max_age=DAY)  # no plan was given


DIFFERENCES = {
    "no invitation": ((), 0, 0),
    "one is kept": (["too_young"], 0, 0),
    "three are kept": (["too_young", "keep:boss", "too_young"], 0, 0),
    "one has changed": ((), 1, 0),
    "three have changed": ((), 3, 0),
    "one is not seen": ((), 0, 1),
    "1,200 are not seen": ((), 0, 1200),
}
"""Of a plan: for which reasons it is kept now, and how many have changed or were not seen."""
NOT_APPLIED = {
    "too old": {"age": DAY + timedelta(microseconds=1)},
    "of a time to come": {"age": -timedelta(minutes=5, microseconds=1)},
    "for one organization more": {"organizations": (ORG, "0" * 24)},
    "for no organization": {"organizations": ()},
    "for another Atlas": {"base_url": "https://cloud.mongodbgov.com"},
    "of another policy": {"policy_sha256": "b" * 64},
    "of another hash": {"expected": "f" * 64},
    "of no hash": {"expected": ""},
}


def test_what_is_told_of_a_saved_plan_is_as_it_was_reviewed():
    parts = []
    for name, (reasons, changed, unseen) in DIFFERENCES.items():
        step = outside(*map(stale, range(len(reasons) + changed + unseen)))
        for number, reason in enumerate(reasons):
            step(kept(number, reason))
        for number in range(changed):
            step(stale(number, rule="another"))
        step(kept(5000, "not planned"))
        parts += [f"== {name}", *step.left().sentences()]
    parts += [f"== {name}\n{refusal(apply, **options)}" for name, options in NOT_APPLIED.items()]
    assert_reviewed("\n".join(parts) + "\n", __file__, "saved_plan.txt")


def test_plan_that_a_sweep_completed_is_refused(directory):
    for number, applied in enumerate(("6" * 64, SHA256), start=1):
        apply(history=History.read(directory, NOW))
        write_run(directory, f"r{number}", start=started(plan_sha256=applied), end=finished())
    history = History.read(directory, NOW)
    assert "Run 2 has already applied the plan.\nNothing" in refusal(apply, history=history)


@pytest.mark.parametrize("made_at", [NOW, NOW - timedelta(hours=1), NOW + timedelta(hours=1)])
@pytest.mark.parametrize("is_accepted_before", [True, False])
def test_plan_is_refused_that_a_lost_run_may_have_applied(directory, made_at, is_accepted_before):
    """It ran before another run accepted that its file is lost, so it cannot know a later plan."""
    write_run(directory, "r1")
    write_run(directory, "r2").unlink()
    if is_accepted_before:
        write_run(directory, "r3", MissingAccepted((2,)))
    history = History()
    recent = {"period": timedelta(), "back": timedelta(days=1)}
    history.add_recent(directory, NOW, **recent, accepts_missing=True)
    if is_accepted_before and made_at > NOW:
        assert why_possibly_used(made_at, history) == ""
        return
    assert why_possibly_used(made_at, history) == (
        "The file of a run is lost: whether that run has applied the plan is not known."
    )
