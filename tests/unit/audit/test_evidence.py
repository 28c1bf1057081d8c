"""What the files prove about a log's beginning and end, and what evidence kept elsewhere adds."""

import gzip

import pytest
from audit.rotated_logs import KEY, OTHER_KEY, rotate, write_signed_run
from audit.written_logs import lines_of, write_run

from invite_sweeper.audit import LinePosition
from invite_sweeper.audit.chain import line_hash
from invite_sweeper.audit.checkpoint import Checkpoint, sign
from invite_sweeper.audit.evidence import Evidence
from invite_sweeper.audit.tampering import Tampering, VerificationError
from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import GuardRefused

NOT_PROVEN = "the end is not proven: later lines or files may be missing"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


async def test_log_says_how_many_lines_are_missing_before_its_first_file(tmp_path, path):
    other = tmp_path / "complete.jsonl"
    await write_signed_run(other, "other")
    await write_signed_run(path, "first", deletions=3)
    rotate(path)
    await write_signed_run(path, "second")
    path.with_name("log.jsonl.1").unlink()
    for paths in ([path], [other, path]):
        log = verify(paths).logs[-1]
        assert (log.name, log.files, log.lines) == ("log.jsonl", (path,), 7)
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
        Tampering.REMOVED,
        f"The file does not continue {first}: a file between them is missing, or the end of "
        "log.jsonl.2 was cut off or changed. The last run before the gap is run-0, the first one "
        "after it run-2.",
        ("run-0", "run-2"),
    )
    assert verify([third], evidence=Evidence(public_key=KEY.public_key())).error == (
        VerificationError(
            LinePosition(third, 1),
            Tampering.REMOVED,
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
    assert (log.end, log.is_end_proven) == (end, proven == 11)


async def test_end_is_proven_by_the_last_checkpoint_if_the_key_signed_it(path):
    await write_signed_run(path, "first")
    _, note = await write_signed_run(path, "second")
    for evidence in (Evidence(public_key=KEY.public_key()), Evidence(note=note)):
        (log,) = verify([path], evidence=evidence).logs
        assert log.end == "the end is proven by the checkpoint of run second"
        assert log.is_end_proven
    (log,) = verify([path]).logs
    assert (log.end, log.is_end_proven) == (NOT_PROVEN, False)


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
            Tampering.REMOVED,
            f"The logs do not contain {what}: lines or files at the end are missing, or the log "
            "was rewritten.",
            ("first",),
        )


async def test_torn_line_of_a_killed_run_does_not_excuse_an_unsigned_end(path):
    await write_signed_run(path, "first")
    await write_signed_run(path, "killed", killed_after=0)
    path.write_bytes(path.read_bytes()[:-1])
    error = verify([path], evidence=Evidence(public_key=KEY.public_key())).error
    assert error == VerificationError(
        LinePosition(path, 9),
        Tampering.UNSIGNED,
        "The end of the log is not signed: run killed was killed, or lines were removed.",
        ("killed",),
    )


async def test_run_without_a_checkpoint_between_signed_ones_is_reported_at_its_end(path):
    await write_signed_run(path, "first")
    await write_signed_run(path, "unsigned", key=None)
    await write_signed_run(path, "third")
    assert verify([path]).error is None
    error = verify([path], evidence=Evidence(public_key=KEY.public_key())).error
    message = "The end of run unsigned has no checkpoint."
    position = LinePosition(path, 13)
    assert error == VerificationError(position, Tampering.UNSIGNED, message, ("unsigned",))


def test_damaged_compressed_file_is_reported_where_it_can_no_longer_be_read(path):
    write_run(path)
    compressed = path.with_name("log.jsonl.1.gz")
    data = gzip.compress(path.read_bytes())
    compressed.write_bytes(data[:-8] + bytes(8))
    assert verify([compressed]).error == VerificationError(
        LinePosition(compressed, 1),
        Tampering.CUT_SHORT,
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
    evidence = Evidence(note=note, public_key=key and key.public_key())
    with pytest.raises(GuardRefused) as refused:
        verify([path], evidence=evidence)
    assert refused.value.message == message
