"""Which results are retried, how often, and after which wait."""

import asyncio
from datetime import UTC, datetime
from http.client import TOO_MANY_REQUESTS

import pytest
from builders import PROJECT
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from reviewed import assert_reviewed
from virtual_time import FakeTime, run_skipping_idle_time

from invite_sweeper.atlas.client import Client
from invite_sweeper.atlas.credentials import Credentials, CredentialsKind, Secret
from invite_sweeper.atlas.endpoints import (
    DELETE_GROUP_INVITE,
    LIST_ORG_USERS,
    PROJECTS_GROUP,
    BucketLimit,
)
from invite_sweeper.atlas.http import RequestCounters
from invite_sweeper.atlas.limits import RateLimiter, parse_rate_limit_error
from invite_sweeper.atlas.responses import (
    CANCELLED,
    RequestFailed,
    Response,
    RetryDecision,
    classify,
    describe,
)
from invite_sweeper.outcomes import Sending
from invite_sweeper.policy import Execution

NOW = datetime(2026, 11, 25, 1, 0, 0, tzinfo=UTC)
CUT = RequestFailed("cut")
ROLE = b'{"errorCode":"USER_UNAUTHORIZED"}'
UPGRADE = b'{"errorCode":"WRITES_NOT_ALLOWED_DURING_APP_UPGRADES"}'
BUCKET = b'{"errorCode":"RATE_LIMITED_TOKEN_BUCKET","parameters":["groups",55,10,5,60]}'


def failed(status, *, retry_after=None, body=b""):
    headers = CIMultiDict() if retry_after is None else CIMultiDict({"Retry-After": retry_after})
    return Response(status, headers, body)


GOOD = failed(204)


class ScriptedHttp:
    """Returns predefined results, the last one again and again."""

    repeats = 0

    def __init__(self, results):
        self.counters = RequestCounters()
        self.results = list(results)
        self.sent = 0

    async def send(self, *_args, **_options):
        self.sent += 1
        return self.results[min(self.sent, len(self.results)) - 1]


class Log:
    def __init__(self):
        self.told = []
        self.retried = []
        self.requests = []

    def debug(self, event, **fields):
        if event == "retrying":
            self.retried.append(fields["why"])
        else:
            self.requests.append((event, fields))

    def info(self, _event, *, reason, next_attempt_in_s):
        self.told.append((reason, next_attempt_in_s))


class Deletion:
    """A deletion with predefined results; waits end at once."""

    def __init__(self, *results, attempts=5, left_s=float("inf")):
        self.time = FakeTime()
        self.http = ScriptedHttp(results)
        self.log = Log()
        self.progress = Sending()
        self.client = Client(
            self.http,
            Credentials(CredentialsKind.ACCESS_TOKEN, "token", Secret("a-token")),
            limiter=RateLimiter(self.time.monotonic, self.time.sleep),
            execution=Execution(concurrency=1, attempts=attempts),
            retry_until_s=self.time.now_s + left_s,
            clock=lambda: NOW,
            log=self.log,
        )

    async def send(self, progress=None):
        request = self.client.request(DELETE_GROUP_INVITE, PROJECT, PROJECT, progress=progress)
        return await self.client.call(request)


def set_random(monkeypatch, share):
    monkeypatch.setattr("random.random", lambda: share)
    monkeypatch.setattr("random.uniform", lambda low, high: low + share * (high - low))


ANSWERS = [
    *(GOOD, CUT, RequestFailed("wrong certificate", retryable=False)),
    *(failed(401), failed(401, body=ROLE), failed(405, body=UPGRADE)),
    *map(failed, (302, 400, 403, 404, 405, 410, 500, 501, 502, 503, 504, 505)),
    *(failed(429, body=body) for body in (b"", BUCKET, BUCKET.replace(b"55", b"0"))),
    # What is not valid is not believed.
    failed(429, body=BUCKET.replace(b"10", b"0")),
    failed(429, body=BUCKET.replace(b"60", b"-1")),
    *(failed(429, body=BUCKET.replace(n, n + b"0" * 400)) for n in (b"55", b"10", b",5", b"60")),
    failed(429, body=BUCKET.replace(b",10,5,60", b"")),
    failed(429, body=BUCKET.replace(b'["groups",55,10,5,60]', b"null")),
    failed(429, body=BUCKET.replace(b"_TOKEN_BUCKET", b"")),
]


def test_answers_decide_what_is_retried_and_name_a_limit_as_it_was_reviewed():
    text = ""
    for result in ANSWERS:
        text += f"{describe(result)}: {classify(result).name}\n"
        if result.status == TOO_MANY_REQUESTS:
            text += f"    {result.body.decode()[:120]}\n    {parse_rate_limit_error(result)}\n"
    assert_reviewed(text, __file__, "answers.txt")


LATER = failed(503, retry_after="10")
LIMITED = failed(429, retry_after="7")
CASES = {
    # The results, the last of which repeats, where in its range a random wait is, and options.
    "5 attempts include the first": ([failed(500)], 0.5, {}),
    "5 attempts without a response outlast a minute": ([CUT], 0.0, {}),
    "jitter adds a quarter to the waits for a response": ([CUT], 1.0, {"attempts": 7}),
    "one attempt allows no retry": ([failed(500)], 0.5, {"attempts": 1}),
    "waits double up to 30 s": ([failed(500)], 1.0, {"attempts": 10}),
    "503 blocks its bucket for its Retry-After": ([LATER, GOOD], 0.0, {}),
    "429 does not count as an attempt": ([LIMITED, GOOD], 0.5, {"attempts": 1}),
    "lasting 429 is retried as long as it is allowed": ([LIMITED], 0.5, {"left_s": 100}),
    "wait ends when nothing more may be sent": ([LATER], 0.0, {"left_s": 9}),
    "wait that ends before is followed by a retry": ([LATER, GOOD], 0.0, {"left_s": 10.1}),
    "no wait where nothing may be sent": ([failed(503)], 0.5, {"left_s": 0}),
    "lasting 401 is retried twice": ([failed(401)], 0.5, {}),
    "lasting 401 for a role is retried once": ([failed(401, body=ROLE)], 0.5, {}),
    "401 is not retried with one attempt": ([failed(401), GOOD], 0.5, {"attempts": 1}),
    "401 between other failures is the last of 3 attempts": (
        [CUT, failed(401), CUT, GOOD],
        0.5,
        {"attempts": 3},
    ),
    "429 between 401s does not count as an attempt": (
        [failed(401), LIMITED, LIMITED, GOOD],
        0.5,
        {"attempts": 2},
    ),
}


async def test_retries_and_their_waits_are_as_they_were_reviewed(monkeypatch):
    text = ""
    for name, (results, share, options) in CASES.items():
        set_random(monkeypatch, share)
        deletion = Deletion(*results, **options)
        last = describe(await deletion.send())
        sent = deletion.http.sent
        waits = ", ".join(f"{seconds:g}" for seconds in deletion.time.slept) or "none"
        text += f"== {name}\n{sent} requests, the last: {last}; waits: {waits}\n"
        assert deletion.client.counters.retries == sent - 1
    assert_reviewed(text, __file__, "retries.txt")


@pytest.mark.parametrize(
    ("result", "told"), [(CUT, [("cut", 10), ("cut", 20), ("cut", 30)]), (LATER, [])]
)
def test_only_waits_of_6_s_or_more_without_a_response_are_logged_and_of_several_one(
    monkeypatch, result, told
):
    set_random(monkeypatch, 0.0)
    deletion = Deletion(result)

    async def scenario():
        limiter = deletion.client.limiter
        limiter.clock = asyncio.get_running_loop().time
        limiter.sleep = asyncio.sleep
        await asyncio.gather(*(deletion.send() for _ in range(3)))

    run_skipping_idle_time(scenario, poll_s=0)
    assert deletion.log.told == told


@pytest.mark.parametrize("status", [429, 503])
async def test_cancelled_wait_ends_within_1_s_without_a_retry(monkeypatch, status):
    set_random(monkeypatch, 0.0)
    deletion = Deletion(failed(status, retry_after="20"))
    sleep = deletion.time.sleep

    async def sleep_and_cancel(seconds):
        await sleep(seconds)
        deletion.progress.cancelled = sum(deletion.time.slept) > 4.5

    deletion.client.limiter.sleep = sleep_and_cancel
    result = await deletion.send(deletion.progress)

    assert (result.status, deletion.http.sent, sum(deletion.time.slept)) == (status, 1, 5)


async def test_cancelled_request_is_not_sent_and_its_token_is_there_again():
    deletion = Deletion(GOOD)
    bucket = deletion.client.limiter.bucket(PROJECTS_GROUP, PROJECT)
    level = bucket.level
    deletion.progress.cancelled = True

    assert await deletion.send(deletion.progress) is CANCELLED
    assert (deletion.http.sent, deletion.log.requests) == (0, [])
    assert (bucket.in_flight, bucket.level) == (0, level)


async def test_retry_waits_until_a_429_of_another_request_no_longer_blocks_its_bucket():
    deletion = Deletion(CUT, GOOD)
    bucket = deletion.client.limiter.bucket(PROJECTS_GROUP, PROJECT)
    bucket.in_flight += 1  # the other request
    deletion.progress.on_backoff = lambda: bucket.on_429(deletion.time.now_s, 20.0, jitter=0.0)
    assert await deletion.send(deletion.progress) == GOOD
    assert sum(deletion.time.slept) >= 20


@given(
    st.lists(st.sampled_from([CUT, failed(500), LIMITED, failed(401), GOOD, failed(404)])),
    st.integers(1, 6),
)
def test_no_sequence_of_results_exceeds_the_attempts_or_three_401s(results, attempts):
    deletion = Deletion(CUT, *results, GOOD, attempts=attempts)
    backoffs = []
    deletion.progress.on_backoff = lambda: backoffs.append(deletion.http.sent)

    last = asyncio.run(deletion.send(deletion.progress))

    seen = deletion.http.results[: deletion.http.sent]
    assert last is seen[-1]
    assert backoffs == list(range(1, deletion.http.sent))  # one before each retry
    assert deletion.log.retried == ["cut" if e is CUT else e.status for e in seen[:-1]]
    counted = {RetryDecision.RETRY, RetryDecision.REAUTHENTICATE}
    assert sum(classify(each) in counted for each in seen) <= attempts
    assert sum(classify(each) is RetryDecision.REAUTHENTICATE for each in seen) <= 3
    assert all(classify(each) is not RetryDecision.DONE for each in seen[:-1])


async def test_limit_that_the_body_of_a_429_names_is_that_of_its_bucket():
    deletion = Deletion(failed(429, body=BUCKET), GOOD)
    await deletion.send()
    bucket = deletion.client.limiter.bucket(PROJECTS_GROUP, PROJECT)
    assert (bucket.limit, deletion.time.slept) == (BucketLimit(10, 5, 60), [55])
    assert deletion.client.counters.rate_limited == 1


async def test_each_request_is_logged_with_method_path_status_and_duration_without_the_query():
    deletion = Deletion(CUT, failed(404))
    await deletion.send()
    request = deletion.client.request(LIST_ORG_USERS, PROJECT, page=1)
    await deletion.client.call(request)

    path = f"/api/atlas/v2/groups/{PROJECT}/invites/{PROJECT}"
    paths = [("DELETE", path, "cut"), ("DELETE", path, 404)]
    paths += [("GET", f"/api/atlas/v2/orgs/{PROJECT}/users", 404)]
    assert deletion.log.requests == [
        ("request", {"method": method, "path": path, "status": status, "ms": 0})
        for method, path, status in paths
    ]
