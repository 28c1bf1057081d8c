"""Audit logs in, the page's model out; flat memory at any number of lines."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

from invite_sweeper.report.ages import counts_from
from invite_sweeper.report.page import entries, tables
from invite_sweeper.report.page.chain import Chain
from invite_sweeper.report.page.counted import LogFile, Totals
from invite_sweeper.report.page.gather import gather
from invite_sweeper.report.page.heads import Chosen, read_heads
from invite_sweeper.report.page.ledger import ledger
from invite_sweeper.report.page.lines import in_order
from invite_sweeper.report.page.model import ReportModel
from invite_sweeper.report.page.rows import Comparison, Run
from invite_sweeper.report.page.verdict import Findings, notes, verdict
from invite_sweeper.report.values import number, text, whole

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
    current = tables.runs(db, "role = 1", limit=1000).rows
    findings = Findings(
        current=current,
        previous=tables.runs(db, "role = 0", limit=1000).rows,
        chosen=chosen,
        logs=logs,
    )
    final, sweeping = chosen.finished, any(run.mode == "sweep" for run in current)
    word, sentence = verdict(findings, chain)
    ages, kept = tables.stale_ages(db), tables.kept_by_reason(final)
    compared = _comparison(db, findings, sweeping=sweeping)
    day = min((run.started.date().isoformat() for run in current if run.started), default="")
    return ReportModel(
        verdict=word,
        sentence=sentence,
        current=current,
        notes=notes(findings, compared=compared is not None),
        tally=tables.current_tally(db),
        totals=_totals(final),
        invitations=entries.invitations(db, sweeping=sweeping),
        comparison=compared,
        stale_ages=ages,
        kept_ages=_kept_ages(final),
        by_project=tables.age_table(db, "project_id", "project", ages),
        by_inviter=tables.age_table(db, "inviter", "inviter", ages),
        nights=tables.nights(db),
        coverage=tables.coverage(db, _sum(final, "projects_seen")),
        kept_by_reason=kept,
        exemptions=tables.exemptions(final, dict(kept.rows), day),
        bounces=entries.bounces(db, sweeping=sweeping),
        runs=tables.runs(db),
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
    return entries.comparison(db, since, sweeping=sweeping)


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
