"""Runs, open intents, earlier deletions."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from invite_sweeper.audit.reader import read_records
from invite_sweeper.audit.record import Record, invitation_from_record
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Invitation, Outcome

# The runs of some audit logs, each as its first and its last line tell it.


_RUN_EVENTS = frozenset({b"run_started", b"run_finished"})


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, as its first and its last line tell it.

    Attributes:
        started: The record of its `run_started`; empty where another line came first.
        totals: The record of its `run_finished`; empty while it is unfinished.
    """

    run_id: str
    start_record: Record = field(default_factory=dict)
    end_record: Record = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it wrote its last line."""
        return bool(self.end_record)

    @property
    def mode(self) -> str | None:
        """`sweep`, `dry-run`, …; None where it is not known."""
        return _text(self.start_record.get("mode"))

    @property
    def policy_sha256(self) -> str | None:
        """The hash of its policy's bytes, 64 hex; None where it is not known."""
        return _text(self.start_record.get("policy_sha256"))

    @property
    def base_url(self) -> str | None:
        """The Atlas that it asked; None where it is not known."""
        return _text(self.start_record.get("base_url"))

    @property
    def shard(self) -> str | None:
        """Its part, as `1/4`; None for a run over everything."""
        return _text(self.start_record.get("shard"))

    @property
    def organizations(self) -> frozenset[str] | None:
        """The organizations it was over; None where its first line does not tell."""
        value = self.start_record.get("organizations")
        return frozenset(map(str, value)) if isinstance(value, list) else None

    @property
    def exit_code(self) -> int | None:
        """The code it ended with; None while it is unfinished."""
        code = self.end_record.get("exit_code")
        return code if type(code) is int else None


def read_runs(*paths: Path) -> Iterator[RunRecord]:
    """The runs of some logs, in their order; one run is in memory at a time.

    Raises:
        GuardRefused: A line is damaged.
        UsageFault: A file cannot be read.
    """
    run: RunRecord | None = None
    for record in read_records(paths, _RUN_EVENTS):
        run_id = str(record.get("run_id"))
        if run is not None and run.run_id != run_id:
            yield run
            run = None
        if record.get("event") == "run_started":
            run = RunRecord(run_id, start_record=record)
        else:
            yield RunRecord(run_id, run.start_record if run else {}, record)
            run = None
    if run is not None:
        yield run


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


# What earlier runs left in the audit log: how they ended, and what they did not finish.


_INTENT_EVENTS = frozenset({b"run_started", b"intent", b"outcome"})
_COMPLETE_EXIT_CODES = frozenset({0, 4, 10})
"""Exit codes of a run that read all it could and was not stopped: its counts can be held
against the next one's. 3 is not among them, or one bad night would become the measure."""

GONE_OUTCOMES = ("deleted", "already_gone", "accepted_before", "accepted_during")
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
    def from_restore(self) -> bool:
        """Whether the call was to invite somebody again, and not to delete."""
        return self.mode == "restore"


class Population(NamedTuple):
    """What a complete run left behind: what it saw, less what it deleted or found gone."""

    run_id: str
    projects: int
    invitations: int


def open_intents(*paths: Path) -> tuple[OpenIntent, ...]:
    """The intents without an outcome, in their order, whichever run they are of.

    An outcome with `recovers` answers the intent of the run that it names. Memory holds the
    intents that are open at one time, which are as many as a run had in flight.

    Raises:
        GuardRefused: A line is damaged, so not everything is known that was sent.
        UsageFault: A file cannot be read.
    """
    runs_by_id: dict[object, RunRecord] = {}
    without_outcome: dict[tuple[object, ...], Record] = {}
    for record in read_records(paths, _INTENT_EVENTS):
        run_id = record.get("run_id")
        match record.get("event"):
            case "run_started":
                open_run_ids = {run for run, *_ in without_outcome}
                runs_by_id = {
                    run: start for run, start in runs_by_id.items() if run in open_run_ids
                }
                runs_by_id[run_id] = RunRecord(str(run_id), start_record=record)
            case "intent":
                without_outcome[_intent_key(record, run_id)] = record
            case _:
                without_outcome.pop(_intent_key(record, record.get("recovers", run_id)), None)
    return tuple(_open_intent(record, runs_by_id) for record in without_outcome.values())


def last_sweep_policy(*paths: Path) -> str | None:
    """The policy hash of the last sweep that finished, 64 hex; None where there is none.

    Raises:
        GuardRefused: A line is damaged.
        UsageFault: A file cannot be read.
    """
    last = None
    for run in read_runs(*paths):
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
    for run in read_runs(*paths):
        is_comparable = organizations is None or run.organizations in (None, organizations)
        is_comparable &= base_url is None or run.base_url in (None, base_url)
        if run.exit_code in _COMPLETE_EXIT_CODES and run.shard == shard and is_comparable:
            last = _population(run) or last
    return last


def _intent_key(record: Record, run_id: object) -> tuple[object, ...]:
    return (run_id, *(record.get(name) for name in ("source", "project_id", "invitation_id")))


def _open_intent(record: Record, runs_by_id: Mapping[object, RunRecord]) -> OpenIntent:
    try:
        invitation, rule = invitation_from_record(record)
    except ValueError as error:
        raise GuardRefused(
            f"An intent of run {record.get('run_id')} cannot be read: {error}.",
            hint="See what `audit verify` says of the audit log.",
        ) from error
    run_id = record.get("run_id")
    run = runs_by_id.get(run_id, RunRecord(str(run_id)))
    return OpenIntent(run.run_id, run.mode, invitation, rule, run.base_url)


def _population(run: RunRecord) -> Population | None:
    projects, seen = map(run.end_record.get, ("projects_seen", "invitations_seen"))
    if type(projects) is not int or type(seen) is not int:
        return None
    removed = (count for count in map(run.end_record.get, GONE_OUTCOMES) if type(count) is int)
    return Population(run.run_id, projects, seen - sum(removed))


# Invitations that come back after a run deleted them, as another robot makes them.


_OUTCOME_EVENTS = frozenset({b"outcome"})


class DeletionHistory:
    """How often a person's invitation to a project was deleted before.

    Memory holds 8 bytes a deletion.
    """

    def __init__(self, *paths: Path) -> None:
        """Read it from the logs.

        Raises:
            GuardRefused: A line is damaged.
            UsageFault: A file cannot be read.
        """
        key_hashes = array("q")
        for record in read_records(paths, _OUTCOME_EVENTS):
            username = record.get("username")
            scope_id = record.get("project_id") or record.get("org_id")
            is_deleted = record.get("outcome") == Outcome.DELETED
            if is_deleted and isinstance(username, str) and isinstance(scope_id, str):
                key_hashes.append(_key_hash(username, scope_id))
        self._key_hashes = array("q", sorted(key_hashes))

    def count(self, username: str, project_id: str) -> int:
        """Deletions of an invitation of this person to this project; case does not matter.

        For an invitation to an organization its id stands in the project's place.
        """
        if not self._key_hashes:
            return 0
        key_hash = _key_hash(username, project_id)
        first = bisect_left(self._key_hashes, key_hash)
        return bisect_right(self._key_hashes, key_hash, first) - first


def _key_hash(username: str, scope_id: str) -> int:
    """64 bits for a person and a place. Two of them meeting by chance keeps an invitation."""
    return hash((username.casefold().encode("utf-8", "backslashreplace"), scope_id))


# Whether the logs of all shards of a night are there.


def missing_shards(runs: Iterable[RunRecord]) -> tuple[str, ...]:
    """Give the shards that none of the runs was, as `2/3`; empty where nothing is missing.

    Only the newest division counts: who once ran three shards may run four by now.
    """
    latest: tuple[str, str] = ("", "")
    seen: dict[str, set[int]] = {}
    for run in runs:
        index, slash, count = (run.shard or "").partition("/")
        if not (slash and index.isdecimal() and count.isdecimal()):
            continue
        seen.setdefault(count, set()).add(int(index))
        latest = max(latest, (str(run.start_record.get("now")), count))
    count = latest[1]
    if not count:
        return ()
    return tuple(
        f"{index}/{count}" for index in range(1, int(count) + 1) if index not in seen[count]
    )
