"""A report of 300,000 audit lines: constant memory and a page of limited size.

`INVITE_SWEEPER_SOAK=full` writes a million lines.
"""

import hashlib
import os
import subprocess
import sys

import msgspec
import pytest
from report.logbook import BASE_URL, invitation

FULL = os.environ.get("INVITE_SWEEPER_SOAK") == "full"
FIRST, SECOND = (33_332, 300_000) if FULL else (9_998, 90_000)
LINES = 1_000_000 if FULL else 299_998
MEMORY_MIB = 200 if FULL else 130
"""Of which about 100 do not depend on the lines: a line may keep no 100 bytes."""
PAGE_MIB = 2
ANSWER = {"attempts": 1, "http_status": 204, "error_code": None, "duration_ms": 1.0}

MEASURE = """
import sys
from pathlib import Path
from invite_sweeper.report.html.rendering import write_report
write_report([Path(sys.argv[1])], Path(sys.argv[2]), "html", None)
status = Path("/proc/self/status").read_text()
print(status.split("VmHWM:")[1].split()[0])
"""
"""Prints the process's own peak memory: `ru_maxrss` includes that of its parent."""


def write_lines(path) -> None:
    """Write two sweeps whose invitations have planned, intent and outcome."""
    prev, seq = "0" * 64, 0

    def line(event: str, **fields) -> bytes:
        nonlocal prev, seq
        seq += 1
        header = {"ts": f"{day}T01:02:03.000001Z", "run_id": day, "seq": seq, "event": event}
        raw = msgspec.json.encode({**header, "prev": prev, **fields})
        prev = hashlib.sha256(raw).hexdigest()
        return raw + b"\n"

    def fields(number: int) -> dict[str, object]:
        return invitation(
            number,
            project_id=f"{number // 7:024x}",
            project_name=f"project {number // 7}",
            inviter=f"inviter-{number % 5000}@example.com",
            age_days=float(number % 500),
        )

    with path.open("wb") as stream:
        for day, count in (("2026-11-24", FIRST), ("2026-11-25", SECOND)):
            seq = 0
            start = {"mode": "sweep", "base_url": BASE_URL, "policy_path": "policy.yaml"}
            start |= {"tool_version": "1", "policy_sha256": "c" * 64, "actor": "token"}
            start |= {"organizations": ["b" * 24]}
            stream.write(line("run_started", now=f"{day}T01:02:03Z", shard=None, **start))
            stream.writelines(line("planned", **fields(number)) for number in range(count))
            for number in range(count):
                stream.write(line("intent", **fields(number)))
                stream.write(line("outcome", **fields(number), outcome="deleted", **ANSWER))
            totals = {"stale": count, "deleted": count, "projects_seen": 50_000, "plan_made": True}
            stream.write(line("run_finished", exit_code=0, **totals))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """The page of these lines, and the peak memory of the process that wrote it."""
    folder = tmp_path_factory.mktemp("large")
    log, page = folder / "audit.jsonl", folder / "report.html"
    write_lines(log)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, log, page],
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    with log.open("rb") as stream:
        lines = sum(1 for _ in stream)
    log.unlink()
    return page, lines, int(done.stdout) / 1024


@pytest.mark.slow
def test_report_of_many_lines_keeps_none_of_them_in_memory(large):
    _, lines, memory_mib = large
    assert lines == LINES
    assert memory_mib < MEMORY_MIB


@pytest.mark.slow
def test_page_of_many_lines_states_the_number_of_hidden_rows(large):
    page, _, _ = large
    html = page.read_text(encoding="utf-8")
    assert len(html) < PAGE_MIB << 20
    assert f"500 of {SECOND:,} rows are shown" in html
    assert f"{SECOND:,} of {SECOND:,} planned invitations were deleted." in html


@pytest.mark.slow
def test_page_of_many_lines_opens_in_less_than_3_seconds(large, chromium):
    page, _, _ = large
    with chromium.new_context() as context:
        tab = context.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        opened_ms = tab.evaluate(
            "new Promise(done => requestAnimationFrame(() => setTimeout(() => done("
            "performance.now()))))"
        )
    assert opened_ms < 3000
