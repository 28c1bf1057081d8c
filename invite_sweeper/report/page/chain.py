"""The state of the hash chain in words, from what `audit.verify` found."""

from dataclasses import dataclass

from invite_sweeper.audit.verify import Verification
from invite_sweeper.plural import counted


@dataclass(frozen=True, slots=True)
class Chain:
    """Whether the chain of the logs is whole; every text may be hostile.

    Attributes:
        sound: Whether every line is as it was written.
        message: The verdict as a sentence or two.
        last_hash: SHA-256 of the last line, 64 hex digits.
    """

    sound: bool
    message: str
    last_hash: str


def chain_of(found: Verification) -> Chain:
    """Return the result of a verification in words."""
    if found.finding is not None:
        wrong = found.finding
        place = f"{wrong.spot.path.name}, line {wrong.spot.line:,}"
        return Chain(sound=False, message=f"{place}: {wrong.kind}. {wrong.what}", last_hash="")
    said = f"The chain is sound: {counted(found.lines, 'line')}, {counted(found.runs, 'run')}."
    return Chain(sound=True, message=" ".join((said, *found.warnings)), last_hash=found.last_hash)
