"""Reads from audit logs what a run deleted, and finds which users are still missing in Atlas."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from invite_sweeper.audit.events import Line, OutcomeLine
from invite_sweeper.audit.history import History, read_history
from invite_sweeper.audit.verify import Verdict, verify
from invite_sweeper.errors import DamagedLog, GuardRefused, RunError, UsageError
from invite_sweeper.models import Invitation, Outcome
from invite_sweeper.program import command
from invite_sweeper.text import casefold_visible, organization_label


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
_MAX_NAMED = 5
NOTHING_INVITED = "No one was invited."


@dataclass(frozen=True, slots=True)
class DeletionLog:
    """What a restore reads from a log, in one pass.

    Attributes:
        outcomes: The lines of outcomes, in order.
        paths: Its files.
    """

    history: History
    outcomes: Sequence[tuple[str, OutcomeLine]]
    paths: Sequence[Path] = ()


def read_deletion_log(
    paths: Sequence[Path], check: Callable[[], None] = lambda: None
) -> DeletionLog:
    """Read a log.

    Args:
        paths: Its files, in the order of the chain.
        check: Called now and then; may raise to stop.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
    """
    outcomes: list[tuple[str, OutcomeLine]] = []

    def observe(line: Line) -> None:
        if isinstance(line.event, OutcomeLine):
            outcomes.append((line.run_id, line.event))

    try:
        return DeletionLog(read_history(paths, observe=observe, check=check), outcomes, paths)
    except RunError as error:
        error.consequence = NOTHING_INVITED
        raise


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


def find_deletions(
    log: DeletionLog, *, base_url: str, run: str | None = None, username: str | None = None
) -> tuple[DeletedInvitation, ...]:
    """Return what one run deleted or may have deleted, in its order, each user of a list once.

    A deletion that Atlas did not confirm has a `doubt`: its run was killed, its DELETE had no
    response, or Atlas had no such invitation when the DELETE was repeated. An outcome that a
    later run recorded for a killed one belongs to the killed one.

    Args:
        base_url: The Atlas of this restore; the run must have used the same.
        run: The run's id or the start of it; None if only one run deleted anything.
        username: A glob for the addresses; None for all.

    Raises:
        UsageError: Several runs match, or no run has that id.
        GuardRefused: The run used another base URL.
    """
    by_run = _deletions_by_run(log, run or "")
    selected_run = _only_run(log, by_run)
    if selected_run is None:
        if run and not any(each.run_id.startswith(run) for each in log.history.runs):
            raise UsageError(f"The log has no run {run}.", hint="List the runs with: audit show")
        return ()
    record = log.history.run(selected_run)
    used_url = record.base_url if record is not None else None
    if used_url not in {None, base_url}:
        raise GuardRefused(
            f"Run {selected_run} used {used_url}, not {base_url}.",
            consequence=NOTHING_INVITED,
            hint="Set --base-url to the URL of that run.",
        )
    return tuple(_without_duplicates(by_run[selected_run], username))


def _deletions_by_run(log: DeletionLog, run: str) -> dict[str, list[DeletedInvitation]]:
    """Return the deletions of the runs whose ids begin with a text, by run."""
    by_run: dict[str, list[DeletedInvitation]] = {}
    for written_by, line in log.outcomes:
        run_id = _deleting_run(written_by, line, run)
        record = log.history.run(run_id)
        doubt = _doubt(line, record.mode if record is not None else None)
        if doubt is not None and run_id.startswith(run):
            was_member = line.outcome == Outcome.ACCEPTED_DURING
            deleted = DeletedInvitation(run_id, line.invitation(), line.rule, doubt, was_member)
            by_run.setdefault(run_id, []).append(deleted)
    for intent in log.history.open_intents():
        if intent.mode == "sweep" and intent.run_id.startswith(run):
            deleted = DeletedInvitation(
                intent.run_id, intent.invitation, intent.rule, _WITHOUT_OUTCOME
            )
            by_run.setdefault(intent.run_id, []).append(deleted)
    return by_run


_WITHOUT_OUTCOME = "The run was killed before it recorded an outcome."
_GONE_AFTER_KILL = "The run was killed; afterwards Atlas no longer had the invitation."
_GONE_AFTER_RETRY = "Atlas no longer had the invitation when the DELETE was repeated."
_NO_RESPONSE = "The DELETE had no response."


def _deleting_run(written_by: str, line: OutcomeLine, run: str) -> str:
    """Return the run whose DELETE an outcome is about.

    A member removed by a killed run is also found under the run that discovered it, which named
    itself in its warning.
    """
    if run and written_by.startswith(run) and line.outcome in _DELETED:
        return written_by
    return line.recovers or written_by


def _doubt(line: OutcomeLine, mode: str | None) -> str | None:
    """Return what is known of a deletion: "" if it is certain, None if the outcome is none."""
    if line.outcome in _DELETED:
        return ""
    if line.outcome == Outcome.ALREADY_GONE:
        if line.recovered:
            return _GONE_AFTER_KILL
        return _GONE_AFTER_RETRY if line.attempts > 1 else None
    # The outcome of a POST of a restore can be unknown, too.
    return _NO_RESPONSE if line.outcome == Outcome.UNKNOWN and mode == "sweep" else None


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


def describe_organizations(history: History, run_id: str) -> str:
    """Return the organizations of a run by name and id; empty if they are not known."""
    record, names = history.run(run_id), history.organization_names()
    ids = record.start.organizations if record is not None and record.start is not None else ()
    return ", ".join(organization_label(each, names.get(each)) for each in ids)


def count_in_other_organizations(log: DeletionLog, selected_run: str) -> dict[str, int]:
    """Return how many invitations the other runs of the same command deleted for certain, by run.

    A command has one run for each credential, and a restore restores one run.
    """
    selected = log.history.run(selected_run)
    group = selected.group_id if selected is not None else selected_run
    counts = {
        run_id: sum(not each.doubt for each in found)
        for run_id, found in _deletions_by_run(log, "").items()
        if run_id != selected_run
        and (record := log.history.run(run_id)) is not None
        and record.group_id == group
    }
    return {run_id: count for run_id, count in counts.items() if count}


def _only_run(log: DeletionLog, by_run: dict[str, list[DeletedInvitation]]) -> str | None:
    """Return the only run with deletions, or None without deletions.

    Runs whose deletions are all in doubt count only if there is not any other.
    """
    certain = {run: found for run, found in by_run.items() if any(not d.doubt for d in found)}
    by_run = certain or by_run
    if len(by_run) <= 1:
        return next(iter(by_run), None)
    last = []
    for run_id, found in list(by_run.items())[-_MAX_NAMED:]:
        where = describe_organizations(log.history, run_id)
        last.append(f"{run_id}{where and f' of {where}'} ({len(found)})")
    raise UsageError(
        f"The log has deletions of {len(by_run)} runs; the last ones: {', '.join(last)}.",
        hint="Select the run to undo with --run ID, such as: "
        + command("restore", *map(str, log.paths), "--dry-run", "--run", list(by_run)[-1]),
    )


_BACK = frozenset({"restored", "active", "already_there"})


def count_other_doubtful(log: DeletionLog, selected_run: str | None) -> dict[str, int]:
    """Return how many invitations each other run may have deleted that no restore brought back.

    Only runs whose deletions are all in doubt count, such as a killed one: a run with certain
    deletions is asked for by its id.
    """
    back = {
        (line.restores, _user_of(line.invitation()))
        for _, line in log.outcomes
        if line.outcome in _BACK
    }
    counts = {
        run_id: len(
            {_user_of(each.invitation) for each in found} - {k for r, k in back if r == run_id}
        )
        for run_id, found in _deletions_by_run(log, "").items()
        if run_id != selected_run and all(each.doubt for each in found)
    }
    return {run_id: count for run_id, count in counts.items() if count}
