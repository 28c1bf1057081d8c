"""The shipped script archives and removes files of runs, and both directories stay sound."""

import fcntl
import gzip
import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from audit.runs import deletion, write_run
from deploy.manifests import DEPLOY, KUBERNETES, documents, overlaid

from invite_sweeper.audit import AuditDirectory, Verdict, verify_directory

SCRIPT = KUBERNETES / "components/archive/archive.sh"
UNIT = (DEPLOY / "systemd/invite-sweeper-archive.service").read_text(encoding="utf-8")
NOW = datetime.now(UTC)


def night(directory, days_ago, *events):
    at = NOW - timedelta(days=days_ago)
    name = f"{at:%Y%m%dT%H%M%SZ}-{len(directory.files()):08x}"
    return write_run(directory, name, *(events or deletion(days_ago + 1)), at=at)


@pytest.fixture(scope="module")
def forty_runs(tmp_path_factory):
    """The oldest 498 days ago: 20 are older than 400 days, by two days and more."""
    directory = AuditDirectory(tmp_path_factory.mktemp("forty") / "audit")
    for number in range(40):
        night(directory, 498 - 5 * number)
    (directory.path / "lock").touch()
    return directory.path


@pytest.fixture
def log(forty_runs, tmp_path):
    return AuditDirectory(shutil.copytree(forty_runs, tmp_path / "audit"))


@pytest.fixture
def archive(tmp_path):
    return AuditDirectory(tmp_path / "archive")


def archived(log, archive, code=0, **environment):
    done = subprocess.run(
        ["sh", SCRIPT, log.path, archive.path],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def contents(directory):
    """Return the bytes of each run's file by its number."""
    found = {}
    for file in directory.files():
        data = file.path.read_bytes()
        found[file.number] = gzip.decompress(data) if file.path.suffix == ".gz" else data
    return found


def test_old_files_are_removed_and_both_directories_are_sound(log, archive):
    before = contents(log)
    said = archived(log, archive, KEEP_RUNS="30")
    assert "40 copied" in said
    assert "39 compressed, 10 removed" in said
    assert contents(archive) == before
    assert contents(log) == {number: before[number] for number in range(11, 41)}
    assert [f.path.suffix for f in log.files()] == [".gz"] * 29 + [".jsonl"]
    for directory in (log, archive):
        assert verify_directory(directory).verdict is Verdict.SOUND
        files = [e for e in directory.path.rglob("*") if e.is_file() and e.name != "lock"]
        assert {e.stat().st_mode & 0o777 for e in files} == {0o600}
        assert not [e for e in files if "partial" in e.name]


def test_what_is_removed_is_older_than_keep_days_and_the_next_night_goes_on(log, archive):
    for number in range(20):
        night(log, 20 - number)
    archived(log, archive, KEEP_DAYS="400")
    days = [datetime.strptime(f.run_id[:8], "%Y%m%d").replace(tzinfo=UTC) for f in log.files()]
    assert len(days) == 40  # 20 of 60 are older than 400 days, and 30 stay in any case
    assert min(days) >= NOW - timedelta(days=401)
    assert "0 copied" in archived(log, archive)
    night(log, 0)
    assert "1 copied" in archived(log, archive)
    assert verify_directory(archive).verdict is Verdict.SOUND
    assert verify_directory(log).verdict is Verdict.SOUND
    assert len(contents(archive)) == 61


@pytest.mark.parametrize("keep", [{"KEEP_DAYS": "99"}, {"KEEP_RUNS": "29"}])
def test_a_time_shorter_than_runs_look_back_is_refused(log, archive, keep):
    before = sorted(log.path.iterdir())
    assert "a run reads so far back" in archived(log, archive, 2, **keep)
    assert sorted(log.path.iterdir()) == before


def test_nothing_is_removed_without_a_copy_of_the_same_bytes(log, archive):
    archived(log, archive, KEEP_DAYS="36500")
    copy = archive.files()[0].path
    copy.write_bytes(gzip.compress(b"other"))
    assert "is not a copy of" in archived(log, archive, 1)
    assert len(log.files()) == 40


def test_files_that_a_killed_gzip_left_are_compressed_and_copied_again(log, archive):
    first = log.files()[0]
    first.path.with_name(f"{first.name}.gz").write_bytes(b"\x1f\x8b")
    archive.path.mkdir()
    (archive.path / f".{first.name}.partial").write_bytes(b"\x1f\x8b")
    before = contents(log)
    archived(log, archive, KEEP_DAYS="36500")
    assert contents(log) == contents(archive) == before
    assert len(list(log.path.glob("000001-*"))) == 1


def test_no_file_is_touched_while_a_run_holds_the_lock(log, archive):
    with (log.path / "lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "A run is at work" in archived(log, archive, 9, LOCK_WAIT_S="0")
    assert not archive.path.exists()
    assert all(file.path.suffix == ".jsonl" for file in log.files())


def test_unit_and_job_run_the_script_on_the_directory_of_the_night(tmp_path):
    nightly = (DEPLOY / "systemd/invite-sweeper.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    program, script, audit, target = line.split()
    assert (program, Path(script).name) == ("/bin/sh", SCRIPT.name)
    assert f"--audit-dir {audit} " in nightly.replace("\\\n", " ").replace("  ", " ")
    assert f"\nReadWritePaths={target}\n" in UNIT
    job = yaml.safe_load((SCRIPT.parent / "cronjob.yaml").read_text(encoding="utf-8"))
    (box,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    night_job = (KUBERNETES / "base/cronjob.yaml").read_text(encoding="utf-8")
    assert f"--audit-dir={box['command'][2]}\n" in night_job


@pytest.mark.needs("kustomize")
def test_component_adds_a_job_with_the_script_and_the_image_of_the_overlay(tmp_path):
    plain = documents(overlaid(tmp_path))
    found = documents(overlaid(tmp_path, "archive"))
    added = {key: each for key, each in found.items() if key not in plain}
    assert {kind for kind, _ in added} == {"CronJob", "ConfigMap"}
    script = added["ConfigMap", "invite-sweeper-archive"]["data"]["archive.sh"]
    assert script == SCRIPT.read_text(encoding="utf-8")
    job = found["CronJob", "invite-sweeper-archive"]
    nightly = found["CronJob", "invite-sweeper"]
    pods = [each["spec"]["jobTemplate"]["spec"]["template"]["spec"] for each in (job, nightly)]
    assert pods[0]["containers"][0]["image"] == pods[1]["containers"][0]["image"]
    assert pods[0]["securityContext"] == pods[1]["securityContext"]
    assert {key: found[key] for key in plain} == plain
