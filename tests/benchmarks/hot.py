"""Sweep one project with a small bucket, and 60 projects with the usual buckets.

The simulated Atlas runs in this process, so that its buckets can be set and its clock times all
events. The program runs as a process.
"""

import asyncio
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count, pairwise
from pathlib import Path

import faults
from benchmarks.measuring import OURS, STALE_DAYS, Load, quiet_environment, write_wide_policy
from observed import ObservedAtlas, RequestRecord

from invite_sweeper.endings import ExitCode
from invite_sweeper.simulator import Account, serve
from invite_sweeper.simulator.seed import ORG_ID, ORG_NAME

PHASE = 0.35
"""Time from the last refill to the first request, as a share of the period."""
ORDINARY, EACH = 60, 10


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


async def spend(sim: ObservedAtlas, hot: str, per_s: float, spent_s: list[float]) -> None:
    """Take tokens of the hot project one at a time, evenly, as a second client, until cancelled.

    Args:
        spent_s: Gets the time of each token that it got.
    """
    started_s = sim.monotonic()
    for number in count(1) if per_s else ():
        await asyncio.sleep(started_s + number / per_s - sim.monotonic())
        if sim.spend(hot):
            spent_s.append(sim.monotonic())


@dataclass(frozen=True)
class Hot:
    """The result of one sweep. Times in seconds on the simulated Atlas's clock.

    Attributes:
        hot: The requests to the hot project.
        anchor_s: One refill of its bucket.
        spent_s: When the second client got a token.
    """

    scenario: Scenario
    requests: Sequence[RequestRecord]
    hot: Sequence[RequestRecord]
    anchor_s: float
    spent_s: Sequence[float]

    @property
    def refused_share(self) -> float:
        return sum(each.status == 429 for each in self.requests) / len(self.requests)

    @property
    def took_s(self) -> float:
        """From the first request to the hot project's last; infinite if the sweep ended early."""
        sent_s = [each.at_s for each in self.hot if each.status < 400]
        ended = len(sent_s) > self.scenario.deletions
        return sent_s[-1] - self.requests[0].at_s if ended else math.inf

    @property
    def longest_silence_s(self) -> float:
        """The longest time between two requests to the hot project.

        Every period here is far below 10 s: in a longer silence the bucket had tokens.
        """
        return max(later.at_s - earlier.at_s for earlier, later in pairwise(self.hot))

    @property
    def bound_s(self) -> float:
        """The time that an ideal client needs for all requests.

        It leaves to the second client what that takes until the next refill.
        """
        one, began_s = self.scenario, self.requests[0].at_s
        refills_before = math.floor((began_s - self.anchor_s) / one.period_s)
        start_s = self.anchor_s + refills_before * one.period_s
        refills, free = 0, 0
        while free <= one.deletions:
            at_s = start_s + refills * one.period_s
            spent = sum(start_s <= each_s < at_s + one.period_s for each_s in self.spent_s)
            free = one.capacity + one.refill * refills - spent
            refills += 1
        return max(0.0, at_s - began_s)


async def run_hot(scenario: Scenario) -> Hot:
    sim = ObservedAtlas(monotonic=time.perf_counter)
    if not scenario.headers:
        sim.faults.add(faults.without_rate_limits(), times=None)
    sim.add_organization(ORG_ID, ORG_NAME)
    hot = sim.add_project("Hot")
    ordinary = [sim.add_project(f"Ordinary {number}") for number in range(ORDINARY)]
    for project_id in (*ordinary, hot):
        for number in range(scenario.deletions if project_id == hot else EACH):
            sim.invite(project_id, f"person-{number}@example.com", age=timedelta(days=STALE_DAYS))
    spent_s, anchors_s = [], []

    def begin(_: object) -> None:
        # Relative to the first request: a slow start of the program does not move the refills.
        anchors_s.append(sim.monotonic() - PHASE * scenario.period_s)
        limit = scenario.capacity, scenario.refill, scenario.period_s
        sim.set_bucket("projects_group", hot, *limit, anchor_s=anchors_s[0])

    sim.faults.add(faults.effect(before=begin))
    async with serve(sim) as base_url:
        spending = asyncio.create_task(spend(sim, hot, scenario.other_per_s, spent_s))
        await _sweep(base_url, sim.add_service_account())
        spending.cancel()
    of_hot = [each for each in sim.requests if f"/groups/{hot}/" in each.path]
    return Hot(scenario, sim.requests, of_hot, anchors_s[0], spent_s)


async def _sweep(base_url: str, account: Account) -> None:
    with tempfile.TemporaryDirectory() as folder:
        execution = {"concurrency": 20}
        policy = write_wide_policy(Path(folder), Load(ORDINARY, EACH), execution=execution)
        process = await asyncio.create_subprocess_exec(
            *(*OURS, "sweep", "--yes", "--policy", policy, "--deadline", "2m"),
            cwd=folder,
            env=quiet_environment() | account.environment() | {"MONGODB_ATLAS_BASE_URL": base_url},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
    assert process.returncode in {ExitCode.DONE, ExitCode.INTERRUPTED}, err.decode()
