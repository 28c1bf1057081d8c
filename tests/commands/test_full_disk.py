"""A log that cannot be written: no deletion without an intent on disk, exit 7, a readable log."""

import shutil
import subprocess

import pytest
from running import COMMAND, Done, wait_until

needs_mount = pytest.mark.needs("root", "mount")  # a disk of a fixed size


def sweep_on_small_disk(cli, size_bytes):
    """Sweep with the audit directory on a separate tmpfs, and copy its files from it."""
    cli.write_policy()
    small = cli.folder / "small"
    small.mkdir(exist_ok=True)
    script = (
        f"mount -t tmpfs -o size={size_bytes},mode=700 tmpfs {small} && "
        f'"$@"; code=$?; cp -a {small}/. {cli.folder}/saved/; exit $code'
    )
    (cli.folder / "saved").mkdir(exist_ok=True)
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
            *COMMAND,
            "sweep",
            "--policy",
            "policy.yaml",
            "--output",
            "json",
            "--audit-dir",
            str(small),
        ],
        cwd=cli.folder,
        env=cli.environment,
        capture_output=True,
        check=False,
        timeout=120,
    )
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@needs_mount
@pytest.mark.parametrize("kib", [4, 16, 32, 64, 128, 192], ids=lambda k: f"{k} KiB")
def test_full_disk_at_any_stage_sends_nothing_without_an_intent_on_disk(cli, kib):
    cli.stock(stale=120)
    done = sweep_on_small_disk(cli, kib * 1024)
    saved = list((cli.folder / "saved").glob("*.jsonl"))
    lines = saved[0].read_bytes() if saved else b""
    intents = {
        part.split(b'"', 1)[0].decode()
        for line in lines.split(b"\n")
        if b'"event":"intent"' in line
        for part in line.split(b'"invitation_id":"')[1:]
    }
    assert done.code in {0, 7}, done.err
    assert set(cli.sim.deleted) <= intents
    assert lines == b"" or lines.endswith(b"\n")
    if done.code == 7:
        assert "cannot be" in done.err
    if done.code == 0:
        assert len(cli.sim.deleted) == 120


@needs_mount
def test_disk_that_fills_up_during_deletions_ends_with_7_and_counts_them(cli):
    cli.stock(stale=400)
    done = sweep_on_small_disk(cli, 300 * 1024)
    assert done.code == 7
    assert 0 < len(cli.sim.deleted) < 400
    assert done.summary["deleted"] == len(cli.sim.deleted)
    assert done.summary["exit_code"] == 7
    assert f"{len(cli.sim.deleted)} invitations had been deleted" in done.err


def test_removed_log_stops_the_sweep_with_7(cli):
    cli.stock(stale=200)
    cli.keys["execution"] = {"concurrency": 2}
    cli.sim.faults.set_latency(0.02)
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: cli.deletes() >= 10)
    moved = cli.log_path.rename(cli.folder / "moved.jsonl")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 7, err
    intents = moved.read_bytes().count(b'"event":"intent"')
    assert len(cli.sim.deleted) <= intents
    assert len(cli.sim.deleted) < 200


def test_read_only_audit_directory_sends_nothing(cli):
    cli.stock(stale=2)
    cli.audit_dir.mkdir(mode=0o700)

    def change(flag):
        return shutil.which("chattr") and subprocess.run(
            ["chattr", flag, str(cli.audit_dir)], check=False, capture_output=True
        )

    flagged = change("+i")
    if not flagged or flagged.returncode:
        pytest.skip("an immutable directory needs root, chattr and a file system that knows it")
    try:
        done = cli.sweep()
    finally:
        change("-i")
    assert (done.code, cli.deletes(), list(cli.sim.requests)) == (7, 0, [])
