"""Re-invite people whose invitations runs deleted: find them, leave out who is there, POST.

As in a sweep, each invitation is an `intent` on disk, then a request, then an `outcome`. A POST
without a clear answer is `unknown`: the next restore reads first who is there.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final, NamedTuple

import msgspec
from msgspec import structs

from invite_sweeper.audit import AuditDirectory, AuditLog, LineFilter, OpenIntent, RunFile
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.person import (
    HistoryLine,
    HistoryReader,
    close_names,
    last_deletions,
    names_of,
    runs_of,
)
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.endings import Advisor, ExitCode
from invite_sweeper.errors import (
    AuditLogError,
    CredentialsRefused,
    DamagedLog,
    GuardRefused,
    Interrupted,
    NoDeletionFound,
    RunError,
)
from invite_sweeper.models import Invitation, ListUnreadable, Project
from invite_sweeper.names import casefold_lookalike
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep.organization import AtlasOrganization, Swept
from invite_sweeper.sweep.result import Result
from invite_sweeper.text import plural_form, pluralize

MAX_PER_MINUTE: Final = 10
"""Invitations a minute from one IP address.

Source: 400 `RATE_LIMITED_IP` of https://www.mongodb.com/docs/atlas/reference/api-errors (read
2026-08); Atlas also returns it as `INVITATIONS_RATE_LIMITED_IP`.
"""
_WINDOW_S: Final = 61.0  # one second longer, as Atlas's clock may differ
_BACKOFF_S: Final = (10.0, 20.0, 40.0)


class Wanted(NamedTuple):
    """Whom a restore is asked for.

    Attributes:
        run: The number, id or file of the run to undo; None for whichever runs deleted them.
        username: A glob for the addresses; None for all.
        unconfirmed: Also deletions that Atlas did not confirm: without a response, or found gone
            by a repeated request.
    """

    run: str | None = None
    username: str | None = None
    unconfirmed: bool = False


class Deletions(NamedTuple):
    """What a restore undoes: of each person the last deletion in each place.

    Attributes:
        runs: Which runs deleted them, in their order.
        lines: In the order of these runs.
        left_out: Deletions of people who are asked for that Atlas did not confirm.
    """

    runs: tuple[RunFile, ...]
    lines: tuple[Planned, ...]
    left_out: int = 0

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The ids of the runs."""
        return tuple(run.run_id for run in self.runs)


def find_deletions(
    directory: AuditDirectory, wanted: Wanted, base_url: str, advisor: Advisor
) -> Deletions:
    """Return what a restore undoes.

    With a run, what it deleted. Without one, of the people with a name the last deletion of each
    in each place, in whichever runs; of all people, what the last sweep deleted that deleted any.

    Args:
        base_url: Of the Atlas that is asked to invite them.
        advisor: Makes the commands of hints.

    Raises:
        NoDeletionFound: No run that was searched deleted them.
        GuardRefused: They were deleted in another Atlas.
        DamagedLog: The log is damaged, or the file of the last run is missing.
        UsageError: The run does not exist, or there is none.
    """
    directory.check_not_empty()
    files = directory.files() if wanted.run is None else (directory.find(wanted.run),)
    reader = HistoryReader(LineFilter(events=_DECISIVE, username=wanted.username))
    if wanted.run is not None or wanted.username is not None:
        chains = map(FileChain, files) if wanted.run is not None else iter(directory.reader())
        lines = [line for chain in chains for line in reader.read(chain)]
    else:
        lines = []
        for file in reversed(files):
            lines = [*reader.read(FileChain(file)), *lines]
            if last_deletions(lines, unconfirmed=wanted.unconfirmed):
                break
    found = last_deletions(lines, unconfirmed=wanted.unconfirmed)
    if wanted.run is None:
        _check_last_file(directory, found, advisor)
    if not found:
        raise _no_deletion_found(directory, wanted, lines, reader.runs, advisor)
    here = [line for line in found if line.start.base_url == base_url]
    if not here:
        raise GuardRefused(
            f"Run {found[-1].run.run_id} used {found[-1].start.base_url}, not {base_url}.",
            hint="Set --base-url to the URL of that run.",
        )
    all_deletions = last_deletions(lines, unconfirmed=True)
    left_out = sum(not line.is_deletion(unconfirmed=wanted.unconfirmed) for line in all_deletions)
    return Deletions(runs_of(here), tuple(map(_planned, here)), left_out)


_DECISIVE: Final = frozenset({Intent.event, OutcomeLine.event})
"""The events that say what became of a deletion."""


def _planned(line: HistoryLine) -> Planned:
    event = line.event
    assert isinstance(event, Intent | OutcomeLine)  # noqa: S101 - others are no deletions
    return event.as_event(Planned, rule=event.rule)


def _check_last_file(
    directory: AuditDirectory, found: Sequence[HistoryLine], advisor: Advisor
) -> None:
    """Raise DamagedLog if the file of the last run is missing: it may have the last deletion."""
    missing = directory.reader().missing
    if missing is None:
        return
    hint = f"Name the run to undo. {directory.list_hint()}"
    if found:
        last = str(runs_of(found)[-1].number)
        hint = f"To undo the last sweep that is known: {advisor._replace(run=last).restore()}"
    raise DamagedLog(
        f"The file of the last run, {missing.name}, is missing in {directory.path}: it may "
        "have the last deletion.",
        hint=hint,
    )


def _no_deletion_found(
    directory: AuditDirectory,
    wanted: Wanted,
    lines: Sequence[HistoryLine],
    searched: Iterable[RunFile],
    advisor: Advisor,
) -> NoDeletionFound:
    """Return the error where no run deleted who is asked for: what was searched, who is meant."""
    runs = sorted(searched)
    where = f"runs {runs[0].number} to {runs[-1].number} of {directory.path}"
    if len(runs) == 1:
        where = f"run {runs[0].number or runs[0].path.name}"
    whom = "anyone" if wanted.username is None else f"a person named {wanted.username!r}"
    message = f"No sweep deleted {whom}: {where} {plural_form(len(runs), 'was', 'were')} searched."
    name, advisor = wanted.username or "", advisor._replace(run=wanted.run or "")
    if unconfirmed := last_deletions(lines, unconfirmed=True):
        people = pluralize(count_people(map(_planned, unconfirmed)), "person", "people")
        command = advisor.restore(name, "--include-unconfirmed")
        hint = f"Atlas did not confirm the deletion of {people}. To invite them again: {command}"
    elif lines:
        hint = f"What runs did with them: {advisor.history(name)}"
    elif close := close_names([name], _names(directory, runs) if name else ()):
        hint = f"Did you mean {', '.join(close)}?"
    else:
        hint = directory.list_hint()
    return NoDeletionFound(message, hint=hint)


def _names(directory: AuditDirectory, runs: Sequence[RunFile]) -> Iterator[str]:
    chains = map(FileChain, runs) if len(runs) == 1 else iter(directory.reader())
    return chain.from_iterable(map(names_of, chains))


def count_people(invitations: Iterable[Invitation]) -> int:
    """Return how many people have these invitations: one may have several."""
    return len({invitation.person for invitation in invitations})


class Barred(Planned, frozen=True, kw_only=True):
    """A deletion that gets no invitation, and the reason."""

    reason: str


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a restore invites again; the result of `restore --dry-run`.

    Attributes:
        restores: The ids of the runs that are undone.
        to_invite: Who would be invited again.
        already_there: Who is invited or a member already.
        barred: Who gets no invitation: the list of members could not be read, or a project is
            in another organization now.
    """

    restores: tuple[str, ...]
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
    to_invite = []
    there = []
    barred = []
    for one in deletions.lines:
        place = one.key[:3]
        organization = by_id[one.org_id]
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
        restores=deletions.run_ids,
        to_invite=tuple(to_invite),
        already_there=tuple(there),
        barred=tuple(barred),
        exit_code=int(ExitCode.PARTIAL if barred else ExitCode.DONE),
    )


def _with_roles_of_entries(line: Planned) -> Planned:
    """Return what is invited again: with the roles of all entries."""
    roles = dict.fromkeys(line.roles)
    in_projects = dict.fromkeys(line.project_roles)
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
                line = OutcomeLine.of(each.intent, outcome, recovers=each.run.run_id)
                self._log.write(line)
                self._report(line, f"sent by run {each.run.file.number}, which was killed")
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
        started_s = now_s()
        attempts = 0
        sending = Sending()
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
        inviter = self._organizations[one.org_id].client.inviter()
        sending = Sending()
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
