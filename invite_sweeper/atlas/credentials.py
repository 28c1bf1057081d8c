"""Credentials, read from environment variables or mounted files.

Error messages name variables and files, never a value: a secret may stand in any of them. So
`register_credentials` comes before a command reads anything else.
"""

import itertools
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Final, NamedTuple, final

from typing_extensions import override

from invite_sweeper.errors import UsageError
from invite_sweeper.files import read_small_file
from invite_sweeper.redaction import CLIENT_SECRET_PREFIX, SECRETS, UUID
from invite_sweeper.text import shell_command


@final
class Secret:
    """A string that no output shows.

    Attributes:
        value: Read only to send it.
    """

    __slots__ = ("value",)

    def __init__(self, value: str) -> None:
        self.value = value
        SECRETS.add(value)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self.value == other.value

    @override
    def __hash__(self) -> int:
        return hash(self.value)

    @override
    def __repr__(self) -> str:
        return "***"


class CredentialsKind(Enum):
    """A kind of credentials; its value are the variables that hold them, the secret last."""

    SERVICE_ACCOUNT = ("MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET")
    """Exchanged for an access token, which is refreshed and at last revoked."""
    API_KEY = ("MONGODB_ATLAS_PUBLIC_API_KEY", "MONGODB_ATLAS_PRIVATE_API_KEY")
    """A public and a private key, for HTTP Digest."""
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
_ID_VARIABLES: Final = tuple(
    itertools.chain.from_iterable(kind.value[:-1] for kind in CredentialsKind)
)
_SECRET_VARIABLES: Final = tuple(kind.value[-1] for kind in CredentialsKind)
_VARIABLE: Final = re.compile(
    rf"(?:(?P<id>{'|'.join(_ID_VARIABLES)})|(?P<secret>{'|'.join(_SECRET_VARIABLES)}))"
    r"(?:_(?!FILE$)(?P<name>[A-Z0-9_]+?))?(?P<file>_FILE)?"
)
"""A variable of a set of credentials, with the name of the set; none can be named `FILE`."""
_SIGNED_TOKEN: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
"""A JSON Web Token, as an access token is."""


def register_credentials(environment: Mapping[str, str]) -> None:
    """Register what the variables of credentials hold, so that no output shows it.

    Those of every set count, and the files that they name. Client ids and public keys may be
    shown, and are not registered unless they are a secret.

    Raises:
        UsageError: Secrets stand in the wrong variables. It names them; all were registered.
    """
    ids: dict[str, str] = {}
    misplaced: list[str] = []
    for variable, value in environment.items():
        match = _VARIABLE.fullmatch(variable)
        if match is None or not value:
            continue
        text = _held_text(match, value)
        if text is None:
            SECRETS.add(value)
            misplaced.append(f"{variable} does not name a file")
            continue
        if match["id"]:
            ids[variable] = text
            continue
        SECRETS.add(text)
        is_token = match["secret"] in CredentialsKind.ACCESS_TOKEN.value
        if is_token and _is_client_secret(text):
            misplaced.append(f"{variable} holds the secret of a service account, not a token")
    # Ids come last: by now each secret is registered that may stand in place of one.
    for variable, text in ids.items():
        if _is_secret(text):
            SECRETS.add(text)
        if SECRETS.knows(text):
            misplaced.append(f"{variable} holds a secret, not an id")
    if misplaced:
        raise UsageError(
            f"Credentials are in the wrong variables: {'; '.join(misplaced)}.",
            hint="See which variable holds what:",
            command=shell_command("help", "credentials"),
        )


def _held_text(variable: re.Match[str], value: str) -> str | None:
    """Return the text of a variable, or of the file that it names; None if it names no file."""
    if variable["file"] is None:
        return value.strip()
    if not _is_path(value):
        return None
    return _readable_text(Path(value)).strip()


def _is_client_secret(text: str) -> bool:
    """Return whether a text begins as the secret of a service account does."""
    return text.startswith(CLIENT_SECRET_PREFIX)


def _is_secret(text: str) -> bool:
    """Return whether a text has the form of a secret, which no id has.

    Source: Atlas documentation of API keys (read 2026-11): a private key is a UUID, and a public
    key 8 letters.
    """
    if _is_client_secret(text):
        return True
    is_private_key = UUID.fullmatch(text) is not None
    is_access_token = _SIGNED_TOKEN.fullmatch(text) is not None
    return is_private_key or is_access_token


def _is_path(text: str) -> bool:
    """Return whether a text may be shown as a path: a secret may stand in its place.

    The file need not exist. But a token may have slashes, so at least the first folder must: it is
    there also where a mount failed.
    """
    if _is_secret(text) or CLIENT_SECRET_PREFIX in text:
        return False
    path = Path(text)
    depth = 2 if path.is_absolute() else 1  # the root counts as a part
    first_folder = Path(*path.parts[:depth])
    try:
        return path.exists() or (first_folder != path and first_folder.is_dir())
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False


def _readable_text(path: Path) -> str:
    """Return what can be read of a mounted file; `read_credentials` reports what cannot."""
    try:
        data = read_small_file(path, _MAX_SECRET_BYTES)
    except (OSError, ValueError):
        return ""
    return data.decode("utf-8", "replace")


def credentials_variables(environment: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    """Return the variables that are set of each set of credentials, by its name, in order.

    The plain set has the name "". A set may be incomplete: `read_credentials` reports that.
    """
    sets: dict[str, list[str]] = {}
    for variable in sorted(environment):
        match = _VARIABLE.fullmatch(variable)
        if match is None or not environment[variable]:
            continue
        name = match["name"] or ""
        sets.setdefault(name, []).append(variable)
    return {name: tuple(variables) for name, variables in sorted(sets.items())}


def read_credentials(environment: Mapping[str, str], *, suffix: str = "") -> Credentials:
    """Return the credentials that the environment contains, of exactly one kind.

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
    kinds = [_Variables.read(kind, environment, suffix) for kind in CredentialsKind]
    used_kinds = [variables for variables in kinds if variables.used]
    if not used_kinds:
        choices = ", or ".join(" and ".join(variables.names) for variables in kinds)
        raise UsageError(
            "No credentials found.", hint=f"Set {choices} (or the same names with _FILE)."
        )
    if len(used_kinds) > 1:
        all_used = itertools.chain.from_iterable(variables.used for variables in used_kinds)
        raise UsageError(
            f"More than one kind of credentials is set: {', '.join(all_used)}.",
            hint="Set the variables of one kind only.",
        )
    variables = used_kinds[0]
    missing = [name for name in variables.names if not variables.values[name]]
    if missing:
        raise UsageError(
            f"{variables.used[0]} is set, but {missing[0]} is not.",
            hint=f"Set {missing[0]} or {missing[0]}_FILE as well.",
        )
    # A token has no id, so a word stands in the audit log.
    *ids, secret = (variables.values[name] for name in variables.names)
    actor = ids[0] if ids else "token"
    first_used = variables.used[0]
    if ":" in actor:  # the separator in Basic and Digest
        raise UsageError(f"The value of {first_used} contains a colon.")
    if variables.kind is CredentialsKind.API_KEY and actor.startswith("mdb_sa_"):
        client_id = _names(CredentialsKind.SERVICE_ACCOUNT, suffix)[0]
        raise UsageError(
            f"The value of {first_used} is the client ID of a service account.",
            hint=f"Set {client_id} to it, and the matching client secret.",
        )
    return Credentials(variables.kind, actor, Secret(secret))


class _Variables(NamedTuple):
    """The variables of one kind of credentials.

    Attributes:
        names: The variables that belong to the kind, the secret last; without `_FILE`.
        values: The value of each, by its name; "" of one that is not set.
        used: The variables that are set, with `_FILE` where a file has the value.
    """

    kind: CredentialsKind
    names: tuple[str, ...]
    values: Mapping[str, str]
    used: tuple[str, ...]

    @classmethod
    def read(
        cls, kind: CredentialsKind, environment: Mapping[str, str], suffix: str
    ) -> "_Variables":
        """Return the variables of a kind; raises as `read_credentials`."""
        names = _names(kind, suffix)
        values = {name: _read_value(name, environment) for name in names}
        used = tuple(_used_variable(name, environment) for name in names if values[name])
        return cls(kind, names, values, used)


def _names(kind: CredentialsKind, suffix: str) -> tuple[str, ...]:
    """Return the variables of a kind of one set of credentials."""
    return tuple(f"{name}_{suffix}" if suffix else name for name in kind.value)


def _used_variable(name: str, environment: Mapping[str, str]) -> str:
    """Return the variable that has a value: the one that names a file, if it is set."""
    return f"{name}_FILE" if environment.get(f"{name}_FILE") else name


def _read_value(name: str, environment: Mapping[str, str]) -> str:
    """Return the value of a variable, or of the file that its `_FILE` names; "" without one."""
    text = environment.get(name, "")
    variable = _used_variable(name, environment)
    if variable != name:
        if text:
            raise UsageError(f"{name} and {variable} are both set.", hint="Set only one of them.")
        text = _read_secret_file(variable, Path(environment[variable]))
    has_spaces = any(character.isspace() for character in text)
    if has_spaces or not text.isprintable():
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
