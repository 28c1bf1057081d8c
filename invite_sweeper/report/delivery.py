"""What each receiver was told of announcements: `receivers.json` in an audit directory.

A receiver was told of an announcement if the mark of the receiver is at its run or a later one.
Where the mark is missing or unreadable, everything is new: told twice rather than never.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import msgspec

from invite_sweeper.audit.events import AnnouncementKey, announcement_key
from invite_sweeper.audit.history import History
from invite_sweeper.files import read_small_file, replace_file
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Invitation

FILE_NAME: Final = "receivers.json"
_MAX_BYTES: Final = 1 << 24


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a receiver was told.

    Attributes:
        run: The last run whose announcements it was told.
        untold: Announcements up to that run that no message could carry, because the run did not
            read their project or organization.
    """

    run: str = ""
    untold: tuple[AnnouncementKey, ...] = ()


_Marks = dict[str, dict[str, Mark]]
"""By the name of the variable with the receiver's address, and by the base URL of Atlas."""


class Delivery:
    """What the receivers were told until now, and what the message of a sweep adds.

    Args:
        directory: The audit directory.
        history: Of the directory, with the run itself.
        base_url: Of Atlas: another host has announcements of its own.

    Attributes:
        warning: What is wrong with the file; empty if nothing is.
    """

    def __init__(self, directory: Path, history: History, base_url: str) -> None:
        self._path = directory / FILE_NAME
        self._base_url = base_url
        self._held = history.announcements(base_url)
        self._runs: Sequence[str] = history.run_ids
        self.warning = ""
        self._marks = self._read()

    def _read(self) -> _Marks:
        try:
            data = read_small_file(self._path, _MAX_BYTES, follow_links=False)
            return msgspec.json.decode(data, type=_Marks)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is damaged"
            self.warning = (
                f"{self._path} cannot be read: {reason}. Receivers are told again of all "
                "announcements that wait."
            )
            return {}

    def untold(self, receiver: str) -> frozenset[AnnouncementKey]:
        """Return the announcements that hold and that a receiver was not told of."""
        mark = self._marks.get(receiver, {}).get(self._base_url, Mark())
        told_runs = self._runs_until(mark)
        untold: set[AnnouncementKey] = set()
        for key, held in self._held.items():
            if held.run_id not in told_runs or key in mark.untold:
                untold.add(key)
        return frozenset(untold)

    def _runs_until(self, mark: Mark) -> AbstractSet[str]:
        """Return the runs up to that of a mark."""
        # A mark whose run is not known says nothing: the directory is another one, or older.
        if mark.run not in self._runs:
            return set()
        return set(self._runs[: self._runs.index(mark.run) + 1])

    def record(self, receivers: Iterable[str], carried: Iterable[Invitation]) -> str:
        """Record that receivers were told by the message of a sweep.

        Args:
            receivers: The names of their variables.
            carried: What the message told.

        Returns:
            What went wrong, for the log: then the next run tells it again. Empty if nothing did.
        """
        if not self._runs:
            return ""
        keys = {announcement_key(invitation) for invitation in carried}
        changed: _Marks = {}
        for receiver in receivers:
            untold = sorted(self.untold(receiver) - keys, key=str)
            mark = Mark(self._runs[-1], tuple(untold))
            changed[receiver] = {**self._marks.get(receiver, {}), self._base_url: mark}
        if not changed:
            return ""
        self._marks |= changed
        try:
            replace_file(self._path, to_json(self._marks) + b"\n", follow_links=False)
        except OSError as error:
            return (
                f"{self._path} cannot be written: {error.strerror}. The next run tells the "
                "receivers again what was announced."
            )
        return ""
