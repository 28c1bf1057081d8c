"""The token endpoint of service accounts: one token an answer, a cap, a limit, revocation."""

import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final
from urllib.parse import parse_qs

from invite_sweeper.simulator.accounts import Account, Accounts
from invite_sweeper.simulator.answers import Answer, error
from invite_sweeper.simulator.json_types import Json, dump

TOKEN_PATH: Final = "/api/oauth/token"  # noqa: S105 - a path
REVOKE_PATH: Final = "/api/oauth/revoke"
_JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class _Token:
    account: Account
    ends_s: float


class OAuthDesk:
    """Gives out tokens and takes them back.

    Attributes:
        expires_in_s: How long a token is good.
        live_tokens: How many tokens a service account may hold at once.
        requests_per_minute: By address and service account; None for no limit.
        issued: Tokens given out so far.
        revoked: Tokens taken back so far.

    Source: authentication documentation and quoted answers, in the fact sheet, section 3.2.
    """

    def __init__(self, accounts: Accounts, monotonic: Callable[[], float]) -> None:
        self.expires_in_s = 3600
        self.live_tokens = 100
        self.requests_per_minute: int | None = 50
        self.issued = 0
        self.revoked = 0
        self._accounts = accounts
        self._monotonic = monotonic
        self._tokens: dict[str, _Token] = {}
        self._calls: dict[tuple[str, str], deque[float]] = {}
        self._next_end_s = inf

    def token(self, header: str, body: bytes, client_ip: str) -> Answer:
        """`POST /api/oauth/token`."""
        account = self._accounts.client(header)
        limit = self.requests_per_minute
        name = account.name if account is not None else ""
        if limit is not None and self._too_many(client_ip, name, limit):
            return error(
                429,
                "RATE_LIMITED",
                f"Resource {TOKEN_PATH} is limited to {limit} requests every 1 minutes.",
                *(TOKEN_PATH, limit, 1),
            )
        grant = parse_qs(body.decode("utf-8", "replace")).get("grant_type", [""])[0]
        if account is None:
            return _oauth_error(401, "invalid_client", "Invalid credentials provided.")
        if grant != "client_credentials":
            code = "unsupported_grant_type" if grant else "invalid_request"
            return _oauth_error(400, code, "The grant type is missing or not supported.")
        return self._issue(account)

    def revoke(self, header: str, body: bytes) -> Answer:
        """`POST /api/oauth/revoke`: 200 and nothing, whether the token was live or not."""
        account = self._accounts.client(header)
        if account is None:
            return _oauth_error(401, "invalid_client", "Invalid credentials provided.")
        token = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        if token in self._tokens and self._tokens[token].account is account:
            self.expire(token)
            self.revoked += 1
        return Answer(200)

    def expire(self, *tokens: str) -> None:
        """End these tokens at once, or with none given all of them."""
        for token in tokens or tuple(self._tokens):
            self._tokens.pop(token, None)
            self._accounts.refuse([token])

    def expire_due(self) -> None:
        """End the tokens whose time has come."""
        now_s = self._monotonic()
        if now_s < self._next_end_s:
            return
        due = [token for token, held in self._tokens.items() if held.ends_s <= now_s]
        if due:
            self.expire(*due)
        self._next_end_s = min((held.ends_s for held in self._tokens.values()), default=inf)

    def live(self, account: Account) -> int:
        """How many tokens the account holds."""
        self.expire_due()
        return sum(held.account is account for held in self._tokens.values())

    def _issue(self, account: Account) -> Answer:
        if self.live(account) >= self.live_tokens:
            return _oauth_error(403, "access_denied", "Access Token limit reached.")
        token = secrets.token_urlsafe(48)
        ends_s = self._monotonic() + self.expires_in_s
        self._tokens[token] = _Token(account, ends_s)
        self._next_end_s = min(self._next_end_s, ends_s)
        self._accounts.admit(token, account)
        self.issued += 1
        body: dict[str, Json] = {
            "access_token": token,
            "expires_in": self.expires_in_s,
            "token_type": "Bearer",
        }
        return Answer(200, dump(body), _JSON)

    def _too_many(self, client_ip: str, name: str, limit: int) -> bool:
        calls = self._calls.setdefault((client_ip, name), deque())
        now_s = self._monotonic()
        while calls and calls[0] <= now_s - 60:
            calls.popleft()
        if len(calls) >= limit:
            return True
        calls.append(now_s)
        return False


def _oauth_error(status: int, code: str, description: str) -> Answer:
    """An OAuth error: here `error` is a string, in an `ApiError` it is a number."""
    return Answer(status, dump({"error": code, "error_description": description}), _JSON)
