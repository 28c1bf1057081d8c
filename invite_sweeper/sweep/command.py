"""What a command is to do: one value, which each part of the sweep takes as it is."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import msgspec

from invite_sweeper import __version__
from invite_sweeper.audit import AuditDirectory, History, RunFile, SavedPlan
from invite_sweeper.audit.events import Mode, RunStarted
from invite_sweeper.errors import Advisor
from invite_sweeper.json_text import rfc3339
from invite_sweeper.policy import Policy
from invite_sweeper.redaction import SECRETS
from invite_sweeper.sweep.limits import RunLimits
from invite_sweeper.sweep.plan import AtlasOrganization
from invite_sweeper.sweep.scope import Shard, scope_sha256
from invite_sweeper.sweep.steps import UNKNOWN_REASONS, Notice


class Command(msgspec.Struct, frozen=True, dict=True):
    """What a command is to do: the policy, the options of the operator, one instant, and the past.

    All of it is known before Atlas is asked for anything, and nothing of it changes during the run.

    Attributes:
        policy: For the organizations of this command.
        policy_path: As the operator wrote it.
        now: The one instant of the run, aware UTC.
        base_url: Of Atlas, without trailing slashes.
        directory: The audit directory.
        run_id: Unique, sorts by time.
        clock: Monotonic seconds; the command began at `started_s`.
        history: What earlier runs of the audit directory did; empty until they are read.
        dry_run: Stop before the first DELETE.
        plan: As the operator named the plan to apply; None without one.
        plan_sha256: Of the plan that a second person read; None without one.
        plan_max_age: The oldest that the plan may be.
        accept_missing: Go on without the files of earlier runs that are lost.
        saved: The plan that limits the deletions; None without one.
        shard: Which part of the organizations this is; None for all.
        shards_used: How many shards have an organization, where this one has none.
        detailed_exit_code: A dry run that finds stale invitations ends with 10.
        only_projects: Names or ids to which the operator narrows the policy's scope; none without.
        restores: The runs whose deletions a restore undoes; None of any other run.
        reason: Why it runs, as the operator wrote it: a ticket, a name; None without one.
        out: Where the plan is copied to; None for nowhere.
        metrics_file: Where the metrics are written, each shard its own; None for nowhere.
        pushgateway: Where the metrics are pushed; None for nowhere.
        advisor: Makes the commands of hints, for the same policy, Atlas and audit directory.
    """

    policy: Policy
    policy_path: str
    now: datetime
    base_url: str
    directory: AuditDirectory
    run_id: str
    plan_max_age: timedelta
    clock: Callable[[], float]
    started_s: float
    history: History = msgspec.field(default_factory=History)
    dry_run: bool = False
    plan: str | None = None
    plan_sha256: str | None = None
    accept_missing: bool = False
    saved: SavedPlan | None = None
    shard: Shard | None = None
    shards_used: int | None = None
    detailed_exit_code: bool = False
    only_projects: tuple[str, ...] = ()
    restores: tuple[RunFile, ...] | None = None
    reason: str | None = None
    out: Path | None = None
    metrics_file: Path | None = None
    pushgateway: str | None = None
    advisor: Advisor = msgspec.field(default_factory=Advisor)

    def current_time(self) -> datetime:
        """Return the time by `now`: a clock set meanwhile cannot hide that `now` was wrong."""
        return self.now + timedelta(seconds=self.clock() - self.started_s)

    @property
    def limits(self) -> RunLimits:
        """What the command may delete; with shards, this shard's part of it."""
        return RunLimits(self.policy.limits, self.shard, self.history.sent)

    @property
    def projects(self) -> tuple[str, ...]:
        """The projects to which the run is narrowed; a saved plan has its own."""
        return self.saved.start.projects if self.saved is not None else self.only_projects

    @property
    def scope_sha256(self) -> str:
        """The hash of what the run reads."""
        return scope_sha256(self.policy, self.projects)

    def projects_seen_before(self, org_id: str) -> int:
        """Return how many projects of an organization the last run that read the same saw, or 0."""
        return self.history.projects_seen(self.base_url, self.scope_sha256, org_id)

    @cached_property
    def notice(self) -> Notice | None:
        """The step that keeps what is stale until its notice is over; None without one."""
        if self.policy.notice is None:
            return None
        announced = self.history.announcements(self.base_url)
        # What a narrowed run does not read is not known: it ends no announcement.
        unknown = {"reaches_out_of_scope"} if self.projects else ()
        return Notice(announced, self.policy.notice.wait, self.now, UNKNOWN_REASONS.union(unknown))

    def run_started(
        self, organizations: Iterable[AtlasOrganization] = (), number: int = 0
    ) -> RunStarted:
        """Return the first line of the run; without organizations, none was connected.

        Args:
            number: Of the run in its audit directory; 0 where no run began.
        """
        is_restore = self.restores is not None
        restored = self.restores or ()
        mode: Mode = "dry-run" if self.dry_run else "sweep"
        return RunStarted(
            mode="restore" if is_restore else mode,
            tool_version=__version__,
            policy_sha256=self.policy.sha256,
            policy_path=self.policy_path,
            organizations=tuple(organization.id for organization in self.policy.organizations),
            actors={organization.id: organization.client.actor for organization in organizations},
            base_url=self.base_url,
            now=rfc3339(self.now),
            shard=str(self.shard) if self.shard is not None else None,
            shards_used=self.shards_used,
            projects=tuple(map(SECRETS.redact, self.projects)),
            scope_sha256=None if is_restore else self.scope_sha256,
            plan_sha256=self.saved.sha256 if self.saved is not None else None,
            restores=tuple(run.run_id for run in restored) if is_restore else None,
            restores_numbers=tuple(run.number for run in restored),
            reason=SECRETS.redact(self.reason) if self.reason is not None else None,
            number=number,
        )
