"""What was deleted, and what becomes of it when it is invited again."""

from dataclasses import dataclass
from enum import StrEnum

from invite_sweeper.errors import RunError
from invite_sweeper.inventory import Invitation


class Restored(StrEnum):
    """The `outcome` of an audit line of a restore."""

    RESTORED = "restored"
    """Atlas said so, or shows the person where nobody was before."""
    ALREADY_THERE = "already_there"
    """The person is invited, or a member, without us."""
    FAILED = "failed"
    """Refused or given up; nobody was invited."""
    UNKNOWN = "unknown"
    """No answer and no proof."""
    SKIPPED = "skipped"
    """A signal, the deadline or an answer about the run came before Atlas acted on anything."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a run deleted.

    Attributes:
        run_id: The run that did.
        rule: The rule that made it stale.
    """

    run_id: str
    invitation: Invitation
    rule: str


@dataclass(frozen=True, slots=True)
class End:
    """What became of one of them.

    Attributes:
        attempts: POSTs, as far as they were begun; 0 where none was needed.
        reason: One sentence for a person; "" where the outcome says all.
        ends_run: Set when the answer was about the run: nothing more may be sent.
    """

    outcome: Restored
    attempts: int = 0
    http_status: int | None = None
    error_code: str | None = None
    reason: str = ""
    ends_run: RunError | None = None
