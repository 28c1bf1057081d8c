"""The folder of an audit log: made where it is missing, refused where others could reach in."""

import os
import stat
from pathlib import Path

from invite_sweeper.errors import AuditUnwritable


def prepare_folder(folder: Path) -> None:
    """Make the folder, 0700, if it is missing, and refuse it if others could reach into it.

    Args:
        folder: Absolute.

    Raises:
        AuditUnwritable: It is refused. Nothing was changed but that missing folders were made.
        OSError: It cannot be made or looked at.
    """
    _make(folder)
    _refuse_links(folder)
    _refuse_open(folder)


def fsync_folder(folder: Path) -> None:
    """Put the folder's names on disk: a file that is synced alone may lose its name.

    Raises:
        OSError: It cannot be done.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _make(folder: Path) -> None:
    """Make what is missing, and put each new name on disk: a log must not vanish with one."""
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
        fsync_folder(each.parent)


def _refuse_links(folder: Path) -> None:
    if folder.is_symlink():
        raise AuditUnwritable(
            f"The audit log's folder {folder} is a symbolic link.", hint="Name the folder itself."
        )


def _refuse_open(folder: Path) -> None:
    """Refuse a folder in which others could put a file of theirs in our file's place.

    One that all may write to passes only with the sticky bit (as /tmp has it): there nobody
    can rename what is not theirs. Above the folder the same holds, but a folder of this user's
    own may lie in one that is open to all: it can be taken away, which is noticed.
    """
    below = None
    for each in (resolved := folder.resolve(), *resolved.parents):
        status = each.stat()
        is_open = status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX
        if is_open and below != os.geteuid():
            raise AuditUnwritable(
                f"Everybody can write to {each}, where the audit log is.",
                hint=f"Take that away: chmod o-w {each}",
            )
        below = status.st_uid
