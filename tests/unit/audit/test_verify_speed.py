"""Speed of `verify` relative to `sha256sum` plus `wc` on the same file, and its memory use."""

import os
import subprocess
import sys
import time

import pytest
from audit.written_logs import answer, event, fields_of, opened
from builders import invitation

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
    fields = [fields_of(invitation(number)) for number in range(deletions)]
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


def seconds(*command: str) -> tuple[float, str]:
    # Coverage measurement in the subprocess would dominate the time.
    env = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=env)
    return time.perf_counter() - start, done.stdout


@pytest.mark.benchmark
async def test_verifying_a_million_lines_takes_at_most_3_times_sha256sum_plus_wc(tmp_path):
    path = tmp_path / "log.jsonl"
    lines = await write_log(path, 333_333)
    rounds = []
    for _ in range(3):
        reading = seconds("sha256sum", str(path))[0] + seconds("wc", str(path))[0]
        verifying, output = seconds(sys.executable, "-c", VERIFY, str(path))
        assert output.split()[0] == str(lines)
        rounds.append(verifying / reading)
    print(f"verify / (sha256sum + wc): {min(rounds):.2f}", file=sys.stderr)  # noqa: T201  result
    assert min(rounds) <= 3


@pytest.mark.slow
async def test_memory_does_not_grow_with_the_size_of_the_log(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    await write_log(small, 300)
    await write_log(large, 40_000)
    kib = [int(seconds(sys.executable, "-c", VERIFY, str(p))[1].split()[1]) for p in (small, large)]
    assert large.stat().st_size > 50 << 20
    assert kib[1] - kib[0] < 8 << 10
