"""What proves the end of a log: hashes and signatures that were kept elsewhere."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from invite_sweeper.audit import checkpoint
from invite_sweeper.errors import GuardRefused


class Evidence(NamedTuple):
    """What was kept elsewhere, and proves more than the files themselves.

    Attributes:
        head: A hash that the log had as its last one, 64 hex digits.
        public_key: The key that signed the end of every run.
        note: A signed note that a run wrote with `--checkpoint-file`.
    """

    head: str | None = None
    public_key: Ed25519PublicKey | None = None
    note: str | None = None

    def expected(self) -> dict[bytes, str]:
        """Return the hashes that the logs must contain, each with what it is.

        Raises:
            GuardRefused: The note is not a checkpoint, or is not signed by the key.
        """
        found = {}
        if self.head is not None:
            found[self.head.encode()] = "the expected hash"
        if self.note is not None:
            try:
                noted = checkpoint.parse(self.note)
            except ValueError:
                raise GuardRefused("The checkpoint file is not a checkpoint.") from None
            if self.public_key and not checkpoint.is_signed_by(self.note, self.public_key):
                raise GuardRefused("The checkpoint file is not signed with the public key.")
            found[noted.last_hash.encode()] = f"the checkpoint of run {noted.run_id}"
        return found


NO_EVIDENCE = Evidence()


class Proof(NamedTuple):
    """The last line that evidence proves.

    Attributes:
        what: What proves it.
        lines: Number of lines up to it, over all logs.
    """

    what: str
    lines: int


@dataclass(frozen=True, slots=True)
class LogStatus:
    """What the files of one log prove about its beginning and its end.

    Attributes:
        name: The log's name.
        files: Its files, oldest first.
        lines: Number of lines in these files.
        last_hash: Hash of the last line, 64 hex digits.
        beginning: One sentence.
        end: One sentence.
        is_end_proven: Whether a hash or a signature given to `verify` proves the end.
    """

    name: str
    files: tuple[Path, ...]
    lines: int
    last_hash: str
    beginning: str
    end: str
    is_end_proven: bool
