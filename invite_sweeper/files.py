"""Output files: paths that would overwrite each other, and targets that may be replaced."""

import errno
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
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


def check_replaceable(path: Path, what: str) -> None:
    """Raise UsageError if a file cannot be replaced; leaves nothing behind.

    Args:
        path: An existing or new file.
        what: Its name at the beginning of a sentence.
    """
    try:
        target = _replaceable_target(path)
        partial = _partial_path(target)
        os.close(_create_exclusive(partial))
        partial.unlink()
    except OSError as error:
        raise UsageError(
            f"{what} {path} cannot be written: {error.strerror}.",
            hint="Name a regular file in a writable directory with free space.",
        ) from None


def replace_file(path: Path, data: bytes) -> None:
    """Write a file atomically with mode 0600, and sync it and its name to disk.

    Raises:
        OSError: It was not written; an earlier file is unchanged.
    """
    target = _replaceable_target(path)
    partial = _partial_path(target)
    fd = _create_exclusive(partial)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError:
        with suppress(OSError):
            partial.unlink()
        raise
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _replaceable_target(path: Path) -> Path:
    target = regular_file_target(path)
    if target is None:
        raise OSError(errno.EINVAL, "it is not a regular file")
    return target


def _partial_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _create_exclusive(partial: Path) -> int:
    partial.unlink(missing_ok=True)
    return os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
