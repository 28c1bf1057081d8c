"""Guards: checks that refuse a plan, and the circuit breaker that stops a sweep.

Before the first DELETE, each `check_` function raises GuardRefused. During the sweep,
`CircuitBreaker` watches the outcomes. Limits are inclusive; 0 means none.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil
from typing import Final, NamedTuple

from invite_sweeper.audit import CompleteRun, DeletedWithin, History, SavedPlan
from invite_sweeper.counts import total
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import MAX_CLOCK_SKEW_S, Outcome, Project
from invite_sweeper.policy import Limits, Policy
from invite_sweeper.program import command
from invite_sweeper.sweep.organization import Organization, labels_of
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.text import (
    describe_duration,
    escape_unprintable,
    plural_form,
    pluralize,
    shorten_list,
)

MIN_COUNT_FOR_SHARE = 10
"""Up to this number of stale invitations, `max_share` is ignored: in a small organization one
or two invitations are half of all. Shards divide it like a limit."""
_MAX_SHOWN = 5


def share_limit(
    limits: Limits, *, seen: int, stale: int, recent: int = 0, shard: Shard | None = None
) -> int | None:
    """Return how many of the seen invitations `max_share` allows to delete; None if it is ignored.

    Exact: 0.29 of 100 is 29, which floating-point multiplication misses.

    Args:
        limits: With shards, this shard's part of them.
        seen: The invitations in scope.
        stale: Those to delete.
        recent: Those that earlier runs have deleted within `period`.
        shard: The shard that the limits are a part for.
    """
    ignored_up_to = MIN_COUNT_FOR_SHARE if shard is None else shard.part_of(MIN_COUNT_FOR_SHARE)
    if stale + recent <= ignored_up_to:
        return None
    return max(0, int(Fraction(str(limits.max_share)) * (seen + recent)) - recent)


class Violation(NamedTuple):
    """One limit that a plan exceeds.

    Attributes:
        message: A sentence with the count and the limit.
        needed: The value of the limit with which the plan would pass; None if deletions are not
            what it limits.
    """

    reason: Reason
    message: str
    needed: float | None = None


def limit_violations(
    organizations: Sequence[Organization],
    limits: Limits,
    recent: DeletedWithin,
    shard: Shard | None = None,
) -> Iterator[Violation]:
    """Yield the limits that the plan exceeds, each once.

    Args:
        organizations: Those in which something may be deleted; their limits are counted together.
        limits: With shards, this shard's part of them.
        recent: What earlier runs deleted within `limits.period`.
        shard: The shard that these limits are a part for; None without shards.
    """
    part = f", the part of shard {shard}" if shard is not None else ""
    counts = total(each.counts for each in organizations)
    labels = labels_of(organizations)
    planned = Counter(each.scope_id for one in organizations for each in one.stale)
    stale, seen = planned.total(), counts.invitations_seen
    if counts.projects_unreadable > limits.max_unreadable_projects:
        unread = [
            Project(each.project_id, each.project_name, each.org_id or "")
            for one in organizations
            for each in one.unread
        ]
        places = shorten_list([describe_place(each, labels) for each in unread], _MAX_SHOWN)
        yield Violation(
            Reason.MAX_UNREADABLE_PROJECTS,
            f"{pluralize(counts.projects_unreadable, 'project')} could not be read: {places}, "
            f"over max_unreadable_projects: {limits.max_unreadable_projects}{part}.",
        )
    if stale and stale + recent.total > limits.max_deletions:
        found = _describe_stale(stale, recent.total, limits)
        message = f"{found} over max_deletions: {limits.max_deletions}{part}."
        yield Violation(Reason.MAX_DELETIONS, message, stale + recent.total)
    projects = {id_: each for one in organizations for id_, each in one.describe_places().items()}
    found_there = {id_: count + recent.by_project.get(id_, 0) for id_, count in planned.items()}
    over = [id_ for id_, n in found_there.items() if n > limits.max_deletions_per_project]
    if over:
        most = max(over, key=lambda id_: found_there[id_])
        where = f" in {describe_place(projects[most], labels)}"
        found = _describe_stale(planned[most], found_there[most] - planned[most], limits, where)
        others = pluralize(len(over) - 1, "other place is", "other places are")
        more = f"; {others} over it, too" if len(over) > 1 else ""
        limit = f"max_deletions_per_project: {limits.max_deletions_per_project}"
        yield Violation(
            Reason.MAX_DELETIONS_PER_PROJECT, f"{found} over {limit}{more}.", found_there[most]
        )
    allowed = share_limit(limits, seen=seen, stale=stale, recent=recent.total, shard=shard)
    if allowed is not None and stale > allowed:
        also = f" and {_describe_recent(recent.total, limits)}" if recent.total else ""
        yield Violation(
            Reason.MAX_SHARE,
            f"{stale:,} stale of {pluralize(seen, 'invitation')} ({stale / seen:.1%}){also} "
            f"{plural_form(stale + recent.total, 'is', 'are')} over max_share: {limits.max_share}.",
            ceil(Fraction(100 * (stale + recent.total), seen + recent.total)) / 100,
        )


def check_limits(
    organizations: Sequence[Organization],
    limits: Limits,
    recent: DeletedWithin,
    shard: Shard | None = None,
) -> None:
    """Raise GuardRefused if the plan exceeds a limit; the arguments are `limit_violations`'s.

    Its message has a line for each limit, and its hint the keys with which it would not be refused.
    """
    violations = tuple(limit_violations(organizations, limits, recent, shard))
    if not violations:
        return
    reasons = tuple(dict.fromkeys(each.reason for each in violations))
    hints = list(dict.fromkeys(each.advice for each in reasons))
    needed = [f"{each.reason}: {each.needed}" for each in violations if each.needed is not None]
    if needed and shard is None:
        keys = f"{', '.join(needed)}, or over_limit: trim"
        hints.append(f"Under limits in the policy, set {keys}.")
    several = len(organizations) > 1
    where = f"In {len(organizations)} organizations together: " if several else ""
    message = where + "\n".join(each.message for each in violations)
    raise GuardRefused(message, hint=" ".join(hints), reasons=reasons)


def describe_place(place: Project, labels: Mapping[str, str]) -> str:
    """Return a project, or the lists of an organization, by name and id, on one line."""
    organization = labels.get(place.org_id, place.org_id)
    if place.id == place.org_id:
        return f"the lists of {organization}"
    of = f" of {organization}" if place.org_id and len(labels) > 1 else ""
    return f"project {escape_unprintable(place.name)} ({place.id}){of}"


def _describe_stale(count: int, recent: int, limits: Limits, where: str = "") -> str:
    also = f" and {_describe_recent(recent, limits)}" if recent else ""
    verb = plural_form(count + recent, "is", "are")
    return f"{pluralize(count, 'stale invitation')}{where}{also} {verb}"


def _describe_recent(count: int, limits: Limits) -> str:
    """Return what earlier runs deleted, with the policy's key."""
    period = describe_duration(limits.period)
    return f"{count:,} that earlier runs deleted within {period} (limits.period)"


def check_clock(skew_s: float | None) -> None:
    """Raise GuardRefused if the local clock is more than 5 minutes off, or cannot be checked.

    Ages are computed with the local clock.

    Args:
        skew_s: Local time minus Atlas's; None without a readable `Date` header.
    """
    if skew_s is None:
        raise GuardRefused(
            "The local clock could not be checked: Atlas's response has no valid Date header.",
            hint="Check for a proxy that removes the Date header.",
            reasons=(Reason.CLOCK,),
        )
    if abs(skew_s) > MAX_CLOCK_SKEW_S:
        difference = describe_duration(timedelta(seconds=abs(skew_s)))
        direction = "ahead of" if skew_s > 0 else "behind"
        raise GuardRefused(
            f"The local clock is {difference} {direction} Atlas's.",
            hint="Synchronize the clock (NTP): ages are computed with it.",
            reasons=(Reason.CLOCK,),
        )


def check_population(
    organizations: Sequence[Organization], before: CompleteRun, policy: Policy
) -> None:
    """Raise GuardRefused if projects or entries dropped by more than `max_population_drop`.

    A list that lost a page looks like a small organization. The numbers of projects, of entries
    and of the entries of each source are compared. Numbers up to 10 are not: there, a single
    acceptance is a tenth.

    Args:
        organizations: One, or all that are left, whose numbers are added up.
        before: What the last complete runs left, without what was deleted since.
    """
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for organization in organizations:
        for what, was, now in _comparisons(organization, before, policy):
            earlier = sums.get(what, (0, 0))
            sums[what] = earlier[0] + was, earlier[1] + now
    for (noun, where), (was, now) in sums.items():
        if _is_over(was, now, policy.limits):
            found = f"{pluralize(now, noun, _PLURALS[noun])}{where}"
            raise _population_error(
                f"{found} {plural_form(now, 'was', 'were')} found, but the last complete run left "
                f"{was:,}",
                policy.limits,
            )


def _comparisons(
    organization: Organization, before: CompleteRun, policy: Policy
) -> Iterator[tuple[tuple[str, str], int, int]]:
    """Yield what is compared (noun and place), the number before, and the number now.

    A list that was not read now, or that Atlas has retired, is not compared: it is said already.
    With a run of another scope, what both read is compared: neither what the policy leaves out
    now, nor entries in lists that had none, which the run may not have read.
    """
    counts, org_id, scope = organization.counts, organization.id, organization.scope
    left_out = {(each.source.value, org_id, each.project_id) for each in organization.unread}
    sources = {each.value for each in policy.sources if each not in organization.retired}
    projects = counts.projects_seen - counts.projects_gone
    is_other = org_id in before.other_scope
    if is_other and scope is not None:
        projects += len(scope.excluded)
        left_out |= {(each, org_id, project.id) for each in sources for project in scope.excluded}
    yield ("project", ""), before.projects.get(org_id, 0), projects
    was: Counter[str] = Counter()
    now: Counter[str] = Counter()
    for key, count in before.entries.items():
        if key[1] == org_id and key[0] in sources and key not in left_out:
            was[key[0]] += count
    for (project, source), count in organization.entries.items():
        if not is_other or (source.value, org_id, project.id) in before.entries:
            now[source.value] += count
    yield ("entry", ""), was.total(), sum(now[source] for source in was)
    for source_name, count in was.items():
        yield ("entry", f" in the list {source_name}"), count, now[source_name]


def check_members(org_id: str, count: int, before: int, limits: Limits) -> None:
    """Raise GuardRefused if active members dropped by more than `max_population_drop`.

    The list may be incomplete, and every invitation by a missing member would be stale. So small
    numbers are compared, too.

    Args:
        before: How many the last complete run found; 0 to ignore a drop.
    """
    if before - count > Fraction(str(limits.max_population_drop)) * before:
        raise _population_error(
            f"{pluralize(count, 'active member')} of the organization {org_id} "
            f"{plural_form(count, 'was', 'were')} found, {before:,} were before",
            limits,
        )


def check_gone(organization: Organization, limits: Limits) -> None:
    """Raise GuardRefused if too many projects were gone that Atlas had just listed."""
    counts = organization.counts
    left = counts.projects_seen - counts.projects_gone
    if _is_over(counts.projects_seen, left, limits):
        message = (
            f"{pluralize(left, 'project')} {plural_form(left, 'was', 'were')} left of the "
            f"{counts.projects_seen:,} that were just listed"
        )
        raise _population_error(message, limits)


_PLURALS: Final = {"project": "projects", "entry": "entries"}


def _is_over(before: int, now: int, limits: Limits) -> bool:
    allowed = Fraction(str(limits.max_population_drop)) * before
    return before > MIN_COUNT_FOR_SHARE and before - now > allowed


def _population_error(message: str, limits: Limits) -> GuardRefused:
    return GuardRefused(
        f"{message}: the drop is over max_population_drop: {limits.max_population_drop}.",
        hint=Reason.MAX_POPULATION_DROP.advice,
        reasons=(Reason.MAX_POPULATION_DROP,),
    )


def check_plan_sha256(saved: SavedPlan, expected: str) -> None:
    """Raise GuardRefused if the file of a plan is not the one that a second person read."""
    if saved.sha256 != expected.strip().lower():
        raise GuardRefused(
            f"The plan {saved.path} has the SHA-256 {saved.sha256}, not {expected}.",
            hint=f"Read it again: {command('audit', 'show', str(saved.path))}",
            reasons=(Reason.PLAN,),
        )


def check_plan(
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
        message = f"The plan's creation time {start.now} is in the future."
    elif now - created_at > max_age:
        message = (
            f"The plan is too old: it was created over {describe_duration(now - created_at)} ago, "
            f"and the limit is {describe_duration(max_age)}."
        )
    elif frozenset(start.organizations) != policy.organization_ids:
        message = "The plan was created for other organizations than the policy's."
    elif start.base_url != base_url:
        message = f"The plan was created for {start.base_url}, not {base_url}."
    elif start.policy_sha256 != policy.sha256:
        message = "The plan was created with another policy."
    elif (run := history.applied_by(saved.sha256)) is not None:
        message = f"Run {run.file.number} has already applied the plan."
    else:
        return
    raise GuardRefused(
        f"{saved.path}: {message}",
        hint=f"Create a new plan with: {command('plan', '--policy', 'POLICY')}",
        reasons=(Reason.PLAN,),
    )


class CircuitBreaker:
    """Decides from the last outcomes whether a sweep must stop.

    One command has one breaker. When it opens in one organization, nothing more is deleted in
    any: what was decided about the others came from the same program, policy and Atlas.

    After the canary (the first deletions, which are sent before all others), it opens if more
    than half of them failed. After that, once the window is full, it opens if the share of
    failed or of already gone invitations in the window exceeds its limit. The removal of a
    user who had just accepted counts as a failure.

    Attributes:
        reason: Why it opened; None while it is closed.
    """

    def __init__(self, limits: Limits) -> None:
        self.reason: str | None = None
        self._limits = limits
        self._window_outcomes: deque[Outcome] = deque()
        self._window_failed = 0
        self._window_gone = 0
        self._seen = 0
        self._failed = 0
        self._window_size = limits.breaker_window
        self._max_failed = self._max_count(limits.max_failure_share)
        self._max_gone = self._max_count(limits.max_already_gone_share)

    @property
    def canary_left(self) -> int:
        """How many of the first deletions must still end before any other is sent."""
        return max(0, self._limits.canary - self._seen)

    def record(self, outcome: Outcome) -> str | None:
        """Record one outcome; return the reason if the sweep must stop, else None."""
        reason = self._record(outcome)
        self.reason = self.reason or reason
        return reason

    def _record(self, outcome: Outcome) -> str | None:
        outcome = Outcome.FAILED if outcome is Outcome.ACCEPTED_DURING else outcome
        window = self._window_outcomes
        window.append(outcome)
        if outcome is not Outcome.DELETED:
            self._count(outcome, 1)
            self._failed += outcome is Outcome.FAILED
        if len(window) > self._window_size and (oldest := window.popleft()) is not Outcome.DELETED:
            self._count(oldest, -1)
        self._seen += 1
        if self._seen == self._limits.canary:
            return self._check_canary()
        return self._check_window() if len(window) == self._window_size else None

    def _count(self, outcome: Outcome, by: int) -> None:
        if outcome is Outcome.FAILED:
            self._window_failed += by
        elif outcome is Outcome.ALREADY_GONE:
            self._window_gone += by

    def _max_count(self, share: float) -> int:
        """Return the highest allowed count in a full window, exact for the policy's decimals."""
        return int(Fraction(str(share)) * self._limits.breaker_window)

    def _check_window(self) -> str | None:
        limits = self._limits
        if self._window_failed > self._max_failed:
            return self._describe(
                self._window_failed, f"failed, over max_failure_share: {limits.max_failure_share}"
            )
        if self._window_gone > self._max_gone:
            return self._describe(
                self._window_gone,
                f"were already gone, over max_already_gone_share: {limits.max_already_gone_share}",
            )
        return None

    def _describe(self, count: int, reason: str) -> str:
        return f"{count} of the last {len(self._window_outcomes)} deletions {reason}."

    def _check_canary(self) -> str | None:
        if self._failed * 2 <= self._seen:
            return None
        return f"{self._failed} of the first {self._seen} deletions (the canary) failed."
