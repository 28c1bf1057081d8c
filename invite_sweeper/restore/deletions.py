"""What to restore, and who is still gone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from invite_sweeper.audit.reader import read_records
from invite_sweeper.audit.record import Record, invitation_from_record
from invite_sweeper.audit.tampering import Tampering
from invite_sweeper.audit.verify import ChainStatus, verify
from invite_sweeper.errors import GuardRefused, RunError, UsageError
from invite_sweeper.models import Invitation, ListUnreadable, Source
from invite_sweeper.text import casefold_visible

# What was deleted, and what becomes of it when it is invited again.


class RestoreOutcome(StrEnum):
    """The `outcome` of an audit line of a restore."""

    RESTORED = "restored"
    """Atlas said so, or shows the person where nobody was before."""
    ALREADY_THERE = "already_there"
    """The person is invited, or a member, without us."""
    FAILED = "failed"
    """Refused or given up; nobody was invited."""
    UNKNOWN = "unknown"
    """No answer and no proof."""
    SKIPPED = "skipped"
    """A signal, the deadline or an answer about the run came before Atlas acted on anything."""


@dataclass(frozen=True, slots=True)
class DeletedInvitation:
    """What a run deleted.

    Attributes:
        run_id: The run that did.
        rule: The rule that made it stale.
    """

    run_id: str
    invitation: Invitation
    rule: str


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """What became of one of them.

    Attributes:
        attempts: POSTs, as far as they were begun; 0 where none was needed.
        reason: One sentence for a person; "" where the outcome says all.
        ends_run: Set when the answer was about the run: nothing more may be sent.
    """

    outcome: RestoreOutcome
    attempts: int = 0
    http_status: int | None = None
    error_code: str | None = None
    reason: str = ""
    fatal_error: RunError | None = None


# What a run deleted, read back from its audit log.


_DELETED = frozenset({"deleted", "accepted_during"})
_EVENTS = frozenset({b"run_started", b"outcome"})
_INCOMPLETE_RUN = frozenset({Tampering.WITHOUT_OUTCOME, Tampering.CUT_SHORT})
_MAX_NAMED = 5


def check_log_intact(paths: Sequence[Path]) -> tuple[str, ...]:
    """Let logs pass whose chain is whole; give sentences for a person.

    A log that merely ends without the end of its last run passes: what it holds is vouched
    for, and a run that was killed is mended by this command among others.

    Raises:
        GuardRefused: A line is not what was written, or is missing. Nobody was invited.
        UsageFault: A file cannot be read.
    """
    found = verify(paths)
    error = found.error
    if error is None:
        return found.warnings
    message = f"{error.position}: {error.kind}: {error.message}"
    if error.kind in _INCOMPLETE_RUN and _is_chain_complete(found, paths):
        return (*found.warnings, message)
    raise GuardRefused(
        f"The audit log is damaged: {message}",
        consequence="Nobody was invited.",
        hint="What it tells cannot be relied on; restore from an intact copy.",
    )


def read_deletions(
    paths: Sequence[Path], *, base_url: str, run: str | None = None, username: str | None = None
) -> tuple[DeletedInvitation, ...]:
    """Give what one run deleted, in its order; a person's door once. Empty where none did.

    Args:
        paths: In the order in which they were written.
        base_url: The Atlas that is to be asked; the run must have been against the same.
        run: The run's id, or its beginning; None where the logs hold deletions of one alone.
        username: A glob on the addresses; None for all.

    Raises:
        UsageFault: It is not clear which run is meant, or there is none of that name.
        GuardRefused: The run was against another Atlas, or a line cannot be read.
    """
    base_urls: dict[str, object] = {}
    by_run: dict[str, list[DeletedInvitation]] = {}
    for record in read_records(paths, _EVENTS):
        run_id = str(record.get("run_id"))
        if record.get("event") == "run_started":
            base_urls[run_id] = record.get("base_url")
        elif record.get("outcome") in _DELETED and run_id.startswith(run or ""):
            by_run.setdefault(run_id, []).append(_parse_deletion(run_id, record))
    selected_run = _only_run(by_run)
    if selected_run is None:
        if run and not any(each.startswith(run) for each in base_urls):
            raise UsageError(f"The log holds no run {run}.", hint="See: audit show")
        return ()
    if base_urls.get(selected_run) not in {None, base_url}:
        raise GuardRefused(
            f"The run {selected_run} was against {base_urls[selected_run]}, not against {base_url}.",
            consequence="Nobody was invited.",
            hint="Name its address with --base-url.",
        )
    return tuple(_without_duplicates(by_run[selected_run], username))


def _without_duplicates(
    deletions: Sequence[DeletedInvitation], username: str | None
) -> Iterator[DeletedInvitation]:
    seen: set[tuple[str, ...]] = set()
    for each in deletions:
        invitation = each.invitation
        key = _key(invitation)
        if key not in seen and _matches(invitation.username, username):
            seen.add(key)
            yield each


def _key(invitation: Invitation) -> tuple[str, ...]:
    user = casefold_visible(invitation.username) if invitation.username else f"#{invitation.id}"
    return (invitation.source, invitation.org_id, invitation.project_id, user)


def _matches(username: str | None, glob: str | None) -> bool:
    return glob is None or fnmatchcase(casefold_visible(username or ""), casefold_visible(glob))


def _only_run(by_run: dict[str, list[DeletedInvitation]]) -> str | None:
    """Give the one run that there are deletions of; None where there are none."""
    if len(by_run) <= 1:
        return next(iter(by_run), None)
    last = [f"{run_id} ({len(found)})" for run_id, found in list(by_run.items())[-_MAX_NAMED:]]
    raise UsageError(
        f"The log holds deletions of {len(by_run)} runs; the last ones: {', '.join(last)}.",
        hint="Name the one to undo with --run ID.",
    )


def _parse_deletion(run_id: str, record: Record) -> DeletedInvitation:
    try:
        invitation, rule = invitation_from_record(record)
    except ValueError as error:
        raise GuardRefused(
            f"A deletion of run {run_id} cannot be read: {error}.",
            consequence="Nobody was invited.",
        ) from error
    return DeletedInvitation(run_id, invitation, rule)


def _is_chain_complete(found: ChainStatus, paths: Sequence[Path]) -> bool:
    """Whether every whole line follows the one before it."""
    total = 0
    for path in paths:
        with path.open("rb") as file:
            total += sum(line.endswith(b"\n") for line in file)
    return found.lines == total


# Who of the deleted is gone still: what is pending or active again is left alone.


_ListKey = tuple[Source, str, str]


class MemberReader(Protocol):
    """Who is there already."""

    async def usernames(self, invitation: Invitation) -> frozenset[str] | ListUnreadable:
        """Give the folded addresses of all who are pending or active where it invites to."""
        ...


async def still_missing(
    members: MemberReader, deletions: Sequence[DeletedInvitation]
) -> tuple[tuple[DeletedInvitation, ...], dict[DeletedInvitation, RestoreResult]]:
    """Tell who is gone still, in the order given, and what there is to say of the others.

    Each list is read once.

    Raises:
        RunError: Atlas's answer was about the run. Nobody was invited.
    """
    known: dict[_ListKey, frozenset[str] | ListUnreadable] = {}
    to_restore: list[DeletedInvitation] = []
    known_results: dict[DeletedInvitation, RestoreResult] = {}
    for each in deletions:
        invitation = each.invitation
        list_key = (invitation.source, invitation.org_id, invitation.project_id)
        if list_key not in known:
            known[list_key] = await members.usernames(invitation)
        result = _known_result(invitation, known[list_key])
        if result is None:
            to_restore.append(each)
        else:
            known_results[each] = result
    return tuple(to_restore), known_results


def _known_result(
    invitation: Invitation, usernames: frozenset[str] | ListUnreadable
) -> RestoreResult | None:
    if isinstance(usernames, ListUnreadable):
        return RestoreResult(
            RestoreOutcome.FAILED,
            http_status=usernames.http_status,
            error_code=usernames.error_code,
            reason=usernames.reason,
        )
    if not invitation.username or not invitation.roles:
        return RestoreResult(
            RestoreOutcome.FAILED, reason="The log holds no address or no roles to invite with."
        )
    return (
        RestoreResult(RestoreOutcome.ALREADY_THERE)
        if casefold_visible(invitation.username) in usernames
        else None
    )
