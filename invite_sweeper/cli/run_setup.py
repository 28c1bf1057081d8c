"""Builds the runs of a command from options, policy, earlier runs and saved plan."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from msgspec import structs

from invite_sweeper import __version__
from invite_sweeper.atlas import Credentials
from invite_sweeper.atlas.credentials import credentials_variables
from invite_sweeper.atlas.lists import SOURCES
from invite_sweeper.audit import AuditLog, History, LogPath, PlanReader, PlanScope, RunStarted
from invite_sweeper.audit.events import Planned
from invite_sweeper.audit.history import APPLIED_CODES
from invite_sweeper.cli.confirm import Confirmation
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.results import plan_presenter
from invite_sweeper.cli.run_session import RunSession
from invite_sweeper.endings import RunWarning, WarningCode, WarningLevel
from invite_sweeper.errors import UsageError
from invite_sweeper.keys import fingerprint, read_public_key
from invite_sweeper.models import Population
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.policy.loader import parse_duration_option
from invite_sweeper.policy.types import population_path_issue
from invite_sweeper.report.population import PopulationFile, PopulationRun
from invite_sweeper.report.run_view import KeptInvitations
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.accepted_policy import AcceptedPolicy, accepted_policy, save_policy_copy
from invite_sweeper.sweep.approval import require_approval
from invite_sweeper.sweep.changes import ChangeTracker, merge_changes
from invite_sweeper.sweep.decision_steps import KeepOutsidePlan, Step, standing_steps
from invite_sweeper.sweep.group import GroupConfig, QuarantineResult, RunPlan
from invite_sweeper.sweep.notice import notice_steps
from invite_sweeper.sweep.plan import RemainingOrgInvitations
from invite_sweeper.sweep.previous_runs import read_previous_runs
from invite_sweeper.sweep.quarantine import PolicyChange
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


class PopulationSettings(NamedTuple):
    """Where a command writes its population.

    Attributes:
        label: The option or policy key that names the file.
        template: The path; its name may contain `{date}` and `{run_id}`.
    """

    label: str
    template: str

    def path(self, now: datetime, run_id: str) -> Path:
        """Return the file of a command."""
        return LogPath(self.template).path_of_run(now=now, run_id=run_id)


def population_settings(
    options: RunOptions, policy: Policy, shard: Shard | None
) -> PopulationSettings | None:
    """Return the settings; None if no population is to be written."""
    label, template = "--population", options.population
    if template is None:
        label, template = "audit.population", policy.audit.population
    if template is None:
        return None
    if issue := population_path_issue(template):
        message, hint = issue
        raise UsageError(f"{label} {template!r} {message}.", hint=f"{hint[:1].upper()}{hint[1:]}.")
    if shard is not None and "{run_id}" not in template:
        raise UsageError(
            f"{label} {template} would be written by every shard.",
            hint="Write {run_id} in the file's name: each shard is a run of its own.",
        )
    return PopulationSettings(label, template)


def plan_max_age(options: RunOptions) -> timedelta:
    """Return the age from which a saved plan is refused."""
    return parse_duration_option("--plan-max-age", options.plan_max_age)


class CommandContext(NamedTuple):
    """The facts of a command that are fixed before its runs start.

    Attributes:
        policy: For all organizations.
        population: Where the population is written; None to not write it.
    """

    session: RunSession
    policy: Policy
    shard: Shard | None
    log_path: LogPath
    plan_max_age: timedelta
    population: PopulationSettings | None = None

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
        GuardRefused: The plan was edited, is too old, was used, is not approved, or belongs to
            another organization, host or policy.
    """
    if context.options.plan is None:
        return None
    path, key = context.options.plan, context.options.require_approval
    saved = saved_plan.load(path)
    max_age = context.plan_max_age
    check_applicable(saved, context.plan_context, now=context.now, max_age=max_age)
    if key is not None:
        require_approval(path, saved, key)
    if history.applied_by(saved.digest) is not None:
        raise saved_plan.used_error(path)
    if (applied := saved_plan.read_applied(path, saved)) is not None:
        by = f"run {applied.run_id} with the log {applied.audit_log}"
        raise saved_plan.used_error(path, by)
    return saved


def _check_accept_policy(context: CommandContext, accepted: AcceptedPolicy | None) -> None:
    """Raise UsageError if `--accept-policy` is set and nothing sets quarantine."""
    if context.options.accept_policy is None or context.policy.limits.quarantine:
        return
    if accepted is None or not accepted.quarantine:
        raise UsageError(
            "`--accept-policy` was given, but the policy sets no quarantine. The last accepted "
            "policy does not either.",
            hint="Remove the option, or set limits: {quarantine: true} in the policy.",
        )


class RunPart(NamedTuple):
    """One run of a command: the part of the policy for one credential."""

    run_id: str
    policy: Policy
    credentials: Credentials


class CommandSetup:
    """Builds the configuration of the runs of a command; requires the lock of the audit log.

    Attributes:
        dry_run: Requested, or forced by the quarantine of a changed policy.
        kept_invitations: Collects the kept invitations; None without `--verbose`.
        plan_saved: The plan was saved to the file of `--out`.
    """

    def __init__(self, context: CommandContext) -> None:
        self._context = context
        self._history = read_previous_runs(context.log_path, context.session.check_deadline)
        self._accepted_policy = accepted_policy(self._history, context.log_path)
        _check_accept_policy(context, self._accepted_policy)
        self._change = self._detect_policy_change()
        self._saved_plan = load_usable_plan(context, self._history)
        self._plan_filter = (
            SavedPlanFilter(self._saved_plan) if self._saved_plan is not None else None
        )
        self.dry_run = context.options.dry_run or self._change is not None
        self.kept_invitations = KeptInvitations(context.now) if context.options.verbose else None
        self.plan_saved = False
        self._actors: dict[str, None] = {}
        self._remaining_org_invitations = (
            RemainingOrgInvitations() if len(context.policy.sources) > 1 else None
        )
        if self._quarantine and not self.dry_run:
            data = context.options.policy.read_bytes()
            save_policy_copy(context.log_path, context.policy, data)

    @property
    def mode(self) -> str:
        """Return the mode of the runs as the audit log names it."""
        return "dry-run" if self.dry_run else "sweep"

    @property
    def _limits(self) -> Limits:
        limits, shard = self._context.policy.limits, self._context.shard
        return shard.limits_for(limits) if shard is not None else limits

    @property
    def _quarantine(self) -> bool:
        """Whether a changed policy is quarantined: the last accepted policy counts, too."""
        accepted = self._accepted_policy
        return self._context.policy.limits.quarantine or (
            accepted is not None and accepted.quarantine
        )

    @property
    def organization_names(self) -> dict[str, str]:
        """The names of organizations as earlier runs recorded them, by id."""
        return self._history.organization_names()

    def group_config(self, audit: AuditLog, stop: StopRequest) -> GroupConfig:
        """Return what the runs decide together."""
        return GroupConfig(
            confirm=self._confirmation(audit, stop),
            on_plans_accepted=partial(self._on_plans_accepted, audit),
            quarantine=self._quarantine_result,
        )

    def record_plan_use(self, audit: AuditLog, exit_code: int) -> None:
        """Record beside the saved plan that it was applied, if the command has completed."""
        options, saved = self._context.options, self._saved_plan
        if options.plan is None or saved is None or self.dry_run or exit_code not in APPLIED_CODES:
            return
        log = str(audit.path.absolute())
        applied = AppliedPlan(saved.digest, self._context.session.run_id, log)
        saved_plan.record_applied(options.plan, applied)

    def open_population(self, parts: Sequence[RunPart]) -> PopulationFile | None:
        """Create the population file of the command, if one is to be written."""
        context = self._context
        if context.population is None:
            return None
        return PopulationFile(
            context.population.path(context.now, parts[0].run_id),
            now=context.now,
            base_url=context.base_url,
            tool_version=__version__,
            runs=[self._population_run(part.policy, part.run_id) for part in parts],
            clock=partial(datetime.now, UTC),
        )

    def _population_run(self, policy: Policy, run_id: str) -> PopulationRun:
        """Return a run as the population describes it, with the requests that it sends."""
        lists = {source: SOURCES[source].list for source in policy.sources}
        shard = self._context.shard
        query = {
            "lists": {
                source.value: f"{o.method} {o.template}{'?' if o.query else ''}{o.query}"
                for source, o in lists.items()
            },
            "projects": policy.projects.model_dump(mode="json"),
            "shard": str(shard) if shard is not None else None,
        }
        path = str(self._context.options.policy)
        organizations = tuple(sorted(policy.organization_ids))
        return PopulationRun(run_id, self.mode, policy.sha256, path, organizations, query)

    def run_config(self, part: RunPart, population: PopulationFile | None = None) -> RunConfig:
        """Return the configuration of one run."""
        context = self._context
        self._actors[part.credentials.actor] = None
        return RunConfig(
            policy=part.policy,
            now=context.now,
            run_id=part.run_id,
            dry_run=self.dry_run,
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
            change=self._change,
            population=population.for_run(part.run_id) if population is not None else None,
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

    def _detect_policy_change(self) -> PolicyChange | None:
        context, accepted = self._context, self._accepted_policy
        option = context.options.accept_policy
        unchanged = {accepted.sha256 if accepted is not None else None, option}
        if not self._quarantine or context.policy.sha256 in unchanged:
            return None
        return PolicyChange(
            context.policy,
            accepted,
            context.now,
            accepted_option=option,
            deletions=self._history.deletions,
        )

    def _confirmation(self, audit: AuditLog, stop: StopRequest) -> Confirmation[RunSummary] | None:
        options = self._context.options
        if self.dry_run or options.yes or not Confirmation.is_interactive():
            return None
        return Confirmation(stop, plan_presenter(options, audit, self._limits))

    def _run_started(self, part: RunPart) -> RunStarted:
        context = self._context
        saved = self._saved_plan
        approver = context.options.require_approval
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
            quarantine=context.policy.limits.quarantine,
            credentials=part.policy.organizations[0].credentials,
            signing_key_env=context.policy.audit.signing_key_env,
            plan_sha256=saved.digest if saved is not None else None,
            plan_approved_by=fingerprint(read_public_key(approver))
            if approver is not None
            else None,
        )

    def _decision_steps(self) -> Iterator[Step]:
        """Yield the steps after the policy's decision, in order; each can only keep more."""
        yield from standing_steps(self._history.deletions, self._context.policy.limits.max_bounces)
        if self._change is not None:  # compared as without a saved plan
            yield self._change.observe
        context = self._context
        yield from notice_steps(context.policy, self._history, context.base_url, context.now)
        if self._plan_filter is not None:
            yield KeepOutsidePlan(self._plan_filter)
        if self.kept_invitations is not None:
            yield self.kept_invitations.record
        if self._remaining_org_invitations is not None:
            yield self._remaining_org_invitations.observe

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
        if self._remaining_org_invitations is not None:
            remaining = self._remaining_org_invitations.warnings()
            found += ((WarningCode.REMAINING_INVITATIONS, each) for each in remaining)
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

    def _quarantine_result(self) -> QuarantineResult:
        """Return what ends a quarantined run after its plan is written, and the difference.

        A dry run only shows what a sweep would be refused for.
        """
        if self._change is None:
            return QuarantineResult()
        error, difference = self._change.as_error(), self._change.difference()
        warnings = [RunWarning(WarningCode.POLICY_CHANGED, each) for each in difference.sentences]
        if self._context.options.dry_run:
            refusal = f"A sweep would be refused: {error.message} {error.hint}"
            warnings.append(RunWarning(WarningCode.WOULD_BE_REFUSED, refusal))
            return QuarantineResult(None, tuple(warnings), difference)
        return QuarantineResult(error, tuple(warnings), difference)
