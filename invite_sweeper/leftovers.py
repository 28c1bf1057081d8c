"""Organization invitations that stay behind when a project invitation goes. Pure.

Atlas keeps the two apart: deleting a project invitation leaves the organization's, even where
both were made together (`deleteGroupInvite` of the OpenAPI document).
"""

from invite_sweeper.inventory import same_person_key
from invite_sweeper.selection import Decision

_NAMED = 10


class Leftovers:
    """Takes each decision down, and tells who keeps an organization's invitation.

    It knows only of lists that are read: memory holds a number for each person in an
    organization's list, which Atlas limits to hundreds, and for each planned deletion.
    """

    def __init__(self) -> None:
        self._going: set[int] = set()
        self._staying: dict[int, str] = {}

    def look(self, decision: Decision) -> Decision:
        """Take one decision into account; it stays as it is."""
        person = same_person_key(decision.invitation)
        if person is None:
            return decision
        if decision.invitation.source.of_organization:
            if not decision.stale:
                self._staying[hash(person)] = decision.invitation.username or ""
        elif decision.stale:
            self._going.add(hash(person))
        return decision

    def sentences(self) -> tuple[str, ...]:
        """Say who they are, the first of them by name; empty where there is nobody."""
        names = sorted(name for person, name in self._staying.items() if person in self._going)
        if not names:
            return ()
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        who = f"{', '.join(names[:_NAMED])}{rest}"
        whose = f"{len(names)} whose project invitation goes"
        return (f"An organization invitation stays of {whose}: {who}.",)
