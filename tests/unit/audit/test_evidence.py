"""What the files prove about a log's beginning and end, and what evidence kept elsewhere adds."""

import gzip

import pytest
from audit.rotated_logs import rotate, write_finished_run
from audit.written_logs import lines_of, write_earlier_version, write_run

from invite_sweeper.audit import LinePosition
from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.damage import Damage, VerificationError
from invite_sweeper.audit.files import find_head
from invite_sweeper.audit.verify import Verdict, verify

NOT_PROVEN = "the end is not proven: later lines or files may be missing"


async def test_log_says_that_it_begins_after_a_file_that_is_not_here(tmp_path, path):
    other = tmp_path / "complete.jsonl"
    await write_finished_run(other, "other")
    await write_finished_run(path, "first", deletions=3)
    rotate(path)
    await write_finished_run(path, "second")
    path.with_name("log.jsonl.1").unlink()
    for paths in ([path], [other, path]):
        log = verify(paths).logs[-1]
        assert (log.name, log.files, log.lines) == ("log.jsonl", (str(path),), 6)
        assert log.beginning == "begins after a file that is not here"
        assert log.end == NOT_PROVEN
    assert verify([other]).logs[0].beginning == "begins with the first line of the log"


async def test_missing_file_is_reported_with_the_runs_around_the_gap(path):
    first, second, third = (path.with_name(f"log.jsonl{each}") for each in (".2", ".1", ""))
    for number in range(3):
        if number:
            rotate(path)
        await write_finished_run(path, f"run-{number}")
    second.unlink()
    assert verify([third, first]).error == VerificationError(
        LinePosition(third, 1),
        Damage.REMOVED,
        f"The file does not continue {first}: a file between them is missing, or the end of "
        "log.jsonl.2 was cut off or changed. The last run before the gap is run-0, the first one "
        "after it run-2.",
        ("run-0", "run-2"),
    )
    assert verify([third], expect_head="0" * 64).error == (
        VerificationError(
            LinePosition(third, 1),
            Damage.REMOVED,
            "The log begins after a file that is not here. Pass --continuation if it was left out "
            "on purpose. The first run here is run-2.",
            ("run-2",),
        )
    )


@pytest.mark.parametrize(
    ("proven", "end"),
    [
        (11, "the end is proven by the expected hash"),
        (10, "1 line after the expected hash is not proven"),
        (9, "2 lines after the expected hash are not proven"),
    ],
)
def test_end_is_proven_up_to_the_line_with_the_expected_hash(path, proven, end):
    write_run(path)
    (log,) = verify([path], expect_head=line_hash(lines_of(path)[proven - 1])).logs
    assert (log.end, log.end_proven) == (end, proven == 11)


async def test_missing_expected_line_is_reported_at_the_end_with_what_expected_it(path):
    await write_finished_run(path, "first")
    before = path.read_bytes()
    last_hash = await write_finished_run(path, "second")
    path.write_bytes(before)
    assert verify([path], expect_head=last_hash).error == VerificationError(
        LinePosition(path, 6),
        Damage.REMOVED,
        f"The logs do not contain the expected hash, {last_hash}: lines or files at the end are "
        "missing, or the log was rewritten.",
        ("first",),
    )


def test_damaged_compressed_file_is_reported_where_it_can_no_longer_be_read(path):
    write_run(path)
    compressed = path.with_name("log.jsonl.1.gz")
    data = gzip.compress(path.read_bytes())
    compressed.write_bytes(data[:-8] + bytes(8))
    assert verify([compressed]).error == VerificationError(
        LinePosition(compressed, 12),
        Damage.CHANGED,
        "The compressed file is damaged from here on.",
    )


# The head file ------------------------------------------------------------------------------


async def write_two_runs_in_two_files(path) -> str:
    await write_finished_run(path, "first")
    rotate(path)
    return await write_finished_run(path, "second")


@pytest.mark.parametrize("kept", [0, 6], ids=["wiped", "last run removed"])
async def test_log_without_the_line_that_its_head_names_is_damaged(path, kept):
    await write_finished_run(path, "first")
    last_hash = await write_finished_run(path, "second")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    status = verify([path])
    assert (status.verdict, status.lines) == (Verdict.DAMAGED, kept)
    head = path.with_name(".log.jsonl.head")
    assert status.error == VerificationError(
        LinePosition(path, kept),
        Damage.REMOVED,
        f"The logs do not contain the last line that its head file {head} names, {last_hash}: "
        "lines or files at the end are missing, or the log was rewritten.",
        ("first",) if kept else (),
    )


async def test_file_in_place_of_the_log_is_damaged_as_its_head_names_another_line(path, tmp_path):
    await write_finished_run(path, "first")
    other = tmp_path / "elsewhere" / "log.jsonl"
    await write_finished_run(other, "forged")
    path.write_bytes(other.read_bytes())
    assert "names" in verify([path]).error.message
    assert verify([other]).error is None


async def test_lines_appended_after_a_clean_end_are_damage(path):
    await write_two_runs_in_two_files(path)
    write_earlier_version(path, "forged", [("run_started", {}), ("run_finished", {})])
    rotated = path.with_name("log.jsonl.1")
    head = path.with_name(".log.jsonl.head")
    assert verify([rotated, path]).error == VerificationError(
        LinePosition(path, 7),
        Damage.INSERTED,
        f"The line was appended after the log was closed: its head file {head} names the line "
        "before as the last one.",
        ("second",),
    )


async def test_lines_of_a_killed_run_after_the_head_are_not_damage(path):
    await write_finished_run(path, "first")
    await write_finished_run(path, "killed", killed_after=1)
    assert verify([path]).verdict is Verdict.UNFINISHED
    await write_finished_run(path, "next", recovers=[("killed", 1)])
    assert verify([path]).verdict is Verdict.SOUND


async def test_lines_of_a_run_that_began_during_the_verification_are_not_damage(path, monkeypatch):
    await write_finished_run(path, "first")
    log_path, before = find_head(path)
    await write_finished_run(path, "second")
    monkeypatch.setattr("invite_sweeper.audit.verify.find_head", lambda _: (log_path, before))
    assert verify([path]).error is None


async def test_end_is_not_judged_by_the_head_while_a_file_of_the_log_is_left_out(path):
    await write_two_runs_in_two_files(path)
    rotated = path.with_name("log.jsonl.1")
    assert verify([rotated]).error is None
    path.unlink()
    assert verify([rotated]).error.kind is Damage.REMOVED


async def test_end_of_each_log_is_judged_by_its_head_in_any_order_of_the_files(tmp_path):
    path, cut = tmp_path / "log.jsonl", tmp_path / "cut.jsonl"
    await write_two_runs_in_two_files(path)
    await write_finished_run(cut, "cut")
    cut.write_bytes(b"")
    rotated = path.with_name("log.jsonl.1")
    for paths in ([rotated, path, cut], [cut, path, rotated], [path, cut, rotated]):
        error = verify(paths).error
        assert error.kind is Damage.REMOVED
        assert str(cut.with_name(".cut.jsonl.head")) in error.message
