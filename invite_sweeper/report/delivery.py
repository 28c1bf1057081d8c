"""Which announcements reached each receiver: `receivers.json` in an audit directory.

1. An announcement reached a receiver if the mark of the receiver is at its run or a later one.
2. What no message up to the mark could carry is listed beside it.
3. Where the mark is missing or unreadable, everything is new: sent twice rather than never.
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
    """How far a receiver was notified.

    Attributes:
        run: The last run whose announcements reached it.
        missed: Announcements up to that run that no message could carry, because the run did not
            read their project or organization; `untold` in the file.
    """

    run: str = ""
    missed: tuple[AnnouncementKey, ...] = msgspec.field(default=(), name="untold")


_Marks = dict[str, dict[str, Mark]]
"""By the name of the variable with the receiver's address, and by the base URL of Atlas."""


class Delivery:
    """What reached the receivers until now, and what the message of a sweep adds.

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
                f"{self._path} cannot be read: {reason}. Receivers are notified again of all "
                "announcements that wait."
            )
            return {}

    def missed(self, receiver: str) -> frozenset[AnnouncementKey]:
        """Return the announcements that hold and that did not reach a receiver."""
        mark = self._marks.get(receiver, {}).get(self._base_url, Mark())
        runs_until_mark = self._runs_until(mark)
        missed: set[AnnouncementKey] = set()
        for key, held in self._held.items():
            if held.run_id not in runs_until_mark or key in mark.missed:
                missed.add(key)
        return frozenset(missed)

    def _runs_until(self, mark: Mark) -> AbstractSet[str]:
        """Return the runs up to that of a mark; none where its run is not known.

        Such a mark proves nothing: the directory is another one, or an older copy.
        """
        if mark.run not in self._runs:
            return set()
        return set(self._runs[: self._runs.index(mark.run) + 1])

    def record(self, receivers: Iterable[str], carried: Iterable[Invitation]) -> str:
        """Record that the message of a sweep reached receivers.

        Args:
            receivers: The names of their variables.
            carried: The announcements in the message.

        Returns:
            What went wrong, for the log: then the next run sends them again. Empty if nothing did.
        """
        if not self._runs:
            return ""
        keys = {announcement_key(invitation) for invitation in carried}
        changed: _Marks = {}
        for receiver in receivers:
            missed = sorted(self.missed(receiver) - keys, key=str)
            mark = Mark(self._runs[-1], tuple(missed))
            changed[receiver] = {**self._marks.get(receiver, {}), self._base_url: mark}
        if not changed:
            return ""
        self._marks |= changed
        try:
            replace_file(self._path, to_json(self._marks) + b"\n", follow_links=False)
        except OSError as error:
            return (
                f"{self._path} cannot be written: {error.strerror}. The next run notifies the "
                "receivers again of what was announced."
            )
        return ""
