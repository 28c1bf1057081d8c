"""What to restore, and who is still gone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from invite_sweeper.audit.reader import records
from invite_sweeper.audit.record import Record, invitation_from_record
from invite_sweeper.audit.tampering import Damage
from invite_sweeper.audit.verify import Verification, verify
from invite_sweeper.errors import GuardRefused, RunError, UsageFault
from invite_sweeper.models import Invitation, Source, Unreadable
from invite_sweeper.text import fold

# What was deleted, and what becomes of it when it is invited again.


class Restored(StrEnum):
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
class Deleted:
    """What a run deleted.

    Attributes:
        run_id: The run that did.
        rule: The rule that made it stale.
    """

    run_id: str
    invitation: Invitation
    rule: str


@dataclass(frozen=True, slots=True)
class End:
    """What became of one of them.

    Attributes:
        attempts: POSTs, as far as they were begun; 0 where none was needed.
        reason: One sentence for a person; "" where the outcome says all.
        ends_run: Set when the answer was about the run: nothing more may be sent.
    """

    outcome: Restored
    attempts: int = 0
    http_status: int | None = None
    error_code: str | None = None
    reason: str = ""
    ends_run: RunError | None = None


# What a run deleted, read back from its audit log.


_DELETED = frozenset({"deleted", "accepted_during"})
_EVENTS = frozenset({b"run_started", b"outcome"})
_UNFINISHED = frozenset({Damage.UNANSWERED, Damage.CUT_SHORT})
_NAMED = 5


def raise_if_damaged(paths: Sequence[Path]) -> tuple[str, ...]:
    """Let logs pass whose chain is whole; give sentences for a person.

    A log that merely ends without the end of its last run passes: what it holds is vouched
    for, and a run that was killed is mended by this command among others.

    Raises:
        GuardRefused: A line is not what was written, or is missing. Nobody was invited.
        UsageFault: A file cannot be read.
    """
    found = verify(paths)
    wrong = found.finding
    if wrong is None:
        return found.warnings
    said = f"{wrong.spot}: {wrong.kind}: {wrong.what}"
    if wrong.kind in _UNFINISHED and _followed_to_the_end(found, paths):
        return (*found.warnings, said)
    raise GuardRefused(
        f"The audit log is damaged: {said}",
        consequence="Nobody was invited.",
        hint="What it tells cannot be relied on; restore from an intact copy.",
    )


def deletions(
    paths: Sequence[Path], *, base_url: str, run: str | None = None, username: str | None = None
) -> tuple[Deleted, ...]:
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
    hosts: dict[str, object] = {}
    by_run: dict[str, list[Deleted]] = {}
    for record in records(paths, _EVENTS):
        run_id = str(record.get("run_id"))
        if record.get("event") == "run_started":
            hosts[run_id] = record.get("base_url")
        elif record.get("outcome") in _DELETED and run_id.startswith(run or ""):
            by_run.setdefault(run_id, []).append(_deleted(run_id, record))
    undone = _the_one(by_run)
    if undone is None:
        if run and not any(each.startswith(run) for each in hosts):
            raise UsageFault(f"The log holds no run {run}.", hint="See: audit show")
        return ()
    if hosts.get(undone) not in {None, base_url}:
        raise GuardRefused(
            f"The run {undone} was against {hosts[undone]}, not against {base_url}.",
            consequence="Nobody was invited.",
            hint="Name its address with --base-url.",
        )
    return tuple(_doors(by_run[undone], username))


def _doors(deleted: Sequence[Deleted], username: str | None) -> Iterator[Deleted]:
    seen: set[tuple[str, ...]] = set()
    for each in deleted:
        invitation = each.invitation
        door = _door(invitation)
        if door not in seen and _fits(invitation.username, username):
            seen.add(door)
            yield each


def _door(invitation: Invitation) -> tuple[str, ...]:
    who = fold(invitation.username) if invitation.username else f"#{invitation.id}"
    return (invitation.source, invitation.org_id, invitation.project_id, who)


def _fits(username: str | None, glob: str | None) -> bool:
    return glob is None or fnmatchcase(fold(username or ""), fold(glob))


def _the_one(by_run: dict[str, list[Deleted]]) -> str | None:
    """Give the one run that there are deletions of; None where there are none."""
    if len(by_run) <= 1:
        return next(iter(by_run), None)
    last = [f"{run_id} ({len(found)})" for run_id, found in list(by_run.items())[-_NAMED:]]
    raise UsageFault(
        f"The log holds deletions of {len(by_run)} runs; the last ones: {', '.join(last)}.",
        hint="Name the one to undo with --run ID.",
    )


def _deleted(run_id: str, record: Record) -> Deleted:
    try:
        invitation, rule = invitation_from_record(record)
    except ValueError as error:
        raise GuardRefused(
            f"A deletion of run {run_id} cannot be read: {error}.",
            consequence="Nobody was invited.",
        ) from error
    return Deleted(run_id, invitation, rule)


def _followed_to_the_end(found: Verification, paths: Sequence[Path]) -> bool:
    """Whether every whole line follows the one before it."""
    total = 0
    for path in paths:
        with path.open("rb") as file:
            total += sum(line.endswith(b"\n") for line in file)
    return found.lines == total


# Who of the deleted is gone still: what is pending or active again is left alone.


_Where = tuple[Source, str, str]


class Roll(Protocol):
    """Who is there already."""

    async def present(self, invitation: Invitation) -> frozenset[str] | Unreadable:
        """Give the folded addresses of all who are pending or active where it invites to."""
        ...


async def missing(
    roll: Roll, wanted: Sequence[Deleted]
) -> tuple[tuple[Deleted, ...], dict[Deleted, End]]:
    """Tell who is gone still, in the order given, and what there is to say of the others.

    Each list is read once.

    Raises:
        RunError: Atlas's answer was about the run. Nobody was invited.
    """
    known: dict[_Where, frozenset[str] | Unreadable] = {}
    gone: list[Deleted] = []
    settled: dict[Deleted, End] = {}
    for each in wanted:
        invitation = each.invitation
        where = (invitation.source, invitation.org_id, invitation.project_id)
        if where not in known:
            known[where] = await roll.present(invitation)
        end = _settled(invitation, known[where])
        if end is None:
            gone.append(each)
        else:
            settled[each] = end
    return tuple(gone), settled


def _settled(invitation: Invitation, present: frozenset[str] | Unreadable) -> End | None:
    if isinstance(present, Unreadable):
        return End(
            Restored.FAILED,
            http_status=present.http_status,
            error_code=present.error_code,
            reason=present.reason,
        )
    if not invitation.username or not invitation.roles:
        return End(Restored.FAILED, reason="The log holds no address or no roles to invite with.")
    return End(Restored.ALREADY_THERE) if fold(invitation.username) in present else None
