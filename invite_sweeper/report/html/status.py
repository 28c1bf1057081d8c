"""Overall status and caveats."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from invite_sweeper.errors import ExitCode
from invite_sweeper.report.html import queries
from invite_sweeper.report.html.database import Chosen, gather, in_order, ledger, read_heads
from invite_sweeper.report.html.model import (
    Chain,
    Comparison,
    LogFile,
    ReportModel,
    Run,
    Totals,
    Verdict,
)
from invite_sweeper.sweep.plan import counts_from
from invite_sweeper.text import counted, fitting, number, shortened, text, whole

# The word on top of the page, and what a reader must know before trusting the rest. Pure.


WORST_FIRST = (
    Verdict.FAILED,
    Verdict.UNFINISHED,
    Verdict.REFUSED,
    Verdict.STOPPED,
    Verdict.PARTIAL,
    Verdict.CLEAN,
)

MOST_WARNINGS = 10

_CLAIMS = ("deleted", "already_gone", "failed", "accepted_before", "accepted_during")


@dataclass(frozen=True, slots=True)
class Findings:
    """What both passes found, before it is put into words."""

    current: tuple[Run, ...]
    previous: tuple[Run, ...]
    chosen: Chosen
    logs: tuple[LogFile, ...]

    def obstacle(self) -> str:
        """Why the runs cannot be compared, as a sentence; empty where they can."""
        if not self.previous:
            return "There is no earlier complete run of this policy in these logs to compare with."
        if len(self.chosen.finished) < len(self.current):
            return "The newest run is not finished, so it is not compared with the one before."
        listed = {text(line.get("run_id")): line for line in self.chosen.finished}
        if not all(_complete(run, listed.get(run.run_id, {})) for run in self.current):
            return "The newest run did not list everything, so it is not compared with another."
        return ""


def _complete(run: Run, final: Mapping[str, object]) -> bool:
    """Whether the run's planned lines are all that it found stale."""
    stale, trimmed = whole(final.get("stale")), whole(final.get("trimmed")) or 0
    seen = whole(final.get("projects_seen"))
    return bool(seen) and stale is not None and run.tally.planned == stale - trimmed


def verdict(findings: Findings, chain: Chain | None) -> tuple[Verdict, str]:
    """The worst that holds, with its sentence."""
    if chain is not None and not chain.sound:
        said = text(chain.message)
        return Verdict.DAMAGED, f"The audit log is not as it was written. {said}".strip()
    if not findings.current:
        return Verdict.EMPTY, "There is no run in these logs."
    if findings.chosen.missing_shards:
        return Verdict.UNFINISHED, "Not every shard of this run is in these logs."
    worst = min(findings.current, key=lambda run: WORST_FIRST.index(run.verdict))
    if worst.verdict is Verdict.CLEAN:
        return Verdict.CLEAN, _clean(worst)
    sentence = _sentence(worst)
    said = next((text(line.get("error")) for line in _last_lines(findings, worst)), "")
    return worst.verdict, f"{sentence} {said}".strip()


def _sentence(run: Run) -> str:
    """Say how a run ended that did not do everything."""
    if run.verdict is Verdict.UNFINISHED:
        return "The run has no last line: it was interrupted, or it is still running."
    label = next((f": {code.label}" for code in ExitCode if code == run.exit_code), "")
    return f"The run ended with exit code {run.exit_code}{label}."


def _last_lines(findings: Findings, run: Run) -> Iterator[Mapping[str, object]]:
    return (line for line in findings.chosen.finished if text(line.get("run_id")) == run.run_id)


def _clean(run: Run) -> str:
    if run.mode == "sweep":
        return "The sweep did all that it set out to do."
    return "The dry run read everything. Nothing was deleted, as asked."


def notes(findings: Findings, *, compared: bool) -> tuple[str, ...]:
    """What limits the figures, a sentence each; empty where nothing does."""
    return (*_gaps(findings), *_differences(findings, compared=compared))


def _gaps(findings: Findings) -> Iterator[str]:
    chosen = findings.chosen
    if chosen.missing_shards:
        names = shortened(", ".join(map(str, chosen.missing_shards)), 80)
        yield f"Of {chosen.of_shards} shards these are missing from the logs: {names}."
    for log in findings.logs:
        if log.unread:
            said = fitting(log.unread, "is no audit line", "are no audit lines")
            yield f"{log.unread:,} of {counted(log.lines, 'line')} of {log.name} {said}."
    if chosen.other_series:
        pairs = counted(chosen.other_series, "other pair")
        yield (
            f"The logs hold runs of {pairs} of host and policy; all"
            " but the list of runs and the deletions by night is about the newest run's."
        )


def _differences(findings: Findings, *, compared: bool) -> Iterator[str]:
    if not compared and findings.current:
        yield findings.obstacle()
    policies = {run.policy_sha256 for run in (*findings.current, *findings.previous)}
    if compared and len(policies) > 1:
        yield "The policy was changed between the two runs that are compared."
    for line in findings.chosen.finished:
        if compared and whole(line.get("trimmed")):
            yield "The plan was trimmed: what counts as gone below may only have been left out."
            break
    yield from _false_claims(findings)
    yield from _warnings(findings)


def _warnings(findings: Findings) -> Iterator[str]:
    """What the runs themselves warned of."""
    for line in findings.chosen.finished:
        said = line.get("warnings")
        found = said if isinstance(said, list) else []
        yield from (f"The run warned: {text(warning)}" for warning in found[:MOST_WARNINGS])


def _false_claims(findings: Findings) -> Iterator[str]:
    """The run's own totals against its lines: neither is believed over the other."""
    tallies = {run.run_id: run.tally for run in findings.current}
    for line in findings.chosen.finished:
        run_id = text(line.get("run_id"))
        for name in _CLAIMS:
            claimed, counted = whole(line.get(name)), getattr(tallies.get(run_id), name, None)
            if claimed is not None and counted is not None and claimed != counted:
                yield (
                    f"Run {run_id} says {claimed:,} {name.replace('_', ' ')};"
                    f" its lines come to {counted:,}."
                )


# Audit logs in, the page's model out; flat memory at any number of lines.


Finals = Sequence[Mapping[str, object]]


def summarise(paths: Sequence[Path], chain: Chain | None = None) -> ReportModel:
    """Read the logs twice, first for their runs, then for their lines.

    The model is of bounded size whatever the logs hold: each list is cut, and says how long
    it is. Files may come in any order; one given twice is read once.

    Args:
        paths: Audit logs, rotated or of several shards.
        chain: The result of `audit.verify` for the same files; None if it was not asked for.

    Raises:
        UsageFault: A file cannot be read, or the temporary folder is full.
    """
    files = in_order(paths)
    with ledger() as db:
        chosen = read_heads(db, files)
        logs = gather(db, files)
        return _model(db, chosen, logs, chain)


def _model(
    db: sqlite3.Connection,
    chosen: Chosen,
    logs: tuple[LogFile, ...],
    chain: Chain | None,
) -> ReportModel:
    current = queries.runs(db, "role = 1", limit=1000).rows
    findings = Findings(
        current=current,
        previous=queries.runs(db, "role = 0", limit=1000).rows,
        chosen=chosen,
        logs=logs,
    )
    final, sweeping = chosen.finished, any(run.mode == "sweep" for run in current)
    word, sentence = verdict(findings, chain)
    ages, kept = queries.stale_ages(db), queries.kept_by_reason(final)
    compared = _comparison(db, findings, sweeping=sweeping)
    day = min((run.started.date().isoformat() for run in current if run.started), default="")
    return ReportModel(
        verdict=word,
        sentence=sentence,
        current=current,
        notes=notes(findings, compared=compared is not None),
        tally=queries.current_tally(db),
        totals=_totals(final),
        invitations=queries.invitations(db, sweeping=sweeping),
        comparison=compared,
        stale_ages=ages,
        kept_ages=_kept_ages(final),
        by_project=queries.age_table(db, "project_id", "project", ages),
        by_inviter=queries.age_table(db, "inviter", "inviter", ages),
        nights=queries.nights(db),
        coverage=queries.coverage(db, _sum(final, "projects_seen")),
        kept_by_reason=kept,
        exemptions=queries.exemptions(final, dict(kept.rows), day),
        bounces=queries.bounces(db, sweeping=sweeping),
        runs=queries.runs(db),
        files=logs,
        chain=chain,
        sunset=next((found for line in final if (found := text(line.get("sunset")))), ""),
    )


def _comparison(db: sqlite3.Connection, findings: Findings, *, sweeping: bool) -> Comparison | None:
    if findings.obstacle():
        return None
    began: list[Run] = sorted(
        (run for run in findings.previous if run.started),
        key=lambda run: run.started.timestamp() if run.started else 0.0,
    )
    since = began[0].started if began else None
    return queries.comparison(db, since, sweeping=sweeping)


def _totals(final: Finals) -> Totals:
    durations = [found for line in final if (found := number(line.get("duration_s"))) is not None]
    names = ("invitations_seen", "stale", "trimmed", "kept", "requests", "retries", "rate_limited")
    return Totals(
        **{name: _sum(final, name) for name in names},
        duration_s=max(durations, default=None),
    )


def _sum(final: Finals, name: str) -> int | None:
    found = [value for line in final if (value := whole(line.get(name))) is not None]
    return sum(found) if found else None


def _kept_ages(final: Finals) -> tuple[int, ...] | None:
    found = [counts for line in final if (counts := counts_from(line.get("kept_ages")))]
    return tuple(map(sum, zip(*found, strict=True))) if found else None
