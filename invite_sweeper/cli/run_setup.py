"""Builds a run's configuration from options, policy, earlier runs and saved plan."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial, reduce
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas import Credentials
from invite_sweeper.audit import AuditLog, LogPath, PlanReader, PlanSpan, invitation_fields
from invite_sweeper.cli.confirm import Confirmation
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.results import plan_presenter
from invite_sweeper.errors import GuardRefused
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.report.run_view import KeptInvitations
from invite_sweeper.shutdown import StopRequest
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.guards import Population
from invite_sweeper.sweep.plan import RemainingOrgInvitations
from invite_sweeper.sweep.previous_runs import (
    PolicyChange,
    PreviousRuns,
    load_policy_copy,
    save_policy_copy,
)
from invite_sweeper.sweep.run import RunConfig
from invite_sweeper.sweep.saved_plan import (
    PlanContext,
    SavedPlan,
    SavedPlanFilter,
    check_applicable,
)
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.selection import Decision, Selector, decision_filter


class RunContext(NamedTuple):
    """The facts of a run that are fixed before it starts.

    Attributes:
        started_s: On the monotonic clock.
        signing_key: Signs the end of the run; None without `audit.signing_key_env`.
    """

    options: RunOptions
    policy: Policy
    now: datetime
    run_id: str
    base_url: URL
    credentials: Credentials
    shard: Shard | None
    log_path: LogPath
    started_s: float
    signing_key: Ed25519PrivateKey | None = None

    @property
    def plan_context(self) -> PlanContext:
        """Return what a plan of this run is valid for."""
        return PlanContext(
            run_id=self.run_id,
            now=self.now.isoformat(),
            tool_version=__version__,
            base_url=str(self.base_url),
            organizations=tuple(sorted(self.policy.organization_ids)),
            policy_sha256=self.policy.sha256,
        )


_MAX_SHOWN = 20


class RunSetup:
    """Builds the configuration of a run; requires the lock of the audit log.

    Attributes:
        dry_run: Requested, or forced by the quarantine of a changed policy.
        kept_invitations: Collects the kept invitations; None without `--verbose`.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._previous_runs = PreviousRuns.find(context.log_path)
        self._change = self._detect_policy_change()
        self._saved_plan = self._load_plan()
        self._plan_filter = (
            SavedPlanFilter(self._saved_plan) if self._saved_plan is not None else None
        )
        self.dry_run = context.options.dry_run or self._change is not None
        self.kept_invitations = self._collect_kept_invitations()
        self._remaining_org_invitations = (
            RemainingOrgInvitations() if len(context.policy.sources) > 1 else None
        )

    @property
    def mode(self) -> str:
        """Return the run's mode as the audit log names it."""
        return "dry-run" if self.dry_run else "sweep"

    @property
    def _limits(self) -> Limits:
        limits, shard = self._context.policy.limits, self._context.shard
        return shard.limits_for(limits) if shard is not None else limits

    def run_config(self, audit: AuditLog, stop: StopRequest) -> RunConfig:
        """Return the configuration of the run.

        Raises:
            RunError: An earlier log is damaged, or the policy's copy cannot be written.
        """
        context, options, limits = self._context, self._context.options, self._context.policy.limits
        if limits.quarantine and not self.dry_run:
            save_policy_copy(context.log_path, context.policy, options.policy.read_bytes())
        shard = None if context.shard is None else str(context.shard)
        return RunConfig(
            policy=context.policy,
            now=context.now,
            run_id=context.run_id,
            dry_run=self.dry_run,
            clock=time.monotonic,
            started_s=context.started_s,
            shard=context.shard,
            confirm=self._confirmation(audit, stop),
            run_started_fields=self._run_started_fields(shard),
            decision_filter=self._decision_filter(),
            previous_population=self._previous_population(shard),
            open_intents=self._previous_runs.open_intents(
                context.policy.organization_ids, str(context.base_url)
            ),
            on_plan_accepted=partial(self._on_plan_accepted, audit),
            policy_change=self._policy_change,
        )

    def _collect_kept_invitations(self) -> KeptInvitations | None:
        if not self._context.options.verbose:
            return None

        return KeptInvitations(self._context.now)

    def _previous_population(self, shard: str | None) -> Population | None:
        if self._context.options.accept_population:
            return None
        organizations = self._context.policy.organization_ids
        return self._previous_runs.population(shard, organizations, str(self._context.base_url))

    def _load_plan(self) -> SavedPlan | None:
        context, options = self._context, self._context.options
        if options.plan is None:
            return None
        path, max_age, key = options.plan
        saved = saved_plan.load(path)
        check_applicable(
            saved,
            context.plan_context,
            now=context.now,
            max_age=max_age,
        )
        if key is not None:
            saved_plan.require_approval(path, saved.digest, key)
        if self._previous_runs.was_applied(saved.digest):
            raise GuardRefused(
                f"The plan {path} has already been applied.",
                hint="Create a new one with: invite-sweeper plan --out FILE",
            )
        return saved

    def _detect_policy_change(self) -> PolicyChange | None:
        context = self._context
        if not context.policy.limits.quarantine or context.options.dry_run:
            return None
        last = self._previous_runs.last_policy_sha256()
        if (
            last in {None, context.policy.sha256}
            or context.options.accept_policy == context.policy.sha256
        ):
            return None
        previous = load_policy_copy(context.log_path, last or "")
        return PolicyChange(Selector(previous, context.now) if previous is not None else None)

    def _confirmation(self, audit: AuditLog, stop: StopRequest) -> Confirmation | None:
        options = self._context.options
        if self.dry_run or options.yes or not Confirmation.is_interactive():
            return None

        return Confirmation(stop, plan_presenter(options, audit, self._limits))

    def _run_started_fields(self, shard: str | None) -> Mapping[str, object]:
        context = self._context
        fields: dict[str, object] = {
            "mode": self.mode,
            "tool_version": __version__,
            "policy_sha256": context.policy.sha256,
            "policy_path": str(context.options.policy),
            "base_url": str(context.base_url),
            "actor": context.credentials.actor,
            "now": context.now.isoformat().replace("+00:00", "Z"),
            "shard": shard,
            "organizations": sorted(context.policy.organization_ids),
        }
        if self._saved_plan is not None:
            fields["plan_sha256"] = self._saved_plan.digest
        return fields

    def _decision_filter(self) -> Callable[[Decision], Decision]:
        max_bounces = self._context.policy.limits.max_bounces
        keep_filter = decision_filter(
            history=self._previous_runs.deletion_history(),
            max_bounces=max_bounces,
            plan_filter=self._plan_filter,
        )
        filters = [keep_filter] if self._change is None else [keep_filter, self._change.observe]
        filters += [self.kept_invitations.record] if self.kept_invitations is not None else []
        filters += (
            [self._remaining_org_invitations.observe]
            if self._remaining_org_invitations is not None
            else []
        )
        if len(filters) == 1:
            return keep_filter
        return lambda decision: reduce(lambda filtered, apply: apply(filtered), filters, decision)

    def _on_plan_accepted(self, audit: AuditLog, spans: Sequence[PlanSpan]) -> tuple[str, ...]:
        """Save the plan if requested; return warnings, such as differences to a saved plan."""
        if self._context.options.out is not None:
            saved_plan.save(
                self._context.options.out,
                self._context.plan_context,
                self._planned_rows(audit, spans),
            )
        difference = (
            tuple(self._plan_filter.describe_difference()) if self._plan_filter is not None else ()
        )
        remaining = (
            self._remaining_org_invitations.warnings()
            if self._remaining_org_invitations is not None
            else ()
        )
        return (*difference, *remaining)

    def _planned_rows(
        self, audit: AuditLog, spans: Sequence[PlanSpan]
    ) -> Iterator[Mapping[str, object]]:
        context = self._context
        with PlanReader.open(audit.path, context.run_id) as reader_for:
            for span in spans:
                reader = reader_for(span)
                while (planned := reader.peek()) is not None:
                    reader.pop()
                    fields = invitation_fields(planned.invitation, context.now)
                    yield {**fields, "rule": planned.rule}

    def _policy_change(self) -> tuple[GuardRefused, tuple[str, ...]] | None:
        """Return the error and messages that end a quarantined run after its plan is written."""
        change = self._change
        if change is None:
            return None
        messages = [
            f"The new policy would also delete {each}" for each in change.added[:_MAX_SHOWN]
        ]
        messages += [f"The new policy would keep {each}" for each in change.removed[:_MAX_SHOWN]]
        if change.previous is None:
            messages.append(
                "The previous policy was not saved, so every stale invitation counts as new"
            )
        return change.as_error(self._context.policy.sha256), tuple(messages)
