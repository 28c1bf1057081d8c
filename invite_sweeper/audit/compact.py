"""What a run keeps of the deletions of a hundred nights: hashes and counts, a few bytes for each.

Of a deletion of the past only one thing is asked: whether it left its list since that list was
read. The hash of a key answers it; a struct for each would be a hundred times as large.
The hashes are Python's own, 64 bits with a secret of the process: a key that is not among 400,000
others has the hash of one of them once in 46 million million times.
"""

from array import array
from collections.abc import Mapping
from datetime import date
from enum import IntEnum

from invite_sweeper.models import Invitation, InvitationKey, ListKey, parse_timestamp


class Fate(IntEnum):
    """What a run did to an entry of a list."""

    ENDED = 0
    """It may have ended it: an intent to send a request was on disk."""
    DELETED = 1
    """Atlas confirmed that it ended it."""


class EntryLog:
    """What runs did to entries of lists, in order, in 17 bytes for each entry."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._last_days = array("i")  # on which they expire, as ordinals; 0 where none is known
        self._list_numbers = array("i")
        self._fates = array("b")
        self._numbers: dict[ListKey, int] = {}  # of the lists, in their order

    def __len__(self) -> int:
        """Return how many entries were added: the position of the next one."""
        return len(self._hashes)

    def add(self, invitation: Invitation, fate: Fate) -> None:
        """Add what a run did to each entry of an invitation."""
        self._add_entry(invitation.key, invitation.expires_at, fate)
        for entry in invitation.entries:
            self._add_entry(entry.key(invitation.org_id), entry.expires_at, fate)

    def _add_entry(self, key: InvitationKey, expires_at: str | None, fate: Fate) -> None:
        expires = parse_timestamp(expires_at)
        last_day = 0 if expires is None else expires.toordinal()
        list_key = key[:3]
        list_number = self._numbers.setdefault(list_key, len(self._numbers))
        self._hashes.append(hash(key))
        self._last_days.append(last_day)
        self._list_numbers.append(list_number)
        self._fates.append(fate)

    def ended_since(self, positions: Mapping[ListKey, int], today: date) -> dict[ListKey, int]:
        """Return how many entries of some lists ended, of each at its position or later.

        Those that have expired by today are left out: they are counted as expired. One that several
        runs tried to end counts once.
        """
        ended: dict[ListKey, set[int]] = {}
        keys_by_number: dict[int, ListKey] = {}
        for list_key in positions:
            ended[list_key] = set()
            if list_key in self._numbers:
                keys_by_number[self._numbers[list_key]] = list_key
        day = today.toordinal()
        first = min(positions.values(), default=len(self))
        for index in range(first, len(self)):
            entry_list = keys_by_number.get(self._list_numbers[index])
            if entry_list is None or index < positions[entry_list]:  # before it was last read
                continue
            has_expired = 0 < self._last_days[index] <= day
            if not has_expired:
                ended[entry_list].add(self._hashes[index])
        return {list_key: len(hashes) for list_key, hashes in ended.items()}
