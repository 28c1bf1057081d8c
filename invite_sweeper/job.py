"""What a run is asked to do, and what it needs of the world."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol

from invite_sweeper.amendments import as_decided
from invite_sweeper.audit import PlanSpan
from invite_sweeper.audit.history import OpenIntent
from invite_sweeper.errors import GuardRefused
from invite_sweeper.guard import Population
from invite_sweeper.inventory import Place, Source
from invite_sweeper.outcome import Outcome
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.ports import Deleter
from invite_sweeper.recovery import Witness
from invite_sweeper.selection import Decision
from invite_sweeper.shard import Shard
from invite_sweeper.totals import RunSummary


class Connection(Protocol):
    """What a run needs of Atlas."""

    @property
    def reader(self) -> Witness:
        """Give the part that reads, and cannot delete."""
        ...

    def deleter(self, sources: Iterable[Source]) -> Deleter:
        """Give the part that deletes from these lists; called by a sweep alone."""
        ...

    @property
    def clock_skew_s(self) -> float | None:
        """How far our clock is ahead of Atlas's; None while no answer had a date."""
        ...

    @property
    def has_responded(self) -> bool:
        """Tell whether Atlas has answered anything."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Give what the answers left open, as sentences for a person."""
        ...

    @property
    def sunset(self) -> date | None:
        """The day on which Atlas says that it stops serving a list; None where it does not."""
        ...

    @property
    def sunsets(self) -> Mapping[Source, date]:
        """The same for each source that Atlas names a day for."""
        ...

    @property
    def deprecation(self) -> date | None:
        """The day from which Atlas advises against what is in use; None where it does not."""
        ...

    async def fetch_limits(self) -> None:
        """Ask Atlas for its limits, if it tells them; nothing depends on the answer."""
        ...

    async def prepare_for(self, deletions: Mapping[Place, int]) -> None:
        """Prepare for so many deletions in each list; nothing depends on it but the time."""
        ...

    def estimate_s(self, deletions: Mapping[Place, int]) -> float:
        """Give the seconds that Atlas's limits ask for so many deletions a list."""
        ...


class View(Protocol):
    """What a person sees while it runs."""

    def walking(self, projects: int) -> None:
        """So many projects are about to be read."""
        ...

    def walked(self) -> None:
        """One project has been read, or could not be."""
        ...

    def sweeping(self, deletions: int, estimate_s: float) -> None:
        """So many deletions are about to begin, and should take so long by Atlas's limits."""
        ...

    def swept(self, outcome: Outcome) -> None:
        """One deletion has ended."""
        ...

    def warn(self, sentence: str) -> None:
        """Something deserves a look, and does not stop the run."""
        ...

    def alarm(self, sentence: str) -> None:
        """Something has to be seen to, though the run goes on."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is asked to do.

    Attributes:
        now: The one instant of the run, aware UTC.
        dry_run: Stop before the first DELETE.
        clock: Monotonic seconds; the run began at `started_s` on it.
        confirm: Asked once, after the guard, before the first DELETE; None asks nobody.
        preamble: The fields of the `run_started` line.
        amend: A second look at each decision; it only ever keeps more.
        before: What the last complete run left; None where nothing is known, or not asked.
        open_intents: What a run that was cut off left unsettled.
        passed: Called when the plan is on disk and has passed the guard; gives sentences for
            a person.
        refusal: What the run ends with after the guard, whatever the plan, and sentences for
            a person; None for nothing.
    """

    policy: Policy
    now: datetime
    run_id: str
    dry_run: bool
    clock: Callable[[], float]
    started_s: float
    shard: Shard | None = None
    confirm: Callable[[RunSummary], Awaitable[bool]] | None = None
    preamble: Mapping[str, object] = field(default_factory=dict)
    amend: Callable[[Decision], Decision] = as_decided
    before: Population | None = None
    open_intents: tuple[OpenIntent, ...] = ()
    passed: Callable[[Sequence[PlanSpan]], tuple[str, ...]] | None = None
    refusal: Callable[[], tuple[GuardRefused, tuple[str, ...]] | None] | None = None

    @property
    def limits(self) -> Limits:
        """The limits of this run: the shard's part of them where there are several."""
        whole = self.policy.limits
        return self.shard.share_of(whole) if self.shard is not None else whole

    @property
    def deadline_left_s(self) -> float:
        """Seconds until the deadline; 0.0 when it has passed."""
        spent_s = self.clock() - self.started_s
        return max(0.0, self.policy.execution.deadline.total_seconds() - spent_s)
