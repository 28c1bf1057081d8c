"""Token buckets of a simulated Atlas with other limits and levels than the documented ones."""

from invite_sweeper.simulator import SimulatedAtlas
from invite_sweeper.simulator.responses import LOCALHOST
from invite_sweeper.simulator.throttling import INVITES, BucketSize, SimulatedBucket


def set_bucket(
    sim: SimulatedAtlas,
    bucket: str,
    place_id: str = LOCALHOST,
    *,
    capacity: int,
    refill: int,
    period_s: float = 60.0,
    anchor_s: float | None = None,
) -> None:
    """Replace a bucket by a full one, whose first period starts at `anchor_s`, by default now."""
    start_s = sim.monotonic() if anchor_s is None else anchor_s
    limit = BucketSize(capacity, refill, period_s)
    sim.throttling.buckets[bucket, place_id] = SimulatedBucket(limit, start_s)


def spend(sim: SimulatedAtlas, project_id: str) -> bool:
    """Take a token of a project as another client would; return whether there was one."""
    return sim.throttling.bucket(INVITES, project_id).take(sim.monotonic())
