"""Whether the plan of a dry run may be applied: to what it was made for, in time, and once."""

from datetime import datetime, timedelta
from pathlib import Path

from invite_sweeper.audit import History, SavedPlan
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.policy import Policy
from invite_sweeper.program import command
from invite_sweeper.text import describe_duration


def check_sha256(saved: SavedPlan, expected: str) -> None:
    """Raise GuardRefused if the file of a plan is not the one that a second person read."""
    if saved.sha256 != expected.strip().lower():
        raise GuardRefused(
            f"The plan {saved.path} has the SHA-256 {saved.sha256}, not {expected}.",
            hint=f"Read it again: {command('audit', 'show', str(saved.path))}",
            reasons=(Reason.PLAN,),
        )


def check_applicable(
    saved: SavedPlan,
    policy: Policy,
    *,
    base_url: str,
    now: datetime,
    max_age: timedelta,
    history: History,
) -> None:
    """Raise GuardRefused if a plan does not apply to a sweep.

    Args:
        policy: Of the sweep, for its organizations.
        base_url: Of Atlas.
        now: The instant of the sweep.
        max_age: From which a plan is refused.
        history: Of the audit directory, which says whether a sweep completed the plan.
    """
    start = saved.start
    created_at = datetime.fromisoformat(start.now)
    if created_at > now:
        raise _refused(f"The plan's creation time {start.now} is in the future.", saved.path)
    if now - created_at > max_age:
        raise _refused(
            f"The plan is too old: it was created over {describe_duration(now - created_at)} ago, "
            f"and the limit is {describe_duration(max_age)}.",
            saved.path,
        )
    if frozenset(start.organizations) != policy.organization_ids:
        message = "The plan was created for other organizations than the policy's."
        raise _refused(message, saved.path)
    if start.base_url != base_url:
        raise _refused(f"The plan was created for {start.base_url}, not {base_url}.", saved.path)
    if start.policy_sha256 != policy.sha256:
        raise _refused("The plan was created with another policy.", saved.path)
    if (run := history.applied_by(saved.sha256)) is not None:
        raise _refused(f"Run {run.file.number} has already applied the plan.", saved.path)


def _refused(message: str, path: Path) -> GuardRefused:
    return GuardRefused(
        f"{path}: {message}",
        hint=f"Create a new plan with: {command('plan', '--policy', 'POLICY')}",
        reasons=(Reason.PLAN,),
    )
