"""Accounts, HTTP Digest and the OAuth token endpoint."""

import hashlib
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qs

from invite_sweeper.simulator.responses import ERROR_MEDIA, Json, SimulatedResponse, render_json

SECRET_LIFETIME: Final = timedelta(days=365)
"""The longest that Atlas allows. Source: Atlas documentation, service accounts. Read 2026-11."""
REALM: Final = "MMS Public API"
TOKEN_PATH: Final = "/api/oauth/token"  # noqa: S105 - a path
REVOKE_PATH: Final = "/api/oauth/revoke"
_FIELD: Final = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


AccountKind: TypeAlias = Literal["service account", "API key", "token"]


@dataclass(slots=True)
class Account:
    """One credential.

    Attributes:
        name: Client id, public key, or name of a fixed token; user-scoped limits apply per name.
        secret: Client secret, private key, or the token itself.
        org_ids: Exactly one in Atlas; a test may use more to list projects of another one.
        secrets_expire_at: When each secret of a service account ends.
    """

    kind: AccountKind
    name: str
    secret: str = field(repr=False)
    org_ids: tuple[str, ...]
    secrets_expire_at: tuple[datetime, ...] = ()

    def environment(self) -> dict[str, str]:
        """Return the environment variables for this credential."""
        if self.kind == "service account":
            variables = {"CLIENT_ID": self.name, "CLIENT_SECRET": self.secret}
        elif self.kind == "API key":
            variables = {"PUBLIC_API_KEY": self.name, "PRIVATE_API_KEY": self.secret}
        else:
            variables = {"ACCESS_TOKEN": self.secret}
        return {f"MONGODB_ATLAS_{name}": value for name, value in variables.items()}


class DigestServer:
    """Issues challenges and verifies credentials.

    Attributes:
        algorithm: MD5 on the commercial host, SHA-256 for Government.
        nonces: Those that are valid.

    Source: challenges in the recordings; the Government documentation for SHA-256.
    """

    def __init__(self) -> None:
        self.algorithm: Literal["MD5", "SHA-256"] = "MD5"
        self.nonces: set[str] = set()

    def challenge(self) -> str:
        """Return a `Www-Authenticate` header with a new nonce of 32 base64 characters."""
        nonce = b64encode(secrets.token_bytes(24)).decode()
        self.nonces.add(nonce)
        return (
            f'Digest realm="{REALM}", domain="", nonce="{nonce}", '
            f'algorithm={self.algorithm}, qop="auth", stale=false'
        )

    def parse_header(self, header: str) -> dict[str, str]:
        """Return the fields of an `Authorization` header by name."""
        return {name: quoted or plain for name, quoted, plain in _FIELD.findall(header)}

    def is_valid(self, fields: Mapping[str, str], password: str, method: str, uri: str) -> bool:
        """Return whether the fields of a header prove the password for this request."""
        required = {"realm": REALM, "qop": "auth", "uri": uri, "algorithm": self.algorithm}
        sent = {"algorithm": "MD5", **fields}  # MD5 is Digest's default (RFC 7616)
        if not required.items() <= sent.items():
            return False
        if fields.get("nonce") not in self.nonces:
            return False
        expected = self.response(fields, password, method)
        return secrets.compare_digest(expected, fields.get("response", ""))

    def response(self, fields: Mapping[str, str], password: str, method: str) -> str:
        """Return the `response` of a header with the other fields.

        Source: RFC 7616, section 3.4.1, which calls the hashes A1 and A2.
        """
        username = fields.get("username", "")
        credentials = self._hash(f"{username}:{REALM}:{password}")
        request = self._hash(f"{method}:{fields['uri']}")
        challenge = ":".join(fields.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return self._hash(f"{credentials}:{challenge}:{request}")

    def _hash(self, text: str) -> str:
        name = self.algorithm.replace("-", "")
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()


class OAuthServer:
    """Issues and revokes access tokens, and knows the fixed ones.

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

    def add_token(self, token: str, account: Account, end_s: float = inf) -> None:
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
            if header == f"Basic {basic}" and account.kind == "service account":
                return account
        return None


def _form_value(body: bytes, name: str) -> str:
    return parse_qs(body.decode("utf-8", "replace")).get(name, [""])[0]


def _invalid_client() -> SimulatedResponse:
    """Return an OAuth error. Its `error` is a string; in an `ApiError` it is a number."""
    fields = {"error": "invalid_client", "error_description": "Invalid credentials provided."}
    return SimulatedResponse(401, render_json(fields), ERROR_MEDIA)
