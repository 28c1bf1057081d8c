"""The command line: one file per command."""

import sys

from invite_sweeper.endings import ExitCode

try:  # before the modules that need it, among them the lock of the audit directory
    import fcntl as _fcntl  # noqa: F401
except ModuleNotFoundError:
    sys.stderr.write(
        "Error: invite-sweeper runs on Linux and macOS: this Python has no file locks of POSIX.\n"
        "  Nothing was read or deleted.\n"
        "  On Windows, run it in WSL or in a container.\n"
    )
    sys.exit(int(ExitCode.USAGE))

from invite_sweeper.cli.main import main

__all__ = ["main"]
