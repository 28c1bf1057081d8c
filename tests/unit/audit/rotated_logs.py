"""Write logs of several files for tests: rotations, compressed files and kills."""

import gzip
import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from audit.written_logs import answer, event, fields_of, opened
from builders import invitation

from invite_sweeper.audit import LogPath
from invite_sweeper.audit.chain import add_checksum


async def write_finished_run(
    path: Path,
    run_id: str,
    *,
    deletions: int = 2,
    recovers: Iterable[tuple[str, int]] = (),
    log_path: LogPath | None = None,
    killed_after: int | None = None,
) -> str:
    """Append a run and return its last hash.

    Args:
        recovers: Intents of killed runs that it resolves, each with run ID and number.
        killed_after: The number of deletions after whose intent the run is killed.
    """
    log = opened(path, run_id, log_path=log_path)
    log.write(event("run_started", mode="sweep"))
    for killed, number in recovers:
        fields = fields_of(invitation(number)) | answer()
        log.write(event("outcome", **fields, recovered=True, recovers=killed))
    for number in range(deletions):
        log.write(event("intent", **fields_of(invitation(number))))
        if number == killed_after:
            await kill(log)
            return log.last_hash
        log.write(event("outcome", **fields_of(invitation(number)), **answer()))
    log.write(event("run_finished", exit_code=0, deleted=deletions))
    await log.close()
    return log.last_hash


async def kill(log) -> None:
    """Leave a log as a killed process does: lines on disk, the head not updated."""
    await log.sync()
    log._writer._executor.shutdown()
    log._file.close()


def rotate(path: Path, *, compress: bool = False) -> None:
    """Rename `log` to `log.1`, `log.1` to `log.2` and so on."""
    rotated = [each for each in path.parent.iterdir() if each.name.startswith(f"{path.name}.")]
    numbered = {}
    for each in rotated:
        number, *rest = each.name.removeprefix(f"{path.name}.").split(".")
        if number.isdecimal():
            numbered[int(number)] = (each, "".join(f".{part}" for part in rest))
    for number in sorted(numbered, reverse=True):
        each, suffix = numbered[number]
        each.rename(path.with_name(f"{path.name}.{number + 1}{suffix}"))
    newest = path.rename(path.with_name(f"{path.name}.1"))
    if compress:
        newest.with_name(f"{newest.name}.gz").write_bytes(gzip.compress(newest.read_bytes(), 1))
        newest.unlink()


def recomputed(lines: list[bytes], prev: str) -> list[bytes]:
    """Return the lines as a forger writes them: a correct chain."""
    forged: list[bytes] = []
    for line in lines:
        record = json.loads(line)
        record["prev"] = prev
        seal = record.pop("seal", None)
        data = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
        if seal is not None:
            data = add_checksum(data)
        forged.append(data + b"\n")
        prev = sha256(data).hexdigest()
    return forged
