"""Progress views: rate, remaining time and cleanup."""

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from invite_sweeper.models import DeletionEstimate, Outcome
from invite_sweeper.report.progress import BarProgressView, LogProgressView, remaining_s


class FakeLog:
    def __init__(self):
        self.lines = []

    def info(self, event, **fields):
        self.lines.append(("info", event, fields))

    def warning(self, event, **fields):
        self.lines.append(("warning", event, fields))

    def error(self, event, **fields):
        self.lines.append(("error", event, fields))


class FakeClock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.mark.parametrize(
    ("left", "rate", "elapsed_s", "estimate", "expected"),
    [
        (100, 10.0, 5.0, (0.0, 0.0), 10.0),  # no estimate: only the rate
        (100, 100.0, 5.0, (60.0, 60.0), 55.0),  # a fast burst: the rest of the rate limits
        (100, 100.0, 5.0, (60.0, 2.0), 1.0),  # faster than the first responses: the rate
        (100, 1.0, 5.0, (60.0, 60.0), 100.0),  # slower than the estimate: the rate
        (100, 1.0, 90.0, (60.0, 60.0), 100.0),  # the estimate is exceeded: the rate
        (100, None, 0.0, (60.0, 2.0), 60.0),  # no rate yet: the estimate
        (100, None, 0.0, (0.0, 0.0), None),  # unknown
        (0, 10.0, 5.0, (60.0, 60.0), 0.0),  # done
    ],
)
def test_remaining_time_follows_the_measured_rate_but_not_below_the_rate_limits(
    left, rate, elapsed_s, estimate, expected
):
    assert remaining_s(left, rate, elapsed_s, DeletionEstimate(*estimate)) == expected


@given(
    st.integers(0, 10**6),
    st.none() | st.floats(0.001, 1e6),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
)
def test_remaining_time_is_never_negative_nor_below_the_rest_of_the_rate_limits(
    left, rate, elapsed, estimate
):
    found = remaining_s(left, rate, elapsed, DeletionEstimate(estimate, estimate))
    assert found is None or found >= 0
    if left and estimate > elapsed:
        assert found is not None
        assert found >= estimate - elapsed


def test_progress_is_logged_at_the_start_and_then_every_30_s():
    log, clock = FakeLog(), FakeClock()
    view = LogProgressView(log, clock)
    view.deleting_started(100, DeletionEstimate(60.0, 60.0), "Acme")
    for _ in range(59):
        clock.now_s += 1.0
        view.deletion_done(Outcome.DELETED)
    assert [event for _, event, _ in log.lines] == ["deleting invitations"] * 2
    first, later = (fields for _, _, fields in log.lines)
    assert first == {"organization": "Acme", "total": 100, "estimate_s": 60.0}
    assert later.pop("organization") == "Acme"
    assert later == {"done": 30, "total": 100, "per_second": 1.0, "remaining_s": 70, "deleted": 30}


def test_logged_remaining_time_is_not_below_the_rest_of_the_rate_limits():
    log, clock = FakeLog(), FakeClock()
    view = LogProgressView(log, clock)
    view.deleting_started(100, DeletionEstimate(600.0, 600.0), "Acme")
    for _ in range(30):
        clock.now_s += 1.0
        view.deletion_done(Outcome.DELETED)
    assert log.lines[-1][2]["remaining_s"] == 570


def test_listing_and_deleting_are_logged_as_separate_events():
    log, clock = FakeLog(), FakeClock()
    view = LogProgressView(log, clock)
    view.listing_started(3, "Acme")
    view.list_done()
    view.deleting_started(2, DeletionEstimate(), "Acme")
    assert [(event, fields) for _, event, fields in log.lines] == [
        ("reading projects", {"organization": "Acme", "total": 3}),
        ("deleting invitations", {"organization": "Acme", "total": 2}),
    ]


@pytest.mark.parametrize("make", [LogProgressView, BarProgressView])
def test_warnings_and_errors_go_to_the_log(make):
    log = FakeLog()
    view = make(log, FakeClock() if make is LogProgressView else Console(file=StringIO()))
    view.warning("first")
    view.error("second")
    view.close()
    assert log.lines == [("warning", "first", {}), ("error", "second", {})]


def bar(width: int) -> tuple[BarProgressView, Console]:
    console = Console(file=StringIO(), width=width, force_terminal=True, color_system=None)
    view = BarProgressView(FakeLog(), console)
    view._progress.live.auto_refresh = False
    return view, console


@pytest.mark.parametrize("width", [60, 80, 140])
def test_bar_shows_progress_and_failures_on_one_line(width):
    view, _ = bar(width)
    view.deleting_started(40, DeletionEstimate(120.0, 120.0), f"Example Industries ({'5' * 24})")
    for outcome in (*[Outcome.DELETED] * 9, Outcome.FAILED):
        view.deletion_done(outcome)
    output = Console(file=StringIO(), width=width)
    output.print(view._progress.get_renderable())
    view.close()
    (line,) = output.file.getvalue().splitlines()
    assert len(line) <= width
    assert "10/40" in line
    assert ("Example" in line) == (width > 60)
    assert "1 failed" in line
    assert "2:00 left" in line or "1:59 left" in line


def test_bar_is_removed_after_the_last_step():
    view, console = bar(80)
    view.listing_started(2, "Acme")
    assert view._progress.live.is_started
    view.list_done()
    assert view._progress.live.is_started
    view.list_done()
    assert not view._progress.live.is_started
    assert console.file.getvalue().endswith("\x1b[2K")


def test_bar_shows_only_deletions_once_they_start():
    view, _ = bar(80)
    view.listing_started(3, "Acme")
    view.list_done()
    view.deleting_started(2, DeletionEstimate(), "Acme")
    assert [task.description for task in view._progress.tasks] == ["Deleting · Acme"]
    view.close()


def test_bar_of_0_steps_is_never_shown():
    view, _ = bar(80)
    view.listing_started(0, "Acme")
    assert not view._progress.live.is_started
