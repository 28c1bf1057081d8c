"""One restore: read the lists, select who is missing, ask, invite."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from invite_sweeper.audit import AuditLog, OpenIntent, RunStarted
from invite_sweeper.errors import Cancelled, CredentialsRefused, GuardRefused, RunError
from invite_sweeper.models import Invitation, ListUnreadable, Project, Source
from invite_sweeper.restore.deletions import (
    NOTHING_INVITED,
    DeletedInvitation,
    RestoreOutcome,
    RestoreResult,
)
from invite_sweeper.restore.report import RestoreRecorder, RestoreReport
from invite_sweeper.restore.restorer import InviteRateLimit, Restorer
from invite_sweeper.shutdown import NOTHING_DELETED, StopRequest
from invite_sweeper.text import casefold_visible, pluralize

if TYPE_CHECKING:  # the client takes long to import, and only a restore needs it
    from invite_sweeper.atlas import MemberReader, RateLimitedAtlasClient

MAX_INVITATIONS: Final = 25
"""The default limit of a restore: a rewritten log must not invite a crowd."""
_SENT_OUTCOMES: Final = (RestoreOutcome.RESTORED, RestoreOutcome.ACTIVE, RestoreOutcome.UNKNOWN)
_ListKey = tuple[Source, str, str]


@dataclass(frozen=True, slots=True)
class RestoreRun:
    """The steps of one restore: read the lists, confirm, invite.

    Attributes:
        report: Updated by every step.
        confirm: Called once before the first POST; None skips the question.
        log: None for a dry run, which writes nothing.
        started: The first line of the run.
        open_intents: Intents without an outcome, from a killed restore.
        max_invitations: More users to invite are refused.
        on_result: Called for each result immediately.
        run_actor: The client id or public key of the run that is undone, if it is known.
    """

    atlas: "RateLimitedAtlasClient"
    log: AuditLog | None
    report: RestoreReport
    stop: StopRequest
    rate_limit: InviteRateLimit
    started: RunStarted
    confirm: Callable[[RestoreReport], Awaitable[bool]] | None = None
    open_intents: Sequence[OpenIntent] = ()
    max_invitations: int = MAX_INVITATIONS
    on_result: Callable[[DeletedInvitation, RestoreResult], None] | None = None
    run_actor: str | None = None

    async def run(self) -> RunError | None:
        """Run the steps and return the error that stopped them; call `report.finish` next."""
        report = self.report
        try:
            if self.log is not None:
                self.log.write(self.started)
                await self.log.sync()
            await self._run_steps()
        except RunError as error:
            if error.consequence == NOTHING_DELETED:
                error.consequence = self._consequence("error")
            return error
        incomplete = (
            report.outcomes[RestoreOutcome.SKIPPED] or report.outcomes[RestoreOutcome.UNKNOWN]
        )
        if self.stop.reason is not None and incomplete:
            return self.stop.as_error(consequence=self._consequence("stop"))
        return None

    def _consequence(self, end: str) -> str:
        """Return who was invited before the end, as a sentence."""
        outcomes = self.report.outcomes
        if not any(outcomes[each] for each in _SENT_OUTCOMES):
            return NOTHING_INVITED
        users = outcomes[RestoreOutcome.RESTORED] + outcomes[RestoreOutcome.ACTIVE]
        return f"Invited before the {end}: {pluralize(users, 'user')}."

    async def _run_steps(self) -> None:
        report, members = self.report, self.atlas.members()
        missing, known_results = await self.stop.run_unless_stopped(
            self._find_missing(members, (*report.deletions, *report.uncertain)),
            consequence=NOTHING_INVITED,
        )
        self._check_readable(missing, known_results)
        uncertain = frozenset(report.uncertain)
        to_restore = tuple(each for each in missing if each not in uncertain)
        report.to_restore, report.reached_atlas = to_restore, True
        report.uncertain = [
            each
            for each in report.uncertain
            if each not in known_results
            or known_results[each].outcome is not RestoreOutcome.ALREADY_THERE
        ]
        report.results = known_results = {
            each: result for each, result in known_results.items() if each not in uncertain
        }
        if len(to_restore) > self.max_invitations:
            raise GuardRefused(
                f"{pluralize(len(to_restore), 'user')} would be invited, "
                f"and the limit is {self.max_invitations:,} (--max).",
                consequence=NOTHING_INVITED,
                hint="Check that the log is the one that the run wrote. Then select fewer with "
                f"--username, or set --max {len(to_restore)}.",
            )
        if self.log is None:
            return
        if to_restore:
            await self._confirm()
        recorder = RestoreRecorder(self.log, report.now)
        for intent in self.open_intents:
            recorder.write_unresolved(intent)
        restorer = Restorer(
            self.atlas.inviter(),
            members,
            recorder,
            stop=self.stop,
            rate_limit=self.rate_limit,
            on_result=self.on_result,
        )
        report.results = restorer.results
        await restorer.run(to_restore, known_results)

    async def _find_missing(
        self, members: "MemberReader", deletions: Sequence[DeletedInvitation]
    ) -> tuple[tuple[DeletedInvitation, ...], dict[DeletedInvitation, RestoreResult]]:
        """Return the deletions of users that are missing, and the results of the others.

        A project that moved to another organization gets no invitation: its log names others.
        """
        found = await self.atlas.reader.projects() if deletions else ()
        organizations = {each.id: each.org_id for each in found if isinstance(each, Project)}
        moved = {
            each: RestoreResult(RestoreOutcome.FAILED, reason=reason)
            for each in deletions
            if (reason := _moved_reason(each.invitation, organizations))
        }
        missing, known = await still_missing(
            members, [each for each in deletions if each not in moved]
        )
        return missing, known | moved

    def _check_readable(
        self, missing: Sequence[DeletedInvitation], known: Mapping[DeletedInvitation, RestoreResult]
    ) -> None:
        """Raise CredentialsRefused if Atlas refused every list: these credentials are others."""
        refused = [each for each in known.values() if each.http_status in {401, 403}]
        if missing or not refused or len(refused) < len(known):
            return
        run_id, actor = self.report.undone_run, self.run_actor
        used = f" Run {run_id} used those of {actor}." if actor else ""
        raise CredentialsRefused(
            f"These credentials can read no list from which run {run_id} deleted.{used}",
            consequence=NOTHING_INVITED,
            hint="Set the credentials of that run, or name them with --credentials NAME.",
        )

    async def _confirm(self) -> None:
        if self.confirm is not None and not await self.confirm(self.report):
            self.report.declined = True
            if self.stop.reason is not None:
                raise self.stop.as_error(consequence=NOTHING_INVITED)
            raise Cancelled("Cancelled.", consequence=NOTHING_INVITED)


def _moved_reason(invitation: Invitation, organizations: Mapping[str, str]) -> str:
    """Return why an invitation leads to another organization than the log says; "" if not.

    Args:
        organizations: The organization of each project that the credentials see.
    """
    ids = {project_id for project_id, _ in invitation.linked_projects} | {invitation.project_id}
    for project_id in sorted(ids):
        now = organizations.get(project_id, invitation.org_id)
        if now != invitation.org_id:
            return f"Project {project_id} belongs to organization {now} now."
    return ""


async def still_missing(
    members: "MemberReader", deletions: Sequence[DeletedInvitation]
) -> tuple[tuple[DeletedInvitation, ...], dict[DeletedInvitation, RestoreResult]]:
    """Return the deletions of users that are still missing, and the results of the others.

    Each list is read once.

    Raises:
        RunError: A response of Atlas concerns the whole run. No one was invited.
    """
    known: dict[_ListKey, Mapping[str, str] | ListUnreadable] = {}
    to_restore: list[DeletedInvitation] = []
    known_results: dict[DeletedInvitation, RestoreResult] = {}
    for each in deletions:
        invitation = each.invitation
        list_key = (invitation.source, invitation.org_id, invitation.project_id)
        if list_key not in known:
            known[list_key] = await members.statuses(invitation)
        result = _known_result(invitation, known[list_key])
        if result is None:
            to_restore.append(each)
        else:
            known_results[each] = result
    return tuple(to_restore), known_results


def _known_result(
    invitation: Invitation, statuses: Mapping[str, str] | ListUnreadable
) -> RestoreResult | None:
    if isinstance(statuses, ListUnreadable):
        return RestoreResult(
            RestoreOutcome.FAILED,
            http_status=statuses.http_status,
            error_code=statuses.error_code,
            reason=statuses.reason,
        )
    if not invitation.username or not invitation.roles:
        return RestoreResult(
            RestoreOutcome.FAILED, reason="The log has no address or no roles for the invitation."
        )
    return (
        RestoreResult(RestoreOutcome.ALREADY_THERE)
        if casefold_visible(invitation.username) in statuses
        else None
    )
