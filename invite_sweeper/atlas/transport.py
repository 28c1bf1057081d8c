"""Sends one request: rate limit, connection slot, authentication and retries."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from structlog.typing import FilteringBoundLogger

from invite_sweeper.atlas.auth import Authenticator
from invite_sweeper.atlas.credentials import Secret
from invite_sweeper.atlas.endpoints import Request, check_request
from invite_sweeper.atlas.headers import ServerInfo, parse_int_header, retry_after_s
from invite_sweeper.atlas.http import ConnectionSlot, HttpSession, SlotPool
from invite_sweeper.atlas.parsing import InvalidResponse
from invite_sweeper.atlas.rate_limiter import RateLimiter
from invite_sweeper.atlas.rate_limits import BucketKey, BucketLimit
from invite_sweeper.atlas.responses import (
    CANCELLED,
    RequestFailed,
    Response,
    ResponseOrFailure,
    is_unauthenticated,
    is_unprocessed,
    parse_error,
    parse_rate_limit_error,
)
from invite_sweeper.atlas.retry import RetryDecision, RetryLoop, RetryPolicy, classify

_OK: Final = 200
_NO_CONTENT: Final = 204
_TOO_MANY_REQUESTS: Final = 429
_BACK_OFF_STATUSES: Final = frozenset({_TOO_MANY_REQUESTS, 503})

MAX_LOOK_AGE_S: Final = 1.0
"""Of the look that a request depends on when the request is sent, counted from its start."""
_MAX_LOOKS: Final = 3
"""Per attempt, if the looks take too long."""

Attempt: TypeAlias = tuple[ResponseOrFailure, Secret | None]
"""The result of an attempt, and the `Authorization` header that it used."""


class LookAndAnswer(NamedTuple):
    """The results of `send_after`.

    Attributes:
        answer: None if the request was not sent after this look.
    """

    look: ResponseOrFailure
    answer: ResponseOrFailure | None

    @property
    def may_repeat(self) -> bool:
        """Whether nothing can have happened yet."""
        return self.answer is None or is_unprocessed(self.answer)


class Transport:
    """Sends requests and retries them until the result is final."""

    def __init__(
        self,
        http: HttpSession,
        authenticator: Authenticator,
        limiter: RateLimiter,
        slot_pool: SlotPool,
        *,
        retry_policy: RetryPolicy,
        server: ServerInfo,
        log: FilteringBoundLogger,
    ) -> None:
        self._http = http
        self._authenticator = authenticator
        self._slot_pool = slot_pool
        self._retry_policy = retry_policy
        self.server = server
        self._log = log
        self._unspaced = 0
        self.limiter = limiter

    async def send(self, request: Request, *, token_taken: bool = False) -> ResponseOrFailure:
        """Send a request, retry it as the retry policy allows, and return the last result.

        Args:
            request: As `build_request` returns it.
            token_taken: The caller has acquired the rate-limit token of the first attempt.

        Raises:
            RunError: No access token is available.
            InvalidRequest: The path does not match the endpoint. Nothing was sent.
        """
        check_request(request)
        if not token_taken:
            await self.limiter.acquire(request.key)
        result, used_header = await self._attempt(request)
        if classify(result) is RetryDecision.DONE:
            return result
        again = partial(self._attempt, request, is_retry=True)
        return await self._retry(request, (result, used_header), again)

    async def send_after(
        self, look: Request, may_send: Callable[[ResponseOrFailure], bool], request: Request
    ) -> LookAndAnswer:
        """Send a request at most once, directly after a look that allows it.

        Both are repeated, from the look on, only while nothing can have happened: the look failed,
        or the request was not processed (`is_unprocessed`).

        Args:
            look: Sent when nothing is left that the request could wait for.
            may_send: Whether the request may be sent after this result of the look.
            request: The caller has acquired one token of its bucket for it and one for the look.

        Raises:
            RunError: No access token is available.
            InvalidRequest: A path does not match its endpoint. Nothing was sent.
        """
        check_request(look)
        check_request(request)
        last: LookAndAnswer

        async def attempt(*, is_retry: bool = False) -> Attempt:
            nonlocal last
            last, header = await self._attempt_after(look, may_send, request, is_retry=is_retry)
            return last.look if last.answer is None else last.answer, header

        def decide(result: ResponseOrFailure) -> RetryDecision:
            return classify(result) if last.may_repeat else RetryDecision.DONE

        first = await attempt()
        if decide(first[0]) is not RetryDecision.DONE:
            again = partial(attempt, is_retry=True)
            result = await self._retry(request, first, again, tokens=2, decide=decide)
            if result is CANCELLED:  # before another attempt
                return last._replace(answer=CANCELLED)
        return last

    async def send_once(self, request: Request) -> ResponseOrFailure:
        """Send a request that is not idempotent: only a 401 is retried, once.

        Raises:
            RunError: No access token is available.
            InvalidRequest: The path does not match the endpoint. Nothing was sent.
        """
        check_request(request)
        await self.limiter.acquire(request.key)
        result, used_header = await self._attempt(request)
        if not is_unauthenticated(result) or self._retry_policy.attempts == 1:
            return result
        await self._authenticator.refresh(used_header)
        await self._acquire_for_retry(request)
        return (await self._attempt(request, is_retry=True))[0]

    async def _retry(
        self,
        request: Request,
        first: Attempt,
        attempt: Callable[[], Awaitable[Attempt]],
        *,
        tokens: int = 1,
        decide: Callable[[ResponseOrFailure], RetryDecision] = classify,
    ) -> ResponseOrFailure:
        (last, used_header), refreshed = first, False

        async def retry() -> ResponseOrFailure:
            nonlocal last, used_header, refreshed
            if is_unauthenticated(last):
                await self._authenticator.refresh(used_header)
            if not await self._acquire_for_retry(request, tokens):
                last = CANCELLED
                return last
            previous = used_header
            last, used_header = await attempt()
            if used_header is not previous and not refreshed:  # the 401 was for the old token
                refreshed, retry_loop.unauthorized = True, 0
            return last

        is_cancelled = request.is_cancelled if request.progress is not None else None
        retry_loop = RetryLoop(
            self._retry_policy,
            self.server.clock,
            partial(self.limiter.blocked_s, request.key),
            partial(self._report_retry, request),
            is_cancelled,
            decide,
        )
        result = await retry_loop.run(last, retry)
        if request.progress is not None:
            request.progress.retries_cut_short |= retry_loop.retries_cut_short
        if is_unauthenticated(result) and not retry_loop.retries_cut_short:
            # Later requests need a token that works.
            await self._authenticator.refresh(used_header)
        return result

    def _report_retry(self, request: Request, result: ResponseOrFailure, wait_s: float) -> None:
        why = result.reason if isinstance(result, RequestFailed) else result.status
        self._log.debug("retrying", path=request.path, wait_s=round(wait_s, 3), why=why)
        if request.progress is not None and request.progress.on_backoff is not None:
            request.progress.on_backoff()

    async def _acquire_for_retry(self, request: Request, tokens: int = 1) -> bool:
        """Acquire the tokens of a retry; return False if the request was cancelled meanwhile."""
        since_s = self._retry_policy.monotonic()
        is_cancelled = request.is_cancelled if request.progress is not None else None
        for acquired in range(tokens):
            while wait_s := self.limiter.try_acquire_for_retry(request.key, since_s):
                await self._retry_policy.wait(wait_s, is_cancelled)
                if request.is_cancelled():
                    self.limiter.release([request.key] * acquired)
                    return False
        return True

    async def _attempt(self, request: Request, *, is_retry: bool = False) -> Attempt:
        """Send a request once. Its token is acquired already."""
        tokens = [request.key]
        try:
            slot, header = await self._get_ready(tokens, request)
            try:
                return await self._exchange(slot, header, tokens, request), header
            finally:
                self._http.counters.retries += is_retry and slot.send_count > 0
                self._slot_pool.release(slot)
        finally:
            self.limiter.release(tokens)

    async def _attempt_after(
        self,
        look: Request,
        may_send: Callable[[ResponseOrFailure], bool],
        request: Request,
        *,
        is_retry: bool,
    ) -> tuple[LookAndAnswer, Secret | None]:
        """Send a look, and the request if the look allows it and is recent. Tokens are acquired."""
        tokens = [look.key, request.key]
        try:
            slot, header = await self._get_ready(tokens, request)
            try:
                for number in range(_MAX_LOOKS):
                    if request.is_cancelled():
                        return LookAndAnswer(CANCELLED, CANCELLED), header
                    if number:
                        await self.limiter.acquire(look.key)
                        tokens.append(look.key)
                        await self._wait_for_spacing()
                    started_s = self._retry_policy.monotonic()
                    seen = await self._exchange(slot, header, tokens, look)
                    if not may_send(seen):
                        return LookAndAnswer(seen, None), header
                    left_s = started_s + MAX_LOOK_AGE_S - self._retry_policy.monotonic()
                    if left_s > 0:
                        answer = await self._exchange(slot, header, tokens, request, left_s)
                        return LookAndAnswer(seen, answer), header
                reason = f"reading the user took longer than {MAX_LOOK_AGE_S:g} s"
                return LookAndAnswer(RequestFailed(reason), None), header
            finally:
                self._http.counters.retries += is_retry and slot.send_count > 0
                self._slot_pool.release(slot)
        finally:
            self.limiter.release(tokens)

    async def _get_ready(
        self, tokens: list[BucketKey], request: Request
    ) -> tuple[ConnectionSlot, Secret | None]:
        """Wait for all that can take time; return a slot and the `Authorization` header.

        The header is None if a middleware of the slot signs the request.
        """
        for _ in tokens:
            await self._wait_for_spacing()
        progress, pool = request.progress, self._slot_pool
        slot = pool.acquire_nowait(progress) or await pool.acquire(progress)
        try:
            authenticator = self._authenticator
            return slot, authenticator.cached_header() or await authenticator.header()
        except BaseException:
            pool.release(slot)
            raise

    async def _exchange(
        self,
        slot: ConnectionSlot,
        header: Secret | None,
        tokens: list[BucketKey],
        request: Request,
        connect_s: float | None = None,
    ) -> ResponseOrFailure:
        """Send a request on a slot, without any wait before, and process its response.

        Args:
            header: The `Authorization` header; None if a middleware of the slot signs it.
            tokens: The buckets of acquired tokens; one is removed.
            connect_s: As for `HttpSession.send`.
        """
        endpoint = request.endpoint
        headers = {"Accept": endpoint.media_type}
        is_read = endpoint.method == "GET"
        if is_read:
            headers["Cache-Control"] = "no-cache"
        if request.body is not None:
            headers["Content-Type"] = endpoint.media_type
        if header is not None:
            headers["Authorization"] = header.get_secret_value()
        slot.start(request.progress)
        tokens.pop()  # the response completes it
        sent_s = self._retry_policy.monotonic()
        sent_at = self.server.clock() if is_read else None
        try:
            result = await self._http.send(
                endpoint.method, request.path, headers, slot, request.body, connect_s
            )
        finally:
            self._unspaced += max(0, slot.send_count - 1)
        self._update_limiter(request.key, result, sent_s)
        if not isinstance(result, Response):
            return result
        age_s = self.server.age_s(result.headers, sent_at) if sent_at is not None else 0.0
        if age_s > endpoint.max_age_s:
            reason = f"the response is from a cache, {age_s:.0f} s off the time of its request"
            return RequestFailed(reason, http_status=result.status)
        return self._parse(request, result)

    async def _wait_for_spacing(self) -> None:
        """Wait for `max_requests_per_second`, outside of the request's timeout.

        A request that a digest middleware repeated is accounted for before the next one.
        """
        if not self.limiter.is_spaced:
            return
        await self.limiter.wait_for_spacing()
        while self._unspaced:
            self._unspaced -= 1
            await self.limiter.wait_for_spacing()

    def _update_limiter(self, key: BucketKey, result: ResponseOrFailure, sent_s: float) -> None:
        """Complete the request's token with the rate-limit headers of its response."""
        if not isinstance(result, Response):
            self.limiter.on_response(key, limit=None, remaining=None, sent_s=sent_s)
        elif result.status not in _BACK_OFF_STATUSES or not self._back_off(key, result, sent_s):
            limit = parse_int_header(result.headers, "RateLimit-Limit")
            remaining = parse_int_header(result.headers, "RateLimit-Remaining")
            self.limiter.on_response(key, limit=limit, remaining=remaining, sent_s=sent_s)

    def _back_off(self, key: BucketKey, response: Response, sent_s: float) -> bool:
        """Apply a 429, or a 503 with `Retry-After`, to the bucket; return whether it was one."""
        requested_s = retry_after_s(response.headers, self.server.clock)
        if response.status == _TOO_MANY_REQUESTS:
            self._http.counters.rate_limited += 1
            details = parse_rate_limit_error(response)
            if details.refill is not None:
                self.limiter.set_limit(key, BucketLimit(*details.refill))
            self.limiter.on_429(key, requested_s or details.wait_s, sent_s=sent_s)
            return True
        if requested_s is not None:
            self.limiter.on_429(key, requested_s, sent_s=sent_s)
        return requested_s is not None

    def _parse(self, request: Request, response: Response) -> ResponseOrFailure:
        """Record the response's headers and error code, and parse its body."""
        status, succeeded = response.status, response.status < 300  # noqa: PLR2004
        self.server.update(response.headers, good=succeeded, operation=request.endpoint)
        if request.progress is not None:
            request.progress.error_code = (
                parse_error(response).code if status != _NO_CONTENT else None
            )
        if status != _OK or request.parse is None:
            return response
        try:
            return response._replace(value=request.parse(response.body))
        except InvalidResponse as error:
            return RequestFailed(f"unexpected response from Atlas: {error}", http_status=status)
