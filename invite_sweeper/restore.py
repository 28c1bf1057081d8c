"""Re-invite people whose invitations a run deleted: read the run, leave out who is there, POST.

As in a sweep, each invitation is an `intent` on disk, then a request, then an `outcome`. A POST
without a clear answer is `unknown`: the next restore reads first who is there.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
from msgspec import structs

from invite_sweeper.audit import AuditLog, OpenIntent, RunFile
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned, RunFinished, RunStarted
from invite_sweeper.audit.reader import FileChain
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import (
    AuditLogError,
    CredentialsRefused,
    GuardRefused,
    Interrupted,
    RunError,
    UsageError,
)
from invite_sweeper.models import Invitation, ListUnreadable, Outcome, Project, Sending
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.organization import AtlasOrganization, Swept
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import Globs, casefold_lookalike

MAX_PER_MINUTE: Final = 10
"""Invitations a minute from one IP address.

Source: 400 `RATE_LIMITED_IP` of https://www.mongodb.com/docs/atlas/reference/api-errors (read
2026-08); Atlas also returns it as `INVITATIONS_RATE_LIMITED_IP`.
"""
_WINDOW_S: Final = 61.0  # one second longer, as Atlas's clock may differ
_BACKOFF_S: Final = (10.0, 20.0, 40.0)
_CONFIRMED: Final = frozenset({Outcome.DELETED, Outcome.ACCEPTED_DURING})


class Deletions(NamedTuple):
    """What a run deleted, in its order, each user of a place once."""

    run_id: str
    start: RunStarted
    lines: tuple[Planned, ...]


def read_deletions(
    file: RunFile, *, username: str | None = None, unconfirmed: bool = False
) -> Deletions:
    """Return what a run deleted.

    Args:
        username: A glob for the addresses; None for all.
        unconfirmed: Also deletions that Atlas did not confirm: without a response, or found
            gone by a repeated request.

    Raises:
        UsageError: The file has no line.
        GuardRefused: It was changed, or cannot be read.
    """
    start: RunStarted | None = None
    run_id = ""
    found: dict[tuple[str, ...], OutcomeLine | Intent] = {}
    for header, event in FileChain(file).events():
        if isinstance(event, RunStarted):
            start, run_id = event, header.run_id
        elif isinstance(event, Intent) and unconfirmed:
            found[event.key] = event
        elif isinstance(event, OutcomeLine):
            repeated = event.outcome == Outcome.ALREADY_GONE and event.attempts > 1
            doubtful = event.recovers is None and (repeated or event.outcome == Outcome.UNKNOWN)
            # Confirmed is also what this run found of an interrupted one.
            if event.outcome in _CONFIRMED or (unconfirmed and doubtful):
                found[event.key] = event
            else:
                found.pop(event.key, None)
    if start is None:
        raise UsageError(f"{file.path} has no line.", hint="List the runs with `audit show`.")
    by_user = {(*each.key[:3], *each.user_key): each for each in found.values()}
    globs = Globs([username or "*"])
    lines = (each for each in by_user.values() if globs.matches(each.username or ""))
    planned = tuple(each.as_event(Planned, rule=each.rule) for each in lines)
    return Deletions(run_id, start, planned)


class Barred(Planned, frozen=True, kw_only=True):
    """A deletion that gets no invitation, and the reason."""

    reason: str


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a restore invites again; the result of `restore --dry-run`.

    Attributes:
        restores: The run to undo.
        to_invite: Who would be invited again.
        already_there: Who is invited or a member already.
        barred: Who gets no invitation: the list of members could not be read, or a project is
            in another organization now.
    """

    restores: str
    to_invite: tuple[Planned, ...]
    already_there: tuple[Planned, ...]
    barred: tuple[Barred, ...]
    exit_code: int


async def plan_restore(
    organizations: Sequence[AtlasOrganization], deletions: Deletions
) -> RestorePlan:
    """Return who of the deleted people is not there, with one list read for each place.

    Raises:
        GuardRefused: The policy does not name an organization of the run.
        RunError: An error concerned the run, not one list.
    """
    by_id = {each.id: each for each in organizations}
    if others := sorted({each.org_id for each in deletions.lines} - by_id.keys()):
        raise GuardRefused(
            f"The policy does not name the organizations {', '.join(others)} of the run.",
            hint="Use the policy of that run.",
        )
    owners: dict[str, Mapping[str, str]] = {}
    members: dict[tuple[str, ...], Mapping[str, str] | ListUnreadable] = {}
    to_invite, there, barred = [], [], []
    for one in deletions.lines:
        place, organization = one.key[:3], by_id[one.org_id]
        reader = organization.client.reader
        try:
            if one.org_id not in owners:
                projects = await reader.projects()
                owners[one.org_id] = {e.id: e.org_id for e in projects if isinstance(e, Project)}
            reason = _moved(one, owners[one.org_id])
            if not reason and place not in members:
                members[place] = await reader.statuses(one)
        except CredentialsRefused as error:
            raise error.of_variables(organization.variables) from error
        known = members.get(place, {})
        if reason or isinstance(known, ListUnreadable):
            reason = known.reason if isinstance(known, ListUnreadable) else reason
            barred.append(one.as_event(Barred, rule=one.rule, reason=reason))
        elif casefold_lookalike(one.username or "") in map(casefold_lookalike, known):
            there.append(one)
        else:
            to_invite.append(one)
    return RestorePlan(
        restores=deletions.run_id,
        to_invite=tuple(to_invite),
        already_there=tuple(there),
        barred=tuple(barred),
        exit_code=int(ExitCode.PARTIAL if barred else ExitCode.DONE),
    )


def _with_roles_of_entries(line: Planned) -> Planned:
    """Return what is invited again: with the roles of all entries."""
    roles, in_projects = dict.fromkeys(line.roles), dict.fromkeys(line.project_roles)
    for entry in line.entries:
        if entry.project_id is None:
            roles |= dict.fromkeys(entry.roles)
            in_projects |= dict.fromkeys(entry.project_roles)
        else:
            in_projects |= dict.fromkeys((entry.project_id, role) for role in entry.roles)
    return structs.replace(line, roles=tuple(roles), project_roles=tuple(in_projects))


def _moved(invitation: Invitation, owners: Mapping[str, str]) -> str:
    """Return why an invitation leads to another organization than it did; "" if it does not.

    Args:
        owners: The organization of each project that the credentials see.
    """
    ids = {*(id_ for id_, _ in invitation.linked_projects), invitation.scope_id}
    for project_id in sorted(ids):
        now = owners.get(project_id, invitation.org_id)
        if now != invitation.org_id:
            return f"Project {project_id} belongs to organization {now} now."
    return ""


class Restorer:
    """Invites people one after another, at most ten a minute, and records each outcome.

    Args:
        report: Called with each outcome, and why it is not another.
    """

    def __init__(
        self,
        result: Result,
        log: AuditLog,
        stop: StopRequest,
        report: Callable[[OutcomeLine, str], None],
    ) -> None:
        self._result = result
        self._organizations = {each.id: each for each in result.organizations}
        self._log = log
        self._stop = stop
        self._report = report
        self._sent_s: deque[float] = deque(maxlen=MAX_PER_MINUTE)

    async def run(self, plan: RestorePlan, opened: Iterable[OpenIntent] = ()) -> RunFinished:
        """Invite who is missing; each deletion gets one outcome. Return the last line.

        Args:
            opened: What earlier runs left open. Of a restore it is known who is there now, and not
                who invited them.
        """
        result = self._result
        number = self._log.file.number
        self._log.write(result.command.run_started(result.organizations, number))
        there = {one.key for one in plan.already_there}
        for each in opened:
            if each.run.mode == "restore":
                outcome = Outcome.ALREADY_THERE if each.intent.key in there else Outcome.UNKNOWN
                self._log.write(OutcomeLine.of(each.intent, outcome, recovers=each.run.run_id))
        for one in plan.already_there:
            self._record(OutcomeLine.of(one, Outcome.ALREADY_THERE))
        for barred in plan.barred:
            line = OutcomeLine.of(barred, Outcome.FAILED, reason=barred.reason)
            self._record(line, barred.reason)
        for one in plan.to_invite:
            try:
                await self._restore(one)
            except RunError as error:
                result.error = result.error or error
                self._record(OutcomeLine.of(one, Outcome.SKIPPED))
        unsure = (Outcome.SKIPPED, Outcome.UNKNOWN)
        is_unfinished = any(s.outcomes[end] for s in result.swept.values() for end in unsure)
        if self._stop.reason is not None and is_unfinished:
            early = self._stop.as_error(consequence="The audit log is complete.")
            result.error = result.error or early
        return await result.finish(self._log)

    def _is_stopping(self) -> bool:
        return self._stop.reason is not None or self._result.error is not None

    async def _restore(self, one: Planned) -> None:
        now_s = asyncio.get_running_loop().time
        if len(self._sent_s) == MAX_PER_MINUTE and not self._is_stopping():
            await self._wait(self._sent_s[0] + _WINDOW_S - now_s())
        if self._is_stopping():
            self._record(OutcomeLine.of(one, Outcome.SKIPPED))
            return
        self._sent_s.append(now_s())
        self._log.write(one.as_event(Intent, rule=one.rule))
        await self._log.sync()
        started_s, attempts, sending = now_s(), 0, Sending()
        for wait_s in (*_BACKOFF_S, 0.0):
            sending = await self._post(one)
            attempts += sending.attempts
            if sending.outcome is None:
                await self._wait(wait_s)
            if sending.outcome is not None or self._is_stopping():
                break
        self._result.error = self._result.error or sending.fatal_error
        refused = Outcome.SKIPPED if self._is_stopping() else Outcome.FAILED
        sending.attempts, outcome = attempts, sending.outcome or refused
        self._record(OutcomeLine.of(one, outcome, sending, now_s() - started_s))

    async def _wait(self, seconds: float) -> None:
        """Wait, or until the run must stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.requested.wait(), seconds)

    async def _post(self, one: Planned) -> Sending:
        """Send one POST; a stop may cut it off before its response."""
        inviter, sending = self._organizations[one.org_id].client.inviter(), Sending()
        grace = self._result.command.policy.execution.grace
        send = inviter.invite(_with_roles_of_entries(one), sending)
        try:
            return await self._stop.run_unless_stopped(send, grace=grace)
        except Interrupted:
            return sending.end(Outcome.UNKNOWN if sending.may_be_processed else Outcome.SKIPPED)

    def _record(self, line: OutcomeLine, reason: str = "") -> None:
        organization = self._organizations[line.org_id]
        self._result.add_swept(organization, Swept(Counter((line.outcome,))))
        try:
            self._log.write(line)
        except AuditLogError as error:
            self._result.error = error
        if line.outcome != Outcome.RESTORED:
            reason = reason or " ".join(map(str, filter(None, (line.http_status, line.error_code))))
        self._report(line, reason)
