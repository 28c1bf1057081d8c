"""What happened before: everything that the audit log says, from one pass over its files.

The order is that of the hash chain, not of the clock. Memory holds the runs, the last plan of each
policy, the announcements that hold, and 16 bytes for each deletion.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from msgspec import UNSET

from invite_sweeper.audit.events import (
    Announced,
    AnnouncementEnded,
    AnnouncementKey,
    Intent,
    InvitationFields,
    Kept,
    Line,
    OutcomeLine,
    Planned,
    ProjectUnreadable,
    RestoreFinished,
    RunFinished,
    RunStarted,
    SourceRetired,
    parse_timestamp,
)
from invite_sweeper.audit.reader import LinePosition, raise_damaged, read_events
from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Invitation, Outcome, Population, Source, UserKey
from invite_sweeper.text import casefold_lookalike

_ID: Final = re.compile(r"[0-9a-f]{24}")
_COMPLETE_EXIT_CODES: Final = frozenset(code for code in ExitCode if code.read_everything)
"""Exit codes of runs that read all they could and were not stopped: 0, 4 and 10."""
_PLANNING_CODES: Final = _COMPLETE_EXIT_CODES | {ExitCode.REFUSED}
"""Exit codes of runs with a whole plan; a run that a guard refused may have one."""
APPLIED_CODES: Final = frozenset({ExitCode.DONE, ExitCode.PARTIAL})
"""Exit codes of a sweep that completed a saved plan."""

ListKey: TypeAlias = tuple[str, str]
"""A source, and the project's id; the organization's id for a list of an organization."""


@dataclass(slots=True)
class RunRecord:
    """One run.

    Attributes:
        start: Its first line; None if the files do not contain it.
        end: Its last line; None if the run is unfinished.
        finished_at: When the last line was written, RFC 3339; "" without one.
        planned: Its `planned` lines.
        outcomes: Its outcomes; those of an interrupted run that it resolved are in `resolved`.
    """

    run_id: str
    start: RunStarted | None = None
    end: RunFinished | RestoreFinished | None = None
    finished_at: str = ""
    planned: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    resolved: Counter[str] = field(default_factory=Counter)

    @property
    def group_id(self) -> str:
        """The id that the runs of one command share; a run without one is a group of its own."""
        return (self.start.group_id if self.start is not None else None) or self.run_id

    @property
    def finished(self) -> bool:
        """Whether the run wrote its last line."""
        return self.end is not None

    @property
    def mode(self) -> str | None:
        """The mode (`sweep`, `dry-run`, …); None if unknown."""
        return self.start.mode if self.start is not None else None

    @property
    def base_url(self) -> str | None:
        """The base URL of the Atlas API that the run used; None if unknown."""
        return self.start.base_url if self.start is not None else None

    @property
    def policy_sha256(self) -> str | None:
        """SHA-256 of the policy's bytes, 64 hex digits; None if unknown."""
        return self.start.policy_sha256 if self.start is not None else None

    @property
    def exit_code(self) -> int | None:
        """The exit code; None if the run is unfinished."""
        return self.end.exit_code if self.end is not None else None


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


class PlanScope(NamedTuple):
    """What two runs have in common if their plans can be compared."""

    policy_sha256: str
    organizations: frozenset[str]
    base_url: str


class PreviousPlan(NamedTuple):
    """The last whole plan of a scope.

    Attributes:
        planned: The list of each planned invitation, by the hash of its key.
        deleted: Those that a run has deleted since.
        unread: What that run did not read: lists, and sources that were retired.
    """

    run: RunRecord
    planned: Mapping[int, ListKey]
    deleted: frozenset[int]
    unread: frozenset[ListKey | str]


class DeletionCounts:
    """Counts how often a user's invitation to a project or organization was deleted before.

    An invitation that returns after each deletion is likely created by another program.
    A collision of two hashes raises a count, which at worst keeps an invitation.
    """

    def __init__(self) -> None:
        self._hashes = array("q")
        self._sorted = False

    def add(self, deleted: Invitation | InvitationFields) -> None:
        """Record one deletion."""
        self._hashes.append(_hash_of(deleted))
        self._sorted = False

    def count(self, invitation: Invitation) -> int:
        """Return the number of deletions of this user's invitation to the same place."""
        if not self._sorted:
            self._hashes = array("q", sorted(self._hashes))
            self._sorted = True
        wanted = _hash_of(invitation)
        return bisect_right(self._hashes, wanted) - bisect_left(self._hashes, wanted)


def _hash_of(invited: Invitation | InvitationFields) -> int:
    """Return the hash of the user in a place; names that look the same are one, as for `keep`."""
    _, _, scope_id, _ = invited.key
    org_id, user = invited.user_key
    return hash((org_id, casefold_lookalike(user), scope_id))


@dataclass(slots=True)
class _OpenPlan:
    """The plan of a run that has not ended yet."""

    deletions_before: int
    planned: dict[int, ListKey] = field(default_factory=dict)
    unread: set[ListKey | str] = field(default_factory=set)


class History:
    """The history of a log. `add` takes its lines in the order of the chain.

    Attributes:
        runs: The runs in the order of their ends; a run without one comes before the next command.
        deletions: How often each invitation was deleted.
    """

    def __init__(self) -> None:
        self.runs: list[RunRecord] = []
        self.deletions = DeletionCounts()
        self._by_id: dict[str, RunRecord] = {}
        self._unfinished: dict[str, RunRecord] = {}
        self._open_plans: dict[str, _OpenPlan] = {}
        self._open_intents: dict[tuple[str, ...], Intent] = {}
        self._plans: dict[PlanScope, tuple[RunRecord, _OpenPlan]] = {}
        self._deleted = array("q")  # hashes of keys
        self._announcements: dict[str, dict[AnnouncementKey, datetime]] = {}  # by base URL
        self._gone_users: set[int] = set()  # hashes of user keys
        self._lists: dict[ListKey, ListKey] = {}
        self._counts_of_lists: dict[tuple[str | None, ...], Mapping[str, int]] = {}

    def add(self, line: Line) -> None:
        """Add the next line."""
        run_id, event = line.run_id, line.event
        match event:
            case Planned():
                self._run(run_id).planned += 1
                self._open_plans[run_id].planned[hash(event.key)] = self._list(event)
            case Intent():
                self._open_intents[run_id, *event.key] = event
            case OutcomeLine():
                self._add_outcome(run_id, event)
            case RunStarted():
                self._add_start(run_id, event)
            case RunFinished() | RestoreFinished():
                self._add_end(line.ts, run_id, event)
            case ProjectUnreadable():
                unread = (event.source.value, event.project_id or event.org_id or "")
                self._open_plan(run_id).unread.add(unread)
            case SourceRetired():
                self._open_plan(run_id).unread.add(event.source.value)
            case Announced() | AnnouncementEnded():
                self._add_announcement(line, event)
            case Kept():  # nothing was done
                pass

    def finish(self) -> None:
        """Add the runs without an end, after the last line."""
        self.runs += self._unfinished.values()
        self._unfinished.clear()
        self._open_plans.clear()

    def open_intents(self) -> tuple[OpenIntent, ...]:
        """Return the intents of all runs that have no outcome, in order.

        An outcome with `recovers` resolves the intent of the run that it names.

        Raises:
            GuardRefused: The ids of an intent cannot be part of a request.
        """
        return tuple(
            _open_intent(self._by_id.get(run_id) or RunRecord(run_id), intent)
            for (run_id, *_), intent in self._open_intents.items()
        )

    def open_requests(self) -> Counter[str]:
        """Return the number of intents without an outcome, by run."""
        return Counter(run_id for run_id, *_ in self._open_intents)

    def is_gone(self, user: UserKey) -> bool:
        """Return whether an invitation of the user was deleted, or was gone when it was to be."""
        return hash(user) in self._gone_users

    def run(self, run_id: str) -> RunRecord | None:
        """Return a run; None if the log does not contain it."""
        return self._by_id.get(run_id)

    def applied_by(self, digest: str) -> RunRecord | None:
        """Return the first run of the sweep that completed a saved plan; None without one."""
        groups: dict[str, list[RunRecord]] = {}
        for run in self.runs:
            if run.mode == "sweep" and run.start is not None and run.start.plan_sha256 == digest:
                groups.setdefault(run.group_id, []).append(run)
        return next((runs[0] for runs in groups.values() if _has_completed(runs)), None)

    def sunsets(self, base_url: str) -> dict[Source, date]:
        """Return the end of each source as the last runs against a base URL recorded it."""
        found: dict[Source, date] = {}
        for run in self.runs:
            recorded = run.end.sunsets if isinstance(run.end, RunFinished) else UNSET
            if run.base_url == base_url and recorded is not UNSET:
                with suppress(ValueError):
                    found |= {Source(s): date.fromisoformat(day) for s, day in recorded.items()}
        return found

    def organization_names(self) -> dict[str, str]:
        """Return the names of organizations by id, as the last run that knew them recorded them."""
        found: dict[str, str] = {}
        for run in self.runs:
            found |= run.end.organization_names if run.end is not None else {}
        return found

    def announcements(self, base_url: str) -> dict[AnnouncementKey, datetime]:
        """Return the announcements that hold against a base URL, with the instant of each.

        It is the instant of the run that announced: ages and waits count from one `now`.
        """
        return self._announcements.get(base_url, {})

    def members(self, base_url: str) -> dict[str, int]:
        """Return how many active members each organization last had, where it was read.

        As for `population`, a dry run counts only where no sweep has read them.
        """
        found: dict[str, dict[str, int]] = {"dry-run": {}, "sweep": {}}
        for run in self.runs:
            recorded = run.end.members if isinstance(run.end, RunFinished) else UNSET
            if run.base_url == base_url and recorded is not UNSET and run.mode in found:
                found[run.mode] |= recorded
        return found["dry-run"] | found["sweep"]

    def _add_announcement(self, line: Line, event: Announced | AnnouncementEnded) -> None:
        start = self._run(line.run_id).start
        if start is None:
            return  # its base URL is unknown
        instant = parse_timestamp(start.now)
        held = self._announcements.setdefault(start.base_url, {})
        held.pop((*event.key, event.created_at), None)
        if isinstance(event, Announced) and isinstance(instant, datetime):
            held[*event.key, event.created_at] = instant

    def last_plan(self, scope: PlanScope) -> PreviousPlan | None:
        """Return the last whole plan of a scope; None without one."""
        if scope not in self._plans:
            return None
        run, plan = self._plans[scope]
        deleted = frozenset(self._deleted[plan.deletions_before :])
        return PreviousPlan(run, plan.planned, deleted, frozenset(plan.unread))

    def population(
        self, *, scope_sha256: str, organizations: frozenset[str], base_url: str
    ) -> Population:
        """Return what the last complete sweep left; a dry run counts until there was a sweep.

        A run is complete if it ended with exit code 0, 4 or 10: it was neither refused nor stopped.
        Each part is from the last run that knows it and can be compared:

        - the projects in scope and the invitations of a source: a run with the same scope. A
          source that was retired in one night keeps its count from before.
        - the visible projects of an organization: the same, or any run if there is none. The policy
          does not narrow them, so the check holds for a changed policy, too.

        A dry run deletes nothing, so a person can run one with `--accept-population` and another
        policy or credential. It must not become what sweeps are compared with.

        Args:
            scope_sha256: `scope.scope_sha256` of the policy.
            organizations: Ids; visible projects of others are left out.
            base_url: Use only runs against this base URL.
        """
        weakest_first = (("dry-run", False), ("dry-run", True), ("sweep", False), ("sweep", True))
        parts: dict[tuple[str, bool], dict[_Part, int]] = {each: {} for each in weakest_first}
        for run in self.runs:
            if run.start is None or run.base_url != base_url:
                continue
            same_scope = run.start.scope_sha256 == scope_sha256
            found = parts.get((run.start.mode, same_scope))
            if found is not None and run.exit_code in _COMPLETE_EXIT_CODES:
                found.update(_population_parts(run, same_scope=same_scope))
        last = {part: n for each in weakest_first for part, n in parts[each].items()}
        lists = (
            self._counts_of_lists.get((base_url, scope_sha256, mode))
            for mode in ("sweep", "dry-run")
        )
        return Population(
            projects=last.get(_PROJECTS, 0),
            visible_projects={
                name: count
                for (key, name), count in last.items()
                if key == "visible_projects" and name in organizations
            },
            invitations={
                name: count for (key, name), count in last.items() if key == "invitations"
            },
            lists=next((each for each in lists if each is not None), {}),
        )

    def _run(self, run_id: str) -> RunRecord:
        """Return a run that has not ended; its first line may be in a file that is not here."""
        run = self._unfinished.get(run_id)
        if run is None:
            run = self._unfinished[run_id] = self._by_id[run_id] = RunRecord(run_id)
            self._open_plans[run_id] = _OpenPlan(len(self._deleted))
        return run

    def _open_plan(self, run_id: str) -> _OpenPlan:
        self._run(run_id)
        return self._open_plans[run_id]

    def _list(self, fields: InvitationFields) -> ListKey:
        """Return the list of an invitation; one value for all that are in it."""
        found = (fields.source.value, fields.scope_id)
        return self._lists.setdefault(found, found)

    def _add_start(self, run_id: str, event: RunStarted) -> None:
        group_id = event.group_id or run_id
        if any(each.group_id != group_id for each in self._unfinished.values()):
            self.finish()  # only one command runs at a time: these were killed
        run = self._run(run_id)
        run.start = event

    def _add_end(self, ts: str, run_id: str, event: RunFinished | RestoreFinished) -> None:
        run = self._run(run_id)
        if isinstance(event, RunFinished) and event.remaining is not None:
            # Only those of the last run are compared, and a year of nights would be long.
            if run.start is not None and event.exit_code in _COMPLETE_EXIT_CODES:
                key = run.start.base_url, run.start.scope_sha256, run.start.mode
                self._counts_of_lists[key] = event.remaining.lists
            event = replace(event, remaining=replace(event.remaining, lists={}))
        run.end, run.finished_at = event, ts
        self.runs.append(self._unfinished.pop(run_id))
        plan = self._open_plans.pop(run_id)
        if (scope := _plan_scope(run)) is not None:
            self._plans[scope] = (run, plan)

    def _add_outcome(self, run_id: str, event: OutcomeLine) -> None:
        run = self._run(run_id)
        (run.resolved if event.recovers is not None else run.outcomes)[event.outcome] += 1
        key = event.key
        self._open_intents.pop((event.recovers or run_id, *key), None)
        if event.outcome in {Outcome.DELETED, Outcome.ALREADY_GONE}:
            self._gone_users.add(hash(event.user_key))
        if event.outcome == Outcome.DELETED:
            self._deleted.append(hash(key))
            self.deletions.add(event)
            held = self._announcements.get(run.base_url or "", {})
            held.pop((*key, event.created_at), None)


def read_history(
    files: Iterable[Path],
    *,
    check: Callable[[], None] = lambda: None,
    observe: Callable[[Line], None] = lambda _line: None,
    on_damaged: Callable[[LinePosition], object] = raise_damaged,
) -> History:
    """Return the history of a log.

    Args:
        files: Its files, oldest first.
        check: Called every 10,000 lines; may raise to stop.
        observe: Called with each line, after the history has it.
        on_damaged: Called with the position of a damaged line. By default it raises DamagedLog.

    Raises:
        GuardRefused: A line is damaged (by default).
        UsageError: A file cannot be read.
    """
    history = History()
    for number, line in enumerate(read_events(files, on_damaged=on_damaged)):
        if number % _LINES_PER_CHECK == 0:
            check()
        history.add(line)
        observe(line)
    history.finish()
    return history


_LINES_PER_CHECK: Final = 10_000


def _plan_scope(run: RunRecord) -> PlanScope | None:
    """Return the scope in which a run planned everything that is stale; None if it did not.

    A sweep of a saved plan and a trimmed plan list only a part of it.
    """
    start, end = run.start, run.end
    if (
        start is None
        or not isinstance(end, RunFinished)
        or start.mode not in {"sweep", "dry-run"}
        or start.plan_sha256 is not None
        or start.policy_sha256 is None
        or end.exit_code not in _PLANNING_CODES
        or not end.plan_made
        or end.trimmed
    ):
        return None
    return PlanScope(start.policy_sha256, frozenset(start.organizations), start.base_url)


def _has_completed(runs: Sequence[RunRecord]) -> bool:
    """Return whether the runs of one command applied a plan; the same command goes on otherwise."""
    ends = [run.exit_code for run in runs]
    return bool(APPLIED_CODES.intersection(ends)) and {None, ExitCode.INTERRUPTED}.isdisjoint(ends)


def _open_intent(run: RunRecord, intent: Intent) -> OpenIntent:
    for name, value in (("invitation_id", intent.invitation_id), ("project_id", intent.scope_id)):
        if _ID.fullmatch(value) is None:  # no run plans such an invitation
            raise GuardRefused(
                f"An intent of run {run.run_id} cannot be read: `{name}` is not an id.",
                hint="Check the audit log with `audit verify`.",
                reasons=(Reason.EARLIER_RUNS,),
            )
    return OpenIntent(run.run_id, run.mode, intent.invitation(), intent.rule, run.base_url)


_Part: TypeAlias = tuple[str, str]
"""A field of `remaining` in `run_finished`, and the organization or the source."""
_PROJECTS: Final[_Part] = ("projects", "")


def _population_parts(run: RunRecord, *, same_scope: bool) -> Iterator[tuple[_Part, int]]:
    """Yield the counts that a complete run left; a run without a plan has none."""
    if not isinstance(run.end, RunFinished) or (left := run.end.remaining) is None:
        return
    for name, count in left.visible_projects.items():
        yield ("visible_projects", name), count
    # A run of an earlier version counted nothing for a list that it could not read.
    partial = run.end.plan_complete is None and run.end.projects_unreadable
    if same_scope:
        for name, count in left.invitations.items() if not partial else ():
            yield ("invitations", name), count
        yield _PROJECTS, left.projects
