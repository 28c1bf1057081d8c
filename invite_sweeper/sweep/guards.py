"""Limits, clock, population; circuit breaker and canary."""

from collections import deque
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Outcome
from invite_sweeper.policy import Limits
from invite_sweeper.text import counted, fitting

# May this plan be carried out? Counts x limits -> yes, or every reason why not. Pure.
#
# Each limit is a ceiling that may be reached and not passed; 0 means zero. `trimming` takes
# the oldest up to the same ceilings, so a trimmed plan passes the same questions.


SHARE_COUNTS_ABOVE = 10
"""Up to so many stale invitations `max_share` says nothing: in a small organization
half of the invitations is one or two."""
CLOCK_MAY_DIFFER_S = 300.0
_READABLE = (
    "Give the credentials the role in those projects, exclude them, or raise "
    "max_unreadable_projects; the audit log names each with its reason."
)
_FEWER = (
    "Read the plan; then raise the limit, narrow the rules, "
    "or let the oldest go first with over_limit: trim."
)


class Census(NamedTuple):
    """What a walk counted.

    Attributes:
        invitations_seen: In scope, stale and kept together.
        doomed: What the plan deletes, by project id; projects without any are left out.
    """

    invitations_seen: int
    projects_unreadable: int
    doomed: Mapping[str, int]

    @property
    def deletions(self) -> int:
        """How many invitations the plan deletes."""
        return sum(self.doomed.values())


def share_limit(limits: Limits, *, seen: int, stale: int) -> int | None:
    """Give how many of the invitations seen may go; None where the share says nothing.

    Exact: 0.29 of 100 is 29, which a product of floats misses.
    """
    if stale <= SHARE_COUNTS_ABOVE:
        return None
    return int(Fraction(str(limits.max_share)) * seen)


def refusals(census: Census, limits: Limits, shard: str | None = None) -> tuple[str, ...]:
    """Give a sentence with both numbers for each limit that the plan passes.

    Args:
        shard: The one whose part of the limits these are, as `1/3`; None for the whole.
    """
    found: list[str] = []
    part = f", the part of shard {shard}" if shard is not None else ""
    total, seen = census.deletions, census.invitations_seen
    if census.projects_unreadable > limits.max_unreadable_projects:
        found.append(
            f"{counted(census.projects_unreadable, 'project')} could not be read, "
            f"over max_unreadable_projects: {limits.max_unreadable_projects}{part}."
        )
    if total > limits.max_deletions:
        most = f"{limits.max_deletions}{part}"
        found.append(f"{_stale_are(total)} over max_deletions: {most}.")
    for project_id, count in census.doomed.items():
        if count > limits.max_deletions_per_project:
            found.append(
                f"{_stale_are(count, f' in project {project_id}')} over "
                f"max_deletions_per_project: {limits.max_deletions_per_project}."
            )
    allowed = share_limit(limits, seen=seen, stale=total)
    if allowed is not None and total > allowed:
        found.append(
            f"{total:,} stale of {counted(seen, 'invitation')} ({total / seen:.1%}) "
            f"are over max_share: {limits.max_share}."
        )
    return tuple(found)


def raise_if_unsafe(census: Census, limits: Limits, shard: str | None = None) -> None:
    """Let a plan pass that keeps every limit.

    Args:
        shard: As for `refusals`.

    Raises:
        GuardRefused: It passes at least one; nothing was deleted.
    """
    found = refusals(census, limits, shard)
    if found:
        most = 5
        shown = (*found[:most], *([f"And {len(found) - most} more."] if len(found) > most else ()))
        raise GuardRefused(" ".join(shown), hint=_hint(census, limits, len(found)))


def _hint(census: Census, limits: Limits, reasons: int) -> str:
    """Say what helps: no narrower rule makes a project readable."""
    unreadable = census.projects_unreadable > limits.max_unreadable_projects
    mends = [_READABLE] if unreadable else []
    mends += [_FEWER] if reasons > unreadable else []
    return " ".join(mends)


def _stale_are(count: int, where: str = "") -> str:
    return f"{counted(count, 'stale invitation')}{where} {fitting(count, 'is', 'are')}"


def raise_if_clock_differs(skew_s: float | None) -> None:
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
    if abs(skew_s) > CLOCK_MAY_DIFFER_S:
        way = "ahead of" if skew_s > 0 else "behind"
        raise GuardRefused(
            f"This clock is {abs(skew_s):.0f} s {way} Atlas's.",
            hint="Set the clock (NTP): ages are counted by it.",
        )


class Population(NamedTuple):
    """How many there are: what a run saw, or what the last one left behind."""

    projects: int
    invitations: int


def raise_if_fewer(before: Population, seen: Population, limits: Limits) -> None:
    """Let a run pass that sees about as much as the last complete one left.

    A listing that lost a page looks like a small organization. Up to 10 the share says
    nothing: there, one acceptance is a tenth.

    Raises:
        GuardRefused: Projects or invitations are fewer by more than `max_population_drop`.
    """
    drop = Fraction(str(limits.max_population_drop))
    for name, was, now in (
        ("project", before.projects, seen.projects),
        ("invitation", before.invitations, seen.invitations),
    ):
        if was > SHARE_COUNTS_ABOVE and was - now > drop * was:
            raise GuardRefused(
                f"{counted(now, name)} {fitting(now, 'is', 'are')} seen "
                f"where the last complete run left {was:,}, "
                f"a fall over max_population_drop: {limits.max_population_drop}.",
                hint="Find out where they went; where it is as it should be, "
                "--accept-population lets it pass once.",
            )


# When a sweep had better stop by itself: what the last answers looked like. Pure.


class Breaker:
    """Counts the last outcomes and says when they are too bad to go on.

    Two questions are asked. After the canary (the first few deletions, which go out alone):
    did more than half of them fail? After that, once the window is full: is the share of
    failures, or of invitations that were gone already, among the last answers too high?
    The removal of somebody who had just accepted counts as a failure.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._last: deque[Outcome] = deque()
        self._last_failed = 0
        self._last_gone = 0
        self._seen = 0
        self._failed = 0
        self._window = limits.breaker_window
        self._most_failed = self._most(limits.max_failure_share)
        self._most_gone = self._most(limits.max_already_gone_share)

    def record(self, outcome: Outcome) -> str | None:
        """Take one outcome into account; give a sentence when the sweep should stop."""
        outcome = Outcome.FAILED if outcome is Outcome.ACCEPTED_DURING else outcome
        last = self._last
        last.append(outcome)
        if outcome is not Outcome.DELETED:
            self._count(outcome, 1)
            self._failed += outcome is Outcome.FAILED
        if len(last) > self._window and (oldest := last.popleft()) is not Outcome.DELETED:
            self._count(oldest, -1)
        self._seen += 1
        if self._seen == self._limits.canary:
            return self._canary()
        return self._shares() if len(last) == self._window else None

    def _count(self, outcome: Outcome, by: int) -> None:
        if outcome is Outcome.FAILED:
            self._last_failed += by
        elif outcome is Outcome.ALREADY_GONE:
            self._last_gone += by

    def _most(self, share: float) -> int:
        """How many of a full window are just not too many; as the policy's digits say it."""
        return int(Fraction(str(share)) * self._limits.breaker_window)

    def _shares(self) -> str | None:
        limits = self._limits
        if self._last_failed > self._most_failed:
            return self._too_many(
                self._last_failed, f"failed, over max_failure_share: {limits.max_failure_share}"
            )
        if self._last_gone > self._most_gone:
            return self._too_many(
                self._last_gone,
                f"were gone already, over max_already_gone_share: {limits.max_already_gone_share}",
            )
        return None

    def _too_many(self, count: int, words: str) -> str:
        return f"{count} of the last {len(self._last)} deletions {words}."

    def _canary(self) -> str | None:
        if self._failed * 2 <= self._seen:
            return None
        return f"{self._failed} of the first {self._seen} deletions (the canary) failed."
