"""The memory that `verify` uses."""

import os
import subprocess
import sys

import pytest
from audit.written_logs import answer, event, fields_of, opened
from builders import invitation

from invite_sweeper.models import Source

VERIFY = """
import sys
from pathlib import Path
from invite_sweeper.audit.verify import verify
result = verify([Path(sys.argv[1])])
assert result.error is None, result.error
status = Path("/proc/self/status").read_text()
print(result.lines, status.split("VmHWM:")[1].split()[0])
"""


async def write_log(path, deletions: int) -> int:
    """Write a sweep with 50 deletions in flight and return its number of lines."""
    log = opened(path)
    log.write(event("run_started", mode="sweep"))
    fields = [fields_of(invitation(number, source=Source.INVITES)) for number in range(deletions)]
    for each in fields:
        log.write(event("planned", **each))
    for start in range(0, deletions, 50):
        for each in fields[start : start + 50]:
            log.write(event("intent", **each))
        for each in fields[start : start + 50]:
            log.write(event("outcome", **each, **answer()))
    log.write(event("run_finished", exit_code=0))
    await log.close()
    return 3 * deletions + 2


def peak_kib(path, lines: int) -> int:
    """Return the peak memory of a process that verifies a log."""
    # Coverage measurement in the subprocess would need memory, too.
    env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = (sys.executable, "-c", VERIFY, str(path))
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=env)
    verified, peak = map(int, done.stdout.split())
    assert verified == lines
    return peak


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_size_of_the_log(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    few = peak_kib(small, await write_log(small, 300))
    many = peak_kib(large, await write_log(large, 40_000))
    assert large.stat().st_size > 50 << 20
    assert many - few < 8 << 10
