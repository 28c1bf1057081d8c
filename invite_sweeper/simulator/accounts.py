"""Who may ask: service accounts, API keys, ready tokens, and what each may do."""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, TypeAlias

from invite_sweeper.simulator.digest import DigestDesk

Kind: TypeAlias = Literal["service account", "API key", "token"]


class Access(IntEnum):
    """What a role allows in one project or organization; each holds the one before."""

    NONE = 0
    READ = 1
    OWNER = 2


@dataclass(slots=True)
class Account:
    """One credential.

    Attributes:
        name: Client id, public key, or a name for a ready token: what a request is counted by.
        secret: Client secret, private key, or the token itself.
        org_ids: In Atlas exactly one; more let a test show projects of another organization.
        roles: Access that differs from `access`, by project or organization id.
        access_list: Addresses that may use it; None for any.
    """

    kind: Kind
    name: str
    secret: str = field(repr=False)
    org_ids: tuple[str, ...]
    access: Access = Access.OWNER
    roles: dict[str, Access] = field(default_factory=dict)
    access_list: tuple[str, ...] | None = None

    def environment(self) -> dict[str, str]:
        """The environment variables that hand this credential to a program."""
        if self.kind == "service account":
            id_name, secret_name = "CLIENT_ID", "CLIENT_SECRET"
        elif self.kind == "API key":
            id_name, secret_name = "PUBLIC_API_KEY", "PRIVATE_API_KEY"
        else:
            return {"MONGODB_ATLAS_ACCESS_TOKEN": self.secret}
        prefix = "MONGODB_ATLAS_"
        return {prefix + id_name: self.name, prefix + secret_name: self.secret}

    def may(self, org_id: str, scope_id: str) -> Access:
        """What it may do in a project (or organization) of `org_id`."""
        if org_id not in self.org_ids:
            return Access.NONE
        return self.roles.get(scope_id, self.access)


class Accounts:
    """All credentials, and who sent a request."""

    def __init__(self, digest: DigestDesk) -> None:
        self._digest = digest
        self._keys: dict[str, Account] = {}
        self._clients: dict[str, Account] = {}
        self._bearers: dict[str, Account] = {}
        self._added = 0

    def __len__(self) -> int:
        return self._added

    def add(self, account: Account) -> None:
        """From now on these credentials are known."""
        self._added += 1
        if account.kind == "service account":
            basic = b64encode(f"{account.name}:{account.secret}".encode()).decode()
            self._clients[f"Basic {basic}"] = account
        elif account.kind == "API key":
            self._keys[account.name] = account
        else:
            self._bearers[f"Bearer {account.secret}"] = account

    def client(self, header: str) -> Account | None:
        """The service account of a `Basic` header."""
        return self._clients.get(header)

    def admit(self, token: str, account: Account) -> None:
        """Take requests that bear this token for the account's."""
        self._bearers[f"Bearer {token}"] = account

    def refuse(self, tokens: Iterable[str]) -> None:
        """These tokens are no good any more."""
        for token in tokens:
            self._bearers.pop(f"Bearer {token}", None)

    def sender(self, header: str, method: str, uri: str) -> Account | None:
        """Whose request this is; None where the credentials are missing or wrong."""
        bearer = self._bearers.get(header)
        if bearer is not None or not header.startswith("Digest "):
            return bearer
        reply = self._digest.fields(header)
        account = self._keys.get(reply.get("username", ""))
        if account is None or not self._digest.holds(reply, account.secret, method, uri):
            return None
        return account
