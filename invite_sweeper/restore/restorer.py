"""Send invitations within the limit, record outcomes."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from invite_sweeper.audit import AuditLog, OpenIntent, invitation_fields, outcome_fields
from invite_sweeper.errors import AuditUnwritable, ExitCode, GuardRefused, RunError
from invite_sweeper.models import Invitation, Invited, Reply, Trail, Unreadable
from invite_sweeper.policy import Execution
from invite_sweeper.restore.deletions import Deleted, End, Restored, Roll, missing
from invite_sweeper.shutdown import Stop
from invite_sweeper.text import counted, fold

# How fast invitations may be sent.


A_MINUTE: Final = 10
"""So many from one address.

Source: 400 `RATE_LIMITED_IP` of https://www.mongodb.com/docs/atlas/reference/api-errors (read
2026-08), told as `INVITATIONS_RATE_LIMITED_IP` too.
"""
_LATER_S: Final = (10.0, 20.0, 40.0, 60.0)
_WINDOW_S: Final = 61.0  # a second more, as Atlas's clock is not ours


class Pace:
    """So many a minute, counted over any minute.

    Args:
        clock: Monotonic seconds.
        rest: Waits seconds, or until the run has to end, whichever comes first.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rest: Callable[[float], Awaitable[None]],
        *,
        most: int = A_MINUTE,
        window_s: float = _WINDOW_S,
    ) -> None:
        self.clock = clock
        self._rest = rest
        self._window_s = window_s
        self._sent_s: deque[float] = deque(maxlen=most)

    async def turn(self, ended: Callable[[], bool]) -> bool:
        """Wait for a turn and take it; False, and nothing taken, where the run ended meanwhile."""
        while not ended():
            wait_s = self._wait_s()
            if not wait_s:
                return True
            await self._rest(wait_s)
        return False

    async def later(self, refusals: int, ended: Callable[[], bool]) -> bool:
        """Wait after so many refusals, from 1, ever longer, and then for a turn."""
        await self._rest(_LATER_S[min(refusals, len(_LATER_S)) - 1])
        return await self.turn(ended)

    def _wait_s(self) -> float:
        """Take a turn and give 0.0, or take nothing and give the seconds until there is one."""
        now_s = self.clock()
        if len(self._sent_s) == self._sent_s.maxlen:
            wait_s = self._sent_s[0] + self._window_s - now_s
            if wait_s > 0:
                return wait_s
        self._sent_s.append(now_s)
        return 0.0


# One pass over what is to be invited again.
#
# For each the order is that of a sweep: a turn, `intent` on disk, POST, `outcome`. A POST whose
# end nobody knows is not sent again before Atlas was asked whether the person is there.


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


# The lines of a restore: intents before, outcomes after.


class RestoreRecorder:
    """Writes the `intent` and `outcome` lines of one restore.

    The invitation's fields are those of the deleted one: the id is the old one.

    Args:
        now: The run's one instant, from which ages are counted.
    """

    def __init__(self, log: AuditLog, now: datetime) -> None:
        self._log = log
        self._now = now

    def intent(self, deleted: Deleted) -> None:
        """Record that a POST is about to be sent; on disk once `durable` has returned."""
        self._log.write("intent", **self._fields(deleted))

    def outcome(self, deleted: Deleted, end: End, duration_ms: float) -> None:
        """Record the outcome of one of them."""
        ended = outcome_fields(
            end.outcome,
            attempts=end.attempts,
            http_status=end.http_status,
            error_code=end.error_code,
            duration_ms=duration_ms,
        )
        self._log.write("outcome", **self._fields(deleted), **ended)

    def unsettled(self, intent: OpenIntent) -> None:
        """Record that the end of a POST is unknown, since an earlier restore was killed over it.

        Users who are invited or members by now are left alone; the others are invited again.
        """
        self._log.write(
            "outcome",
            **invitation_fields(intent.invitation, self._now),
            rule=intent.rule,
            **outcome_fields(Restored.UNKNOWN, recovers=intent.run_id),
        )

    async def durable(self) -> None:
        """Return when every line so far is on disk."""
        await self._log.durable()

    def _fields(self, deleted: Deleted) -> dict[str, object]:
        fields = invitation_fields(deleted.invitation, self._now)
        return {**fields, "rule": deleted.rule, "restores": deleted.run_id}


# What one restore has come to so far, and its last line.


_UNFINISHED = (Restored.FAILED, Restored.UNKNOWN, Restored.SKIPPED)
_TOLD = ("requests", "retries", "rate_limited", "duration_s")


@dataclass(slots=True)
class Account:
    """One restore.

    Attributes:
        wanted: What the run that is undone had deleted, as far as it was chosen.
        gone: Those of them that nobody has invited again meanwhile.
        ends: What became of each; in a dry run, of those that need no invitation.
        begun: Atlas has told who is there, so there is a result to tell.
    """

    run_id: str
    now: datetime
    dry_run: bool
    audit_log: str
    wanted: Sequence[Deleted]
    gone: Sequence[Deleted] = ()
    ends: Mapping[Deleted, End] = field(default_factory=dict)
    begun: bool = False
    requests: int = 0
    retries: int = 0
    rate_limited: int = 0
    duration_s: float = 0.0
    error: RunError | None = None
    exit_code: int = 0

    @property
    def tally(self) -> Counter[Restored]:
        """What became of them, counted."""
        return Counter(end.outcome for end in self.ends.values())

    async def close(self, log: AuditLog, error: RunError | None) -> None:
        """Write `run_finished`; where that fails the restore ends with the log's exit code."""
        self._end(error)
        try:
            log.write("run_finished", **self._totals())
            await log.durable()
        except AuditUnwritable as trouble:
            self._end(error if isinstance(error, AuditUnwritable) else trouble)

    def to_json(self) -> dict[str, object]:
        """Return the object that `--output json` writes."""
        return {
            "run_id": self.run_id,
            "mode": "restore",
            "now": self.now,
            "audit_log": self.audit_log,
            **self._totals(),
            "invitations": [self._record(each) for each in self.wanted],
        }

    def said_of(self, deleted: Deleted) -> str:
        """Give the outcome of one of them, or what would be done about it."""
        end = self.ends.get(deleted)
        if end is not None:
            return end.outcome.value
        return "would_restore" if deleted in self.gone else Restored.SKIPPED.value

    def _record(self, deleted: Deleted) -> dict[str, object]:
        end = self.ends.get(deleted)
        return {
            **invitation_fields(deleted.invitation, self.now),
            "deleted_by_run": deleted.run_id,
            "outcome": self.said_of(deleted),
            "http_status": end.http_status if end is not None else None,
            "error_code": end.error_code if end is not None else None,
            "reason": (end.reason or None) if end is not None else None,
        }

    def _totals(self) -> dict[str, object]:
        tally = self.tally
        return {
            "dry_run": self.dry_run,
            "wanted": len(self.wanted),
            "to_restore": len(self.gone),
            **{outcome.value: tally[outcome] for outcome in Restored},
            **{name: getattr(self, name) for name in _TOLD},
            "error": self.error.message if self.error is not None else None,
            "exit_code": self.exit_code,
        }

    def _end(self, error: RunError | None) -> None:
        self.error = error
        if error is not None:
            self.exit_code = int(error.exit_code)
        else:
            partly = any(self.tally[outcome] for outcome in _UNFINISHED)
            self.exit_code = int(ExitCode.PARTLY if partly else ExitCode.DONE)


# One restore, its steps in order: who is gone still, ask, invite, tell.


_NOBODY = "Nobody was invited."


class World(Protocol):
    """What a restore needs of Atlas."""

    def roll(self) -> Roll:
        """Give the part that reads who is there."""
        ...

    def inviter(self) -> Inviter:
        """Give the part that invites; a dry run never asks for it."""
        ...


@dataclass(frozen=True, slots=True)
class Course:
    """One restore.

    Attributes:
        account: Filled in as it goes.
        confirm: Asked once, before the first POST; None asks nobody.
        preamble: The fields of the `run_started` line.
        unsettled: What a restore that was killed left without an outcome.
    """

    atlas: World
    log: AuditLog
    account: Account
    stop: Stop
    pace: Pace
    confirm: Callable[[Account], Awaitable[bool]] | None = None
    preamble: Mapping[str, object] = field(default_factory=dict)
    unsettled: Sequence[OpenIntent] = ()

    async def run(self) -> RunError | None:
        """Carry it out; what stopped it is what it returns. `Account.close` is to follow."""
        account = self.account
        try:
            self.log.write("run_started", **self.preamble)
            await self.log.durable()
            await self._steps()
        except RunError as error:
            return error
        undone = account.tally[Restored.SKIPPED] or account.tally[Restored.UNKNOWN]
        if self.stop.reason is not None and undone:
            done = counted(account.tally[Restored.RESTORED], "person", "people")
            return self.stop.as_error(consequence=f"{done} had been invited by then.")
        return None

    async def _steps(self) -> None:
        account, roll = self.account, self.atlas.roll()
        gone, settled = await self.stop.unless_asked(
            missing(roll, account.wanted), consequence=_NOBODY
        )
        account.gone, account.ends, account.begun = gone, settled, True
        if account.dry_run:
            return
        if gone:
            await self._ask()
        journal = RestoreRecorder(self.log, account.now)
        for intent in self.unsettled:
            journal.unsettled(intent)
        restoration = Restoration(
            self.atlas.inviter(),
            roll,
            journal,
            stop=self.stop,
            pace=self.pace,
        )
        account.ends = restoration.ends
        await restoration.run(gone, settled)

    async def _ask(self) -> None:
        if self.confirm is not None and not await self.confirm(self.account):
            if self.stop.reason is not None:
                raise self.stop.as_error(consequence=_NOBODY)
            raise GuardRefused("The person at the terminal did not say yes.", consequence=_NOBODY)
