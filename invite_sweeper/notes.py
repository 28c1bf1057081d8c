"""Signed notes: a text with ed25519 signatures, which other programs can verify.

Checkpoints of the audit log and approvals of plans are notes.

Source:
    https://c2sp.org/signed-note. Read 2026-11-26.
"""

import base64
import re
from contextlib import suppress
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MAX_NOTE_BYTES = 1 << 16
_ED25519 = b"\x01"
"""The type of signature in a key ID."""
_KEY_ID_BYTES = 4
_SIGNATURE_LINE = re.compile(r"\u2014 (\S+) (\S+)")


def sign_note(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """Return a text with its signature.

    Args:
        text: Ends with a newline.
        name: Names the key; without spaces and plus.
    """
    signature = _key_id(name, key.public_key()) + key.sign(text.encode())
    return f"{text}\n\u2014 {name} {base64.b64encode(signature).decode()}\n"


def note_text(note: str) -> str:
    """Return the text of a note; its signatures are not verified."""
    return note.rpartition("\n\n")[0] + "\n"


def is_signed_by(note: str, key: Ed25519PublicKey) -> bool:
    """Return whether a note is signed by a key.

    Signatures of other keys are ignored. One that has this key's ID must be valid.
    """
    signed = False
    for line in note.rpartition("\n\n")[2].splitlines():
        found = _SIGNATURE_LINE.fullmatch(line)
        if found is None:
            return False
        try:
            data = base64.b64decode(found[2], validate=True)
        except ValueError:
            return False
        if data[:_KEY_ID_BYTES] != _key_id(found[1], key):
            continue
        try:
            key.verify(data[_KEY_ID_BYTES:], note_text(note).encode())
        except InvalidSignature:
            return False
        signed = True
    return signed


def key_ids(note: str) -> tuple[str, ...]:
    """Return the IDs of the keys that a note names, 8 hex digits each; nothing is verified."""
    found = []
    for line in note.rpartition("\n\n")[2].splitlines():
        signature = _SIGNATURE_LINE.fullmatch(line)
        with suppress(ValueError):
            data = base64.b64decode(signature[2], validate=True) if signature else b""
            found += [data[:_KEY_ID_BYTES].hex()] if len(data) > _KEY_ID_BYTES else []
    return tuple(found)


def _key_id(name: str, key: Ed25519PublicKey) -> bytes:
    id_ = sha256(name.encode() + b"\n" + _ED25519 + key.public_bytes_raw()).digest()
    return id_[:_KEY_ID_BYTES]
