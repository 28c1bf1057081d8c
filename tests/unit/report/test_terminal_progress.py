"""Progress views: rate, remaining time and cleanup."""

from io import StringIO

import pytest
from rich.console import Console

from invite_sweeper.models import Outcome
from invite_sweeper.report.progress import BarProgressView, LogProgressView


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


def test_progress_is_logged_at_the_start_and_then_every_30_s():
    log, clock = FakeLog(), FakeClock()
    view = LogProgressView(log, clock)
    view.deleting_started(100, "Acme")
    for _ in range(59):
        clock.now_s += 1.0
        view.deletion_done(Outcome.DELETED)
    assert [event for _, event, _ in log.lines] == ["deleting invitations"] * 2
    first, later = (fields for _, _, fields in log.lines)
    assert first == {"organization": "Acme", "total": 100}
    assert later.pop("organization") == "Acme"
    assert later == {"done": 30, "total": 100, "per_second": 1.0, "remaining_s": 70, "deleted": 30}


def test_listing_and_deleting_are_logged_as_separate_events():
    log, clock = FakeLog(), FakeClock()
    view = LogProgressView(log, clock)
    view.listing_started(3, "Acme")
    view.list_done()
    view.deleting_started(2, "Acme")
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
    view.deleting_started(40, f"Example Industries ({'5' * 24})")
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
    view.deleting_started(2, "Acme")
    assert [task.description for task in view._progress.tasks] == ["Deleting · Acme"]
    view.close()


def test_bar_of_0_steps_is_never_shown():
    view, _ = bar(80)
    view.listing_started(0, "Acme")
    assert not view._progress.live.is_started
