"""Runs and invitations as the page lists them: frozen values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from invite_sweeper.outcome import Outcome

T = TypeVar("T")

OUTCOMES = tuple(outcome.value for outcome in Outcome)


class Verdict(StrEnum):
    """The word on top of the page."""

    CLEAN = "clean"
    PARTIAL = "partial"
    REFUSED = "refused"
    STOPPED = "stopped early"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged chain"
    EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Cut(Generic[T]):
    """The first rows of a list that may be far longer.

    Attributes:
        total: Length of the whole list.
    """

    rows: tuple[T, ...]
    total: int

    @property
    def more(self) -> int:
        """How many are left out."""
        return self.total - len(self.rows)


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the planned invitations, counted line by line.

    Attributes:
        accepted_before: Active members by the time of their turn, and left alone.
        accepted_during: Removed in the moment in which they became active members.
        open: Intents without an outcome: sent, perhaps, and nobody knows.
    """

    planned: int = 0
    deleted: int = 0
    already_gone: int = 0
    failed: int = 0
    unknown: int = 0
    skipped: int = 0
    accepted_before: int = 0
    accepted_during: int = 0
    open: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its first and last line tell it, and as its lines count up.

    Attributes:
        started: None where the line was lost or its date is unreadable.
        exit_code: None where the run has no last line.
        shard: `I/N`, or empty.
    """

    run_id: str
    mode: str
    started: datetime | None
    exit_code: int | None
    shard: str
    base_url: str
    policy_path: str
    policy_sha256: str
    actor: str
    tool_version: str
    verdict: Verdict
    tally: Tally


@dataclass(frozen=True, slots=True)
class Entry:
    """One invitation on the page; every text may be hostile.

    Attributes:
        state: An outcome, `planned`, or `no outcome` where a sweep left none.
        detail: What Atlas said of it, or how it went before.
        bounced: How often a run deleted it before; 0 where none is known to have.
        last_deleted: When that was last; empty where it was not.
    """

    invitation_id: str
    project_id: str
    project: str
    username: str
    inviter: str
    roles: str
    rule: str
    age_days: float | None
    state: str
    detail: str = ""
    bounced: int = 0
    last_deleted: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """This run's stale invitations against those of the run before.

    Attributes:
        since: When that run began.
        gone: Stale then, not listed now; `detail` says where they went.
        unseen: Stale then, in a project that could not be read now.
    """

    since: datetime | None
    new: Cut[Entry]
    persisting: Cut[Entry]
    gone: Cut[Entry]
    unseen: int
