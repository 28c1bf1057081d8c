"""Which results are retried, how often, and after which wait."""

import asyncio
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from virtual_time import FakeTime

from invite_sweeper.atlas.responses import (
    CANCELLED,
    RequestFailed,
    Response,
    RetryDecision,
    classify,
    parse_rate_limit_error,
)
from invite_sweeper.atlas.retry import Attempt, RetryPolicy, retry

NOW = datetime(2026, 11, 25, 1, 0, 0, tzinfo=UTC)
CUT = RequestFailed("cut")
GOOD = Response(204, {}, b"")
ROLE = b'{"errorCode":"USER_UNAUTHORIZED"}'
UPGRADE = b'{"errorCode":"WRITES_NOT_ALLOWED_DURING_APP_UPGRADES"}'
BUCKET = b'{"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":["groups",55,10,5,60]}'


def failed(status, *, retry_after=None, body=b""):
    headers = CIMultiDict() if retry_after is None else CIMultiDict({"Retry-After": retry_after})
    return Response(status, headers, body)


@pytest.fixture
def fake_time():
    return FakeTime()


class ScriptedRequest:
    """A request with predefined results; the last one repeats."""

    def __init__(
        self, fake_time, *results, random=0.5, attempts=5, deadline_s=math.inf, blocked_s=1
    ):
        self.results = list(results)
        self.attempts_made = 1
        self.told = []
        self.blocked_s = blocked_s
        self.retry_policy = RetryPolicy(
            attempts,
            deadline_s,
            fake_time.sleep,
            lambda: random,
            fake_time.monotonic,
            lambda reason, wait_s: self.told.append((reason, wait_s)),
        )

    async def again(self):
        self.attempts_made += 1
        return Attempt(self.results[min(self.attempts_made, len(self.results)) - 1])

    async def run(self, *, cancelled=None):
        last, self.cut_short = await retry(
            Attempt(self.results[0]),
            self.again,
            self.retry_policy,
            clock=lambda: NOW,
            blocked_s=lambda: self.blocked_s,
            cancelled=cancelled,
        )
        return last.result


DONE, RETRY = RetryDecision.DONE, RetryDecision.RETRY


@pytest.mark.parametrize(
    ("decision", "results"),
    [
        (DONE, [GOOD, *map(failed, (302, 400, 403, 404, 405, 406, 410, 501, 505))]),
        (RETRY, [CUT, failed(405, body=UPGRADE), *map(failed, (500, 502, 503, 504))]),
        (DONE, [RequestFailed("wrong certificate", retryable=False)]),
        (RetryDecision.REAUTHENTICATE, [failed(401), failed(401, body=ROLE)]),
        (RetryDecision.RATE_LIMITED, [failed(429)]),
    ],
)
def test_status_decides_what_is_retried(decision, results):
    assert {classify(result) for result in results} == {decision}


def case(*results, sent, slept=None, cut=False, left_s=math.inf, **options):
    """Return results in order, the last of which repeats, and what the loop makes of them.

    Args:
        sent: The number of requests.
        slept: The waits, in seconds.
        cut: Whether retries were cut short.
        left_s: Until the deadline.
    """
    return results, sent, slept, cut, left_s, options


LATER = failed(503, retry_after="10")
CASES = {
    "5 attempts include the first": case(failed(500), sent=5, slept=[0.25, 0.5, 1, 2]),
    "5 attempts without a response outlast a minute": case(
        CUT, sent=5, slept=[0.5, 10, 20, 30], random=0.0
    ),
    "jitter adds a quarter to the waits for a response": case(
        CUT, sent=7, slept=[0.625, 12.5, 25, 37.5, 37.5, 37.5], random=1.0, attempts=7
    ),
    "one attempt allows no retry": case(failed(500), sent=1, slept=[], attempts=1),
    "a successful response ends the retries": case(CUT, failed(503), GOOD, sent=3),
    "waits double up to 30 s": case(
        failed(500), sent=10, slept=[0.5, 1, 2, 4, 8, 16, 30, 30, 30], random=1.0, attempts=10
    ),
    "full jitter can make a wait 0": case(
        failed(500), sent=3, slept=[0, 0], random=0.0, attempts=3
    ),
    "503 waits at least its Retry-After": case(LATER, GOOD, sent=2, slept=[10]),
    "503 with a Retry-After below the backoff waits the backoff": case(
        *[failed(500)] * 5, LATER, GOOD, sent=7, slept=[0.5, 1, 2, 4, 8, 16], random=1.0, attempts=9
    ),
    "429 does not count as an attempt": case(
        *[failed(429)] * 20, CUT, CUT, GOOD, sent=23, attempts=3
    ),
    "429 waits as long as the rate limiter blocks the bucket": case(
        failed(429, retry_after="7"), GOOD, sent=2, slept=[20], blocked_s=20
    ),
    "lasting 429 is retried until the deadline": case(
        failed(429), sent=3, slept=[40, 40, 21], cut=True, left_s=100, blocked_s=40
    ),
    "wait that reaches the deadline ends 1 s after it": case(
        LATER, sent=1, slept=[11], cut=True, left_s=10
    ),
    "wait beyond the deadline ends 1 s after it": case(
        failed(503, retry_after="120"), sent=1, slept=[11], cut=True, left_s=10
    ),
    "wait that ends before the deadline is followed by a retry": case(
        LATER, GOOD, sent=2, slept=[10], left_s=10.1
    ),
    "no wait at the deadline": case(failed(503), sent=1, slept=[], cut=True, left_s=0),
    "no wait after the deadline": case(failed(503), sent=1, slept=[], cut=True, left_s=-5),
    "retry that is cancelled before it is sent is cut short": case(
        failed(500), CANCELLED, sent=2, cut=True
    ),
    "lasting 401 is retried once": case(failed(401), failed(401), GOOD, sent=2),
    "transient 401 is retried": case(failed(401), GOOD, sent=2),
    "401 is not retried with one attempt": case(failed(401), GOOD, sent=1, attempts=1),
    "401 between other failures is the last of 3 attempts": case(
        CUT, failed(401), CUT, GOOD, sent=3, attempts=3
    ),
    "401 between other failures is one of 4 attempts": case(
        CUT, failed(401), CUT, GOOD, sent=4, attempts=4
    ),
    "429 between 401s does not count as an attempt": case(
        failed(401), failed(429), failed(429), GOOD, sent=4, attempts=2
    ),
}


@pytest.mark.parametrize(
    ("results", "sent", "slept", "cut", "left_s", "options"), CASES.values(), ids=CASES.keys()
)
async def test_results_decide_retries_and_waits(
    fake_time, results, sent, slept, cut, left_s, options
):
    request = ScriptedRequest(fake_time, *results, deadline_s=fake_time.now_s + left_s, **options)

    assert await request.run() is request.results[min(sent, len(results)) - 1]
    assert (request.attempts_made, request.cut_short) == (sent, cut)
    assert slept is None or fake_time.slept == slept


@pytest.mark.parametrize(
    ("result", "told"),
    [(CUT, [("cut", 10), ("cut", 20), ("cut", 30)]), (failed(503, retry_after="10"), [])],
)
async def test_only_waits_of_6_s_or_more_without_a_response_are_told(fake_time, result, told):
    request = ScriptedRequest(fake_time, result, random=0.0)
    await request.run()
    assert request.told == told


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_cancelled_wait_ends_within_1_s_without_a_retry(fake_time, status):
    request = ScriptedRequest(fake_time, failed(status, retry_after="20"), blocked_s=20)
    start_s = fake_time.now_s

    result = await request.run(cancelled=lambda: fake_time.now_s > start_s + 4.5)

    assert result.status == status
    assert (request.attempts_made, sum(fake_time.slept), request.cut_short) == (
        1,
        5,
        True,
    )


@pytest.mark.parametrize(
    "results",
    [[failed(500), failed(403)], [failed(500), failed(500)], [failed(401), failed(401)]],
    ids=["final status", "attempts used", "401 twice"],
)
async def test_final_result_of_a_cancelled_request_is_not_cut_short(fake_time, results):
    request = ScriptedRequest(fake_time, *results, attempts=2)

    await request.run(cancelled=lambda: request.attempts_made == 2)

    assert (request.attempts_made, request.cut_short) == (2, False)


async def test_task_cancelled_during_a_wait_raises_cancelled_error(fake_time):
    request = ScriptedRequest(fake_time, CUT)
    request.again = asyncio.Event().wait
    running = asyncio.create_task(request.run())
    while not fake_time.slept:
        await asyncio.sleep(0)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


@given(
    st.lists(st.sampled_from([CUT, failed(500), failed(429), failed(401), GOOD, failed(404)])),
    st.integers(1, 6),
)
def test_no_sequence_of_results_exceeds_the_attempts_or_two_401s(results, attempts):
    request = ScriptedRequest(FakeTime(), CUT, *results, GOOD, attempts=attempts)

    last = asyncio.run(request.run())

    seen = request.results[: request.attempts_made]
    assert last is seen[-1]
    counted = {RetryDecision.RETRY, RetryDecision.REAUTHENTICATE}
    assert sum(classify(r) in counted for r in seen) <= attempts
    assert sum(classify(r) is RetryDecision.REAUTHENTICATE for r in seen) <= 2
    assert all(classify(r) is not RetryDecision.DONE for r in seen[:-1])


@pytest.mark.parametrize(
    ("body", "details"),
    [
        (BUCKET, (55.0, (10, 5, 60))),
        (BUCKET.replace(b"55", b"0"), (1.0, (10, 5, 60))),
        (
            b'{"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":["groups",7]}',
            (7.0, None),
        ),
        (b'{"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":["groups"]}', (None, None)),
        (b'{"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":null}', (None, None)),
        (
            b'{"errorCode":"RATE_LIMITED","parameters":["/api/oauth/token",50,1]}',
            (None, None),
        ),
        (b"", (None, None)),
    ],
)
def test_details_in_the_body_of_a_429_are_parsed_as_far_as_they_are_valid(body, details):
    assert parse_rate_limit_error(failed(429, body=body)) == details
