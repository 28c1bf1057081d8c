"""What the files prove about a log's beginning and end, and what evidence kept elsewhere adds."""

import gzip

import pytest
from audit.rotated_logs import KEY, KEYS, OTHER_KEY, OTHER_KEYS, rotate, write_signed_run
from audit.written_logs import lines_of, write_earlier_version, write_run

from invite_sweeper.audit import LinePosition
from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.checkpoint import Checkpoint, sign
from invite_sweeper.audit.damage import Damage, VerificationError
from invite_sweeper.audit.files import find_head
from invite_sweeper.audit.verify import Evidence, Verdict, verify
from invite_sweeper.errors import GuardRefused

NOT_PROVEN = "the end is not proven: later lines or files may be missing"


async def test_log_says_how_many_lines_are_missing_before_its_first_file(tmp_path, path):
    other = tmp_path / "complete.jsonl"
    await write_signed_run(other, "other")
    await write_signed_run(path, "first", deletions=3)
    rotate(path)
    await write_signed_run(path, "second")
    path.with_name("log.jsonl.1").unlink()
    for paths in ([path], [other, path]):
        log = verify(paths).logs[-1]
        assert (log.name, log.files, log.lines) == ("log.jsonl", (str(path),), 7)
        assert log.beginning == "begins after a file that is not here, with 9 lines"
        assert log.end == NOT_PROVEN
    assert verify([other]).logs[0].beginning == "begins with the first line of the log"


async def test_missing_file_is_reported_with_the_runs_around_the_gap(path):
    first, second, third = (path.with_name(f"log.jsonl{each}") for each in (".2", ".1", ""))
    for number in range(3):
        if number:
            rotate(path)
        await write_signed_run(path, f"run-{number}")
    second.unlink()
    assert verify([third, first]).error == VerificationError(
        LinePosition(third, 1),
        Damage.REMOVED,
        f"The file does not continue {first}: a file between them is missing, or the end of "
        "log.jsonl.2 was cut off or changed. The last run before the gap is run-0, the first one "
        "after it run-2.",
        ("run-0", "run-2"),
    )
    assert verify([third], evidence=Evidence(public_keys=KEYS)).error == (
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
    (log,) = verify([path], evidence=Evidence(head=line_hash(lines_of(path)[proven - 1]))).logs
    assert (log.end, log.end_proven) == (end, proven == 11)


async def test_end_is_proven_by_a_checkpoint_that_was_kept_and_not_by_a_key_alone(path):
    await write_signed_run(path, "first")
    _, note = await write_signed_run(path, "second")
    (log,) = verify([path], evidence=Evidence(public_keys=KEYS)).logs
    assert log.end == "signed up to run second: runs removed after it would not be seen"
    assert not log.end_proven
    for evidence in (Evidence(note=note), Evidence(public_keys=KEYS, note=note)):
        (log,) = verify([path], evidence=evidence).logs
        assert log.end == "the end is proven by the checkpoint of run second"
        assert log.end_proven
    (log,) = verify([path]).logs
    assert (log.end, log.end_proven) == (NOT_PROVEN, False)


async def test_missing_expected_line_is_reported_at_the_end_with_what_expected_it(path):
    await write_signed_run(path, "first")
    before = path.read_bytes()
    last_hash, note = await write_signed_run(path, "second")
    noted_hash = line_hash(lines_of(path)[-2])
    path.write_bytes(before)
    for evidence, what in (
        (Evidence(head=last_hash), f"the expected hash, {last_hash}"),
        (Evidence(note=note), f"the checkpoint of run second, {noted_hash}"),
    ):
        assert verify([path], evidence=evidence).error == VerificationError(
            LinePosition(path, 7),
            Damage.REMOVED,
            f"The logs do not contain {what}: lines or files at the end are missing, or the log "
            "was rewritten.",
            ("first",),
        )


async def test_torn_line_of_a_killed_run_does_not_excuse_an_unsigned_end(path):
    await write_signed_run(path, "first")
    await write_signed_run(path, "killed", killed_after=0)
    path.write_bytes(path.read_bytes()[:-1])
    error = verify([path], evidence=Evidence(public_keys=KEYS)).error
    assert error == VerificationError(
        LinePosition(path, 9),
        Damage.UNFINISHED,
        "The end of the log is not signed: run killed was killed, or lines were removed.",
        ("killed",),
    )


async def test_run_without_a_checkpoint_between_signed_ones_is_reported_at_its_end(path):
    await write_signed_run(path, "first")
    await write_signed_run(path, "unsigned", key=None)
    await write_signed_run(path, "third")
    assert verify([path]).error is None
    error = verify([path], evidence=Evidence(public_keys=KEYS)).error
    message = "The end of run unsigned has no checkpoint."
    position = LinePosition(path, 13)
    assert error == VerificationError(position, Damage.UNSIGNED, message, ("unsigned",))


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


NOTE = sign(Checkpoint("log.jsonl", 7, 3456, "ab" * 32, "run-1"), KEY)


@pytest.mark.parametrize(
    ("note", "key", "message"),
    [
        ("not a note", None, "The checkpoint file is not a checkpoint."),
        (NOTE, OTHER_KEY, "The checkpoint file is not signed with the public key."),
    ],
)
def test_note_that_is_not_a_signed_checkpoint_is_refused(path, note, key, message):
    write_run(path)
    evidence = Evidence(note=note, public_keys={"key": key.public_key()} if key else {})
    with pytest.raises(GuardRefused) as refused:
        verify([path], evidence=evidence)
    assert refused.value.message == message


# The head file ------------------------------------------------------------------------------


async def write_two_runs_in_two_files(path) -> str:
    await write_signed_run(path, "first")
    rotate(path)
    last_hash, _ = await write_signed_run(path, "second")
    return last_hash


@pytest.mark.parametrize("kept", [0, 7], ids=["wiped", "last run removed"])
async def test_log_without_the_line_that_its_head_names_is_damaged(path, kept):
    await write_signed_run(path, "first")
    last_hash, _ = await write_signed_run(path, "second")
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
    await write_signed_run(path, "first")
    other = tmp_path / "elsewhere" / "log.jsonl"
    await write_signed_run(other, "forged")
    path.write_bytes(other.read_bytes())
    assert "names" in verify([path]).error.message
    assert verify([other]).error is None


async def test_lines_appended_after_a_clean_end_are_damage(path):
    await write_two_runs_in_two_files(path)
    write_earlier_version(path, "forged", [("run_started", {}), ("run_finished", {})])
    rotated = path.with_name("log.jsonl.1")
    head = path.with_name(".log.jsonl.head")
    assert verify([rotated, path]).error == VerificationError(
        LinePosition(path, 8),
        Damage.INSERTED,
        f"The line was appended after the log was closed: its head file {head} names the line "
        "before as the last one.",
        ("second",),
    )


async def test_lines_of_a_killed_run_after_the_head_are_not_damage(path):
    await write_signed_run(path, "first")
    await write_signed_run(path, "killed", killed_after=1)
    assert verify([path]).verdict is Verdict.UNFINISHED
    await write_signed_run(path, "next", recovers=[("killed", 1)])
    assert verify([path]).verdict is Verdict.SOUND


async def test_lines_of_a_run_that_began_during_the_verification_are_not_damage(path, monkeypatch):
    await write_signed_run(path, "first")
    log_path, before = find_head(path)
    await write_signed_run(path, "second")
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
    await write_signed_run(cut, "cut")
    cut.write_bytes(b"")
    rotated = path.with_name("log.jsonl.1")
    for paths in ([rotated, path, cut], [cut, path, rotated], [path, cut, rotated]):
        error = verify(paths).error
        assert error.kind is Damage.REMOVED
        assert str(cut.with_name(".cut.jsonl.head")) in error.message


# Keys ---------------------------------------------------------------------------------------


async def test_runs_of_each_key_are_named_after_a_rotation_of_the_key(path):
    for run_id, key in (("run-1", KEY), ("run-2", OTHER_KEY), ("run-3", OTHER_KEY)):
        await write_signed_run(path, run_id, key=key)
    status = verify([path], evidence=Evidence(public_keys={**KEYS, **OTHER_KEYS}))
    assert status.error is None
    assert status.signed_runs == {"ours": ["run-1"], "other": ["run-2", "run-3"]}
    error = verify([path], evidence=Evidence(public_keys=OTHER_KEYS)).error
    assert (error.kind, error.runs) == (Damage.UNSIGNED, ("run-1",))


async def test_runs_before_the_first_signed_one_are_accepted_if_it_is_named(path):
    for run_id, key in (("run-1", None), ("run-2", KEY), ("run-3", KEY)):
        await write_signed_run(path, run_id, key=key)
    error = verify([path], evidence=Evidence(public_keys=KEYS)).error
    assert (error.kind, error.runs) == (Damage.UNSIGNED, ("run-1",))
    assert "--signed-from" in error.kind.hint
    evidence = Evidence(public_keys=KEYS, signed_from="run-2")
    assert verify([path], evidence=evidence).error is None
    await write_signed_run(path, "run-4", key=None)
    assert verify([path], evidence=evidence).error.runs == ("run-4",)
    evidence = Evidence(public_keys=KEYS, signed_from="run-9")
    assert verify([path], evidence=evidence).error == VerificationError(
        LinePosition(path, len(lines_of(path))),
        Damage.UNSIGNED,
        "The log does not contain run run-9, from which on its runs are signed.",
    )
