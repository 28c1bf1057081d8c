"""What a sweep needs of Atlas and of the audit log, whoever stands in for them."""

from collections.abc import Iterable
from typing import Protocol

from invite_sweeper.inventory import Invitation
from invite_sweeper.outcome import Deletion, Planned, Trail


class Deleter(Protocol):
    """What a sweep needs of Atlas; only a sweep is ever given one."""

    def admit(self, invitation: Invitation) -> float:
        """Take the turn of one deletion (0.0), or give the seconds until there may be one."""
        ...

    async def delete(self, invitation: Invitation, trail: Trail) -> Deletion:
        """Revoke one invitation that was admitted; trouble with it is a value."""
        ...


class Journal(Protocol):
    """What a sweep needs of the audit log."""

    def write_intents(self, group: Iterable[Planned]) -> None:
        """Record that these are about to be deleted."""
        ...

    def write_outcome(self, planned: Planned, deletion: Deletion, duration_ms: float) -> None:
        """Record the outcome of one deletion."""
        ...

    async def durable(self) -> None:
        """Return when every line so far is on disk."""
        ...
