"""All that a report says, as one frozen value; nothing here reads, counts or renders."""

from dataclasses import dataclass

from invite_sweeper.report.page.chain import Chain
from invite_sweeper.report.page.counted import AgeTable, Coverage, Exemption, LogFile, Night, Totals
from invite_sweeper.report.page.rows import Comparison, Cut, Entry, Run, Tally, Verdict


@dataclass(frozen=True, slots=True)
class ReportModel:
    """All that a report says.

    Attributes:
        sentence: The verdict in words.
        current: The newest run, or the newest of each shard; empty where the logs hold none.
        notes: What a reader must know before trusting the figures, a sentence each.
        kept_ages: Ages of the kept invitations by class; None where the log does not say.
        stale_ages: Ages of the stale ones by class.
        chain: None if the chain was not checked.
        sunset: When Atlas ends the API version, as the log has it; empty where it has not.
    """

    verdict: Verdict
    sentence: str
    current: tuple[Run, ...]
    notes: tuple[str, ...]
    tally: Tally
    totals: Totals
    invitations: Cut[Entry]
    comparison: Comparison | None
    stale_ages: tuple[int, ...]
    kept_ages: tuple[int, ...] | None
    by_project: AgeTable
    by_inviter: AgeTable
    nights: Cut[Night]
    coverage: Coverage
    kept_by_reason: Cut[tuple[str, int]]
    exemptions: Cut[Exemption]
    bounces: Cut[Entry]
    runs: Cut[Run]
    files: tuple[LogFile, ...]
    chain: Chain | None
    sunset: str
