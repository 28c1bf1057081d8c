"""Invitations that come back after a run deleted them, as another robot makes them."""

from array import array
from bisect import bisect_left, bisect_right
from pathlib import Path

from invite_sweeper.audit.lines import records
from invite_sweeper.outcome import Outcome

_OUTCOMES = frozenset({b"outcome"})


class Bounces:
    """How often a person's invitation to a project was deleted before.

    Memory holds 8 bytes a deletion.
    """

    def __init__(self, *paths: Path) -> None:
        """Read it from the logs.

        Raises:
            GuardRefused: A line is damaged.
            UsageFault: A file cannot be read.
        """
        doors = array("q")
        for record in records(paths, _OUTCOMES):
            username = record.get("username")
            place_id = record.get("project_id") or record.get("org_id")
            is_deleted = record.get("outcome") == Outcome.DELETED
            if is_deleted and isinstance(username, str) and isinstance(place_id, str):
                doors.append(_door(username, place_id))
        self._doors = array("q", sorted(doors))

    def count(self, username: str, project_id: str) -> int:
        """Deletions of an invitation of this person to this project; case does not matter.

        For an invitation to an organization its id stands in the project's place.
        """
        if not self._doors:
            return 0
        door = _door(username, project_id)
        first = bisect_left(self._doors, door)
        return bisect_right(self._doors, door, first) - first


def _door(username: str, place_id: str) -> int:
    """64 bits for a person and a place. Two of them meeting by chance keeps an invitation."""
    return hash((username.casefold().encode("utf-8", "backslashreplace"), place_id))
