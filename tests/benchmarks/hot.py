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
from pathlib import Path

from benchmarks.measuring import OURS, STALE_DAYS, quiet_environment, wide_policy
from builders import policy_bytes

from invite_sweeper.errors import ExitCode
from invite_sweeper.simulator import Account, Asked, SimulatedAtlas, serve
from invite_sweeper.simulator.seed import ORG_ID, ORG_NAME

CAPACITY = REFILL = 60
PERIOD_S = 2.0
HOT = 300
"""Stale invitations in the hot project; its listing draws one token more."""
ORDINARY, EACH = 60, 10
_LINES = 40
_WIDTH = 60
_PATIENCE = "2m"


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
        sent_s: The hot project's requests that were let through.
        ordinary_s: The last request to an ordinary project.
        answers: All of them; `refusals` are those with 429.
        anchor_s: A tick of the hot project's bucket.
        other: The second client.
    """

    began_s: float
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
        return self.sent_s[-1] - self.began_s if len(self.sent_s) > HOT else math.inf

    @property
    def half_s(self) -> float:
        """When the second half of the hot project's deletions began, if it did."""
        return self.sent_s[1 + HOT // 2] if len(self.sent_s) > 1 + HOT // 2 else math.inf

    def ticks_until(self, at_s: float) -> int:
        """Refills since the program's first request, the first one not counted."""
        return math.floor((at_s - self.anchor_s) / PERIOD_S) - self._first_tick

    @property
    def _first_tick(self) -> int:
        return math.floor((self.began_s - self.anchor_s) / PERIOD_S)

    def allowed_until(self, at_s: float) -> int:
        """Requests that one who knows all could have sent by then.

        What the second client drew is not there for it, up to the tick that comes next; it
        stands aside for each of those draws.
        """
        started_s = self.anchor_s + self._first_tick * PERIOD_S
        ticks = self.ticks_until(at_s)
        next_s = started_s + (ticks + 1) * PERIOD_S
        drawn = sum(started_s <= each_s < next_s for each_s in self.other.spent_s)
        return CAPACITY + REFILL * ticks - drawn

    @property
    def bound_s(self) -> float:
        """The least time in which that one could have sent them all."""
        ticks = 0
        while True:
            at_s = self.anchor_s + (self._first_tick + ticks) * PERIOD_S
            if self.allowed_until(at_s + PERIOD_S / 2) > HOT:
                return max(0.0, at_s - self.began_s)
            ticks += 1

    def drawing(self) -> str:
        """Requests sent against the bucket's curve, as text, some forty lines of it."""
        whole = HOT + 1
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


def run_hot(*, other_per_s: float = 0.0, phase_s: float = 0.0) -> Hot:
    """Sweep once beside a second client that draws `other_per_s` tokens a second.

    `phase_s`: how long before its start the bucket's last tick was.
    """
    return asyncio.run(_run_hot(SecondClient(other_per_s), phase_s))


async def _run_hot(other: SecondClient, phase_s: float) -> Hot:
    sim = SimulatedAtlas(monotonic=time.perf_counter)
    sim.add_organization(ORG_ID, ORG_NAME)
    hot = sim.add_project("Hot")
    for number in range(ORDINARY):
        _invite(sim, sim.add_project(f"Ordinary {number}"), EACH)
    _invite(sim, hot, HOT)
    anchor_s = sim.monotonic() - phase_s
    figures = {"capacity": CAPACITY, "refill": REFILL, "period_s": PERIOD_S}
    sim.set_bucket("projects_group", hot, **figures, anchor_s=anchor_s)
    async with serve(sim) as base_url:
        spending = asyncio.create_task(other.spend(sim, hot))
        await _sweep(base_url, sim.add_service_account())
        spending.cancel()
    return _read(sim.requests, hot, anchor_s, other)


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
    assert process.returncode in {ExitCode.DONE, ExitCode.STOPPED}, err.decode()


def _read(requests: Sequence[Asked], hot: str, anchor_s: float, other: SecondClient) -> Hot:
    hot_ones = [asked for asked in requests if f"/groups/{hot}/" in asked.path]
    ordinary = [asked for asked in requests if "/invites" in asked.path and hot not in asked.path]
    sent_s = tuple(asked.at_s for asked in hot_ones if asked.status < 400)
    return Hot(
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
