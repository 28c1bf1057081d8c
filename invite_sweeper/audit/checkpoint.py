"""Checkpoints: signed notes over the end of an audit log, which other programs can verify.

Source:
    https://c2sp.org/signed-note, and the layout of https://c2sp.org/tlog-checkpoint: origin,
    size, hash, further lines. The size is the number of lines, and the hash is the hash of the
    `run_finished` line: the log is a chain, not a Merkle tree. Read 2026-11-26.
"""

import base64
import re
from contextlib import suppress
from hashlib import sha256
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

CHECKPOINT_EVENT = "checkpoint"
MAX_NOTE_BYTES = 1 << 16
_ED25519 = b"\x01"
"""The type of signature in a key ID."""
_KEY_ID_BYTES = 4
_SIGNATURE_LINE = re.compile(r"\u2014 (\S+) (\S+)")
_TEXT = re.compile(
    r"(?P<origin>\S+)\n(?P<lines>\d+)\n(?P<hash>[A-Za-z0-9+/]{43}=)\n"
    r"bytes (?P<bytes>\d+)\nrun (?P<run>[^\n]+)\n"
)


class Checkpoint(NamedTuple):
    """The state of a log at the end of a run.

    Attributes:
        origin: The log's name.
        lines: Number of lines from the beginning of the log to `run_finished`.
        size: Bytes of these lines, newlines included.
        last_hash: Hash of the `run_finished` line, 64 hex digits.
    """

    origin: str
    lines: int
    size: int
    last_hash: str
    run_id: str

    @property
    def text(self) -> str:
        """The text that is signed."""
        root = base64.b64encode(bytes.fromhex(self.last_hash)).decode()
        run_id = self.run_id.translate(_CONTROL_CHARACTERS)
        return f"{self.origin}\n{self.lines}\n{root}\nbytes {self.size}\nrun {run_id}\n"


_CONTROL_CHARACTERS = dict.fromkeys(range(32), "?")


def key_name(name: str) -> str:
    """Return a name as a note may contain it: no spaces, no plus, no control characters."""
    return re.sub(r"[\s+\x00-\x1f]", "_", name) or "_"


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """Return the signed note."""
    text, origin = checkpoint.text, checkpoint.origin
    signature = _key_id(origin, key.public_key()) + key.sign(text.encode())
    return f"{text}\n\u2014 {origin} {base64.b64encode(signature).decode()}\n"


def parse(note: str) -> Checkpoint:
    """Return the checkpoint in a note; its signatures are not verified.

    Raises:
        ValueError: It is not the note of a checkpoint.
    """
    found = _TEXT.fullmatch(note.rpartition("\n\n")[0] + "\n")
    if found is None or len(note) > MAX_NOTE_BYTES:
        raise ValueError("not the note of a checkpoint")
    last_hash = base64.b64decode(found["hash"]).hex()
    return Checkpoint(
        found["origin"], int(found["lines"]), int(found["bytes"]), last_hash, found["run"]
    )


def is_checkpoint(start: bytes) -> bool:
    """Return whether a file that starts so is the note of a checkpoint."""
    return re.match(rb"\S+\n\d+\n[A-Za-z0-9+/]{43}=\nbytes \d+\n", start) is not None


def is_signed_by(note: str, key: Ed25519PublicKey) -> bool:
    """Return whether a note is signed by a key.

    Signatures of other keys are ignored. One that has this key's ID must be valid.
    """
    text, _, signatures = note.rpartition("\n\n")
    signed = False
    for line in signatures.splitlines():
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
            key.verify(data[_KEY_ID_BYTES:], f"{text}\n".encode())
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
            found += [data[:_KEY_ID_BYTES].hex()] * (len(data) > _KEY_ID_BYTES)
    return tuple(found)


def _key_id(name: str, key: Ed25519PublicKey) -> bytes:
    return sha256(name.encode() + b"\n" + _ED25519 + key.public_bytes_raw()).digest()[
        :_KEY_ID_BYTES
    ]
