"""The result of the audit log's verification, for a report."""

from dataclasses import dataclass

from invite_sweeper.audit.verify import ChainStatus, Verdict
from invite_sweeper.text import pluralize


@dataclass(frozen=True, slots=True)
class ChainResult:
    """Result of the hash chain's verification; every text may be hostile.

    Attributes:
        verdict: Whether the lines are unchanged, and complete.
        message: The result as text, up to which line the chain is intact.
        last_hash: SHA-256 of the last line, 64 hex digits.
        warnings: Findings that are not errors, one sentence each.
    """

    verdict: Verdict
    message: str
    last_hash: str
    warnings: tuple[str, ...] = ()


def chain_result(found: ChainStatus) -> ChainResult:
    """Return the result of `audit.verify` for the page."""
    if found.error is not None:
        error = found.error
        position = f"{error.position.path.name}, line {error.position.line:,}"
        return ChainResult(
            verdict=found.verdict,
            message=f"{position}: {error.kind}. {error.message}",
            last_hash="",
            warnings=found.warnings,
        )
    lines, runs = pluralize(found.lines, "line"), pluralize(found.runs, "run")
    return ChainResult(
        verdict=found.verdict,
        message=f"The chain is intact: {lines}, {runs}.",
        last_hash=found.last_hash,
        warnings=found.warnings,
    )
