import asyncio
import math
from datetime import UTC, datetime, timedelta

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


class Tries:
    """A request whose results are known beforehand; the last one comes for ever."""

    def __init__(self, fake_time, *results, random=0.5, attempts=5, deadline_s=math.inf):
        self.results = list(results)
        self.made = 1
        self.retry_policy = RetryPolicy(
            attempts, deadline_s, fake_time.sleep, lambda: random, fake_time.monotonic
        )

    async def again(self):
        self.made += 1
        return self.results[min(self.made, len(self.results)) - 1]

    async def run(self, *, cancelled=None):
        self.retry_loop = RetryLoop(self.retry_policy, lambda: NOW, cancelled=cancelled)
        return await self.retry_loop.run(self.results[0], self.again)


@pytest.mark.parametrize(
    ("result", "kind"),
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
def test_what_is_tried_again(result, kind):
    assert classify(result) is kind


async def test_tries_are_bounded_with_the_first_one_included(fake_time):
    tries = Tries(fake_time, CUT, attempts=5)

    assert await tries.run() is CUT
    assert tries.made == 5
    assert len(fake_time.slept) == 4


async def test_one_attempt_is_one_try(fake_time):
    tries = Tries(fake_time, failed(500), attempts=1)

    assert (await tries.run()).status == 500
    assert (tries.made, fake_time.slept) == (1, [])


async def test_a_good_answer_ends_it(fake_time):
    tries = Tries(fake_time, CUT, failed(503), GOOD)

    assert await tries.run() is GOOD
    assert tries.made == 3


async def test_waits_double_up_to_30_s_with_full_jitter(fake_time):
    longest = Tries(fake_time, CUT, random=1.0, attempts=10)

    await longest.run()

    assert fake_time.slept == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


async def test_jitter_can_make_a_wait_nothing(fake_time):
    await Tries(fake_time, CUT, random=0.0, attempts=3).run()

    assert fake_time.slept == [0, 0]


async def test_a_503_waits_at_least_as_long_as_it_asks(fake_time):
    await Tries(fake_time, failed(503, retry_after="7"), GOOD).run()

    assert fake_time.slept == [7]


async def test_a_503_that_asks_for_less_than_the_backoff_gets_the_backoff(fake_time):
    later = failed(503, retry_after="1")

    await Tries(fake_time, CUT, CUT, CUT, CUT, later, GOOD, random=1.0, attempts=9).run()

    assert fake_time.slept[-1] == 8


async def test_a_429_is_not_counted_against_the_tries(fake_time):
    tries = Tries(fake_time, *[failed(429)] * 20, CUT, CUT, GOOD, attempts=3)

    assert await tries.run() is GOOD
    assert tries.made == 23


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ("5", 5),
        (None, 1),
        ("0", 1),
        ("-1", 1),
        ("nan", 1),
        ("x", 1),
        ("86400", 120),
        ("1", 1),
        ((NOW + timedelta(seconds=9)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 9),
    ],
)
async def test_the_first_429_waits_what_it_asks_between_1_and_120_s(fake_time, retry_after, wait_s):
    await Tries(fake_time, failed(429, retry_after=retry_after), GOOD, random=0.0).run()

    assert fake_time.slept == [wait_s]


async def test_from_the_second_429_on_it_waits_10_20_and_40_s_at_least(fake_time):
    await Tries(fake_time, *[failed(429)] * 6, GOOD, random=0.0).run()

    assert fake_time.slept == [1, 10, 20, 40, 40, 40]


async def test_the_steps_have_jitter_on_top_and_never_below(fake_time):
    await Tries(fake_time, *[failed(429)] * 4, GOOD, random=1.0).run()

    assert fake_time.slept == [1.25, 12.5, 25, 50]


async def test_a_429_that_asks_for_more_than_the_step_gets_it(fake_time):
    await Tries(fake_time, *[failed(429, retry_after="60")] * 2, GOOD).run()

    assert fake_time.slept == [60, 60]


async def test_a_429_without_the_header_may_say_it_in_its_body(fake_time):
    await Tries(fake_time, failed(429, body=BUCKET), GOOD).run()

    assert fake_time.slept == [55]


async def test_the_deadline_bounds_a_429_that_lasts(fake_time):
    tries = Tries(fake_time, failed(429), random=0.0, deadline_s=fake_time.now_s + 100)

    assert (await tries.run()).status == 429
    assert fake_time.slept == [1, 10, 20, 40, 30]
    assert tries.made == 5


@pytest.mark.parametrize("asks_s", ["10", "11", "120"])
async def test_a_wait_to_the_deadline_or_beyond_ends_a_second_after_it_and_no_try_follows(
    fake_time, asks_s
):
    tries = Tries(fake_time, failed(503, retry_after=asks_s), deadline_s=fake_time.now_s + 10)

    assert (await tries.run()).status == 503
    assert (tries.made, fake_time.slept, tries.retry_loop.retries_cut_short) == (1, [11], True)


async def test_a_try_follows_a_wait_that_ends_just_before_the_deadline(fake_time):
    tries = Tries(fake_time, failed(503, retry_after="10"), GOOD, deadline_s=fake_time.now_s + 10.1)

    assert await tries.run() is GOOD
    assert (tries.made, fake_time.slept, tries.retry_loop.retries_cut_short) == (2, [10], False)


@pytest.mark.parametrize("left_s", [0, -5])
async def test_nothing_is_waited_for_once_the_deadline_has_come(fake_time, left_s):
    tries = Tries(fake_time, failed(503), deadline_s=fake_time.now_s + left_s)

    assert (await tries.run()).status == 503
    assert (tries.made, fake_time.slept, tries.retry_loop.retries_cut_short) == (1, [], True)


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_wait_that_is_called_off_is_followed_by_no_try(fake_time, status):
    tries = Tries(fake_time, failed(status, retry_after="20"))
    begin_s = fake_time.now_s

    result = await tries.run(cancelled=lambda: fake_time.now_s > begin_s + 4.5)

    assert result.status == status
    assert (tries.made, sum(fake_time.slept), tries.retry_loop.retries_cut_short) == (1, 5, True)


@pytest.mark.parametrize(
    "results",
    [[failed(500), failed(403)], [failed(500), failed(500)], [failed(401), failed(401)]],
    ids=["final", "spent", "401 twice"],
)
async def test_what_ends_by_itself_was_not_cut_short_though_it_was_called_off(fake_time, results):
    tries = Tries(fake_time, *results, attempts=2)

    await tries.run(cancelled=lambda: tries.made == 2)

    assert (tries.made, tries.retry_loop.retries_cut_short) == (2, False)


async def test_a_try_that_is_called_off_at_the_last_moment_was_cut_short(fake_time):
    tries = Tries(fake_time, failed(500), CANCELLED)

    assert await tries.run() is CANCELLED
    assert tries.retry_loop.retries_cut_short


async def test_a_401_is_asked_once_more_before_it_is_believed(fake_time):
    lasting = Tries(fake_time, failed(401), failed(401), GOOD)
    passing = Tries(fake_time, failed(401), GOOD)

    assert (await lasting.run()).status == 401
    assert lasting.made == 2
    assert await passing.run() is GOOD


async def test_a_401_is_not_asked_again_where_one_attempt_is_all(fake_time):
    tries = Tries(fake_time, failed(401), GOOD, attempts=1)

    assert (await tries.run()).status == 401
    assert tries.made == 1


@pytest.mark.parametrize(("attempts", "last"), [(3, CUT), (4, GOOD)])
async def test_a_401_between_other_failures_is_counted_with_them(fake_time, attempts, last):
    tries = Tries(fake_time, CUT, failed(401), CUT, GOOD, attempts=attempts)

    assert await tries.run() is last
    assert tries.made == attempts


async def test_a_429_between_401s_is_counted_with_neither(fake_time):
    tries = Tries(fake_time, failed(401), failed(429), failed(429), GOOD, attempts=2)

    assert await tries.run() is GOOD


async def test_a_cancellation_passes_through(fake_time):
    tries = Tries(fake_time, CUT)
    tries.again = asyncio.Event().wait
    running = asyncio.create_task(tries.run())
    while not fake_time.slept:
        await asyncio.sleep(0)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


@given(
    st.lists(st.sampled_from([CUT, failed(500), failed(429), failed(401), GOOD, failed(404)])),
    st.integers(1, 6),
)
def test_no_course_makes_more_tries_than_it_may(results, attempts):
    class Instant:
        now_s = 0.0

        def monotonic(self):
            return self.now_s

        async def sleep(self, seconds):
            self.now_s += seconds

    tries = Tries(Instant(), CUT, *results, GOOD, attempts=attempts)

    last = asyncio.run(tries.run())

    seen = tries.results[: tries.made]
    assert last is seen[-1]
    counted = {RetryDecision.RETRY, RetryDecision.REAUTHENTICATE}
    assert sum(classify(r) in counted for r in seen) <= attempts
    assert sum(classify(r) is RetryDecision.REAUTHENTICATE for r in seen) <= 2
    assert all(classify(r) is not RetryDecision.DONE for r in seen[:-1])


@pytest.mark.parametrize(
    ("body", "told"),
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
def test_a_429_says_of_its_bucket_what_it_can(body, told):
    assert parse_rate_limit_error(failed(429, body=body)) == told
