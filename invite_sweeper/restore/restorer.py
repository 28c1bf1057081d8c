"""Invite people again: an `intent` on disk, then a POST, then an `outcome`, as in a sweep.

A POST without a clear answer is `unknown`, and is not sent again: the next restore reads first who
is there.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from invite_sweeper.audit import AuditLog, OpenIntent, RunRecord
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned
from invite_sweeper.errors import AuditLogError, Interrupted, RunError
from invite_sweeper.models import InvitationKey, MembershipStatus
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.restore.plan import RestorePlan
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.plan import Swept
from invite_sweeper.sweep.result import Result

MAX_PER_MINUTE: Final = 10
"""Invitations a minute from one IP address.

Source: 400 `RATE_LIMITED_IP` of https://www.mongodb.com/docs/atlas/reference/api-errors (read
2026-08); Atlas also returns it as `INVITATIONS_RATE_LIMITED_IP`.
"""
_WINDOW_S: Final = 61.0  # one second longer, as Atlas's clock may differ
_BACKOFF_S: Final = (10.0, 20.0, 40.0)


class Restorer:
    """Invites people one after another, at most ten a minute, and records each outcome.

    Args:
        report: Called with each outcome.
        report_wait: Called with the seconds of a wait for Atlas to accept another invitation.
    """

    def __init__(
        self,
        result: Result,
        log: AuditLog,
        stop: StopRequest,
        report: Callable[[OutcomeLine], None],
        report_wait: Callable[[float], None],
    ) -> None:
        self._result = result
        self._organizations = {
            organization.id: organization for organization in result.organizations
        }
        self._log = log
        self._stop = stop
        self._report = report
        self._report_wait = report_wait
        self._sent_s: deque[float] = deque(maxlen=MAX_PER_MINUTE)

    async def run(self, plan: RestorePlan, opened: Iterable[OpenIntent] = ()) -> RunRecord:
        """Invite who is missing; each deletion gets one outcome. Return the run.

        Args:
            opened: What earlier runs left open. Of a restore it is known who is there now, and not
                who invited them.
        """
        result = self._result
        result.begin(self._log)
        recovered = self._record_opened(plan, opened)
        for present in plan.already_there:
            outcome = recovered.get(present.key, Outcome.ALREADY_THERE)
            self._record(OutcomeLine.of(present, outcome))
        for barred in plan.barred:
            self._record(OutcomeLine.of(barred, Outcome.FAILED, reason=barred.reason))
        for deletion in plan.to_invite:
            try:
                await self._restore(deletion)
            except RunError as error:
                result.error = result.error or error
                self._record(OutcomeLine.of(deletion, Outcome.SKIPPED))
        if self._stop.reason is not None and self._is_unfinished():
            early = self._stop.as_error(consequence="The audit log is complete.")
            result.error = result.error or early
        return await result.finish(self._log)

    def _record_opened(
        self, plan: RestorePlan, opened: Iterable[OpenIntent]
    ) -> dict[InvitationKey, Outcome]:
        """Record what became of the requests that a killed restore left open.

        A person who was missing before the request and is an active member now is `active`, as a
        person whom Atlas adds at once: that needs attention.

        Returns:
            The outcomes of the people who are there, by the key of their deletion.
        """
        there = {present.key: present for present in plan.already_there}
        recovered: dict[InvitationKey, Outcome] = {}
        for request in opened:
            if request.start.mode != "restore":
                continue
            present = there.get(request.intent.key)
            outcome = Outcome.UNKNOWN
            if present is not None:
                is_active = present.status_now == MembershipStatus.ACTIVE
                outcome = Outcome.ACTIVE if is_active else Outcome.ALREADY_THERE
                recovered[present.key] = outcome
            line = OutcomeLine.of(request.intent, outcome, recovers=request.file.run_id)
            self._log.write(line)
            self._report(line)
        return recovered

    def _is_unfinished(self) -> bool:
        """Return whether a person was not invited, or may not have been."""
        for swept in self._result.swept.values():
            if swept.outcomes[Outcome.SKIPPED] or swept.outcomes[Outcome.UNKNOWN]:
                return True
        return False

    def _is_stopping(self) -> bool:
        return self._stop.reason is not None or self._result.error is not None

    async def _restore(self, deletion: Planned) -> None:
        """Invite one person, once Atlas accepts one more, and record the outcome.

        Raises:
            AuditLogError: The intent is not on disk: nothing was sent.
        """
        now_s = asyncio.get_running_loop().time
        if len(self._sent_s) == MAX_PER_MINUTE and not self._is_stopping():
            wait_s = self._sent_s[0] + _WINDOW_S - now_s()
            if wait_s > 0:
                await self._wait(wait_s)
        if self._is_stopping():
            self._record(OutcomeLine.of(deletion, Outcome.SKIPPED))
            return
        self._sent_s.append(now_s())
        self._log.write(deletion.as_event(Intent, rule=deletion.rule))
        await self._log.sync()
        started_s = now_s()
        sending = await self._post_until_answered(deletion)
        self._result.error = self._result.error or sending.fatal_error
        outcome = sending.outcome
        if outcome is None:  # Atlas did not accept it up to the last try
            outcome = Outcome.SKIPPED if self._is_stopping() else Outcome.FAILED
        self._record(OutcomeLine.of(deletion, outcome, sending, now_s() - started_s))

    async def _post_until_answered(self, deletion: Planned) -> Sending:
        """Send the POST, again where Atlas may accept it later; return the last, with all tries."""
        sending = await self._post(deletion)
        attempts = sending.attempts
        for wait_s in _BACKOFF_S:
            if sending.outcome is not None:
                break
            await self._wait(wait_s)
            if self._is_stopping():
                break
            sending = await self._post(deletion)
            attempts += sending.attempts
        sending.attempts = attempts
        return sending

    async def _wait(self, seconds: float) -> None:
        """Wait with all outcomes on disk, or until the run must stop.

        Raises:
            AuditLogError: They cannot be written.
        """
        await self._log.sync()  # a kill meanwhile leaves no request open that was answered
        self._report_wait(seconds)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.requested.wait(), seconds)

    async def _post(self, deletion: Planned) -> Sending:
        """Send one POST; a stop may cut it off before its response."""
        inviter = self._organizations[deletion.org_id].client.inviter()
        sending = Sending()
        grace = self._result.command.policy.execution.grace
        send = inviter.invite(deletion, sending)
        try:
            return await self._stop.run_unless_stopped(send, grace=grace)
        except Interrupted:
            sending.outcome = Outcome.UNKNOWN if sending.may_be_processed else Outcome.SKIPPED
            return sending

    def _record(self, line: OutcomeLine) -> None:
        """Count, write and report an outcome."""
        organization = self._organizations[line.org_id]
        self._result.add_swept(organization, Swept(Counter((line.outcome,))))
        try:
            self._log.write(line)
        except AuditLogError as error:
            self._result.error = error
        self._report(line)
