"""Service accounts and the OAuth token endpoint."""

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qs

from invite_sweeper.simulator.responses import ERROR_MEDIA, Json, SimulatedResponse, render_json

SECRET_LIFETIME: Final = timedelta(days=365)
"""The longest that Atlas allows. Source: Atlas documentation, service accounts. Read 2026-11."""
TOKEN_PATH: Final = "/api/oauth/token"  # noqa: S105 - a path
REVOKE_PATH: Final = "/api/oauth/revoke"


@dataclass(slots=True)
class Account:
    """A service account.

    Attributes:
        name: Its client id; user-scoped limits apply per name.
        org_ids: Exactly one in Atlas; a test may use more to list projects of another one.
        secrets_expire_at: When each secret ends.
    """

    name: str
    secret: str = field(repr=False)
    org_ids: tuple[str, ...]
    secrets_expire_at: tuple[datetime, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return the environment variables for this credential."""
        return {
            "MONGODB_ATLAS_CLIENT_ID": self.name,
            "MONGODB_ATLAS_CLIENT_SECRET": self.secret,
        }


class OAuthServer:
    """Issues and revokes access tokens.

    Attributes:
        expires_in_s: Lifetime of a token.
        tokens: The account of each live token, and the monotonic time of the token's end.

    Source: Atlas documentation, API authentication. Read 2026.
    """

    def __init__(self, accounts: Mapping[str, Account], monotonic: Callable[[], float]) -> None:
        self.expires_in_s = 3600
        self.tokens: dict[str, tuple[Account, float]] = {}
        self._accounts = accounts
        self._monotonic = monotonic

    def add_token(self, token: str, account: Account, end_s: float) -> None:
        """Register a token of the account."""
        self.tokens[token] = (account, end_s)

    def account_of(self, token: str) -> Account | None:
        """Return the account of a token; None if it is not live."""
        account, end_s = self.tokens.get(token, (None, 0.0))
        return account if self._monotonic() < end_s else None

    def issue_token(self, header: str, body: bytes) -> SimulatedResponse:
        """Handle `POST /api/oauth/token`."""
        account = self._find_client(header)
        if account is None or _form_value(body, "grant_type") != "client_credentials":
            return _invalid_client()
        token = secrets.token_urlsafe(48)
        lifetime_s = self.expires_in_s
        self.add_token(token, account, self._monotonic() + lifetime_s)
        fields: Json = {"access_token": token, "expires_in": lifetime_s, "token_type": "Bearer"}
        return SimulatedResponse(200, render_json(fields), ERROR_MEDIA)

    def revoke_token(self, header: str, body: bytes) -> SimulatedResponse:
        """Handle `POST /api/oauth/revoke`: an empty 200, even if the token was not live."""
        account = self._find_client(header)
        if account is None:
            return _invalid_client()
        token = _form_value(body, "token")
        if self.account_of(token) is account:
            del self.tokens[token]
        return SimulatedResponse(200)

    def _find_client(self, header: str) -> Account | None:
        """Return the service account of a `Basic` header, or None."""
        for account in self._accounts.values():
            basic = b64encode(f"{account.name}:{account.secret}".encode()).decode()
            if header == f"Basic {basic}":
                return account
        return None


def _form_value(body: bytes, name: str) -> str:
    return parse_qs(body.decode("utf-8", "replace")).get(name, [""])[0]


def _invalid_client() -> SimulatedResponse:
    """Return an OAuth error. Its `error` is a string; in an `ApiError` it is a number."""
    fields = {"error": "invalid_client", "error_description": "Invalid credentials provided."}
    return SimulatedResponse(401, render_json(fields), ERROR_MEDIA)
