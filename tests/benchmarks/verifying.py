"""Write the file of a long sweep, and verify it as the program and as two tools do."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measuring import OURS, took_s
from builders import NOW, event_of, invitation

from invite_sweeper.audit import AuditDirectory, AuditLog
from invite_sweeper.audit.events import Intent, OutcomeLine, Planned, RunStarted
from invite_sweeper.audit.totals import RunFinished
from invite_sweeper.models import Source
from invite_sweeper.outcomes import Outcome, Sending

IN_FLIGHT = 50


def write_log(folder: Path, deletions: int) -> tuple[Path, int]:
    """Write a sweep with 50 deletions in flight; return its file and its number of lines."""
    log = AuditLog(AuditDirectory(folder), "run", clock=lambda: NOW)
    asyncio.run(_write(log, deletions))
    return log.file.path, 3 * deletions + 2


async def _write(log: AuditLog, deletions: int) -> None:
    org_id = invitation(1, source=Source.INVITES).org_id
    log.write(
        RunStarted(
            mode="sweep",
            tool_version="1.0.0",
            policy_sha256="0" * 64,
            policy_path="policy.yaml",
            organizations=(org_id,),
            actors={org_id: "mdb_sa_id_0"},
            base_url="https://cloud.mongodb.com",
            now="2026-11-25T00:00:00.000000Z",
            shard=None,
        )
    )
    for planned in _planned(range(deletions)):
        log.write(planned)
    for start in range(0, deletions, IN_FLIGHT):
        group = tuple(_planned(range(start, min(start + IN_FLIGHT, deletions))))
        for planned in group:
            log.write(planned.as_event(Intent, rule=planned.rule))
        for planned in group:
            sent = Sending(Outcome.DELETED, attempts=1, http_status=204)
            log.write(OutcomeLine.of(planned, Outcome.DELETED, sent, 0.0125))
    await log.finish(RunFinished(exit_code=0))


def _planned(numbers: Iterable[int]) -> Iterable[Planned]:
    for number in numbers:
        one = invitation(number, source=Source.INVITES)
        yield event_of(Planned, one, rule="forgotten")


def verified_s(path: Path) -> tuple[float, float]:
    """Return the seconds of `audit verify`, and those of `sha256sum` and `wc` together."""
    read_s = took_s(("sha256sum", str(path))) + took_s(("wc", str(path)))
    return took_s((*OURS, "audit", "verify", str(path))), read_s
