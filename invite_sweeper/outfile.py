"""Where a file that somebody asks for goes: the place of a plain one is taken, no other's."""

import errno
import os
import stat
from pathlib import Path


def replaceable(path: Path) -> Path | None:
    """Give the plain file, there or not yet, that a name stands for; links are followed.

    None for a pipe or a device: it can be written, and never be replaced. As root, a file in
    the place of `/dev/null` breaks the machine.

    Raises:
        OSError: It is a folder, or nobody can tell what it is.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path.resolve()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return path.resolve() if stat.S_ISREG(mode) else None
