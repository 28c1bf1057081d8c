"""The history of the runs before this one, which every guard depends on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from invite_sweeper.audit import History, LogPath, read_history
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused, UsageError


@contextmanager
def refuse_unreadable() -> Iterator[None]:
    """Raise GuardRefused if the history cannot be read: a guard that misses a part of it fails."""
    try:
        yield
    except (UsageError, OSError) as error:
        message = (
            error.message
            if isinstance(error, UsageError)
            else f"The directory {error.filename} cannot be read: {error.strerror}."
        )
        raise GuardRefused(
            f"Earlier runs cannot be read. {message}",
            hint="Restore the file, or decompress it. Moving it away removes its interrupted "
            "deletions, used plans and bounced invitations from what later runs know.",
            reasons=(Reason.EARLIER_RUNS,),
        ) from error


def read_previous_runs(
    log_path: LogPath,
    check: Callable[[], None] = lambda: None,
    since: datetime | None = None,
) -> History:
    """Return what runs with this log have written so far, in rotated and compressed files, too.

    They are read while the lock is held, so nothing is appended in between. A damaged line or
    an unreadable file stops the run: a deletion it recorded may have been sent.

    Args:
        check: Called now and then; may raise to stop.
        since: As for `read_history`.

    Raises:
        GuardRefused: A directory or a file cannot be read, or a file is not an audit log.
    """
    with refuse_unreadable():
        return read_history(log_path.files(), check=check, since=since)
