"""RunConfig from options, history and saved plan."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial, reduce
from typing import TYPE_CHECKING, NamedTuple

from yarl import URL

from invite_sweeper import __version__
from invite_sweeper.atlas import Credentials
from invite_sweeper.audit import AuditLog, AuditTarget, PlanReader, PlanSpan, invitation_fields
from invite_sweeper.cli.confirm import Question
from invite_sweeper.cli.options import RunOptions
from invite_sweeper.cli.results import presentation
from invite_sweeper.errors import GuardRefused
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.report.run_view import KeptNames
from invite_sweeper.shutdown import Stop
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.guards import Population
from invite_sweeper.sweep.plan import Leftovers
from invite_sweeper.sweep.previous_runs import Comparison, Precedents, keep_copy, kept_policy
from invite_sweeper.sweep.run import Job
from invite_sweeper.sweep.saved_plan import Ceiling, PlanContext, SavedPlan, check
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.sweep.selection import Decision, Selector, amendments

if TYPE_CHECKING:
    from invite_sweeper.report.run_view import KeptNames


# What is known of a run before it begins.


class RunContext(NamedTuple):
    """What is known of a run before it begins.

    Attributes:
        started_s: On the monotonic clock.
    """

    options: RunOptions
    policy: Policy
    now: datetime
    run_id: str
    base_url: URL
    credentials: Credentials
    shard: Shard | None
    target: AuditTarget
    started_s: float

    @property
    def plan_context(self) -> PlanContext:
        """What a plan of this run is valid for."""
        return PlanContext(
            run_id=self.run_id,
            now=self.now.isoformat(),
            tool_version=__version__,
            base_url=str(self.base_url),
            organizations=tuple(sorted(self.policy.organization_ids)),
            policy_sha256=self.policy.sha256,
        )


# What is settled before a run begins: its plan, its precedents, its question.


_SHOWN = 20


class Preparation:
    """Makes the job of a run; the lock of the audit log is held by now.

    Attributes:
        dry_run: Asked for, or forced by the quarantine of a changed policy.
        kept: Takes down the kept invitations by name, where the result is to tell them.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._precedents = Precedents.of(context.target)
        self._comparison = self._quarantine()
        self._saved = self._load_plan()
        self._ceiling = Ceiling(self._saved) if self._saved is not None else None
        self.dry_run = context.options.dry_run or self._comparison is not None
        self.kept = self._kept_names()
        self._leftovers = Leftovers() if len(context.policy.sources) > 1 else None

    @property
    def mode(self) -> str:
        """The run's name in the audit log."""
        return "dry-run" if self.dry_run else "sweep"

    @property
    def _limits(self) -> Limits:
        whole, shard = self._context.policy.limits, self._context.shard
        return shard.share_of(whole) if shard is not None else whole

    def job(self, audit: AuditLog, stop: Stop) -> Job:
        """Give what the run is asked to do.

        Raises:
            RunError: An earlier run's log is damaged, or the policy's copy cannot be kept.
        """
        context, options, limits = self._context, self._context.options, self._context.policy.limits
        if limits.quarantine and not self.dry_run:
            keep_copy(context.target, context.policy, options.policy.read_bytes())
        shard = None if context.shard is None else str(context.shard)
        return Job(
            policy=context.policy,
            now=context.now,
            run_id=context.run_id,
            dry_run=self.dry_run,
            clock=time.monotonic,
            started_s=context.started_s,
            shard=context.shard,
            confirm=self._question(audit, stop),
            preamble=self._preamble(shard),
            amend=self._amend(),
            before=self._population(shard),
            open_intents=self._precedents.open_intents(
                context.policy.organization_ids, str(context.base_url)
            ),
            passed=partial(self._passed, audit),
            refusal=self._refusal,
        )

    def _kept_names(self) -> "KeptNames | None":
        if not self._context.options.verbose:
            return None

        return KeptNames(self._context.now)

    def _population(self, shard: str | None) -> Population | None:
        if self._context.options.accept_population:
            return None
        organizations = self._context.policy.organization_ids
        return self._precedents.population(shard, organizations, str(self._context.base_url))

    def _load_plan(self) -> SavedPlan | None:
        context, options = self._context, self._context.options
        if options.plan is None:
            return None
        path, max_age, key = options.plan
        saved = saved_plan.load(path)
        check(
            saved,
            context.plan_context,
            now=context.now,
            max_age=max_age,
            same_policy=options.policy_named,
        )
        if key is not None:
            saved_plan.require_approval(path, saved.digest, key)
        if self._precedents.has_carried_out(saved.digest):
            raise GuardRefused(
                f"The plan {path} has been carried out already.",
                hint="Make another with: invite-sweeper plan --out FILE",
            )
        return saved

    def _quarantine(self) -> Comparison | None:
        context = self._context
        if not context.policy.limits.quarantine or context.options.dry_run:
            return None
        last = self._precedents.last_policy_sha256()
        if (
            last in {None, context.policy.sha256}
            or context.options.accept_policy == context.policy.sha256
        ):
            return None
        before = kept_policy(context.target, last or "")
        return Comparison(Selector(before, context.now) if before is not None else None)

    def _question(self, audit: AuditLog, stop: Stop) -> Question | None:
        options = self._context.options
        if self.dry_run or options.yes or not Question.is_due():
            return None

        return Question(stop, presentation(options, audit, self._limits))

    def _preamble(self, shard: str | None) -> Mapping[str, object]:
        context = self._context
        preamble: dict[str, object] = {
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
        if self._saved is not None:
            preamble["plan_sha256"] = self._saved.digest
        return preamble

    def _amend(self) -> Callable[[Decision], Decision]:
        most = self._context.policy.limits.max_bounces
        keep_more = amendments(
            bounces=self._precedents.bounces(), max_bounces=most, ceiling=self._ceiling
        )
        looks = [keep_more] if self._comparison is None else [keep_more, self._comparison.look]
        looks += [self.kept.note] if self.kept is not None else []
        looks += [self._leftovers.look] if self._leftovers is not None else []
        if len(looks) == 1:
            return keep_more
        return lambda decision: reduce(lambda so_far, look: look(so_far), looks, decision)

    def _passed(self, audit: AuditLog, spans: Sequence[PlanSpan]) -> tuple[str, ...]:
        """Save the plan where that was asked for; say what a saved one no longer covers."""
        if self._context.options.out is not None:
            saved_plan.save(
                self._context.options.out, self._context.plan_context, self._rows(audit, spans)
            )
        left_out = tuple(self._ceiling.left_out()) if self._ceiling is not None else ()
        stays = self._leftovers.sentences() if self._leftovers is not None else ()
        return (*left_out, *stays)

    def _rows(self, audit: AuditLog, spans: Sequence[PlanSpan]) -> Iterator[Mapping[str, object]]:
        context = self._context
        with PlanReader.open(audit.path, context.run_id) as lane:
            for span in spans:
                planned = lane(span)
                while (one := planned.head()) is not None:
                    planned.advance()
                    yield {**invitation_fields(one.invitation, context.now), "rule": one.rule}

    def _refusal(self) -> tuple[GuardRefused, tuple[str, ...]] | None:
        """End a quarantined run, once its plan is there to be read."""
        found = self._comparison
        if found is None:
            return None
        said = [f"The new policy adds {who}" for who in found.added[:_SHOWN]]
        said += [f"The new policy takes away {who}" for who in found.removed[:_SHOWN]]
        if found.before is None:
            said.append("No copy of the policy before was kept, so all that is stale counts as new")
        return found.refusal(self._context.policy.sha256), tuple(said)
