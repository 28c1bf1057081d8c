"""Limits, clock, population; circuit breaker and canary."""

from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Outcome
from invite_sweeper.policy import Limits
from invite_sweeper.text import plural_form, pluralize

# May this plan be carried out? Counts x limits -> yes, or every reason why not. Pure.
#
# Each limit is a ceiling that may be reached and not passed; 0 means zero. `trimming` takes
# the oldest up to the same ceilings, so a trimmed plan passes the same questions.


MIN_COUNT_FOR_SHARE = 10
"""Up to so many stale invitations `max_share` says nothing: in a small organization
half of the invitations is one or two."""
MAX_CLOCK_SKEW_S = 300.0
_UNREADABLE_HINT = (
    "Give the credentials the role in those projects, exclude them, or raise "
    "max_unreadable_projects; the audit log names each with its reason."
)
_TOO_MANY_HINT = (
    "Read the plan; then raise the limit, narrow the rules, "
    "or let the oldest go first with over_limit: trim."
)


class PlanCounts(NamedTuple):
    """What a walk counted.

    Attributes:
        invitations_seen: In scope, stale and kept together.
        doomed: What the plan deletes, by project id; projects without any are left out.
    """

    invitations_seen: int
    projects_unreadable: int
    deletions_by_project: Mapping[str, int]

    @property
    def deletions(self) -> int:
        """How many invitations the plan deletes."""
        return sum(self.deletions_by_project.values())


def share_limit(limits: Limits, *, seen: int, stale: int) -> int | None:
    """Give how many of the invitations seen may go; None where the share says nothing.

    Exact: 0.29 of 100 is 29, which a product of floats misses.
    """
    if stale <= MIN_COUNT_FOR_SHARE:
        return None
    return int(Fraction(str(limits.max_share)) * seen)


def limit_violations(
    counts: PlanCounts, limits: Limits, shard: str | None = None
) -> tuple[str, ...]:
    """Give a sentence with both numbers for each limit that the plan passes.

    Args:
        shard: The one whose part of the limits these are, as `1/3`; None for the whole.
    """
    violations: list[str] = []
    part = f", the part of shard {shard}" if shard is not None else ""
    total, seen = counts.deletions, counts.invitations_seen
    if counts.projects_unreadable > limits.max_unreadable_projects:
        violations.append(
            f"{pluralize(counts.projects_unreadable, 'project')} could not be read, "
            f"over max_unreadable_projects: {limits.max_unreadable_projects}{part}."
        )
    if total > limits.max_deletions:
        max_deletions = f"{limits.max_deletions}{part}"
        violations.append(f"{_describe_stale(total)} over max_deletions: {max_deletions}.")
    for project_id, count in counts.deletions_by_project.items():
        if count > limits.max_deletions_per_project:
            violations.append(
                f"{_describe_stale(count, f' in project {project_id}')} over "
                f"max_deletions_per_project: {limits.max_deletions_per_project}."
            )
    allowed = share_limit(limits, seen=seen, stale=total)
    if allowed is not None and total > allowed:
        violations.append(
            f"{total:,} stale of {pluralize(seen, 'invitation')} ({total / seen:.1%}) "
            f"are over max_share: {limits.max_share}."
        )
    return tuple(violations)


def check_limits(counts: PlanCounts, limits: Limits, shard: str | None = None) -> None:
    """Let a plan pass that keeps every limit.

    Args:
        shard: As for `refusals`.

    Raises:
        GuardRefused: It passes at least one; nothing was deleted.
    """
    violations = limit_violations(counts, limits, shard)
    if violations:
        max_shown = 5
        shown = (
            *violations[:max_shown],
            *([f"And {len(violations) - max_shown} more."] if len(violations) > max_shown else ()),
        )
        raise GuardRefused(" ".join(shown), hint=_hint(counts, limits, len(violations)))


def _hint(census: PlanCounts, limits: Limits, reasons: int) -> str:
    """Say what helps: no narrower rule makes a project readable."""
    unreadable = census.projects_unreadable > limits.max_unreadable_projects
    mends = [_UNREADABLE_HINT] if unreadable else []
    mends += [_TOO_MANY_HINT] if reasons > unreadable else []
    return " ".join(mends)


def _describe_stale(count: int, where: str = "") -> str:
    return f"{pluralize(count, 'stale invitation')}{where} {plural_form(count, 'is', 'are')}"


def check_clock(skew_s: float | None) -> None:
    """Let a run pass whose clock agrees with Atlas's: ages are counted by it.

    Args:
        skew_s: Ours minus Atlas's; None where its answer had no readable `Date`.

    Raises:
        GuardRefused: They differ by more than 5 minutes, or nobody can tell.
    """
    if skew_s is None:
        raise GuardRefused(
            "Atlas's answer carried no readable Date, so this clock could not be checked.",
            hint="Look for a proxy that removes the Date header.",
        )
    if abs(skew_s) > MAX_CLOCK_SKEW_S:
        direction = "ahead of" if skew_s > 0 else "behind"
        raise GuardRefused(
            f"This clock is {abs(skew_s):.0f} s {direction} Atlas's.",
            hint="Set the clock (NTP): ages are counted by it.",
        )


class Population(NamedTuple):
    """How many there are: what a run saw, or what the last one left behind."""

    projects: int
    invitations: int


def check_population(previous: Population, current: Population, limits: Limits) -> None:
    """Let a run pass that sees about as much as the last complete one left.

    A listing that lost a page looks like a small organization. Up to 10 the share says
    nothing: there, one acceptance is a tenth.

    Raises:
        GuardRefused: Projects or invitations are fewer by more than `max_population_drop`.
    """
    max_drop = Fraction(str(limits.max_population_drop))
    for name, was, now in (
        ("project", previous.projects, current.projects),
        ("invitation", previous.invitations, current.invitations),
    ):
        if was > MIN_COUNT_FOR_SHARE and was - now > max_drop * was:
            raise GuardRefused(
                f"{pluralize(now, name)} {plural_form(now, 'is', 'are')} seen "
                f"where the last complete run left {was:,}, "
                f"a fall over max_population_drop: {limits.max_population_drop}.",
                hint="Find out where they went; where it is as it should be, "
                "--accept-population lets it pass once.",
            )


# When a sweep had better stop by itself: what the last answers looked like. Pure.


class CircuitBreaker:
    """Counts the last outcomes and says when they are too bad to go on.

    Two questions are asked. After the canary (the first few deletions, which go out alone):
    did more than half of them fail? After that, once the window is full: is the share of
    failures, or of invitations that were gone already, among the last answers too high?
    The removal of somebody who had just accepted counts as a failure.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._window_outcomes: deque[Outcome] = deque()
        self._window_failed = 0
        self._window_gone = 0
        self._seen = 0
        self._failed = 0
        self._window_size = limits.breaker_window
        self._max_failed = self._max_count(limits.max_failure_share)
        self._max_gone = self._max_count(limits.max_already_gone_share)

    def record(self, outcome: Outcome) -> str | None:
        """Take one outcome into account; give a sentence when the sweep should stop."""
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
        """How many of a full window are just not too many; as the policy's digits say it."""
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
                f"were gone already, over max_already_gone_share: {limits.max_already_gone_share}",
            )
        return None

    def _describe(self, count: int, reason: str) -> str:
        return f"{count} of the last {len(self._window_outcomes)} deletions {reason}."

    def _check_canary(self) -> str | None:
        if self._failed * 2 <= self._seen:
            return None
        return f"{self._failed} of the first {self._seen} deletions (the canary) failed."
