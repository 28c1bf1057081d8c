"""What became of one planned deletion. Only what Atlas said is claimed."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from invite_sweeper.errors import RunError
from invite_sweeper.inventory import Invitation


class Outcome(StrEnum):
    """The `outcome` of an audit line."""

    DELETED = "deleted"
    """Atlas said so: 204, or a 200 or 202 with a JSON object that names no error."""
    ALREADY_GONE = "already_gone"
    """404, or 400 with `INVALID_INVITATION_ID` or `ALREADY_EXPIRED`."""
    FAILED = "failed"
    """Refused or given up; the invitation may still be there."""
    UNKNOWN = "unknown"
    """No answer and no proof; only after an interruption."""
    SKIPPED = "skipped"
    """A breaker, the deadline or a signal came before anything was sent."""
    ACCEPTED_BEFORE = "accepted_before"
    """The person is an active member by now; the membership was left alone."""
    ACCEPTED_DURING = "accepted_during"
    """The person became an active member while the DELETE was on its way, and was removed."""


class Aftermath(NamedTuple):
    """What Atlas shows of an invited user, once a deletion was sent or may have been.

    Attributes:
        status: As Atlas sent it, or `MembershipStatus.GONE`; None where the organization may
            not be asked.
        there: Whether the membership that the invitation was to is still there; None where
            nobody tells.
    """

    status: str | None
    there: bool | None


class Planned(NamedTuple):
    """One planned deletion. A named tuple: a run makes many.

    Attributes:
        rule: The name of the rule that makes it stale.
    """

    invitation: Invitation
    rule: str


@dataclass(slots=True, eq=False)
class Trail:
    """What one deletion has been through so far; the deleter writes, the sweep reads.

    It is mutable on purpose: a deletion that is cut off returns nothing, and the audit
    must still tell what was sent and what Atlas had answered by then.

    Attributes:
        attempts: Tries that were sent, also those that a 429 answered, which the policy's
            `attempts` leaves out; an unsigned request that a sign-in needs is part of its try.
        awaiting: One of them has no answer yet.
        http_status: The last answer's; None where there was none.
        error_code: Atlas's `errorCode` of the last answer.
        called_off: The sweep sets it when nothing more may be sent: a deleter looks at it
            before each request and, where it is set, ends with `cut_off()` instead.
        seen_before: The status that Atlas told just before the DELETE; None where not asked.
        seen_after: The one that it told afterwards, or `gone`.
        cut_short: It would have gone on, had more been allowed to be sent.
        settled: What is known already, should nothing more be learnt.
        rests: The deleter calls it when it begins to wait between two tries.
    """

    attempts: int = 0
    awaiting: bool = False
    http_status: int | None = None
    error_code: str | None = None
    called_off: bool = False
    cut_short: bool = False
    seen_before: str | None = None
    seen_after: str | None = None
    settled: Outcome | None = None
    rests: Callable[[], None] | None = None

    def cut_off(self) -> "Deletion":
        """Give the end of a deletion that an interruption cut off here."""
        if self.settled is not None:
            return self.ended(self.settled)
        if self.attempts == 0:
            return Deletion(Outcome.SKIPPED, 0, seen_before=self.seen_before)
        unsure = self.awaiting or self.http_status is None
        ended = self.ended(Outcome.UNKNOWN if unsure else Outcome.FAILED)
        return ended._replace(cut_short=True)

    def ended(self, outcome: Outcome, ends_run: RunError | None = None) -> "Deletion":
        """Give the end of the deletion, with all that it has been through."""
        return Deletion(
            outcome,
            self.attempts,
            self.http_status,
            self.error_code,
            ends_run,
            self.seen_before,
            self.seen_after,
            cut_short=self.cut_short,
        )


class Deletion(NamedTuple):
    """The end of one planned deletion. A named tuple: a run makes many.

    Attributes:
        ends_run: Set when the answer was about the run and not about this invitation
            (credentials refused, version gone): nothing more may be sent.
        seen_before: As in `Trail`.
        seen_after: As in `Trail`.
        cut_short: As in `Trail`.
    """

    outcome: Outcome
    attempts: int
    http_status: int | None = None
    error_code: str | None = None
    ends_run: RunError | None = None
    seen_before: str | None = None
    seen_after: str | None = None
    cut_short: bool = False
