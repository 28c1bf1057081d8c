"""The audit directory: names, `HEAD`, the lock, and what a run refuses to continue."""

import errno
import gzip
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from audit.faults import fail
from audit.runs import clock, deletion, write_run
from builders import NOW

from invite_sweeper.audit import AuditDirectory, AuditLog, Head, RunFile, Verdict, verify_directory
from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.reader import DamagedFile
from invite_sweeper.endings import ExitCode, Reason, WarningLevel
from invite_sweeper.errors import AuditLogError, DamagedLog, LockHeld, UsageError


def names(directory: AuditDirectory) -> list[str]:
    return [file.path.name for file in directory.files()]


def last_hash(path: Path) -> str:
    return line_hash(path.read_bytes().splitlines()[-1])


def contents(directory: AuditDirectory) -> dict[str, bytes]:
    return {
        each.name: b"link" if each.is_symlink() else each.read_bytes()
        for each in directory.path.iterdir()
    }


def refusal(directory: AuditDirectory) -> DamagedLog:
    """Return why the next run is refused; nothing is created or changed."""
    before = contents(directory)
    with pytest.raises(DamagedLog) as caught:
        AuditLog.begin(directory, "next", clock=clock())
    assert contents(directory) == before
    assert (caught.value.exit_code, caught.value.reasons) == (
        ExitCode.REFUSED,
        (Reason.EARLIER_RUNS,),
    )
    return caught.value


class TestNames:
    def test_files_are_numbered_in_the_order_in_which_runs_began(self, directory):
        for run_id in ("zebra", "ape", "bee"):
            write_run(directory, run_id)
        assert names(directory) == ["000001-zebra.jsonl", "000002-ape.jsonl", "000003-bee.jsonl"]

    def test_numbers_go_on_where_the_oldest_files_were_removed(self, directory):
        for run_id in ("r1", "r2", "r3"):
            write_run(directory, run_id)
        (directory.path / "000001-r1.jsonl").unlink()
        write_run(directory, "r4")
        assert names(directory) == ["000002-r2.jsonl", "000003-r3.jsonl", "000004-r4.jsonl"]
        assert verify_directory(directory).verdict is Verdict.SOUND
        assert verify_directory(directory).first_number == 2

    def test_numbers_of_seven_digits_are_after_those_of_six(self, directory):
        path = write_run(directory, "a")
        last = path.rename(path.with_name("999999-a.jsonl"))
        directory.write_head(Head(999_999, last.name, last_hash(last), ended=True))
        write_run(directory, "b")
        assert names(directory) == ["999999-a.jsonl", "1000000-b.jsonl"]
        assert verify_directory(directory).verdict is Verdict.SOUND

    def test_other_files_are_left_alone(self, directory):
        path = write_run(directory, "r1")
        for name in ("notes.txt", "000001-r1.jsonl.sig", "1-r.jsonl", ".000002-r.jsonl.partial"):
            (directory.path / name).touch()
        assert names(directory) == [path.name]

    def test_a_run_is_found_by_number_id_and_path(self, directory, tmp_path):
        path = write_run(directory, "0123abcd")
        copied = tmp_path / "plan.jsonl"
        copied.write_bytes(path.read_bytes())
        expected = RunFile(1, "0123abcd", path)
        assert [directory.find(each) for each in ("1", "000001", "0123abcd", str(path))] == [
            expected
        ] * 4
        assert directory.find(str(copied)) == RunFile(0, "", copied)
        with pytest.raises(UsageError, match="has no run 2"):
            directory.find("2")

    def test_while_gzip_works_the_whole_file_counts(self, directory):
        path = write_run(directory, "r1")
        path.with_name(f"{path.name}.gz").write_bytes(b"\x1f\x8bhalf")
        assert names(directory) == [path.name]

    def test_a_missing_directory_has_no_files_and_a_file_is_not_one(self, directory, tmp_path):
        assert directory.files() == ()
        (tmp_path / "file").touch()
        with pytest.raises(UsageError, match="Not a directory"):
            AuditDirectory(tmp_path / "file").files()


class TestCreation:
    def test_only_the_owner_can_read_files_and_directories(self, directory):
        inner = AuditDirectory(directory.path / "deep" / "er")
        with inner.lock(run_id="r1", now=NOW, command="sweep"):
            path = write_run(inner, "r1")
        modes = {
            stat.S_IMODE(each.stat().st_mode)
            for each in (path, inner.path / "HEAD", inner.path / "lock")
        }
        assert modes == {0o600}
        assert stat.S_IMODE(inner.path.stat().st_mode) == 0o700
        assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700

    def test_a_symbolic_link_is_not_the_directory(self, directory, tmp_path):
        (tmp_path / "real").mkdir()
        directory.path.symlink_to(tmp_path / "real")
        with pytest.raises(AuditLogError, match="is a symbolic link"):
            write_run(directory, "r1")
        assert list((tmp_path / "real").iterdir()) == []

    def test_a_directory_that_everybody_can_write_to_is_not_safe(self, directory):
        directory.path.mkdir()
        directory.path.chmod(0o777)
        with pytest.raises(AuditLogError, match="Every user can write"):
            write_run(directory, "r1")

    def test_a_directory_with_the_sticky_bit_is_safe(self, directory):
        directory.path.mkdir()
        directory.path.chmod(0o1777)
        write_run(directory, "r1")

    @pytest.mark.parametrize("name", ["HEAD", "000001-r1.jsonl"])
    def test_a_file_that_everybody_can_write_to_is_not_continued(self, directory, name):
        write_run(directory, "r1")
        (directory.path / name).chmod(0o666)
        with pytest.raises(AuditLogError, match=f"Every user can write to .*{name}"):
            write_run(directory, "r2")

    @pytest.mark.parametrize("name", ["HEAD", "000001-r1.jsonl"])
    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_file_of_another_user_is_not_continued(self, directory, name, monkeypatch):
        write_run(directory, "r1")
        os.chown(directory.path / name, 12_345, -1)
        with pytest.raises(AuditLogError, match="belongs to another user"):
            write_run(directory, "r2")
        monkeypatch.setattr(os, "geteuid", lambda: 12_345)  # its own, and the rest of root
        write_run(directory, "r2")

    def test_a_file_that_its_group_can_write_to_is_continued(self, directory):
        path = write_run(directory, "r1")  # as Kubernetes leaves it on a volume with an fsGroup
        path.chmod(0o660)
        write_run(directory, "r2")

    def test_a_link_with_the_name_of_the_next_file_is_not_followed(self, directory, tmp_path):
        write_run(directory, "r1")
        (directory.path / "000002-r2.jsonl").symlink_to(tmp_path / "elsewhere")
        assert "000002-r2.jsonl cannot be read" in refusal(directory).message
        assert not (tmp_path / "elsewhere").exists()

    @pytest.mark.parametrize("name", ["write", "fsync"])
    def test_a_full_disk_leaves_no_file_behind(self, directory, monkeypatch, name):
        write_run(directory, "r1")
        with monkeypatch.context() as patch:
            fail(patch, name, errno.ENOSPC)
            with pytest.raises(AuditLogError, match="No space left"):
                AuditLog.begin(directory, "r2", clock=clock())
        assert names(directory) == ["000001-r1.jsonl"]
        write_run(directory, "r2")
        assert verify_directory(directory).verdict is Verdict.SOUND


class TestHead:
    def test_it_names_the_last_run_and_its_last_line(self, directory):
        path = write_run(directory, "r1", *deletion())
        assert directory.read_head() == Head(1, path.name, last_hash(path), ended=True)

    def test_before_the_end_it_names_the_line_that_the_run_continues(self, directory):
        first = write_run(directory, "r1")
        second = write_run(directory, "r2", *deletion(), killed=True)
        assert directory.read_head() == Head(2, second.name, last_hash(first), ended=False)

    def test_the_first_run_says_that_none_is_known(self, directory):
        log = AuditLog.begin(directory, "r1", clock=clock())
        (warning,) = log.warnings
        assert "No earlier run is known" in warning.message
        assert warning.level == WarningLevel.REMARK
        assert directory.warnings() == ()

    def test_a_run_continues_the_last_line(self, directory):
        path = write_run(directory, "r1", *deletion())
        assert directory.next_run() == (2, last_hash(path))

    def test_a_run_continues_the_last_whole_line_of_a_killed_one(self, directory):
        path = write_run(directory, "r1", *deletion(), killed=True)
        whole = last_hash(path)
        for rest in (b'{"ts":"2026-', b"{", b"\0" * 100, b'{"ts":"2' + b"\0" * 100):
            with path.open("ab") as file:
                file.write(rest)
            assert directory.next_run().prev == whole
            os.truncate(path, path.stat().st_size - len(rest))
        with path.open("ab") as file:
            file.write(b'{"ts":"2026-')
        content = path.read_bytes()
        write_run(directory, "r2")
        assert path.read_bytes() == content
        assert verify_directory(directory).verdict is Verdict.SOUND

    def test_where_its_file_is_gone_the_chain_goes_on_and_every_run_says_so(self, directory):
        write_run(directory, "r1")
        path = write_run(directory, "r2")
        end = last_hash(path)
        path.unlink()
        (warning,) = directory.warnings()
        assert path.name in warning.message
        assert warning.level == WarningLevel.WARNING  # shown with -q, too
        third = write_run(directory, "r3")
        assert third.name == "000003-r3.jsonl"
        assert f'"prev":"{end}"' in third.read_text()
        assert directory.warnings() == ()
        assert "000002 is missing" in verify_directory(directory).damage

    def test_where_all_files_are_gone_the_chain_goes_on(self, directory):
        end = last_hash(write_run(directory, "r1"))
        (directory.path / "000001-r1.jsonl").unlink()
        path = write_run(directory, "r2")
        assert f'"prev":"{end}"' in path.read_text()
        assert verify_directory(directory).first_number == 2

    def test_where_it_is_gone_it_is_made_from_the_newest_file_and_said(self, directory):
        write_run(directory, "r1")
        path = write_run(directory, "r2")
        (directory.path / "HEAD").unlink()
        (warning,) = directory.warnings()
        assert directory.next_run() == (3, last_hash(path))
        assert "HEAD is missing" in warning.message
        assert warning.level == WarningLevel.WARNING
        write_run(directory, "r3")
        assert verify_directory(directory).verdict is Verdict.SOUND

    @pytest.mark.parametrize("content", [b"", b"{}", b"[" * 9_999, b"\xff", b'{"number":1}'])
    def test_one_that_cannot_be_read_is_refused(self, directory, content):
        write_run(directory, "r1")
        (directory.path / "HEAD").write_bytes(content)
        assert "HEAD cannot be read" in refusal(directory).message

    def test_a_link_in_its_place_is_refused(self, directory, tmp_path):
        write_run(directory, "r1")
        (directory.path / "HEAD").rename(tmp_path / "HEAD")
        (directory.path / "HEAD").symlink_to(tmp_path / "HEAD")
        assert "HEAD cannot be read" in refusal(directory).message

    def test_an_old_one_is_refused_until_it_is_deleted(self, directory):
        write_run(directory, "r1")
        old = (directory.path / "HEAD").read_bytes()
        write_run(directory, "r2")
        (directory.path / "HEAD").write_bytes(old)
        error = refusal(directory)
        assert "000002-r2.jsonl is not known" in error.message
        assert "delete it" in error.hint
        (directory.path / "HEAD").unlink()
        write_run(directory, "r3")
        assert verify_directory(directory).verdict is Verdict.SOUND


class TestLastFile:
    """A last file that is not as its run left it."""

    @pytest.mark.parametrize("lines", range(5))
    def test_one_that_was_cut_is_refused(self, directory, lines):
        path = write_run(directory, "r1", *deletion())
        whole = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(whole[:lines]))
        assert "was cut or changed" in refusal(directory).message

    def test_one_that_lost_its_last_newline_is_refused(self, directory):
        path = write_run(directory, "r1", *deletion())
        os.truncate(path, path.stat().st_size - 1)
        assert "was cut or changed" in refusal(directory).message

    @pytest.mark.parametrize("added", [b" ", b"\n", b"\0", b"{}\n", b'{"ts":"2'])
    def test_one_that_was_lengthened_after_its_end_is_refused(self, directory, added):
        path = write_run(directory, "r1", *deletion())
        with path.open("ab") as file:
            file.write(added)
        assert "line 6 " in refusal(directory).message

    def test_one_with_a_second_end_is_refused(self, directory):
        path = write_run(directory, "r1", *deletion())
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines, lines[-1]]))
        assert "line 6 was added after the end" in refusal(directory).message

    @pytest.mark.parametrize("line", range(1, 6))
    def test_one_with_a_changed_line_is_refused(self, directory, line):
        path = write_run(directory, "r1", *deletion())
        lines = path.read_bytes().splitlines(keepends=True)
        lines[line - 1] = lines[line - 1].replace(b"2026-11-25", b"2026-11-26", 1)
        path.write_bytes(b"".join(lines))
        named = 5 if line == 5 else line + 1
        assert f"{path} line {named} " in refusal(directory).message

    def test_one_of_another_directory_is_refused(self, directory, tmp_path):
        path = write_run(directory, "r1", *deletion())
        other = write_run(AuditDirectory(tmp_path / "other"), "r1", *deletion(2))
        path.write_bytes(other.read_bytes())
        assert "was cut or changed" in refusal(directory).message

    def test_a_killed_one_that_was_exchanged_is_refused(self, directory, tmp_path):
        write_run(directory, "r1")
        path = write_run(directory, "r2", *deletion(), killed=True)
        other = write_run(AuditDirectory(tmp_path / "other"), "r2", *deletion(), killed=True)
        path.write_bytes(other.read_bytes())
        assert "was cut or changed" in refusal(directory).message

    @pytest.mark.parametrize("name", ["000001-x.jsonl", "000002-x.jsonl", "000009-x.jsonl.gz"])
    def test_a_file_that_head_does_not_know_is_refused(self, directory, name):
        path = write_run(directory, "r1", *deletion())
        (directory.path / name).write_bytes(path.read_bytes())
        assert f"{name} is not known" in refusal(directory).message

    def test_an_empty_file_above_head_is_what_a_kill_leaves(self, directory):
        write_run(directory, "r1")
        (directory.path / "000002-r2.jsonl").touch()
        path = write_run(directory, "r3")
        assert path.name == "000003-r3.jsonl"
        assert verify_directory(directory).verdict is Verdict.SOUND

    def test_a_compressed_file_is_continued(self, directory):
        path = write_run(directory, "r1", *deletion())
        end = last_hash(path)
        subprocess.run(["gzip", path], check=True)
        assert directory.next_run() == (2, end)
        write_run(directory, "r2")
        assert verify_directory(directory).verdict is Verdict.SOUND

    def test_a_compressed_file_that_was_cut_is_refused(self, directory):
        path = write_run(directory, "r1", *deletion())
        packed = path.with_name(f"{path.name}.gz")
        packed.write_bytes(gzip.compress(path.read_bytes())[:-9])
        path.unlink()
        assert isinstance(refusal(directory), DamagedFile)
        packed.write_bytes(b"")
        assert "is cut off" in refusal(directory).message

    def test_another_compression_says_so(self, directory):
        path = write_run(directory, "r1")
        path.rename(path.with_name(f"{path.name}.zst")).write_bytes(b"\x28\xb5\x2f\xfd")
        assert "only gzip can be decompressed" in refusal(directory).message

    def test_a_finished_file_is_never_opened_for_writing(self, directory, monkeypatch):
        path = write_run(directory, "r1", *deletion())
        opened = []
        real = os.open

        def watching(name: object, flags: int, *args: object, **options: object) -> int:
            if flags & (os.O_WRONLY | os.O_RDWR):
                opened.append(str(name))
            return real(name, flags, *args, **options)

        monkeypatch.setattr(os, "open", watching)
        with directory.lock(run_id="r2", now=NOW, command="sweep"):
            write_run(directory, "r2")
        assert opened
        assert str(path) not in opened


class TestLock:
    def test_a_second_run_is_told_which_run_holds_it_and_since_when(self, directory):
        with (
            directory.lock(run_id="r1", now=NOW, command="sweep --policy p.yaml"),
            pytest.raises(LockHeld) as caught,
            directory.lock(run_id="r2", now=NOW, command="plan"),
        ):
            pass
        assert "run r1, process" in caught.value.message
        assert "since 2026-11-25T01:00:00.000000Z (sweep --policy p.yaml)" in caught.value.message
        assert caught.value.exit_code is ExitCode.LOCKED

    def test_it_is_free_after_the_run(self, directory):
        for run_id in ("r1", "r2"):
            with directory.lock(run_id=run_id, now=NOW, command="sweep"):
                pass

    def test_it_is_free_after_a_kill(self, directory):
        program = (
            "import os, signal, sys\n"
            "from datetime import datetime, UTC\n"
            "from pathlib import Path\n"
            "from invite_sweeper.audit import AuditDirectory\n"
            "with AuditDirectory(Path(sys.argv[1])).lock(\n"
            "    run_id='r1', now=datetime(2026, 1, 1, tzinfo=UTC), command='sweep'\n"
            "):\n"
            "    print('held', flush=True)\n"
            "    sys.stdin.read()\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, directory.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(LockHeld), directory.lock(run_id="r2", now=NOW, command="x"):
                pass
            holder.kill()
        with directory.lock(run_id="r2", now=NOW, command="sweep"):
            pass

    def test_a_link_in_its_place_is_not_followed(self, directory, tmp_path):
        directory.path.mkdir()
        (directory.path / "lock").symlink_to(tmp_path / "victim")
        with (
            pytest.raises(AuditLogError, match="is a symbolic link"),
            directory.lock(run_id="r1", now=NOW, command="sweep"),
        ):
            pass
        assert not (tmp_path / "victim").exists()

    def test_a_full_disk_does_not_prevent_it(self, directory, monkeypatch):
        directory.path.mkdir(mode=0o700)
        fail(monkeypatch, "write", errno.ENOSPC)
        with (
            directory.lock(run_id="r1", now=NOW, command="sweep"),
            pytest.raises(LockHeld, match="unknown"),
            directory.lock(run_id="r2", now=NOW, command="x"),
        ):
            pass
