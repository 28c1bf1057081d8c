"""Reads from audit logs what a run deleted, and finds which users are still missing in Atlas."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from invite_sweeper.audit.events import invitation_from_record
from invite_sweeper.audit.history import open_intents
from invite_sweeper.audit.reader import Record, read_records
from invite_sweeper.audit.verify import Verdict, verify
from invite_sweeper.errors import DamagedLog, GuardRefused, RunError, UsageError
from invite_sweeper.models import Invitation, ListUnreadable, Source
from invite_sweeper.text import casefold_visible


class RestoreOutcome(StrEnum):
    """The `outcome` of a restore's record in the audit log."""

    RESTORED = "restored"
    """The user is invited and pending again."""
    ACTIVE = "active"
    """Atlas added the user at once as an active member, without an acceptance."""
    ALREADY_THERE = "already_there"
    """The user is invited or a member without this restore."""
    FAILED = "failed"
    """Rejected or given up; no invitation was created."""
    UNKNOWN = "unknown"
    """No response, and the lists do not prove either result."""
    SKIPPED = "skipped"
    """A signal, the deadline or a fatal error came before Atlas acted on it."""


@dataclass(frozen=True, slots=True)
class DeletedInvitation:
    """An invitation that a run deleted, or may have deleted.

    Attributes:
        run_id: The run that deleted it.
        rule: The rule that made it stale.
        doubt: What is known about a deletion that Atlas did not confirm; "" if it did.
        was_member: The user was an active member when the DELETE removed them.
    """

    run_id: str
    invitation: Invitation
    rule: str
    doubt: str = ""
    was_member: bool = False


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """The result of restoring one invitation.

    Attributes:
        attempts: The number of POSTs begun; 0 if none was needed.
        reason: One sentence, or "" if the outcome needs no explanation.
        fatal_error: Set when the response concerns the whole run: nothing more may be sent.
    """

    outcome: RestoreOutcome
    attempts: int = 0
    http_status: int | None = None
    error_code: str | None = None
    reason: str = ""
    fatal_error: RunError | None = None


_DELETED = frozenset({"deleted", "accepted_during"})
_EVENTS = frozenset({b"run_started", b"outcome"})
_CHECKPOINTS = frozenset({b"checkpoint"})
_MAX_NAMED = 5
NOTHING_INVITED = "No one was invited."


def describe_signature(paths: Sequence[Path]) -> str:
    """Return a sentence about the signatures of the logs, for the operator; "" if they are valid.

    The hash chain alone does not show that a whole log was rewritten.

    Raises:
        UsageError: A file cannot be read.
    """
    if next(iter(read_records(paths, _CHECKPOINTS)), None) is not None:
        return (
            "The signatures of this log were not verified; "
            "verify them with: audit verify --public-key FILE."
        )
    return "This log is not signed; a log that was rewritten as a whole cannot be detected."


def check_log_intact(paths: Sequence[Path]) -> tuple[str, ...]:
    """Raise GuardRefused if a line of the logs was changed or is missing; return the warnings.

    A log without the end of its last run is accepted: the hash chain covers everything in it, and
    restoring after a killed run is a use of this command.

    Raises:
        UsageError: A file cannot be read.
    """
    status = verify(paths)
    error = status.error
    if error is None:
        return status.warnings
    message = f"{error.position}: {error.kind}: {error.message}"
    if status.verdict is Verdict.UNFINISHED:
        return (*status.warnings, message)
    raise DamagedLog(
        f"The audit log is damaged: {message}",
        consequence=NOTHING_INVITED,
        hint="Its records are not reliable; restore from an intact copy.",
    )


def read_deletions(
    paths: Sequence[Path], *, base_url: str, run: str | None = None, username: str | None = None
) -> tuple[DeletedInvitation, ...]:
    """Return what one run deleted or may have deleted, in its order, each user of a list once.

    A deletion that Atlas did not confirm has a `doubt`: its run was killed, its DELETE had no
    response, or Atlas had no such invitation when the DELETE was repeated. An outcome that a
    later run recorded for a killed one belongs to the killed one.

    Args:
        paths: The audit logs, in the order in which they were written.
        base_url: The Atlas of this restore; the run must have used the same.
        run: The run's id or the start of it; None if only one run deleted anything.
        username: A glob for the addresses; None for all.

    Raises:
        UsageError: Several runs match, or no run has that id.
        GuardRefused: The run used another base URL, or a record cannot be read.
    """
    starts, by_run = _read_runs(paths, run or "")
    selected_run = _only_run(by_run)
    if selected_run is None:
        if run and not any(each.startswith(run) for each in starts):
            raise UsageError(f"The log has no run {run}.", hint="List the runs with: audit show")
        return ()
    used_url = starts.get(selected_run, {}).get("base_url")
    if used_url not in {None, base_url}:
        raise GuardRefused(
            f"Run {selected_run} used {used_url}, not {base_url}.",
            consequence=NOTHING_INVITED,
            hint="Set --base-url to the URL of that run.",
        )
    return tuple(_without_duplicates(by_run[selected_run], username))


def _read_runs(
    paths: Sequence[Path], run: str
) -> tuple[dict[str, Record], dict[str, list[DeletedInvitation]]]:
    """Return the `run_started` records, and the deletions of the runs that match, by run."""
    starts: dict[str, Record] = {}
    by_run: dict[str, list[DeletedInvitation]] = {}
    for record in read_records(paths, _EVENTS):
        if record.get("event") == "run_started":
            starts[str(record.get("run_id"))] = record
            continue
        run_id = _deleting_run(record, run)
        doubt = _doubt(record, starts.get(run_id, {}).get("mode"))
        if doubt is not None and run_id.startswith(run):
            by_run.setdefault(run_id, []).append(_parse_deletion(run_id, record, doubt))
    for intent in open_intents(*paths):
        if intent.mode == "sweep" and intent.run_id.startswith(run):
            deleted = DeletedInvitation(
                intent.run_id, intent.invitation, intent.rule, _WITHOUT_OUTCOME
            )
            by_run.setdefault(intent.run_id, []).append(deleted)
    return starts, by_run


_WITHOUT_OUTCOME = "The run was killed before it recorded an outcome."
_GONE_AFTER_KILL = "The run was killed; afterwards Atlas no longer had the invitation."
_GONE_AFTER_RETRY = "Atlas no longer had the invitation when the DELETE was repeated."
_NO_RESPONSE = "The DELETE had no response."


def _deleting_run(record: Record, run: str) -> str:
    """Return the run whose DELETE an outcome is about.

    A member removed by a killed run is also found under the run that discovered it, which named
    itself in its warning.
    """
    run_id = str(record.get("run_id"))
    if run and run_id.startswith(run) and record.get("outcome") in _DELETED:
        return run_id
    return str(record.get("recovers", run_id))


def _doubt(record: Record, mode: object) -> str | None:
    """Return what is known of a deletion: "" if it is certain, None if the outcome is none."""
    outcome, attempts = record.get("outcome"), record.get("attempts")
    if outcome in _DELETED:
        return ""
    if outcome == "already_gone":
        if record.get("recovered"):
            return _GONE_AFTER_KILL
        return _GONE_AFTER_RETRY if isinstance(attempts, int) and attempts > 1 else None
    # The outcome of a POST of a restore can be unknown, too.
    return _NO_RESPONSE if outcome == "unknown" and mode == "sweep" else None


def _without_duplicates(
    deletions: Sequence[DeletedInvitation], username: str | None
) -> Iterator[DeletedInvitation]:
    seen: set[tuple[str, ...]] = set()
    for each in sorted(deletions, key=lambda each: bool(each.doubt)):
        invitation = each.invitation
        key = _user_of(invitation)
        if key not in seen and _matches(invitation.username, username):
            seen.add(key)
            yield each


def _user_of(invitation: Invitation) -> tuple[str, ...]:
    return (invitation.source, invitation.project_id, *invitation.user_key)


def _matches(username: str | None, glob: str | None) -> bool:
    return glob is None or fnmatchcase(casefold_visible(username or ""), casefold_visible(glob))


def _only_run(by_run: dict[str, list[DeletedInvitation]]) -> str | None:
    """Return the only run with deletions, or None without deletions.

    Runs whose deletions are all in doubt count only if there is not any other.
    """
    certain = {run: found for run, found in by_run.items() if any(not d.doubt for d in found)}
    by_run = certain or by_run
    if len(by_run) <= 1:
        return next(iter(by_run), None)
    last = [f"{run_id} ({len(found)})" for run_id, found in list(by_run.items())[-_MAX_NAMED:]]
    raise UsageError(
        f"The log has deletions of {len(by_run)} runs; the last ones: {', '.join(last)}.",
        hint="Select the run to undo with --run ID.",
    )


def _parse_deletion(run_id: str, record: Record, doubt: str) -> DeletedInvitation:
    try:
        invitation, rule = invitation_from_record(record)
    except ValueError as error:
        raise GuardRefused(
            f"A deletion of run {run_id} cannot be read: {error}.",
            consequence=NOTHING_INVITED,
        ) from error
    was_member = record.get("outcome") == "accepted_during"
    return DeletedInvitation(run_id, invitation, rule, doubt, was_member)


_ListKey = tuple[Source, str, str]


class MemberReader(Protocol):
    """Reads the users of a list."""

    async def statuses(self, invitation: Invitation) -> Mapping[str, str] | ListUnreadable:
        """Return the status of each pending or active user where the invitation leads to.

        The keys are case-folded usernames.
        """
        ...


async def still_missing(
    members: MemberReader, deletions: Sequence[DeletedInvitation]
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


_BACK = frozenset({"restored", "active", "already_there"})


def count_other_doubtful(paths: Sequence[Path], selected_run: str | None) -> dict[str, int]:
    """Return how many invitations each other run may have deleted that no restore brought back.

    Only runs whose deletions are all in doubt count, such as a killed one: a run with certain
    deletions is asked for by its id.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
    """
    _, by_run = _read_runs(paths, "")
    back = {
        (record.get("restores"), _user_of(invitation_from_record(record)[0]))
        for record in read_records(paths, _EVENTS)
        if record.get("outcome") in _BACK
    }
    counts = {
        run_id: len(
            {_user_of(each.invitation) for each in found} - {k for r, k in back if r == run_id}
        )
        for run_id, found in by_run.items()
        if run_id != selected_run and all(each.doubt for each in found)
    }
    return {run_id: count for run_id, count in counts.items() if count}
