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

ORDINARY, EACH = 60, 10
_LINES = 40
_WIDTH = 60


@dataclass(frozen=True)
class Case:
    """The hot project's bucket, and who draws from it.

    Attributes:
        deletions: Stale invitations in the hot project; its listing draws one token more.
        other_per_s: Tokens that a second client wants each second.
        headers: Whether answers carry `RateLimit-*` headers.
        phase_s: How long before the start the bucket's last refill was.
        deadline: The run's `--deadline`.
    """

    capacity: int = 60
    refill: int = 60
    period_s: float = 2.0
    deletions: int = 300
    other_per_s: float = 0.0
    headers: bool = True
    phase_s: float = 0.0
    deadline: str = "2m"


ALONE = Case()
SHARED = Case(other_per_s=15.0)
NEARLY_TAKEN = Case(refill=25, period_s=3.0, deletions=180, other_per_s=8.0, deadline="4m")
"""The second client leaves a token for each 3 s, and the tokens that nobody has drawn yet."""


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
        began_s: The program's first request of all; `ended_s` when it exited.
        tried_s: All its requests to the hot project, refused ones too.
        sent_s: The hot project's requests that were let through.
        ordinary_s: The last request to an ordinary project.
        answers: All of them; `refusals` are those with 429.
        anchor_s: A tick of the hot project's bucket.
        other: The second client.
    """

    case: Case
    began_s: float
    ended_s: float
    tried_s: tuple[float, ...]
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
            self.sent_s[-1] - self.began_s if len(self.sent_s) > self.case.deletions else math.inf
        )

    @property
    def half_s(self) -> float:
        """When the second half of the hot project's deletions began, if it did."""
        half = 1 + self.case.deletions // 2
        return self.sent_s[half] if len(self.sent_s) > half else math.inf

    @property
    def silence_s(self) -> float:
        """The longest time in which the bucket had a token and nothing was sent to it.

        It ends with the next request, or where the bucket is empty, or with the run while
        deletions are left.
        """
        done = len(self.sent_s) > self.case.deletions
        end_s = self.tried_s[-1] if done else self.ended_s
        level, longest_s, since_s = self.case.capacity, 0.0, self.tried_s[0]
        for at_s, drawn, ours in self._events(end_s):
            if level > 0:
                longest_s = max(longest_s, at_s - since_s)
            if ours or level <= 0:
                since_s = at_s
            level = min(self.case.capacity, level - drawn)
        return longest_s

    def _events(self, end_s: float) -> list[tuple[float, int, bool]]:
        """When the level changed, by how many tokens, and whether the program asked for one."""
        let_through = set(self.sent_s)
        ours = [(at_s, int(at_s in let_through), True) for at_s in self.tried_s]
        others = [(at_s, 1, False) for at_s in self.other.spent_s]
        refills = math.floor((end_s - self.anchor_s) / self.case.period_s)
        ticks = [
            (self.anchor_s + number * self.case.period_s, -self.case.refill, False)
            for number in range(self._first_tick + 1, refills + 1)
        ]
        end = (end_s, 0, False)
        return sorted(each for each in (*ours, *others, *ticks, end) if each[0] <= end_s)

    def ticks_until(self, at_s: float) -> int:
        """Refills since the program's first request, the first one not counted."""
        return math.floor((at_s - self.anchor_s) / self.case.period_s) - self._first_tick

    @property
    def _first_tick(self) -> int:
        return math.floor((self.began_s - self.anchor_s) / self.case.period_s)

    def allowed_until(self, at_s: float) -> int:
        """Requests that one who knows all could have sent by then.

        What the second client drew is not there for it, up to the tick that comes next; it
        stands aside for each of those draws.
        """
        started_s = self.anchor_s + self._first_tick * self.case.period_s
        ticks = self.ticks_until(at_s)
        next_s = started_s + (ticks + 1) * self.case.period_s
        drawn = sum(started_s <= each_s < next_s for each_s in self.other.spent_s)
        return self.case.capacity + self.case.refill * ticks - drawn

    @property
    def bound_s(self) -> float:
        """The least time in which that one could have sent them all."""
        ticks = 0
        while True:
            at_s = self.anchor_s + (self._first_tick + ticks) * self.case.period_s
            if self.allowed_until(at_s + self.case.period_s / 2) > self.case.deletions:
                return max(0.0, at_s - self.began_s)
            ticks += 1

    def drawing(self) -> str:
        """Requests sent against the bucket's curve, as text, some forty lines of it."""
        whole = self.case.deletions + 1
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


def run_hot(case: Case = ALONE) -> Hot:
    """Sweep once, beside a second client where the case has one."""
    return asyncio.run(_run_hot(case))


async def _run_hot(case: Case) -> Hot:
    sim = SimulatedAtlas(monotonic=time.perf_counter)
    sim.add_organization(ORG_ID, ORG_NAME)
    sim.throttling.headers = case.headers
    hot = sim.add_project("Hot")
    for number in range(ORDINARY):
        _invite(sim, sim.add_project(f"Ordinary {number}"), EACH)
    _invite(sim, hot, case.deletions)
    anchor_s = sim.monotonic() - case.phase_s
    figures = {"capacity": case.capacity, "refill": case.refill, "period_s": case.period_s}
    sim.set_bucket("projects_group", hot, **figures, anchor_s=anchor_s)
    other = SecondClient(case.other_per_s)
    async with serve(sim) as base_url:
        spending = asyncio.create_task(other.spend(sim, hot))
        await _sweep(base_url, sim.add_service_account(), case.deadline)
        ended_s = sim.monotonic()
        spending.cancel()
    return _read(sim.requests, hot, case, anchor_s, ended_s, other)


def _invite(sim: SimulatedAtlas, project_id: str, count: int) -> None:
    for number in range(count):
        sim.invite(project_id, f"person-{number}@example.com", age=timedelta(days=STALE_DAYS))


async def _sweep(base_url: str, account: Account, deadline: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.yaml"
        policy.write_bytes(policy_bytes(wide_policy(f"{folder}/audit.jsonl", concurrency=20)))
        arguments = ("sweep", "--yes", "--policy", str(policy), "--deadline", deadline)
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


def _read(
    requests: Sequence[Asked],
    hot: str,
    case: Case,
    anchor_s: float,
    ended_s: float,
    other: SecondClient,
) -> Hot:
    hot_ones = [asked for asked in requests if f"/groups/{hot}/" in asked.path]
    ordinary = [asked for asked in requests if "/invites" in asked.path and hot not in asked.path]
    return Hot(
        case=case,
        began_s=requests[0].at_s,
        ended_s=ended_s,
        tried_s=tuple(asked.at_s for asked in hot_ones),
        sent_s=tuple(asked.at_s for asked in hot_ones if asked.status < 400),
        ordinary_s=ordinary[-1].at_s,
        answers=len(requests),
        refusals=sum(asked.status == 429 for asked in requests),
        anchor_s=anchor_s,
        other=other,
    )


if __name__ == "__main__":
    sys.stdout.write(run_hot().drawing() + "\n")
