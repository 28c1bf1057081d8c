"""Credentials, read from environment variables or mounted files.

Error messages name variables and files, never a value.
"""

import re
from collections.abc import Iterator, Mapping
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


class ServiceAccount(NamedTuple):
    """A service account: ID and secret are exchanged for an access token."""

    client_id: str
    client_secret: Secret

    @property
    def actor(self) -> str:
        """The name recorded in the audit log."""
        return self.client_id


class ApiKey(NamedTuple):
    """An API key, for HTTP Digest."""

    public_key: str
    private_key: Secret

    @property
    def actor(self) -> str:
        """The name recorded in the audit log."""
        return self.public_key


class BearerToken(NamedTuple):
    """An access token from the environment; it is neither refreshed nor revoked."""

    token: Secret

    @property
    def actor(self) -> str:
        """The name recorded in the audit log: "token", because a token has no name."""
        return "token"


Credentials: TypeAlias = ServiceAccount | ApiKey | BearerToken

_MAX_SECRET_BYTES: Final = 16 * 1024
_KINDS: Final = (
    ("MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"),
    ("MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY"),
    ("MONGODB_ATLAS_ACCESS_TOKEN",),
)
"""The variables of each kind of credentials."""
_VARIABLE: Final = re.compile(
    rf"(?:{'|'.join(name for kind in _KINDS for name in kind)})"
    r"(?:_(?!FILE$)(?P<name>[A-Z0-9_]+?))?(?:_FILE)?"
)
"""A variable of a set of credentials; a set cannot be named `FILE`."""


class _Value(NamedTuple):
    """A value and the variable that it was read from, for error messages."""

    variable: str
    text: str


def credentials_names(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the sets of credentials in the environment, "" for the plain one.

    A set may be incomplete: `read_credentials` says what is missing.
    """
    return tuple(sorted({name for _, name in _found(environment)}))


def credentials_variables(environment: Mapping[str, str], name: str = "") -> tuple[str, ...]:
    """Return the variables of a set of credentials that are set."""
    return tuple(sorted(variable for variable, set_ in _found(environment) if set_ == name))


def _found(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each variable of credentials that is set, and the name of its set."""
    for variable, value in environment.items():
        if value and (match := _VARIABLE.fullmatch(variable)):
            yield variable, match["name"] or ""


def read_credentials(environment: Mapping[str, str], *, suffix: str = "") -> Credentials:
    """Read the credentials that the environment contains, of exactly one kind.

    A variable with `_FILE` appended names a file with the value; one newline at its end is
    removed. An empty variable counts as not set.

    Args:
        environment: The variables, as in `os.environ`.
        suffix: The name of an organization's credentials, such as `SANDBOX` for
            `MONGODB_ATLAS_CLIENT_ID_SANDBOX`; empty for the variables without a suffix.

    Raises:
        UsageError: Credentials are missing, of two kinds, or half a pair; a variable and its
            `_FILE` are both set; a file cannot be read; or a value is not valid.
    """
    kinds = [[f"{name}_{suffix}" if suffix else name for name in kind] for kind in _KINDS]
    values = {name: _read_value(name, environment) for kind in kinds for name in kind}
    found = [[value for name in kind if (value := values[name])] for kind in kinds]
    if not any(found):
        choices = ", or ".join(" and ".join(kind) for kind in kinds)
        raise UsageError(
            "No credentials found.", hint=f"Set {choices} (or the same names with _FILE)."
        )
    if sum(map(bool, found)) > 1:
        names = ", ".join(value.variable for kind in found for value in kind)
        raise UsageError(
            f"More than one kind of credentials is set: {names}.",
            hint="Set the variables of one kind only.",
        )
    kind, (first, *rest) = next(each for each in zip(kinds, found, strict=True) if each[1])
    if missing := [name for name in kind if values[name] is None]:
        raise UsageError(
            f"{first.variable} is set, but {missing[0]} is not.",
            hint=f"Set {missing[0]} or {missing[0]}_FILE as well.",
        )
    if not rest:
        return BearerToken(Secret(first.text))
    if ":" in first.text:  # the separator in Basic and Digest
        raise UsageError(f"The value of {first.variable} contains a colon.")
    secret = Secret(rest[0].text)
    if kind is kinds[0]:
        return ServiceAccount(first.text, secret)
    if first.text.startswith("mdb_sa_"):
        raise UsageError(
            f"The value of {first.variable} is the client ID of a service account.",
            hint=f"Set {kinds[0][0]} to it, and the matching client secret.",
        )
    return ApiKey(first.text, secret)


def _read_value(name: str, environment: Mapping[str, str]) -> _Value | None:
    """Return the value of a variable, or of the file that its `_FILE` names."""
    text, variable = environment.get(name, ""), name
    if path := environment.get(f"{name}_FILE", ""):
        if text:
            raise UsageError(f"{name} and {name}_FILE are both set.", hint="Set only one of them.")
        variable = f"{name}_FILE"
        text = _read_secret_file(variable, Path(path))
    if not all(character.isprintable() and not character.isspace() for character in text):
        raise UsageError(  # it could not be part of a header
            f"The value of {variable} contains a space, line break or control character.",
            hint="Copy the value again, without spaces or line breaks.",
        )
    return _Value(variable, text) if text else None


def _read_secret_file(variable: str, path: Path) -> str:
    """Return the text of a file, without one newline at its end."""
    try:
        data = read_small_file(path, _MAX_SECRET_BYTES)
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
