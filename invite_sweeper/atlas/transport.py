"""One request to Atlas: its bucket, its place on the wire, its tries."""

from functools import partial
from typing import Final

from structlog.typing import FilteringBoundLogger

from invite_sweeper.atlas.auth import Authentication
from invite_sweeper.atlas.credentials import Secret
from invite_sweeper.atlas.endpoints import Request, raise_if_unsendable
from invite_sweeper.atlas.http import HttpSession, SlotPool
from invite_sweeper.atlas.parsing import Nonsense
from invite_sweeper.atlas.rate_limiter import RateLimiter
from invite_sweeper.atlas.rate_limits import BucketKey, BucketLimit
from invite_sweeper.atlas.responses import (
    CANCELLED,
    Answer,
    Broken,
    Result,
    count_of,
    error_of,
    is_plain_refusal,
    retry_after_s,
    told_bucket,
)
from invite_sweeper.atlas.retry import RetryDecision, RetryLoop, RetryPolicy, classify
from invite_sweeper.atlas.server_info import ServerInfo

_OK: Final = 200
_NO_CONTENT: Final = 204
_TOO_MANY: Final = 429
_SLOW_DOWN: Final = frozenset({_TOO_MANY, 503})


class Transport:
    """Sends requests and goes on until a result stands."""

    def __init__(
        self,
        http: HttpSession,
        authentication: Authentication,
        limiter: RateLimiter,
        slots: SlotPool,
        *,
        retry_policy: RetryPolicy,
        server: ServerInfo,
        log: FilteringBoundLogger,
    ) -> None:
        self._http = http
        self._authentication = authentication
        self._slots = slots
        self._retry_policy = retry_policy
        self.server = server
        self._log = log
        self._unpaced = 0
        self.limiter = limiter

    async def call(self, request: Request, *, admitted: bool = False) -> Result:
        """Send a request, whose first turn is taken where it was `admitted`, until it stands.

        Raises:
            RunError: No token can be had.
            UnsendableError: It is none that `target.target` makes. Nothing was sent.
        """
        raise_if_unsendable(request)
        if not admitted:
            if request.part_of is None:
                await self.limiter.acquire(request.key)
            elif not await self._acquire_for_retry(request):  # a read before one more DELETE
                return CANCELLED
        used = self._authentication.at_hand() or await self._authentication.authorization()
        result = await self._try(request, used)
        stands = classify(result) is RetryDecision.DONE
        return result if stands else await self._go_on(request, result, used)

    async def once(self, request: Request) -> Result:
        """Send what must not be done twice: one try, and another (if any) only after a 401.

        Raises:
            RunError: No token can be had.
            UnsendableError: It is none that `target.target` makes. Nothing was sent.
        """
        raise_if_unsendable(request)
        await self.limiter.acquire(request.key)
        used = await self._authentication.authorization()
        result = await self._try(request, used)
        if not is_plain_refusal(result) or self._retry_policy.attempts == 1:
            return result
        await self._authentication.renew(used)
        await self._acquire_for_retry(request)
        return await self._try(request, await self._authentication.authorization(), again=True)

    async def _go_on(self, request: Request, first: Result, used: Secret | None) -> Result:
        last, renewed = first, False

        async def again() -> Result:
            nonlocal last, used, renewed
            if is_plain_refusal(last):
                await self._authentication.renew(used)
            if not await self._acquire_for_retry(request):
                last = CANCELLED
                return last
            before, used = used, await self._authentication.authorization()
            if used is not before and not renewed:  # the 401 was about another token
                renewed, retry_loop.refused = True, 0
            stopped = await request.before_again() if request.before_again else None
            last = stopped or await self._try(request, used, again=True)
            return last

        called_off = request.called_off if request.may_be_called_off else None
        retry_loop = RetryLoop(
            self._retry_policy,
            self.server.clock,
            partial(self._report_retry, request),
            called_off,
        )
        result = await retry_loop.run(first, again)
        if request.owner is not None:
            request.owner.cut_short |= retry_loop.cut_short
        if is_plain_refusal(result) and not retry_loop.cut_short:  # what follows needs a good token
            await self._authentication.renew(used)
        return result

    def _report_retry(self, request: Request, result: Result, wait_s: float) -> None:
        why = result.reason if isinstance(result, Broken) else result.status
        self._log.debug("trying again", path=request.path, wait_s=round(wait_s, 3), why=why)
        if (owner := request.owner) is not None and owner.rests is not None:
            owner.rests()

    async def _acquire_for_retry(self, request: Request) -> bool:
        """Take a token for one more try; return False if the request was cancelled meanwhile."""
        since_s = self._retry_policy.monotonic()
        called_off = request.called_off if request.may_be_called_off else None
        while wait_s := self.limiter.try_acquire_for_retry(request.key, since_s):
            await self._retry_policy.wait(wait_s, called_off)
            if request.called_off():
                return False
        return True

    async def _try(
        self, request: Request, authorization: Secret | None, *, again: bool = False
    ) -> Result:
        """Send a request once; the place on the wire is given back with the answer."""
        http, operation, trail = self._http, request.operation, request.trail
        headers = {"Accept": operation.media_type}
        if request.body is not None:
            headers["Content-Type"] = operation.media_type
        if authorization is not None:
            headers["Authorization"] = authorization.reveal()
        if self.limiter.is_spaced:
            await self._pace()
        slot = self._slots.acquire_nowait(trail) or await self._slots.acquire(trail)
        sent_s = self._retry_policy.monotonic()
        try:
            result = await http.send(operation.method, request.path, headers, slot, request.body)
        finally:
            if slot.sent > 1:
                self._unpaced += slot.sent - 1
            if again and slot.sent:
                http.counters.retries += 1
            self._slots.release(slot)
        self._settle(request.key, result, sent_s)
        return self._noted(request, result) if isinstance(result, Answer) else result

    async def _pace(self) -> None:
        """Wait for a turn under the overall ceiling, outside of the request's own timeout.

        What a signer sent a second time within a request is paid for by the next one.
        """
        await self.limiter.wait_for_spacing()
        while self._unpaced:
            self._unpaced -= 1
            await self.limiter.wait_for_spacing()

    def _settle(self, key: BucketKey, result: Result, sent_s: float) -> None:
        """Tell the bucket what became of its token."""
        if not isinstance(result, Answer):
            self.limiter.on_response(key, limit=None, remaining=None, sent_s=sent_s)
        elif result.status not in _SLOW_DOWN or not self._slow_down(key, result, sent_s):
            limit = count_of(result.headers, "RateLimit-Limit")
            remaining = count_of(result.headers, "RateLimit-Remaining")
            self.limiter.on_response(key, limit=limit, remaining=remaining, sent_s=sent_s)

    def _slow_down(self, key: BucketKey, answer: Answer, sent_s: float) -> bool:
        """Let the bucket wait where the answer asks for it; whether it did."""
        asked_s = retry_after_s(answer.headers, self.server.clock)
        if answer.status == _TOO_MANY:
            self._http.counters.rate_limited += 1
            told = told_bucket(answer)
            if told.refill is not None:
                self.limiter.set_limit(key, BucketLimit(*told.refill))
            self.limiter.on_429(key, asked_s or told.wait_s, sent_s=sent_s)
            return True
        if asked_s is not None:
            self.limiter.on_429(key, asked_s, sent_s=sent_s)
        return asked_s is not None

    def _noted(self, request: Request, answer: Answer) -> Result:
        """Take what the answer tells on the side, and read its body."""
        status, good = answer.status, answer.status < 300  # noqa: PLR2004
        self.server.update(answer.headers, good=good, operation=request.operation)
        if request.trail is not None:
            request.trail.error_code = error_of(answer).code if status != _NO_CONTENT else None
        if status != _OK or request.read is None:
            return answer
        try:
            return answer._replace(value=request.read(answer.body))
        except Nonsense as error:
            return Broken(f"Atlas answered nonsense: {error}", http_status=status)
