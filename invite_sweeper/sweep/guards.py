"""Guards: checks that refuse a plan whole, before its first DELETE.

- Limits: the plans of all organizations together delete no more than each limit of the policy
  allows, what earlier runs deleted within `limits.period` included. Limits are inclusive; 0 means
  none.
- Clock: ages are computed with the local clock, so it is at most 5 minutes off Atlas's.
- Age: deletion begins at most 15 minutes after the last list was read.
- Saved plan: what `sweep --plan` applies was made for the same policy, organizations and host, is
  not too old, and was not applied before.

Each `check_` function raises GuardRefused. The breaker that stops a sweep at work is in `breaker`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain
from math import ceil
from typing import Final, NamedTuple

from invite_sweeper.atlas.responses import REDIRECT, SERVER_ERROR, is_role_missing
from invite_sweeper.audit import History
from invite_sweeper.audit.events import RunStarted
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.json_text import parse_timestamp
from invite_sweeper.models import MAX_CLOCK_SKEW_S, ListUnreadable, Project
from invite_sweeper.outcomes import total
from invite_sweeper.sweep.command import Command
from invite_sweeper.sweep.limits import Exceeded, describe_place
from invite_sweeper.sweep.plan import (
    OrganizationPlan,
    all_deletions,
    count_deletable,
    organization_labels,
)
from invite_sweeper.text import (
    describe_duration,
    plural_form,
    pluralize,
    shorten_list,
    truncate,
)

MAX_PLAN_AGE: Final = timedelta(minutes=15)
"""How long after the last list was read deletion may begin, time asleep included."""
_MAX_SHOWN: Final = 5


class _Violation(NamedTuple):
    """A limit that the plans exceed.

    Attributes:
        message: A sentence for the operator.
        needed: The value of the limit with which the plans would pass; None if deletions are not
            what it limits.
    """

    reason: Reason
    message: str
    needed: float | None


def check_limits(plans: Sequence[OrganizationPlan], command: Command) -> None:
    """Raise GuardRefused if the plans of all organizations together exceed a limit.

    Its message has a line for each limit, and its hint the keys with which it would not be refused.
    """
    violations = tuple(_violations(plans, command))
    if not violations:
        return
    message = "\n".join(violation.message for violation in violations)
    if len(plans) > 1:
        message = f"In {len(plans)} organizations together: {message}"
    hints = _hints(violations, plans, command)
    reasons = tuple(violation.reason for violation in violations)
    check = ""
    if Reason.MAX_UNREADABLE_PROJECTS in reasons:
        hints.append("Each list with its reason:")
        check = command.advisor.check()
    raise GuardRefused(message, hint=" ".join(hints), command=check, reasons=reasons)


def _hints(
    violations: Iterable[_Violation], plans: Sequence[OrganizationPlan], command: Command
) -> list[str]:
    """Return what to do about the limits, and with which values they would not be exceeded."""
    hints: list[str] = []
    needed: list[str] = []
    for violation in violations:
        advice = _advice(violation.reason, plans)
        if advice not in hints:  # several limits have the same
            hints.append(advice)
        if violation.needed is not None:
            needed.append(f"{violation.reason}: {violation.needed}")
    # A shard's limits are parts of the policy's: its numbers are not values for the policy.
    if needed and command.shard is None:
        # The policy does not trim yet: a trimmed plan keeps each limit that has a value here.
        values = ", ".join(needed)
        hints.append(f"Under limits in the policy, set {values}, or over_limit: trim.")
    return hints


def _violations(plans: Sequence[OrganizationPlan], command: Command) -> Iterator[_Violation]:
    """Yield each limit that the plans of all organizations together exceed."""
    yield from _too_many_unreadable(plans, command)
    seen = total(plan.counts for plan in plans).invitations_seen
    deletions = all_deletions(plans)
    for exceeded in command.limits.exceeded(deletions, seen, count_deletable(plans)):
        message = _describe_exceeded(exceeded, seen, organization_labels(plans), command)
        yield _Violation(exceeded.limit.reason, message, needed=exceeded.needed)


def _too_many_unreadable(
    plans: Sequence[OrganizationPlan], command: Command
) -> Iterator[_Violation]:
    """Yield `max_unreadable_projects`, if more lists could not be read: each list counts."""
    limit = command.limits.max_unreadable
    count = total(plan.counts for plan in plans).projects_unreadable
    if count > limit:
        labels = organization_labels(plans)
        lists = [_describe_unread(unreadable, labels) for unreadable in _unread(plans)]
        message = (
            f"{pluralize(count, 'list')} could not be read, over max_unreadable_projects: "
            f"{limit}{_shard_part(command)}: {shorten_list(lists, _MAX_SHOWN)}."
        )
        yield _Violation(Reason.MAX_UNREADABLE_PROJECTS, message, needed=None)


def _describe_exceeded(
    exceeded: Exceeded, seen: int, labels: Mapping[str, str], command: Command
) -> str:
    """Return a sentence about a limit that the plans exceed."""
    limit = exceeded.limit
    count = exceeded.deletions
    stale_text = pluralize(count, "stale invitation")
    value: float = limit.most
    suffix = ""
    if limit.reason is Reason.MAX_SHARE:
        stale_text = f"{count:,} stale of {pluralize(seen, 'invitation')} ({count / seen:.1%})"
        value = command.policy.limits.max_share
    elif limit.place is not None:
        stale_text = f"{stale_text} in {describe_place(limit.place, labels)}"
        if exceeded.other_places:
            others_are = pluralize(exceeded.other_places, "other place is", "other places are")
            suffix = f"; {others_are} over it, too"
    else:
        suffix = _shard_part(command)
    counted_are = _with_recent_are(stale_text, count, limit.used, command)
    return f"{counted_are} over {limit.reason}: {value}{suffix}."


def _shard_part(command: Command) -> str:
    """Return what follows the value of a limit that shards divide: whose part it is."""
    return f", the part of shard {command.shard}" if command.shard is not None else ""


def _unread(plans: Iterable[OrganizationPlan]) -> list[ListUnreadable]:
    """Return the lists of all plans that could not be read."""
    return list(chain.from_iterable(plan.decided.lists.unread for plan in plans))


def _describe_unread(unreadable: ListUnreadable, labels: Mapping[str, str]) -> str:
    """Return a list that could not be read, with its reason."""
    name = unreadable.project_name or ""
    place = Project(unreadable.place_id, name, unreadable.org_id or "")
    where = describe_place(place, labels)
    if _was_not_believed(unreadable):
        # The reason of a row of a wrong type names a person, and the messages of `notify` do not.
        return f"{where}: an answer that is not a complete list"
    return f"{where}: {unreadable.reason.removesuffix('.')}"


def _advice(reason: Reason, plans: Iterable[OrganizationPlan]) -> str:
    """Return what to do about a limit; about unreadable lists, what fits their causes."""
    if reason is not Reason.MAX_UNREADABLE_PROJECTS:
        return reason.advice
    advice: list[str] = []
    unread = _unread(plans)
    if any(is_role_missing(unreadable) for unreadable in unread):
        advice.append("Grant the credentials the role that is missing, or exclude the projects.")
    if any(_is_outage(unreadable) for unreadable in unread):
        advice.append("Run the command again: an outage passes.")
    if any(_was_not_believed(unreadable) for unreadable in unread):
        advice.append("An answer was not a complete list: check for a proxy or cache.")
    advice.append("To sweep without those lists, raise max_unreadable_projects.")
    return " ".join(advice)


def _is_outage(unreadable: ListUnreadable) -> bool:
    """Return whether a list was not read because of an outage."""
    status = unreadable.http_status
    return status is None or status >= SERVER_ERROR


def _was_not_believed(unreadable: ListUnreadable) -> bool:
    """Return whether a list was answered with 2xx, and the answer is not a complete list."""
    status = unreadable.http_status
    return status is not None and status < REDIRECT


def _with_recent_are(stale_text: str, stale: int, recent: int, command: Command) -> str:
    """Return the beginning of a message, up to its verb: "3 stale invitations and 2 … are".

    Args:
        stale_text: How many are stale, in words.
        recent: What earlier runs deleted within `limits.period`, where the limit applies.
    """
    are = plural_form(stale + recent, "is", "are")
    if not recent:
        return f"{stale_text} {are}"
    period = describe_duration(command.policy.limits.period)
    earlier = f"{recent:,} that earlier runs deleted within {period} (limits.period)"
    return f"{stale_text} and {earlier} {are}"


def check_clock(skew_s: float | None) -> None:
    """Raise GuardRefused if the local clock is more than 5 minutes off, or cannot be checked.

    Ages are computed with the local clock.

    Args:
        skew_s: Local time minus Atlas's; None without a readable `Date` header.
    """
    if skew_s is None:
        message = "The local clock could not be checked: Atlas's response has no valid Date header."
        hint = "Check for a proxy that removes the Date header."
    elif abs(skew_s) > MAX_CLOCK_SKEW_S:
        difference = describe_duration(timedelta(seconds=abs(skew_s)))
        direction = "ahead of" if skew_s > 0 else "behind"
        message = f"The local clock is {difference} {direction} Atlas's."
        hint = "Synchronize the clock (NTP): ages are computed with it."
    else:
        return
    raise GuardRefused(message, hint=hint, reasons=(Reason.CLOCK,))


def check_plan(command: Command, *, max_age: timedelta, sha256: str | None = None) -> None:
    """Raise GuardRefused if the saved plan of a command does not apply to it.

    Args:
        max_age: The oldest that a plan may be.
        sha256: Of the file that a second person read; None without one.
    """
    saved = command.saved
    if saved is None:
        return
    if sha256 is not None and saved.sha256 != sha256.strip().lower():
        raise GuardRefused(
            f"The plan {saved.path} has the SHA-256 {saved.sha256}, not {sha256}.",
            hint="Read it again:",
            command=command.advisor.read_plan(str(saved.path)),
            reasons=(Reason.PLAN,),
        )
    words = ["--shard", str(command.shard)] if command.shard is not None else []
    for project in saved.start.projects:
        words += ["--project", project]
    if command.history.missing:  # without it, the new plan is refused, too
        words.append("--accept-missing")
    new_plan = command.advisor.new_plan(*words)
    why_refused = (
        why_expired(saved.start, max_age=max_age, now=command.now)
        or _why_of_other_run(saved.start, command)
        or why_used(saved.sha256, command.history)
    )
    if why_refused:
        raise GuardRefused(
            f"{saved.path}: {why_refused}",
            hint="Create a new plan with:",
            command=new_plan,
            reasons=(Reason.PLAN,),
        )
    # The last question, as a plan that is refused anyway needs no file to be restored.
    why_doubtful = why_possibly_used(parse_timestamp(saved.start.now), command.history)
    if why_doubtful:
        raise GuardRefused(
            f"{saved.path}: {why_doubtful}",
            hint="Restore that file from a copy. If it is lost, create a new plan with:",
            command=new_plan,
            reasons=(Reason.PLAN,),
        )


def _why_of_other_run(start: RunStarted, command: Command) -> str:
    """Return how the run that made a plan differs from this one; "" where it does not."""
    if frozenset(start.organizations) != command.policy.organization_ids:
        return "The plan was created for other organizations than the policy's."
    if start.base_url != command.base_url:
        return f"The plan was created for {start.base_url}, not {command.base_url}."
    if start.policy_sha256 != command.policy.sha256:
        return "The plan was created with another policy."
    return ""


def check_plan_age(age_s: float) -> None:
    """Raise GuardRefused if the last list was read too long ago; exactly 15 minutes is allowed.

    People may have accepted or been invited anew since: the question was open for long, or the
    machine slept. How long the lists took to read does not count: the deadline bounds it.
    """
    age = timedelta(seconds=ceil(age_s))
    if age > MAX_PLAN_AGE:
        raise GuardRefused(
            f"The plan is {describe_duration(age)} old: deletion begins at most "
            f"{describe_duration(MAX_PLAN_AGE)} after the last list was read.",
            hint=Reason.PLAN_AGE.advice,
            reasons=(Reason.PLAN_AGE,),
        )


def why_expired(start: RunStarted, *, max_age: timedelta, now: datetime) -> str:
    """Return why the instant of a dry run forbids to apply its plan now; "" where it does not.

    Exactly `max_age` old is still valid.
    """
    created_at = parse_timestamp(start.now)
    if created_at is None:
        return f"The plan's creation time {truncate(start.now, 40)!r} cannot be read."
    # The clocks of the machines that plan and apply may differ as much as one may from Atlas's.
    if created_at > now + timedelta(seconds=MAX_CLOCK_SKEW_S):
        return f"The plan's creation time {start.now} is more than 5 minutes ahead."
    age = now - created_at
    if age > max_age:
        return (
            f"The plan is too old: it was created over {describe_duration(age)} ago, "
            f"and the limit is {describe_duration(max_age)}."
        )
    return ""


def why_used(sha256: str, history: History) -> str:
    """Return which sweep of an audit directory has completed a plan; "" where none has.

    Args:
        sha256: Of the plan.
    """
    run = history.applied_by(sha256)
    return f"Run {run.number} has already applied the plan." if run is not None else ""


def why_possibly_used(made_at: datetime | None, history: History) -> str:
    """Return why it is not known whether a sweep has completed a plan; "" where it is known.

    Args:
        made_at: The instant of the dry run that made it; None where it cannot be read.
    """
    accepted_at = history.accepted_at
    is_older = accepted_at is not None and (made_at is None or made_at <= accepted_at)
    if history.missing or is_older:
        return "The file of a run is lost: whether that run has applied the plan is not known."
    return ""
