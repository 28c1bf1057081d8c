"""What changed since the last plan of the same policy: new, still stale, deleted, gone.

`PolicyDifference` is what a changed policy changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

from pydantic import TypeAdapter, ValidationError

from invite_sweeper.audit.history import RunRecord, read_runs
from invite_sweeper.audit.reader import Record, read_records
from invite_sweeper.errors import ExitCode
from invite_sweeper.models import Invitation, ListUnreadable, Outcome, SourceRetired

_PLANNING_CODES: Final = frozenset(
    {int(code) for code in ExitCode if code.read_everything} | {int(ExitCode.REFUSED)}
)
"""Exit codes of runs with a whole plan; a run that a guard refused may have one."""
_EVENTS: Final = frozenset({b"planned", b"outcome", b"project_unreadable", b"source_retired"})

_List: TypeAlias = tuple[str, str]
"""A source, and the project's id; the organization's id for a list of an organization."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """The earlier run whose plan is compared.

    Attributes:
        now: The instant of the run, RFC 3339.
        refused: Whether a guard refused it: then it had a plan and deleted nothing.
    """

    run_id: str
    mode: str
    now: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class PlanChanges:
    """The stale invitations of a run, compared with the plan of an earlier one.

    `new`, `still_stale` and `not_read_then` add up to the invitations that are stale now, the
    others and `still_stale` to those that were planned then.

    Attributes:
        runs: The earlier runs, one for each credential.
        new: Stale now, and not planned then.
        still_stale: Planned then, and stale now.
        deleted: Planned then, and deleted by a run since.
        kept: Planned then, and kept now.
        gone: Planned then, and not in the lists now: accepted, revoked or expired.
        not_read: Planned then in a list that was not read now.
        not_read_then: Stale now in a list that was not read then.
    """

    runs: tuple[ComparedRun, ...]
    new: int = 0
    still_stale: int = 0
    deleted: int = 0
    kept: int = 0
    gone: int = 0
    not_read: int = 0
    not_read_then: int = 0


_COUNTS: Final = tuple(each.name for each in fields(PlanChanges) if each.type is int)


def merge_changes(changes: Sequence[PlanChanges | None]) -> PlanChanges | None:
    """Return the sum for the runs of one command; None if one of them cannot be compared."""
    known = [each for each in changes if each is not None]
    if not known or len(known) < len(changes):
        return None
    runs = dict.fromkeys(run for each in known for run in each.runs)
    sums = {name: sum(getattr(each, name) for each in known) for name in _COUNTS}
    return PlanChanges(tuple(runs), **sums)


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """What a policy that is not accepted changes, on the invitations of this run.

    Attributes:
        policy_sha256: The hash to accept.
        accepted_sha256: Of the policy of the last sweep; None before the first one.
        compared: Whether the last accepted policy could be read.
        added: Stale only under the new policy; all that are stale if it was not compared.
        removed: Stale only under the accepted one.
        sentences: The changed settings, and the first invitations that are added or removed.
    """

    policy_sha256: str
    accepted_sha256: str | None
    compared: bool
    added: int
    removed: int
    sentences: tuple[str, ...]


def parse_changes(value: object) -> PlanChanges | None:
    """Return the `changes` of a `run_finished` line; None if it has none or another form."""
    found = _parse(_CHANGES, value)
    return found if found is not None and found.runs else None


def parse_policy_difference(value: object) -> PolicyDifference | None:
    """Return the `policy_change` of a `run_finished` line; None if it has none or another form."""
    return _parse(_POLICY_DIFFERENCE, value)


_T = TypeVar("_T")
_CHANGES: Final = TypeAdapter(PlanChanges)
_POLICY_DIFFERENCE: Final = TypeAdapter(PolicyDifference)


def _parse(adapter: TypeAdapter[_T], value: object) -> _T | None:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None


class PlanScope(NamedTuple):
    """What two runs have in common if their plans can be compared."""

    policy_sha256: str
    organizations: frozenset[str]
    base_url: str

    def matches(self, run: RunRecord) -> bool:
        """Return whether a run planned everything that is stale in this scope.

        A sweep of a saved plan and a trimmed plan list only a part of it.
        """
        start, end = run.start_record, run.end_record
        organizations = start.get("organizations")
        return (
            run.mode in {"sweep", "dry-run"}
            and run.exit_code in _PLANNING_CODES
            and type(end.get("estimate_s")) in {int, float}  # made once the plan is complete
            and not end.get("trimmed")
            and "plan_sha256" not in start
            and isinstance(organizations, list)
            and self.organizations == frozenset(map(str, organizations))
            and (self.policy_sha256, self.base_url) == (run.policy_sha256, run.base_url)
        )


class ChangeTracker:
    """Compares the decisions of a run with the last plan of the same scope.

    Memory holds a number for each invitation of that plan.

    Args:
        run: The run with that plan.
        planned: The list of each planned invitation, by the hash of its ids.
        deleted: Those that a run has deleted since.
        unread: What that run did not read: lists, and sources that were retired.
    """

    def __init__(
        self,
        run: ComparedRun,
        planned: dict[int, _List],
        deleted: set[int],
        unread: set[_List | str],
    ) -> None:
        self._run = run
        self._planned = planned
        self._deleted = deleted
        self._unread_then = unread
        self._unread_now: set[_List | str] = set()
        self._new = self._still_stale = self._kept = self._not_read_then = 0

    @staticmethod
    def find(files: Sequence[Path], scope: PlanScope) -> "ChangeTracker | None":
        """Read the last plan of a scope from the logs; None without one.

        Args:
            files: The logs, oldest first.

        Raises:
            GuardRefused: A line is damaged.
            UsageError: A file cannot be read.
        """
        reference, later = _last_matching(files, scope)
        if reference is None:
            return None
        planned: dict[int, _List] = {}
        deleted: set[int] = set()
        unread: set[_List | str] = set()
        lists: dict[_List, _List] = {}
        for record in read_records(files, _EVENTS, run_ids=later):
            if record.get("event") == "outcome":
                if record.get("outcome") == Outcome.DELETED:
                    deleted.add(_record_key(record))
            elif record.get("run_id") == reference.run_id:
                if record.get("event") == "planned":
                    list_ = _list_of(record)
                    planned[_record_key(record)] = lists.setdefault(list_, list_)
                else:
                    unread.add(_unread_part(record))
        return ChangeTracker(_compared(reference), planned, deleted, unread)

    def is_new(self, invitation: Invitation, *, stale: bool) -> bool:
        """Record one decision; return whether the invitation is stale and was not planned then."""
        list_ = (invitation.source.value, invitation.project_id)
        key = hash((*list_, invitation.org_id, invitation.id))
        if self._planned.pop(key, None) is not None:
            self._still_stale += stale
            self._kept += not stale
            return False
        if not stale:
            return False
        if list_ in self._unread_then or list_[0] in self._unread_then:
            self._not_read_then += 1
            return False
        self._new += 1
        return True

    def add_unread(self, unreadable: ListUnreadable) -> None:
        """Record a list, or a retired source, that is not read now."""
        source = unreadable.source.value
        retired = isinstance(unreadable, SourceRetired)
        self._unread_now.add(source if retired else (source, unreadable.project_id))

    def result(self) -> PlanChanges:
        """Return the comparison, once every decision is recorded."""
        deleted = not_read = 0
        for key, list_ in self._planned.items():
            if key in self._deleted:
                deleted += 1
            elif list_ in self._unread_now or list_[0] in self._unread_now:
                not_read += 1
        return PlanChanges(
            runs=(self._run,),
            new=self._new,
            still_stale=self._still_stale,
            deleted=deleted,
            kept=self._kept,
            gone=len(self._planned) - deleted - not_read,
            not_read=not_read,
            not_read_then=self._not_read_then,
        )


def _last_matching(
    files: Sequence[Path], scope: PlanScope
) -> tuple[RunRecord | None, frozenset[str]]:
    """Return the last run with a whole plan of a scope, and the ids of this run and later ones."""
    found: RunRecord | None = None
    later: set[str] = set()
    for run in read_runs(*files):
        if scope.matches(run):
            found, later = run, set()
        later.add(run.run_id)
    return found, frozenset(later)


def _compared(run: RunRecord) -> ComparedRun:
    now = run.start_record.get("now")
    return ComparedRun(
        run.run_id,
        run.mode or "",
        now if isinstance(now, str) else "",
        refused=run.exit_code == ExitCode.REFUSED,
    )


def _list_of(record: Record) -> _List:
    return str(record.get("source")), str(record.get("project_id") or record.get("org_id"))


def _record_key(record: Record) -> int:
    return hash((*_list_of(record), str(record.get("org_id")), str(record.get("invitation_id"))))


def _unread_part(record: Record) -> _List | str:
    """Return the list of a `project_unreadable` record, or the source of a `source_retired`."""
    retired = record.get("event") == "source_retired"
    return str(record.get("source")) if retired else _list_of(record)
