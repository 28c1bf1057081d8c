"""Accounts, HTTP Digest and the OAuth token endpoint."""

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from re import compile as pattern
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qs

from invite_sweeper.simulator.responses import ERROR_MEDIA, Json, SimulatedResponse, to_json

Algorithm: TypeAlias = Literal["MD5", "SHA-256"]
REALM: Final = "MMS Public API"
_FIELD: Final = pattern(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')


class DigestServer:
    """Issues challenges and verifies credentials.

    Attributes:
        algorithm: MD5 on the commercial host, SHA-256 for Government.
        nonce_uses: How often a nonce can be used; None for no limit.
        rising_counts: Whether `nc` must increase with every use of a nonce.

    Source: challenges in the recordings; the Government documentation for SHA-256.
    """

    def __init__(self) -> None:
        self.algorithm: Algorithm = "MD5"
        self.nonce_uses: int | None = None
        self.rising_counts = False
        self._counts: dict[str, list[int]] = {}  # by nonce

    def challenge(self) -> str:
        """Return a `Www-Authenticate` header with a new nonce of 32 base64 characters."""
        nonce = b64encode(secrets.token_bytes(24)).decode()
        self._counts[nonce] = []
        return (
            f'Digest realm="{REALM}", domain="", nonce="{nonce}", '
            f'algorithm={self.algorithm}, qop="auth", stale=false'
        )

    def forget_nonces(self) -> None:
        """Invalidate all nonces issued so far."""
        self._counts.clear()

    def parse_header(self, header: str) -> dict[str, str]:
        """Return the fields of an `Authorization` header by name."""
        return {name: quoted or plain for name, quoted, plain in _FIELD.findall(header)}

    def is_valid(self, authorization: dict[str, str], password: str, method: str, uri: str) -> bool:
        """Return whether the header proves the password for this request.

        A valid header counts as one use of its nonce.
        """
        required = {"realm": REALM, "qop": "auth", "uri": uri, "algorithm": self.algorithm}
        if not required.items() <= ({"algorithm": "MD5"} | authorization).items():
            return False
        expected = self._expected_response(authorization, password, method)
        if not secrets.compare_digest(expected, authorization.get("response", "")):
            return False
        return self._use_nonce(authorization)

    def _expected_response(self, authorization: dict[str, str], password: str, method: str) -> str:
        ha1 = self._hash(f"{authorization.get('username', '')}:{REALM}:{password}")
        ha2 = self._hash(f"{method}:{authorization['uri']}")
        middle = ":".join(authorization.get(name, "") for name in ("nonce", "nc", "cnonce", "qop"))
        return self._hash(f"{ha1}:{middle}:{ha2}")

    def _hash(self, text: str) -> str:
        name = self.algorithm.replace("-", "")
        return hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()

    def _use_nonce(self, authorization: dict[str, str]) -> bool:
        counts = self._counts.get(authorization.get("nonce", ""))
        try:
            count = int(authorization.get("nc", ""), 16)
        except ValueError:
            return False
        if counts is None or (self.nonce_uses is not None and len(counts) >= self.nonce_uses):
            return False
        if self.rising_counts and count <= max(counts, default=0):
            return False
        counts.append(count)
        return True


AccountKind: TypeAlias = Literal["service account", "API key", "token"]


SECRET_LIFETIME: Final = timedelta(days=365)
"""The longest that Atlas allows. Source: the fact sheet, section 12."""


class Access(IntEnum):
    """Access to a project or organization; each level includes the previous."""

    NONE = 0
    READ = 1
    OWNER = 2


@dataclass(slots=True)
class Account:
    """One credential.

    Attributes:
        name: Client id, public key, or name of a fixed token; user-scoped limits apply per name.
        secret: Client secret, private key, or the token itself.
        org_ids: Exactly one in Atlas; a test may use more to list projects of another one.
        access_list: IP addresses that may use it; None for any.
        secrets_expire_at: When each secret of a service account ends.
    """

    kind: AccountKind
    name: str
    secret: str = field(repr=False)
    org_ids: tuple[str, ...]
    access_list: tuple[str, ...] | None = None
    created_at: datetime = field(kw_only=True)
    secrets_expire_at: tuple[datetime, ...] = ()

    def __post_init__(self) -> None:
        if self.kind == "service account":
            self.secrets_expire_at = (self.created_at + SECRET_LIFETIME,)

    def environment(self) -> dict[str, str]:
        """Return the environment variables for this credential."""
        if self.kind == "service account":
            id_name, secret_name = "CLIENT_ID", "CLIENT_SECRET"
        elif self.kind == "API key":
            id_name, secret_name = "PUBLIC_API_KEY", "PRIVATE_API_KEY"
        else:
            return {"MONGODB_ATLAS_ACCESS_TOKEN": self.secret}
        prefix = "MONGODB_ATLAS_"
        return {prefix + id_name: self.name, prefix + secret_name: self.secret}


class AccountStore:
    """Stores credentials and authenticates requests."""

    def __init__(self, digest: DigestServer) -> None:
        self._digest = digest
        self._accounts: dict[str, Account] = {}
        self._bearers: dict[str, Account] = {}

    def __len__(self) -> int:
        return len(self._accounts)

    def add(self, account: Account) -> None:
        """Register the credentials."""
        self._accounts[account.name] = account
        if account.kind == "token":
            self._bearers[f"Bearer {account.secret}"] = account

    def find(self, kind: AccountKind, name: str) -> Account | None:
        """Return the account of a kind with this client id or public key, or None."""
        account = self._accounts.get(name)
        return account if account is not None and account.kind == kind else None

    def find_client(self, header: str) -> Account | None:
        """Return the service account of a `Basic` header, or None."""
        for account in self._accounts.values():
            basic = b64encode(f"{account.name}:{account.secret}".encode()).decode()
            if header == f"Basic {basic}" and account.kind == "service account":
                return account
        return None

    def add_token(self, token: str, account: Account) -> None:
        """Register an access token of the account."""
        self._bearers[f"Bearer {token}"] = account

    def remove_tokens(self, tokens: Iterable[str]) -> None:
        """Invalidate access tokens."""
        for token in tokens:
            self._bearers.pop(f"Bearer {token}", None)

    def authenticate(self, header: str, method: str, uri: str) -> Account | None:
        """Return the account of a request; None if its credentials are missing or wrong."""
        bearer = self._bearers.get(header)
        if bearer is not None or not header.startswith("Digest "):
            return bearer
        authorization = self._digest.parse_header(header)
        account = self.find("API key", authorization.get("username", ""))
        if account is None or not self._digest.is_valid(authorization, account.secret, method, uri):
            return None
        return account


TOKEN_PATH: Final = "/api/oauth/token"  # noqa: S105 - a path
REVOKE_PATH: Final = "/api/oauth/revoke"


class OAuthServer:
    """Issues and revokes access tokens.

    Attributes:
        expires_in_s: Lifetime of a token.
        issued: Number of tokens issued.
        revoked: Number of tokens revoked.

    Source: authentication documentation and quoted responses, in the fact sheet, section 3.2.
    """

    def __init__(self, accounts: AccountStore, monotonic: Callable[[], float]) -> None:
        self.expires_in_s = 3600
        self.issued = 0
        self.revoked = 0
        self._accounts = accounts
        self._monotonic = monotonic
        self._tokens: dict[str, tuple[Account, float]] = {}  # with the monotonic time of its end

    def issue_token(self, header: str, body: bytes) -> SimulatedResponse:
        """Handle `POST /api/oauth/token`."""
        account = self._accounts.find_client(header)
        if account is None:
            return _invalid_client()
        if _form_value(body, "grant_type") != "client_credentials":
            return _oauth_error(400, "unsupported_grant_type", "The grant type is not supported.")
        token = secrets.token_urlsafe(48)
        self._tokens[token] = (account, self._monotonic() + self.expires_in_s)
        self._accounts.add_token(token, account)
        self.issued += 1
        document: Json = {
            "access_token": token,
            "expires_in": self.expires_in_s,
            "token_type": "Bearer",
        }
        return SimulatedResponse(200, to_json(document), ERROR_MEDIA)

    def revoke_token(self, header: str, body: bytes) -> SimulatedResponse:
        """Handle `POST /api/oauth/revoke`: an empty 200, even if the token was not live."""
        account = self._accounts.find_client(header)
        if account is None:
            return _invalid_client()
        token = _form_value(body, "token")
        if token in self._tokens and self._tokens[token][0] is account:
            self.expire(token)
            self.revoked += 1
        return SimulatedResponse(200)

    def expire(self, *tokens: str) -> None:
        """Expire these tokens now; all tokens if none are given."""
        for token in tokens or tuple(self._tokens):
            self._tokens.pop(token, None)
            self._accounts.remove_tokens([token])

    def expire_due(self) -> None:
        """Expire the tokens that have reached their lifetime."""
        now_s = self._monotonic()
        due = [token for token, (_, end_s) in self._tokens.items() if end_s <= now_s]
        if due:
            self.expire(*due)

    def live_token_count(self, account: Account) -> int:
        """Return the number of live tokens of the account."""
        self.expire_due()
        return sum(each is account for each, _ in self._tokens.values())


def _form_value(body: bytes, name: str) -> str:
    return parse_qs(body.decode("utf-8", "replace")).get(name, [""])[0]


def _invalid_client() -> SimulatedResponse:
    return _oauth_error(401, "invalid_client", "Invalid credentials provided.")


def _oauth_error(status: int, code: str, description: str) -> SimulatedResponse:
    """Return an OAuth error. Its `error` is a string; in an `ApiError` it is a number."""
    document: Json = {"error": code, "error_description": description}
    return SimulatedResponse(status, to_json(document), ERROR_MEDIA)
