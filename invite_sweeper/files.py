"""Atomic_write; paths that would overwrite each other."""

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from invite_sweeper.errors import UsageError


def _is_same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(path) == os.path.realpath(other)


def check_distinct_files(
    outputs: Mapping[str, Path | None], others: Iterable[tuple[str, Path]]
) -> None:
    """Let a command pass whose outputs are files of their own.

    Args:
        outputs: By the option that names each; None where it was not given.
        others: Each of the others, and what it is.

    Raises:
        UsageFault: Two are one file, by whatever names. Atlas was not called.
    """
    named = [(option, path) for option, path in outputs.items() if path is not None]
    if not named:
        return
    pairs = [*combinations(named, 2), *((one, other) for other in others for one in named)]
    for (option, path), (what, other) in pairs:
        if _is_same_file(path, other):
            raise UsageError(
                f"{option} {path} would take the place of {what} {other}.",
                hint="Name another file.",
            )


# Where a file that somebody asks for goes: the place of a plain one is taken, no other's.


def regular_file_target(path: Path) -> Path | None:
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
