"""Read earlier runs back from the audit log.

Covers how runs ended, intents without an outcome, how often an invitation was deleted, and
missing shards.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from invite_sweeper.audit.reader import read_records
from invite_sweeper.audit.record import Record, invitation_from_record
from invite_sweeper.errors import ExitCode, GuardRefused
from invite_sweeper.models import Invitation, Outcome

_RUN_EVENTS = frozenset({b"run_started", b"run_finished"})
_INTENT_EVENTS = frozenset({b"run_started", b"intent", b"outcome"})
_OUTCOME_EVENTS = frozenset({b"outcome"})
_COMPLETE_EXIT_CODES = frozenset(code for code in ExitCode if code.read_everything)
"""Exit codes of runs that read all they could and were not stopped: 0, 4 and 10."""

_GONE_OUTCOMES = ("deleted", "already_gone", "accepted_before", "accepted_during")
"""Outcomes after which an invitation is not pending anymore."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """The first and the last record of one run.

    Attributes:
        start_record: The run's `run_started`; empty if the files do not contain it.
        end_record: The run's `run_finished`; empty if the run is unfinished.
    """

    run_id: str
    start_record: Record = field(default_factory=dict)
    end_record: Record = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether the run wrote its last line."""
        return bool(self.end_record)

    def is_in_group(self, group_id: object) -> bool:
        """Return whether the run belongs to a group of runs, which one command started."""
        return group_id is not None and self.start_record.get("group_id") == group_id

    @property
    def mode(self) -> str | None:
        """The mode (`sweep`, `dry-run`, …); None if unknown."""
        return _text(self.start_record.get("mode"))

    @property
    def policy_sha256(self) -> str | None:
        """SHA-256 of the policy's bytes, 64 hex digits; None if unknown."""
        return _text(self.start_record.get("policy_sha256"))

    @property
    def base_url(self) -> str | None:
        """The base URL of the Atlas API that the run used; None if unknown."""
        return _text(self.start_record.get("base_url"))

    @property
    def shard(self) -> str | None:
        """The run's shard, such as `1/4`; None for a run without shards."""
        return _text(self.start_record.get("shard"))

    @property
    def organizations(self) -> frozenset[str] | None:
        """The IDs of the organizations in the run's scope; None if unknown."""
        value = self.start_record.get("organizations")
        return frozenset(map(str, value)) if isinstance(value, list) else None

    @property
    def exit_code(self) -> int | None:
        """The exit code; None if the run is unfinished."""
        code = self.end_record.get("exit_code")
        return code if type(code) is int else None


def read_runs(*paths: Path) -> Iterator[RunRecord]:
    """Yield the runs of the logs in the order of their ends; runs of one group may alternate.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
    """
    open_runs: dict[str, RunRecord] = {}
    for record in read_records(paths, _RUN_EVENTS):
        run_id = str(record.get("run_id"))
        if record.get("event") != "run_started":
            start = open_runs.pop(run_id, None)
            yield RunRecord(run_id, start.start_record if start else {}, record)
            continue
        group_id = record.get("group_id")
        for each in tuple(open_runs.values()):  # killed, unless both are of one command
            if each.run_id == run_id or not each.is_in_group(group_id):
                yield open_runs.pop(each.run_id)
        open_runs[run_id] = RunRecord(run_id, start_record=record)
    yield from open_runs.values()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


class OpenIntent(NamedTuple):
    """An intent without an outcome: the request may have been sent.

    Attributes:
        mode: The mode of the run that wrote it; None if unknown.
        base_url: The base URL of the Atlas API that this run used; None if unknown.
    """

    run_id: str
    mode: str | None
    invitation: Invitation
    rule: str
    base_url: str | None = None

    @property
    def from_restore(self) -> bool:
        """Whether the request was to re-invite a user, not to delete an invitation."""
        return self.mode == "restore"


class Population(NamedTuple):
    """What remained after a complete run: the counts it saw, minus what was deleted or gone."""

    run_id: str
    projects: int
    invitations: int


def open_intents(*paths: Path) -> tuple[OpenIntent, ...]:
    """Return the intents of all runs that have no outcome, in order.

    An outcome with `recovers` resolves the intent of the run that it names. Memory grows with
    the number of intents open at one time, which is limited by the requests in flight.

    Raises:
        GuardRefused: A line is damaged, so the requests that were sent are not all known.
        UsageError: A file cannot be read.
    """
    runs_by_id: dict[object, RunRecord] = {}
    without_outcome: dict[tuple[object, ...], Record] = {}
    for record in read_records(paths, _INTENT_EVENTS):
        run_id = record.get("run_id")
        match record.get("event"):
            case "run_started":
                open_run_ids = {run for run, *_ in without_outcome}
                group_id = record.get("group_id")
                runs_by_id = {
                    run: start
                    for run, start in runs_by_id.items()
                    if run in open_run_ids or start.is_in_group(group_id)
                }
                runs_by_id[run_id] = RunRecord(str(run_id), start_record=record)
            case "intent":
                without_outcome[_intent_key(record, run_id)] = record
            case _:
                without_outcome.pop(_intent_key(record, record.get("recovers", run_id)), None)
    return tuple(_open_intent(record, runs_by_id) for record in without_outcome.values())


def last_sweep_policy(*paths: Path) -> str | None:
    """Return the policy hash of the last finished sweep, 64 hex digits; None without one.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
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
    """Return the population after the last complete run of the same shard; None without one.

    A run is complete if it ended with exit code 0, 4 or 10: it was neither refused nor stopped.

    Args:
        *paths: The logs, oldest first.
        shard: Such as `1/4`; None for runs without shards.
        organizations: Use only runs over exactly these organizations, or over unknown ones.
        base_url: Use only runs against this base URL, or against an unknown one.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
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
            hint="Check the audit log with `audit verify`.",
        ) from error
    run_id = record.get("run_id")
    run = runs_by_id.get(run_id, RunRecord(str(run_id)))
    return OpenIntent(run.run_id, run.mode, invitation, rule, run.base_url)


def _population(run: RunRecord) -> Population | None:
    projects, seen = map(run.end_record.get, ("projects_seen", "invitations_seen"))
    if type(projects) is not int or type(seen) is not int:
        return None
    removed = (count for count in map(run.end_record.get, _GONE_OUTCOMES) if type(count) is int)
    return Population(run.run_id, projects, seen - sum(removed))


class DeletionHistory:
    """Counts how often a user's invitation to a project was deleted before.

    An invitation that returns after each deletion is likely created by another program.
    Needs 8 bytes of memory per deletion.
    """

    def __init__(self, *paths: Path) -> None:
        """Read the deletions from the logs.

        Raises:
            GuardRefused: A line is damaged.
            UsageError: A file cannot be read.
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
        """Return the number of deletions of this user's invitation to this project.

        The case of the username is ignored. For an organization invitation, pass the
        organization's ID as `project_id`.
        """
        if not self._key_hashes:
            return 0
        key_hash = _key_hash(username, project_id)
        first = bisect_left(self._key_hashes, key_hash)
        return bisect_right(self._key_hashes, key_hash, first) - first


def _key_hash(username: str, scope_id: str) -> int:
    """Return a 64-bit key. A collision raises a count, which at worst keeps an invitation."""
    return hash((username.casefold().encode("utf-8", "backslashreplace"), scope_id))


def missing_shards(runs: Iterable[RunRecord]) -> tuple[str, ...]:
    """Return the shards without a run, such as `2/3`; empty if none is missing.

    Only the newest shard count is checked: it may have changed from three to four.
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
