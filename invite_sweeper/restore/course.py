"""One restore, its steps in order: who is gone still, ask, invite, tell."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from invite_sweeper.audit import AuditLog, OpenIntent
from invite_sweeper.errors import GuardRefused, RunError
from invite_sweeper.plural import counted
from invite_sweeper.restore.account import Account
from invite_sweeper.restore.journal import RestoreRecorder
from invite_sweeper.restore.look import Roll, missing
from invite_sweeper.restore.pace import Pace
from invite_sweeper.restore.passing import Inviter, Restoration
from invite_sweeper.restore.values import Restored
from invite_sweeper.stop import Stop

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
