"""The plan: read back from the file of the run, and taken from the file of a dry run."""

import asyncio
import gzip
from hashlib import sha256
from pathlib import Path

import pytest
from audit.runs import clock, finished, invitation, planned, started, write_run
from builders import NOW, PROJECT, object_id

from invite_sweeper.audit import AuditDirectory, AuditLog, read_back_plan, read_plan
from invite_sweeper.audit.events import Entry, Kept, Planned
from invite_sweeper.endings import ExitCode, Reason
from invite_sweeper.errors import AuditLogError, GuardRefused, UsageError
from invite_sweeper.models import Source

ENTRIES = (Entry(Source.USERS, PROJECT, object_id(77)),)


def kept(number: int) -> Kept:
    return Kept.from_invitation(invitation(number), NOW, reason="too_young")


class Plan:
    """A plan in the file of a run, with a line of a kept invitation after each planned one."""

    def __init__(self, directory: AuditDirectory, size: int) -> None:
        self.log = AuditLog.begin(directory, "r1", clock=clock())
        self.log.write(started())
        self.log.write(kept(0))
        self.written = [planned(number, entries=ENTRIES) for number in range(size)]
        for number, each in enumerate(self.written):
            self.log.write(each)
            self.log.write(kept(number))

    def read_back(self, change: object = None) -> tuple[Planned, ...]:
        async def run() -> tuple[Planned, ...]:
            try:
                await self.log.sync()
                if change is not None:
                    change(self.log.file.path)
                return await read_back_plan(self.log)
            finally:
                await self.log.close()

        return asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1, 2, 700])
def test_the_plan_is_read_back_as_it_was_written(directory, size):
    plan = Plan(directory, size)
    assert list(plan.read_back()) == plan.written


def test_every_changed_byte_of_the_plan_is_found(directory):
    plan = Plan(directory, 3)
    asyncio.run(plan.log.sync())
    content = plan.log.file.path.read_bytes()

    async def run() -> None:
        with plan.log.file.path.open("r+b") as file:
            for position in range(len(content)):
                file.seek(position)
                file.write(bytes([content[position] ^ 1]))
                file.flush()
                with pytest.raises(AuditLogError, match="was changed"):
                    await read_back_plan(plan.log)
                file.seek(position)
                file.write(content[position : position + 1])
            file.flush()
        assert list(await read_back_plan(plan.log)) == plan.written

    asyncio.run(run())
    asyncio.run(plan.log.close())


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes()[:1_500]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes().replace(b"forgotten", b"protected")),
    ],
    ids=["cut", "emptied", "edited"],
)
def test_a_plan_that_was_changed_is_not_deleted(directory, change):
    with pytest.raises(AuditLogError, match="was changed") as caught:
        Plan(directory, 5).read_back(change)
    assert caught.value.consequence == "Nothing was deleted."


def dry_run(directory: AuditDirectory, **options: object) -> Path:
    start = started(mode="dry-run")
    lines = [planned(1, entries=ENTRIES), kept(2), planned(3)]
    return write_run(directory, "r1", *lines, start=start, **options)


class TestSavedPlan:
    def test_it_is_the_file_of_a_dry_run(self, directory):
        path = dry_run(directory, end=finished(stale=2))
        plan = read_plan(path)
        assert plan.start == started(mode="dry-run")
        assert plan.end == finished(stale=2)
        assert plan.planned == (planned(1, entries=ENTRIES), planned(3))
        assert plan.sha256 == sha256(path.read_bytes()).hexdigest()

    def test_its_hash_is_the_same_after_it_was_compressed_or_copied(self, directory, tmp_path):
        path = dry_run(directory)
        expected = read_plan(path).sha256
        packed = tmp_path / "plan.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert read_plan(packed).sha256 == expected

    @pytest.mark.parametrize("code", [0, 4, 10])
    def test_a_dry_run_that_read_what_it_could_is_a_plan(self, directory, code):
        assert read_plan(dry_run(directory, end=finished(exit_code=code))).end.exit_code == code

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"end": finished(exit_code=3)}, "ended with exit code 3"),
            ({"end": finished(exit_code=8)}, "ended with exit code 8"),
            ({"end": finished(plan_made=False)}, "ended with exit code 0"),
            ({"killed": True}, "was cut off"),
        ],
    )
    def test_a_dry_run_without_a_whole_plan_is_refused(self, directory, options, message):
        self.check_refused(dry_run(directory, **options), message)

    @pytest.mark.parametrize("mode", ["sweep", "restore"])
    def test_another_run_is_refused(self, directory, mode):
        path = write_run(directory, "r1", planned(), start=started(mode=mode))
        self.check_refused(path, "is not the file of a dry run")

    def test_an_empty_file_is_refused(self, tmp_path):
        (tmp_path / "plan").touch()
        self.check_refused(tmp_path / "plan", "is not the file of a dry run")

    def test_another_kind_of_file_is_refused(self, tmp_path):
        (tmp_path / "plan").write_text("name,age\nme,3\n")
        self.check_refused(tmp_path / "plan", "line 1 is not a line of an audit log")

    @pytest.mark.parametrize("line", range(1, 6))
    def test_a_line_that_was_changed_or_removed_is_found(self, directory, line):
        path = dry_run(directory)
        lines = path.read_bytes().splitlines(keepends=True)
        changed = lines[line - 1].replace(b"2026-11-25", b"2026-11-26", 1)
        path.write_bytes(b"".join([*lines[: line - 1], changed, *lines[line:]]))
        self.check_refused(path, f"line {min(line + 1, 5)} ")
        path.write_bytes(b"".join([*lines[: line - 1], *lines[line:]]))
        self.check_refused(path, "line 1 is not" if line == 1 else "line|cut off")

    def test_a_missing_file_is_wrong_usage(self, tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            read_plan(tmp_path / "plan")

    def check_refused(self, path: Path, message: str) -> None:
        with pytest.raises(GuardRefused, match=message) as caught:
            read_plan(path)
        assert caught.value.exit_code is ExitCode.REFUSED
        assert caught.value.reasons == (Reason.PLAN,)
