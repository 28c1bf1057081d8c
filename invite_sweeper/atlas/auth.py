"""Bearer, OAuth client credentials, Digest."""

import asyncio
import base64
import binascii
import math
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final, NamedTuple, Protocol

import aiohttp
import orjson

from invite_sweeper.atlas.credentials import ApiKey, BearerToken, Secret, ServiceAccount
from invite_sweeper.atlas.http import HttpSession
from invite_sweeper.atlas.responses import Answer, Result, in_words, way_hint
from invite_sweeper.atlas.retry import RetryDecision, RetryLoop, RetryPolicy, classify
from invite_sweeper.atlas.server_info import ServerInfo
from invite_sweeper.errors import AtlasUnavailable, CredentialsRefused

# How a request proves who sends it: a bearer token, or HTTP Digest.


class Authentication(Protocol):
    """What the transport needs of a kind of credentials."""

    def at_hand(self) -> Secret | None:
        """Give the header where that takes no wait; None where it does, or where there is none."""

    async def authorization(self) -> Secret | None:
        """Give the `Authorization` header; None where a middleware signs each request.

        Raises:
            RunError: Atlas refuses a token, or none can be fetched.
        """

    async def renew(self, used: Secret | None) -> None:
        """Renew what a 401 refused, once for all requests that it refused.

        Args:
            used: The header that was refused; one that is no longer in use changes nothing.

        Raises:
            RunError: As `authorization`.
        """

    def signer(self) -> aiohttp.DigestAuthMiddleware | None:
        """Make what signs the requests of one slot; None where the header does."""

    async def close(self) -> None:
        """Give back what Atlas keeps for this run. Never raises but when cancelled."""


class BearerAuthentication:
    """A token that was given ready-made."""

    def __init__(self, credentials: BearerToken) -> None:
        self._header = bearer(credentials.token)

    def at_hand(self) -> Secret | None:
        """Give the header."""
        return self._header

    async def authorization(self) -> Secret | None:
        """Give the header."""
        return self._header

    async def renew(self, used: Secret | None) -> None:
        """Do nothing: it cannot be renewed here."""

    def signer(self) -> aiohttp.DigestAuthMiddleware | None:
        """None: the header is all."""
        return None

    async def close(self) -> None:
        """Do nothing: whoever fetched it may still use it."""


class DigestAuthentication:
    """An API key. Each slot has its own signer.

    A signer re-uses the challenge with a counter that must rise. One signer for many
    requests at a time sends its counters out of order, which a strict server refuses.
    """

    def __init__(self, credentials: ApiKey) -> None:
        self._credentials = credentials

    def at_hand(self) -> Secret | None:
        """None: there is no header."""
        return None

    async def authorization(self) -> Secret | None:
        """None: the slot's signer writes the header."""
        return None

    async def renew(self, used: Secret | None) -> None:
        """Do nothing: a signer takes a new challenge from the 401 itself."""

    def signer(self) -> aiohttp.DigestAuthMiddleware | None:
        """Make a signer; MD5 for the commercial host, SHA-256 for Government, as asked."""
        key = self._credentials
        return aiohttp.DigestAuthMiddleware(key.public_key, key.private_key.reveal())

    async def close(self) -> None:
        """Do nothing: a key has no session."""


def bearer(token: Secret) -> Secret:
    """Write the header's value for a token."""
    return Secret(f"Bearer {token.reveal()}")


# The token endpoint: its paths and what it answers. Pure.


TOKEN_PATH: Final = "/api/oauth/token"  # noqa: S105 - a path
REVOKE_PATH: Final = "/api/oauth/revoke"

_LIFE_S: Final = 3600.0


class ToldToken(NamedTuple):
    """What the token endpoint gives: the token, and for how long it is good."""

    token: Secret
    life_s: float


def parse_token(body: bytes) -> ToldToken | None:
    """Read the answer of the token endpoint; None where it gives no bearer token.

    Source: https://www.mongodb.com/docs/atlas/api/api-authentication (read 2026-08).
    """
    try:
        loaded: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    told = loaded if isinstance(loaded, dict) else {}
    token, life_s = told.get("access_token"), told.get("expires_in")
    kind = told.get("token_type", "Bearer")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        return None
    if not token or " " in token or not isinstance(kind, str) or kind.lower() != "bearer":
        return None
    if not isinstance(life_s, int | float) or life_s <= 0:
        life_s = _LIFE_S
    return ToldToken(Secret(token), float(life_s))


# The token of a service account: one a run, renewed before it ends, revoked at its end.


_MARGIN_S: Final = 600.0
_MARGIN_SHARE: Final = 0.2
_RENEWAL_RETRY_S: Final = 30.0
_REFRESH_COOLDOWN_S: Final = 60.0
_EARLY_REFRESHES: Final = 5
_EARLY_WINDOW_S: Final = 600.0
"""After 401s, at once; then one a minute: a run of an hour stays below 100 live tokens."""
_WINDOW_S: Final = 60.0
_REQUESTS_A_WINDOW: Final = 10
"""Source: https://www.mongodb.com/docs/atlas/api/api-authentication: 10, later 50 a minute."""
_OK: Final = 200
_GOODBYE_S: Final = 5.0
_LAST_WORD_S: Final = 1.0
_REFUSED: Final = frozenset({400, 401, 403})
_HINT: Final = "Check the client id and secret of the service account, and that it is alive."


@dataclass(frozen=True, slots=True)
class _Token:
    token: Secret
    header: Secret
    renew_at_s: float
    ends_at_s: float


class ServiceAccountAuthentication:
    """Fetches one token for all who ask, however many ask at once."""

    def __init__(
        self,
        account: ServiceAccount,
        http: HttpSession,
        retry_policy: RetryPolicy,
        server: ServerInfo,
    ) -> None:
        pair = f"{account.client_id}:{account.client_secret.reveal()}".encode()
        self._basic = Secret(f"Basic {base64.b64encode(pair).decode('ascii')}")
        self._http = http
        self._retry_policy = retry_policy
        self._server = server
        self._token: _Token | None = None
        self._issued: list[_Token] = []
        self._renewal: asyncio.Task[_Token] | None = None
        self._refusal: CredentialsRefused | None = None
        self._sent_s: deque[float] = deque(maxlen=_REQUESTS_A_WINDOW)
        self._refreshed_s: deque[float] = deque([-math.inf], maxlen=_EARLY_REFRESHES)

    def at_hand(self) -> Secret | None:
        """Give the header while its token is good for a while yet; None where there is none."""
        token = self._token
        stale = token is None or self._retry_policy.monotonic() >= token.renew_at_s
        return None if token is None or stale else token.header

    async def authorization(self) -> Secret:
        """Give the header, with a token that is good for a while yet.

        Raises:
            CredentialsRefused: Atlas takes neither id nor secret.
            AtlasUnavailable: The token endpoint cannot be reached or answers nonsense.
        """
        return self.at_hand() or (await self._renewed()).header

    async def renew(self, used: Secret | None) -> None:
        """Fetch a new token where the refused one is still in use.

        A token that ends early is replaced at once, a few times. A project that answers 401 to
        every token must not use up one for each request: after that there is one a minute.

        Raises:
            RunError: As `authorization`.
        """
        now_s = self._retry_policy.monotonic()
        in_use = self._token is not None and self._token.header is used
        if in_use and self._may_refresh(now_s):
            self._token = None
            self._refreshed_s.append(now_s)
        if self._token is None:
            await self._renewed()

    def _may_refresh(self, now_s: float) -> bool:
        recent = sum(now_s - each_s < _EARLY_WINDOW_S for each_s in self._refreshed_s)
        cooled_down = now_s - self._refreshed_s[-1] >= _REFRESH_COOLDOWN_S
        return cooled_down or recent < _EARLY_REFRESHES

    def signer(self) -> aiohttp.DigestAuthMiddleware | None:
        """None: the header is all."""
        return None

    async def close(self) -> None:
        """Revoke what was issued, within seconds, and also while being cancelled once more.

        Source: at most 100 tokens of a service account may be alive at a time.
        """
        goodbye = asyncio.create_task(self._revoke())
        try:
            await asyncio.wait({goodbye}, timeout=_GOODBYE_S)
        except asyncio.CancelledError:
            await asyncio.wait({goodbye}, timeout=_LAST_WORD_S)
            raise
        finally:
            goodbye.cancel()

    async def _renewed(self) -> _Token:
        if self._refusal is not None:
            raise self._refusal
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._fetch())
            self._renewal.add_done_callback(_retrieve)
        # Shielded: whoever is cancelled meanwhile takes nothing from the others, and a token
        # that is on its way is known at the end and revoked.
        return await asyncio.shield(self._renewal)

    async def _fetch(self) -> _Token:
        before = self._token
        try:
            result = await self._post()
            if classify(result) in {RetryDecision.RETRY, RetryDecision.RATE_LIMITED}:
                result = await RetryLoop(self._retry_policy, self._server.clock).run(
                    result, partial(self._post, again=True)
                )
            token = self._token_of(result)
        except AtlasUnavailable:
            # The old one is still good for a while, and the endpoint may come back.
            now_s = self._retry_policy.monotonic()
            if before is None or now_s >= before.ends_at_s:
                raise
            token = replace(before, renew_at_s=now_s + _RENEWAL_RETRY_S)
        except CredentialsRefused as error:
            self._refusal = error
            raise
        finally:
            self._renewal = None
        self._token = token
        return token

    async def _post(self, *, again: bool = False) -> Result:
        """Ask for a token, never more often than the endpoint lets anybody ask."""
        if len(self._sent_s) == _REQUESTS_A_WINDOW:
            wait_s = self._sent_s[0] + _WINDOW_S - self._retry_policy.monotonic()
            if wait_s > 0:
                await self._retry_policy.sleep(wait_s)
        self._sent_s.append(self._retry_policy.monotonic())
        self._http.counters.retries += again
        result = await self._http.post_form(
            TOKEN_PATH,
            {"grant_type": "client_credentials"},
            {"Accept": "application/json", "Authorization": self._basic.reveal()},
        )
        self._http.counters.rate_limited += classify(result) is RetryDecision.RATE_LIMITED
        return result

    def _token_of(self, result: Result) -> _Token:
        if isinstance(result, Answer) and result.status in _REFUSED:
            raise CredentialsRefused(f"Atlas refuses a token: {in_words(result)}.", hint=_HINT)
        if not isinstance(result, Answer) or result.status != _OK:
            raise AtlasUnavailable(
                f"No token can be had: {in_words(result)}.", hint=way_hint(result)
            )
        told = parse_token(result.body)
        if told is None:
            raise AtlasUnavailable("Atlas answered nonsense when asked for a token.")
        now_s = self._retry_policy.monotonic()
        margin_s = min(_MARGIN_S, _MARGIN_SHARE * told.life_s)
        token = _Token(
            told.token,
            bearer(told.token),
            renew_at_s=now_s + told.life_s - margin_s,
            ends_at_s=now_s + told.life_s,
        )
        self._issued.append(token)
        return token

    async def _revoke(self) -> None:
        if self._renewal is not None:
            await asyncio.wait({self._renewal}, timeout=_LAST_WORD_S)
            if self._renewal is not None:
                self._renewal.cancel()
        for token in self._issued:
            if self._retry_policy.monotonic() < token.ends_at_s:
                # Best effort: one that stays alive ends by itself within the hour.
                await self._http.post_form(
                    REVOKE_PATH,
                    {"token": token.token.reveal(), "token_type_hint": "access_token"},
                    {"Accept": "application/json", "Authorization": self._basic.reveal()},
                )


def _retrieve(task: asyncio.Task[_Token]) -> None:
    """Look at a failure that nobody waits for any more, so that it is not reported as lost."""
    if not task.cancelled():
        task.exception()


# What a ready token says of itself. Pure; nothing of it is believed but its end.


_PARTS: Final = 3


def ends_at(token: Secret) -> datetime | None:
    """Give the instant at which a token ends by its own word, aware UTC; None where it has none.

    Source: RFC 7519, 4.1.4: `exp`, in seconds since 1970, in the second part of the token.
    """
    parts = token.reveal().split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims: object = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=="))
    except (binascii.Error, ValueError):
        return None
    ends_s = claims.get("exp") if isinstance(claims, dict) else None
    if isinstance(ends_s, bool) or not isinstance(ends_s, int | float):
        return None
    try:
        return datetime.fromtimestamp(ends_s, UTC)
    except (OverflowError, OSError, ValueError):
        return None
