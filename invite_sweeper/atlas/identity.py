"""Who the program is to Atlas, as values that do not show their secrets."""

from dataclasses import dataclass
from typing import TypeAlias, final

from typing_extensions import override


@final
class Secret:
    """A value that shows itself only where it is asked to, by `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; for the wire and for nothing else."""
        return self._value

    @override
    def __repr__(self) -> str:
        return "***"

    @override
    def __reduce__(self) -> str:
        message = "a secret is not written down"
        raise TypeError(message)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account: its id and secret are exchanged for one token a run."""

    client_id: str
    client_secret: Secret

    @property
    def actor(self) -> str:
        """The name under which the audit log knows it."""
        return self.client_id


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, which proves itself by HTTP Digest."""

    public_key: str
    private_key: Secret

    @property
    def actor(self) -> str:
        """The name under which the audit log knows it."""
        return self.public_key


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A token that somebody else fetched; it is neither renewed nor revoked here."""

    token: Secret

    @property
    def actor(self) -> str:
        """The name under which the audit log knows it; a token has none of its own."""
        return "token"


Credentials: TypeAlias = ServiceAccount | ApiKey | BearerToken
