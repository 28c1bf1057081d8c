"""The command line: one file per command."""

import sys

from invite_sweeper.cli.streams import OUTPUTS, json_requested, print_error
from invite_sweeper.errors import UsageError

try:  # before the modules that need it, among them the lock of the audit directory
    import fcntl as _fcntl  # noqa: F401 - whether it is there
except ModuleNotFoundError:
    _error = UsageError(
        "invite-sweeper runs on Linux: this Python has no file locks of POSIX.",
        hint="On Windows, run it in WSL or in a container.",
    )
    OUTPUTS.is_json = json_requested(sys.argv[1:])
    print_error(_error)
    OUTPUTS.write_error(_error)
    sys.exit(int(_error.exit_code))

from invite_sweeper.cli.main import main

__all__ = ["main"]
