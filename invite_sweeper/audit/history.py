"""What earlier runs left in the audit log: how they ended, and what they did not finish."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from invite_sweeper.audit.lines import records
from invite_sweeper.audit.record import Record, invitation_from_record
from invite_sweeper.audit.runs import PastRun, past_runs
from invite_sweeper.errors import GuardRefused
from invite_sweeper.inventory import Invitation

_ANSWERS = frozenset({b"run_started", b"intent", b"outcome"})
_COMPLETE = frozenset({0, 4, 10})
"""Exit codes of a run that read all it could and was not stopped: its counts can be held
against the next one's. 3 is not among them, or one bad night would become the measure."""

_CLOSED = ("deleted", "already_gone", "accepted_before", "accepted_during")
"""Outcomes after which an invitation is pending no longer."""


class OpenIntent(NamedTuple):
    """A call that was about to be sent, and of which no outcome is known.

    Attributes:
        mode: The mode of the run that wrote it; None where it is not known.
        base_url: The Atlas that this run asked; None where it is not known.
    """

    run_id: str
    mode: str | None
    invitation: Invitation
    rule: str
    base_url: str | None = None

    @property
    def of_restore(self) -> bool:
        """Whether the call was to invite somebody again, and not to delete."""
        return self.mode == "restore"


class Population(NamedTuple):
    """What a complete run left behind: what it saw, less what it deleted or found gone."""

    run_id: str
    projects: int
    invitations: int


def unfinished_intents(*paths: Path) -> tuple[OpenIntent, ...]:
    """The intents without an outcome, in their order, whichever run they are of.

    An outcome with `recovers` answers the intent of the run that it names. Memory holds the
    intents that are open at one time, which are as many as a run had in flight.

    Raises:
        GuardRefused: A line is damaged, so not everything is known that was sent.
        UsageFault: A file cannot be read.
    """
    starts: dict[object, PastRun] = {}
    unanswered: dict[tuple[object, ...], Record] = {}
    for record in records(paths, _ANSWERS):
        run_id = record.get("run_id")
        match record.get("event"):
            case "run_started":
                still_open = {run for run, *_ in unanswered}
                starts = {run: start for run, start in starts.items() if run in still_open}
                starts[run_id] = PastRun(str(run_id), started=record)
            case "intent":
                unanswered[_key(record, run_id)] = record
            case _:
                unanswered.pop(_key(record, record.get("recovers", run_id)), None)
    return tuple(_open_intent(record, starts) for record in unanswered.values())


def last_sweep_policy(*paths: Path) -> str | None:
    """The policy hash of the last sweep that finished, 64 hex; None where there is none.

    Raises:
        GuardRefused: A line is damaged.
        UsageFault: A file cannot be read.
    """
    last = None
    for run in past_runs(*paths):
        if run.finished and run.mode == "sweep":
            last = run.policy_sha256
    return last


def last_population(
    *paths: Path,
    shard: str | None = None,
    organizations: frozenset[str] | None = None,
    base_url: str | None = None,
) -> Population | None:
    """What the last complete run of the same shard saw; None where there is none.

    With `organizations` or `base_url`, only runs over just these, or of this Atlas, count;
    None takes any. A run that does not tell counts for each.

    Complete is a run that ended with 0, 4 or 10: it was neither refused nor stopped.

    Raises:
        GuardRefused: A line is damaged.
        UsageFault: A file cannot be read.
    """
    last = None
    for run in past_runs(*paths):
        same = organizations is None or run.organizations in (None, organizations)
        same &= base_url is None or run.base_url in (None, base_url)
        if run.exit_code in _COMPLETE and run.shard == shard and same:
            last = _population(run) or last
    return last


def _key(record: Record, run_id: object) -> tuple[object, ...]:
    return (run_id, *(record.get(name) for name in ("source", "project_id", "invitation_id")))


def _open_intent(record: Record, starts: Mapping[object, PastRun]) -> OpenIntent:
    try:
        invitation, rule = invitation_from_record(record)
    except ValueError as error:
        raise GuardRefused(
            f"An intent of run {record.get('run_id')} cannot be read: {error}.",
            hint="See what `audit verify` says of the audit log.",
        ) from error
    run_id = record.get("run_id")
    run = starts.get(run_id, PastRun(str(run_id)))
    return OpenIntent(run.run_id, run.mode, invitation, rule, run.base_url)


def _population(run: PastRun) -> Population | None:
    projects, seen = map(run.totals.get, ("projects_seen", "invitations_seen"))
    if type(projects) is not int or type(seen) is not int:
        return None
    removed = (count for count in map(run.totals.get, _CLOSED) if type(count) is int)
    return Population(run.run_id, projects, seen - sum(removed))
