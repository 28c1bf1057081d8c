"""What a run is given: the policy, the instant, what happened before, and how far it may go."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from invite_sweeper import __version__
from invite_sweeper.audit import CompleteRun, DeletedWithin, History, PlanScope, SavedPlan
from invite_sweeper.audit.events import RunStarted
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.sweep.changes import ChangeTracker
from invite_sweeper.sweep.scope import Shard, scope_sha256
from invite_sweeper.sweep.steps import KeepBounced, KeepOutsidePlan, Notice, Step


@dataclass(frozen=True, slots=True)
class Command:
    """One `sweep` or `plan`.

    Attributes:
        policy: For the organizations of this command.
        policy_path: As the operator wrote it.
        now: The one instant of the run, aware UTC.
        base_url: Of Atlas.
        history: What earlier runs of the audit directory did.
        clock: Monotonic seconds; the command began at `started_s`.
        dry_run: Stop before the first DELETE.
        saved: The plan that limits the deletions; None without one.
        shard: Which part of the organizations this is; None for all.
        accept_population: Ignore a drop in projects, entries or members for this run.
        detailed_exit_code: A dry run that finds stale invitations ends with 10.
    """

    policy: Policy
    policy_path: str
    now: datetime
    base_url: str
    history: History
    clock: Callable[[], float]
    started_s: float
    dry_run: bool = False
    saved: SavedPlan | None = None
    shard: Shard | None = None
    accept_population: bool = False
    detailed_exit_code: bool = False

    @property
    def mode(self) -> str:
        """The mode, as the audit log names it."""
        return "dry-run" if self.dry_run else "sweep"

    @property
    def limits(self) -> Limits:
        """The limits of the command; with shards, this shard's part of them."""
        whole = self.policy.limits
        return self.shard.limits_for(whole) if self.shard is not None else whole

    @property
    def recent(self) -> DeletedWithin:
        """What the runs of the audit directory deleted within `limits.period`."""
        return self.history.deleted_within(self.policy.limits.period, self.now)

    @property
    def before(self) -> CompleteRun | None:
        """What the last complete runs of the same scope left; None where a drop is accepted."""
        if self.accept_population:
            return None
        return self.history.last_complete(scope_sha256(self.policy), self.base_url)

    def steps(self) -> tuple[Step, ...]:
        """Return the steps that follow the policy's decision; each can only keep more."""
        bounced = KeepBounced(self.history, self.policy.limits.max_bounces)
        if self.policy.notice is None:
            return (bounced,)
        announced = self.history.announcements(self.base_url)
        return bounced, Notice(announced, self.policy.notice.wait, self.now)

    def plan_filter(self) -> KeepOutsidePlan | None:
        """Return the step that keeps what the saved plan does not list; None without one."""
        return KeepOutsidePlan(self.saved) if self.saved is not None else None

    def change_tracker(self) -> ChangeTracker | None:
        """Return what compares the plan with the last one; None for a saved plan, or without."""
        if self.saved is not None:
            return None
        organizations = self.policy.organization_ids
        scope = PlanScope(self.policy.sha256, organizations, self.base_url)
        previous = self.history.last_plan(scope)
        if previous is None or previous.run.start is None:
            return None
        return ChangeTracker(previous, previous.run.start.now)

    def run_started(self, actors: dict[str, str]) -> RunStarted:
        """Return the first line of the run.

        Args:
            actors: The client id or public key of each organization, or `token`.
        """
        return RunStarted(
            mode="dry-run" if self.dry_run else "sweep",
            tool_version=__version__,
            policy_sha256=self.policy.sha256,
            policy_path=self.policy_path,
            organizations=tuple(each.id for each in self.policy.organizations),
            actors=actors,
            base_url=self.base_url,
            now=self.now.isoformat().replace("+00:00", "Z"),
            shard=str(self.shard) if self.shard is not None else None,
            scope_sha256=scope_sha256(self.policy),
            plan_sha256=self.saved.sha256 if self.saved is not None else None,
        )
