"""The result of the audit log's verification, for a report."""

from dataclasses import dataclass

from invite_sweeper.audit.tampering import Tampering
from invite_sweeper.audit.verify import ChainStatus
from invite_sweeper.text import pluralize


@dataclass(frozen=True, slots=True)
class ChainResult:
    """Result of the hash chain's verification; every text may be hostile.

    Attributes:
        sound: Whether every line is unchanged.
        message: The result as text, up to which line the chain is intact.
        last_hash: SHA-256 of the last line, 64 hex digits.
        unfinished: Whether the only finding is a run without an end.
        signature: Which run's checkpoint signs the log, and up to where; empty if unknown.
        warnings: Findings that are not errors, one sentence each.
    """

    sound: bool
    message: str
    last_hash: str
    unfinished: bool = False
    signature: str = ""
    warnings: tuple[str, ...] = ()


def chain_result(found: ChainStatus) -> ChainResult:
    """Return the result of `audit.verify` for the page."""
    if found.error is not None:
        error = found.error
        position = f"{error.position.path.name}, line {error.position.line:,}"
        return ChainResult(
            sound=False,
            message=f"{position}: {error.kind}. {error.message}",
            last_hash="",
            unfinished=error.kind is Tampering.CUT_SHORT,
            warnings=found.warnings,
        )
    lines, runs = pluralize(found.lines, "line"), pluralize(found.runs, "run")
    return ChainResult(
        sound=True,
        message=f"The chain is intact: {lines}, {runs}.",
        last_hash=found.last_hash,
        warnings=found.warnings,
    )
