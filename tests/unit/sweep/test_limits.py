"""What the limits leave: never more than each of them allows, and never less than nothing."""

from collections import Counter
from datetime import timedelta

from builders import NOW, event_of, invitation, object_id, policy
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import Reason
from invite_sweeper.models import Source
from invite_sweeper.sweep.limits import Limit, RunLimits

PLACES = [object_id(place) for place in (1, 2, 3)]
COUNTS = st.integers(0, 15)
SENT = st.dictionaries(st.sampled_from(PLACES), COUNTS).map(Counter)


def deletions(places):
    """Return the deletion of an invitation in each of some places, the oldest first."""
    ages = (timedelta(days=90 - number) for number in range(len(places)))
    return [
        event_of(
            Planned,
            invitation(number, source=Source.INVITES, project_id=place, age=age),
            rule="forgotten",
        )
        for number, (place, age) in enumerate(zip(places, ages, strict=True), 1)
    ]


@given(COUNTS, COUNTS)
def test_what_is_left_and_used_is_the_limit_and_an_exceeded_one_leaves_nothing(most, used):
    left = Limit(Reason.MAX_DELETIONS, most, used).left
    assert left >= 0
    assert left + used == max(most, used)


@given(
    places=st.lists(st.sampled_from(PLACES), max_size=30),
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
    planned = deletions(places)
    seen = len(planned) + others
    left = limits.trim(planned, seen, NOW)
    fitting = [each for each in planned if each.key not in left]
    assert not list(limits.exceeded(fitting, seen, len(planned)))
    by_place = Counter(each.place_id for each in fitting)
    if fitting:
        assert len(fitting) + sent.total() <= most
    for place, count in by_place.items():
        assert count + sent[place] <= in_place
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
