"""One call to Atlas, from the request to its answer.

Each step waits for the next: `_repeat_until_final` takes the rate-limit tokens of each further
attempt and waits between them, `_attempt` waits for a connection slot and the authorization, and
`_send` sends one request and reads what its response proves. Before a removal of a user, `_attempt`
has `_send_after_looks` send the looks.

Everything that can wait comes before a request is sent. `call` repeats a request that may have been
processed, which is harmless for reads and for DELETEs of invitations. `call_after` sends a removal
of a user once.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from http.client import NO_CONTENT, SERVICE_UNAVAILABLE, TOO_MANY_REQUESTS
from typing import Final, Self

import msgspec
from structlog.typing import FilteringBoundLogger
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_result,
    stop_after_attempt,
    wait_chain,
    wait_random,
    wait_random_exponential,
)

from invite_sweeper.atlas.auth import RequestSigner
from invite_sweeper.atlas.credentials import Credentials, Secret
from invite_sweeper.atlas.endpoints import Endpoint, build_path
from invite_sweeper.atlas.http import (
    Authorization,
    Body,
    HttpSession,
    Request,
)
from invite_sweeper.atlas.limits import (
    RateLimitDetails,
    RateLimiter,
    ServerInfo,
    TokenBucket,
    parse_int_header,
    parse_rate_limit_error,
    retry_after_s,
)
from invite_sweeper.atlas.responses import (
    CANCELLED,
    Decide,
    RequestFailed,
    Response,
    ResponseOrFailure,
    RetryDecision,
    classify,
    is_unauthenticated,
    is_unprocessed,
    parse_body,
)
from invite_sweeper.outcomes import Outcome, Sending
from invite_sweeper.policy import Execution

LONG_WAIT_S: Final = 6.0
"""A wait this long for an Atlas that does not respond is shown; one of them in this time."""
_CANCEL_CHECK_S: Final = 1.0
"""The longest wait after which it is checked whether the request was cancelled."""
_BACKOFF: Final = wait_random_exponential(multiplier=0.5, max=30.0)
"""Waits after a response: up to 0.5, 1, 2 … 30 seconds."""
_UNREACHABLE: Final = wait_chain(
    wait_random(0.5, 0.625),
    wait_random(10, 12.5),
    wait_random(20, 25),
    wait_random(30, 37.5),
)
"""Waits after a request without a response, each with a quarter of jitter. With the default of 5
attempts they outlast a minute in which Atlas or the proxy is not reachable."""
_MAX_RETRIES: Final = {
    RetryDecision.DONE: 0,
    RetryDecision.ONCE_MORE: 1,
    RetryDecision.REAUTHENTICATE: 2,  # a new access token may be rejected as well
}
"""How often results with a decision are retried, if the number of attempts allows it."""
_BACK_OFF_STATUSES: Final = frozenset({TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE})

MAX_READ_AGE_S: Final = 1.0
"""How old what was read before a removal may be when the removal is sent: the time since the read
was started."""


class Client:
    """Sends requests with one set of credentials, and retries them until the result is final.

    Nothing is sent before it is used. At the end of its block it revokes the access tokens that it
    fetched. A method that sends a request raises RunError if it cannot get an access token.

    Args:
        execution: Its `attempts` include the first one of a request; a 429 does not count.
        limiter: The rate limits that all clients of a run share.
        clock: Current time in UTC; compared with Atlas's `Date` header.
        log: Each retry is logged at debug level, a long wait without a response at info level.
        retry_until_s: Nothing is retried after it, on the limiter's clock.
    """

    def __init__(
        self,
        http: HttpSession,
        credentials: Credentials,
        *,
        execution: Execution,
        limiter: RateLimiter,
        clock: Callable[[], datetime],
        log: FilteringBoundLogger,
        retry_until_s: float = math.inf,
    ) -> None:
        self.actor = credentials.actor
        self.limiter = limiter
        self.server = ServerInfo(clock)
        self.counters = http.counters
        self._http = http
        self._slots = asyncio.Semaphore(execution.concurrency)
        self._signer = RequestSigner(
            credentials,
            self._call_for_tokens,
            clock=limiter.clock,
        )
        self._attempts = execution.attempts
        self._retry_until_s = retry_until_s
        self._log = log
        self._long_wait_shown_s = -math.inf

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._signer.close()

    def request(
        self,
        endpoint: Endpoint,
        *ids: str,
        page: int | None = None,
        username: str | None = None,
        parse: Callable[[bytes], object] | None = None,
        progress: Sending | None = None,
        body: Body | None = None,
    ) -> Request:
        """Return a request, which is not sent yet.

        Args:
            endpoint: An argument of `build_path`, which checks it, as are `ids`, `page`
                and `username`.
            parse: A field of `Request`, as are `progress` and `body`.

        Raises:
            InvalidRequest: `build_path` refuses its arguments.
        """
        path, query = build_path(endpoint, *ids, page=page, username=username)
        place_id = ids[0] if ids else self.actor
        bucket = self.limiter.bucket(endpoint.endpoint_set, place_id)
        return Request(endpoint, path, query, bucket, parse, progress, body)

    async def call(
        self,
        request: Request,
        *,
        decide: Decide = classify,
        token_taken: bool = False,
    ) -> ResponseOrFailure:
        """Send a request, retry it until its result is final, and return the last result.

        Args:
            decide: Which results are retried.
            token_taken: The caller has acquired the rate-limit token of the first attempt.
        """
        if not token_taken:
            await self.limiter.acquire(request.bucket)
        exchange = Exchange(request)
        return await self._repeat_until_final(exchange, partial(self._attempt, exchange), decide)

    async def call_after(self, looks: Sequence["Look"], removal: Request) -> "Exchange":
        """Look at a user, and directly afterwards send the removal, if no look is against it.

        The removal is sent at most once. All is repeated, from the first look on, only while
        nothing can have happened: a look failed, or the removal was not processed
        (`is_unprocessed`).

        Args:
            looks: Sent when nothing is left that could delay the removal.
            removal: The caller has acquired one token for each of the requests.
        """
        exchange = Exchange(removal, looks)
        attempt = partial(self._attempt, exchange)
        await self._repeat_until_final(exchange, attempt, exchange.decide)
        return exchange

    async def _call_for_tokens(
        self,
        header: Secret,
        endpoint: Endpoint,
        body: Mapping[str, str],
        decide: Decide,
    ) -> ResponseOrFailure:
        """Send a request about access tokens.

        It takes no slot, because the requests that wait for the token hold the slots.
        """
        request = self.request(endpoint, body=body)
        await self.limiter.acquire(request.bucket)
        attempt = partial(self._send, request, header)
        return await self._repeat_until_final(Exchange(request), attempt, decide)

    async def _repeat_until_final(
        self,
        exchange: "Exchange",
        attempt: Callable[[], Awaitable[ResponseOrFailure]],
        decide: Decide,
    ) -> ResponseOrFailure:
        """Make attempts until the result is final, and return it; tenacity repeats them.

        Args:
            exchange: Of what an attempt sends. Its request ends the attempts when cancelled.
            attempt: Makes one, whose tokens were acquired.
            decide: Which results are final.
        """
        result = await attempt()
        if decide(result) is RetryDecision.DONE:  # as for most requests
            return result
        request = exchange.request
        buckets = exchange.buckets
        may_send = True
        retries = Counter[RetryDecision]()

        async def send_again() -> None:
            nonlocal result, may_send
            may_send = await self._acquire_again(request, buckets)
            if may_send:
                self.counters.retries += 1
                result = await attempt()

        async def next_result() -> ResponseOrFailure:
            if retries:  # the first attempt was made above
                await send_again()
            # A 429 is no attempt: Atlas may answer so as often as it likes, until the deadline.
            while may_send and decide(result) is RetryDecision.RATE_LIMITED:
                blocked_until_s = max(bucket.blocked_until_s for bucket in buckets)
                self._report_wait(request, result, blocked_until_s - self.limiter.clock())
                await send_again()
            return result

        def is_retried(last: ResponseOrFailure) -> bool:
            decision = decide(last)
            retries[decision] += 1
            return may_send and retries[decision] <= _MAX_RETRIES.get(decision, math.inf)

        def backoff_s(state: RetryCallState) -> float:
            return _UNREACHABLE(state) if result.status is None else _BACKOFF(state)

        retrying = AsyncRetrying(
            retry=retry_if_result(is_retried),
            stop=stop_after_attempt(self._attempts),
            wait=backoff_s,
            before_sleep=lambda state: self._report_wait(request, result, state.upcoming_sleep),
            # The `Retry-After` of a 429 or 503 blocks the bucket, whose token is acquired next.
            sleep=partial(self._wait, request),
            retry_error_callback=lambda _: result,
        )
        return await retrying(next_result)

    async def _wait(self, request: Request, seconds: float) -> None:
        """Wait for some seconds, but not longer than the request may still be sent."""
        until_s = min(self.limiter.clock() + seconds, self._retry_until_s)
        # Only what has a `progress` can be cancelled: it is checked once a second.
        step_s = math.inf if request.progress is None else _CANCEL_CHECK_S
        left_s = until_s - self.limiter.clock()
        while left_s > 0 and not request.is_cancelled():
            await self.limiter.sleep(min(left_s, step_s))
            left_s = until_s - self.limiter.clock()

    async def _acquire_again(self, request: Request, buckets: Sequence[TokenBucket]) -> bool:
        """Wait for the tokens of another attempt; return False if it may not be made any more."""
        while not request.is_cancelled():
            if self.limiter.clock() >= self._retry_until_s:
                return False
            wait_s = self.limiter.try_acquire(*buckets, is_retry=True)
            if wait_s == 0.0:
                return True
            await self._wait(request, wait_s)
        return False

    def _report_wait(self, request: Request, result: ResponseOrFailure, wait_s: float) -> None:
        """Log the wait before a retry; the sweep may start another deletion meanwhile."""
        if request.progress is not None and request.progress.on_backoff is not None:
            request.progress.on_backoff()
        reason = result.reason if isinstance(result, RequestFailed) else result.status
        shown_s = round(max(0.0, wait_s), 3)
        self._log.debug("retrying", path=request.path, wait_s=shown_s, why=reason)
        now_s = self.limiter.clock()
        is_long = result.status is None and wait_s >= LONG_WAIT_S
        # Of the waits of several requests at the same time, one is reported.
        if is_long and now_s - self._long_wait_shown_s >= LONG_WAIT_S:
            self._long_wait_shown_s = now_s
            self._log.info("no response from Atlas", reason=reason, next_attempt_in_s=round(wait_s))

    async def _attempt(self, exchange: "Exchange") -> ResponseOrFailure:
        """Wait for places, a slot and the authorization; then send, and return the last result."""
        if self.limiter.is_spaced:
            # A digest middleware repeats a request without a place: it takes one afterwards.
            repeats = self._http.repeats
            self._http.repeats = 0
            for _ in range(len(exchange.buckets) + repeats):
                await self.limiter.wait_for_spacing()
        async with self._slots:
            authorization = await self._signer.authorization()
            try:
                if exchange.looks:
                    result = await self._send_after_looks(exchange, authorization)
                else:
                    result = await self._send(exchange.request, authorization)
            finally:
                self._signer.release(authorization)
        if is_unauthenticated(result) and not exchange.request.is_cancelled():
            # Also where this request is not sent again: the next ones need it.
            await self._signer.renew(authorization)
        return result

    async def _send_after_looks(
        self, exchange: "Exchange", authorization: Authorization
    ) -> ResponseOrFailure:
        """Send the looks, and the request if none is against it; return the last result.

        Between them nothing waits, and the request is sent within a second of the first look.
        """
        exchange.answer = None
        connect_s: float | None = None
        sent_until_s = self.limiter.clock() + MAX_READ_AGE_S
        for number, look in enumerate(exchange.looks, start=1):
            if exchange.request.is_cancelled():
                break
            exchange.seen = await self._send(look.read, authorization)
            # The connection, too, must be there before what was read is too old.
            connect_s = sent_until_s - self.limiter.clock()
            if connect_s <= 0:
                too_old = f"reading the user took longer than {MAX_READ_AGE_S:g} s"
                exchange.seen = RequestFailed(too_old)
            exchange.refusal = look.judge(exchange.seen)
            if exchange.refusal is not None:
                for bucket in exchange.buckets[number:]:
                    bucket.release()
                return exchange.seen
        exchange.answer = await self._send(exchange.request, authorization, connect_s)
        return exchange.answer

    async def _send(
        self,
        request: Request,
        authorization: Authorization,
        connect_s: float | None = None,
    ) -> ResponseOrFailure:
        """Send a request whose token was acquired, and return what its response proves.

        A response completes the request in its bucket first: that must happen exactly once, also
        where what follows fails. A look that a cache answered is not recorded in `server`, and not
        parsed.
        """
        if request.is_cancelled():  # its token was not used
            request.bucket.release()
            return CANCELLED
        endpoint = request.endpoint
        sent_s = self.limiter.clock()
        result = await self._http.send(request, authorization, connect_s)
        received_s = self.limiter.clock()
        self._log.debug(
            "request",
            method=endpoint.method,
            path=request.path,
            status=result.status if isinstance(result, Response) else result.reason,
            ms=round((received_s - sent_s) * 1000),
        )
        if not isinstance(result, Response):
            request.bucket.on_response(received_s)
            return result
        is_busy = result.status in _BACK_OFF_STATUSES
        backoff = self._requested_backoff(result) if is_busy else None
        if backoff is None:
            request.bucket.on_response(
                received_s,
                limit=parse_int_header(result.headers, "RateLimit-Limit"),
                remaining=parse_int_header(result.headers, "RateLimit-Remaining"),
            )
        else:
            # So that two clients do not retry at the same time.
            jitter = random.random()  # noqa: S311 - not a secret
            wait_s, limit = backoff
            request.bucket.on_429(received_s, wait_s, jitter=jitter, limit=limit)
        if endpoint.is_look:
            age_s = self.server.age_s(result.headers, received_s - sent_s)
            if age_s > 0:
                reason = f"the response is from a cache, {age_s:.0f} s off the time of its request"
                return RequestFailed(reason, status=result.status)
        self.server.update(result, endpoint)
        if request.progress is not None:
            # A 204 has no body in which a code could be.
            has_body = result.status != NO_CONTENT
            request.progress.error_code = result.code if has_body else None
        if request.parse is None:
            return result
        return parse_body(result, request.endpoint.media_type, request.parse)

    def _requested_backoff(self, response: Response) -> RateLimitDetails | None:
        """Return what a 429, or a 503 with `Retry-After`, requests; None of another 503.

        Source: `Retry-After` "might be returned for 429 or 503" (OpenAPI document, read 2026-08).
        """
        details: RateLimitDetails | None = None
        if response.status == TOO_MANY_REQUESTS:
            self.counters.rate_limited += 1
            details = parse_rate_limit_error(response)
        wait_s = retry_after_s(response.headers, self.server.clock)
        if wait_s is None:
            return details
        return RateLimitDetails(wait_s, details.limit if details else None)


class Look(msgspec.Struct, frozen=True):
    """A look at a user before the removal.

    Attributes:
        judge: Returns the outcome of a removal that must not be sent after this result, else None.
    """

    read: Request
    judge: Callable[[ResponseOrFailure], Outcome | None]


class Exchange(msgspec.Struct):
    """A request, and the looks that come directly before it.

    A removal is sent at most once, and only if no look is against it.

    Attributes:
        looks: Sent before each attempt, in this order.
        seen: The result of the last look.
        refusal: The outcome by that look, if it is against the request.
        answer: The answer to the request; None if it was not sent after these looks.
    """

    request: Request
    looks: Sequence[Look] = ()
    seen: ResponseOrFailure = CANCELLED
    refusal: Outcome | None = None
    answer: ResponseOrFailure | None = None

    @property
    def buckets(self) -> list[TokenBucket]:
        """The bucket of each request of one attempt, in their order."""
        return [*(look.read.bucket for look in self.looks), self.request.bucket]

    def decide(self, result: ResponseOrFailure) -> RetryDecision:
        """Return what to do with the last result: all is repeated if nothing was processed."""
        is_repeatable = self.answer is None or is_unprocessed(self.answer)
        return classify(result) if is_repeatable else RetryDecision.DONE
