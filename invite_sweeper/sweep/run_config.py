"""What one run is given: policy, instant, history and scope."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from invite_sweeper.audit import OpenIntent, RunStarted
from invite_sweeper.models import (
    Population,
    Source,
)
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.sweep.changes import ChangeTracker
from invite_sweeper.sweep.decision_steps import Step
from invite_sweeper.sweep.scope import Shard


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The configuration of one run.

    Attributes:
        now: The one instant of the run, aware UTC.
        dry_run: Stop before the first DELETE.
        clock: Monotonic seconds; the command began at `started_s`.
        started: The first line of the run.
        steps: Applied to each decision; they can only keep more.
        previous_population: What the last complete runs left; None to ignore a drop.
        open_intents: Intents that an interrupted run left without an outcome.
        last_plan: The last plan of the same policy, to compare this one with; None without one.
        earlier_sunsets: The end of each source as the last runs recorded it.
        credentials_variables: The environment variables with the credentials.
        earlier_members: The active members that each organization last had.
    """

    policy: Policy
    now: datetime
    run_id: str
    dry_run: bool
    clock: Callable[[], float]
    started_s: float
    started: RunStarted
    shard: Shard | None = None
    steps: tuple[Step, ...] = ()
    previous_population: Population | None = None
    open_intents: tuple[OpenIntent, ...] = ()
    last_plan: ChangeTracker | None = None
    earlier_sunsets: Mapping[Source, date] = field(default_factory=dict)
    credentials_variables: tuple[str, ...] = ()
    earlier_members: Mapping[str, int] = field(default_factory=dict)

    @property
    def limits(self) -> Limits:
        """The limits of the command; with shards, this shard's part of them."""
        whole = self.policy.limits
        return self.shard.limits_for(whole) if self.shard is not None else whole
