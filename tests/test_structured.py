"""structlog as the program loads it."""

import subprocess
import sys

import pytest

_TRACEBACK = """
import sys
{before}
from invite_sweeper.structured import structlog

log = structlog.wrap_logger(
    structlog.PrintLogger(sys.stdout), processors=[structlog.dev.ConsoleRenderer(colors=False)]
)

def fails():
    token = "a-very-secret-" + "token"
    raise ValueError("no")

try:
    fails()
except ValueError:
    log.exception("failed")
"""


def printed(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_traceback_in_the_log_shows_no_local_variable_though_rich_is_installed():
    shown = printed(_TRACEBACK.format(before=""))
    assert "ValueError: no" in shown
    assert "a-very-secret-token" not in shown


_ON_A_TERMINAL = """
import io, sys
{before}
from invite_sweeper.cli import messages

class Terminal(io.StringIO):
    def isatty(self):
        return True

def fails():
    token = "a-very-secret-" + "token"
    raise ValueError("no")

sys.stderr = shown = Terminal()
log = messages.configure(quiet=False, verbose=False)
try:
    fails()
except ValueError:
    log.exception("failed")
print(shown.getvalue())
"""


@pytest.mark.parametrize("before", ["", "import structlog"])
def test_program_s_own_log_shows_no_local_variable_though_somebody_loaded_structlog_with_rich(
    before,
):
    shown = printed(_ON_A_TERMINAL.format(before=before))
    assert "ValueError: no" in shown
    assert "a-very-secret-token" not in shown


@pytest.mark.parametrize("before", ["", "import rich.console", "import structlog"])
def test_rich_can_be_imported_afterwards_and_is_the_same_as_before(before):
    program = f"""
import sys
{before}
had = sys.modules.get("rich")
import invite_sweeper.structured
assert sys.modules.get("rich") is had, sys.modules.get("rich")
import rich.console
assert had is None or sys.modules["rich"] is had
print("good")
"""
    assert printed(program) == "good\n"
