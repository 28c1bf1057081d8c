"""Re-invite people whose invitations a run deleted: read the run, leave out who is there, POST.

As in a sweep, each invitation is an `intent` on disk, then a request, then an `outcome`. A POST
without a clear answer is `unknown`: the next restore reads first who is there.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from invite_sweeper.audit import AuditLog, History, RunFile, RunRecord
from invite_sweeper.audit.events import (
    Intent,
    InvitationFields,
    Line,
    OrganizationResult,
    OutcomeLine,
    RunFinished,
    RunStarted,
)
from invite_sweeper.audit.reader import FileChain, required
from invite_sweeper.counts import Counts, count_values, total
from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.errors import AuditLogError, CredentialsRefused, RunError, UsageError
from invite_sweeper.models import (
    DeletionProgress,
    Invitation,
    InviteResult,
    InviteStatus,
    ListUnreadable,
    Outcome,
    Project,
)
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.command import Organization, requests_of
from invite_sweeper.text import casefold_lookalike, casefold_visible

MAX_PER_MINUTE: Final = 10
"""Invitations a minute from one IP address.

Source: 400 `RATE_LIMITED_IP` of https://www.mongodb.com/docs/atlas/reference/api-errors (read
2026-08); Atlas also returns it as `INVITATIONS_RATE_LIMITED_IP`.
"""
_WINDOW_S: Final = 61.0  # one second longer, as Atlas's clock may differ
_BACKOFF_S: Final = (10.0, 20.0, 40.0)
NOTHING_INVITED: Final = "No one was invited."


class RestoreOutcome(StrEnum):
    """The `outcome` of a restore's line in the audit log."""

    RESTORED = "restored"
    """The user is invited and pending again."""
    ACTIVE = "active"
    """Atlas added the user at once as an active member, without an acceptance."""
    ALREADY_THERE = "already_there"
    """The user is invited or a member without this restore."""
    FAILED = "failed"
    """Rejected or given up; no invitation was created."""
    UNKNOWN = "unknown"
    """No clear answer: the user may have been invited."""
    SKIPPED = "skipped"
    """A signal, the deadline or an error came before Atlas accepted an invitation."""


_OUTCOMES: Final[Mapping[InviteStatus, RestoreOutcome]] = {
    InviteStatus.CREATED: RestoreOutcome.RESTORED,
    InviteStatus.ACTIVE: RestoreOutcome.ACTIVE,
    InviteStatus.ALREADY_PRESENT: RestoreOutcome.ALREADY_THERE,
    InviteStatus.UNREADABLE: RestoreOutcome.UNKNOWN,
    InviteStatus.UNKNOWN: RestoreOutcome.UNKNOWN,
    InviteStatus.RETRY_LATER: RestoreOutcome.FAILED,
    InviteStatus.REJECTED: RestoreOutcome.FAILED,
}


class Deleted(NamedTuple):
    """What a run deleted: its line, and the invitation with all roles of all its entries."""

    line: InvitationFields
    invitation: Invitation
    rule: str

    @classmethod
    def of(cls, line: OutcomeLine | Intent) -> "Deleted":
        """Return the deletion of a line."""
        return cls(line, line.invitation().with_entries(line.entries), line.rule)


def find_run(history: History, file: RunFile | None) -> RunRecord:
    """Return the run to undo: that of a file, else the last sweep.

    Raises:
        UsageError: The run does not exist.
        GuardRefused: Its file was changed.
    """
    found = history.last_sweep() if file is None else history.find(file.run_id)
    if found is None or found.start is None:
        raise UsageError(
            "The audit directory has no sweep to undo.", hint="List the runs with `audit show`."
        )
    with required():
        FileChain(found.file.path).read()
    return found


def read_deletions(
    files: Iterable[RunFile],
    run_id: str,
    *,
    username: str | None = None,
    unconfirmed: bool = False,
    check: Callable[[], None] = lambda: None,
) -> tuple[Deleted, ...]:
    """Return what a run deleted, in its order, each user of a place once.

    An outcome that a later run recorded for an interrupted one belongs to the interrupted one;
    that a member was removed belongs to both.

    Args:
        files: Of the audit directory.
        username: A glob for the addresses; None for all.
        unconfirmed: Also deletions that Atlas did not confirm: without a response, or found
            gone after an interruption or a repeated request.

    Raises:
        GuardRefused: A line cannot be read.
    """
    found: dict[tuple[str, ...], Deleted] = {}

    def observe(run: RunRecord, line: Line) -> None:
        event = line.event
        if isinstance(event, Intent) and run.run_id == run_id and unconfirmed:
            found[event.key] = Deleted.of(event)
        elif isinstance(event, OutcomeLine) and run_id in {event.recovers, run.run_id}:
            is_of_another = event.recovers not in {None, run_id}
            if is_of_another and event.outcome != Outcome.ACCEPTED_DURING:
                return
            if _is_deleted(event, unconfirmed=unconfirmed):
                found[event.key] = Deleted.of(event)
            else:
                found.pop(event.key, None)

    History.read(files, check=check, observe=observe)
    by_user = {(*one.line.key[:3], *one.line.user_key): one for one in found.values()}
    return tuple(one for one in by_user.values() if _matches(one.line.username, username))


def _is_deleted(event: OutcomeLine, *, unconfirmed: bool) -> bool:
    if event.outcome in {Outcome.DELETED, Outcome.ACCEPTED_DURING}:
        return True
    if not unconfirmed:
        return False
    repeated = event.recovers is not None or event.attempts > 1
    return event.outcome == Outcome.UNKNOWN or (event.outcome == Outcome.ALREADY_GONE and repeated)


def _matches(username: str | None, glob: str | None) -> bool:
    return glob is None or fnmatchcase(casefold_visible(username or ""), casefold_visible(glob))


class Missing(NamedTuple):
    """Whom a restore would invite, and who is there already or cannot be judged.

    Attributes:
        barred: Deletions that get no invitation, with the reason: the list of members could not
            be read, or a project is in another organization now.
    """

    to_invite: tuple[Deleted, ...]
    there: tuple[Deleted, ...]
    barred: tuple[tuple[Deleted, str], ...]


async def find_missing(
    organizations: Sequence[Organization], deletions: Iterable[Deleted]
) -> Missing:
    """Return who of the deleted people is not there, with one list read for each place.

    Raises:
        RunError: An error concerned the run, not one list.
    """
    clients = {each.id: each.client for each in organizations}
    owners: dict[str, Mapping[str, str]] = {}
    variables = {each.id: each.variables for each in organizations}
    statuses: dict[tuple[str, ...], Mapping[str, str] | ListUnreadable] = {}
    to_invite, there, barred = [], [], []
    for deleted in deletions:
        one, place = deleted.invitation, deleted.line.key[:3]
        try:
            if one.org_id not in owners:
                found = await clients[one.org_id].reader.projects()
                owners[one.org_id] = {e.id: e.org_id for e in found if isinstance(e, Project)}
            if moved := _moved_reason(one, owners[one.org_id]):
                barred.append((deleted, moved))
                continue
            if place not in statuses:
                statuses[place] = await clients[one.org_id].reader.statuses(one)
        except CredentialsRefused as error:
            raise error.of_variables(variables[one.org_id]) from error
        known = statuses[place]
        if isinstance(known, ListUnreadable):
            barred.append((deleted, known.reason))
        elif casefold_lookalike(one.username or "") in map(casefold_lookalike, known):
            there.append(deleted)
        else:
            to_invite.append(deleted)
    return Missing(tuple(to_invite), tuple(there), tuple(barred))


def _moved_reason(invitation: Invitation, owners: Mapping[str, str]) -> str:
    """Return why an invitation leads to another organization than it did; "" if it does not.

    Args:
        owners: The organization of each project that the credentials see.
    """
    ids = {*(id_ for id_, _ in invitation.linked_projects), invitation.project_id}
    for project_id in sorted(ids):
        now = owners.get(project_id, invitation.org_id)
        if now != invitation.org_id:
            return f"Project {project_id} belongs to organization {now} now."
    return ""


class Pace:
    """At most ten POSTs a minute, and longer waits where Atlas asks for them.

    Args:
        clock: Monotonic seconds.
        sleep: Waits for a number of seconds, or until the run must stop.
    """

    def __init__(
        self, clock: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self.clock = clock
        self.sleep = sleep
        self._sent_s: deque[float] = deque(maxlen=MAX_PER_MINUTE)

    async def wait(self) -> None:
        """Wait until another POST may be sent."""
        if len(self._sent_s) == MAX_PER_MINUTE:
            await self.sleep(max(0.0, self._sent_s[0] + _WINDOW_S - self.clock()))
        self._sent_s.append(self.clock())


class Restorer:
    """Invites people one after another, and records each outcome.

    Attributes:
        outcomes: By organization.
        error: What ended the restore early; None if it completed.
    """

    def __init__(
        self,
        organizations: Sequence[Organization],
        log: AuditLog,
        stop: StopRequest,
        pace: Pace,
        grace_s: float,
        on_outcome: Callable[[Deleted, RestoreOutcome, str], None],
    ) -> None:
        self._inviters = {each.id: each.client.inviter() for each in organizations}
        self._log = log
        self._stop = stop
        self._pace = pace
        self._grace_s = grace_s
        self._on_outcome = on_outcome
        self.outcomes: dict[str, Counter[str]] = {each.id: Counter() for each in organizations}
        self.error: RunError | None = None

    async def run(self, missing: Missing) -> None:
        """Invite who is missing; each deletion gets one outcome."""
        for deleted in missing.there:
            self._record(deleted, RestoreOutcome.ALREADY_THERE)
        for deleted, reason in missing.barred:
            self._record(deleted, RestoreOutcome.FAILED, reason=reason)
        for deleted in missing.to_invite:
            try:
                await self._restore(deleted)
            except RunError as error:
                self.error = self.error or error
                self._record(deleted, RestoreOutcome.SKIPPED)

    def _is_stopping(self) -> bool:
        return self._stop.reason is not None or self.error is not None

    async def _restore(self, deleted: Deleted) -> None:
        if not self._is_stopping():
            await self._pace.wait()
        if self._is_stopping():
            self._record(deleted, RestoreOutcome.SKIPPED)
            return
        self._log.write(deleted.line.as_event(Intent, rule=deleted.rule))
        await self._log.sync()
        started_s, waits, cut_short = self._pace.clock(), iter(_BACKOFF_S), False
        progress = DeletionProgress()
        result = await self._post(deleted.invitation, progress)
        attempts = progress.attempts
        while result is not None and result.status is InviteStatus.RETRY_LATER:
            wait_s = next(waits, None)
            if wait_s is None:
                break
            await self._pace.sleep(wait_s)
            if cut_short := self._is_stopping():
                break
            progress = DeletionProgress()
            result = await self._post(deleted.invitation, progress)
            attempts += progress.attempts
        outcome = _interrupted(progress) if result is None else _OUTCOMES[result.status]
        outcome = RestoreOutcome.SKIPPED if cut_short else outcome
        if result is not None:
            self.error = self.error or result.fatal_error
        duration_ms = (self._pace.clock() - started_s) * 1000
        self._record(deleted, outcome, result, attempts, round(duration_ms, 1))

    async def _post(
        self, invitation: Invitation, progress: DeletionProgress
    ) -> InviteResult | None:
        """Send one POST; return None if a stop cut it off before its response."""
        inviter = self._inviters[invitation.org_id]
        send = asyncio.ensure_future(inviter.invite(invitation, progress))
        requested = asyncio.ensure_future(self._stop.requested.wait())
        forced = asyncio.ensure_future(self._stop.forced.wait())
        first = asyncio.FIRST_COMPLETED
        try:
            await asyncio.wait((send, requested), return_when=first)
            await asyncio.wait((send, forced), return_when=first, timeout=self._grace_s)
            return send.result() if send.done() else None
        finally:
            for task in (send, requested, forced):
                task.cancel()
            await asyncio.gather(send, requested, forced, return_exceptions=True)

    def _record(
        self,
        deleted: Deleted,
        outcome: RestoreOutcome,
        result: InviteResult | None = None,
        attempts: int = 0,
        duration_ms: float | None = None,
        reason: str = "",
    ) -> None:
        self.outcomes[deleted.invitation.org_id][outcome] += 1
        try:
            self._log.write(
                deleted.line.as_event(
                    OutcomeLine,
                    rule=deleted.rule,
                    outcome=outcome,
                    attempts=attempts,
                    http_status=result.http_status if result is not None else None,
                    error_code=result.error_code if result is not None else None,
                    duration_ms=duration_ms,
                )
            )
        except AuditLogError as error:
            self.error = error
        if result is not None and outcome is not RestoreOutcome.RESTORED:
            reason = " ".join(map(str, filter(None, (result.http_status, result.error_code))))
        self._on_outcome(deleted, outcome, reason)


def _interrupted(progress: DeletionProgress) -> RestoreOutcome:
    """Return the outcome of a POST that a stop cut off."""
    sent = progress.response_pending or progress.http_status is not None
    return RestoreOutcome.UNKNOWN if sent else RestoreOutcome.SKIPPED


def finished(
    organizations: Sequence[Organization],
    outcomes: Mapping[str, Counter[str]],
    error: RunError | None,
    duration_s: float,
) -> RunFinished:
    """Return the last line of a restore."""
    requests = requests_of(organizations)
    results = tuple(
        OrganizationResult(
            **_ending(Counts(**dict[str, Any](outcomes.get(each.id, {}))), error),
            **requests.get(each.id, {}),
            id=each.id,
            name=each.name,
        )
        for each in organizations
    )
    return RunFinished(
        **_ending(total(results), error),
        requests=sum(each.requests for each in results),
        retries=sum(each.retries for each in results),
        rate_limited=sum(each.rate_limited for each in results),
        duration_s=round(duration_s, 3),
        organizations=results,
    )


def _ending(counts: Counts, error: RunError | None) -> dict[str, Any]:
    """Return the fields that say how a restore ended, of an organization or of all."""
    reasons = tuple(_reasons(counts)) if error is None else error.reasons
    code = ExitCode.PARTIAL if reasons else ExitCode.DONE
    return {
        **count_values(counts),
        "exit_code": int(code if error is None else error.exit_code),
        "error": error.to_json() if error is not None else None,
        "reasons": reasons,
    }


def _reasons(counts: Counts) -> Iterator[Reason]:
    """Yield why a restore did not do everything, or did more than was wanted."""
    if counts.active:
        yield Reason.MADE_ACTIVE
    if counts.failed or counts.unknown or counts.skipped:
        yield Reason.NOT_INVITED


def run_started(
    undone: RunStarted, run_id: str, *, tool_version: str, now: str, actors: Mapping[str, str]
) -> RunStarted:
    """Return the first line of a restore.

    Args:
        undone: The first line of the run to undo.
        run_id: Of the run to undo.
        now: The instant of the restore, RFC 3339.
        actors: The client id or public key of each organization, or `token`.
    """
    return RunStarted(
        mode="restore",
        tool_version=tool_version,
        policy_sha256=None,
        policy_path=undone.policy_path,
        organizations=tuple(actors),
        actors=actors,
        base_url=undone.base_url,
        now=now,
        shard=None,
        restores=run_id,
    )
