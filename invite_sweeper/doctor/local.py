"""The audit log's folder, lock and earlier runs; reads, and makes no file."""

import fcntl
import os
import shutil
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from invite_sweeper.audit import AuditLock, past_runs, unfinished_intents
from invite_sweeper.audit.storage import prepare_folder
from invite_sweeper.doctor.values import Check, failed, ok, warning
from invite_sweeper.errors import AuditUnwritable, GuardRefused
from invite_sweeper.plural import fitting

_FOLDER: Final = "audit folder"
_LOG: Final = "audit log"
_LOCK: Final = "lock"
_RUNS: Final = "earlier runs"
_ROOM_BYTES: Final = 100 * 1024 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def audit_checks(path: Path) -> Iterator[Check]:
    """Look at the file of a log and its folder, whether or not they are there."""
    absolute = path.absolute()
    try:
        yield _folder(absolute.parent)
        yield from _file(absolute)
    except AuditUnwritable as error:
        yield failed(_FOLDER, error)
    except OSError as error:
        what = f"{absolute.parent} cannot be looked at: {error.strerror or error}."
        yield failed(_FOLDER, AuditUnwritable(what))


def _folder(folder: Path) -> Check:
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    prepare_folder(there)  # makes nothing: it is there
    if not os.access(there, os.W_OK | os.X_OK):
        raise AuditUnwritable(
            f"This user cannot write to {there}.", hint="Name an audit log elsewhere."
        )
    room = shutil.disk_usage(there).free
    if room < _ROOM_BYTES:
        return warning(_FOLDER, f"{folder} has room for {room // 1024:,} KiB alone.", "Make room.")
    if there != folder:
        return ok(_FOLDER, f"{folder} is not there yet; it will be made, for this user alone.")
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _OTHERS:
        return ok(_FOLDER, f"{folder} can be written; others can look into it ({mode:04o}).")
    return ok(_FOLDER, f"{folder} can be written, and is this user's alone.")


def _file(path: Path) -> Iterator[Check]:
    if not os.path.lexists(path):
        yield ok(_LOG, f"{path} is not there yet.")
        return
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise AuditUnwritable(f"The audit log {path} is no plain file.", hint="Name a file.")
    if status.st_uid not in {0, os.geteuid()}:
        raise AuditUnwritable(f"The audit log {path} belongs to another user.")
    if status.st_mode & stat.S_IWOTH:
        raise AuditUnwritable(f"Others can write to {path}.", hint=f"chmod 600 {path}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise AuditUnwritable(f"This user cannot write to {path}.", hint=f"chmod 600 {path}")
    if status.st_mode & _OTHERS:
        yield warning(_LOG, f"Others can read {path}.", f"chmod 600 {path}")
    else:
        yield ok(_LOG, f"{path} is private; {status.st_size:,} bytes.")


def lock_check(lock: AuditLock, path: Path) -> Check:
    """Tell whether another run holds the lock; it is not taken from anybody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ok(_LOCK, "Nobody holds it.")
    except OSError as error:
        what = f"The lock {path} cannot be looked at: {error.strerror or error}."
        return failed(_LOCK, AuditUnwritable(what))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return failed(_LOCK, lock.held_by_another())
    finally:
        os.close(descriptor)
    return ok(_LOCK, "Nobody holds it.")


def earlier_runs(files: Sequence[Path]) -> Iterator[Check]:
    """Tell of the last run, and of what a run that was cut off left open."""
    try:
        runs = deque(past_runs(*files), maxlen=1)
        unsettled = unfinished_intents(*files)
    except GuardRefused as error:
        yield failed(_RUNS, error)
        return
    last = runs.pop() if runs else None
    if last is None:
        yield ok(_RUNS, "None yet.")
    elif not last.finished:
        are = fitting(len(unsettled), "is", "are")
        yield warning(
            _RUNS,
            f"The last one, {last.run_id}, has no end: it was killed, or it runs.",
            f"{len(unsettled)} of its calls {are} unsettled; the next sweep settles them.",
        )
    else:
        code = f"exit code {last.exit_code}"
        yield ok(_RUNS, f"The last one, {last.run_id} ({last.mode}), ended with {code}.")
