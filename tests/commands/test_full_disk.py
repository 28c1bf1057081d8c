"""A log that cannot be written: no deletion without an intent on disk, exit 7, a readable log."""

import json
import subprocess
from contextlib import contextmanager

import faults
import pytest

needs_mount = pytest.mark.needs("root", "mount")  # a disk of a fixed size


@contextmanager
def small_disk(cli, size_bytes):
    """Mount a tmpfs of that size as the folder `small`."""
    small = cli.folder / "small"
    small.mkdir()
    options = f"size={size_bytes},mode=700"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", small], check=True)
    try:
        yield small
    finally:
        subprocess.run(["umount", small], check=True)


@needs_mount
@pytest.mark.parametrize("kib", [4, 64, 300], ids=["start", "plan", "deletions"])
def test_full_disk_ends_with_7_and_every_deletion_has_an_intent_and_is_counted(cli, kib):
    """It is full at the start of the run, while the plan is written, or during deletions."""
    cli.stock(stale=400)
    with small_disk(cli, kib * 1024) as small:
        done = cli.sweep("--audit-dir", "small")
        lines = b"".join(path.read_bytes() for path in small.glob("*.jsonl"))
    assert lines == b"" or lines.endswith(b"\n")
    events = list(map(json.loads, lines.splitlines()))
    intents = {each["invitation_id"] for each in events if each["event"] == "intent"}
    assert set(cli.sim.deleted) <= intents
    assert (done.code, "cannot be" in done.err) == (7, True)
    if kib == 4:
        assert (cli.deletes(), done.has_result) == (0, False)
        return
    deleted = done.summary["deleted"]
    assert deleted == len(cli.sim.deleted) < 400
    assert deleted + done.summary["skipped"] == len(done.summary["invitations"]) == 400
    if kib == 300:
        assert f"{deleted} invitations had been deleted" in done.err
        assert deleted > 0
    else:
        assert 0 < len(events) < 400
        assert done.summary["error"]["consequence"] == "Nothing was deleted."


def test_copy_of_the_plan_that_fails_after_the_run_is_reported_and_ends_with_7(cli):
    cli.stock(stale=2)
    folder = cli.folder / "copies"
    folder.mkdir()
    vanish = faults.effect(before=lambda _call: folder.rmdir())
    cli.sim.faults.add(vanish, method="GET", path="*/invites")
    done = cli.sweep("--out", "copies/plan.jsonl")
    assert (done.code, done.summary["exit_code"]) == (7, 7), done.err
    assert done.summary["error"]["message"].startswith("The plan was not copied to copies/plan")
    assert str(cli.log_path) in done.err
    assert done.summary["deleted"] == len(cli.sim.deleted) == 2


@needs_mount
@pytest.mark.parametrize(
    "words",
    [
        ("report", "--out", "small/report.html"),
        ("init", "small/first.yaml"),
        ("plan", "--out", "small/plan.jsonl"),
    ],
    ids=" ".join,
)
def test_full_disk_is_the_same_exit_code_in_each_command(cli, words):
    cli.stock(stale=1)
    cli.plan()
    with small_disk(cli, 4096) as small:
        (small / "filler").write_bytes(bytes(4096))
        done = cli.run(*words)
    assert done.code == 7, done.err
    assert "No space left on device" in done.err
