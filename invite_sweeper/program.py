"""The commands that the program prints: they begin as the program was called."""

import os
import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Final

NAME: Final = "invite-sweeper"


def command(*words: str) -> str:
    """Return a command of this program that can be copied into a shell."""
    return shlex.join((called_as(sys.argv[0]), *words))


@cache
def called_as(script: str) -> str:
    """Return the name of the program, or the path of its script where the name finds another.

    Args:
        script: As in `sys.argv[0]`; of `python -m invite_sweeper` it names a module.
    """
    if os.sep not in script or Path(script).name != NAME:
        return NAME
    # Not `shutil.which`: shutil imports each format of an archive, and `--version` waits for it.
    paths = (Path(folder, NAME) for folder in os.get_exec_path())
    found = next((path for path in paths if os.access(path, os.X_OK)), None)
    return NAME if found is not None and found.samefile(script) else script
