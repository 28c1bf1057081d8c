"""What the page asks of it."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Final

from invite_sweeper.errors import ExitCode, RunStatus
from invite_sweeper.report.html.model import (
    AgeRow,
    AgeTable,
    Comparison,
    Coverage,
    Day,
    InvitationRow,
    KeepEntry,
    OutcomeCounts,
    ReportStatus,
    RunRow,
    Truncated,
    UnreadableProject,
)
from invite_sweeper.sweep.plan import AGE_CLASS_LABELS
from invite_sweeper.text import to_datetime, to_float, to_int, to_text

# The lists of invitations on the page, asked of the ledger.


SHOWN_INVITATIONS = 500
SHOWN_COMPARED = 100
"""Rows of a list that stand on the page; enough to work through, few enough to open at once."""

_FIELDS = (
    "i.invitation_id, i.project_id, i.project, i.username, i.inviter, i.roles, i.rule, i.age,"
    " i.bounced, e.outcome, e.attempts, e.http_status, e.error_code"
)
_FAILED_FIRST = (
    "CASE coalesce(e.outcome, '') WHEN 'failed' THEN 0 WHEN 'unknown' THEN 1 WHEN '' THEN 2"
    " WHEN 'skipped' THEN 3 ELSE 4 END"
)
_JOINED = "FROM items i LEFT JOIN ends e ON e.key = i.key AND e.role = i.role"
_IS_NEW = "NOT EXISTS (SELECT 1 FROM items o WHERE o.key = i.key AND o.role = 1 - i.role)"
_WAS_READ = "NOT EXISTS (SELECT 1 FROM blind b WHERE b.project_id = i.project_id AND b.role = 1)"


def invitations(db: sqlite3.Connection, *, sweeping: bool) -> Truncated[InvitationRow]:
    """What the current run planned: what went wrong first, then the oldest."""
    order = f"{_FAILED_FIRST}, i.age DESC, i.key"
    return _list(db, "i.role = 1", order, SHOWN_INVITATIONS, sweeping=sweeping)


def comparison(db: sqlite3.Connection, since: datetime | None, *, sweeping: bool) -> Comparison:
    """The current run's stale invitations against those of the run before."""
    order = "i.age DESC, i.key"
    hidden = f"i.role = 0 AND {_IS_NEW} AND NOT {_WAS_READ}"
    return Comparison(
        since=since,
        new=_list(db, f"i.role = 1 AND {_IS_NEW}", order, SHOWN_COMPARED, sweeping=sweeping),
        persisting=_list(
            db, f"i.role = 1 AND NOT {_IS_NEW}", order, SHOWN_COMPARED, sweeping=sweeping
        ),
        gone=_list(
            db, f"i.role = 0 AND {_IS_NEW} AND {_WAS_READ}", order, SHOWN_COMPARED, gone=True
        ),
        unseen=_count(db, hidden),
    )


def bounces(db: sqlite3.Connection, *, sweeping: bool) -> Truncated[InvitationRow]:
    """Invitations of the current run that a run deleted before, to the same person.

    They are known from the deletions in these logs, and from the run's own mark.
    """
    before = (
        "FROM erased d WHERE d.project_id = i.project_id AND d.username = i.person"
        " AND i.person <> ''"
    )
    times, last = f"(SELECT count(*) {before})", f"(SELECT max(d.at) {before})"
    condition = f"i.role = 1 AND (i.bounced > 0 OR EXISTS (SELECT 1 {before}))"
    rows = db.execute(
        f"SELECT {_FIELDS}, max(i.bounced, {times}) AS times, {last} AS last {_JOINED}"
        f" WHERE {condition} ORDER BY times DESC, i.key LIMIT ?",
        (SHOWN_COMPARED,),
    ).fetchall()
    entries = tuple(
        _entry(row, _state(row, sweeping=sweeping), bounced=row["times"], last=row["last"] or "")
        for row in rows
    )
    return Truncated(entries, _count(db, condition))


def _list(
    db: sqlite3.Connection,
    condition: str,
    order: str,
    limit: int,
    *,
    sweeping: bool = False,
    gone: bool = False,
) -> Truncated[InvitationRow]:
    rows = db.execute(
        f"SELECT {_FIELDS} {_JOINED} WHERE {condition} ORDER BY {order} LIMIT ?",
        (limit,),
    ).fetchall()
    states = (_describe_gone(row) if gone else _state(row, sweeping=sweeping) for row in rows)
    entries = tuple(_entry(row, state) for row, state in zip(rows, states, strict=True))
    return Truncated(entries, _count(db, condition))


def _count(db: sqlite3.Connection, condition: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM items i WHERE {condition}").fetchone()[0])


def _state(row: sqlite3.Row, *, sweeping: bool) -> str:
    if row["outcome"]:
        return str(row["outcome"])
    return "no outcome" if sweeping else "planned"


def _describe_gone(row: sqlite3.Row) -> str:
    """Where an invitation went that the run before had planned."""
    if row["outcome"] == "deleted":
        return "deleted by the run before"
    if row["outcome"] == "already_gone":
        return "gone before the run before came to it"
    if row["outcome"] == "accepted_before":
        return "accepted before the run before came to it"
    if row["outcome"] == "accepted_during":
        return "removed by the run before, just as it was accepted"
    return "accepted, revoked, expired or no longer stale"


def _entry(
    row: sqlite3.Row, state: str, bounced: int | None = None, last: str = ""
) -> InvitationRow:
    return InvitationRow(
        invitation_id=row["invitation_id"],
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
    tries = row["attempts"]
    parts.append(f"{tries} attempt{'s' if tries != 1 else ''}" if tries is not None else "")
    return ", ".join(part for part in parts if part)


# The counted tables of the page, asked of the ledger.


SHOWN_ROWS = 50
SHOWN_DAYS = 60

_OPEN = (
    "max(0, intents - deleted - already_gone - failed - unknown"
    " - accepted_before - accepted_during)"
)
_OUTCOME_SUMS = (
    "sum(planned) AS planned, sum(deleted) AS deleted, sum(already_gone) AS already_gone,"
    " sum(failed) AS failed, sum(unknown) AS unknown, sum(skipped) AS skipped,"
    " sum(accepted_before) AS accepted_before, sum(accepted_during) AS accepted_during,"
    f" sum({_OPEN}) AS open"
)


def stale_ages(db: sqlite3.Connection) -> tuple[int, ...]:
    """Ages of what the current run planned, by class."""
    rows = db.execute("SELECT class, count(*) AS n FROM items WHERE role = 1 GROUP BY class")
    found = {row["class"]: row["n"] for row in rows}
    return tuple(found.get(index, 0) for index in range(len(AGE_CLASS_LABELS)))


def age_table(db: sqlite3.Connection, by: str, name: str, everything: Sequence[int]) -> AgeTable:
    """Ages of what the current run planned, by one column; those with the most first."""
    sums = ", ".join(f"sum(class = {index})" for index in range(len(AGE_CLASS_LABELS)))
    groups = db.execute(
        f"SELECT max({name}), {sums} FROM items WHERE role = 1 GROUP BY {by}"
        f" ORDER BY count(*) DESC, {by} LIMIT ?",
        (SHOWN_ROWS,),
    ).fetchall()
    total = db.execute(f"SELECT count(DISTINCT {by}) FROM items WHERE role = 1").fetchone()[0]
    rows = tuple(AgeRow(row[0], tuple(row[1:])) for row in groups)
    rest = tuple(
        whole_class - sum(row.counts[index] for row in rows)
        for index, whole_class in enumerate(everything)
    )
    return AgeTable(Truncated(rows, total), rest)


def _tally_of(row: sqlite3.Row) -> OutcomeCounts:
    """The counts of one row that names them."""
    return OutcomeCounts(**{each.name: row[each.name] or 0 for each in fields(OutcomeCounts)})


def current_outcomes(db: sqlite3.Connection) -> OutcomeCounts:
    """The counts of the current runs together."""
    return _tally_of(db.execute(f"SELECT {_OUTCOME_SUMS} FROM runs WHERE role = 1").fetchone())


def days(db: sqlite3.Connection) -> Truncated[Day]:
    """The last days on which sweeps began, the newest last."""
    source = "FROM runs WHERE started <> '' AND mode = 'sweep' GROUP BY substr(started, 1, 10)"
    rows = db.execute(
        f"SELECT substr(started, 1, 10) AS day, count(*) AS runs, {_OUTCOME_SUMS} {source}"
        " ORDER BY day DESC LIMIT ?",
        (SHOWN_DAYS,),
    ).fetchall()
    total = db.execute(f"SELECT count(*) FROM (SELECT 1 {source})").fetchone()[0]
    found = tuple(Day(row["day"], row["runs"], _tally_of(row)) for row in reversed(rows))
    return Truncated(found, total)


def list_runs(
    db: sqlite3.Connection, condition: str = "1", limit: int = SHOWN_ROWS
) -> Truncated[RunRow]:
    """Runs in the logs, the newest first."""
    rows = db.execute(
        f"SELECT *, {_OPEN} AS open FROM runs WHERE {condition}"
        " ORDER BY started DESC, ord DESC LIMIT ?",
        (limit,),
    ).fetchall()
    total = db.execute(f"SELECT count(*) FROM runs WHERE {condition}").fetchone()[0]
    return Truncated(tuple(_run(row) for row in rows), total)


def _run(row: sqlite3.Row) -> RunRow:
    names = ("run_id", "mode", "shard", "base_url", "policy_path", "policy_sha256", "actor")
    texts = {name: str(row[name]) for name in (*names, "tool_version")}
    return RunRow(
        started=to_datetime(row["started"]),
        exit_code=row["exit_code"],
        status=_verdict_of(row["exit_code"], ended=row["finished"] is not None),
        outcomes=_tally_of(row),
        **texts,
    )


_STATUS_LABELS: Final = {
    RunStatus.DONE: ReportStatus.CLEAN,
    RunStatus.PARTLY_DONE: ReportStatus.PARTIAL,
    RunStatus.REFUSED: ReportStatus.REFUSED,
    RunStatus.STOPPED: ReportStatus.INTERRUPTED,
    RunStatus.FAILED: ReportStatus.FAILED,
}


def _verdict_of(exit_code: int | None, *, ended: bool) -> ReportStatus:
    """The word for one run."""
    if not ended:
        return ReportStatus.UNFINISHED
    known = (code.status for code in ExitCode if code == exit_code)
    return _STATUS_LABELS[next(known, RunStatus.FAILED)]


def coverage(db: sqlite3.Connection, seen: int | None) -> Coverage:
    """The projects that the current runs could not read, with the reasons."""
    reasons = db.execute(
        "SELECT reason, count(*) AS n FROM blind WHERE role = 1 GROUP BY reason"
        " ORDER BY n DESC, reason LIMIT ?",
        (SHOWN_ROWS,),
    ).fetchall()
    kinds, unreadable = db.execute(
        "SELECT count(DISTINCT reason), count(*) FROM blind WHERE role = 1"
    ).fetchone()
    projects = db.execute(
        "SELECT project_id, project, reason, http_status, error_code FROM blind WHERE role = 1"
        " ORDER BY project, project_id LIMIT ?",
        (SHOWN_ROWS,),
    ).fetchall()
    return Coverage(
        seen=seen,
        unreadable=unreadable,
        reasons=Truncated(tuple((row["reason"], row["n"]) for row in reasons), kinds),
        projects=Truncated(tuple(UnreadableProject(*row) for row in projects), unreadable),
    )


def kept_by_reason(last_lines: Sequence[Mapping[str, object]]) -> Truncated[tuple[str, int]]:
    """Why invitations were kept, added up over the shards; the most frequent first."""
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
    """The policy's keep entries, as the runs list them or as the counts name them.

    Args:
        finished: The last lines of the current runs.
        kept: Their `kept_by_reason`, added up.
        day: The day on which the run began, `2026-11-25`; empty where nobody knows.
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
