"""What Atlas said to an invitation that was to be sent again."""

from dataclasses import dataclass
from enum import Enum, auto

from invite_sweeper.errors import RunError


class Reply(Enum):
    """What one POST came to."""

    SENT = auto()
    """Atlas said so."""
    THERE = auto()
    """Atlas says that the person is invited or a member already (409)."""
    LATER = auto()
    """Atlas has surely not acted on it, and may another time: a limit, no connection."""
    UNSURE = auto()
    """Nobody knows whether Atlas acted on it: it must be looked for before it is sent again."""
    REFUSED = auto()
    """Atlas refuses it, or it cannot be sent at all."""


@dataclass(frozen=True, slots=True)
class Invited:
    """The end of one POST.

    Attributes:
        http_status: None where no answer came.
        error_code: Atlas's `errorCode`; None where it gave none.
        ends_run: Set when the answer was about the run and not about this invitation.
    """

    reply: Reply
    http_status: int | None = None
    error_code: str | None = None
    ends_run: RunError | None = None
