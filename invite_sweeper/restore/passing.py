"""One pass over what is to be invited again.

For each the order is that of a sweep: a turn, `intent` on disk, POST, `outcome`. A POST whose
end nobody knows is not sent again before Atlas was asked whether the person is there.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, Protocol

from invite_sweeper.errors import RunError
from invite_sweeper.inventory import Invitation, Unreadable
from invite_sweeper.invited import Invited, Reply
from invite_sweeper.matching import fold
from invite_sweeper.outcome import Trail
from invite_sweeper.policy import Execution
from invite_sweeper.restore.look import Roll
from invite_sweeper.restore.pace import Pace
from invite_sweeper.restore.values import Deleted, End, Restored
from invite_sweeper.stop import Stop

_GRACE_S: Final = Execution().grace.total_seconds()
_MOST_UNSURE: Final = 3
_FINAL: Final[Mapping[Reply, Restored]] = {
    Reply.SENT: Restored.RESTORED,
    Reply.THERE: Restored.ALREADY_THERE,
    Reply.REFUSED: Restored.FAILED,
}
_SKIPPED: Final = End(Restored.SKIPPED)


class Inviter(Protocol):
    """What a restore needs of Atlas; a dry run is given none."""

    async def invite(self, invitation: Invitation, trail: Trail) -> Invited:
        """Invite one person, with one POST; trouble with it is a value."""
        ...


class Journal(Protocol):
    """What a restore needs of the audit log."""

    def intent(self, deleted: Deleted) -> None:
        """Note that a POST is about to be sent."""
        ...

    def outcome(self, deleted: Deleted, end: End, duration_ms: float) -> None:
        """Note what became of it."""
        ...

    async def durable(self) -> None:
        """Return when all that was noted is on disk."""
        ...


class Restoration:
    """Invites again, one after another.

    Args:
        grace_s: How long what is in flight may go on after a stop.

    Attributes:
        tally: By outcome; adds up to what was handed in once `run` has ended.
        ends: What became of each.
    """

    def __init__(
        self,
        inviter: Inviter,
        roll: Roll,
        journal: Journal,
        *,
        stop: Stop,
        pace: Pace,
        grace_s: float = _GRACE_S,
    ) -> None:
        self._inviter = inviter
        self._roll = roll
        self._journal = journal
        self._stop = stop
        self._pace = pace
        self._grace_s = grace_s
        self._error: RunError | None = None
        self.tally: Counter[Restored] = Counter()
        self.ends: dict[Deleted, End] = {}

    async def run(self, gone: Iterable[Deleted], settled: Mapping[Deleted, End]) -> None:
        """Invite who is gone, and note what was settled before; each gets one outcome.

        Raises:
            RunError: The audit log failed, or an answer was about the run. The rest is
                `skipped`.
        """
        for deleted, end in settled.items():
            self._record(deleted, end, self._pace.clock())
        for deleted in gone:
            await self._one(deleted)
        if self._error is not None:
            raise self._error

    def _ended(self) -> bool:
        return self._stop.asked.is_set() or self._error is not None

    async def _one(self, deleted: Deleted) -> None:
        may_go = await self._pace.turn(self._ended)
        started_s = self._pace.clock()
        try:
            end = await self._announced(deleted) if may_go else _SKIPPED
        except RunError as error:
            self._error = self._error or error
            end = _SKIPPED
        self._record(deleted, end, started_s)

    async def _announced(self, deleted: Deleted) -> End:
        self._journal.intent(deleted)
        await self._journal.durable()
        return await self._until_it_stands(deleted.invitation)

    async def _until_it_stands(self, invitation: Invitation) -> End:
        """Send until the end is known, a refusal stands, or the run ends."""
        attempts = refusals = unsure = 0
        while True:
            trail = Trail()
            invited = await self._send(invitation, trail)
            attempts += trail.attempts
            if invited is None:
                return _cut_off(trail, attempts)
            end = End(
                _FINAL.get(invited.reply, Restored.FAILED),
                attempts,
                invited.http_status,
                invited.error_code,
                ends_run=invited.ends_run,
            )
            if invited.reply in _FINAL:
                return end
            if invited.reply is Reply.UNSURE:
                unsure += 1
                found = await self._seen(invitation, attempts)
                if found is not None or unsure == _MOST_UNSURE:
                    return found or end
            refusals += 1
            if not await self._pace.later(refusals, self._ended):
                return replace(end, outcome=Restored.SKIPPED)

    async def _send(self, invitation: Invitation, trail: Trail) -> Invited | None:
        """Send one POST; None where a stop took away the time for its answer."""
        sending = asyncio.ensure_future(self._inviter.invite(invitation, trail))
        asked = asyncio.ensure_future(self._stop.asked.wait())
        given_up = asyncio.ensure_future(self._stop.given_up.wait())
        first = asyncio.FIRST_COMPLETED
        try:
            await asyncio.wait((sending, asked), return_when=first)
            await asyncio.wait((sending, given_up), return_when=first, timeout=self._grace_s)
            return sending.result() if sending.done() else None
        finally:
            for task in (sending, asked, given_up):
                task.cancel()
            await asyncio.gather(sending, asked, given_up, return_exceptions=True)

    async def _seen(self, invitation: Invitation, attempts: int) -> End | None:
        """Look for the person after a POST without a known end; None where nobody is there."""
        try:
            present = await self._roll.present(invitation)
        except RunError as error:
            return End(Restored.UNKNOWN, attempts, reason=error.message, ends_run=error)
        if isinstance(present, Unreadable):
            return End(
                Restored.UNKNOWN,
                attempts,
                present.http_status,
                present.error_code,
                present.reason,
            )
        there = fold(invitation.username or "") in present
        return End(Restored.RESTORED, attempts) if there else None

    def _record(self, deleted: Deleted, end: End, started_s: float) -> None:
        self.tally[end.outcome] += 1
        self.ends[deleted] = end
        self._error = self._error or end.ends_run
        try:
            self._journal.outcome(deleted, end, (self._pace.clock() - started_s) * 1000)
        except RunError as error:
            self._error = self._error or error


def _cut_off(trail: Trail, attempts: int) -> End:
    """Tell what is known of a POST that a stop has cut off."""
    sent = trail.awaiting or trail.http_status is not None
    if not sent:
        return End(Restored.SKIPPED if not attempts else Restored.FAILED, attempts)
    return End(Restored.UNKNOWN, attempts, trail.http_status, trail.error_code)
