"""What is settled before a run begins: its plan, its precedents, its question."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import TYPE_CHECKING

from invite_sweeper import __version__
from invite_sweeper.amendments import amendments
from invite_sweeper.audit import AuditLog, PlanReader, PlanSpan, invitation_fields
from invite_sweeper.ceiling import Ceiling
from invite_sweeper.cli import plan_files
from invite_sweeper.cli.asking import Question
from invite_sweeper.cli.facts import Facts
from invite_sweeper.cli.precedents import Precedents, keep_copy, kept_policy
from invite_sweeper.errors import GuardRefused
from invite_sweeper.guard import Population
from invite_sweeper.job import Job
from invite_sweeper.leftovers import Leftovers
from invite_sweeper.plan import SavedPlan, check
from invite_sweeper.policy import Limits
from invite_sweeper.quarantine import Comparison
from invite_sweeper.selection import Decision, Selector
from invite_sweeper.stop import Stop

if TYPE_CHECKING:
    from invite_sweeper.report.kept import KeptNames

_SHOWN = 20


class Preparation:
    """Makes the job of a run; the lock of the audit log is held by now.

    Attributes:
        dry_run: Asked for, or forced by the quarantine of a changed policy.
        kept: Takes down the kept invitations by name, where the result is to tell them.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._precedents = Precedents.of(facts.target)
        self._comparison = self._quarantine()
        self._saved = self._load_plan()
        self._ceiling = Ceiling(self._saved) if self._saved is not None else None
        self.dry_run = facts.order.dry_run or self._comparison is not None
        self.kept = self._kept_names()
        self._leftovers = Leftovers() if len(facts.policy.sources) > 1 else None

    @property
    def mode(self) -> str:
        """The run's name in the audit log."""
        return "dry-run" if self.dry_run else "sweep"

    @property
    def _limits(self) -> Limits:
        whole, shard = self._facts.policy.limits, self._facts.shard
        return shard.share_of(whole) if shard is not None else whole

    def job(self, audit: AuditLog, stop: Stop) -> Job:
        """Give what the run is asked to do.

        Raises:
            RunError: An earlier run's log is damaged, or the policy's copy cannot be kept.
        """
        facts, order, limits = self._facts, self._facts.order, self._facts.policy.limits
        if limits.quarantine and not self.dry_run:
            keep_copy(facts.target, facts.policy, order.policy.read_bytes())
        shard = None if facts.shard is None else str(facts.shard)
        return Job(
            policy=facts.policy,
            now=facts.now,
            run_id=facts.run_id,
            dry_run=self.dry_run,
            clock=time.monotonic,
            started_s=facts.started_s,
            shard=facts.shard,
            confirm=self._question(audit, stop),
            preamble=self._preamble(shard),
            amend=self._amend(),
            before=self._population(shard),
            open_intents=self._precedents.open_intents(
                facts.policy.organization_ids, facts.base_url
            ),
            passed=partial(self._passed, audit),
            refusal=self._refusal,
        )

    def _kept_names(self) -> "KeptNames | None":
        if not self._facts.order.verbose:
            return None
        from invite_sweeper.report.kept import KeptNames

        return KeptNames(self._facts.now)

    def _population(self, shard: str | None) -> Population | None:
        if self._facts.order.accept_population:
            return None
        organizations = self._facts.policy.organization_ids
        return self._precedents.population(shard, organizations, self._facts.base_url)

    def _load_plan(self) -> SavedPlan | None:
        facts, order = self._facts, self._facts.order
        if order.plan is None:
            return None
        saved = plan_files.load(order.plan)
        check(
            saved,
            facts.basis,
            now=facts.now,
            max_age=order.plan_max_age,
            same_policy=order.policy_named,
        )
        if order.require_approval is not None:
            plan_files.require_approval(order.plan, saved.digest, order.require_approval)
        if self._precedents.has_carried_out(saved.digest):
            raise GuardRefused(
                f"The plan {order.plan} has been carried out already.",
                mend="Make another with: invite-sweeper plan --out FILE",
            )
        return saved

    def _quarantine(self) -> Comparison | None:
        facts = self._facts
        if not facts.policy.limits.quarantine or facts.order.dry_run:
            return None
        last = self._precedents.last_policy_sha256()
        if last in {None, facts.policy.sha256} or facts.order.accept_policy == facts.policy.sha256:
            return None
        before = kept_policy(facts.target, last or "")
        return Comparison(Selector(before, facts.now) if before is not None else None)

    def _question(self, audit: AuditLog, stop: Stop) -> Question | None:
        order = self._facts.order
        if self.dry_run or order.yes or not Question.is_due():
            return None
        from invite_sweeper.cli.tables import presentation

        return Question(stop, presentation(order, audit, self._limits))

    def _preamble(self, shard: str | None) -> Mapping[str, object]:
        facts = self._facts
        preamble: dict[str, object] = {
            "mode": self.mode,
            "tool_version": __version__,
            "policy_sha256": facts.policy.sha256,
            "policy_path": str(facts.order.policy),
            "base_url": facts.base_url,
            "actor": facts.actor,
            "now": facts.now.isoformat().replace("+00:00", "Z"),
            "shard": shard,
            "organizations": sorted(facts.policy.organization_ids),
        }
        if self._saved is not None:
            preamble["plan_sha256"] = self._saved.digest
        return preamble

    def _amend(self) -> Callable[[Decision], Decision]:
        most = self._facts.policy.limits.max_bounces
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
        if self._facts.order.out is not None:
            plan_files.save(self._facts.order.out, self._facts.basis, self._rows(audit, spans))
        left_out = tuple(self._ceiling.left_out()) if self._ceiling is not None else ()
        stays = self._leftovers.sentences() if self._leftovers is not None else ()
        return (*left_out, *stays)

    def _rows(self, audit: AuditLog, spans: Sequence[PlanSpan]) -> Iterator[Mapping[str, object]]:
        facts = self._facts
        with PlanReader.open(audit.path, facts.run_id) as lane:
            for span in spans:
                planned = lane(span)
                while (one := planned.head()) is not None:
                    planned.advance()
                    yield {**invitation_fields(one.invitation, facts.now), "rule": one.rule}

    def _refusal(self) -> tuple[GuardRefused, tuple[str, ...]] | None:
        """End a quarantined run, once its plan is there to be read."""
        found = self._comparison
        if found is None:
            return None
        said = [f"The new policy adds {who}" for who in found.added[:_SHOWN]]
        said += [f"The new policy takes away {who}" for who in found.removed[:_SHOWN]]
        if found.before is None:
            said.append("No copy of the policy before was kept, so all that is stale counts as new")
        return found.refusal(self._facts.policy.sha256), tuple(said)
