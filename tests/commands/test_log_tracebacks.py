"""No traceback in the program's own log shows the value of a local variable."""

import subprocess
import sys

import pytest

_SCRIPT = """
import io, sys
import rich.traceback
from invite_sweeper.cli.console import configure_logging

class Stream(io.StringIO):
    def isatty(self):
        return {terminal}

def fails():
    token = "a-very-secret-" + "token"
    raise ValueError("no")

sys.stderr = shown = Stream()
log = configure_logging(quiet=False, verbose=True)
try:
    fails()
except ValueError:
    log.exception("failed")
print(shown.getvalue())
"""


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "JSON lines"])
def test_traceback_shows_no_local_variable_though_rich_is_installed(terminal):
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT.format(terminal=terminal)],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=True,
    )
    assert "ValueError: no" in done.stdout
    assert "in fails" in done.stdout
    assert "a-very-secret-token" not in done.stdout
