"""The result of the audit log's verification, for a report."""

from dataclasses import dataclass

from invite_sweeper.audit.verify import ChainStatus, Verdict
from invite_sweeper.text import plural_form, pluralize


@dataclass(frozen=True, slots=True)
class ChainResult:
    """Result of the hash chain's verification; every text may be hostile.

    Attributes:
        verdict: Whether the lines are unchanged, and complete.
        message: The result as text, up to which line the chain is intact.
        last_hash: SHA-256 of the last line, 64 hex digits.
        signature: Whether the runs are signed, and with which key; empty if that is unknown.
        key: Fingerprint of the key that signed the end of every run; empty if not verified.
        warnings: Findings that are not errors, one sentence each.
    """

    verdict: Verdict
    message: str
    last_hash: str
    signature: str = ""
    key: str = ""
    warnings: tuple[str, ...] = ()


def chain_result(found: ChainStatus, key: str = "") -> ChainResult:
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
        signature=_describe_signatures(found, key),
        key=key,
        warnings=found.warnings,
    )


def _describe_signatures(found: ChainStatus, key: str) -> str:
    if key:
        return f"The end of every run is signed with the key {key}."
    signed_runs = sum(map(len, found.signed_runs.values()))
    if not signed_runs:
        return "No run is signed: a log that was rewritten as a whole would not be detected."
    signed = plural_form(signed_runs, "has a checkpoint", "have checkpoints")
    return (
        f"{signed_runs:,} of {pluralize(found.runs, 'run')} {signed}. The signatures were"
        " not verified: report --public-key FILE verifies them."
    )
