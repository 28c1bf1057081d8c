"""Runs as a sweep writes them: an audit directory, and the lines of an invitation."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import builders
from builders import NOW, ORG, event_of

from invite_sweeper.audit import AuditDirectory, AuditLog, RunRecord
from invite_sweeper.audit.events import (
    Announced,
    Event,
    Intent,
    Kept,
    OutcomeLine,
    Planned,
    RunFinished,
    RunStarted,
)
from invite_sweeper.audit.file_chain import FileChain
from invite_sweeper.audit.reader import read_run
from invite_sweeper.audit.record import Fold
from invite_sweeper.models import Entry, Invitation, Source

HOST = "https://cloud.mongodb.com"


def clock(start: datetime = NOW) -> Callable[[], datetime]:
    """Return a clock that advances by a millisecond with each line."""
    ticks = count()
    return lambda: start + timedelta(milliseconds=next(ticks))


def started(**changes: object) -> RunStarted:
    defaults: dict[str, object] = {
        "mode": "sweep",
        "tool_version": "1.0.0",
        "policy_sha256": "a" * 64,
        "policy_path": "policy.yaml",
        "organizations": (ORG,),
        "actors": {ORG: "client"},
        "base_url": HOST,
        "now": NOW.isoformat().replace("+00:00", "Z"),
        "shard": None,
        "scope_sha256": "b" * 64,
    }
    return RunStarted(**{**defaults, **changes})


def finished(**changes: object) -> RunFinished:
    return RunFinished(**{"exit_code": 0, "plan_made": True, "plan_complete": True, **changes})


def invitation(number: int = 1, **changes: object) -> Invitation:
    return builders.invitation(number, **{"source": Source.INVITES, **changes})


def planned(number: int = 1, *, entries: tuple[Entry, ...] = (), **changes: object) -> Planned:
    return event_of(Planned, invitation(number, **changes), entries, rule="forgotten")


def intent(fields: Invitation) -> Intent:
    return fields.as_event(Intent, rule="forgotten")


def outcome(fields: Invitation, result: str = "deleted", **changes: object) -> OutcomeLine:
    defaults = {"attempts": 1, "http_status": 204, "error_code": None, "duration_ms": 55.0}
    return fields.as_event(OutcomeLine, rule="forgotten", outcome=result, **{**defaults, **changes})


def deletion(number: int = 1, result: str = "deleted", **changes: object) -> list[Event]:
    plan = planned(number, **changes)
    return [plan, intent(plan), outcome(plan, result)]


def announced(number: int = 1, kind: type[Announced] = Announced, **changes: object) -> Announced:
    """Return the announcement of an invitation, whose wait is a week."""
    due = "2026-12-02T01:00:00Z"
    return event_of(kind, invitation(number, **changes), rule="forgotten", deletable_from=due)


def kept(number: int = 1, reason: str = "too_young") -> Kept:
    return event_of(Kept, invitation(number), reason=reason)


async def write_lines(log: AuditLog, events: Iterable[Event]) -> None:
    """Write lines; the last one ends the run, and without it the file is only closed."""
    for event in events:
        if isinstance(event, RunFinished):
            await log.finish(event)
        else:
            log.write(event)
    await log.close()


def write_run(
    directory: AuditDirectory,
    run_id: str,
    *events: Event,
    start: RunStarted | None = None,
    end: RunFinished | None = None,
    killed: bool = False,
    at: datetime = NOW,
) -> Path:
    """Write the file of a run, and return its path. A killed run has no last line."""
    log = AuditLog(directory, run_id, clock=clock(at))
    lines = [start or started(), *events, *(() if killed else (end or finished(),))]
    asyncio.run(write_lines(log, lines))
    return log.file.path


def events_of(chain: FileChain) -> list[Event]:
    """Return the events of a file, without those of kept invitations and of later versions."""
    decoded = [chain.decode(line) for line in chain]
    return [event for event in decoded if event is not None and not isinstance(event, Kept)]


def records(directory: AuditDirectory) -> list[RunRecord]:
    fold = Fold()
    return [read_run(chain, fold) for chain in directory.reader()]


def last_record(directory: AuditDirectory) -> RunRecord:
    return read_run(FileChain(directory.files()[-1]), Fold())
