"""The lists of invitations on the page, asked of the ledger."""

import sqlite3
from datetime import datetime

from invite_sweeper.report.page.rows import Comparison, Cut, Entry

SHOWN_INVITATIONS = 500
SHOWN_COMPARED = 100
"""Rows of a list that stand on the page; enough to work through, few enough to open at once."""

_FIELDS = (
    "i.invitation_id, i.project_id, i.project, i.username, i.inviter, i.roles, i.rule, i.age,"
    " i.bounced, e.outcome, e.attempts, e.http_status, e.error_code"
)
_URGENCY = (
    "CASE coalesce(e.outcome, '') WHEN 'failed' THEN 0 WHEN 'unknown' THEN 1 WHEN '' THEN 2"
    " WHEN 'skipped' THEN 3 ELSE 4 END"
)
_JOINED = "FROM items i LEFT JOIN ends e ON e.key = i.key AND e.role = i.role"
_NEW = "NOT EXISTS (SELECT 1 FROM items o WHERE o.key = i.key AND o.role = 1 - i.role)"
_READ = "NOT EXISTS (SELECT 1 FROM blind b WHERE b.project_id = i.project_id AND b.role = 1)"


def invitations(db: sqlite3.Connection, *, sweeping: bool) -> Cut[Entry]:
    """What the current run planned: what went wrong first, then the oldest."""
    order = f"{_URGENCY}, i.age DESC, i.key"
    return _list(db, "i.role = 1", order, SHOWN_INVITATIONS, sweeping=sweeping)


def comparison(db: sqlite3.Connection, since: datetime | None, *, sweeping: bool) -> Comparison:
    """The current run's stale invitations against those of the run before."""
    order = "i.age DESC, i.key"
    hidden = f"i.role = 0 AND {_NEW} AND NOT {_READ}"
    return Comparison(
        since=since,
        new=_list(db, f"i.role = 1 AND {_NEW}", order, SHOWN_COMPARED, sweeping=sweeping),
        persisting=_list(
            db, f"i.role = 1 AND NOT {_NEW}", order, SHOWN_COMPARED, sweeping=sweeping
        ),
        gone=_list(db, f"i.role = 0 AND {_NEW} AND {_READ}", order, SHOWN_COMPARED, gone=True),
        unseen=_count(db, hidden),
    )


def bounces(db: sqlite3.Connection, *, sweeping: bool) -> Cut[Entry]:
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
    return Cut(entries, _count(db, condition))


def _list(
    db: sqlite3.Connection,
    condition: str,
    order: str,
    limit: int,
    *,
    sweeping: bool = False,
    gone: bool = False,
) -> Cut[Entry]:
    rows = db.execute(
        f"SELECT {_FIELDS} {_JOINED} WHERE {condition} ORDER BY {order} LIMIT ?",
        (limit,),
    ).fetchall()
    states = (_whereabouts(row) if gone else _state(row, sweeping=sweeping) for row in rows)
    entries = tuple(_entry(row, state) for row, state in zip(rows, states, strict=True))
    return Cut(entries, _count(db, condition))


def _count(db: sqlite3.Connection, condition: str) -> int:
    return int(db.execute(f"SELECT count(*) FROM items i WHERE {condition}").fetchone()[0])


def _state(row: sqlite3.Row, *, sweeping: bool) -> str:
    if row["outcome"]:
        return str(row["outcome"])
    return "no outcome" if sweeping else "planned"


def _whereabouts(row: sqlite3.Row) -> str:
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


def _entry(row: sqlite3.Row, state: str, bounced: int | None = None, last: str = "") -> Entry:
    return Entry(
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
    said = [f"HTTP {row['http_status']}" if row["http_status"] else "", row["error_code"] or ""]
    tries = row["attempts"]
    said.append(f"{tries} attempt{'s' if tries != 1 else ''}" if tries is not None else "")
    return ", ".join(part for part in said if part)
