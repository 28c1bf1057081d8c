"""Read earlier runs back from the audit log.

Covers how runs ended, intents without an outcome, and how often an invitation was deleted.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

from invite_sweeper.audit.events import invitation_from_record
from invite_sweeper.audit.reader import Record, read_records
from invite_sweeper.errors import ExitCode, GuardRefused, Reason
from invite_sweeper.models import Invitation, Outcome, Population

_ID = re.compile(r"[0-9a-f]{24}")
_RUN_EVENTS = frozenset({b"run_started", b"run_finished"})
_INTENT_EVENTS = frozenset({b"run_started", b"intent", b"outcome", b"run_finished"})
_OUTCOME_EVENTS = frozenset({b"outcome"})
_COMPLETE_EXIT_CODES = frozenset(code for code in ExitCode if code.read_everything)
"""Exit codes of runs that read all they could and were not stopped: 0, 4 and 10."""


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
    def group_id(self) -> str:
        """The id that the runs of one command share; a run without one is a group of its own."""
        return _text(self.start_record.get("group_id")) or self.run_id

    @property
    def finished(self) -> bool:
        """Whether the run wrote its last line."""
        return bool(self.end_record)

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
    def scope_sha256(self) -> str | None:
        """The hash of what the run read, see `scope.scope_sha256`; None if unknown."""
        return _text(self.start_record.get("scope_sha256"))

    @property
    def quarantine(self) -> bool | None:
        """Whether the run's policy set `quarantine`; None if unknown."""
        value = self.start_record.get("quarantine")
        return value if isinstance(value, bool) else None

    @property
    def exit_code(self) -> int | None:
        """The exit code; None if the run is unfinished."""
        code = self.end_record.get("exit_code")
        return code if type(code) is int else None


def read_runs(*paths: Path) -> Iterator[RunRecord]:
    """Yield the runs of the logs in the order of their ends.

    The lines of runs of one command alternate. A run without an end is yielded when the next
    command starts, or after the last line. Memory holds the runs of one command.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
    """
    unfinished: dict[str, RunRecord] = {}
    for record in read_records(paths, _RUN_EVENTS):
        run_id = str(record.get("run_id"))
        if record.get("event") == "run_finished":
            started = unfinished.pop(run_id, RunRecord(run_id))
            yield RunRecord(run_id, started.start_record, record)
            continue
        run = RunRecord(run_id, start_record=record)
        if any(each.group_id != run.group_id for each in unfinished.values()):
            yield from unfinished.values()
            unfinished.clear()
        unfinished[run_id] = run
    yield from unfinished.values()


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


def open_intents(*paths: Path) -> tuple[OpenIntent, ...]:
    """Return the intents of all runs that have no outcome, in order.

    An outcome with `recovers` resolves the intent of the run that it names. Memory grows with
    the number of intents open at one time, which is limited by the requests in flight, and
    with the number of runs without an end.

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
                runs_by_id[run_id] = RunRecord(str(run_id), start_record=record)
            case "run_finished":
                if not any(run == run_id for run, *_ in without_outcome):
                    runs_by_id.pop(run_id, None)
            case "intent":
                without_outcome[_intent_key(record, run_id)] = record
            case _:
                without_outcome.pop(_intent_key(record, record.get("recovers", run_id)), None)
    return tuple(_open_intent(record, runs_by_id) for record in without_outcome.values())


def last_sweep(*paths: Path) -> RunRecord | None:
    """Return the last finished sweep; None without one.

    Its policy was accepted: with a quarantine, a changed policy ends as a dry run until then.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
    """
    last = None
    for run in read_runs(*paths):
        if run.finished and run.mode == "sweep":
            last = run
    return last


def organization_names(*paths: Path) -> dict[str, str]:
    """Return the names of organizations by id, as the last run recorded them that knew them.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
    """
    found: dict[str, str] = {}
    for run in read_runs(*paths):
        names = run.end_record.get("organization_names")
        if isinstance(names, dict):
            found |= {id_: name for id_, name in names.items() if isinstance(name, str)}
    return found


def last_population(
    *paths: Path,
    scope_sha256: str,
    organizations: frozenset[str],
    base_url: str,
) -> Population:
    """Return what the last complete sweep left; a dry run counts until there was a sweep.

    A run is complete if it ended with exit code 0, 4 or 10: it was neither refused nor stopped.
    Each part is from the last run that knows it and can be compared:

    - the projects in scope and the invitations of a source: a run with the same
      scope. A source that was retired in one night keeps its count from before.
    - the visible projects of an organization: the same, or any run if there is none. The
      policy does not narrow them, so the check holds for a changed policy, too.

    A dry run deletes nothing, so a person can run one with `--accept-population` and another
    policy or credential. It must not become what sweeps are compared with.

    Args:
        *paths: The logs, oldest first.
        scope_sha256: `scope.scope_sha256` of the policy.
        organizations: Ids; visible projects of others are left out.
        base_url: Use only runs against this base URL.

    Raises:
        GuardRefused: A line is damaged.
        UsageError: A file cannot be read.
    """
    weakest_first = (("dry-run", False), ("dry-run", True), ("sweep", False), ("sweep", True))
    parts: dict[tuple[str, bool], dict[_Part, int]] = {each: {} for each in weakest_first}
    lists: dict[str, Mapping[str, int]] = {}
    for run in read_runs(*paths):
        same_scope = run.scope_sha256 == scope_sha256
        found = parts.get((run.mode or "", same_scope))
        is_complete = run.exit_code in _COMPLETE_EXIT_CODES and run.base_url == base_url
        if found is not None and is_complete:
            found.update(_population_parts(run, same_scope=same_scope))
            if same_scope:
                lists[run.mode or ""] = _lists(run)
    known_lists = lists["sweep"] if "sweep" in lists else lists.get("dry-run", {})
    last = {part: n for each in weakest_first for part, n in parts[each].items()}
    return Population(
        projects=last.get(_PROJECTS, 0),
        visible_projects={
            name: count
            for (key, name), count in last.items()
            if key == "visible_projects" and name in organizations
        },
        invitations={name: count for (key, name), count in last.items() if key == "invitations"},
        lists=known_lists,
    )


def _intent_key(record: Record, run_id: object) -> tuple[object, ...]:
    # A user has the same id in two organizations.
    names = ("source", "org_id", "project_id", "invitation_id")
    return (run_id, *(record.get(name) for name in names))


def _open_intent(record: Record, runs_by_id: Mapping[object, RunRecord]) -> OpenIntent:
    try:
        invitation, rule = invitation_from_record(record)
        _check_ids(invitation)
    except ValueError as error:
        raise GuardRefused(
            f"An intent of run {record.get('run_id')} cannot be read: {error}.",
            hint="Check the audit log with `audit verify`.",
            reasons=(Reason.EARLIER_RUNS,),
        ) from error
    run_id = record.get("run_id")
    run = runs_by_id.get(run_id, RunRecord(str(run_id)))
    return OpenIntent(run.run_id, run.mode, invitation, rule, run.base_url)


def _check_ids(invitation: Invitation) -> None:
    """Raise ValueError if an id cannot be part of a request; no run plans such an invitation."""
    for name, value in (("invitation_id", invitation.id), ("project_id", invitation.project_id)):
        if _ID.fullmatch(value) is None:
            raise ValueError(f"`{name}` is not an id of 24 hex digits")


_Part: TypeAlias = tuple[str, str]
"""A key of `remaining` in `run_finished`, and the organization or the source."""
_PROJECTS: _Part = ("projects", "")


def _population_parts(run: RunRecord, *, same_scope: bool) -> Iterator[tuple[_Part, int]]:
    """Yield the counts that a complete run left; runs of earlier versions have none."""
    remaining = run.end_record.get("remaining")
    if not isinstance(remaining, dict):
        return
    end = run.end_record
    # A run of an earlier version counted nothing for a list that it could not read.
    partial = "plan_complete" not in end and end.get("projects_unreadable") != 0
    keys = ("visible_projects", "invitations")
    for key in keys if same_scope and not partial else keys[:1]:
        counts = remaining.get(key)
        if isinstance(counts, dict):
            yield from (((key, name), n) for name, n in counts.items() if type(n) is int)
    projects = remaining.get("projects")
    if same_scope and type(projects) is int:
        yield _PROJECTS, projects


def _lists(run: RunRecord) -> dict[str, int]:
    """Return the counts of the lists that a complete run left."""
    remaining = run.end_record.get("remaining")
    found = remaining.get("lists") if isinstance(remaining, dict) else None
    if not isinstance(found, dict):
        return {}
    return {str(name): n for name, n in found.items() if type(n) is int}


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
