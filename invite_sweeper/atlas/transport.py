"""Sends one request: rate limit, connection slot, authentication and retries."""

from functools import partial
from typing import Final

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
    parse_error,
    parse_rate_limit_error,
)
from invite_sweeper.atlas.retry import RetryDecision, RetryLoop, RetryPolicy, classify

_OK: Final = 200
_NO_CONTENT: Final = 204
_TOO_MANY_REQUESTS: Final = 429
_BACK_OFF_STATUSES: Final = frozenset({_TOO_MANY_REQUESTS, 503})

MAX_READ_AGE_S: Final = 1.0
"""Of the response to a precondition when its request is sent, counted from the read's start."""
_MAX_READS: Final = 3
"""Per attempt, if the responses to a precondition are too old."""


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
            token_taken: The caller has acquired the rate-limit tokens of the first attempt.

        Raises:
            RunError: No access token is available.
            InvalidRequest: The path does not match the endpoint. Nothing was sent.
        """
        check_request(request)
        if not token_taken:
            await self.limiter.acquire(request.key)
        result, used_header = await self._attempt(request)
        is_done = classify(result) is RetryDecision.DONE
        return result if is_done else await self._retry(request, result, used_header)

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
        self, request: Request, first: ResponseOrFailure, used_header: Secret | None
    ) -> ResponseOrFailure:
        last, refreshed = first, False

        async def retry() -> ResponseOrFailure:
            nonlocal last, used_header, refreshed
            if is_unauthenticated(last):
                await self._authenticator.refresh(used_header)
            if not await self._acquire_for_retry(request):
                last = CANCELLED
                return last
            previous = used_header
            last, used_header = await self._attempt(request, is_retry=True)
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
        )
        result = await retry_loop.run(first, retry)
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

    async def _acquire_for_retry(self, request: Request) -> bool:
        """Acquire the tokens of a retry; return False if the request was cancelled meanwhile."""
        since_s = self._retry_policy.monotonic()
        is_cancelled = request.is_cancelled if request.progress is not None else None
        for acquired in range(request.tokens_per_attempt):
            while wait_s := self.limiter.try_acquire_for_retry(request.key, since_s):
                await self._retry_policy.wait(wait_s, is_cancelled)
                if request.is_cancelled():
                    self.limiter.release([request.key] * acquired)
                    return False
        return True

    async def _attempt(
        self, request: Request, *, is_retry: bool = False
    ) -> tuple[ResponseOrFailure, Secret | None]:
        """Send a request once; return its result and the `Authorization` header that it used.

        Everything that can take time comes before the read of a precondition: the place in
        `max_requests_per_second`, the slot and the access token. The tokens of the attempt are
        acquired already.
        """
        tokens = [request.key] * request.tokens_per_attempt  # those that no request has used yet
        try:
            if self.limiter.is_spaced:
                for _ in tokens:
                    await self._wait_for_spacing()
            progress, pool = request.progress, self._slot_pool
            slot = pool.acquire_nowait(progress) or await pool.acquire(progress)
            try:
                authenticator = self._authenticator
                header = authenticator.cached_header() or await authenticator.header()
                if request.precondition is None:
                    return await self._exchange(slot, header, tokens, request), header
                return await self._send_if_unchanged(slot, header, tokens, request), header
            finally:
                self._http.counters.retries += is_retry and slot.send_count > 0
                pool.release(slot)
        finally:
            self.limiter.release(tokens)

    async def _send_if_unchanged(
        self, slot: ConnectionSlot, header: Secret | None, tokens: list[BucketKey], request: Request
    ) -> ResponseOrFailure:
        """Send a request directly after its precondition was read and holds."""
        assert request.precondition is not None  # noqa: S101 - the caller checks it
        read, check = request.precondition
        for number in range(_MAX_READS):
            if request.is_cancelled():
                return CANCELLED
            if number:
                await self.limiter.acquire(request.key)
                tokens.append(request.key)
                if self.limiter.is_spaced:
                    await self._wait_for_spacing()
            read_s = self._retry_policy.monotonic()
            result = check(await self._exchange(slot, header, tokens, read))
            if result is not None:
                return result
            left_s = read_s + MAX_READ_AGE_S - self._retry_policy.monotonic()
            if left_s > 0:
                return await self._exchange(slot, header, tokens, request, connect_s=left_s)
        return RequestFailed(f"reading the user took longer than {MAX_READ_AGE_S:g} s")

    async def _exchange(
        self,
        slot: ConnectionSlot,
        header: Secret | None,
        tokens: list[BucketKey],
        request: Request,
        *,
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
        self._http.counters.responses += 1
        self._http.counters.response_s += self._retry_policy.monotonic() - sent_s
        age_s = self.server.age_s(result.headers, sent_at) if sent_at is not None else 0.0
        if age_s > endpoint.max_age_s:
            reason = f"the response is from a cache, {age_s:.0f} s off the time of its request"
            return RequestFailed(reason, http_status=result.status)
        return self._parse(request, result)

    async def _wait_for_spacing(self) -> None:
        """Wait for `max_requests_per_second`, outside of the request's timeout.

        A request that a digest middleware repeated is accounted for before the next one.
        """
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
