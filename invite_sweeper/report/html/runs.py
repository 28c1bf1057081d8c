"""The runs of audit logs, for a report. Damaged logs are read as well."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import IO

from invite_sweeper.audit.events import (
    Line,
    OutcomeLine,
    RestoreFinished,
    RunFinished,
    decode,
)
from invite_sweeper.audit.history import History, RunRecord
from invite_sweeper.audit.reader import open_log
from invite_sweeper.counts import Counts, count_values
from invite_sweeper.endings import Reason, RunWarning, Status, WarningCode, status_of
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Outcome
from invite_sweeper.report.html.model import LogFile, Run
from invite_sweeper.text import to_datetime, to_text

_MAX_LINE_BYTES = 1 << 23
"""A longer line is not an audit record and is skipped."""


def raw_lines(path: Path) -> Iterator[bytes]:
    """Yield each line without its newline; an overlong one as `b""`.

    A file that is compressed with gzip is decompressed. The lines end where such a file is
    damaged: `audit.verify` reports it.
    """
    with suppress(GuardRefused), open_log(path) as stream:
        while raw := stream.readline(_MAX_LINE_BYTES):
            if not raw.endswith(b"\n") and len(raw) == _MAX_LINE_BYTES:
                _skip_line(stream)
                raw = b""
            yield raw.rstrip(b"\r\n")


def _skip_line(stream: IO[bytes]) -> None:
    while (more := stream.readline(_MAX_LINE_BYTES)) and not more.endswith(b"\n"):
        pass


class Logs:
    """The history of audit logs, and what became of requests of killed runs later."""

    def __init__(self) -> None:
        self.history = History()
        self._recovered: dict[str, Counter[str]] = {}

    def read(self, path: Path) -> LogFile:
        """Add the lines of a file to the history, and count them."""
        lines = invalid_lines = 0
        raw = b""
        for raw in raw_lines(path):
            lines += 1
            try:
                line = decode(raw)
            except ValueError:
                invalid_lines += 1
                continue
            if line is not None:
                self._add(line)
        last_hash = sha256(raw).hexdigest() if lines else ""
        return LogFile(to_text(path.name), lines, invalid_lines, last_hash)

    def _add(self, line: Line) -> None:
        self.history.add(line)
        match line.event:
            case OutcomeLine() as outcome if outcome.recovers is not None:
                self._recovered.setdefault(outcome.recovers, Counter())[outcome.outcome] += 1
            case _:
                pass

    def runs(self) -> tuple[Run, ...]:
        """Return the runs in the order of their ends."""
        self.history.finish()
        open_requests = self.history.open_requests()
        return tuple(
            self._run(record, open_requests[record.run_id]) for record in self.history.runs
        )

    def _run(self, record: RunRecord, open_requests: int) -> Run:
        start, end = record.start, record.end
        recovered = self._recovered.get(record.run_id, Counter())
        run = Run(
            record.run_id,
            group_id=record.group_id,
            status=Status.RECOVERED if recovered and not open_requests else Status.UNFINISHED,
            planned=record.planned,
            outcomes=dict(record.outcomes + recovered),
            open=open_requests,
            resolved=record.resolved.total(),
            plan_made=bool(record.planned and (record.outcomes or open_requests)),
        )
        if start is not None:
            run = replace(
                run,
                mode=start.mode,
                dry_run=start.mode == "dry-run" or bool(start.dry_run),
                organizations=start.organizations,
                started=to_datetime(start.now),
                actor=start.actor,
                credentials=start.credentials or "",
                base_url=start.base_url,
                policy_path=start.policy_path or "",
                policy_sha256=start.policy_sha256 or "",
                tool_version=start.tool_version,
            )
        return run if end is None else _ended(run, end)


def _ended(run: Run, end: RunFinished | RestoreFinished) -> Run:
    status = status_of(end.exit_code)
    run = replace(
        run,
        status=status,
        exit_code=end.exit_code,
        error=end.error or "",
        consequence=end.consequence or "",
        hint=end.hint or "",
        duration_s=end.duration_s,
    )
    if isinstance(end, RestoreFinished):
        reasons: tuple[str, ...] = end.reasons
        if not reasons and status is Status.PARTLY_DONE:
            reasons = _reasons_of_restore(run)
        wanted = end.wanted
        return replace(
            run, plan_made=True, reasons=reasons, wanted=wanted, to_restore=end.to_restore
        )
    # Lists that were read again may have shown an invitation that was said to be gone.
    totals = {each.value: getattr(end, each.value) for each in Outcome}
    return replace(
        run,
        outcomes=totals if any(totals.values()) else run.outcomes,
        reasons=end.reasons,
        warnings=tuple(
            # Those of earlier versions are sentences.
            RunWarning(WarningCode.OTHER, each) if isinstance(each, str) else each
            for each in end.warnings
        ),
        plan_made=end.plan_made,
        reported=Counts(**count_values(end)),
        requests=(end.requests, end.retries, end.rate_limited),
        changes=end.changes,
        keep_entries=end.keep_entries or (),
        sunset=end.sunset or "",
    )


def _reasons_of_restore(run: Run) -> tuple[str, ...]:
    """Return why a restore of an earlier version, which wrote no reasons, was partly done."""
    incomplete = run.count("failed", "unknown", "skipped") or run.open
    active = (Reason.MADE_ACTIVE,) if run.count("active") else ()
    return (*active, *((Reason.NOT_INVITED,) if incomplete else ()))
