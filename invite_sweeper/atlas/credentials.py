"""Credentials, read from environment variables or mounted files.

Error messages name variables and files, never a value.
"""

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple, final

from typing_extensions import override

from invite_sweeper.errors import UsageError
from invite_sweeper.files import read_small_file
from invite_sweeper.redaction import SECRETS


@final
class Secret:
    """A string that no output shows."""

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


class CredentialsKind(Enum):
    """A kind of credentials; its value are the variables that hold them, the secret last."""

    SERVICE_ACCOUNT = ("MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET")
    """Exchanged for an access token, which is refreshed and at last revoked."""
    API_KEY = ("MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY")
    """For HTTP Digest."""
    ACCESS_TOKEN = ("MONGODB_ATLAS_ACCESS_TOKEN",)
    """A ready bearer token."""


class Credentials(NamedTuple):
    """One set of credentials.

    Attributes:
        actor: The name recorded in the audit log: client ID, public key, or `token`.
    """

    kind: CredentialsKind
    actor: str
    secret: Secret


_MAX_SECRET_BYTES: Final = 16 * 1024
_VARIABLE: Final = re.compile(
    rf"(?:{'|'.join(name for kind in CredentialsKind for name in kind.value)})"
    r"(?:_(?!FILE$)(?P<name>[A-Z0-9_]+?))?(?:_FILE)?"
)
"""A variable of a set of credentials; a set cannot be named `FILE`."""


def credentials_variables(environment: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Return the variables that are set of each set of credentials, by its name, in order.

    The plain set has the name "". A set may be incomplete: `read_credentials` says what is missing.
    """
    found: dict[str, tuple[str, ...]] = {}
    for variable, value in sorted(environment.items()):
        if value and (match := _VARIABLE.fullmatch(variable)):
            name = match["name"] or ""
            found[name] = (*found.get(name, ()), variable)
    return dict(sorted(found.items()))


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
    kinds = {
        kind: [f"{name}_{suffix}" if suffix else name for name in kind.value]
        for kind in CredentialsKind
    }
    values = {name: _read_value(name, environment) for names in kinds.values() for name in names}
    found = {
        kind: [_variable(name, environment) for name in names if values[name]]
        for kind, names in kinds.items()
    }
    given = [kind for kind in kinds if found[kind]]
    if not given:
        choices = ", or ".join(" and ".join(names) for names in kinds.values())
        raise UsageError(
            "No credentials found.", hint=f"Set {choices} (or the same names with _FILE)."
        )
    if len(given) > 1:
        raise UsageError(
            "More than one kind of credentials is set: "
            f"{', '.join(name for kind in given for name in found[kind])}.",
            hint="Set the variables of one kind only.",
        )
    (kind,) = given
    if missing := [name for name in kinds[kind] if not values[name]]:
        raise UsageError(
            f"{found[kind][0]} is set, but {missing[0]} is not.",
            hint=f"Set {missing[0]} or {missing[0]}_FILE as well.",
        )
    *ids, secret = (values[name] for name in kinds[kind])
    actor, name = (ids or ["token"])[0], found[kind][0]
    if ":" in actor:  # the separator in Basic and Digest
        raise UsageError(f"The value of {name} contains a colon.")
    if kind is CredentialsKind.API_KEY and actor.startswith("mdb_sa_"):
        account_id = kinds[CredentialsKind.SERVICE_ACCOUNT][0]
        raise UsageError(
            f"The value of {name} is the client ID of a service account.",
            hint=f"Set {account_id} to it, and the matching client secret.",
        )
    return Credentials(kind, actor, Secret(secret))


def _variable(name: str, environment: Mapping[str, str]) -> str:
    return f"{name}_FILE" if environment.get(f"{name}_FILE") else name


def _read_value(name: str, environment: Mapping[str, str]) -> str:
    """Return the value of a variable, or of the file that its `_FILE` names; "" without one."""
    text, variable = environment.get(name, ""), _variable(name, environment)
    if variable != name:
        if text:
            raise UsageError(f"{name} and {variable} are both set.", hint="Set only one of them.")
        text = _read_secret_file(variable, Path(environment[variable]))
    if not all(character.isprintable() and not character.isspace() for character in text):
        raise UsageError(  # it could not be part of a header
            f"The value of {variable} contains a space, line break or control character.",
            hint="Copy the value again, without spaces or line breaks.",
        )
    return text


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
