"""Progress: a bar on a terminal, a log line every 30 seconds elsewhere."""

from io import StringIO

from rich.console import Console
from structlog.testing import CapturingLogger

from invite_sweeper.audit.events import RunWarning
from invite_sweeper.cli.progress import Progress
from invite_sweeper.endings import WarningCode, WarningLevel
from invite_sweeper.outcomes import Outcome


class Log(CapturingLogger):
    @property
    def lines(self):
        """What is shown without -v."""
        calls = [each for each in self.calls if each.method_name != "debug"]
        return [(each.method_name, *each.args, each.kwargs) for each in calls]


def terminal():
    return Console(file=StringIO(), width=80, force_terminal=True, color_system=None)


def test_progress_of_all_organizations_is_logged_every_30_s_with_outcomes_and_none_before():
    log = Log()
    ticks = []
    view = Progress(log, None, lambda: float(len(ticks)))
    view.started("Deleting invitations", 40, "Acme")
    view.started("Deleting invitations", 60, "Beta")
    for _ in range(59):
        ticks.append("a second")
        view.done(Outcome.DELETED)
    counts = {"done": 30, "total": 100, "deleted": 30}
    assert log.lines == [("info", "deleting invitations", counts)]


def test_warning_goes_to_the_log_by_its_level():
    log = Log()
    for level in WarningLevel:
        Progress(log, None).warn(RunWarning(WarningCode.TEAMS, "told", level))
    assert [method for method, *_ in log.lines] == ["info", "warning", "error"]


def test_bar_shows_progress_and_failures_and_is_removed_after_the_last_step():
    console = terminal()
    view = Progress(Log(), console)
    view.started("Deleting invitations", 0, "Acme")
    assert console.file.getvalue() == ""
    view.started("Deleting invitations", 10, "Beta")
    for outcome in (*[Outcome.DELETED] * 9, Outcome.FAILED):
        view.done(outcome)
    for _ in range(2):
        shown = console.file.getvalue()
        assert "10/10" in shown
        assert "1 failed" in shown
        assert shown.endswith("\x1b[2K")
        view.close()
