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
from audit.runs import deletion, write_run
from deploy.manifests import DEPLOY, KUBERNETES, documents, night_of, overlaid

from invite_sweeper.audit import AuditDirectory, Verdict, verify_directory

SCRIPT = KUBERNETES / "components/archive/archive.sh"
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


def test_unit_runs_the_script_on_the_directory_of_the_night():
    nightly = (DEPLOY / "systemd/invite-sweeper.service").read_text(encoding="utf-8")
    unit = (DEPLOY / "systemd/invite-sweeper-archive.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=/bin/sh (.*)$", unit, re.MULTILINE)
    script, audit, target = line.split()
    assert Path(script).name == SCRIPT.name
    assert f"--audit-dir {audit} " in nightly
    assert f"\nReadWritePaths={target}\n" in unit


@pytest.mark.needs("kustomize")
@pytest.mark.parametrize("prefix", ["", "eu-"])
def test_component_adds_a_job_with_the_script_the_image_and_the_directory_of_the_night(
    prefix, tmp_path
):
    plain = documents(overlaid(tmp_path, namePrefix=prefix))
    found = documents(overlaid(tmp_path, "archive", namePrefix=prefix))
    added = {key: each for key, each in found.items() if key not in plain}
    night = night_of(plain)
    archive = night_of(added)
    assert {key: found[key] for key in plain} == plain
    assert {kind for kind, _ in added} == {"CronJob", "ConfigMap"}
    script = added["ConfigMap", f"{prefix}invite-sweeper-archive"]["data"]["archive.sh"]
    assert script == SCRIPT.read_text(encoding="utf-8")
    assert archive.box["image"] == night.box["image"]
    assert archive.pod["securityContext"] == night.pod["securityContext"]
    *_, audit, target = archive.box["command"]
    mounts = {each["mountPath"]: each["name"] for each in archive.box["volumeMounts"]}
    claims = {
        each["name"]: each["persistentVolumeClaim"]["claimName"]
        for each in archive.pod["volumes"]
        if "persistentVolumeClaim" in each
    }
    assert audit == night.options["audit-dir"]
    assert [claims[mounts[str(Path(path).parent)]] for path in (audit, target)] == [
        f"{prefix}invite-sweeper-audit",
        f"{prefix}invite-sweeper-archive",
    ]
