"""The head of a log: a run continues the line before it, or refuses to begin a second history."""

import asyncio
import errno
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from audit.rotated_logs import kill, rotate, write_finished_run
from audit.written_logs import event, lines_of, opened, write_earlier_version, write_run
from builders import NOW

from invite_sweeper.audit import LinePosition, LogPath
from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.damage import Damage, VerificationError
from invite_sweeper.audit.files import read_head
from invite_sweeper.audit.head import ChainEnd, check_end, find_end
from invite_sweeper.audit.verify import verify
from invite_sweeper.endings import Reason
from invite_sweeper.errors import AuditLogError, GuardRefused, UsageError

FULL = os.environ.get("INVITE_SWEEPER_SOAK") == "full"
ZEROS = "0" * 64
STARTED = ("run_started", {"mode": "sweep"})
FINISHED = ("run_finished", {"exit_code": 0})


def prev_of_first_line(path) -> str:
    return json.loads(lines_of(path)[0])["prev"]


def head_of(path):
    return read_head(LogPath(str(path)).head_path)


NEW_LOG = "To start a new log instead, run with --new-log."


def refused(path, message, hint, **options):
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(GuardRefused) as failed:
        opened(path, "next", **options)
    error = failed.value
    assert (error.message, error.hint) == (message, f"{hint} {NEW_LOG}")
    assert (error.exit_code, error.reasons) == (3, (Reason.EARLIER_RUNS,))
    assert error.consequence == "Nothing was deleted."
    assert (path.read_bytes() if path.exists() else None) == before


def refused_as_changed(path, file, change):
    refused(
        path,
        f"The audit log {file} {change} what was written: lines were cut off or changed.",
        "Check it with `audit verify`, and restore it from a backup. To go on without it, move it "
        "away.",
    )


def refused_as_not_newest(path, newest):
    refused(
        path,
        f"The audit log {path} does not end with the lines that were written last.",
        f"They are in {newest}: move it back, and this file away.",
    )


def test_first_line_of_a_new_log_continues_64_zeros(path):
    write_run(path)
    assert prev_of_first_line(path) == ZEROS


@pytest.mark.parametrize("compress", [False, True])
def test_first_line_after_a_rotation_continues_the_rotated_file(path, compress):
    write_run(path, "run-1")
    last = lines_of(path)[-1]
    rotate(path, compress=compress)
    write_run(path, "run-2")
    assert prev_of_first_line(path) == line_hash(last)
    assert verify([path, *path.parent.glob("log.jsonl.1*")]).error is None


def test_first_line_continues_a_file_that_was_moved_elsewhere(path, tmp_path):
    write_run(path, "run-1")
    last = lines_of(path)[-1]
    path.unlink()
    write_run(path, "run-2")
    assert prev_of_first_line(path) == line_hash(last)
    (log,) = verify([path]).logs
    assert log.beginning == "begins after a file that is not here"


def test_head_has_the_lines_and_bytes_of_all_files(path):
    write_run(path, "run-1")
    size = path.stat().st_size
    rotate(path)
    write_run(path, "run-2")
    head = head_of(path)
    assert (head.lines, head.size) == (22, size + path.stat().st_size)
    assert (head.file_size, head.closed, head.run_id) == (path.stat().st_size, True, "run-2")
    assert head.last_hash == line_hash(lines_of(path)[-1])
    assert oct(LogPath(str(path)).head_path.stat().st_mode & 0o777) == "0o600"


def test_log_of_an_earlier_version_goes_on(path):
    write_earlier_version(path, "old", [STARTED, FINISHED])
    last = lines_of(path)[-1]
    write_run(path, "new")
    assert json.loads(lines_of(path)[2])["prev"] == line_hash(last)
    assert head_of(path).lines == 2 + 11
    assert verify([path]).error is None


def test_new_file_continues_the_rotated_file_of_an_earlier_version(path):
    write_earlier_version(path, "old", [STARTED, FINISHED])
    last = lines_of(path)[-1]
    rotate(path, compress=True)
    write_run(path, "new")
    assert prev_of_first_line(path) == line_hash(last)


def test_lost_head_is_rebuilt_from_the_newest_file(path):
    write_run(path, "run-1")
    rotate(path)
    write_run(path, "run-2")
    LogPath(str(path)).head_path.unlink()
    write_run(path, "run-3")
    assert head_of(path).lines == 33


def test_file_cut_at_a_line_end_is_refused(path):
    write_run(path)
    path.write_bytes(b"\n".join(lines_of(path)[:-1]) + b"\n")
    refused_as_changed(path, path, "is shorter than")


def test_rotated_file_cut_at_a_line_end_is_refused(path):
    write_run(path)
    rotate(path)
    rotated = path.with_name("log.jsonl.1")
    rotated.write_bytes(b"\n".join(lines_of(rotated)[:-1]) + b"\n")
    refused_as_changed(path, rotated, "is shorter than")


def test_rotated_file_that_cannot_be_read_is_refused_and_not_taken_for_missing(path):
    write_run(path)
    rotate(path, compress=True)
    (rotated,) = path.parent.glob("*.gz")
    rotated.write_bytes(rotated.read_bytes()[:-9])
    with pytest.raises(GuardRefused, match=f"{rotated} cannot be read: the compressed file is cut"):
        opened(path, "next")
    assert not path.exists()


def test_changed_last_line_is_refused(path):
    write_run(path)
    path.write_bytes(path.read_bytes().replace(b'"exit_code":0', b'"exit_code":4'))
    refused_as_changed(path, path, "differs from")


def test_another_file_in_place_of_the_log_is_refused(path):
    write_run(path, "run-1")
    path.unlink()
    write_earlier_version(path, "other", [STARTED, FINISHED])
    refused_as_not_newest(path, "log.jsonl")


async def test_earlier_file_in_place_of_the_newest_is_refused_without_a_head(path):
    for run_id in ("run-1", "run-2", "run-3"):
        if path.exists():
            rotate(path)
        await write_finished_run(path, run_id)
    LogPath(str(path)).head_path.unlink()
    path.rename(path.with_name("log.jsonl.3"))
    path.with_name("log.jsonl.2").rename(path)
    refused_as_not_newest(path, "log.jsonl.3")


async def test_missing_file_of_a_killed_run_is_refused_and_accepted_when_it_is_back(path):
    write_run(path, "run-1")
    log = opened(path, "killed")
    log.write(event("run_started"))
    await kill(log)
    away = path.rename(path.with_name("away"))
    for _ in ("no file", "empty file, as logrotate creates it"):
        refused(
            path,
            "Run killed was interrupted, and its audit log log.jsonl is missing.",
            "Move the file back, compressed or not, and run again.",
        )
        path.touch(mode=0o600)
    path.with_name("log.jsonl-20261126.gz").write_bytes(gzip.compress(away.read_bytes()))
    write_run(path, "run-2")
    assert prev_of_first_line(path) == line_hash(lines_of(away)[-1])


async def test_empty_file_of_a_killed_run_is_continued_and_its_absence_refused(path):
    await kill(opened(path, "killed"))
    assert check_end(LogPath(str(path)), path) == ""
    write_run(path, "run-1")
    assert prev_of_first_line(path) == ZEROS
    rotate(path)
    await kill(opened(path, "killed too"))
    path.unlink()
    with pytest.raises(GuardRefused):
        check_end(LogPath(str(path)), path)
    refused(
        path,
        "Run killed too was interrupted, and its audit log log.jsonl is missing.",
        "Move the file back, compressed or not, and run again.",
    )


async def test_empty_file_of_a_killed_run_may_be_rotated(path):
    write_run(path, "run-1")
    rotate(path)
    await kill(opened(path, "killed"))
    rotate(path)
    write_run(path, "run-2")
    files = [path, path.with_name("log.jsonl.1"), path.with_name("log.jsonl.2")]
    assert verify(files).error is None


def refused_head(path, reason):
    with pytest.raises(GuardRefused) as failed:
        opened(path, "next")
    error = failed.value
    assert error.message == f"The head of the audit log, {path.parent}/.log.jsonl.head, {reason}."
    assert error.reasons == (Reason.EARLIER_RUNS,)
    assert error.hint == (
        "Restore it from a backup. If the log's newest file is in its place, the head can be "
        "deleted."
    )


def test_head_that_is_not_readable_is_refused(path):
    write_run(path)
    head_path = LogPath(str(path)).head_path
    other_version = head_path.read_bytes().replace(b'"version":1', b'"version":2')
    for data in (b"", b"[]", b"{}", b'{"version":1}', b'{"version":2}', other_version):
        head_path.write_bytes(data)
        refused_head(path, "cannot be read: it is not a head file")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "Is a directory"),
        (os.mkfifo, "it is not a regular file"),
        (lambda path: path.symlink_to("nothing"), "it is a symbolic link"),
        (lambda path: path.symlink_to(path), "it is a symbolic link"),
    ],
    ids=["directory", "FIFO", "dangling link", "link to itself"],
)
def test_head_that_is_not_a_regular_file_is_refused(path, make, reason):
    write_run(path)
    head_path = LogPath(str(path)).head_path
    head_path.unlink()
    make(head_path)
    refused_head(path, f"cannot be read: {reason}")
    assert not path.with_name("nothing").exists()


@pytest.mark.parametrize(("name", "value"), [("lines", "1"), ("closed", 1), ("first_hash", 3)])
def test_head_with_a_field_of_another_type_is_refused(path, name, value):
    write_run(path)
    head_path = LogPath(str(path)).head_path
    head_path.write_bytes(
        msgspec.json.encode({**msgspec.json.decode(head_path.read_bytes()), name: value})
    )
    refused_head(path, "cannot be read: it is not a head file")


def test_new_log_starts_with_64_zeros_and_is_recorded(path):
    write_run(path, "run-1")
    rotate(path)
    asyncio.run(write_new_log(path))
    first = json.loads(lines_of(path)[0])
    assert (first["prev"], first["new_log"], first["log"]) == (ZEROS, True, "log.jsonl")
    rotated = path.with_name("log.jsonl.1")
    result = verify([path, rotated])
    assert result.error is None
    assert result.warnings == (
        "2 files each start a hash chain: the order between them is not proven.",
    )
    head = head_of(path).last_hash
    error = verify([path, rotated], expect_head=head).error
    assert "A second history begins here" in error.message
    assert verify([path], expect_head=head).error is None


async def write_new_log(path):
    log = opened(path, "new", new_log=True)
    log.write(event("run_started"))
    log.write(event("run_finished"))
    await log.close()


def test_new_log_in_a_file_with_lines_is_a_usage_error(path):
    write_run(path)
    with pytest.raises(UsageError) as failed:
        opened(path, "new", new_log=True)
    assert failed.value.message == f"--new-log cannot start a new log in {path}, which has lines."
    assert failed.value.hint == "Move the file away, or name another one."


def test_new_log_replaces_a_damaged_head(path):
    write_run(path)
    path.unlink()
    LogPath(str(path)).head_path.write_text("{", encoding="utf-8")
    asyncio.run(write_new_log(path))
    assert head_of(path).lines == 2


def test_second_history_without_new_log_is_reported(path):
    write_run(path, "run-1")
    rotate(path)
    LogPath(str(path)).head_path.unlink()
    moved = path.with_name("log.jsonl.1").rename(path.with_name("elsewhere"))
    write_run(path, "run-2")
    rotated = moved.rename(path.with_name("log.jsonl.1"))
    assert verify([path, rotated]).error == VerificationError(
        LinePosition(path, 1),
        Damage.INSERTED,
        f"A second history begins here: the first line does not continue {rotated}.",
        ("run-2",),
    )


@pytest.mark.parametrize("template", ["log.jsonl", "{date}/{run_id}.jsonl", "{run_id}.jsonl"])
def test_log_of_a_file_is_found_by_its_head(tmp_path, template):
    log_path = LogPath(str(tmp_path / template))

    path = log_path.path_of_run(now=NOW, run_id="r1")
    asyncio.run(write_finished_run(path, "r1", log_path=log_path))
    assert LogPath.of_file(path) == LogPath(str(tmp_path / template))


def test_log_of_a_rotated_file_without_a_head_is_the_file_it_was_rotated_from(tmp_path):
    assert LogPath.of_file(tmp_path / "log.jsonl.2.gz") == LogPath(str(tmp_path / "log.jsonl"))
    assert LogPath.of_file(tmp_path / "log.jsonl-20261126") == LogPath(str(tmp_path / "log.jsonl"))
    assert LogPath.of_file(tmp_path / "a\nb.1") == LogPath(str(tmp_path / "a\nb.1"))


def test_head_that_cannot_be_written_stops_the_run_with_7(path, monkeypatch):
    write_run(path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("invite_sweeper.audit.files.replace_file", full)
    with pytest.raises(AuditLogError, match="cannot be written: No space left") as failed:
        opened(path, "next")
    assert failed.value.exit_code == 7
    assert failed.value.hint == (
        "Use a disk with free space and a directory that this user can write to."
    )


# Kills ----------------------------------------------------------------------------------------

KILLED_AT = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from audit.written_logs import event
from invite_sweeper.audit import AuditLog

step, calls = int(sys.argv[3]), 0

def counted(original):
    def call(*arguments, **options):
        global calls
        calls += 1
        if calls == step:
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        return result
    return call

for name in ("open", "write", "fsync", "close"):
    setattr(os, name, counted(getattr(os, name)))
Path.replace, Path.unlink = counted(Path.replace), counted(Path.unlink)

async def main():
    log = AuditLog.open(Path(sys.argv[1]), run_id=sys.argv[2], clock=lambda: datetime.now(UTC))
    log.write(event("run_started", mode="sweep"))
    await log.sync()
    log.write(event("run_finished", exit_code=0))
    await log.close()

asyncio.run(main())
print(calls)
"""


def run_killed_at(path, run_id, step) -> int | None:
    """Run a process that kills itself at a system call; return the number of calls if it ends."""

    tests = Path(__file__).parents[2]
    paths = os.pathsep.join([str(tests), str(tests / "unit")])
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(path), run_id, str(step)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode in (0, -9), done.stderr
    return int(done.stdout) if done.returncode == 0 else None


@pytest.mark.slow
@pytest.mark.parametrize("rotated", [False, True], ids=["same file", "rotated after the kill"])
def test_next_run_goes_on_after_a_kill_at_every_step_and_verify_accepts(path, rotated):
    asyncio.run(write_finished_run(path, "run-0"))
    step = 1
    steps = 1 if FULL else 5
    while run_killed_at(path, f"killed-{step}", step) is None:
        if rotated and path.exists():
            rotate(path, compress=bool(step % 2))
        asyncio.run(write_finished_run(path, f"next-{step}"))
        files = LogPath(str(path)).files()
        result = verify(files, expect_head=head_of(path).last_hash)
        assert result.error is None, (step, result.error)
        step += steps
    assert step > 15


# Without a head, or with that of a killed run ---------------------------------------------------


async def test_torn_line_of_a_rotated_file_does_not_count(path):
    write_run(path, "run-1")
    rotate(path)
    rotated = path.with_name("log.jsonl.1")
    size = rotated.stat().st_size
    with rotated.open("ab") as file:
        file.write(b'{"ts":"20')
    LogPath(str(path)).head_path.unlink()
    write_run(path, "run-2")
    assert head_of(path).size == size + path.stat().st_size
    assert head_of(path).lines == 22


def test_missing_newest_file_is_named_by_the_newest_one_that_is_there(path):
    for number in range(4):
        write_run(path, f"run-{number}")
        rotate(path)
    LogPath(str(path)).head_path.unlink()
    path.with_name("log.jsonl.1").unlink()
    refused(
        path,
        f"The newest file of the audit log is missing: {path}.2 is the newest one here, and no "
        "head file shows where the log ended.",
        "Move the missing file back and run again.",
    )


async def test_lost_head_is_rebuilt_from_the_newest_file_after_a_gap(path):
    for number in range(3):
        last_hash = await write_finished_run(path, f"run-{number}")
        rotate(path)
    LogPath(str(path)).head_path.unlink()
    path.with_name("log.jsonl.2").unlink()
    await write_finished_run(path, "next")
    assert prev_of_first_line(path) == last_hash
    assert head_of(path).lines == 2 * 6


async def test_lost_head_of_a_log_with_a_file_for_each_run_is_rebuilt(tmp_path):
    log_path = LogPath(str(tmp_path / "{run_id}.jsonl"))
    for run_id in ("run-1", "run-2", "run-3"):
        path = tmp_path / f"{run_id}.jsonl"
        last_hash = await write_finished_run(path, run_id, log_path=log_path)
        log_path.head_path.unlink()
        assert verify(log_path.files(), expect_head=last_hash).error is None


@pytest.mark.parametrize("rotated", [False, True], ids=["same file", "rotated"])
async def test_head_has_the_lines_and_bytes_of_a_killed_run_without_its_torn_line(path, rotated):
    await write_finished_run(path, "run-1")
    await write_finished_run(path, "killed", killed_after=1)
    whole_lines = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"ts":"20')
    if rotated:
        rotate(path)
    await write_finished_run(path, "next")
    added = path.read_bytes().removeprefix(whole_lines)
    head = head_of(path)
    assert head.lines == whole_lines.count(b"\n") + 6
    assert head.size == len(whole_lines) + len(added)


async def test_lines_appended_after_a_clean_end_are_refused(path):
    await write_finished_run(path, "run-1")
    write_earlier_version(path, "forged", [STARTED, FINISHED])
    refused(
        path,
        f"The audit log {path} is longer than what was written: 2 lines were appended after run "
        "run-1 had ended.",
        "Check it with `audit verify`, and restore it from a backup. To go on without it, move it "
        "away.",
    )
    with pytest.raises(GuardRefused, match="is longer than"):
        check_end(LogPath(str(path)), path)


@pytest.mark.parametrize("is_empty", [False, True], ids=["gone", "empty"])
async def test_log_that_is_not_here_is_continued_by_its_head_and_said(path, is_empty):
    last_hash = await write_finished_run(path, "run-1")
    path.unlink()
    if is_empty:
        path.touch(mode=0o600)
    missing = check_end(LogPath(str(path)), path)
    assert missing == (
        "The audit log log.jsonl is missing or empty, and its end with it: the log has 6 lines up "
        "to run run-1, and continues after them. What the missing runs recorded is not known: the "
        "last population, used plans, and how often invitations were deleted."
    )
    log = opened(path, "run-2")
    assert (log.missing, log.last_hash) == (missing, last_hash)
    log.write(event("run_started"))
    await log.close()
    assert check_end(LogPath(str(path)), path) == ""
    assert opened(path, "run-3").missing == ""


def test_new_log_and_a_log_before_its_first_run_have_no_missing_line(path):
    assert check_end(LogPath(str(path)), path) == ""
    assert opened(path, "run-1").missing == ""


async def test_head_that_cannot_be_written_at_the_end_does_not_fail_the_run(path):
    log = opened(path)
    log.write(event("run_started"))
    head_path = LogPath(str(path)).head_path
    head_path.unlink()
    head_path.mkdir()
    await log.close()
    assert len(lines_of(path)) == 1


def test_log_of_a_file_is_found_beside_damaged_heads_and_heads_of_other_logs(tmp_path):
    write_run(tmp_path / "other.jsonl")
    (tmp_path / ".damaged.head").write_text("{", encoding="utf-8")
    path = tmp_path / "log.jsonl"
    write_run(path)
    rotate(path)
    assert LogPath.of_file(path.with_name("log.jsonl.1")) == LogPath(str(path))
    assert LogPath.of_file(tmp_path / "third.jsonl.1") == LogPath(str(tmp_path / "third.jsonl"))


def test_end_is_that_of_the_open_file_although_another_file_took_its_name(path):
    write_run(path)
    head = head_of(path)
    with path.open("rb") as file:
        path.rename(path.with_name("moved"))
        path.write_bytes(b"another file\n")
        options = {"existed": True, "new_log": False, "fd": file.fileno()}
        assert find_end(LogPath(str(path)), path, head, **options) == ChainEnd.of(head)
