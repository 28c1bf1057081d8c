"""Token buckets of a simulated Atlas with other limits and levels than the documented ones."""

from invite_sweeper.simulator import SimulatedAtlas
from invite_sweeper.simulator.throttling import INVITES, BucketSize, SimulatedBucket


def set_bucket(
    sim: SimulatedAtlas,
    bucket: str,
    place_id: str | None = None,
    *,
    capacity: int,
    refill: int,
    period_s: float = 60.0,
    anchor_s: float | None = None,
) -> None:
    """Replace the bucket of a scope, or of all scopes with None, by a full one.

    Its first period starts at `anchor_s`; by default now, or with the first use.
    """
    limit = BucketSize(capacity, refill, period_s)
    throttling = sim.throttling
    if place_id is not None:
        start_s = sim.monotonic() if anchor_s is None else anchor_s
        throttling.buckets[bucket, place_id] = SimulatedBucket(limit, start_s)
        return
    throttling.limits[bucket] = limit
    for key in [key for key in throttling.buckets if key[0] == bucket]:
        del throttling.buckets[key]


def spend(sim: SimulatedAtlas, project_id: str) -> bool:
    """Take a token of a project as another client would; return whether there was one."""
    return sim.throttling.bucket(INVITES, project_id).take(sim.monotonic())
