"""Write the audit log of a long sweep, and verify it as the program and as two tools do."""

import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import OURS, quiet_environment
from builders import NOW, invitation

from invite_sweeper.audit import AuditLog, SweepRecorder
from invite_sweeper.audit.events import Planned, RunFinished, RunStarted
from invite_sweeper.models import DeletionResult, Outcome, PlannedDeletion, Source

IN_FLIGHT = 50


def write_log(path: Path, deletions: int) -> int:
    """Write a sweep with 50 deletions in flight; return its number of lines."""
    asyncio.run(_write(path, deletions))
    return 3 * deletions + 2


async def _write(path: Path, deletions: int) -> None:
    log = AuditLog.open(path, run_id="01976b2a-9c1c-7000-8000-000000000000", clock=lambda: NOW)
    log.write(
        RunStarted(
            mode="sweep",
            tool_version="1.0.0",
            policy_sha256="0" * 64,
            policy_path="policy.yaml",
            base_url="https://cloud.mongodb.com",
            actor="mdb_sa_id_0",
            now="2026-11-25T00:00:00.000000Z",
            shard=None,
            organizations=(invitation(1, source=Source.INVITES).org_id,),
        )
    )
    for number in range(deletions):
        log.write(
            Planned.from_invitation(
                invitation(number, source=Source.INVITES), NOW, rule="forgotten"
            )
        )
    recorder, deleted = SweepRecorder(log, NOW), DeletionResult(Outcome.DELETED, 1, 204)
    for start in range(0, deletions, IN_FLIGHT):
        numbers = range(start, min(start + IN_FLIGHT, deletions))
        group = [
            PlannedDeletion(invitation(number, source=Source.INVITES), "forgotten")
            for number in numbers
        ]
        recorder.write_intents(group)
        for planned in group:
            recorder.write_outcome(planned, deleted, 12.5)
    log.write(RunFinished(exit_code=0))
    await log.close()


def verified_s(path: Path) -> tuple[float, float]:
    """Return the seconds of `audit verify`, and those of `sha256sum` and `wc` together."""
    read_s = _took_s(("sha256sum", str(path))) + _took_s(("wc", str(path)))
    return _took_s((*OURS, "audit", "verify", str(path))), read_s


def _took_s(command: Sequence[str]) -> float:
    started_s = time.perf_counter()
    subprocess.run(command, check=True, env=quiet_environment(), stdout=subprocess.DEVNULL)
    return time.perf_counter() - started_s
