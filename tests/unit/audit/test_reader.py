"""Reading and filtering the lines of a run's file."""

import gzip
from datetime import timedelta

import pytest
from audit.runs import (
    clock,
    deletion,
    events_of,
    kept,
    planned,
    started,
    write_run,
)
from builders import NOW

from invite_sweeper.audit import LineFilter, RunFile
from invite_sweeper.audit.chain import HashChain
from invite_sweeper.audit.file_chain import FileChain, Record
from invite_sweeper.errors import DamagedLog


@pytest.fixture
def path(directory):
    return write_run(directory, "r1", *deletion(1), *deletion(2, "failed"), kept(9, "keep:board"))


def matching(path, **criteria) -> list[tuple[Record, bytes]]:
    lines = LineFilter(**criteria).matching(FileChain(RunFile.of(path)))
    return [(record, line.raw) for record, line in lines]


def events(path, **criteria) -> list[str]:
    return [record["event"] for record, _ in matching(path, **criteria)]


@pytest.mark.parametrize(
    ("criteria", "found"),
    [
        ({"events": {"kept"}}, ["kept"]),
        ({"outcome": "failed"}, ["outcome"]),
        ({"username": "PERSON-1@*"}, ["planned", "intent", "outcome"]),
        ({"username": "person-1@*", "events": {"planned"}}, ["planned"]),
        ({"until": NOW + timedelta(milliseconds=2)}, ["run_started", "planned"]),
        ({"since": NOW + timedelta(milliseconds=7)}, ["kept", "run_finished"]),
        ({"since": NOW, "until": NOW}, []),
    ],
)
def test_a_line_matches_if_all_criteria_hold(path, criteria, found):
    assert events(path, **criteria) == found


def test_a_file_that_is_compressed_while_a_run_reads_is_found(path):
    expected = list(matching(path))
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert list(matching(path)) == expected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.replace(b"forgotten", b"protected"), "line 3 does not follow line 2"),
        (lambda data: data.partition(b"\n")[2], "line 1 is not the first line of a run"),
    ],
)
def test_a_line_that_was_changed_or_is_not_the_first_is_not_shown(path, change, message):
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DamagedLog, match=message):
        events(path)


@pytest.mark.parametrize(
    ("written", "forged"),
    [(b'"seq":2', b'"seq":3'), (b'"run_id":"r1"', b'"run_id":"r2"')],
    ids=["number", "run"],
)
def test_a_line_with_another_number_or_run_does_not_follow_although_its_hash_does(
    path, written, forged
):
    log = HashChain("r1", "0" * 64, clock())
    first = log.add(started())
    second = log.add(planned()).replace(written, forged)
    path.write_bytes(b"\n".join([first, second, b""]))
    with pytest.raises(DamagedLog, match="line 2 does not follow line 1"):
        FileChain(RunFile.of(path)).read()


def test_a_line_of_a_later_version_is_skipped_by_a_run(path):
    log = HashChain("r1", "0" * 64, clock())
    lines = log.add(started()), log.add(kept()).replace(b'"event":"kept"', b'"event":"held"')
    path.write_bytes(b"\n".join([*lines, b""]))
    assert events_of(FileChain(RunFile.of(path))) == [started()]


def test_a_line_that_is_longer_than_any_is_damage(directory, monkeypatch):
    monkeypatch.setattr("invite_sweeper.audit.file_chain._MAX_LINE_BYTES", 1_000)
    path = write_run(directory, "r1", planned(roles=("x" * 600, "y" * 600)))
    with pytest.raises(DamagedLog, match="line 2 is not a line"):
        FileChain(RunFile.of(path)).read()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "No such file"),
        ("directory", "Is a directory"),
        ("packed.zst", "only gzip can be decompressed"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, name, reason):
    (tmp_path / "directory").mkdir()
    (tmp_path / "packed.zst").touch()
    with pytest.raises(DamagedLog, match=f"cannot be read: .*{reason}"):
        FileChain(RunFile.of(tmp_path / name)).read()
