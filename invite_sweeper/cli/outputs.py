"""The files that commands write: none overwrites another file, and each can be written."""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from os.path import realpath
from pathlib import Path
from typing import Final

from invite_sweeper.endings import Reason
from invite_sweeper.errors import AuditLogError, RunError, UsageError
from invite_sweeper.files import create_beside, open_regular, regular_file_target

_START_BYTES: Final = 4096
_OTHER_FILE: Final = "Choose another file."


def check_distinct_files(
    outputs: Mapping[str, Path | None], others: Iterable[tuple[str, Path]]
) -> None:
    """Raise UsageError if two outputs, or an output and another file, are the same file.

    Links and relative paths are resolved.

    Args:
        outputs: By option.
        others: With a description of each.
    """
    named = [(option, path) for option, path in outputs.items() if path is not None]
    if not named:
        return
    pairs = [*combinations(named, 2), *((one, other) for other in others for one in named)]
    for (option, path), (what, other) in pairs:
        if _is_same_file(path, other):
            raise UsageError(f"{option} {path} would overwrite {what} {other}.", hint=_OTHER_FILE)


def _is_same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them does not exist yet
        return realpath(path) == realpath(other)


def check_replaceable(option: str, path: Path, what: str, is_ours: Callable[[bytes], bool]) -> None:
    """Raise UsageError if an output would overwrite a file that this program did not write.

    A file that is missing, empty or ours may be replaced, also behind a link. A pipe or a device
    is reported where it is written.

    Args:
        option: That names it.
        what: What the program writes there, such as "a saved plan".
        is_ours: Returns whether a file that starts so is an earlier output of that kind.
    """
    try:
        mode = path.stat().st_mode
    except OSError:  # missing, or writing it reports the error
        return
    if stat.S_ISDIR(mode):
        raise UsageError(f"{option} {path} is a directory.", hint="Name a file in it.")
    if not stat.S_ISREG(mode):
        return
    try:
        with open_regular(path) as file:
            start = file.read(_START_BYTES)
    except OSError as error:
        raise UsageError(
            f"{option} {path} exists and cannot be read: {error.strerror}.", hint=_OTHER_FILE
        ) from None
    if start and not is_ours(start):
        raise UsageError(
            f"{option} {path} would overwrite a file that is not {what}.",
            hint=f"{_OTHER_FILE} If this one is not needed, delete it first.",
        )


def check_writable(path: Path, what: str) -> None:
    """Raise the error of `write_error` if a file cannot be replaced; leaves nothing behind."""
    try:
        partial, descriptor = create_beside(regular_file_target(path))
        os.close(descriptor)
        partial.unlink()
    except OSError as error:
        raise write_error(what, path, error) from None


def write_error(what: str, path: Path, error: OSError) -> RunError:
    """Return the error of a file that was not written: a full disk is that of the audit log."""
    message = f"{what} {path} cannot be written: {error.strerror}."
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return AuditLogError(message, hint=Reason.AUDIT_LOG.advice)
    return UsageError(message, hint="Name a regular file in a folder that you can write to.")
