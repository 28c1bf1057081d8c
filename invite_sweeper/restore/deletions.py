"""What a run deleted, read back from its audit log."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from invite_sweeper.audit import invitation_from_record, records
from invite_sweeper.audit.record import Record
from invite_sweeper.audit.tampering import Damage
from invite_sweeper.audit.verify import Verification, verify
from invite_sweeper.errors import GuardRefused, UsageFault
from invite_sweeper.inventory import Invitation
from invite_sweeper.matching import fold
from invite_sweeper.restore.values import Deleted

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
