"""Approvals: ed25519 signatures over a plan's digest, by the library `cryptography`."""

import base64
import binascii
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from invite_sweeper.errors import UsageFault

_CONTEXT = b"invite-sweeper plan approval v1\n"
"""What is signed names its purpose, so that no other signature of the key can pass for it."""


def sign(digest: str, key: Path) -> str:
    """Sign a plan's digest; base64.

    Raises:
        UsageFault: The file holds no private ed25519 key without a passphrase.
    """
    data = _read(key)
    load = (
        serialization.load_ssh_private_key
        if b"OPENSSH" in data
        else serialization.load_pem_private_key
    )
    try:
        private = load(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageFault(
            f"{key} holds no private ed25519 key without a passphrase.",
            hint="Make one: ssh-keygen -t ed25519 -f KEY, or openssl genpkey -algorithm ed25519",
        )
    return base64.b64encode(private.sign(_CONTEXT + digest.encode())).decode()


def verify(digest: str, signature: str, key: Path) -> bool:
    """Tell whether the holder of the key has signed the digest.

    Raises:
        UsageFault: The file holds no public ed25519 key.
    """
    public = _public(key)
    try:
        public.verify(base64.b64decode(signature, validate=True), _CONTEXT + digest.encode())
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def _public(key: Path) -> Ed25519PublicKey:
    data = _read(key)
    load = (
        serialization.load_ssh_public_key
        if data.startswith(b"ssh-")
        else serialization.load_pem_public_key
    )
    try:
        public = load(data)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise UsageFault(f"{key} holds no public ed25519 key.", hint="Give the .pub file.")
    return public


def _read(key: Path) -> bytes:
    try:
        return key.read_bytes()
    except OSError as error:
        raise UsageFault(f"The key {key} cannot be read: {error.strerror}.") from None
