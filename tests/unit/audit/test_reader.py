"""Reading and filtering the lines of a run's file, and the plan in it."""

import gzip
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from audit.runs import clock, deletion, events_of, finished, kept, planned, started, write_run
from builders import NOW, PROJECT, object_id

from invite_sweeper.audit import (
    AuditDirectory,
    AuditLog,
    LineFilter,
    RunFile,
    check_written_plan,
    read_plan,
)
from invite_sweeper.audit.chain import HashChain
from invite_sweeper.audit.file_chain import FileChain, Record
from invite_sweeper.endings import Reason
from invite_sweeper.errors import AuditLogError, DamagedLog, GuardRefused
from invite_sweeper.models import Entry, Source


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


def test_what_cannot_be_read_is_refused(tmp_path):
    for path, reason in (
        (tmp_path / "missing", "No such file"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(DamagedLog, match=f"cannot be read: .*{reason}"):
            FileChain(RunFile.of(path)).read()


ENTRIES = (Entry(Source.USERS, PROJECT, object_id(77)),)
NEW_PLAN = "invite-sweeper plan --policy 'my policy.yaml'"


async def check_plan(directory, size=3, *, planned_of=list, change=None):
    """Write a plan, with a line of a kept invitation after each planned one, and read it back."""
    log = AuditLog(directory, "r1", clock=clock())
    written = [planned(number, entries=ENTRIES) for number in range(size)]
    for each in (started(), *(line for n, one in enumerate(written) for line in (one, kept(n)))):
        log.write(each)
    await log.sync()
    if change is not None:
        change(log.file.path)
    await check_written_plan(log, planned_of(written))


def changing(change):
    return lambda path: path.write_bytes(change(path.read_bytes()))


CHANGES = {
    "another order": {"planned_of": lambda own: own[::-1]},
    "one less": {"planned_of": lambda own: own[:-1]},
    "one more": {"planned_of": lambda own: [*own, planned(9)]},
    "a name": {"change": changing(lambda data: data.replace(b"person-2@", b"person-3@", 1))},
    "the last byte": {"change": changing(lambda data: data[:-1] + b" ")},
    "without its last line": {"change": changing(lambda data: data[: data.rindex(b'{"ts"')])},
    "emptied": {"change": changing(lambda _: b"")},
    "deleted": {"change": Path.unlink},
}


@pytest.mark.parametrize("size", [0, 1, 700])
async def test_the_plan_is_read_back_as_it_was_written(directory, size):
    await check_plan(directory, size)


@pytest.mark.parametrize("change", CHANGES)
async def test_a_plan_that_is_not_the_one_on_disk_is_not_deleted(directory, change):
    with pytest.raises(AuditLogError, match="was changed") as caught:
        await check_plan(directory, **CHANGES[change])
    assert caught.value.consequence == "Nothing was deleted."


def dry_run(directory: AuditDirectory, mode: str = "dry-run", **options: object) -> Path:
    lines = [planned(1, entries=ENTRIES), kept(2), planned(3)]
    return write_run(directory, "r1", *lines, start=started(mode=mode), **options)


@pytest.mark.parametrize("code", [0, 4, 10])
def test_a_saved_plan_is_the_file_of_a_dry_run_that_read_what_it_could(directory, code):
    path = dry_run(directory, end=finished(stale=2, exit_code=code))
    plan = read_plan(path, NEW_PLAN)
    assert plan.start == started(mode="dry-run")
    assert plan.planned == (planned(1, entries=ENTRIES), planned(3))
    assert plan.sha256 == sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        ({"end": finished(exit_code=3)}, bytes, "ended with exit code 3"),
        ({"end": finished(plan_made=False)}, bytes, "ended with exit code 0"),
        ({"killed": True}, bytes, "was cut off"),
        ({"mode": "sweep"}, bytes, "is not the file of a dry run"),
        ({"mode": "restore"}, bytes, "is not the file of a dry run"),
        ({}, lambda _: b"", "is not the file of a dry run"),
        ({}, lambda _: b"name,age\nme,3\n", "line 1 is not a line of an audit log"),
        ({}, lambda data: data.replace(b"forgotten", b"x", 1), "was changed: .* does not follow"),
    ],
)
def test_another_file_or_one_without_a_whole_plan_is_refused(directory, options, change, message):
    path = dry_run(directory, **options)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(GuardRefused, match=message) as caught:
        read_plan(path, NEW_PLAN)
    assert caught.value.reasons == (Reason.PLAN,)
