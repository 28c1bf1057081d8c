"""The order of files by their chains."""

import gzip
import os

import pytest
from audit.rotated_logs import rotate, write_finished_run
from audit.written_logs import write_run

from invite_sweeper.audit import LinePosition, LogPath
from invite_sweeper.audit.damage import Damage, VerificationError
from invite_sweeper.audit.files import in_order, order_files
from invite_sweeper.audit.verify import verify


async def test_files_are_in_the_order_of_their_chain_whatever_their_names_are(tmp_path):
    path = tmp_path / "log.jsonl"
    for number in range(3):
        await write_finished_run(path, f"run-{number}")
        rotate(path, compress=number == 1)
    names = {1: "a-newest", 2: "m.gz", 3: "z-oldest"}
    for number, name in names.items():
        (found,) = tmp_path.glob(f"log.jsonl.{number}*")
        found.rename(tmp_path / name)
    empty = tmp_path / "empty"
    empty.touch()
    paths = [empty, tmp_path / "m.gz", tmp_path / "a-newest", tmp_path / "z-oldest"]
    names = ("z-oldest", "m.gz", "a-newest", "empty")
    assert in_order(paths) == tuple(tmp_path / name for name in names)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(
    ("lines", "rest"), [(1, b""), (3, b""), (4, b""), (1, b"{"), (3, b"{"), (4, b"{"), (5, b"{")]
)
def test_file_continues_the_last_complete_line_of_the_one_before(tmp_path, lines, rest, compress):
    write_run(tmp_path / "written")
    written = (tmp_path / "written").read_bytes().splitlines(keepends=True)
    older, newer = tmp_path / "older", tmp_path / "newer"
    before = b"".join(written[:lines]) + rest
    older.write_bytes(gzip.compress(before) if compress else before)
    newer.write_bytes(b"".join(written[lines:]))
    (log,), _ = order_files([newer, older])
    assert [[each.path for each in chain] for chain in log.chains] == [[older, newer]]


async def test_logs_stay_together(tmp_path):
    for name in ("b.jsonl", "a.jsonl"):
        await write_finished_run(tmp_path / name, f"run of {name}")
        rotate(tmp_path / name)
        await write_finished_run(tmp_path / name, f"second run of {name}")
    found = [each.name for each in in_order(sorted(tmp_path.glob("[ab].jsonl*")))]
    assert sorted(found) == ["a.jsonl", "a.jsonl.1", "b.jsonl", "b.jsonl.1"]
    assert found in (
        ["a.jsonl.1", "a.jsonl", "b.jsonl.1", "b.jsonl"],
        ["b.jsonl.1", "b.jsonl", "a.jsonl.1", "a.jsonl"],
    )


async def test_files_around_a_gap_belong_together_by_the_name_that_their_runs_recorded(tmp_path):
    log_path = LogPath(str(tmp_path / "{run_id}.jsonl"))
    paths = [tmp_path / f"run-{number}.jsonl" for number in (1, 2, 3)]
    for path in paths:
        await write_finished_run(path, path.stem, log_path=log_path)
    (log,), _ = order_files([paths[0], paths[2]])
    assert (log.name, len(log.chains)) == ("run_id.jsonl", 2)


@pytest.mark.parametrize(
    ("older", "newer", "is_renamed"),
    [
        ("log.jsonl.10", "log.jsonl.9", False),
        ("log.jsonl.9", "log.jsonl.10", True),
        ("log.jsonl.1", "log.jsonl", False),
        ("log.jsonl", "log.jsonl.1", True),
        ("log.jsonl-20261124", "log.jsonl-20261125", False),
        ("log.jsonl-20261125", "log.jsonl-20261124", True),
        ("log.jsonl-20261124", "log.jsonl-20261124-1", False),
        ("log.jsonl-20261124-1", "log.jsonl-20261124", True),
        ("log.jsonl-20261125", "log.jsonl", False),
        ("log.jsonl", "log.jsonl-20261124", True),
        ("log.jsonl.1", "log.jsonl-20261124", False),
        ("log.jsonl-20261124", "log.jsonl.1", False),
        ("log.jsonl.1", "log.jsonl.1.gz", False),
        ("log.jsonl", "other.jsonl.1", False),
        ("log.jsonl", "archive/log.jsonl.1", False),
    ],
)
def test_names_that_contradict_the_order_of_the_chain_are_reported(
    tmp_path, older, newer, is_renamed
):
    for run_id in ("run-1", "run-2"):
        write_run(tmp_path / "written", run_id, numbers=[])
    (tmp_path / "archive").mkdir()
    *_, third, fourth = lines = (tmp_path / "written").read_bytes().splitlines(keepends=True)
    (tmp_path / older).write_bytes(b"".join(lines[:2]))
    last = third + fourth
    (tmp_path / newer).write_bytes(gzip.compress(last) if newer.endswith(".gz") else last)
    error = verify([tmp_path / newer, tmp_path / older]).error
    assert error == (
        VerificationError(
            LinePosition(tmp_path / newer, 1),
            Damage.INSERTED,
            f"The file continues {older}, but its name is that of an older file: "
            "files were renamed.",
            ("run-2",),
        )
        if is_renamed
        else None
    )


def test_files_that_cannot_be_read_come_after_the_others_and_those_without_a_line_last(tmp_path):
    line = b'{"ts":"2026-10-01","run_id":"r","seq":1,"event":"e","prev":"%d"}\n'
    contents = {
        "cut.gz": gzip.compress(line)[:15],
        "other.xz": line,
        "empty": b"",
        "no newline": b"no log",
        "later": line.replace(b"-10-", b"-11-"),
        "not UTF-8": line.replace(b"r", b"\xff", 1) + line,
        "b.gz": gzip.compress(line),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    found = in_order([tmp_path / name for name in (*contents, "missing")])
    assert [path.name for path in found] == [
        *("b.gz", "later", "cut.gz", "other.xz", "not UTF-8", "missing"),
        *("empty", "no newline"),
    ]


def test_ordering_does_not_read_a_file_without_newlines_to_its_end(tmp_path):
    path = tmp_path / "big"
    path.write_bytes(b'{"ts":"2026-01-01"')
    os.truncate(path, 1 << 33)
    assert in_order([path]) == (path,)


async def test_order_follows_the_chain_after_the_clock_was_set_back(tmp_path):
    path = tmp_path / "log.jsonl"
    await write_finished_run(path, "run-1")
    rotate(path)
    await write_finished_run(path, "run-2")
    path.write_bytes(path.read_bytes().replace(b'{"ts":"2026', b'{"ts":"2025'))
    assert LogPath(str(path)).files() == (tmp_path / "log.jsonl.1", path)
