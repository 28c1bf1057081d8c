"""Queries of a report on the temporary database."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime, timedelta
from typing import Final

from invite_sweeper.endings import ExitCode, Status, parse_warning, status_of
from invite_sweeper.report.html.model import (
    OUTCOMES,
    WORST_FIRST,
    AgeRow,
    AgeTable,
    Comparison,
    Coverage,
    Day,
    InvitationRow,
    KeepEntry,
    Night,
    OrganizationRow,
    OutcomeCounts,
    ReportStatus,
    RunRow,
    Truncated,
    UnreadableProject,
    worst,
)
from invite_sweeper.report.run_view import parse_log_line
from invite_sweeper.sweep.plan import AGE_CLASS_LABELS
from invite_sweeper.text import pluralize, to_datetime, to_float, to_int, to_text

SHOWN_INVITATIONS = 500
SHOWN_COMPARED = 100
"""Maximum rows of a list on the page."""

PLANNED = "planned"
"""The state of an invitation that a dry run would delete."""

_IS_OPEN = "EXISTS (SELECT 1 FROM open_intents x WHERE x.key = i.key AND x.role = i.role)"
_FIELDS = (
    "i.invitation_id, i.org_id, i.project_id, i.project, i.username, i.inviter, i.roles,"
    " i.rule, i.age, i.bounced, i.new, o.outcome, o.attempts, o.http_status, o.error_code,"
    f" {_IS_OPEN} AS is_open"
)
_FAILED_FIRST = (
    "CASE coalesce(o.outcome, '') WHEN 'failed' THEN 0 WHEN 'unknown' THEN 1"
    f" WHEN '' THEN 3 - {_IS_OPEN} WHEN 'skipped' THEN 4 ELSE 5 END"
)
_OWNERS_FIRST = "instr(i.roles, 'GROUP_OWNER') OR instr(i.roles, 'ORG_OWNER') DESC"
_JOINED = "FROM planned_items i LEFT JOIN outcomes o ON o.key = i.key AND o.role = i.role"
_ONLY_IN_ONE_RUN = (
    "NOT EXISTS (SELECT 1 FROM planned_items j WHERE j.key = i.key AND j.role = 1 - i.role)"
)
_WAS_READ = (
    "NOT EXISTS (SELECT 1 FROM unreadable_projects u"
    " WHERE u.project_id = i.project_id AND u.role = {})"
)
_WAS_DELETED = "EXISTS (SELECT 1 FROM earlier_deletions d WHERE d.key = i.key)"
"""By a run before the current one; the planned invitation was still there when it was planned."""


def invitations(db: sqlite3.Connection, missing: str) -> Truncated[InvitationRow]:
    """Return the current run's invitations: failures first, then owners, then the oldest.

    Args:
        db: The database.
        missing: The state of an invitation without an outcome for which no request was sent.
    """
    order = f"{_FAILED_FIRST}, {_OWNERS_FIRST}, i.age DESC, i.key"
    return _list(db, "i.role = 1", order, SHOWN_INVITATIONS, missing)


def comparison(db: sqlite3.Connection, since: datetime | None, missing: str) -> Comparison:
    """Compare the current run's stale invitations with the previous run's.

    Args:
        db: The database.
        since: Start of the previous run.
        missing: The state of an invitation without an outcome for which no request was sent.
    """
    order = "i.age DESC, i.key"
    only_now, both = f"i.role = 1 AND {_ONLY_IN_ONE_RUN}", f"i.role = 1 AND NOT {_ONLY_IN_ONE_RUN}"
    only_then = f"i.role = 0 AND {_ONLY_IN_ONE_RUN}"
    read_then, read_now = (_WAS_READ.format(role) for role in (0, 1))
    not_deleted = f"NOT {_WAS_DELETED}"
    return Comparison(
        since=since,
        new=_list(db, f"{only_now} AND {read_then}", order, SHOWN_COMPARED, missing),
        persisting=_list(db, both, order, SHOWN_COMPARED, missing),
        deleted=_count(db, f"{only_then} AND {_WAS_DELETED}"),
        gone=_list(db, f"{only_then} AND ({read_now} OR {_WAS_DELETED})", order, SHOWN_COMPARED),
        unseen=_count(db, f"{only_then} AND NOT {read_now} AND {not_deleted}"),
        unseen_then=_count(db, f"{only_now} AND NOT {read_then}"),
    )


def bounces(db: sqlite3.Connection, missing: str) -> Truncated[InvitationRow]:
    """Return the current run's invitations of users deleted before from the same project.

    They are found by the deletions in these logs, and by the field `bounced`.
    """
    deletions = (
        "FROM earlier_deletions d WHERE d.project_id = i.project_id AND d.username = i.user"
        " AND i.user <> ''"
    )
    times, last = f"(SELECT count(*) {deletions})", f"(SELECT max(d.deleted_at) {deletions})"
    condition = f"i.role = 1 AND (i.bounced > 0 OR EXISTS (SELECT 1 {deletions}))"
    rows = db.execute(
        f"SELECT {_FIELDS}, max(i.bounced, {times}) AS times, {last} AS last {_JOINED}"
        f" WHERE {condition} ORDER BY times DESC, i.key LIMIT ?",
        (SHOWN_COMPARED,),
    ).fetchall()
    entries = tuple(
        _entry(row, _state(row, missing), bounced=row["times"], last=row["last"] or "")
        for row in rows
    )
    return Truncated(entries, _count(db, condition))


def _list(
    db: sqlite3.Connection,
    condition: str,
    order: str,
    limit: int,
    missing: str | None = None,
) -> Truncated[InvitationRow]:
    rows = db.execute(
        f"SELECT {_FIELDS}, {_WAS_DELETED} AS deleted_since {_JOINED} WHERE {condition}"
        f" ORDER BY {order} LIMIT ?",
        (limit,),
    ).fetchall()
    states = (_describe_gone(row) if missing is None else _state(row, missing) for row in rows)
    entries = tuple(_entry(row, state) for row, state in zip(rows, states, strict=True))
    return Truncated(entries, _count(db, condition))


def _count(db: sqlite3.Connection, condition: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM planned_items i WHERE {condition}").fetchone()[0])


def _state(row: sqlite3.Row, missing: str) -> str:
    state = str(row["outcome"] or ("no outcome" if row["is_open"] else missing))
    return f"{state}, new" if row["new"] and state == PLANNED else state


def _describe_gone(row: sqlite3.Row) -> str:
    """Return why an invitation planned by the previous run is gone."""
    if row["outcome"] == "deleted":
        return "deleted by the previous run"
    if row["deleted_since"]:
        return "deleted by another run since"
    if row["outcome"] == "already_gone":
        return "already gone before its planned deletion"
    if row["outcome"] == "accepted_before":
        return "accepted before its planned deletion"
    if row["outcome"] == "accepted_during":
        return "accepted and removed during the previous run"
    return "accepted, revoked, expired or no longer stale"


def _entry(
    row: sqlite3.Row, state: str, bounced: int | None = None, last: str = ""
) -> InvitationRow:
    return InvitationRow(
        invitation_id=row["invitation_id"],
        organization=row["org_id"],
        project_id=row["project_id"],
        project=row["project"],
        username=row["username"],
        inviter=row["inviter"],
        roles=row["roles"],
        rule=row["rule"],
        age_days=row["age"],
        state=state,
        detail=_detail(row),
        bounced=row["bounced"] if bounced is None else bounced,
        last_deleted=last,
    )


def _detail(row: sqlite3.Row) -> str:
    if row["outcome"] not in {"failed", "unknown"}:
        return ""
    parts = [f"HTTP {row['http_status']}" if row["http_status"] else "", row["error_code"] or ""]
    attempts = row["attempts"]
    parts.append(pluralize(attempts, "attempt") if attempts is not None else "")
    return ", ".join(part for part in parts if part)


SHOWN_ROWS = 50
SHOWN_DAYS = 60

_OUTCOME_SUMS = ", ".join(f"sum({each.name}) AS {each.name}" for each in fields(OutcomeCounts))


def stale_ages(db: sqlite3.Connection) -> tuple[int, ...]:
    """Return the number of the current run's planned invitations by age class."""
    rows = db.execute(
        "SELECT class, count(*) AS n FROM planned_items WHERE role = 1 GROUP BY class"
    )
    found = {row["class"]: row["n"] for row in rows}
    return tuple(found.get(index, 0) for index in range(len(AGE_CLASS_LABELS)))


def age_table(db: sqlite3.Connection, by: str, name: str, totals: Sequence[int]) -> AgeTable:
    """Return the ages of the current run's planned invitations, grouped by a column.

    Args:
        db: The database.
        by: The column to group by.
        name: The column with the name of a group.
        totals: The ages of all planned invitations, by class.
    """
    sums = ", ".join(f"sum(class = {index})" for index in range(len(AGE_CLASS_LABELS)))
    groups = db.execute(
        f"SELECT max({name}), {sums} FROM planned_items WHERE role = 1 GROUP BY {by}"
        f" ORDER BY count(*) DESC, {by} LIMIT ?",
        (SHOWN_ROWS,),
    ).fetchall()
    count = f"SELECT count(DISTINCT {by}) FROM planned_items WHERE role = 1"
    total = db.execute(count).fetchone()[0]
    rows = tuple(AgeRow(row[0], tuple(row[1:])) for row in groups)
    rest = tuple(
        class_total - sum(row.counts[index] for row in rows)
        for index, class_total in enumerate(totals)
    )
    return AgeTable(Truncated(rows, total), rest)


def _outcome_counts(row: sqlite3.Row) -> OutcomeCounts:
    """Return the outcome counts of a row."""
    return OutcomeCounts(**{each.name: row[each.name] or 0 for each in fields(OutcomeCounts)})


def current_outcomes(db: sqlite3.Connection) -> OutcomeCounts:
    """Return the outcome counts of the current runs, summed."""
    row = db.execute(f"SELECT {_OUTCOME_SUMS} FROM runs WHERE role = 1").fetchone()
    return _outcome_counts(row)


def days(db: sqlite3.Connection) -> Truncated[Day]:
    """Return the last days on which sweeps started, the newest last."""
    source = "FROM runs WHERE started <> '' AND mode = 'sweep' GROUP BY substr(started, 1, 10)"
    rows = db.execute(
        f"SELECT substr(started, 1, 10) AS day, count(*) AS runs, {_OUTCOME_SUMS} {source}"
        " ORDER BY day DESC LIMIT ?",
        (SHOWN_DAYS,),
    ).fetchall()
    total = db.execute(f"SELECT count(*) FROM (SELECT 1 {source})").fetchone()[0]
    found = tuple(Day(row["day"], row["runs"], _outcome_counts(row)) for row in reversed(rows))
    return Truncated(found, total)


def list_runs(
    db: sqlite3.Connection, condition: str = "1", limit: int = SHOWN_ROWS
) -> Truncated[RunRow]:
    """Return the runs in the logs, the newest first."""
    rows = db.execute(
        f"SELECT runs.*, line FROM runs LEFT JOIN last_lines USING (run_id)"
        f" WHERE {condition}"
        " ORDER BY started DESC, ord DESC LIMIT ?",
        (limit,),
    ).fetchall()
    total = db.execute(f"SELECT count(*) FROM runs WHERE {condition}").fetchone()[0]
    return Truncated(tuple(_run(row) for row in rows), total)


def _run(row: sqlite3.Row) -> RunRow:
    names = ("run_id", "mode", "group_id", "shard", "base_url", "policy_path", "policy_sha256")
    texts = {name: str(row[name]) for name in (*names, "actor", "tool_version", "key_ids")}
    last = parse_log_line(row["line"]) if row["line"] is not None else None
    last = last if last is not None else {}
    found = last.get("warnings")
    warnings = map(parse_warning, found) if isinstance(found, list) else ()
    return RunRow(
        dry_run=bool(row["dry_run"]),
        saved_plan=bool(row["saved_plan"]),
        organizations=tuple(row["organizations"].split()),
        started=to_datetime(row["started"]),
        exit_code=row["exit_code"],
        status=_status(row["exit_code"], row["recovered"], row["open"], finished=bool(last)),
        outcomes=_outcome_counts(row),
        error=to_text(last.get("error")),
        consequence=to_text(last.get("consequence")),
        hint=to_text(last.get("hint")),
        warnings=tuple(each for each in warnings if each is not None),
        stale=to_int(last.get("stale")),
        wanted=to_int(last.get("wanted")),
        to_restore=to_int(last.get("to_restore")),
        resolved=to_int(last.get("recovered")) or 0,
        **texts,
    )


_STATUS_LABELS: Final = {
    Status.DONE: ReportStatus.CLEAN,
    Status.PARTLY_DONE: ReportStatus.PARTIAL,
    Status.REFUSED: ReportStatus.REFUSED,
    Status.STOPPED: ReportStatus.INTERRUPTED,
    Status.FAILED: ReportStatus.FAILED,
}


def _status(exit_code: int | None, recovered: int, open_: int, *, finished: bool) -> ReportStatus:
    """Return the status of one run."""
    if not finished:
        return ReportStatus.RECOVERED if recovered and not open_ else ReportStatus.UNFINISHED
    return _STATUS_LABELS[status_of(exit_code if exit_code is not None else -1)]


def organizations(db: sqlite3.Connection, current: Sequence[RunRow]) -> Truncated[OrganizationRow]:
    """Return the organizations of the current runs with their own counts, the worst first."""
    sums = ", ".join(f"sum(coalesce(o.outcome, '') = '{name}') AS {name}" for name in OUTCOMES)
    counted = db.execute(
        f"SELECT i.org_id, count(*) AS planned, {sums} {_JOINED} WHERE i.role = 1 GROUP BY i.org_id"
    ).fetchall()
    counts = {
        row["org_id"]: OutcomeCounts(**{name: row[name] for name in ("planned", *OUTCOMES)})
        for row in counted
    }
    names = {row["id"]: row["name"] for row in db.execute("SELECT id, name FROM organizations")}
    found: dict[str, OrganizationRow] = {}
    for run in sorted(current, key=lambda run: WORST_FIRST.index(run.status)):
        listed = run.organizations or tuple(counts) or ("",)
        for id_ in listed:
            found.setdefault(
                id_,
                OrganizationRow(
                    id=id_,
                    name=names.get(id_, ""),
                    run_id=run.run_id,
                    status=run.status,
                    exit_code=run.exit_code,
                    stale=run.stale if len(listed) == 1 else None,
                    outcomes=counts.get(id_, OutcomeCounts()),
                ),
            )
    rows = tuple(found.values())
    return Truncated(rows[:SHOWN_ROWS], len(rows))


SHOWN_NIGHTS = 30
SHOWN_FAILED_RUNS = 30

_NIGHT_KINDS = ("sweep", "dry-run", "restore")
"""A day's sweeps count for its night; without one, its dry runs, then its restores."""


def nights(db: sqlite3.Connection) -> tuple[Night, ...]:
    """Return the last 30 days up to that of the newest run, from the first day with a run on."""
    rows = db.execute(
        f"SELECT substr(started, 1, 10) AS day, mode, exit_code, finished IS NOT NULL AS ended,"
        f" recovered > 0 AS recovered, open > 0 AS open, count(*) AS runs,"
        " sum(deleted) AS deleted FROM runs WHERE started <> ''"
        f" AND substr(started, 1, 10) > (SELECT date(max(started), '-{SHOWN_NIGHTS} days')"
        " FROM runs) GROUP BY 1, 2, 3, 4, 5, 6"
    ).fetchall()
    by_day: dict[str, list[sqlite3.Row]] = {}
    for row in rows:
        by_day.setdefault(row["day"], []).append(row)
    if not by_day:
        return ()
    first, last = (date.fromisoformat(day) for day in (min(by_day), max(by_day)))
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return tuple(_night(day.isoformat(), by_day.get(day.isoformat(), ())) for day in days)


def failed_runs(db: sqlite3.Connection) -> Truncated[RunRow]:
    """Return the runs of the shown nights, without the current ones, that did not end well."""
    good = ", ".join(str(int(code)) for code in ExitCode if code.succeeded)
    condition = (
        "role IS NOT 1 AND started <> '' AND (finished IS NULL OR exit_code IS NULL"
        f" OR exit_code NOT IN ({good})) AND substr(started, 1, 10) >"
        f" (SELECT date(max(started), '-{SHOWN_NIGHTS} days') FROM runs)"
    )
    return list_runs(db, condition, SHOWN_FAILED_RUNS)


def _night(day: str, rows: Sequence[sqlite3.Row]) -> Night:
    modes = {row["mode"] for row in rows}
    kind = next((mode for mode in _NIGHT_KINDS if mode in modes), max(modes, default=""))
    counted = [
        (_status(row["exit_code"], row["recovered"], row["open"], finished=row["ended"]), row)
        for row in rows
        if row["mode"] == kind
    ]
    status = worst(status for status, _ in counted)
    code = next((row["exit_code"] for found, row in counted if found is status), None)
    return Night(
        day=day,
        status=status,
        kind=kind,
        exit_code=code,
        runs=sum(row["runs"] for _, row in counted),
        deleted=sum(row["deleted"] for _, row in counted),
    )


def coverage(db: sqlite3.Connection, seen: int | None) -> Coverage:
    """Return the projects that the current runs could not read, with the reasons."""
    reasons = db.execute(
        "SELECT reason, count(*) AS n FROM unreadable_projects WHERE role = 1 GROUP BY reason"
        " ORDER BY n DESC, reason LIMIT ?",
        (SHOWN_ROWS,),
    ).fetchall()
    kinds, unreadable = db.execute(
        "SELECT count(DISTINCT reason), count(*) FROM unreadable_projects WHERE role = 1"
    ).fetchone()
    projects = db.execute(
        "SELECT project_id, project, reason, http_status, error_code FROM unreadable_projects"
        " WHERE role = 1 ORDER BY project, project_id LIMIT ?",
        (SHOWN_ROWS,),
    ).fetchall()
    return Coverage(
        seen=seen,
        unreadable=unreadable,
        reasons=Truncated(tuple((row["reason"], row["n"]) for row in reasons), kinds),
        projects=Truncated(tuple(UnreadableProject(*row) for row in projects), unreadable),
    )


def kept_by_reason(last_lines: Sequence[Mapping[str, object]]) -> Truncated[tuple[str, int]]:
    """Return `kept_by_reason` summed over the shards, the most frequent reason first."""
    found: dict[str, int] = {}
    for line in last_lines:
        reasons = line.get("kept_by_reason")
        for reason, count in reasons.items() if isinstance(reasons, Mapping) else ():
            found[to_text(reason)] = found.get(to_text(reason), 0) + (to_int(count) or 0)
    rows = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return Truncated(tuple(rows[:SHOWN_ROWS]), len(rows))


def keep_entries(
    last_lines: Sequence[Mapping[str, object]], kept: Mapping[str, int], day: str
) -> Truncated[KeepEntry]:
    """Return the policy's keep entries, from the runs' lists or from `kept_by_reason`.

    Args:
        last_lines: The last lines of the current runs.
        kept: Their `kept_by_reason`, summed.
        day: The day on which the run started, `2026-11-25`; empty if unknown.
    """
    listed: dict[str, KeepEntry] = {}
    for line in last_lines:
        entries = line.get("keep_entries")
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, Mapping):
                name, until = to_text(entry.get("name")), to_text(entry.get("until"))
                before = listed[name].matched or 0 if name in listed else 0
                count = to_float(entry.get("matched"))
                matched = kept.get(f"keep:{name}") if count is None else before + int(count)
                expired = bool(until and day and until < day)
                listed[name] = KeepEntry(
                    name, to_text(entry.get("reason")), until, expired, matched
                )
    for reason, count in kept.items():
        name = reason.removeprefix("keep:")
        if name != reason and name not in listed:
            listed[name] = KeepEntry(name, "", "", ended=False, matched=count)
    rows = tuple(listed.values())
    return Truncated(rows[:SHOWN_ROWS], len(rows))
