"""Credentials from the environment; Secret."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, final

from typing_extensions import override

from invite_sweeper.errors import UsageError

# Who the program is to Atlas, as values that do not show their secrets.


@final
class Secret:
    """A value that shows itself only where it is asked to, by `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
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


# Reads who the program is to Atlas from the environment or from mounted files.


_MAX_SECRET_BYTES: Final = 16 * 1024

_CLIENT_ID: Final = "MONGODB_ATLAS_CLIENT_ID"
_CLIENT_SECRET: Final = "MONGODB_ATLAS_CLIENT_SECRET"  # noqa: S105 - a variable's name
_PUBLIC_KEY: Final = "MONGODB_ATLAS_PUBLIC_API_KEY"
_PRIVATE_KEY: Final = "MONGODB_ATLAS_PRIVATE_API_KEY"
_ACCESS_TOKEN: Final = "MONGODB_ATLAS_ACCESS_TOKEN"  # noqa: S105 - a variable's name


class _Value(NamedTuple):
    """A value and the variable that gave it, so that a fault can name it."""

    variable: str
    value: str


def read_credentials(
    environment: Mapping[str, str],
    read_file: Callable[[Path], bytes],
    *,
    suffix: str = "",
) -> Credentials:
    """Read the one kind of credentials that the environment gives.

    Each variable may end in `_FILE` and then names a file that holds the value; one
    newline at the file's end is not part of it. An empty variable counts as not set.

    Args:
        environment: The variables, as `os.environ`.
        read_file: Gives a file's bytes, or raises OSError.
        suffix: The name of one organization's credentials, as `SANDBOX` for
            `MONGODB_ATLAS_CLIENT_ID_SANDBOX`; empty for the plain variables.

    Raises:
        UsageFault: None, half a pair, two kinds, a variable given twice, a file that
            cannot be read, or a value that cannot be a secret. Names the variables,
            never a value.
    """
    names = [
        f"{name}_{suffix}" if suffix else name
        for name in (_CLIENT_ID, _CLIENT_SECRET, _PUBLIC_KEY, _PRIVATE_KEY, _ACCESS_TOKEN)
    ]
    values = {name: _read_value(name, environment, read_file) for name in names}
    client_id, client_secret, public_key, private_key, access_token = names
    variable_groups = ((client_id, client_secret), (public_key, private_key), (access_token,))
    _check_one_kind(variable_groups, values)
    if access := values[access_token]:
        return BearerToken(Secret(access.value))
    if (account := values[client_id]) and (secret := values[client_secret]):
        return ServiceAccount(_validate_user_name(account), Secret(secret.value))
    if (public := values[public_key]) and (private := values[private_key]):
        return ApiKey(_validate_public_key(public, client_id), Secret(private.value))
    raise AssertionError  # pragma: no cover - _exactly_one_kind leaves no other case


def _check_one_kind(
    variable_groups: tuple[tuple[str, ...], ...], values: Mapping[str, _Value | None]
) -> None:
    """Refuse everything but one kind, whole."""
    present_groups = [kind for kind in variable_groups if any(values[name] for name in kind)]
    if not present_groups:
        choices = ", or ".join(" and ".join(kind) for kind in variable_groups)
        raise UsageError(
            "No credentials are given.",
            hint=f"Set {choices} (or the same names with _FILE).",
        )
    if len(present_groups) > 1:
        found = ", ".join(
            value.variable for kind in present_groups for name in kind if (value := values[name])
        )
        raise UsageError(
            f"More than one kind of credentials is given: {found}.", hint="Leave one kind."
        )
    missing = [name for name in present_groups[0] if not values[name]]
    if missing:
        present_variable = next(
            value.variable for name in present_groups[0] if (value := values[name])
        )
        raise UsageError(
            f"{present_variable} is set and {missing[0]} is not.",
            hint=f"Set {missing[0]} or {missing[0]}_FILE as well.",
        )


def _read_value(
    name: str, environment: Mapping[str, str], read_file: Callable[[Path], bytes]
) -> _Value | None:
    """One variable's value, from itself or from the file that its `_FILE` names."""
    direct = environment.get(name, "")
    file_variable = f"{name}_FILE"
    path = environment.get(file_variable, "")
    if direct and path:
        raise UsageError(f"{name} and {file_variable} are both set.", hint="Set one of them.")
    if direct:
        return _Value(name, _validate(name, direct))
    if not path:
        return None
    return _Value(
        file_variable,
        _validate(file_variable, _read_secret_file(file_variable, Path(path), read_file)),
    )


def _read_secret_file(variable: str, path: Path, read_file: Callable[[Path], bytes]) -> str:
    """The text of a mounted secret, without the newline that editors put at its end."""
    try:
        data = read_file(path)
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise UsageError(
            f"{variable} names {path}, which cannot be read: {why}.",
            hint="Name a file that exists and that this user may read; in a container, mount it.",
        ) from None
    if len(data) > _MAX_SECRET_BYTES:
        raise UsageError(f"{variable} names {path}, which is too long for a secret.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # The exception carries the bytes: it must not travel in the fault's chain.
        text = ""
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise UsageError(f"{variable} names {path}, which holds no text.")
    return text


def _validate(variable: str, value: str) -> str:
    """A value that can stand in a header; one that cannot is named, never shown."""
    if not all(character.isprintable() and not character.isspace() for character in value):
        raise UsageError(
            f"The value of {variable} holds a blank, a line break or a control character.",
            hint="Check how it was copied.",
        )
    return value


def _validate_user_name(value: _Value) -> str:
    """The part before the colon of Basic and Digest, which cannot hold one itself."""
    if ":" in value.value:
        raise UsageError(f"The value of {value.variable} holds a colon.")
    return value.value


def _validate_public_key(value: _Value, client_id: str) -> str:
    if value.value.startswith("mdb_sa_"):
        raise UsageError(
            f"{value.variable} holds the id of a service account.",
            hint=f"Put it into {client_id}, and its secret beside it.",
        )
    return _validate_user_name(value)
