"""Output files: paths that would overwrite each other, and targets that may be replaced."""

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
    except OSError:  # one of them does not exist yet
        return os.path.realpath(path) == os.path.realpath(other)


def check_distinct_files(
    outputs: Mapping[str, Path | None], others: Iterable[tuple[str, Path]]
) -> None:
    """Raise UsageError if two outputs, or an output and another file, are the same file.

    Links and relative paths are resolved.

    Args:
        outputs: Output files by option; None for an option that is not set.
        others: A description and the path of each other file.
    """
    named = [(option, path) for option, path in outputs.items() if path is not None]
    if not named:
        return
    pairs = [*combinations(named, 2), *((one, other) for other in others for one in named)]
    for (option, path), (what, other) in pairs:
        if _is_same_file(path, other):
            raise UsageError(
                f"{option} {path} would overwrite {what} {other}.",
                hint="Choose another file.",
            )


def regular_file_target(path: Path) -> Path | None:
    """Return the regular file that a path refers to, existing or not; links are followed.

    None for a pipe or a device, which can be written but must not be replaced: as root,
    replacing `/dev/null` by a file breaks the machine.

    Raises:
        OSError: It is a directory, or cannot be examined.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return path.resolve()
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return path.resolve() if stat.S_ISREG(mode) else None
