"""The verdict over the chain as the page takes it, from what `audit.verify` found."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from invite_sweeper.plural import counted

if TYPE_CHECKING:
    from invite_sweeper.audit.verify import Verification as Followed


@dataclass(frozen=True, slots=True)
class Chain:
    """A `Verification` of the page.

    Attributes:
        sound: Whether every line is as it was written.
        message: The verdict as a sentence or two.
        last_hash: SHA-256 of the last line, 64 hex digits.
    """

    sound: bool
    message: str
    last_hash: str


def chain_of(found: "Followed") -> Chain:
    """Put into words what the verification found."""
    if found.finding is not None:
        wrong = found.finding
        place = f"{wrong.spot.path.name}, line {wrong.spot.line:,}"
        return Chain(sound=False, message=f"{place}: {wrong.kind}. {wrong.what}", last_hash="")
    said = f"The chain is sound: {counted(found.lines, 'line')}, {counted(found.runs, 'run')}."
    return Chain(sound=True, message=" ".join((said, *found.warnings)), last_hash=found.last_hash)
