"""Ed25519 keys: load them from files and the environment, and make new pairs."""

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from invite_sweeper.errors import UsageError
from invite_sweeper.files import read_small_file, write_new_file
from invite_sweeper.program import command
from invite_sweeper.redaction import SECRETS

_MAX_KEY_BYTES = 64 * 1024


def parse_private_key(data: bytes, passphrase: bytes | None = None) -> Ed25519PrivateKey | None:
    """Return the private key in PEM or OpenSSH form; None if it is another kind of data."""
    try:
        key = _load_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PrivateKey) else None


def _has_passphrase(data: bytes) -> bool:
    try:
        _load_private_key(data, None)
    except (ValueError, UnsupportedAlgorithm):
        return False
    except TypeError:  # as both loaders say it
        return True
    return False


def _load_private_key(data: bytes, passphrase: bytes | None) -> object:
    is_openssh = b"OPENSSH" in data
    load = serialization.load_ssh_private_key if is_openssh else serialization.load_pem_private_key
    return load(data, password=passphrase)


def parse_public_key(data: bytes) -> Ed25519PublicKey | None:
    """Return the public key in PEM or OpenSSH form; None if it is another kind of data."""
    load = (
        serialization.load_ssh_public_key
        if data.startswith(b"ssh-")
        else serialization.load_pem_public_key
    )
    try:
        key = load(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def read_private_key(
    path: Path, ask_passphrase: Callable[[str], str] | None = None
) -> Ed25519PrivateKey:
    """Return the private key in a file.

    Args:
        ask_passphrase: Called with a question if the key has a passphrase; None without
            a terminal.

    Raises:
        UsageError: The file is not a private ed25519 key, or its passphrase is not known.
    """
    data = _read(path)
    if not _has_passphrase(data):
        key = parse_private_key(data)
        if key is None:
            raise UsageError(
                f"{path} is not a private ed25519 key.",
                hint="Create one: ssh-keygen -t ed25519 -f KEY, or openssl genpkey -algorithm "
                "ed25519",
            )
        return key
    if ask_passphrase is None:
        raise UsageError(
            f"{path} has a passphrase, and without a terminal it cannot be asked for.",
            hint="Run the command on a terminal, or use a key without a passphrase.",
        )
    key = parse_private_key(data, ask_passphrase(f"Passphrase of {path}: ").encode())
    if key is None:
        raise UsageError(
            f"{path} cannot be read with this passphrase, or is not an ed25519 key.",
            hint="Type the passphrase again. A key in the form of OpenSSH also needs the package "
            "bcrypt (pip install bcrypt); one of openssl genpkey -algorithm ed25519 -aes256 does "
            "not.",
        )
    return key


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Return the public key in a file.

    Raises:
        UsageError: The file is not a public ed25519 key.
    """
    key = parse_public_key(_read(path))
    if key is None:
        raise UsageError(f"{path} is not a public ed25519 key.", hint="Pass the .pub file.")
    return key


def read_public_keys(paths: Iterable[Path]) -> dict[str, Ed25519PublicKey]:
    """Return the public keys in files by their fingerprints."""
    return {fingerprint(key): key for key in map(read_public_key, paths)}


def openssh_line(key: Ed25519PublicKey) -> str:
    """Return a public key as in the file KEY.pub of OpenSSH, without a comment."""
    encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_bytes(encoding, form).decode()


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the fingerprint of a key as `ssh-keygen -l` shows it."""
    digest = hashlib.sha256(base64.b64decode(openssh_line(key).split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def read_signing_key(environment: Mapping[str, str], variable: str) -> Ed25519PrivateKey:
    """Return the private key in a variable, or in the file that `VARIABLE_FILE` names.

    Raises:
        UsageError: The key is missing, given twice, or not a private ed25519 key. The message
            names the variable and never its value.
    """
    value, file = environment.get(variable, ""), environment.get(f"{variable}_FILE", "")
    if value and file:
        raise UsageError(
            f"{variable} and {variable}_FILE are both set.", hint="Set only one of them."
        )
    if not value and not file:
        raise UsageError(
            f"The signing key is missing: {variable} is not set.",
            hint=f"Set {variable} or {variable}_FILE, or remove `audit.signing_key_env`. "
            f"To make a key: {command('audit', 'keygen', '--out', 'PATH')}",
        )
    name = f"{variable}_FILE" if file else variable
    try:
        data = (
            read_small_file(Path(file), _MAX_KEY_BYTES)
            if file
            else value.encode("utf-8", "replace")
        )
    except OSError as error:
        raise UsageError(
            f"The key {file}, set by {name}, cannot be read: {error.strerror}.",
            hint="Name a regular file that this user can read.",
        ) from None
    text = data.decode("utf-8", "replace")
    SECRETS.add(text, *(line for line in text.split() if not line.startswith("-----")))
    key = parse_private_key(data)
    if key is None:
        raise UsageError(
            f"{name} does not contain a private ed25519 key without a passphrase.",
            hint=f"Use a key made with: {command('audit', 'keygen', '--out', 'PATH')}",
        )
    return key


def write_key_pair(path: Path) -> Path:
    """Make a key pair: PATH with the private key (PEM, mode 0600) and PATH.pub.

    Returns:
        The path of the public key.

    Raises:
        UsageError: One of the files exists or cannot be written. Existing files are unchanged.
    """
    public_path = path.with_name(f"{path.name}.pub")
    for each in (path, public_path):
        if os.path.lexists(each):
            raise UsageError(f"{each} exists already.", hint="Choose another path.")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:  # the public key first: a private key without it cannot be used to verify
        write_new_file(public_path, public, 0o644)
        write_new_file(path, private)
    except OSError as error:
        raise UsageError(
            f"The key {error.filename or path} cannot be written: {error.strerror or error}.",
            hint="Choose a path in a directory that this user can write to.",
        ) from None
    return public_path


def _read(path: Path) -> bytes:
    """Return the bytes of a key, which may come through a pipe; a device has no end."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise UsageError(f"The key {path} cannot be read: {error.strerror}.") from None
