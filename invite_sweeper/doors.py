"""What one deletion tells of the others where a sweep has several lists. Pure."""

from invite_sweeper.errors import VersionGone
from invite_sweeper.inventory import Invitation, Source, same_person_key
from invite_sweeper.outcome import Deletion, Outcome


class Doors:
    """One person may be in several lists: then one deletion shuts the others' doors, too.

    Args:
        several: The plan is of several lists; of a single one nothing is known or noted.

    Attributes:
        retired: Lists that Atlas dropped in mid-sweep, and what to say of each; others went on.
    """

    def __init__(self, *, several: bool) -> None:
        self._several = several
        self._people: set[int] = set()
        self.retired: dict[Source, str] = {}

    def retires(self, invitation: Invitation, deletion: Deletion) -> bool:
        """Tell whether an answer ends its own list alone, since there are others."""
        if not (self._several and isinstance(deletion.ends_run, VersionGone)):
            return False
        said = " ".join(filter(None, (deletion.ends_run.message, deletion.ends_run.hint)))
        self.retired.setdefault(invitation.source, said)
        return True

    def has_ended(self, invitation: Invitation) -> bool:
        """Tell whether Atlas has dropped the list that it is in."""
        return invitation.source in self.retired

    def were_shut(self, invitation: Invitation, deletion: Deletion) -> bool:
        """Tell whether a door was shut with another one of the same person, in this sweep.

        Such an `already_gone` is no sign of trouble.
        """
        if not self._several or (person := same_person_key(invitation)) is None:
            return False
        known = hash(person)
        if deletion.outcome is Outcome.ALREADY_GONE:
            return known in self._people
        if deletion.outcome is Outcome.DELETED:
            self._people.add(known)
        return False
