"""Checks of the audit log, its folder, its lock and earlier runs.

No check writes a file or takes the lock.
"""

import fcntl
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from invite_sweeper.audit import History, LogPath, RunLock
from invite_sweeper.audit.head import check_end
from invite_sweeper.audit.storage import ensure_private_directory
from invite_sweeper.doctor.diagnosis import Check, failed, ok, warning
from invite_sweeper.endings import UNFINISHED_ADVICE
from invite_sweeper.errors import AuditLogError, GuardRefused, RunError
from invite_sweeper.text import pluralize

_FOLDER: Final = "audit folder"
_LOG: Final = "audit log"
_LOCK: Final = "lock"
_RUNS: Final = "earlier runs"
_MIN_FREE_BYTES: Final = 100 * 1024 * 1024
_GROUP_AND_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def audit_checks(path: Path) -> Iterator[Check]:
    """Check the audit log's folder and file; neither needs to exist yet."""
    absolute = path.absolute()
    try:
        yield _folder_check(absolute.parent)
        yield from _file_checks(absolute)
    except AuditLogError as error:
        yield failed(_FOLDER, error)
    except OSError as error:
        message = f"Could not check {absolute.parent}: {error.strerror or error}."
        yield failed(_FOLDER, AuditLogError(message))


def _folder_check(folder: Path) -> Check:
    existing = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    ensure_private_directory(existing)  # exists, so nothing is created
    if not os.access(existing, os.W_OK | os.X_OK):
        hint = "Set --audit-log to a file in another folder."
        raise AuditLogError(f"This user cannot write to {existing}.", hint=hint)
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < _MIN_FREE_BYTES:
        message = f"{folder} has only {free_bytes // 1024:,} KiB of free disk space."
        return warning(_FOLDER, message, "Free disk space.")
    if existing != folder:
        message = f"{folder} does not exist yet; it will be created with access for this user only."
        return ok(_FOLDER, message)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & _GROUP_AND_OTHERS:
        return ok(_FOLDER, f"{folder} is writable; other users can list it ({mode:04o}).")
    return ok(_FOLDER, f"{folder} is writable and private to this user.")


def _file_checks(path: Path) -> Iterator[Check]:
    if not os.path.lexists(path):
        yield ok(_LOG, f"{path} does not exist yet.")
        return
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        message = f"The audit log {path} is not a regular file."
        raise AuditLogError(message, hint="Set --audit-log to a file.")
    if status.st_uid not in {0, os.geteuid()}:
        raise AuditLogError(f"The audit log {path} belongs to another user.")
    if status.st_mode & stat.S_IWOTH:
        raise AuditLogError(f"Other users can write to {path}.", hint=f"chmod 600 {path}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise AuditLogError(f"This user cannot write to {path}.", hint=f"chmod 600 {path}")
    if status.st_mode & _GROUP_AND_OTHERS:
        yield warning(_LOG, f"Other users can read {path}.", f"chmod 600 {path}")
    else:
        yield ok(_LOG, f"{path} is private; {status.st_size:,} bytes.")


def lock_check(lock: RunLock, path: Path) -> Check:
    """Check whether another run holds the lock, without taking it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return ok(_LOCK, "Free.")
    except OSError as error:
        message = f"Could not check the lock {path}: {error.strerror or error}."
        return failed(_LOCK, AuditLogError(message))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return failed(_LOCK, lock.held_error())
    finally:
        os.close(descriptor)
    return ok(_LOCK, "Free.")


def earlier_run_check(read: Callable[[], History]) -> tuple[Check, History | None]:
    """Check how the last run ended, and which intents a killed run left open."""
    try:
        history = read()
        intents = history.open_intents()
    except GuardRefused as error:
        return failed(_RUNS, error), None
    last = history.runs[-1] if history.runs else None
    if last is None:
        return ok(_RUNS, "None yet."), history
    if not last.finished:
        requests = pluralize(len(intents), "request")
        found = warning(
            _RUNS,
            f"The last run, {last.run_id}, did not finish: it was killed or is still running.",
            f"{requests} without an outcome. {UNFINISHED_ADVICE}",
        )
        return found, history
    code = f"exit code {last.exit_code}"
    return ok(_RUNS, f"The last run, {last.run_id} ({last.mode}), ended with {code}."), history


def log_end_checks(log_path: LogPath, path: Path) -> Iterator[Check]:
    """Check that the log still ends with the line that was written last; nothing if it does."""
    try:
        missing = check_end(log_path, path)
    except RunError as error:
        yield failed(_RUNS, error)
        return
    if missing:
        yield warning(_RUNS, missing, "Move the file back, compressed or not, if it is not lost.")
