"""Guards: checks that refuse a plan, and the circuit breaker that stops a sweep.

Before the first DELETE, `check_limits`, `check_clock`, `check_population` and `check_members`
raise GuardRefused. During the sweep, `CircuitBreaker` watches the outcomes. Limits are inclusive;
0 means none.
"""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple

from invite_sweeper.counts import Counts
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import MAX_CLOCK_SKEW_S, Outcome, Population
from invite_sweeper.policy import Limits
from invite_sweeper.sweep.scope import Shard
from invite_sweeper.text import describe_duration, plural_form, pluralize

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


NO_NAMES: Final[Mapping[str, str]] = MappingProxyType({})
NO_COUNTS: Final[Mapping[str, int]] = MappingProxyType({})


class Violation(NamedTuple):
    """One limit that a plan exceeds.

    Attributes:
        message: A sentence with the count and the limit.
    """

    reason: Reason
    message: str


def limit_violations(
    counts: Counts,
    deletions_by_project: Mapping[str, int],
    limits: Limits,
    shard: Shard | None = None,
    places: Mapping[str, str] = NO_NAMES,
    unreadable: Sequence[str] = (),
    recent: Mapping[str, int] = NO_COUNTS,
) -> tuple[Violation, ...]:
    """Return the limits that the plan exceeds; a limit per project once for each project.

    Args:
        counts: Of all plans of the command together.
        deletions_by_project: Their planned deletions by project id.
        limits: With shards, this shard's part of them.
        shard: The shard that these limits are a part for; None without shards.
        places: What the ids of `deletions_by_project` stand for; without a place, a project.
        unreadable: What the projects are called that could not be read.
        recent: DELETEs that earlier runs sent within `limits.period`, by place.
    """
    violations: list[Violation] = []
    part = f", the part of shard {shard}" if shard is not None else ""
    total, seen = sum(deletions_by_project.values()), counts.invitations_seen
    recently = sum(recent.values())
    if counts.projects_unreadable > limits.max_unreadable_projects:
        named = ", ".join(unreadable[:_MAX_SHOWN])
        if len(unreadable) > _MAX_SHOWN:
            named += f" and {len(unreadable) - _MAX_SHOWN} more"
        message = (
            f"{pluralize(counts.projects_unreadable, 'project')} could not be read"
            f"{f': {named}' if named else ''}, "
            f"over max_unreadable_projects: {limits.max_unreadable_projects}{part}."
        )
        violations.append(Violation(Reason.MAX_UNREADABLE_PROJECTS, message))
    if total and total + recently > limits.max_deletions:
        stale = _describe_stale(total, recently, limits)
        message = f"{stale} over max_deletions: {limits.max_deletions}{part}."
        violations.append(Violation(Reason.MAX_DELETIONS, message))
    for project_id, count in deletions_by_project.items():
        earlier = recent.get(project_id, 0)
        if count and count + earlier > limits.max_deletions_per_project:
            where = places.get(project_id, f"project {project_id}")
            message = (
                f"{_describe_stale(count, earlier, limits, f' in {where}')} over "
                f"max_deletions_per_project: {limits.max_deletions_per_project}."
            )
            violations.append(Violation(Reason.MAX_DELETIONS_PER_PROJECT, message))
    allowed = share_limit(limits, seen=seen, stale=total, recent=recently, shard=shard)
    if allowed is not None and total > allowed:
        also = f" and {_describe_recent(recently, limits)}" if recently else ""
        message = (
            f"{total:,} stale of {pluralize(seen, 'invitation')} ({total / seen:.1%}){also} "
            f"{plural_form(total + recently, 'is', 'are')} over max_share: {limits.max_share}."
        )
        violations.append(Violation(Reason.MAX_SHARE, message))
    return tuple(violations)


def check_limits(
    counts: Counts,
    deletions_by_project: Mapping[str, int],
    limits: Limits,
    shard: Shard | None = None,
    places: Mapping[str, str] = NO_NAMES,
    unreadable: Sequence[str] = (),
    recent: Mapping[str, int] = NO_COUNTS,
) -> None:
    """Raise GuardRefused if the plan exceeds a limit; the arguments are `limit_violations`'s."""
    violations = limit_violations(
        counts, deletions_by_project, limits, shard, places, unreadable, recent
    )
    if violations:
        shown = [each.message for each in violations[:_MAX_SHOWN]]
        if len(violations) > _MAX_SHOWN:
            shown.append(f"And {len(violations) - _MAX_SHOWN} more.")
        reasons = tuple(dict.fromkeys(each.reason for each in violations))
        hints = dict.fromkeys(each.advice for each in reasons)
        raise GuardRefused(" ".join(shown), hint=" ".join(hints), reasons=reasons)


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
    previous: Population,
    current: Population,
    limits: Limits,
    *,
    retired: Collection[str] = (),
    gone: int = 0,
    labels: Mapping[str, str] = NO_NAMES,
) -> None:
    """Raise GuardRefused if projects or invitations dropped by more than `max_population_drop`.

    A list that lost a page looks like a small organization. Each count is compared alone, and
    so are their totals: a source that is empty must not hide behind a large one. Previous
    counts up to 10 are not compared: there, a single acceptance is a tenth.

    Args:
        previous: What the last complete runs left; a part that is missing is not compared.
        current: What this run found.
        retired: Sources that Atlas no longer serves: their invitations are not visible, which
            is not a drop.
        gone: Projects that this run listed and that were gone when it read them.
        labels: The names of the organizations with their ids, by id.
    """
    for what, was, now in _comparisons(previous, current, frozenset(retired), labels):
        _check_drop(was, now, f"found, but the last complete run left {was:,}", what, limits)
    listed = current.projects + gone
    _check_drop(
        listed,
        current.projects,
        f"left of the {listed:,} that were just listed",
        ("project", ""),
        limits,
    )


def _comparisons(
    previous: Population, current: Population, retired: frozenset[str], labels: Mapping[str, str]
) -> Iterator[tuple[tuple[str, str], int, int]]:
    """Yield what is compared (noun and place), the previous and the current count."""
    yield ("project", ""), previous.projects, current.projects
    was, now = previous.visible_projects, current.visible_projects
    yield ("visible project", ""), sum(was.values()), sum(now.get(each, 0) for each in was)
    for org_id, count in was.items():
        where = f" of organization {labels.get(org_id, org_id)}"
        yield ("visible project", where), count, now.get(org_id, 0)
    sources = [source for source in previous.invitations if source not in retired]
    was, now = previous.invitations, current.invitations
    yield (
        ("invitation", ""),
        sum(was[source] for source in sources),
        sum(now.get(source, 0) for source in sources),
    )
    for source in sources:
        yield ("invitation", f" in the list {source}"), was[source], now.get(source, 0)


def check_members(
    previous: Mapping[str, int],
    listed: Mapping[str, int],
    limits: Limits,
    labels: Mapping[str, str] = NO_NAMES,
) -> None:
    """Raise GuardRefused if the active members of an organization dropped.

    Args:
        previous: The number of members that each organization last had.
        listed: The number in each list that was read.
        labels: The names of the organizations with their ids, by id.
    """
    for org_id, now in listed.items():
        was = previous.get(org_id, 0)
        what = "active member", f" of organization {labels.get(org_id, org_id)}"
        _check_drop(was, now, f"listed, but the last complete run found {was:,}", what, limits)


def is_drop(was: int, now: int, limits: Limits) -> bool:
    """Return whether a count dropped by more than `max_population_drop`."""
    return was - now > Fraction(str(limits.max_population_drop)) * was


def _check_drop(was: int, now: int, comparison: str, what: tuple[str, str], limits: Limits) -> None:
    noun, where = what
    if was > MIN_COUNT_FOR_SHARE and is_drop(was, now, limits):
        raise GuardRefused(
            f"{pluralize(now, noun)}{where} {plural_form(now, 'was', 'were')} {comparison}: "
            f"the drop is over max_population_drop: {limits.max_population_drop}.",
            hint=Reason.MAX_POPULATION_DROP.advice,
            reasons=(Reason.MAX_POPULATION_DROP,),
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
