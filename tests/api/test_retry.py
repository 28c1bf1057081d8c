import asyncio
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from invite_sweeper.atlas.responses import (
    CANCELLED,
    RateLimitDetails,
    RequestFailed,
    Response,
    parse_rate_limit_error,
)
from invite_sweeper.atlas.retry import RetryDecision, RetryLoop, RetryPolicy, classify

NOW = datetime(2026, 11, 25, 1, 0, 0, tzinfo=UTC)
CUT = RequestFailed("cut")
GOOD = Response(204, {}, b"")
ROLE = b'{"errorCode":"USER_UNAUTHORIZED"}'
UPGRADE = b'{"errorCode":"WRITES_NOT_ALLOWED_DURING_APP_UPGRADES"}'
BUCKET = b'{"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":["groups",55,10,5,60]}'


def failed(status, *, retry_after=None, body=b""):
    headers = CIMultiDict() if retry_after is None else CIMultiDict({"Retry-After": retry_after})
    return Response(status, headers, body)


class ScriptedRequest:
    """A request with predefined results; the last one repeats."""

    def __init__(
        self, fake_time, *results, random=0.5, attempts=5, deadline_s=math.inf, blocked_s=1
    ):
        self.results = list(results)
        self.attempts_made = 1
        self.blocked_s = blocked_s
        self.retry_policy = RetryPolicy(
            attempts, deadline_s, fake_time.sleep, lambda: random, fake_time.monotonic
        )

    async def retry(self):
        self.attempts_made += 1
        return self.results[min(self.attempts_made, len(self.results)) - 1]

    async def run(self, *, cancelled=None):
        self.retry_loop = RetryLoop(
            self.retry_policy, lambda: NOW, lambda: self.blocked_s, cancelled=cancelled
        )
        return await self.retry_loop.run(self.results[0], self.retry)


@pytest.mark.parametrize(
    ("result", "decision"),
    [
        (GOOD, RetryDecision.DONE),
        (failed(400), RetryDecision.DONE),
        (failed(401), RetryDecision.REAUTHENTICATE),
        (failed(401, body=ROLE), RetryDecision.REAUTHENTICATE),
        (failed(403), RetryDecision.DONE),
        (failed(404), RetryDecision.DONE),
        (failed(405), RetryDecision.DONE),
        (failed(405, body=UPGRADE), RetryDecision.RETRY),
        (failed(406), RetryDecision.DONE),
        (failed(410), RetryDecision.DONE),
        (failed(429), RetryDecision.RATE_LIMITED),
        (failed(500), RetryDecision.RETRY),
        (failed(501), RetryDecision.DONE),
        (failed(502), RetryDecision.RETRY),
        (failed(503), RetryDecision.RETRY),
        (failed(504), RetryDecision.RETRY),
        (failed(505), RetryDecision.DONE),
        (failed(302), RetryDecision.DONE),
        (CUT, RetryDecision.RETRY),
        (RequestFailed("wrong certificate", retryable=False), RetryDecision.DONE),
    ],
)
def test_status_decides_what_is_retried(result, decision):
    assert classify(result) is decision


async def test_5_attempts_include_the_first(fake_time):
    request = ScriptedRequest(fake_time, CUT, attempts=5)

    assert await request.run() is CUT
    assert request.attempts_made == 5
    assert len(fake_time.slept) == 4


async def test_one_attempt_allows_no_retry(fake_time):
    request = ScriptedRequest(fake_time, failed(500), attempts=1)

    assert (await request.run()).status == 500
    assert (request.attempts_made, fake_time.slept) == (1, [])


async def test_successful_response_ends_the_retries(fake_time):
    request = ScriptedRequest(fake_time, CUT, failed(503), GOOD)

    assert await request.run() is GOOD
    assert request.attempts_made == 3


async def test_waits_double_up_to_30_s(fake_time):
    request = ScriptedRequest(fake_time, CUT, random=1.0, attempts=10)

    await request.run()

    assert fake_time.slept == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_full_jitter_can_make_a_wait_0(fake_time):
    await ScriptedRequest(fake_time, CUT, random=0.0, attempts=3).run()

    assert fake_time.slept == [0, 0]


async def test_503_waits_at_least_its_retry_after(fake_time):
    await ScriptedRequest(fake_time, failed(503, retry_after="7"), GOOD).run()

    assert fake_time.slept == [7]


async def test_503_with_a_retry_after_below_the_backoff_waits_the_backoff(fake_time):
    later = failed(503, retry_after="1")

    await ScriptedRequest(fake_time, CUT, CUT, CUT, CUT, later, GOOD, random=1.0, attempts=9).run()

    assert fake_time.slept[-1] == 8


async def test_429_does_not_count_as_an_attempt(fake_time):
    request = ScriptedRequest(fake_time, *[failed(429)] * 20, CUT, CUT, GOOD, attempts=3)

    assert await request.run() is GOOD
    assert request.attempts_made == 23


async def test_429_waits_as_long_as_the_rate_limiter_blocks_the_bucket(fake_time):
    await ScriptedRequest(fake_time, failed(429, retry_after="7"), GOOD, blocked_s=20).run()

    assert fake_time.slept == [20]


async def test_lasting_429_is_retried_until_the_deadline(fake_time):
    request = ScriptedRequest(
        fake_time, failed(429), deadline_s=fake_time.now_s + 100, blocked_s=40
    )

    assert (await request.run()).status == 429
    assert fake_time.slept == [40, 40, 21]
    assert request.attempts_made == 3


@pytest.mark.parametrize("retry_after", ["10", "11", "120"])
async def test_wait_that_reaches_the_deadline_ends_1_s_after_it_without_a_retry(
    fake_time, retry_after
):
    request = ScriptedRequest(
        fake_time, failed(503, retry_after=retry_after), deadline_s=fake_time.now_s + 10
    )

    assert (await request.run()).status == 503
    assert (request.attempts_made, fake_time.slept, request.retry_loop.retries_cut_short) == (
        1,
        [11],
        True,
    )


async def test_wait_that_ends_before_the_deadline_is_followed_by_a_retry(fake_time):
    request = ScriptedRequest(
        fake_time, failed(503, retry_after="10"), GOOD, deadline_s=fake_time.now_s + 10.1
    )

    assert await request.run() is GOOD
    assert (request.attempts_made, fake_time.slept, request.retry_loop.retries_cut_short) == (
        2,
        [10],
        False,
    )


@pytest.mark.parametrize("left_s", [0, -5])
async def test_no_wait_once_the_deadline_is_reached(fake_time, left_s):
    request = ScriptedRequest(fake_time, failed(503), deadline_s=fake_time.now_s + left_s)

    assert (await request.run()).status == 503
    assert (request.attempts_made, fake_time.slept, request.retry_loop.retries_cut_short) == (
        1,
        [],
        True,
    )


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_cancelled_wait_ends_within_1_s_without_a_retry(fake_time, status):
    request = ScriptedRequest(fake_time, failed(status, retry_after="20"), blocked_s=20)
    start_s = fake_time.now_s

    result = await request.run(cancelled=lambda: fake_time.now_s > start_s + 4.5)

    assert result.status == status
    assert (request.attempts_made, sum(fake_time.slept), request.retry_loop.retries_cut_short) == (
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

    assert (request.attempts_made, request.retry_loop.retries_cut_short) == (2, False)


async def test_retry_cancelled_before_it_is_sent_is_cut_short(fake_time):
    request = ScriptedRequest(fake_time, failed(500), CANCELLED)

    assert await request.run() is CANCELLED
    assert request.retry_loop.retries_cut_short


async def test_401_is_retried_once(fake_time):
    lasting = ScriptedRequest(fake_time, failed(401), failed(401), GOOD)
    transient = ScriptedRequest(fake_time, failed(401), GOOD)

    assert (await lasting.run()).status == 401
    assert lasting.attempts_made == 2
    assert await transient.run() is GOOD


async def test_401_is_not_retried_with_one_attempt(fake_time):
    request = ScriptedRequest(fake_time, failed(401), GOOD, attempts=1)

    assert (await request.run()).status == 401
    assert request.attempts_made == 1


@pytest.mark.parametrize(("attempts", "last"), [(3, CUT), (4, GOOD)])
async def test_401_between_other_failures_counts_as_an_attempt(fake_time, attempts, last):
    request = ScriptedRequest(fake_time, CUT, failed(401), CUT, GOOD, attempts=attempts)

    assert await request.run() is last
    assert request.attempts_made == attempts


async def test_429_between_401s_does_not_count_as_an_attempt(fake_time):
    request = ScriptedRequest(fake_time, failed(401), failed(429), failed(429), GOOD, attempts=2)

    assert await request.run() is GOOD


async def test_task_cancelled_during_a_wait_raises_cancelled_error(fake_time):
    request = ScriptedRequest(fake_time, CUT)
    request.retry = asyncio.Event().wait
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
    class Instant:
        now_s = 0.0

        def monotonic(self):
            return self.now_s

        async def sleep(self, seconds):
            self.now_s += seconds

    request = ScriptedRequest(Instant(), CUT, *results, GOOD, attempts=attempts)

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
        (BUCKET, RateLimitDetails(55.0, (10, 5, 60))),
        (BUCKET.replace(b"55", b"0"), RateLimitDetails(1.0, (10, 5, 60))),
        (
            b'{"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":["groups",7]}',
            RateLimitDetails(7.0),
        ),
        (b'{"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":["groups"]}', RateLimitDetails()),
        (b'{"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":null}', RateLimitDetails()),
        (
            b'{"errorCode":"RATE_LIMITED","parameters":["/api/oauth/token",50,1]}',
            RateLimitDetails(),
        ),
        (b"", RateLimitDetails()),
    ],
)
def test_details_in_the_body_of_a_429_are_parsed_as_far_as_they_are_valid(body, details):
    assert parse_rate_limit_error(failed(429, body=body)) == details
