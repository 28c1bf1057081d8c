"""Re-invite people whose invitations runs deleted: find them, leave out who is there, POST.

Of each person the last deletion in each place is undone, if Atlas confirmed it and the person is
not there now. Where that cannot be read, or a project has moved, nothing is sent. As in a sweep, an
invitation is an `intent` on disk, then a request, then an `outcome`. A POST without a clear answer
is `unknown`: the next restore reads first who is there.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec
from msgspec import structs

from invite_sweeper.advice import Advisor
from invite_sweeper.atlas.reader import AtlasReader
from invite_sweeper.audit import (
    AuditDirectory,
    AuditLog,
    LineFilter,
    OpenIntent,
    RunFile,
    RunRecord,
)
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
from invite_sweeper.endings import ExitCode
from invite_sweeper.errors import (
    AuditLogError,
    CredentialsRefused,
    DamagedLog,
    GuardRefused,
    Interrupted,
    NoDeletionFound,
    RunError,
)
from invite_sweeper.models import (
    Invitation,
    InvitationKey,
    ListKey,
    ListUnreadable,
    MembershipStatus,
    Project,
)
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
    """Which deletions a restore is asked to undo.

    Attributes:
        run: The number, id or file of the run to undo; None for any run.
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
        left_out: Deletions of the wanted people that Atlas did not confirm.
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
    in each place, of any run; of all people, what the last sweep deleted that deleted any.

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
    reader = HistoryReader(LineFilter(events=_DECISIVE, username=wanted.username))
    lines = _read_lines(directory, wanted, reader)
    deletions = last_deletions(lines, unconfirmed=wanted.unconfirmed)
    if wanted.run is None:
        _check_last_file(directory, deletions, advisor)
    if not deletions:
        raise _no_deletion_found(directory, wanted, lines, reader.runs, advisor)
    # The same organization may be in an audit directory that served two hosts of Atlas.
    in_this_atlas = [line for line in deletions if line.start.base_url == base_url]
    if not in_this_atlas:
        last = deletions[-1]
        raise GuardRefused(
            f"Run {last.run.run_id} used {last.start.base_url}, not {base_url}.",
            hint="Set --base-url to the URL of that run.",
        )
    left_out = 0
    for line in last_deletions(lines, unconfirmed=True):
        if not line.is_deletion(unconfirmed=wanted.unconfirmed):
            left_out += 1
    lines_to_undo = tuple(map(_planned, in_this_atlas))
    return Deletions(runs_of(in_this_atlas), lines_to_undo, left_out)


_DECISIVE: Final = frozenset({Intent.event, OutcomeLine.event})
"""The events of what became of a deletion."""


def _read_lines(
    directory: AuditDirectory, wanted: Wanted, reader: HistoryReader
) -> list[HistoryLine]:
    """Return what became of deletions in the runs that are searched, in their order."""
    lines: list[HistoryLine] = []
    if wanted.run is not None:
        lines.extend(reader.read(FileChain(directory.find(wanted.run))))
    elif wanted.username is not None:
        for chain in directory.reader():
            lines.extend(reader.read(chain))
    else:  # from the newest file back to a run that deleted anyone
        for run_file in reversed(directory.files()):
            lines = [*reader.read(FileChain(run_file)), *lines]
            if last_deletions(lines, unconfirmed=wanted.unconfirmed):
                break
    return lines


def _planned(line: HistoryLine) -> Planned:
    """Return a deletion as it was planned."""
    event = line.event
    assert isinstance(event, Intent | OutcomeLine)  # noqa: S101 - others are no deletions
    return event.as_event(Planned, rule=event.rule)


def _check_last_file(
    directory: AuditDirectory, deletions: Sequence[HistoryLine], advisor: Advisor
) -> None:
    """Raise DamagedLog if the file of the last run is missing: it may have the last deletion."""
    missing = directory.reader().missing
    if missing is None:
        return
    hint = f"Name the run to undo. {directory.list_hint()}"
    if deletions:
        last_run = runs_of(deletions)[-1]
        command = advisor._replace(run=str(last_run.number)).restore()
        hint = f"To undo the last sweep that is known: {command}"
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
    """Return the error where no run deleted the wanted people, with what may be meant."""
    runs = sorted(searched)
    where = f"runs {runs[0].number} to {runs[-1].number} of {directory.path}"
    if len(runs) == 1:
        where = f"run {runs[0].number or runs[0].path.name}"
    whom = "anyone" if wanted.username is None else f"a person named {wanted.username!r}"
    message = f"No sweep deleted {whom}: {where} {plural_form(len(runs), 'was', 'were')} searched."
    name = wanted.username or ""
    advisor = advisor._replace(run=wanted.run or "")
    unconfirmed = last_deletions(lines, unconfirmed=True)
    if unconfirmed:
        people = pluralize(count_people(map(_planned, unconfirmed)), "person", "people")
        command = advisor.restore(name, "--include-unconfirmed")
        hint = f"Atlas did not confirm the deletion of {people}. To invite them again: {command}"
    elif lines:
        hint = f"What runs did with them: {advisor.history(name)}"
    else:
        hint = directory.list_hint()
        close = close_names([name], _names(directory, runs)) if name else ()
        if close:
            hint = f"Did you mean {', '.join(close)}?"
    return NoDeletionFound(message, hint=hint)


def _names(directory: AuditDirectory, runs: Sequence[RunFile]) -> Iterator[str]:
    """Yield the names of all people in the runs that were searched."""
    if len(runs) == 1:  # it may be a file outside the directory
        yield from names_of(FileChain(runs[0]))
        return
    for chain in directory.reader():
        yield from names_of(chain)


def count_people(invitations: Iterable[Invitation]) -> int:
    """Return how many people have these invitations: one may have several."""
    return len({invitation.person for invitation in invitations})


class Barred(Planned, frozen=True, kw_only=True):
    """A deletion that gets no invitation, and the reason."""

    reason: str


class Present(Planned, frozen=True, kw_only=True):
    """A deletion whose person is invited or a member already.

    Attributes:
        status_now: The person's `orgMembershipStatus` in the place; "" where Atlas sends none.
    """

    status_now: str


class RestorePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore does; the result of `restore --dry-run`.

    Attributes:
        restores: The ids of the runs that are undone.
        to_invite: Who would be invited again.
        already_there: Who is invited or a member already.
        barred: Who gets no invitation: the list of members could not be read, or a project is
            in another organization now.
    """

    restores: tuple[str, ...]
    to_invite: tuple[Planned, ...]
    already_there: tuple[Present, ...]
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
    by_id = {organization.id: organization for organization in organizations}
    deleted_in = {deletion.org_id for deletion in deletions.lines}
    unknown = sorted(deleted_in - by_id.keys())
    if unknown:
        raise GuardRefused(
            f"The policy does not name the organizations {', '.join(unknown)} of the run.",
            hint="Use the policy of that run.",
        )
    places = _PlacesNow()
    to_invite: list[Planned] = []
    already_there: list[Present] = []
    barred: list[Barred] = []
    for deletion in deletions.lines:
        organization = by_id[deletion.org_id]
        try:
            reason = await places.why_barred(deletion, organization.client.reader)
        except CredentialsRefused as error:
            raise error.of_variables(organization.variables) from error
        if reason:
            barred.append(deletion.as_event(Barred, rule=deletion.rule, reason=reason))
            continue
        status = places.status_of(deletion)
        if status is None:
            to_invite.append(deletion)
        else:
            present = deletion.as_event(Present, rule=deletion.rule, status_now=status)
            already_there.append(present)
    return RestorePlan(
        restores=deletions.run_ids,
        to_invite=tuple(to_invite),
        already_there=tuple(already_there),
        barred=tuple(barred),
        exit_code=int(ExitCode.PARTIAL if barred else ExitCode.DONE),
    )


class _PlacesNow:
    """The places of deletions as Atlas shows them now; each list is read once."""

    def __init__(self) -> None:
        self._owners: dict[str, Mapping[str, str]] = {}  # of projects, by organization
        self._people: dict[ListKey, Mapping[str, str]] = {}  # the status by folded name
        self._unreadable: dict[ListKey, ListUnreadable] = {}

    async def why_barred(self, deletion: Planned, reader: AtlasReader) -> str:
        """Read a place; return why no invitation can be sent there, "" if one can.

        Raises:
            RunError: A response concerned the run, not one list.
        """
        org_id = deletion.org_id
        if org_id not in self._owners:
            projects = await reader.projects()
            listed = [project for project in projects if isinstance(project, Project)]
            self._owners[org_id] = {project.id: project.org_id for project in listed}
        moved = _why_moved(deletion, self._owners[org_id])
        if moved:
            return moved
        place = deletion.list_key
        if place not in self._people and place not in self._unreadable:
            statuses = await reader.statuses(deletion)
            if isinstance(statuses, ListUnreadable):
                self._unreadable[place] = statuses
            else:
                self._people[place] = _by_lookalike(statuses)
        unreadable = self._unreadable.get(place)
        return unreadable.reason if unreadable is not None else ""

    def status_of(self, deletion: Planned) -> str | None:
        """Return the status of the person in a place that was read; None where it has no such."""
        return self._people[deletion.list_key].get(casefold_lookalike(deletion.username or ""))


def _by_lookalike(statuses: Mapping[str, str]) -> dict[str, str]:
    """Return the status by a name that others are the same as that look the same.

    Of two such names one may be an active member: that is the one to be loud about.
    """
    people: dict[str, str] = {}
    for username, status in statuses.items():
        name = casefold_lookalike(username)
        if people.get(name) != MembershipStatus.ACTIVE:
            people[name] = status
    return people


def _why_moved(invitation: Invitation, owners: Mapping[str, str]) -> str:
    """Return why an invitation would lead to another organization than it did; "" if not.

    A project that the credentials do not see is left to Atlas, which refuses it.

    Args:
        owners: The organization of each project that the credentials see.
    """
    linked = {project_id for project_id, _ in invitation.linked_projects}
    for project_id in sorted({*linked, invitation.scope_id}):
        owner = owners.get(project_id, invitation.org_id)
        if owner != invitation.org_id:
            return f"Project {project_id} belongs to organization {owner} now."
    return ""


def _with_roles_of_entries(line: Planned) -> Planned:
    """Return what is invited again: with the roles of all entries, each once."""
    roles = dict.fromkeys(line.roles)  # a set that keeps the order
    project_roles = dict.fromkeys(line.project_roles)
    for entry in line.entries:
        if entry.project_id is None:
            roles |= dict.fromkeys(entry.roles)
            project_roles |= dict.fromkeys(entry.project_roles)
        else:
            in_project = [(entry.project_id, role) for role in entry.roles]
            project_roles |= dict.fromkeys(in_project)
    return structs.replace(line, roles=tuple(roles), project_roles=tuple(project_roles))


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
        self._organizations = {
            organization.id: organization for organization in result.organizations
        }
        self._log = log
        self._stop = stop
        self._report = report
        self._sent_s: deque[float] = deque(maxlen=MAX_PER_MINUTE)

    async def run(self, plan: RestorePlan, opened: Iterable[OpenIntent] = ()) -> RunRecord:
        """Invite who is missing; each deletion gets one outcome. Return the run.

        Args:
            opened: What earlier runs left open. Of a restore it is known who is there now, and not
                who invited them.
        """
        result = self._result
        result.begin(self._log)
        settled = self._record_opened(plan, opened)
        for present in plan.already_there:
            line = settled.get(present.key)
            if line is None:
                self._record(OutcomeLine.of(present, Outcome.ALREADY_THERE))
            else:
                self._record(OutcomeLine.of(present, line.outcome, reason=line.reason))
        for barred in plan.barred:
            line = OutcomeLine.of(barred, Outcome.FAILED, reason=barred.reason)
            self._record(line, barred.reason)
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
    ) -> dict[InvitationKey, OutcomeLine]:
        """Record what became of the requests that a killed restore left open.

        Return it of those who are there.

        Who was missing before the request and is an active member now, needs attention like one
        whom Atlas adds at once.
        """
        there = {present.key: present for present in plan.already_there}
        settled: dict[InvitationKey, OutcomeLine] = {}
        for request in opened:
            run = request.run
            if run.mode != "restore":
                continue
            present = there.get(request.intent.key)
            outcome = Outcome.UNKNOWN
            if present is not None:
                is_active = present.status_now == MembershipStatus.ACTIVE
                outcome = Outcome.ACTIVE if is_active else Outcome.ALREADY_THERE
            line = OutcomeLine.of(request.intent, outcome, recovers=run.run_id)
            if present is not None:
                settled[present.key] = line
            self._log.write(line)
            self._report(line, f"sent by run {run.file.number}, which was killed")
        return settled

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
            oldest_s = self._sent_s[0]
            await self._wait(oldest_s + _WINDOW_S - now_s())
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
        """Wait, or until the run must stop."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.requested.wait(), seconds)

    async def _post(self, deletion: Planned) -> Sending:
        """Send one POST; a stop may cut it off before its response."""
        inviter = self._organizations[deletion.org_id].client.inviter()
        sending = Sending()
        grace = self._result.command.policy.execution.grace
        send = inviter.invite(_with_roles_of_entries(deletion), sending)
        try:
            return await self._stop.run_unless_stopped(send, grace=grace)
        except Interrupted:
            return sending.end(Outcome.UNKNOWN if sending.may_be_processed else Outcome.SKIPPED)

    def _record(self, line: OutcomeLine, reason: str = "") -> None:
        """Count and write an outcome, and report it with its reason, else Atlas's answer."""
        organization = self._organizations[line.org_id]
        self._result.add_swept(organization, Swept(Counter((line.outcome,))))
        try:
            self._log.write(line)
        except AuditLogError as error:
            self._result.error = error
        if line.outcome != Outcome.RESTORED and not reason:
            reason = f"{line.http_status or ''} {line.error_code or ''}".strip()
        self._report(line, reason)
