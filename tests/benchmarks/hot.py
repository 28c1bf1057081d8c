"""Sweep one project with a small bucket, and 60 projects with the usual buckets.

The simulated Atlas runs in this process, so that its buckets can be set and its clock times all
events. The program runs as a process.
"""

import asyncio
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import faults
from benchmarks.load import STALE_DAYS, Load
from benchmarks.measuring import OURS, quiet_environment, wide_policy
from buckets import set_bucket, spend
from builders import policy_bytes
from observed import ObservedAtlas, RequestRecord

from invite_sweeper.endings import ExitCode
from invite_sweeper.simulator import Account, SimulatedAtlas, serve
from invite_sweeper.simulator.seed import ORG_ID, ORG_NAME

PHASE = 0.35
"""Time from the last refill to the first request, as a share of the period."""
ORDINARY, EACH = 60, 10
_DEADLINE = "2m"


@dataclass(frozen=True)
class Scenario:
    """The bucket of the hot project.

    Attributes:
        deletions: Stale invitations in the hot project; its listing takes one more token.
        headers: Whether responses have `RateLimit` headers.
        other_per_s: Tokens per second that a second client uses.
    """

    capacity: int = 60
    refill: int = 60
    period_s: float = 2.0
    deletions: int = 300
    headers: bool = True
    other_per_s: float = 0.0


ALONE = Scenario()
CONTENDED = Scenario(refill=25, period_s=3.0, deletions=150, other_per_s=8.0)


@dataclass
class SecondClient:
    """Another program that uses the hot project's bucket.

    Attributes:
        spent_s: The time of each token that it got.
    """

    per_s: float
    spent_s: list[float] = field(default_factory=list)

    async def spend(self, sim: SimulatedAtlas, hot: str) -> None:
        """Take tokens one at a time, evenly, until cancelled."""
        started_s = sim.monotonic()
        count = 0
        while self.per_s:
            count += 1
            await asyncio.sleep(started_s + count / self.per_s - sim.monotonic())
            if spend(sim, hot):
                self.spent_s.append(sim.monotonic())
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Hot:
    """The result of one sweep. Times in seconds on the simulated Atlas's clock.

    Attributes:
        began_s: The first request of the program.
        asked_s: Each request to the hot project.
        sent_s: Those of them that were not answered with 429.
        answers: All responses.
        refusals: Responses with 429.
        anchor_s: One refill of the hot project's bucket.
    """

    scenario: Scenario
    began_s: float
    asked_s: tuple[float, ...]
    sent_s: tuple[float, ...]
    answers: int
    refusals: int
    anchor_s: float
    other: SecondClient

    @property
    def refused_share(self) -> float:
        return self.refusals / self.answers

    @property
    def took_s(self) -> float:
        """From the first request to the hot project's last; infinite if the sweep ended early."""
        return (
            self.sent_s[-1] - self.began_s
            if len(self.sent_s) > self.scenario.deletions
            else math.inf
        )

    @property
    def longest_silence_s(self) -> float:
        """The longest time between two requests to the hot project.

        Every period here is far below 10 s: in a longer silence the bucket had tokens.
        """
        return max(later - earlier for earlier, later in pairwise(self.asked_s))

    def refills_until(self, at_s: float) -> int:
        """Return the number of refills since the program's first request."""
        return math.floor((at_s - self.anchor_s) / self.scenario.period_s) - self._first_refill

    @property
    def _first_refill(self) -> int:
        return math.floor((self.began_s - self.anchor_s) / self.scenario.period_s)

    def allowed_until(self, at_s: float) -> int:
        """Return how many requests an ideal client could have sent by then.

        The ideal client leaves to the second client what that takes until the next refill.
        """
        started_s = self.anchor_s + self._first_refill * self.scenario.period_s
        refills = self.refills_until(at_s)
        next_s = started_s + (refills + 1) * self.scenario.period_s
        spent = sum(started_s <= each_s < next_s for each_s in self.other.spent_s)
        return self.scenario.capacity + self.scenario.refill * refills - spent

    @property
    def bound_s(self) -> float:
        """The time that an ideal client needs for all requests."""
        refills = 0
        while True:
            at_s = self.anchor_s + (self._first_refill + refills) * self.scenario.period_s
            if self.allowed_until(at_s + self.scenario.period_s / 2) > self.scenario.deletions:
                return max(0.0, at_s - self.began_s)
            refills += 1


def run_hot(scenario: Scenario = ALONE) -> Hot:
    """Run one sweep."""
    return asyncio.run(_run_hot(scenario))


async def _run_hot(scenario: Scenario) -> Hot:
    sim = ObservedAtlas(monotonic=time.perf_counter)
    if not scenario.headers:
        sim.faults.add(faults.without_rate_limits(), times=None)
    sim.add_organization(ORG_ID, ORG_NAME)
    hot = sim.add_project("Hot")
    for number in range(ORDINARY):
        _invite(sim, sim.add_project(f"Ordinary {number}"), EACH)
    _invite(sim, hot, scenario.deletions)
    other, anchors_s = SecondClient(scenario.other_per_s), []

    def begin(_: object) -> None:
        # Relative to the first request: a slow start of the program does not move the refills.
        anchors_s.append(sim.monotonic() - PHASE * scenario.period_s)
        figures = {name: getattr(scenario, name) for name in ("capacity", "refill", "period_s")}
        set_bucket(sim, "projects_group", hot, **figures, anchor_s=anchors_s[0])

    sim.faults.add(faults.effect(before=begin))
    async with serve(sim) as base_url:
        spending = asyncio.create_task(other.spend(sim, hot))
        await _sweep(base_url, sim.add_service_account())
        spending.cancel()
    return _read(sim.requests, hot, scenario, anchors_s[0], other)


def _invite(sim: SimulatedAtlas, project_id: str, count: int) -> None:
    for number in range(count):
        sim.invite(project_id, f"person-{number}@example.com", age=timedelta(days=STALE_DAYS))


async def _sweep(base_url: str, account: Account) -> None:
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.yaml"
        keys = wide_policy(Load(ORDINARY, EACH), concurrency=20)
        policy.write_bytes(policy_bytes(keys))
        arguments = ("sweep", "--yes", "--policy", str(policy), "--deadline", _DEADLINE)
        process = await asyncio.create_subprocess_exec(
            *(*OURS, *arguments),
            cwd=folder,
            env={
                **quiet_environment(),
                **account.environment(),
                "MONGODB_ATLAS_BASE_URL": base_url,
            },
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
    assert process.returncode in {ExitCode.DONE, ExitCode.INTERRUPTED}, err.decode()


def _read(
    requests: Sequence[RequestRecord],
    hot: str,
    scenario: Scenario,
    anchor_s: float,
    other: SecondClient,
) -> Hot:
    hot_ones = [asked for asked in requests if f"/groups/{hot}/" in asked.path]
    sent_s = tuple(asked.at_s for asked in hot_ones if asked.status < 400)
    return Hot(
        scenario=scenario,
        asked_s=tuple(asked.at_s for asked in hot_ones),
        began_s=requests[0].at_s,
        sent_s=sent_s,
        answers=len(requests),
        refusals=sum(asked.status == 429 for asked in requests),
        anchor_s=anchor_s,
        other=other,
    )
