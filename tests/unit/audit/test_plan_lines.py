"""The plan: read back from the file of the run, and taken from the file of a dry run."""

from hashlib import sha256
from pathlib import Path

import pytest
from audit.runs import clock, finished, kept, planned, started, write_run
from builders import PROJECT, object_id

from invite_sweeper.audit import AuditDirectory, AuditLog, check_written_plan, read_plan
from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import Reason
from invite_sweeper.errors import AuditLogError, GuardRefused
from invite_sweeper.models import Entry, Source

ENTRIES = (Entry(Source.USERS, PROJECT, object_id(77)),)
NEW_PLAN = "invite-sweeper plan --policy 'my policy.yaml'"


def write_plan(directory: AuditDirectory, size: int) -> tuple[AuditLog, list[Planned]]:
    """Write a plan, with a line of a kept invitation after each planned one."""
    log = AuditLog(directory, "r1", clock=clock())
    log.write(started())
    written = [planned(number, entries=ENTRIES) for number in range(size)]
    for number, each in enumerate(written):
        log.write(each)
        log.write(kept(number))
    return log, written


@pytest.mark.parametrize("size", [0, 1, 700])
async def test_the_plan_is_read_back_as_it_was_written(directory, size):
    log, written = write_plan(directory, size)
    await check_written_plan(log, written)
    await log.close()


@pytest.mark.parametrize(
    "planned_of",
    [lambda own: own[::-1], lambda own: own[:-1], lambda own: [*own, planned(9)]],
    ids=["another order", "one less", "one more"],
)
async def test_a_plan_that_is_not_the_one_on_disk_is_not_deleted(directory, planned_of):
    log, written = write_plan(directory, 3)
    with pytest.raises(AuditLogError, match="was changed"):
        await check_written_plan(log, planned_of(written))
    await log.close()


CHANGES = {
    "a name": lambda data: data.replace(b"person-2@", b"person-3@", 1),
    "the last byte": lambda data: data[:-1] + b" ",
    "without its last line": lambda data: data[: data.rindex(b'{"ts"')],
    "emptied": lambda data: b"",
}


@pytest.mark.parametrize("change", [*CHANGES.values(), Path.unlink], ids=[*CHANGES, "deleted"])
async def test_a_plan_that_was_changed_on_disk_is_not_deleted(directory, change):
    log, written = write_plan(directory, 3)
    await log.sync()
    if change is Path.unlink:
        change(log.file.path)
    else:
        log.file.path.write_bytes(change(log.file.path.read_bytes()))
    with pytest.raises(AuditLogError, match="was changed") as caught:
        await check_written_plan(log, written)
    assert caught.value.consequence == "Nothing was deleted."


def dry_run(directory: AuditDirectory, mode: str = "dry-run", **options: object) -> Path:
    lines = [planned(1, entries=ENTRIES), kept(2), planned(3)]
    return write_run(directory, "r1", *lines, start=started(mode=mode), **options)


def check_refused(path: Path, message: str) -> None:
    with pytest.raises(GuardRefused, match=message) as caught:
        read_plan(path, NEW_PLAN)
    assert caught.value.reasons == (Reason.PLAN,)


class TestSavedPlan:
    @pytest.mark.parametrize("code", [0, 4, 10])
    def test_it_is_the_file_of_a_dry_run_that_read_what_it_could(self, directory, code):
        path = dry_run(directory, end=finished(stale=2, exit_code=code))
        plan = read_plan(path, NEW_PLAN)
        assert plan.start == started(mode="dry-run")
        assert plan.planned == (planned(1, entries=ENTRIES), planned(3))
        assert plan.sha256 == sha256(path.read_bytes()).hexdigest()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"end": finished(exit_code=3)}, "ended with exit code 3"),
            ({"end": finished(plan_made=False)}, "ended with exit code 0"),
            ({"killed": True}, "was cut off"),
            ({"mode": "sweep"}, "is not the file of a dry run"),
            ({"mode": "restore"}, "is not the file of a dry run"),
        ],
    )
    def test_another_run_or_one_without_a_whole_plan_is_refused(self, directory, options, message):
        check_refused(dry_run(directory, **options), message)

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (b"", b"", "is not the file of a dry run"),
            (b"", b"name,age\nme,3\n", "line 1 is not a line of an audit log"),
            (b"forgotten", b"forbidden", "was changed: .* line 3 does not follow"),
        ],
        ids=["empty", "another kind of file", "changed"],
    )
    def test_another_file_is_refused(self, directory, old, new, message):
        path = dry_run(directory)
        path.write_bytes(path.read_bytes().replace(old, new, 1) if old else new)
        check_refused(path, message)
