"""What the body of a 429 says. Pure."""

from typing import NamedTuple

from invite_sweeper.atlas.answers import Answer, error_of
from invite_sweeper.atlas.headers import bounded_wait_s


class ToldBucket(NamedTuple):
    """What the body of a 429 says of its bucket; None where it does not.

    Attributes:
        wait_s: Between the floor and the cap.
        refill: Capacity, tokens that come back, and every how many seconds they do.
    """

    wait_s: float | None = None
    refill: tuple[int, int, int] | None = None


def told_bucket(answer: Answer) -> ToldBucket:
    """Read what a 429 says in its body, for want of headers.

    Source:
        https://www.mongodb.com/docs/atlas/api/api-rate-limit (read 2026-08): the parameters
        are path, seconds to wait, capacity, refill and its period in seconds.
    """
    error = error_of(answer)
    if error.code != "RATE_LIMITED_TOKEN_BUCKET":
        return ToldBucket()
    match error.parameters:
        case (_, int(wait_s), int(capacity), int(refill), int(period_s)):
            return ToldBucket(bounded_wait_s(float(wait_s)), (capacity, refill, period_s))
        case (_, int(wait_s), *_):
            return ToldBucket(bounded_wait_s(float(wait_s)))
        case _:
            return ToldBucket()
