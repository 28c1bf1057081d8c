"""One project whose bucket is too small, beside many whose buckets are not.

The simulated Atlas runs in this process, so that its buckets can be set and its clock is the
one that everything is timed by; the program runs as its users run it.
"""

import asyncio
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from benchmarks.measuring import OURS, STALE_DAYS, quiet_environment, wide_policy
from builders import policy_bytes

from invite_sweeper.errors import ExitCode
from invite_sweeper.simulator import Account, RequestRecord, SimulatedAtlas, faults, serve
from invite_sweeper.simulator.seed import ORG_ID, ORG_NAME

PHASE = 0.35
"""How long before the first request the last refill was, as a share of the period."""
ORDINARY, EACH = 60, 10
_LINES = 40
_WIDTH = 60
_PATIENCE = "2m"


@dataclass(frozen=True)
class Scenario:
    """The hot project's bucket, and what happens to it.

    Attributes:
        deletions: Stale invitations in the hot project; its listing draws one token more.
        headers: Whether responses carry `RateLimit` headers.
        other_per_s: Tokens a second that a second client draws.
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
    """Another program that draws from the hot project's bucket.

    Attributes:
        spent_s: When it drew each token that it got.
        refused: How often there was none for it.
    """

    per_s: float
    spent_s: list[float] = field(default_factory=list)
    refused: int = 0

    async def spend(self, sim: SimulatedAtlas, hot: str) -> None:
        """Draw evenly, one at a time, until cancelled."""
        started_s = sim.monotonic()
        turn = 0
        while self.per_s:
            turn += 1
            await asyncio.sleep(started_s + turn / self.per_s - sim.monotonic())
            if sim.spend("projects_group", hot, 1):
                self.spent_s.append(sim.monotonic())
            else:
                self.refused += 1
        await asyncio.Event().wait()


@dataclass(frozen=True)
class Hot:
    """How it went. Seconds on the simulated Atlas's clock.

    Attributes:
        began_s: The program's first request of all.
        asked_s: The hot project's requests.
        sent_s: Those that were let through.
        ordinary_s: The last request to an ordinary project.
        answers: All of them; `refusals` are those with 429.
        anchor_s: A refill of the hot project's bucket.
        other: The second client.
    """

    scenario: Scenario
    began_s: float
    asked_s: tuple[float, ...]
    sent_s: tuple[float, ...]
    ordinary_s: float
    answers: int
    refusals: int
    anchor_s: float
    other: SecondClient

    @property
    def refused_share(self) -> float:
        return self.refusals / self.answers

    @property
    def took_s(self) -> float:
        """From the first request of all to the hot project's last; infinite where it gave up."""
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

    @property
    def half_s(self) -> float:
        """When the second half of the hot project's deletions began, if it did."""
        return (
            self.sent_s[1 + self.scenario.deletions // 2]
            if len(self.sent_s) > 1 + self.scenario.deletions // 2
            else math.inf
        )

    def ticks_until(self, at_s: float) -> int:
        """Refills since the program's first request, the first one not counted."""
        return math.floor((at_s - self.anchor_s) / self.scenario.period_s) - self._first_tick

    @property
    def _first_tick(self) -> int:
        return math.floor((self.began_s - self.anchor_s) / self.scenario.period_s)

    def allowed_until(self, at_s: float) -> int:
        """Requests that one who knows all could have sent by then.

        What the second client drew is not there for it, up to the tick that comes next; it
        stands aside for each of those draws.
        """
        started_s = self.anchor_s + self._first_tick * self.scenario.period_s
        ticks = self.ticks_until(at_s)
        next_s = started_s + (ticks + 1) * self.scenario.period_s
        drawn = sum(started_s <= each_s < next_s for each_s in self.other.spent_s)
        return self.scenario.capacity + self.scenario.refill * ticks - drawn

    @property
    def bound_s(self) -> float:
        """The least time in which that one could have sent them all."""
        ticks = 0
        while True:
            at_s = self.anchor_s + (self._first_tick + ticks) * self.scenario.period_s
            if self.allowed_until(at_s + self.scenario.period_s / 2) > self.scenario.deletions:
                return max(0.0, at_s - self.began_s)
            ticks += 1

    def drawing(self) -> str:
        """Requests sent against the bucket's curve, as text, some forty lines of it."""
        whole = self.scenario.deletions + 1
        shown_s = self.sent_s[-1] - self.began_s
        step_s = max(0.5, math.ceil(shown_s / _LINES * 2) / 2)
        lines = [f"{'':8}# sent to the hot project, | what its bucket allows at most"]
        for step in range(math.ceil(shown_s / step_s) + 1):
            at_s = self.began_s + step * step_s
            sent = sum(each_s <= at_s for each_s in self.sent_s)
            allowed = min(self.allowed_until(at_s), whole)
            bar = "#" * round(sent / whole * _WIDTH)
            mark = round(allowed / whole * _WIDTH)
            lines.append(f"{step * step_s:5.1f} s {bar:{mark}}|{'':{_WIDTH - mark}} {sent:4}")
        return "\n".join(lines)


def run_hot(scenario: Scenario = ALONE) -> Hot:
    """Sweep once."""
    return asyncio.run(_run_hot(scenario))


async def _run_hot(scenario: Scenario) -> Hot:
    sim = SimulatedAtlas(monotonic=time.perf_counter)
    sim.throttling.headers = scenario.headers
    sim.add_organization(ORG_ID, ORG_NAME)
    hot = sim.add_project("Hot")
    for number in range(ORDINARY):
        _invite(sim, sim.add_project(f"Ordinary {number}"), EACH)
    _invite(sim, hot, scenario.deletions)
    other, anchors_s = SecondClient(scenario.other_per_s), []

    def begin(_: object) -> None:
        # Counted from the first request: a start that a busy machine slows moves no refill.
        anchors_s.append(sim.monotonic() - PHASE * scenario.period_s)
        figures = {name: getattr(scenario, name) for name in ("capacity", "refill", "period_s")}
        sim.set_bucket("projects_group", hot, **figures, anchor_s=anchors_s[0])

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
        policy.write_bytes(policy_bytes(wide_policy(f"{folder}/audit.jsonl", concurrency=20)))
        arguments = ("sweep", "--yes", "--policy", str(policy), "--deadline", _PATIENCE)
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
    ordinary = [asked for asked in requests if "/invites" in asked.path and hot not in asked.path]
    sent_s = tuple(asked.at_s for asked in hot_ones if asked.status < 400)
    return Hot(
        scenario=scenario,
        asked_s=tuple(asked.at_s for asked in hot_ones),
        began_s=requests[0].at_s,
        sent_s=sent_s,
        ordinary_s=ordinary[-1].at_s,
        answers=len(requests),
        refusals=sum(asked.status == 429 for asked in requests),
        anchor_s=anchor_s,
        other=other,
    )


if __name__ == "__main__":
    sys.stdout.write(run_hot().drawing() + "\n")
