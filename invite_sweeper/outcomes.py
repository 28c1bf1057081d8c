"""What becomes of one planned deletion, or of one person in a restore.

An outcome claims only what Atlas confirmed: without a clear response it is UNKNOWN.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, Self

import msgspec

from invite_sweeper.errors import RunError


class Outcome(StrEnum):
    """What became of one planned deletion, or of one person in a restore, as the log records it."""

    DELETED = "deleted"
    """Atlas confirmed it: 204, or 200 or 202 with a JSON object without an error."""
    ALREADY_GONE = "already_gone"
    """404, or 400 with `INVALID_INVITATION_ID` or `ALREADY_EXPIRED`; or a later run finds
    it gone."""
    FAILED = "failed"
    """Rejected, or not sent after all attempts: the invitation may still exist."""
    UNKNOWN = "unknown"
    """No clear response, and nothing that shows what became of the invitation."""
    SKIPPED = "skipped"
    """The circuit breaker, the deadline or a signal stopped the sweep before it was sent."""
    CHANGED = "changed"
    """The user was read just before, with other facts than in the list: nothing was sent."""
    ACCEPTED_BEFORE = "accepted_before"
    """The user is already an active member, and was not removed."""
    RESTORED = "restored"
    """Invited by a restore, and pending again."""
    ACTIVE = "active"
    """Added at once by Atlas in a restore, as an active member without an acceptance."""
    ALREADY_THERE = "already_there"
    """Invited or a member without the restore, with all roles that were deleted."""


_OF_RESTORES: Final = frozenset({Outcome.RESTORED, Outcome.ACTIVE, Outcome.ALREADY_THERE})
OUTCOMES_OF_DELETIONS: Final = tuple(outcome for outcome in Outcome if outcome not in _OF_RESTORES)
_FIRST_REFUSAL: Final = 300
"""The lowest HTTP status with which Atlas refuses a request."""


class Sending(msgspec.Struct, eq=False):
    """One DELETE, or one POST of a restore: what was sent so far, and what became of it.

    It is mutable because a cancelled deletion returns nothing, and the audit log must still
    record what was sent and which response had arrived.

    Attributes:
        outcome: None before the end, and of a POST that Atlas may accept later: a rate limit, no
            connection.
        attempts: Requests sent, including those answered with 429, which the policy's
            `attempts` does not count; the unsigned request of a sign-in is not counted.
        http_status: Of the last response.
        error_code: Atlas's `errorCode` in it.
        fatal_error: Set when the response concerned the run, not this invitation (credentials
            refused, API version retired): nothing more may be sent.
        seen_before: The user's status just before the DELETE; None if not requested.
        response_pending: The last request has no response yet.
        reason: Why it is not `deleted`, in words; None where the outcome is enough.
        cancelled: Set by the sweep when nothing more may be sent. The deleter checks it before
            each request.
        on_backoff: Called by the deleter before it waits for a retry.
    """

    outcome: Outcome | None = None
    attempts: int = 0
    http_status: int | None = None
    error_code: str | None = None
    fatal_error: RunError | None = None
    seen_before: str | None = None
    reason: str | None = None
    response_pending: bool = False
    cancelled: bool = False
    on_backoff: Callable[[], None] | None = None

    @property
    def may_be_processed(self) -> bool:
        """Whether Atlas may have received the request."""
        return self.response_pending or self.http_status is not None

    def interrupt(self) -> Self:
        """End with what is certain now."""
        self.outcome = self.without_answer(if_unsent=Outcome.SKIPPED)
        return self

    def without_answer(self, *, if_unsent: Outcome) -> Outcome:
        """Return what is certain where the last attempt of a DELETE has no answer.

        Args:
            if_unsent: The outcome where no attempt reached Atlas.
        """
        if not self.may_be_processed:
            return if_unsent
        # Only a refusal proves something: a 2xx may not have been read to its end.
        was_refused = self.http_status is not None and self.http_status >= _FIRST_REFUSAL
        if was_refused and not self.response_pending:
            return Outcome.FAILED
        return Outcome.UNKNOWN
