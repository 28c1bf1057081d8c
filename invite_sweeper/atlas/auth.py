"""Authentication of requests: bearer token, OAuth 2.0 client credentials, HTTP Digest.

A service account gets one access token per run: refreshed before it expires and after a 401,
revoked at the end.
"""

import asyncio
import base64
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Annotated, Final

import aiohttp
import msgspec
from typing_extensions import override

from invite_sweeper.atlas.credentials import ApiKey, BearerToken, Secret, ServiceAccount
from invite_sweeper.atlas.http import HttpSession, retry_after_s
from invite_sweeper.atlas.limiter import RateLimiter
from invite_sweeper.atlas.limits import TOKENS, BucketKey
from invite_sweeper.atlas.responses import (
    OK,
    Response,
    ResponseOrFailure,
    RetryDecision,
    classify,
    connection_hint,
    describe,
    parse_error,
)
from invite_sweeper.atlas.retry import Attempt, RetryPolicy, retry
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused


class Authenticator:
    """Authenticates requests: with a bearer token of the environment, or an API key.

    The owner of such a token refreshes and revokes it. With an API key each connection slot has
    its own digest middleware, which answers a 401: a middleware reuses a challenge with a nonce
    count that must increase. Shared by concurrent requests, the counts would arrive out of order,
    and a strict server rejects them.
    """

    def __init__(self, credentials: BearerToken | ApiKey | None = None) -> None:
        self._api_key = credentials if isinstance(credentials, ApiKey) else None
        self._header = (
            bearer_header(credentials.token) if isinstance(credentials, BearerToken) else None
        )

    def cached_header(self) -> Secret | None:
        """Return the header if it is available without waiting, else None."""
        return self._header

    async def header(self) -> Secret | None:
        """Return the `Authorization` header; None if a middleware signs each request.

        Raises:
            RunError: No access token is available.
        """
        return self._header

    async def refresh(self, rejected_header: Secret | None) -> None:
        """Replace the header after a 401, once for all requests that used it.

        Args:
            rejected_header: The header of the rejected request; ignored if it was replaced
                already.

        Raises:
            RunError: No access token is available.
        """

    def new_digest(self) -> aiohttp.DigestAuthMiddleware | None:
        """Return a new middleware for one connection slot; None if `header` is enough."""
        if (key := self._api_key) is None:
            return None
        # The challenge names the algorithm: MD5 on the commercial host, SHA-256 on Government.
        return aiohttp.DigestAuthMiddleware(key.public_key, key.private_key.get_secret_value())

    async def close(self) -> None:
        """Revoke the tokens of this run. Raises only when cancelled."""


def bearer_header(token: Secret) -> Secret:
    """Return the `Authorization` header of a bearer token."""
    return Secret(f"Bearer {token.get_secret_value()}")


TOKEN_PATH: Final = "/api/oauth/token"  # noqa: S105 - a path
REVOKE_PATH: Final = "/api/oauth/revoke"

_DEFAULT_EXPIRES_IN_S: Final = 3600.0


class _TokenResponse(msgspec.Struct):
    access_token: Annotated[str, msgspec.Meta(pattern=r"\A[!-~]+\Z")]
    token_type: Annotated[str, msgspec.Meta(pattern=r"\A(?i:bearer)\Z")] = "Bearer"  # noqa: S105
    expires_in: object = None

    @property
    def lifetime_s(self) -> float:
        """Its lifetime; one hour if Atlas sends no valid one."""
        sent = self.expires_in
        return float(sent) if isinstance(sent, int | float) and sent > 0 else _DEFAULT_EXPIRES_IN_S


_REFRESH_MARGIN_S: Final = 600.0
_REFRESH_MARGIN_SHARE: Final = 0.2
_REFRESH_RETRY_S: Final = 30.0
_REFRESH_COOLDOWN_S: Final = 60.0
_EARLY_REFRESHES: Final = 5
_EARLY_WINDOW_S: Final = 600.0
"""After 401s: 5 refreshes at once, then one a minute. Atlas allows 100 live tokens an account."""
_REVOKE_TIMEOUT_S: Final = 2.0
_REVOKE_ON_CANCEL_S: Final = 1.0
_REJECTED_STATUSES: Final = frozenset({400, 401, 403})
_TOO_MANY_TOKENS_HINT: Final = (
    "The service account may have 100 active tokens, the most that Atlas allows. They expire "
    "after an hour: run the command again later, or use another service account."
)
"""Source: https://www.mongodb.com/docs/manual/reference/limits (read 2026-08)."""
_HINT: Final = "Check the client ID and secret of the service account, and that it still exists."


@dataclass(frozen=True, slots=True)
class _Token:
    token: Secret
    header: Secret
    refresh_at_s: float
    expires_at_s: float


class ServiceAccountAuthenticator(Authenticator):
    """A service account. Concurrent requests share one token and one refresh."""

    def __init__(
        self,
        account: ServiceAccount,
        http: HttpSession,
        retry_policy: RetryPolicy,
        limiter: RateLimiter,
        clock: Callable[[], datetime],
    ) -> None:
        super().__init__()
        pair = f"{account.client_id}:{account.client_secret.get_secret_value()}".encode()
        self._basic_header = Secret(f"Basic {base64.b64encode(pair).decode('ascii')}")
        self._http = http
        self._retry_policy = retry_policy
        self._limiter = limiter
        self._key = BucketKey(TOKENS, account.client_id)
        self._clock = clock
        self._token: _Token | None = None
        self._issued: list[_Token] = []
        self._refresh_task: asyncio.Task[_Token] | None = None
        self._rejection: CredentialsRefused | None = None
        self._refreshed_s: deque[float] = deque([-math.inf], maxlen=_EARLY_REFRESHES)

    @property
    def _headers(self) -> dict[str, str]:
        return {
            "Accept": "application/json",
            "Authorization": self._basic_header.get_secret_value(),
        }

    @override
    def cached_header(self) -> Secret | None:
        """Return the header; None without a token or if it must be refreshed."""
        token = self._token
        if token is None or self._retry_policy.monotonic() >= token.refresh_at_s:
            return None
        return token.header

    @override
    async def header(self) -> Secret:
        """Return the header, after a refresh if it is needed.

        Raises:
            CredentialsRefused: Atlas rejected the client ID or secret.
            AtlasUnavailable: The token endpoint is not reachable or its response is invalid.
        """
        return self.cached_header() or (await self._refresh()).header

    @override
    async def refresh(self, rejected_header: Secret | None) -> None:
        """Fetch a new token if the rejected one is still in use.

        A token that expires early is replaced at once, up to 5 times in 10 minutes, then once
        a minute: a project that answers every token with 401 must not use one per request.

        Raises:
            RunError: As `header`.
        """
        now_s = self._retry_policy.monotonic()
        in_use = self._token is not None and self._token.header is rejected_header
        if in_use and self._may_refresh(now_s):
            self._token = None
            self._refreshed_s.append(now_s)
        if self._token is None:
            await self._refresh()

    def _may_refresh(self, now_s: float) -> bool:
        recent = sum(now_s - each_s < _EARLY_WINDOW_S for each_s in self._refreshed_s)
        cooled_down = now_s - self._refreshed_s[-1] >= _REFRESH_COOLDOWN_S
        return cooled_down or recent < _EARLY_REFRESHES

    @override
    async def close(self) -> None:
        """Revoke all tokens of this run, within seconds, also when cancelled meanwhile.

        Source: a service account may have at most 100 valid tokens.
        """
        revocation = asyncio.create_task(self._revoke())
        try:
            await asyncio.wait({revocation}, timeout=_REVOKE_TIMEOUT_S)
        except asyncio.CancelledError:
            await asyncio.wait({revocation}, timeout=_REVOKE_ON_CANCEL_S)
            raise
        finally:
            revocation.cancel()

    async def _refresh(self) -> _Token:
        if self._rejection is not None:
            raise self._rejection
        if self._refresh_task is None:
            self._refresh_task = asyncio.create_task(self._fetch())
            self._refresh_task.add_done_callback(_retrieve_exception)
        # Shielded: a cancelled caller must not cancel the refresh that others wait for, and
        # `close` must know a token that is still being fetched, to revoke it.
        return await asyncio.shield(self._refresh_task)

    async def _fetch(self) -> _Token:
        previous = self._token
        try:
            result = await self._request_token()
            if classify(result) in {RetryDecision.RETRY, RetryDecision.RATE_LIMITED}:
                retried = await retry(
                    Attempt(result),
                    self._retry_token,
                    self._retry_policy,
                    clock=self._clock,
                    blocked_s=partial(self._limiter.blocked_s, self._key),
                )
                result = retried.last.result
            token = self._token_from(result)
        except AtlasUnavailable:
            # The previous token is still valid, and the endpoint may recover.
            now_s = self._retry_policy.monotonic()
            if previous is None or now_s >= previous.expires_at_s:
                raise
            token = replace(previous, refresh_at_s=now_s + _REFRESH_RETRY_S)
        except CredentialsRefused as error:
            self._rejection = error
            raise
        finally:
            self._refresh_task = None
        self._token = token
        return token

    async def _retry_token(self) -> Attempt:
        self._http.counters.retries += 1
        return Attempt(await self._request_token())

    async def _request_token(self) -> ResponseOrFailure:
        """Request a token, within the rate limit of the endpoint."""
        await self._limiter.acquire(self._key)
        result = await self._http.send(
            "POST",
            TOKEN_PATH,
            self._headers,
            body={"grant_type": "client_credentials"},
        )
        if isinstance(result, Response) and classify(result) is RetryDecision.RATE_LIMITED:
            self._http.counters.rate_limited += 1
            self._limiter.on_429(self._key, retry_after_s(result.headers, self._clock))
        else:
            self._limiter.on_response(self._key, limit=None, remaining=None)
        return result

    def _token_from(self, result: ResponseOrFailure) -> _Token:
        if isinstance(result, Response) and result.status in _REJECTED_STATUSES:
            limit_reached = parse_error(result).code == "access_denied"
            raise CredentialsRefused(
                f"Could not get an access token: {describe(result)}.",
                hint=_TOO_MANY_TOKENS_HINT if limit_reached else _HINT,
            )
        if not isinstance(result, Response) or result.status != OK:
            raise AtlasUnavailable(
                f"Could not get an access token: {describe(result)}.", hint=connection_hint(result)
            )
        try:
            found = msgspec.json.decode(result.body, type=_TokenResponse)
        except (ValueError, RecursionError):  # not shown: it may contain a token
            found = None
        if found is None:
            raise AtlasUnavailable(
                "Could not get an access token: the response contains no valid bearer token."
            )
        now_s, lifetime_s = self._retry_policy.monotonic(), found.lifetime_s
        margin_s = min(_REFRESH_MARGIN_S, _REFRESH_MARGIN_SHARE * lifetime_s)
        secret, until_s = Secret(found.access_token), now_s + lifetime_s
        token = _Token(secret, bearer_header(secret), until_s - margin_s, until_s)
        self._issued.append(token)
        return token

    async def _revoke(self) -> None:
        if self._refresh_task is not None:
            await asyncio.wait({self._refresh_task}, timeout=_REVOKE_ON_CANCEL_S)
            if self._refresh_task is not None:
                self._refresh_task.cancel()
        for token in self._issued:
            if self._retry_policy.monotonic() < token.expires_at_s:
                # Best effort: a token that is not revoked expires within the hour.
                await self._http.send(
                    "POST",
                    REVOKE_PATH,
                    self._headers,
                    body={
                        "token": token.token.get_secret_value(),
                        "token_type_hint": "access_token",
                    },
                )


def _retrieve_exception(task: asyncio.Task[_Token]) -> None:
    """Retrieve the exception, so that asyncio does not warn when no caller is left to await it."""
    if not task.cancelled():
        task.exception()
