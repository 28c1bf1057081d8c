"""The order of files by their chains, and the start of a checkpoint's file."""

import gzip

import pytest
from audit.rotated_logs import KEY, rotate, write_signed_run
from audit.written_logs import write_run

from invite_sweeper.audit import LinePosition
from invite_sweeper.audit.checkpoint import Checkpoint, is_checkpoint, key_name, parse, sign
from invite_sweeper.audit.ordering import in_order
from invite_sweeper.audit.tampering import Tampering, VerificationError
from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import UsageError


async def test_files_are_in_the_order_of_their_chain_whatever_their_names_are(tmp_path):
    path = tmp_path / "log.jsonl"
    for number in range(3):
        await write_signed_run(path, f"run-{number}")
        rotate(path, compress=number == 1)
    names = {1: "a-newest", 2: "m.gz", 3: "z-oldest"}
    for number, name in names.items():
        (found,) = tmp_path.glob(f"log.jsonl.{number}*")
        found.rename(tmp_path / name)
    empty = tmp_path / "empty"
    empty.touch()
    paths = [empty, tmp_path / "m.gz", tmp_path / "a-newest", tmp_path / "z-oldest"]
    assert in_order(paths) == [tmp_path / name for name in ("z-oldest", "m.gz", "a-newest")] + [
        empty
    ]


async def test_logs_stay_together(tmp_path):
    for name in ("b.jsonl", "a.jsonl"):
        await write_signed_run(tmp_path / name, f"run of {name}")
        rotate(tmp_path / name)
        await write_signed_run(tmp_path / name, f"second run of {name}")
    found = [each.name for each in in_order(sorted(tmp_path.glob("[ab].jsonl*")))]
    assert sorted(found) == ["a.jsonl", "a.jsonl.1", "b.jsonl", "b.jsonl.1"]
    assert found in (
        ["a.jsonl.1", "a.jsonl", "b.jsonl.1", "b.jsonl"],
        ["b.jsonl.1", "b.jsonl", "a.jsonl.1", "a.jsonl"],
    )


@pytest.mark.parametrize(
    ("older", "newer", "is_renamed"),
    [
        ("log.jsonl.10", "log.jsonl.9", False),
        ("log.jsonl.9", "log.jsonl.10", True),
        ("log.jsonl.1", "log.jsonl", False),
        ("log.jsonl", "log.jsonl.1", True),
        ("log.jsonl-20261124", "log.jsonl-20261125", False),
        ("log.jsonl-20261125", "log.jsonl-20261124", True),
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
            Tampering.REORDERED,
            f"The file continues {older}, but its name is that of an older file: "
            "files were renamed.",
            ("run-2",),
        )
        if is_renamed
        else None
    )


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="none"):
        in_order([tmp_path / "none"])


NOTE = sign(Checkpoint(key_name("my log"), 12, 3456, "ab" * 32, "run-1"), KEY)


def test_note_is_recognised_by_its_start_and_parsed():
    assert is_checkpoint(NOTE.encode())
    assert is_checkpoint(NOTE.encode()[: NOTE.index("run ")])
    assert parse(NOTE) == Checkpoint("my_log", 12, 3456, "ab" * 32, "run-1")


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"my_log\n",
        b"x\n" + NOTE.encode(),
        NOTE.encode().replace(b"my_log", b"my log"),
        NOTE.encode().replace(b"\n12\n", b"\ntwelve\n"),
        NOTE.encode().replace(b"bytes ", b"size "),
        NOTE.encode().replace(b"=\nbytes", b"\nbytes"),
    ],
)
def test_other_text_is_not_recognised_as_a_note(start):
    assert not is_checkpoint(start)
