"""The audit directory: names, `HEAD`, the lock, and what a run refuses to continue."""

import os
import shlex
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from audit.runs import clock, deletion, write_run
from builders import NOW

from invite_sweeper.audit import AuditDirectory, AuditLog, RunFile, Verdict, verify_directory
from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.reader import Head
from invite_sweeper.endings import WarningLevel
from invite_sweeper.errors import AuditLogError, DamagedLog, LockHeld, UsageError

FIRST = "000001-r1.jsonl"
SECOND = "000002-r2.jsonl"


def names(directory: AuditDirectory) -> list[str]:
    return [file.path.name for file in directory.files()]


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Return a folder that every user can reach; `tmp_path` is private."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def as_user(uid: int) -> Iterator[None]:
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def hold(directory: AuditDirectory, run_id: str = "r1") -> AbstractContextManager[object]:
    return directory.lock.hold(run_id=run_id, now=NOW, command="sweep --policy p.yaml")


def last_hash(path: Path) -> str:
    return line_hash(path.read_bytes().splitlines()[-1])


class TestNames:
    def test_files_are_numbered_in_the_order_in_which_runs_began(self, directory):
        for run_id in ("zebra", "ape", "bee"):
            write_run(directory, run_id)
        assert names(directory) == ["000001-zebra.jsonl", "000002-ape.jsonl", "000003-bee.jsonl"]
        (directory.path / "000001-zebra.jsonl").unlink()
        assert write_run(directory, "r4").name == "000004-r4.jsonl"

    def test_other_files_are_left_alone_as_is_what_gzip_writes(self, directory):
        path = write_run(directory, "r1")
        other = ("notes.txt", f"{FIRST}.sig", "1-r.jsonl", f".{SECOND}.partial", f"{FIRST}.gz")
        for name in (*other, f"{SECOND}.zst"):  # of a run that is missing then
            (directory.path / name).touch()
        assert names(directory) == [path.name]

    def test_a_run_is_found_by_number_id_and_path(self, directory, tmp_path):
        path = write_run(directory, "0123abcd")
        copied = tmp_path / "plan.jsonl"
        copied.write_bytes(path.read_bytes())
        found = {directory.find(each) for each in ("1", "000001", "0123abcd", str(path))}
        assert found == {RunFile(1, "0123abcd", path)}
        assert directory.find(str(copied)) == RunFile(0, "", copied)
        with pytest.raises(UsageError, match="has no run 2"):
            directory.find("2")


class TestAccess:
    def test_only_the_owner_can_read_files_and_directories(self, directory):
        inner = AuditDirectory(directory.path / "deep" / "er")
        with hold(inner):
            write_run(inner, "r1")
        for each in (*inner.path.iterdir(), inner.path, directory.path):
            assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600)

    @pytest.mark.parametrize(
        ("name", "mode", "message"),
        [
            ("", 0o777, "Every user can write"),
            ("", 0o1777, None),
            ("HEAD", 0o666, "Every user can write to .*HEAD"),
            (FIRST, 0o666, f"Every user can write to .*{FIRST}"),
            (FIRST, 0o660, None),  # as Kubernetes leaves it on a volume with an fsGroup
        ],
    )
    def test_what_others_can_write_to_is_not_continued(self, directory, name, mode, message):
        write_run(directory, "r1")
        (directory.path / name).chmod(mode)
        if message is None:
            directory.check()
            write_run(directory, "r2")
            return
        for begin in (directory.check, lambda: write_run(directory, "r2")):
            with pytest.raises(AuditLogError, match=message):
                begin()

    @pytest.mark.parametrize("name", ["HEAD", FIRST])
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_is_not_continued(self, directory, name, monkeypatch):
        write_run(directory, "r1")
        os.chown(directory.path / name, 12_345, -1)
        with pytest.raises(
            AuditLogError, match=f"{name} belongs to 12345, and this run is of root"
        ):
            write_run(directory, "r2")
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)  # its own, and the rest of root
        write_run(directory, "r2")

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
    @pytest.mark.parametrize("owned", ["audit", "audit/lock", "above"])
    def test_the_hint_for_a_directory_of_another_user_repairs_it(self, shared_folder, owned):
        """The command of the hint is run as it is."""
        directory = AuditDirectory(shared_folder / "my audit" / "audit")
        directory.path.parent.mkdir(mode=0o755)
        if owned != "above":
            write_run(directory, "r1")
            (directory.path / "lock").touch(0o600)
        if owned == "audit/lock":
            os.chown(directory.path, 12_345, -1)

        with as_user(12_345), pytest.raises(AuditLogError) as caught, hold(directory):
            pass
        named = {"audit": directory.path, "audit/lock": directory.path / "lock"}
        path = named.get(owned, directory.path.parent)
        assert caught.value.message == f"{path} belongs to root, and this run is of 12345."
        sudo, *repair = shlex.split(caught.value.command)
        assert (sudo, repair[-1]) == ("sudo", str(directory.path))
        subprocess.run(repair, check=True)
        with as_user(12_345), hold(directory):
            pass

    def test_links_are_not_followed(self, directory, tmp_path):
        (tmp_path / "real").mkdir()
        directory.path.symlink_to(tmp_path / "real")
        with pytest.raises(AuditLogError, match="is a symbolic link"):
            write_run(directory, "r1")
        directory.path.unlink()
        directory.path.mkdir(mode=0o700)
        (directory.path / "lock").symlink_to(tmp_path / "real" / "lock")
        with pytest.raises(AuditLogError, match="is a symbolic link"), hold(directory):
            pass
        (directory.path / FIRST).symlink_to(tmp_path / "real" / "file")
        with pytest.raises(DamagedLog, match=f"{FIRST} cannot be read"):
            write_run(directory, "r1")
        (tmp_path / "real" / "file").touch()
        with pytest.raises(AuditLogError, match="is not a regular file"):
            write_run(directory, "r1")
        (directory.path / FIRST).unlink()
        write_run(directory, "r1")
        (directory.path / "HEAD").rename(tmp_path / "real" / "HEAD")
        (directory.path / "HEAD").symlink_to(tmp_path / "real" / "HEAD")
        with pytest.raises(DamagedLog, match="HEAD cannot be read: it is a symbolic link"):
            write_run(directory, "r2")
        assert sorted(each.name for each in (tmp_path / "real").iterdir()) == ["HEAD", "file"]


class TestNextRun:
    """Where the next run goes on, and what it says of earlier ones."""

    def test_the_first_run_warns_that_none_is_known(self, directory):
        (warning,) = directory.warnings()
        assert warning.level == WarningLevel.REMARK
        assert "No earlier run is known" in warning.message
        log = AuditLog(directory, "r1", clock=clock())
        assert len(log.warnings) == 1
        assert directory.warnings() == ()

    def test_head_names_the_last_line_or_the_one_that_a_run_continues(self, directory):
        first = write_run(directory, "r1", *deletion())
        assert directory.read_head() == Head(1, first.name, last_hash(first), ended=True)
        assert directory.next_run() == (2, last_hash(first))
        second = write_run(directory, "r2", *deletion(), killed=True)
        assert directory.read_head() == Head(2, second.name, last_hash(first), ended=False)
        assert directory.next_run() == (3, last_hash(second))

    def test_where_head_is_gone_it_is_made_from_the_newest_file_with_a_warning(self, directory):
        write_run(directory, "r1")
        path = write_run(directory, "r2")
        (directory.path / "000003-killed.jsonl").touch()
        (directory.path / "HEAD").unlink()
        assert directory.next_run() == (4, last_hash(path))
        (warning,) = directory.warnings()
        assert warning.level == WarningLevel.WARNING
        assert "HEAD is missing" in warning.message
        write_run(directory, "r3")
        assert verify_directory(directory).verdict is Verdict.SOUND


def test_the_error_of_a_second_run_names_the_run_that_holds_the_lock_until_it_ends(directory):
    with hold(directory):
        for second in (hold(directory, "r2").__enter__, directory.check):
            with pytest.raises(LockHeld) as caught:
                second()
            assert "run r1, process" in caught.value.message
            since = "since 2026-11-25T01:00:00.000000Z (sweep --policy p.yaml)"
            assert since in caught.value.message
    with hold(directory, "r2"):
        pass
