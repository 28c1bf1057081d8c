"""Builds the runs of a command from options, policy, earlier runs and saved plan."""

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from invite_sweeper import __version__
from invite_sweeper.atlas import Credentials
from invite_sweeper.atlas.credentials import credentials_variables
from invite_sweeper.audit import AuditLog, History, LogPath, PlanReader, PlanScope, RunStarted
from invite_sweeper.audit.events import Planned
from invite_sweeper.audit.history import APPLIED_CODES
from invite_sweeper.cli.confirm import Confirmation
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.results import plan_presenter
from invite_sweeper.cli.run_session import RunSession
from invite_sweeper.endings import RunWarning, WarningCode, WarningLevel
from invite_sweeper.models import Population
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.policy.loader import parse_duration_option
from invite_sweeper.report.run_view import KeptInvitations
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.changes import ChangeTracker, merge_changes
from invite_sweeper.sweep.decision_steps import KeepOutsidePlan, Step, standing_steps
from invite_sweeper.sweep.group import GroupConfig, RunPlan
from invite_sweeper.sweep.notice import notice_steps
from invite_sweeper.sweep.previous_runs import read_previous_runs
from invite_sweeper.sweep.recovery import resolvable
from invite_sweeper.sweep.run_config import RunConfig
from invite_sweeper.sweep.saved_plan import (
    AppliedPlan,
    PlanContext,
    SavedPlan,
    SavedPlanFilter,
    check_applicable,
)
from invite_sweeper.sweep.scope import Shard, scope_sha256
from invite_sweeper.sweep.summary import RunSummary


def plan_max_age(options: RunOptions) -> timedelta:
    """Return the age from which a saved plan is refused."""
    return parse_duration_option("--plan-max-age", options.plan_max_age)


class CommandContext(NamedTuple):
    """The facts of a command that are fixed before its runs start.

    Attributes:
        policy: For all organizations.
    """

    session: RunSession
    policy: Policy
    shard: Shard | None
    log_path: LogPath
    plan_max_age: timedelta

    @property
    def options(self) -> RunOptions:
        """The options of the command."""
        return self.session.options

    @property
    def now(self) -> datetime:
        """The one instant of the command."""
        return self.session.now

    @property
    def base_url(self) -> str:
        """The URL of Atlas."""
        return str(self.session.base_url)

    @property
    def plan_context(self) -> PlanContext:
        """Return what a saved plan of this command is valid for."""
        return PlanContext(
            run_id=self.session.run_id,
            now=self.now.isoformat(),
            tool_version=__version__,
            base_url=self.base_url,
            organizations=tuple(sorted(self.policy.organization_ids)),
            policy_sha256=self.policy.sha256,
            policy_path=str(self.options.policy.absolute()),
            audit_log=str(Path(self.log_path.template).absolute()),
        )


def load_usable_plan(context: CommandContext, history: History) -> SavedPlan | None:
    """Return the plan of `--plan`; None without the option.

    Raises:
        GuardRefused: The plan was edited, is too old, was used, or belongs to another
            organization, host or policy, or its file has another SHA-256 than `--plan-sha256`.
    """
    if context.options.plan is None:
        return None
    path = context.options.plan
    saved = saved_plan.load(path)
    saved_plan.check_sha256(saved, context.options.plan_sha256)
    max_age = context.plan_max_age
    check_applicable(saved, context.plan_context, now=context.now, max_age=max_age)
    if history.applied_by(saved.digest) is not None:
        raise saved_plan.used_error(path)
    if (applied := saved_plan.read_applied(path, saved)) is not None:
        by = f"run {applied.run_id} with the log {applied.audit_log}"
        raise saved_plan.used_error(path, by)
    return saved


class RunPart(NamedTuple):
    """One run of a command: the part of the policy for one credential."""

    run_id: str
    policy: Policy
    credentials: Credentials


class CommandSetup:
    """Builds the configuration of the runs of a command; requires the lock of the audit log.

    Attributes:
        kept_invitations: Collects the kept invitations; None without `--verbose`.
        plan_saved: The plan was saved to the file of `--out`.
    """

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._history = read_previous_runs(context.log_path, context.session.check_deadline)
        self._saved_plan = load_usable_plan(context, self._history)
        self._plan_filter = (
            SavedPlanFilter(self._saved_plan) if self._saved_plan is not None else None
        )
        self.kept_invitations = KeptInvitations(context.now) if context.options.verbose else None
        self.plan_saved = False
        self._actors: dict[str, None] = {}

    @property
    def mode(self) -> str:
        """Return the mode of the runs as the audit log names it."""
        return "dry-run" if self._context.options.dry_run else "sweep"

    @property
    def _limits(self) -> Limits:
        limits, shard = self._context.policy.limits, self._context.shard
        return shard.limits_for(limits) if shard is not None else limits

    @property
    def organization_names(self) -> dict[str, str]:
        """The names of organizations as earlier runs recorded them, by id."""
        return self._history.organization_names()

    def group_config(self, audit: AuditLog, stop: StopRequest) -> GroupConfig:
        """Return what the runs decide together."""
        return GroupConfig(
            confirm=self._confirmation(audit, stop),
            on_plans_accepted=partial(self._on_plans_accepted, audit),
        )

    def record_plan_use(self, audit: AuditLog, exit_code: int) -> None:
        """Record beside the saved plan that it was applied, if the command has completed."""
        options, saved = self._context.options, self._saved_plan
        was_used = not options.dry_run and exit_code in APPLIED_CODES
        if options.plan is None or saved is None or not was_used:
            return
        log = str(audit.path.absolute())
        applied = AppliedPlan(saved.digest, self._context.session.run_id, log)
        saved_plan.record_applied(options.plan, applied)

    def run_config(self, part: RunPart) -> RunConfig:
        """Return the configuration of one run."""
        context = self._context
        self._actors[part.credentials.actor] = None
        return RunConfig(
            policy=part.policy,
            now=context.now,
            run_id=part.run_id,
            dry_run=self._context.options.dry_run,
            clock=time.monotonic,
            started_s=context.session.started_s,
            shard=context.shard,
            started=self._run_started(part),
            credentials_variables=credentials_variables(
                context.session.environment, part.policy.organizations[0].credentials or ""
            ),
            steps=tuple(self._decision_steps()),
            previous_population=self._previous_population(part.policy),
            open_intents=resolvable(
                self._history.open_intents(), part.policy.organization_ids, context.base_url
            ),
            last_plan=self._last_plan(part.policy),
            earlier_sunsets=self._history.sunsets(context.base_url),
            earlier_members={}
            if context.options.accept_population
            else self._history.members(context.base_url),
        )

    def _last_plan(self, policy: Policy) -> ChangeTracker | None:
        """Return the plan to compare with; None for a saved plan, which is only a part."""
        if self._saved_plan is not None:
            return None
        context = self._context
        base_url, organizations = context.base_url, policy.organization_ids
        scope = PlanScope(context.policy.sha256, organizations, base_url)
        previous = self._history.last_plan(scope)
        return ChangeTracker(previous) if previous is not None else None

    def _previous_population(self, policy: Policy) -> Population | None:
        if self._context.options.accept_population:
            return None
        return self._history.population(
            scope_sha256=scope_sha256(policy),
            organizations=policy.organization_ids,
            base_url=self._context.base_url,
        )

    def _confirmation(self, audit: AuditLog, stop: StopRequest) -> Confirmation[RunSummary] | None:
        options = self._context.options
        if options.dry_run or options.yes or not Confirmation.is_interactive():
            return None
        return Confirmation(stop, plan_presenter(options, audit, self._limits))

    def _run_started(self, part: RunPart) -> RunStarted:
        context = self._context
        saved = self._saved_plan
        return RunStarted(
            mode=self.mode,
            tool_version=__version__,
            policy_sha256=context.policy.sha256,
            policy_path=str(context.options.policy),
            base_url=context.base_url,
            actor=part.credentials.actor,
            now=context.now.isoformat().replace("+00:00", "Z"),
            shard=None if context.shard is None else str(context.shard),
            organizations=tuple(sorted(part.policy.organization_ids)),
            group_id=context.session.run_id,
            scope_sha256=scope_sha256(part.policy),
            credentials=part.policy.organizations[0].credentials,
            plan_sha256=saved.digest if saved is not None else None,
        )

    def _decision_steps(self) -> Iterator[Step]:
        """Yield the steps after the policy's decision, in order; each can only keep more."""
        yield from standing_steps(self._history.deletions, self._context.policy.limits.max_bounces)
        context = self._context
        yield from notice_steps(context.policy, self._history, context.base_url, context.now)
        if self._plan_filter is not None:
            yield KeepOutsidePlan(self._plan_filter)
        if self.kept_invitations is not None:
            yield self.kept_invitations.record

    def _on_plans_accepted(
        self, audit: AuditLog, plans: Sequence[RunPlan]
    ) -> tuple[RunWarning, ...]:
        """Save the plan if requested; return remarks, such as differences to a saved plan."""
        if self._context.options.out is not None:
            saved_plan.save(
                self._context.options.out,
                structs.replace(
                    self._context.plan_context,
                    changes=merge_changes([each.changes for each in plans]),
                    organization_names={
                        id_: name for each in plans for id_, name in each.organization_names.items()
                    },
                    actors=tuple(self._actors),
                ),
                self._planned_rows(audit, plans),
            )
            self.plan_saved = True
        found: list[tuple[WarningCode, str]] = []
        if self._plan_filter is not None:
            difference = self._plan_filter.describe_difference()
            found += ((WarningCode.PLAN_DIFFERS, each) for each in difference)
        return tuple(RunWarning(code, each, WarningLevel.REMARK) for code, each in found)

    def _planned_rows(self, audit: AuditLog, plans: Sequence[RunPlan]) -> Iterator[Planned]:
        for run_id, spans, *_ in plans:
            for span in spans:
                reader = PlanReader(audit.fd, span, run_id)
                while (planned := reader.peek()) is not None:
                    reader.pop()
                    yield Planned.from_invitation(
                        planned.invitation,
                        self._context.now,
                        rule=planned.rule,
                        new=planned.new,
                        bounced=planned.bounced,
                    )
