"""When the next refill comes, by what was and was not seen."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.atlas.token_bucket import MARGIN_S, Ticks


def test_unseen_the_next_tick_comes_within_a_period_of_the_beginning():
    ticks = Ticks(60.0, 100.0)
    assert (ticks.earliest_s, ticks.latest_s) == (100.0, 160.0)
    assert ticks.passed(160.0 + MARGIN_S / 2) == 0
    assert ticks.passed(160.0 + MARGIN_S) == 1
    assert ticks.passed(160.0 + MARGIN_S) == 0
    assert ticks.passed(341.0) == 3


def test_an_answer_without_a_jump_moves_the_beginning_and_a_jump_closes_the_interval():
    ticks = Ticks(60.0, 100.0)
    ticks.absent(120.0)
    ticks.absent(110.0)
    assert ticks.earliest_s == 120.0
    ticks.seen(121.0, 122.0)
    assert (ticks.earliest_s, ticks.latest_s) == (181.0, 182.0)


def test_a_second_sighting_narrows_the_interval_and_makes_it_worth_waiting_for():
    ticks = Ticks(60.0, 100.0)
    ticks.seen(118.0, 122.0)
    assert not ticks.known
    ticks.seen(170.0, 180.0)
    assert ticks.known
    assert (ticks.earliest_s, ticks.latest_s) == (238.0, 240.0)


def test_a_tick_that_was_due_and_is_not_there_makes_the_period_a_guess():
    ticks = Ticks(60.0, 100.0)
    ticks.absent(160.0)
    assert not ticks.sure
    assert (ticks.earliest_s, ticks.latest_s) == (160.0, 220.0)


@pytest.mark.parametrize("told_s", [1.0, 60.0])
def test_two_jumps_teach_the_period_in_whole_seconds(told_s):
    ticks = Ticks(told_s, 0.0)
    ticks.doubt()
    ticks.seen(1.0, 1.2)
    ticks.seen(8.1, 8.3)
    assert ticks.sure
    assert ticks.period_s == (7.0 if told_s == 60.0 else 1.0)  # 7 ticks of 1 s fit as well


def test_two_jumps_that_name_no_whole_second_teach_the_middle_once_it_is_certain_enough():
    ticks = Ticks(60.0, 0.0)
    ticks.doubt()
    ticks.seen(10.0, 11.0)
    ticks.seen(40.0, 42.6)  # 29.0 to 32.6 s apart: one part in 9
    assert ticks.sure
    assert ticks.period_s == pytest.approx(30.8)


def test_jumps_that_contradict_the_earlier_ones_are_believed_for_the_bucket_has_changed():
    ticks = Ticks(60.0, 0.0)
    ticks.doubt()
    ticks.seen(5.0, 10.0)
    ticks.seen(20.0, 30.0)
    ticks.seen(31.0, 32.0)
    assert not ticks.sure  # 10 to 12 s, by all of them
    ticks.seen(56.8, 56.9)  # and now 24.8 to 25.9
    assert ticks.sure
    assert ticks.period_s == 25.0


def test_a_jump_long_before_its_time_makes_the_period_a_guess():
    ticks = Ticks(60.0, 0.0)
    ticks.seen(9.9, 10.1)
    ticks.seen(15.0, 30.0)
    assert not ticks.sure


def test_what_atlas_says_of_the_period_ends_the_guessing():
    ticks = Ticks(60.0, 0.0)
    ticks.doubt()
    ticks.relearn(2.0, 10.0)
    assert ticks.sure
    assert ticks.latest_s == 12.0
    ticks.seen(11.0, 11.1)
    ticks.relearn(2.0, 11.5)
    assert ticks.latest_s == pytest.approx(13.1)


@given(
    phase=st.floats(0.001, 0.999),
    period_s=st.integers(1, 100),
    gaps=st.lists(st.floats(0.001, 0.2), min_size=20, max_size=200),
)
def test_the_true_tick_is_always_within_the_interval(phase, period_s, gaps):
    """Looks at these gaps (in periods): each sees whether a tick came since the one before."""
    ticks, now_s, tick = Ticks(float(period_s), 0.0), 0.0, phase * period_s
    for gap in gaps:
        before_s, now_s = now_s, now_s + gap * period_s
        ticks.passed(now_s)
        if before_s < tick <= now_s:
            if ticks.earliest_s <= tick:  # not counted as due already
                ticks.seen(before_s, now_s)
            tick += period_s
        else:
            ticks.absent(now_s)
        assert ticks.sure
        assert ticks.earliest_s - 1e-6 <= tick <= ticks.latest_s + 1e-6
