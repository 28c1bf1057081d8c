"""Sends invitations within Atlas's rate limit and records their outcomes.

As in a sweep, each invitation is an `intent` on disk, then a POST, then an `outcome`. A POST
without a known result is only sent again after a list shows that the user is missing.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from invite_sweeper.errors import RunError
from invite_sweeper.models import (
    DeletionProgress,
    Invitation,
    InviteResult,
    InviteStatus,
    ListUnreadable,
    MembershipStatus,
)
from invite_sweeper.policy import Execution
from invite_sweeper.restore.deletions import DeletedInvitation, RestoreOutcome, RestoreResult
from invite_sweeper.restore.report import RestoreRecorder
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.text import casefold_visible

if TYPE_CHECKING:  # the client takes long to import, and only a restore needs it
    from invite_sweeper.atlas import AtlasInviter, MemberReader

MAX_PER_MINUTE: Final = 10
"""Invitations a minute from one IP address.

Source: 400 `RATE_LIMITED_IP` of https://www.mongodb.com/docs/atlas/reference/api-errors (read
2026-08); Atlas also returns it as `INVITATIONS_RATE_LIMITED_IP`.
"""
_BACKOFF_S: Final = (10.0, 20.0, 40.0, 60.0)
_WINDOW_S: Final = 61.0  # one second longer, as Atlas's clock may differ


class InviteRateLimit:
    """A sliding-window rate limiter.

    Args:
        clock: Monotonic seconds.
        sleep: Waits for a number of seconds, or until the run must stop.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        *,
        max_per_window: int = MAX_PER_MINUTE,
        window_s: float = _WINDOW_S,
    ) -> None:
        self.clock = clock
        self._sleep = sleep
        self._window_s = window_s
        self._sent_s: deque[float] = deque(maxlen=max_per_window)

    async def acquire(self, is_stopping: Callable[[], bool]) -> bool:
        """Wait for a permit and return True, or return False once the run is stopping."""
        while not is_stopping():
            wait_s = self._try_acquire()
            if not wait_s:
                return True
            await self._sleep(wait_s)
        return False

    async def back_off(self, refusals: int, is_stopping: Callable[[], bool]) -> bool:
        """Wait with exponential backoff after the given number of refusals, then acquire."""
        await self._sleep(_BACKOFF_S[min(refusals, len(_BACKOFF_S)) - 1])
        return await self.acquire(is_stopping)

    def _try_acquire(self) -> float:
        """Take a permit and return 0.0, or return the seconds until one is available."""
        now_s = self.clock()
        if len(self._sent_s) == self._sent_s.maxlen:
            wait_s = self._sent_s[0] + self._window_s - now_s
            if wait_s > 0:
                return wait_s
        self._sent_s.append(now_s)
        return 0.0


_GRACE_S: Final = Execution().grace.total_seconds()
_MAX_UNKNOWN: Final = 3
_FINAL_OUTCOMES: Final[Mapping[InviteStatus, RestoreOutcome]] = {
    InviteStatus.CREATED: RestoreOutcome.RESTORED,
    InviteStatus.ACTIVE: RestoreOutcome.ACTIVE,
    InviteStatus.ALREADY_PRESENT: RestoreOutcome.ALREADY_THERE,
    InviteStatus.REJECTED: RestoreOutcome.FAILED,
}
_STATUSES: Final = {
    MembershipStatus.PENDING.value: RestoreOutcome.RESTORED,
    MembershipStatus.ACTIVE.value: RestoreOutcome.ACTIVE,
}
_UNREADABLE: Final = "Atlas confirmed the request, but not whether the user is invited or a member."
_SKIPPED: Final = RestoreResult(RestoreOutcome.SKIPPED)


class Restorer:
    """Re-invites users one after another.

    Args:
        grace_s: How long a request in flight may continue after a stop request.
        on_result: Called for each result immediately, because a later error may end the run.

    Attributes:
        outcomes: Counts by outcome; after `run` their sum is the number of deletions.
        results: The result of each deletion.
    """

    def __init__(
        self,
        inviter: "AtlasInviter",
        members: "MemberReader",
        log: RestoreRecorder,
        *,
        stop: StopRequest,
        rate_limit: InviteRateLimit,
        grace_s: float = _GRACE_S,
        on_result: Callable[[DeletedInvitation, RestoreResult], None] | None = None,
    ) -> None:
        self._on_result = on_result
        self._inviter = inviter
        self._members = members
        self._log = log
        self._stop = stop
        self._rate_limit = rate_limit
        self._grace_s = grace_s
        self._error: RunError | None = None
        self.outcomes: Counter[RestoreOutcome] = Counter()
        self.results: dict[DeletedInvitation, RestoreResult] = {}

    async def run(
        self,
        to_restore: Iterable[DeletedInvitation],
        known_results: Mapping[DeletedInvitation, RestoreResult],
    ) -> None:
        """Invite the missing users and record the results known before; one outcome each.

        Raises:
            RunError: The audit log failed, or a response concerns the whole run. The rest is
                `skipped`.
        """
        for deleted, result in known_results.items():
            self._record(deleted, result, self._rate_limit.clock())
        for deleted in to_restore:
            await self._restore_one(deleted)
        if self._error is not None:
            raise self._error

    def _is_stopping(self) -> bool:
        return self._stop.requested.is_set() or self._error is not None

    async def _restore_one(self, deleted: DeletedInvitation) -> None:
        acquired = await self._rate_limit.acquire(self._is_stopping)
        started_s = self._rate_limit.clock()
        try:
            result = await self._write_intent_and_send(deleted) if acquired else _SKIPPED
        except RunError as error:
            self._error = self._error or error
            result = _SKIPPED
        self._record(deleted, result, started_s)

    async def _write_intent_and_send(self, deleted: DeletedInvitation) -> RestoreResult:
        self._log.write_intent(deleted)
        await self._log.sync()
        return await self._send_until_final(deleted.invitation)

    async def _send_until_final(self, invitation: Invitation) -> RestoreResult:
        """Send until the result is known or final, or the run stops."""
        attempts = refusals = unknown = 0
        while True:
            progress = DeletionProgress()
            response = await self._send(invitation, progress)
            attempts += progress.attempts
            if response is None:
                return _result_if_interrupted(progress, attempts)
            result = RestoreResult(
                _FINAL_OUTCOMES.get(response.status, RestoreOutcome.FAILED),
                attempts,
                response.http_status,
                response.error_code,
                fatal_error=response.fatal_error,
            )
            if response.status in _FINAL_OUTCOMES:
                return result
            if response.status is InviteStatus.UNREADABLE:  # another POST could invite twice
                verified = await self._check_present(invitation, attempts)
                unread = replace(result, outcome=RestoreOutcome.UNKNOWN, reason=_UNREADABLE)
                return verified or unread
            if response.status is InviteStatus.UNKNOWN:
                unknown += 1
                verified = await self._check_present(invitation, attempts)
                if verified is not None or unknown == _MAX_UNKNOWN:
                    return verified or result
            refusals += 1
            if not await self._rate_limit.back_off(refusals, self._is_stopping):
                return replace(result, outcome=RestoreOutcome.SKIPPED)

    async def _send(
        self, invitation: Invitation, progress: DeletionProgress
    ) -> InviteResult | None:
        """Send one POST; return None if a stop cut it off before its response."""
        send_task = asyncio.ensure_future(self._inviter.invite(invitation, progress))
        requested = asyncio.ensure_future(self._stop.requested.wait())
        forced = asyncio.ensure_future(self._stop.forced.wait())
        first = asyncio.FIRST_COMPLETED
        try:
            await asyncio.wait((send_task, requested), return_when=first)
            await asyncio.wait((send_task, forced), return_when=first, timeout=self._grace_s)
            return send_task.result() if send_task.done() else None
        finally:
            for task in (send_task, requested, forced):
                task.cancel()
            await asyncio.gather(send_task, requested, forced, return_exceptions=True)

    async def _check_present(self, invitation: Invitation, attempts: int) -> RestoreResult | None:
        """Return the result after a POST without a response; None if the user is missing."""
        try:
            statuses = await self._members.statuses(invitation)
        except RunError as error:
            return RestoreResult(
                RestoreOutcome.UNKNOWN, attempts, reason=error.message, fatal_error=error
            )
        if isinstance(statuses, ListUnreadable):
            return RestoreResult(
                RestoreOutcome.UNKNOWN,
                attempts,
                statuses.http_status,
                statuses.error_code,
                statuses.reason,
            )
        status = statuses.get(casefold_visible(invitation.username or ""))
        if status is None:
            return None
        if status in _STATUSES:
            return RestoreResult(_STATUSES[status], attempts)
        reason = f"Atlas lists the user with the status {status or 'unknown'}."
        return RestoreResult(RestoreOutcome.UNKNOWN, attempts, reason=reason)

    def _record(self, deleted: DeletedInvitation, result: RestoreResult, started_s: float) -> None:
        self.outcomes[result.outcome] += 1
        self.results[deleted] = result
        self._error = self._error or result.fatal_error
        if self._on_result is not None:
            self._on_result(deleted, result)
        try:
            self._log.write_outcome(deleted, result, (self._rate_limit.clock() - started_s) * 1000)
        except RunError as error:
            self._error = self._error or error


def _result_if_interrupted(progress: DeletionProgress, attempts: int) -> RestoreResult:
    """Return the result of a POST that a stop cut off."""
    sent = progress.response_pending or progress.http_status is not None
    if not sent:
        return RestoreResult(
            RestoreOutcome.SKIPPED if not attempts else RestoreOutcome.FAILED, attempts
        )
    return RestoreResult(
        RestoreOutcome.UNKNOWN, attempts, progress.http_status, progress.error_code
    )
