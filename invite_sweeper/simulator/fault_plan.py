"""When something goes wrong: scripted by pattern and count, or at random by a seed."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random

from invite_sweeper.simulator.faults import Fault, delay


@dataclass(slots=True)
class _Rule:
    fault: Fault
    method: str
    path: str
    nth: int
    times: int | None
    rate: float | None
    seen: int = 0

    def hits(self, method: str, path: str, dice: Random) -> bool:
        if self.method not in {"*", method} or not fnmatchcase(path, self.path):
            return False
        if self.rate is not None:
            return dice.random() < self.rate
        self.seen += 1
        return self.seen >= self.nth and (self.times is None or self.seen < self.nth + self.times)


class FaultPlan:
    """Faults to come. Where several meet in one request, the first that answers wins."""

    def __init__(self, seed: int = 0) -> None:
        self._rules: list[_Rule] = []
        self._latency_s = (0.0, 0.0)
        self._dice = Random(seed)  # noqa: S311 - faults, not secrets

    def add(
        self,
        fault: Fault,
        *,
        method: str = "*",
        path: str = "*",
        nth: int = 1,
        times: int | None = 1,
    ) -> None:
        """Let `fault` happen to the `nth` request that matches, and to `times` in all.

        Args:
            fault: See `faults`.
            method: Upper case, or `*`.
            path: A glob over the whole path without its query, as `*/invites/*`.
            nth: From 1.
            times: None for all that follow.
        """
        self._rules.append(_Rule(fault, method, path, nth, times, None))

    def randomly(self, fault: Fault, rate: float, *, method: str = "*", path: str = "*") -> None:
        """Let `fault` happen to that share of the matching requests, from 0 to 1."""
        self._rules.append(_Rule(fault, method, path, 1, None, rate))

    def latency(self, base_s: float, jitter_s: float = 0.0) -> None:
        """Let each answer take `base_s` and up to `jitter_s` more, evenly spread."""
        self._latency_s = (base_s, jitter_s)

    def clear(self) -> None:
        """No more faults and no latency."""
        self._rules.clear()
        self._latency_s = (0.0, 0.0)

    def draw(self, method: str, path: str) -> tuple[Fault, ...]:
        """What happens to this request, in the order in which it was planned; empty mostly."""
        base_s, jitter_s = self._latency_s
        slow = (delay(base_s + jitter_s * self._dice.random()),) if base_s or jitter_s else ()
        if not self._rules:
            return slow
        hits = [rule.fault for rule in self._rules if rule.hits(method, path, self._dice)]
        return (*slow, *hits)
