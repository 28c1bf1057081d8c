"""Credentials, read from environment variables or mounted files.

Error messages name variables and files, never a value.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, final

from typing_extensions import override

from invite_sweeper.errors import UsageError
from invite_sweeper.files import read_small_file
from invite_sweeper.redaction import SECRETS


@final
class Secret:
    """A string that no output shows, and that cannot be pickled."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        SECRETS.add(value)

    def get_secret_value(self) -> str:
        """Return the value; only for sending it."""
        return self._value

    @override
    def __repr__(self) -> str:
        return "***"

    @override
    def __reduce__(self) -> str:
        message = "a Secret cannot be pickled"
        raise TypeError(message)


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """A service account: ID and secret are exchanged for an access token."""

    client_id: str
    client_secret: Secret

    @property
    def actor(self) -> str:
        """The name recorded in the audit log."""
        return self.client_id


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key, for HTTP Digest."""

    public_key: str
    private_key: Secret

    @property
    def actor(self) -> str:
        """The name recorded in the audit log."""
        return self.public_key


@dataclass(frozen=True, slots=True)
class BearerToken:
    """An access token from the environment; it is neither refreshed nor revoked."""

    token: Secret

    @property
    def actor(self) -> str:
        """The name recorded in the audit log: "token", because a token has no name."""
        return "token"


Credentials: TypeAlias = ServiceAccount | ApiKey | BearerToken

_MAX_SECRET_BYTES: Final = 16 * 1024

_CLIENT_ID: Final = "MONGODB_ATLAS_CLIENT_ID"
_CLIENT_SECRET: Final = "MONGODB_ATLAS_CLIENT_SECRET"  # noqa: S105 - a variable's name
_PUBLIC_KEY: Final = "MONGODB_ATLAS_PUBLIC_API_KEY"
_PRIVATE_KEY: Final = "MONGODB_ATLAS_PRIVATE_API_KEY"
_ACCESS_TOKEN: Final = "MONGODB_ATLAS_ACCESS_TOKEN"  # noqa: S105 - a variable's name


class _Value(NamedTuple):
    """A value and the variable that it was read from, for error messages."""

    variable: str
    value: str


def _read_file(path: Path) -> bytes:
    return read_small_file(path, _MAX_SECRET_BYTES)


_VARIABLE: Final = re.compile(
    rf"(?:{_CLIENT_ID}|{_CLIENT_SECRET}|{_PUBLIC_KEY}|{_PRIVATE_KEY}|{_ACCESS_TOKEN})"
    r"(?:_(?!FILE$)(?P<name>[A-Z0-9_]+?))?(?:_FILE)?"
)
"""A variable of a set of credentials; a set cannot be named `FILE`."""


def credentials_names(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the sets of credentials in the environment, "" for the plain one.

    A set may be incomplete: `read_credentials` says what is missing.
    """
    found = (_VARIABLE.fullmatch(variable) for variable, value in environment.items() if value)
    return tuple(sorted({match["name"] or "" for match in found if match is not None}))


def credentials_variables(environment: Mapping[str, str], name: str = "") -> tuple[str, ...]:
    """Return the variables of a set of credentials that are set."""
    found = (_VARIABLE.fullmatch(variable) for variable, value in environment.items() if value)
    return tuple(sorted(match[0] for match in found if match and (match["name"] or "") == name))


def read_credentials(
    environment: Mapping[str, str],
    read_file: Callable[[Path], bytes] = _read_file,
    *,
    suffix: str = "",
) -> Credentials:
    """Read the credentials that the environment contains, of exactly one kind.

    A variable with `_FILE` appended names a file with the value; one newline at its end is
    removed. An empty variable counts as not set.

    Args:
        environment: The variables, as in `os.environ`.
        read_file: Returns the bytes of a file, or raises OSError.
        suffix: The name of an organization's credentials, such as `SANDBOX` for
            `MONGODB_ATLAS_CLIENT_ID_SANDBOX`; empty for the variables without a suffix.

    Raises:
        UsageError: Credentials are missing, of two kinds, or half a pair; a variable and its
            `_FILE` are both set; a file cannot be read; or a value is not valid.
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
    raise AssertionError  # pragma: no cover - excluded by _check_one_kind


def _check_one_kind(
    variable_groups: tuple[tuple[str, ...], ...], values: Mapping[str, _Value | None]
) -> None:
    """Raise UsageError unless exactly one kind is set, with both halves of a pair."""
    present_groups = [kind for kind in variable_groups if any(values[name] for name in kind)]
    if not present_groups:
        choices = ", or ".join(" and ".join(kind) for kind in variable_groups)
        raise UsageError(
            "No credentials found.",
            hint=f"Set {choices} (or the same names with _FILE).",
        )
    if len(present_groups) > 1:
        found = ", ".join(
            value.variable for kind in present_groups for name in kind if (value := values[name])
        )
        raise UsageError(
            f"More than one kind of credentials is set: {found}.",
            hint="Set the variables of one kind only.",
        )
    missing = [name for name in present_groups[0] if not values[name]]
    if missing:
        present_variable = next(
            value.variable for name in present_groups[0] if (value := values[name])
        )
        raise UsageError(
            f"{present_variable} is set, but {missing[0]} is not.",
            hint=f"Set {missing[0]} or {missing[0]}_FILE as well.",
        )


def _read_value(
    name: str, environment: Mapping[str, str], read_file: Callable[[Path], bytes]
) -> _Value | None:
    """Return the value of a variable, or of the file that its `_FILE` names."""
    direct = environment.get(name, "")
    file_variable = f"{name}_FILE"
    path = environment.get(file_variable, "")
    if direct and path:
        raise UsageError(f"{name} and {file_variable} are both set.", hint="Set only one of them.")
    if direct:
        return _Value(name, _validate(name, direct))
    if not path:
        return None
    return _Value(
        file_variable,
        _validate(file_variable, _read_secret_file(file_variable, Path(path), read_file)),
    )


def _read_secret_file(variable: str, path: Path, read_file: Callable[[Path], bytes]) -> str:
    """Return the text of a file, without one newline at its end."""
    try:
        data = read_file(path)
    except OSError as error:
        reason = error.strerror or "unknown reason"
        raise UsageError(
            f"Cannot read {path}, set by {variable}: {reason}.",
            hint="Name a file that exists and that this user may read; in a container, mount it.",
        ) from None
    if len(data) > _MAX_SECRET_BYTES:
        raise UsageError(
            f"{path}, set by {variable}, is larger than {_MAX_SECRET_BYTES // 1024} KiB.",
            hint="Name the file that holds only the value.",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        # The exception contains the bytes: it must not be chained to the UsageError.
        text = ""
    text = text.removesuffix("\n").removesuffix("\r")
    if not text:
        raise UsageError(
            f"{path}, set by {variable}, is empty or not UTF-8 text.",
            hint="Write the value to it as text.",
        )
    return text


def _validate(variable: str, value: str) -> str:
    """Return the value; raise UsageError if it cannot be part of a header."""
    if not all(character.isprintable() and not character.isspace() for character in value):
        raise UsageError(
            f"The value of {variable} contains a space, line break or control character.",
            hint="Copy the value again, without spaces or line breaks.",
        )
    return value


def _validate_user_name(value: _Value) -> str:
    """Return the value; raise UsageError for a colon, the separator in Basic and Digest."""
    if ":" in value.value:
        raise UsageError(f"The value of {value.variable} contains a colon.")
    return value.value


def _validate_public_key(value: _Value, client_id: str) -> str:
    if value.value.startswith("mdb_sa_"):
        raise UsageError(
            f"The value of {value.variable} is the client ID of a service account.",
            hint=f"Set {client_id} to it, and the matching client secret.",
        )
    return _validate_user_name(value)
