"""Checkpoints: signed notes over the end of an audit log, which other programs can verify.

Source:
    The layout of https://c2sp.org/tlog-checkpoint: origin, size, hash, further lines. The size is
    the number of lines, and the hash is the hash of the `run_finished` line: the log is a chain,
    not a Merkle tree. Read 2026-11-26.
"""

import base64
import re
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from invite_sweeper.notes import MAX_NOTE_BYTES, note_text, sign_note

CHECKPOINT_EVENT = "checkpoint"
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
    return sign_note(checkpoint.text, checkpoint.origin, key)


def parse(note: str) -> Checkpoint:
    """Return the checkpoint in a note; its signatures are not verified.

    Raises:
        ValueError: It is not the note of a checkpoint.
    """
    found = _TEXT.fullmatch(note_text(note))
    if found is None or len(note) > MAX_NOTE_BYTES:
        raise ValueError("not the note of a checkpoint")
    last_hash = base64.b64decode(found["hash"]).hex()
    return Checkpoint(
        found["origin"], int(found["lines"]), int(found["bytes"]), last_hash, found["run"]
    )


def is_checkpoint(start: bytes) -> bool:
    """Return whether a file that starts so is the note of a checkpoint."""
    return re.match(rb"\S+\n\d+\n[A-Za-z0-9+/]{43}=\nbytes \d+\n", start) is not None
