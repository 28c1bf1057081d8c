"""Progress: a bar on a terminal, a log line every 30 seconds elsewhere."""

from io import StringIO

import pytest
from rich.console import Console
from structlog.testing import CapturingLogger

from invite_sweeper.audit.events import RunWarning
from invite_sweeper.cli.view import Progress
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.models import Outcome


class Log(CapturingLogger):
    @property
    def lines(self):
        """What is shown without -v."""
        calls = [each for each in self.calls if each.method_name != "debug"]
        return [(each.method_name, *each.args, each.kwargs) for each in calls]


class FakeClock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def terminal(width=80):
    return Console(file=StringIO(), width=width, force_terminal=True, color_system=None)


def test_progress_is_logged_every_30_s_with_outcomes():
    log, clock = Log(), FakeClock()
    view = Progress(log, None, clock)
    view.started("Deleting invitations", 100, "Acme")
    for _ in range(59):
        clock.now_s += 1.0
        view.done(Outcome.DELETED)
    assert log.lines == [
        ("info", "deleting invitations", {"done": 30, "total": 100, "deleted": 30})
    ]


def test_lists_of_several_organizations_add_up_and_a_short_run_logs_no_progress():
    log, clock = Log(), FakeClock()
    view = Progress(log, None, clock)
    view.started("Reading lists", 3, "Acme")
    view.started("Reading lists", 2, "Beta")
    view.done()
    assert log.lines == []
    clock.now_s += 30.0
    view.done()
    assert log.lines == [("info", "reading lists", {"done": 2, "total": 5})]
    view.close()


@pytest.mark.parametrize("console", [None, terminal()])
@pytest.mark.parametrize(
    ("level", "method"),
    [
        (WarningLevel.REMARK, "info"),
        (WarningLevel.WARNING, "warning"),
        (WarningLevel.URGENT, "error"),
    ],
)
def test_warning_goes_to_the_log_by_its_level(console, level, method):
    log = Log()
    view = Progress(log, console)
    view.warn(RunWarning(WarningCode.TEAMS, "told", level))
    view.close()
    assert log.lines == [(method, "told", {})]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_bar_shows_progress_and_failures_within_the_width(width):
    console = terminal(width)
    view = Progress(Log(), console)
    view.started("Deleting invitations", 40, "Acme")
    for outcome in (*[Outcome.DELETED] * 9, Outcome.FAILED):
        view.done(outcome)
    view.close()
    shown = console.file.getvalue()
    assert "10/40" in shown
    assert "1 failed" in shown


def test_bar_is_removed_after_the_last_step_and_may_be_closed_again():
    console = terminal()
    view = Progress(Log(), console)
    view.started("Reading lists", 2, "Acme")
    view.done()
    view.done()
    assert console.file.getvalue().endswith("\x1b[2K")
    view.close()
    assert console.file.getvalue().endswith("\x1b[2K")


def test_bar_of_0_steps_is_never_shown():
    console = terminal()
    view = Progress(Log(), console)
    view.started("Reading lists", 0, "Acme")
    view.close()
    assert console.file.getvalue() == ""
