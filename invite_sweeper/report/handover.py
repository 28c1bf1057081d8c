"""A plan that one person makes and another one reads: what `plan` and `audit show` end with.

The file of a dry run can be applied if it is whole, no guard refused it, it is not too old, and no
sweep has completed it. Only then its SHA-256 is shown, which `sweep --plan-sha256` asks for.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import msgspec

from invite_sweeper.advice import Advisor
from invite_sweeper.audit import History, RunRecord
from invite_sweeper.audit.events import RunStarted
from invite_sweeper.audit.plans import check_made_plan
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import parse_timestamp, rfc3339
from invite_sweeper.report.document import Fact
from invite_sweeper.report.wording import describe_instant, display_text
from invite_sweeper.sweep.guards import why_expired, why_possibly_used, why_used


class PlanToApply(msgspec.Struct, frozen=True, kw_only=True):
    """A plan that `sweep --plan` accepts.

    Attributes:
        file: The copy of `--out`, else the file of the run.
        sha256: Of the file before it was compressed, 64 hex digits: `--plan-sha256`.
        valid_until: The last instant at which a sweep takes it, RFC 3339.
    """

    file: str
    sha256: str
    valid_until: str


def plan_to_apply(
    run: RunRecord,
    sha256: str,
    read_history: Callable[[], History | None],
    *,
    max_age: timedelta,
    now: datetime,
) -> PlanToApply:
    """Return what a second person needs of the plan of a dry run.

    Whether a policy still fits is not asked: the plan may be applied elsewhere.

    Args:
        run: The dry run, as its file has it, or a copy of that.
        sha256: Of this file before it was compressed.
        read_history: Returns that of the audit directory in which the plan may have been used; None
            if that is not known. It is called if nothing else forbids to apply the plan.
        max_age: How long a plan is valid.

    Raises:
        GuardRefused: It cannot be applied, by any policy.
        DamagedLog: The log of that audit directory is damaged, so that a sweep is refused.
    """
    check_made_plan(run)
    refusal = why_expired(run.start, max_age=max_age, now=now)
    if not refusal:
        history = read_history()
        if history is not None:
            refusal = why_used(sha256, history) or why_possibly_used(run.run_id, history)
    created_at = parse_timestamp(run.start.now)
    if refusal or created_at is None:  # a plan without an instant has expired
        raise GuardRefused(refusal)
    valid_until = rfc3339(created_at + max_age)
    return PlanToApply(file=str(run.file.path), sha256=sha256, valid_until=valid_until)


def lines_to_pass_on(plan: PlanToApply, advisor: Advisor, *more: str) -> Iterator[Fact]:
    """Yield what `plan` ends with: the plan, and the commands that read and apply it.

    Args:
        more: Further options of the sweep that applies it.
    """
    file = _as_argument(plan.file)
    yield Fact("Plan", file)
    yield Fact("SHA-256", plan.sha256)
    yield Fact("Valid until", describe_instant(plan.valid_until))
    yield Fact("To read it", advisor.read_plan(file))
    yield Fact("To apply it", advisor.apply_plan(file, plan.sha256, *more))


def lines_to_approve(start: RunStarted, plan: PlanToApply) -> Iterator[Fact]:
    """Yield what `audit show` ends with: the policy, until when it is valid, its SHA-256."""
    policy = f"{display_text(start.policy_path)}, whose SHA-256 is {start.policy_sha256}"
    yield Fact("Made with", policy)
    yield Fact("Valid until", describe_instant(plan.valid_until))
    yield Fact("SHA-256", plan.sha256)


def _as_argument(path: str) -> str:
    """Return a path as no command takes it for an option, or for the number or id of a run."""
    is_ambiguous = path[0] == "-" or path[0].isdecimal()
    return f"./{path}" if is_ambiguous else path
