"""Build the report's model from audit logs: figures and caveats."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from invite_sweeper.audit import in_order
from invite_sweeper.audit.events import PlanChanges, PolicyDifference
from invite_sweeper.endings import RunWarning, WarningCode, WarningLevel
from invite_sweeper.report.formatting import describe_changes
from invite_sweeper.report.html import queries
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.database import temporary_database
from invite_sweeper.report.html.loading import load_lines
from invite_sweeper.report.html.model import (
    Comparison,
    LogFile,
    ReportModel,
    RunRow,
    Totals,
)
from invite_sweeper.report.html.selection import SelectedRuns, find_runs
from invite_sweeper.sweep.changes import merge_changes, parse_changes, parse_policy_difference
from invite_sweeper.sweep.plan import parse_age_counts
from invite_sweeper.text import plural_form, pluralize, to_float, to_int, to_text

MAX_WARNINGS = 10
MAX_SENTENCES = 100
"""Of what a policy changes that is not accepted."""

# Not `already_gone` and `failed`: a list that is read again may prove the former wrong.
_CHECKED_TOTALS = ("deleted", "changed", "accepted_before", "accepted_during")


@dataclass(frozen=True, slots=True)
class LoadedRuns:
    """The result of both passes over the logs."""

    current: tuple[RunRow, ...]
    previous: tuple[RunRow, ...]
    selected: SelectedRuns
    logs: tuple[LogFile, ...]

    def describe_obstacle(self) -> str:
        """Return why the runs cannot be compared; empty if they can."""
        if any(run.saved_plan for run in self.current):
            return "The newest run used a saved plan, so it is not compared with another."
        if not self.previous:
            return "These logs contain no earlier complete run of this policy to compare with."
        if len(self.selected.last_lines) < len(self.current):
            return "The newest run is not finished, so it is not compared with the previous one."
        last_lines = {to_text(line.get("run_id")): line for line in self.selected.last_lines}
        if not all(_is_complete(run, last_lines.get(run.run_id, {})) for run in self.current):
            return "The newest run did not list everything, so it is not compared with another."
        return ""


def _is_complete(run: RunRow, last_line: Mapping[str, object]) -> bool:
    """Return whether the planned lines include everything that the run found stale."""
    stale, trimmed = to_int(last_line.get("stale")), to_int(last_line.get("trimmed")) or 0
    seen = to_int(last_line.get("projects_seen"))
    return bool(seen) and stale is not None and run.outcomes.planned == stale - trimmed


def notes(loaded: LoadedRuns, *, compared: bool) -> tuple[str, ...]:
    """Return the caveats for the figures, one sentence each."""
    return (
        *_describe_gaps(loaded),
        *_describe_differences(loaded, compared=compared),
        *(f"The run warned: {each.message}" for each in split_warnings(loaded)[1]),
    )


_SHOWN_ELSEWHERE = (WarningCode.POLICY_CHANGED, WarningCode.WOULD_BE_REFUSED)


def split_warnings(
    loaded: LoadedRuns,
) -> tuple[tuple[RunWarning, ...], tuple[RunWarning, ...]]:
    """Return the newest command's warnings: those to act on, and those known before.

    A warning was known before if the previous run recorded the same one. A remark, such as one
    about a pattern that matches nothing, needs no action, also the first time.
    """
    known = {each.message for run in loaded.previous for each in run.warnings}
    found = dict.fromkeys(
        each for run in loaded.current for each in run.warnings if each.code not in _SHOWN_ELSEWHERE
    )
    urgent = [
        each for each in found if each.level != WarningLevel.REMARK and each.message not in known
    ]
    rest = [each for each in found if each not in urgent]
    return tuple(urgent[:MAX_WARNINGS]), tuple(rest[:MAX_WARNINGS])


def _describe_gaps(loaded: LoadedRuns) -> Iterator[str]:
    selected = loaded.selected
    for log in loaded.logs:
        if log.invalid_lines:
            invalid = plural_form(log.invalid_lines, "is not an audit line", "are not audit lines")
            lines = pluralize(log.lines, "line")
            yield f"{log.invalid_lines:,} of {lines} of {log.name} {invalid}."
    if selected.other_series:
        pairs = pluralize(selected.other_series, "other pair")
        yield (
            f"The logs also contain runs of {pairs} of host and policy. Only the list of runs,"
            " the nights and the deletions by day include them."
        )


def _describe_differences(loaded: LoadedRuns, *, compared: bool) -> Iterator[str]:
    if not compared and loaded.current and loaded.current[0].mode != "restore":
        yield loaded.describe_obstacle()
        recorded = _changes(loaded.current, loaded.selected.last_lines)
        if recorded is not None and not loaded.current[0].changes_nothing:
            yield f"The run recorded: {describe_changes(recorded)}."
    policies = {run.policy_sha256 for run in (*loaded.current, *loaded.previous)}
    if compared and len(policies) > 1:
        yield "The policy changed between the two compared runs."
    for line in loaded.selected.last_lines:
        if compared and to_int(line.get("trimmed")):
            yield "The plan was trimmed: invitations listed as gone may only have been left out."
            break
    yield from _total_mismatches(loaded)


def _total_mismatches(loaded: LoadedRuns) -> Iterator[str]:
    """Compare the totals reported by the runs with their lines; neither is preferred."""
    outcomes_by_run = {run.run_id: run.outcomes for run in loaded.current}
    for line in loaded.selected.last_lines:
        run_id = to_text(line.get("run_id"))
        for name in _CHECKED_TOTALS:
            reported, actual = (
                to_int(line.get(name)),
                getattr(outcomes_by_run.get(run_id), name, None),
            )
            if reported is not None and actual is not None and reported != actual:
                yield (
                    f"Run {run_id} reports {reported:,} {name.replace('_', ' ')};"
                    f" its lines show {actual:,}."
                )


LastLines = Sequence[Mapping[str, object]]


def build_report_model(paths: Sequence[Path], chain: ChainResult | None = None) -> ReportModel:
    """Return the report's model, from two passes over the logs.

    The size of the model is bounded: each list is truncated and states its full length.

    Args:
        paths: Audit logs, rotated or of several shards, in any order; duplicates are read once.
        chain: The result of `audit.verify` for the same files; None if it was not run.

    Raises:
        UsageError: A file cannot be read, or the temporary folder is full.
    """
    files = in_order(dict.fromkeys(path.resolve() for path in paths))
    with temporary_database() as db:
        selected = find_runs(db, files)
        logs = load_lines(db, files)
        return _model(db, selected, logs, chain)


def _model(
    db: sqlite3.Connection,
    selected: SelectedRuns,
    logs: tuple[LogFile, ...],
    chain: ChainResult | None,
) -> ReportModel:
    current = queries.list_runs(db, "role = 1", limit=1000).rows
    loaded = LoadedRuns(
        current=current,
        previous=queries.list_runs(db, "role = 0", limit=1000).rows,
        selected=selected,
        logs=logs,
    )
    last_lines, outcomes = selected.last_lines, queries.current_outcomes(db)
    missing = _state_if_not_sent(current)
    ages, kept = queries.stale_ages(db), queries.kept_by_reason(last_lines)
    comparison = _comparison(db, loaded, missing)
    day = min((run.started.date().isoformat() for run in current if run.started), default="")
    return ReportModel(
        organizations=queries.organizations(db, current),
        nights=queries.nights(db),
        current=current,
        failed_runs=queries.failed_runs(db),
        missing_shards=selected.missing_shards,
        shard_count=selected.shard_count,
        warnings=split_warnings(loaded)[0],
        notes=notes(loaded, compared=comparison is not None),
        outcomes=outcomes,
        totals=_totals(last_lines),
        invitations=queries.invitations(db, missing),
        comparison=comparison,
        stale_ages=ages,
        kept_ages=_kept_ages(last_lines),
        by_project=queries.age_table(db, "project_id", "project", ages),
        by_inviter=queries.age_table(db, "inviter", "inviter", ages),
        days=queries.days(db),
        coverage=queries.coverage(db, _sum(last_lines, "projects_seen")),
        kept_by_reason=kept,
        keep_entries=queries.keep_entries(last_lines, dict(kept.rows), day),
        bounces=queries.bounces(db, missing),
        runs=queries.list_runs(db),
        files=logs,
        chain_message=chain,
        sunset=next((found for line in last_lines if (found := to_text(line.get("sunset")))), ""),
        changes=_changes(current, last_lines),
        policy_change=_policy_change(last_lines),
    )


def _changes(current: Sequence[RunRow], last_lines: LastLines) -> PlanChanges | None:
    """Return the recorded changes of all current runs with a whole plan."""
    whole = {run.run_id for run in current if run.plan_known}
    lines = [line for line in last_lines if to_text(line.get("run_id")) in whole]
    return merge_changes([parse_changes(line.get("changes")) for line in lines])


def _policy_change(last_lines: LastLines) -> PolicyDifference | None:
    parsed = (parse_policy_difference(line.get("policy_change")) for line in last_lines)
    found = next((each for each in parsed if each is not None), None)
    if found is None:
        return None
    sentences = tuple(map(to_text, found.sentences[:MAX_SENTENCES]))
    return replace(found, policy_sha256=to_text(found.policy_sha256), sentences=sentences)


def _state_if_not_sent(current: Sequence[RunRow]) -> str:
    """Return the state of a planned invitation for which no request was sent."""
    return queries.PLANNED if any(run.changes_nothing for run in current) else "not sent"


def _comparison(db: sqlite3.Connection, loaded: LoadedRuns, missing: str) -> Comparison | None:
    if loaded.describe_obstacle():
        return None
    since = min((run.started for run in loaded.previous if run.started), default=None)
    return queries.comparison(db, since, missing)


def _totals(last_lines: LastLines) -> Totals:
    durations = [
        found for line in last_lines if (found := to_float(line.get("duration_s"))) is not None
    ]
    names = ("invitations_seen", "stale", "trimmed", "kept", "requests", "retries", "rate_limited")
    return Totals(
        **{name: _sum(last_lines, name) for name in names},
        duration_s=max(durations, default=None),
    )


def _sum(last_lines: LastLines, name: str) -> int | None:
    found = [value for line in last_lines if (value := to_int(line.get(name))) is not None]
    return sum(found) if found else None


def _kept_ages(last_lines: LastLines) -> tuple[int, ...] | None:
    found = [counts for line in last_lines if (counts := parse_age_counts(line.get("kept_ages")))]
    return tuple(map(sum, zip(*found, strict=True))) if found else None
