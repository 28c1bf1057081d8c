"""What becomes of one planned deletion, or of one person in a restore, and what a run counts.

An outcome claims only what Atlas confirmed: without a clear response it is UNKNOWN.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final, Self

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


OUTCOMES_OF_RESTORES: Final = frozenset({Outcome.RESTORED, Outcome.ACTIVE, Outcome.ALREADY_THERE})
OUTCOMES_OF_DELETIONS: Final = tuple(
    outcome for outcome in Outcome if outcome not in OUTCOMES_OF_RESTORES
)
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


class Counts(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a run saw and did; a new count is a field here, and is added where it is counted.

    Invitations are counted, not the entries of lists that show them.

    Attributes:
        projects_seen: In scope, including those that could not be read or were gone.
        projects_unreadable: Lists that could not be read; nothing is deleted there.
        projects_gone: Deleted after Atlas had listed them; not a failure.
        invitations_seen: In scope; `stale` and `kept` together.
        invitations_by_source: Entries by list; only sources that Atlas serves.
        stale: A rule matches and nothing keeps it: `due`, `trimmed` and `waiting` together.
        due: Planned deletions; in a dry run, those that a sweep would plan.
        trimmed: Stale, but left for a later run by `over_limit: trim`.
        waiting: Stale, but its notice is not over; those that this run announced included.
        kept_by_reason: Adds up to `kept`.
        announced: Found stale for the first time, where the policy has a `notice`.
        changed: Not what the plan had listed when the deletion was due; nothing was sent.
        accepted_before: Active members when the deletion was due; they were not removed.
        still_invited: People deleted from projects who stay invited to the organization, where the
            policy reads no list of it.
        missing_role: Lists not read and deletions that failed, because a role is missing.
        recovered: Deletions that an earlier run left without an outcome or an answer, and whose
            invitation is gone.
        restored: Invited by a restore, and pending again.
        active: Added by Atlas as members at once in a restore, without an acceptance.
        already_there: Invited or members without the restore.
        requests: Sent to Atlas, sign-in included; those of credentials count for the first of their
            organizations.
        retries: Attempts after the first of each request.
        rate_limited: Answers with status 429.
    """

    projects_seen: int = 0
    projects_unreadable: int = 0
    projects_gone: int = 0
    invitations_seen: int = 0
    invitations_by_source: Mapping[str, int] = {}
    stale: int = 0
    due: int = 0
    trimmed: int = 0
    waiting: int = 0
    kept: int = 0
    kept_by_reason: Mapping[str, int] = {}
    announced: int = 0
    deleted: int = 0
    already_gone: int = 0
    changed: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    accepted_before: int = 0
    still_invited: int = 0
    missing_role: int = 0
    recovered: int = 0
    restored: int = 0
    active: int = 0
    already_there: int = 0
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        # The fields of `Counts` alone: the other one may be a struct with more of its own.
        counts = {name: getattr(other, name) for name in Counts.__struct_fields__}
        return self.plus(**counts)

    def plus(self, **more: int | Mapping[str, int]) -> "Counts":
        """Return the sum with some counts."""
        sums: dict[str, Any] = {}
        for name, count in more.items():
            own_count = getattr(self, name)
            if isinstance(count, Mapping):
                sums[name] = _sum_by_key(own_count, count)
            elif count:  # most calls add to few of the counts
                sums[name] = own_count + count
        return msgspec.structs.replace(self, **sums)


def _sum_by_key(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    """Return the sums of the counts of each key, sorted, so that equal runs write equal lines."""
    sums = Counter(first)
    sums.update(second)
    return dict(sorted(sums.items()))


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum."""
    return sum(counts, start=Counts())
