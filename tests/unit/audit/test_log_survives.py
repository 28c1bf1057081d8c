"""The log after SIGKILL, and on a disk that is actually full."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from needs import MOUNT

from invite_sweeper.audit import LogPath, read_events
from invite_sweeper.audit.damage import Damage
from invite_sweeper.audit.verify import verify

KILLS = 100 if os.environ.get("INVITE_SWEEPER_SOAK") == "full" else 10

WRITE_UNTIL_KILLED = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import SourceRetired

def line(text):
    return SourceRetired(source="users", reason=text, http_status=410, error_code=None)

async def worker(log, start):
    for number in range(start, start + 100_000):
        log.write(line(f"{number} " + "x" * 300))
        await log.sync()
        print(number, flush=True)

async def main():
    path, run_id = Path(sys.argv[1]), sys.argv[2]
    log = AuditLog.open(path, run_id=run_id, clock=lambda: datetime.now(UTC))
    await asyncio.gather(*(worker(log, n * 1_000_000) for n in range(20)))

asyncio.run(main())
"""
WRITE_UNTIL_FULL = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from invite_sweeper.audit import AuditLog
from invite_sweeper.audit.events import SourceRetired

def line(text):
    return SourceRetired(source="users", reason=text, http_status=410, error_code=None)
from invite_sweeper.errors import AuditLogError

async def main():
    log = AuditLog.open(Path(sys.argv[1]), run_id=sys.argv[2], clock=lambda: datetime.now(UTC))
    for number in range(10_000):
        log.write(line(f"{number}"))
        await log.sync()
        print(number, flush=True)

try:
    asyncio.run(main())
except AuditLogError as failure:
    print(failure, file=sys.stderr)
    sys.exit(failure.exit_code)
"""


def synced_numbers(output: str) -> set[int]:
    """Return the numbers printed after their sync. The last printed line may be incomplete."""
    return {int(line) for line in output.splitlines(keepends=True) if line.endswith("\n")}


@pytest.mark.slow
def test_every_synced_line_is_in_the_log_after_a_kill_at_any_time(tmp_path):
    path, random = tmp_path / "log.jsonl", Random(7)
    synced = set()
    for kill in range(KILLS):
        command = [sys.executable, "-c", WRITE_UNTIL_KILLED, str(path), f"run-{kill}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
            synced = synced_numbers(
                "".join(process.stdout.readline() for _ in range(random.randrange(1, 400)))
            )
            process.kill()
            synced |= synced_numbers(process.stdout.read())
        lines = read_events([path])
        written = {
            int(line.event.reason.split()[0]) for line in lines if line.run_id == f"run-{kill}"
        }
        assert synced
        assert synced <= written
    error = verify([path]).error
    assert error is None or error.kind == Damage.UNFINISHED
    assert error is None or error.position.line == len(path.read_bytes().splitlines())


@pytest.fixture
def run_in_namespace():
    """Return a function that runs a shell script in a mount namespace."""

    def run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
        command = [*MOUNT, script, "sh", *args]
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", check=False, timeout=60
        )

    return run


@pytest.mark.needs("mount")
@pytest.mark.parametrize("size_kib", [8, 12, 20, 64])
def test_full_disk_exits_7_and_leaves_a_readable_log(run_in_namespace, tmp_path, size_kib):
    (tmp_path / "disk").mkdir()
    (tmp_path / "fill.py").write_text(WRITE_UNTIL_FULL, encoding="utf-8")
    script = f"""
        cd {tmp_path}
        mount -t tmpfs -o size={size_kib}k,mode=0700 none disk
        code=0; {shlex.quote(sys.executable)} fill.py disk/log.jsonl one || code=$?
        again=0; {shlex.quote(sys.executable)} fill.py disk/log.jsonl two >/dev/null || again=$?
        cp disk/* .
        echo $code $again >codes
    """
    result = run_in_namespace(script)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "codes").read_text(encoding="utf-8") == "7 7\n"
    assert "No space left on device" in result.stderr
    log = tmp_path / "log.jsonl"
    synced = synced_numbers(result.stdout)
    assert synced <= {int(r.event.reason) for r in read_events([log]) if r.run_id == "one"}
    assert synced == set(range(len(synced)))
    assert log.read_bytes().endswith(b"\n")
    assert log.stat().st_size <= size_kib * 1024
    assert LogPath(str(log)).files() == (log,)
    assert not list(tmp_path.glob("*.torn*"))
    error = verify([log]).error
    assert error.kind == Damage.UNFINISHED
    assert "has no end" in error.message


@pytest.mark.needs("mount")
def test_read_only_disk_exits_7(run_in_namespace, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "fill.py").write_text(WRITE_UNTIL_FULL, encoding="utf-8")
    script = f"""
        cd {tmp_path}
        mount -t tmpfs -o size=64k,ro none disk
        code=0; {shlex.quote(sys.executable)} fill.py disk/log.jsonl one || code=$?
        echo $code >codes
    """
    result = run_in_namespace(script)
    assert (tmp_path / "codes").read_text(encoding="utf-8") == "7\n", result.stderr
    assert "Read-only file system" in result.stderr
    assert result.stdout == ""
    assert list(Path(tmp_path / "disk").iterdir()) == []
