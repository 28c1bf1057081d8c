"""Write audit logs for tests with `AuditLog`, and read their lines."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from builders import NOW, invitation

from invite_sweeper.audit import AuditLog, PlanReader, PlanSpan, events
from invite_sweeper.audit.chain import HashChain, line_hash
from invite_sweeper.models import Invitation, Source


class TickingClock:
    """A clock that advances by one millisecond per call."""

    def __init__(self, start: datetime = NOW) -> None:
        self.now = start

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


def event(name: str, **fields: object) -> events.Event:
    """Return an event of the log; fields that are left out have ordinary values."""
    ordinary: dict[str, object] = {}
    if name == "run_started":
        ordinary = {
            "mode": "sweep",
            "tool_version": "1.0.0",
            "policy_sha256": None,
            "policy_path": None,
            "base_url": "https://cloud.mongodb.com",
            "actor": "token",
            "now": "2026-11-25T01:00:00Z",
            "shard": None,
            "organizations": (),
        }
    elif name in {"planned", "announced", "announcement_ended", "intent", "outcome"}:
        ordinary = fields_of(invitation(1, source=Source.INVITES)) | answer()
    elif name == "run_finished":
        ordinary = {"exit_code": 0}
    elif name in {"project_unreadable", "source_retired"}:
        ordinary = dict.fromkeys(("project_id", "project_name", "org_id"))
        ordinary |= {"source": "invites", "reason": "", "http_status": None, "error_code": None}
    kind = events.RestoreFinished if "wanted" in fields else _KINDS[name]
    return msgspec.convert(msgspec.to_builtins({**ordinary, **fields}), kind)


_KINDS = {each.event: each for each in reversed(events.EVENTS)}


def opened(path: Path, run_id: str = "run-1", **options) -> AuditLog:
    return AuditLog.open(path, run_id=run_id, clock=TickingClock(), **options)


def lines_of(path: Path) -> list[bytes]:
    """Return the lines without their newlines; the file must end with one."""
    *lines, rest = path.read_bytes().split(b"\n")
    assert rest == b""
    return lines


def fields_of(invitation: Invitation, rule: str = "forgotten") -> dict[str, object]:
    fields = events.InvitationFields.from_invitation(invitation, NOW)
    return {**msgspec.to_builtins(fields), "rule": rule}


def write_run(
    path: Path,
    run_id: str = "run-1",
    *,
    numbers: Iterable[int] = range(1, 4),
    mode: str = "sweep",
    started: dict[str, object] | None = None,
    totals: dict[str, object] | None = None,
) -> None:
    """Append a complete run: started, planned, intents, outcomes, finished."""
    fields = [fields_of(invitation(number, source=Source.INVITES)) for number in numbers]
    head = {"mode": mode, "policy_sha256": "c" * 64, "shard": None, **(started or {})}
    lines = [("run_started", head), *(("planned", each) for each in fields)]
    if mode == "sweep":
        lines += [("intent", each) for each in fields]
        lines += [("outcome", each | answer()) for each in fields]
    tail = {"projects_seen": 1, "invitations_seen": len(fields), "exit_code": 0}
    write_events(path, run_id, [*lines, ("run_finished", tail | (totals or {}))])


def write_events(path: Path, run_id: str, lines: Iterable[tuple[str, dict[str, object]]]) -> None:
    """Append a run with exactly these lines."""

    async def write() -> None:
        log = opened(path, run_id)
        for name, fields in lines:
            log.write(event(name, **fields))
        await log.close()

    with ThreadPoolExecutor(1) as thread:  # the test may already run an event loop
        thread.submit(lambda: asyncio.run(write())).result()


def write_earlier_version(
    path: Path, run_id: str, lines: Iterable[tuple[str, dict[str, object]]], prev: str = "0" * 64
) -> None:
    """Append a run as versions without one chain over all files wrote it: no head, no `log`."""
    if path.exists() and (before := lines_of(path)):
        prev = line_hash(before[-1])
    chain = HashChain(prev, TickingClock())
    with path.open("ab") as file:
        file.writelines(chain.add(run_id, event(name, **each)) + b"\n" for name, each in lines)


def answer(outcome: str = "deleted") -> dict[str, object]:
    """Return the fields that an `outcome` line adds to those of its invitation."""
    return {
        "outcome": outcome,
        "attempts": 0 if outcome == "skipped" else 1,
        "http_status": {"deleted": 204, "already_gone": 404}.get(outcome),
        "error_code": None,
        "duration_ms": 12.5,
    }


def write_group(path: Path, lines: Iterable[tuple[str, str, dict[str, object]]]) -> None:
    """Append the runs of one command: each line with its run's id, event and fields."""

    async def write() -> None:
        logs: dict[str, AuditLog] = {}
        for run_id, name, fields in lines:
            if not logs:
                logs[run_id] = opened(path, run_id)
            log = logs.setdefault(run_id, next(iter(logs.values())).for_run(run_id))
            log.write(event(name, **fields))
        await next(iter(logs.values())).close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(write())).result()


@contextmanager
def plan_readers(path: Path, run_id: str) -> Iterator[Callable[[PlanSpan], PlanReader]]:
    """Open a log; return a function that makes a reader of a span."""
    with path.open("rb") as file:
        yield lambda span: PlanReader(file.fileno(), span, run_id)
