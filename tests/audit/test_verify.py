"""What `audit verify` says of sound logs and of each kind of damage, line by line."""

import json
import re
from hashlib import sha256
from pathlib import Path

import orjson
import pytest
from audit.written_logs import answer, fields_of, write_events, write_run
from builders import invitation

from invite_sweeper.audit.reader import READ_BLOCK_BYTES
from invite_sweeper.audit.tampering import Tampering
from invite_sweeper.audit.verify import verify
from invite_sweeper.errors import UsageError
from invite_sweeper.models import Source

STARTED = ("run_started", {"mode": "sweep"})
FINISHED = ("run_finished", {"exit_code": 0})


def intent(number=1, **changes):
    return ("intent", fields_of(invitation(number, **changes)))


def outcome(number=1, kind="deleted", **more):
    return ("outcome", fields_of(invitation(number)) | answer(kind) | more)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


def damaged(path, change) -> list[bytes]:
    """The lines of two runs of 11 lines each, changed, and written back."""
    for run_id in ("run-1", "run-2"):
        write_run(path, run_id)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 22
    lines = change(lines) or lines
    path.write_bytes(b"".join(lines))
    return lines


SENTENCES = {
    Tampering.EDITED: r"The line was changed\.",
    Tampering.REMOVED: r"Lines before this one are missing\.",
    Tampering.INSERTED: r"The line does not belong here\.|Run .+ already started before this line\.",
    Tampering.REORDERED: r"Lines are not in the order in which they were written\.",
    Tampering.CUT_SHORT: r"The end of the line is missing\."
    r"|Run .+ has no end and (?:1 intent|\d+ intents) without an outcome: it was killed, or lines "
    r"were removed\. The next sweep resolves the intents of a killed run\.",
    Tampering.WITHOUT_OUTCOME: r"(?:1 intent has|(?:[2-9]|\d\d+) intents have) no outcome; "
    r"this is the first, of run .+\."
    r"|The intent is repeated in line \d+ without an outcome in between\.",
    Tampering.WITHOUT_INTENT: r"The outcome has no intent\.",
}


def found(*paths: Path, **options) -> tuple[int, str]:
    finding = verify(paths, **options).error
    assert finding is not None
    assert finding.position.path in paths
    assert re.fullmatch(SENTENCES[finding.kind], finding.message)
    return finding.position.line, finding.kind


def edit(line: bytes, old: str, new: str) -> bytes:
    assert old.encode() in line
    return line.replace(old.encode(), new.encode(), 1)


# Sound ----------------------------------------------------------------------------------------


def test_sound_log_is_told_with_its_lines_runs_and_last_hash(path):
    lines = damaged(path, lambda _: None)
    result = verify([path])
    assert (result.lines, result.runs, result.exit_code) == (22, 2, 0)
    assert (result.error, result.warnings) == (None, ())
    assert result.last_hash == sha256(lines[-1][:-1]).hexdigest()


def test_empty_log_is_sound_and_said_to_be_empty(path):
    path.touch()
    result = verify([path])
    assert (result.exit_code, result.lines) == (0, 0)
    assert result.warnings == ("The audit log is empty.",)
    assert result.last_hash == "0" * 64


def test_missing_file_is_a_usage_fault(path):
    with pytest.raises(UsageError, match=r"cannot be read: No such file or directory\.") as failed:
        verify([path])
    assert failed.value.hint == "Check that the file exists and that this user can read it."


def test_log_in_another_form_of_json_is_followed_as_well(path):
    """The contract fixes the fields, not the spaces between them."""
    prev, lines = "0" * 64, []
    events = [STARTED, intent(), outcome(), ("run_finished", {"exit_code": 0})]
    for seq, (event, fields) in enumerate(events, 1):
        record = {"ts": "t", "run_id": "r", "seq": seq, "event": event, "prev": prev, **fields}
        line = json.dumps(record).encode()
        prev = sha256(line).hexdigest()
        lines.append(line + b"\n")
    path.write_bytes(b"".join(lines))
    result = verify([path])
    assert (result.error, result.lines, result.runs) == (None, 4, 1)
    assert result.warnings == ("1 run ends with a line without a `seal`.",)
    lines[2] = edit(lines[2], '"deleted"', '"failed"')
    path.write_bytes(b"".join(lines))
    assert found(path) == (3, Tampering.EDITED)


def test_a_sound_log_has_no_more_lines_parsed_the_longer_it_is(tmp_path, monkeypatch):
    """Parsing each would take several times as long, and a log grows for years."""
    parsed, really = [], orjson.loads
    monkeypatch.setattr(orjson, "loads", lambda line: parsed.append(line) or really(line))
    counts = []
    for deletions in (2, 200):
        path = tmp_path / f"{deletions}.jsonl"
        write_run(path, "run-1", numbers=range(deletions))
        parsed.clear()
        assert verify([path]).error is None
        counts.append(len(parsed))
    assert counts[0] == counts[1] <= 3


@pytest.mark.parametrize("seq", [2, 3, 5, 11])
def test_number_that_is_edited_to_one_begins_no_run(path, seq):
    """From 3 to 1 it is one bit."""
    lines = damaged(path, lambda _: None)
    lines[seq - 1] = edit(lines[seq - 1], f'"seq":{seq},', '"seq":1,')
    path.write_bytes(b"".join(lines))
    assert found(path) == (seq, Tampering.EDITED)


def test_log_without_its_first_line_is_not_said_to_be_empty(path):
    lines = damaged(path, lambda _: None)
    path.write_bytes(b"".join(lines[1:]))
    result = verify([path])
    assert result.error is not None
    assert result.warnings == ()


def test_run_id_with_letters_that_json_escapes_is_followed(path):
    write_run(path, 'run "quoted" \\ ü')
    assert verify([path]).error is None


def test_run_id_however_long_is_followed(path):
    write_run(path, "r" * 300)
    assert verify([path]).error is None


# Damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, 23))
def test_an_edited_line_is_named(path, number):
    damaged(path, lambda lines: lines.__setitem__(number - 1, edit(lines[number - 1], ":0", ":9")))
    assert found(path) == (number, Tampering.EDITED)


@pytest.mark.parametrize("number", range(1, 23))
def test_an_edited_number_is_named(path, number):
    def change(lines):
        seq = json.loads(lines[number - 1])["seq"]
        lines[number - 1] = edit(lines[number - 1], f'"seq":{seq}', f'"seq":{seq + 40}')

    damaged(path, change)
    assert found(path) == (number, Tampering.EDITED)


@pytest.mark.parametrize("number", [4, 11, 15, 22])
@pytest.mark.parametrize("by", [-2, -1, 1, 2])
def test_an_edited_number_is_named_however_near_it_is(path, number, by):
    def change(lines):
        seq = json.loads(lines[number - 1])["seq"]
        lines[number - 1] = edit(lines[number - 1], f'"seq":{seq},', f'"seq":{seq + by},')

    damaged(path, change)
    assert found(path) == (number, Tampering.EDITED)


@pytest.mark.parametrize("number", range(2, 22))
def test_an_edited_prev_is_named(path, number):
    def change(lines):
        prev = json.loads(lines[number - 1])["prev"]
        lines[number - 1] = edit(lines[number - 1], prev, prev[::-1])

    damaged(path, change)
    line, kind = found(path)
    assert (line, kind) == (number, Tampering.EDITED) or (
        number == 12 and kind == Tampering.REMOVED
    )


def test_an_edited_prev_of_the_first_line_is_named(path):
    damaged(path, lambda lines: lines.__setitem__(0, edit(lines[0], "0" * 64, "1" * 64)))
    assert found(path) == (1, Tampering.EDITED)


@pytest.mark.parametrize("number", range(1, 22))
def test_an_edited_run_is_named(path, number):
    damaged(path, lambda ls: ls.__setitem__(number - 1, edit(ls[number - 1], "run-", "ruN-")))
    line, kind = found(path)
    assert kind == Tampering.EDITED
    assert line == number


@pytest.mark.parametrize("number", range(1, 22))
def test_missing_lines_are_told_at_the_line_after_them(path, number):
    damaged(path, lambda lines: lines[: number - 1] + lines[number:])
    assert found(path) == (number, Tampering.REMOVED)


@pytest.mark.parametrize(("start", "stop"), [(0, 11), (3, 6), (9, 13), (10, 12), (5, 15)])
def test_missing_blocks_are_told_too(path, start, stop):
    damaged(path, lambda lines: lines[:start] + lines[stop:])
    assert found(path) == (start + 1, Tampering.REMOVED)


@pytest.mark.parametrize("keep", [1, 2, 5, 8, 10, 12, 15, 20, 21])
def test_lines_cut_off_the_end_are_told(path, keep):
    damaged(path, lambda lines: lines[:keep])
    assert found(path) == (keep, Tampering.CUT_SHORT)


def test_a_run_cut_off_whole_cannot_be_told_but_by_its_hash(path):
    damaged(path, lambda lines: lines[:11])
    assert verify([path]).error is None


@pytest.mark.parametrize("number", range(1, 23))
def test_a_shortened_line_is_told(path, number):
    def change(lines):
        lines[number - 1] = lines[number - 1][:-9] + b"\n"

    damaged(path, change)
    assert found(path) == (number, Tampering.CUT_SHORT)


@pytest.mark.parametrize("number", [1, 2, 11, 12, 22])
def test_an_emptied_line_is_told(path, number):
    damaged(path, lambda lines: lines.__setitem__(number - 1, b"\n"))
    assert found(path) == (number, Tampering.CUT_SHORT)


@pytest.mark.parametrize("at", range(1, 23))
@pytest.mark.parametrize("what", [b"\n", b'{"event":"outcome"}\n', b"text\n"])
def test_a_foreign_line_is_told(path, at, what):
    damaged(path, lambda lines: [*lines[: at - 1], what, *lines[at - 1 :]])
    assert found(path) == (at, Tampering.INSERTED)


def test_a_foreign_line_that_is_json_and_no_record_is_told(path):
    damaged(path, lambda lines: [*lines[:4], b'[{"event":"outcome"}]\n', *lines[4:]])
    assert found(path) == (5, Tampering.INSERTED)


@pytest.mark.parametrize("at", range(1, 24))
@pytest.mark.parametrize("source", [0, 4, 10, 11, 15, 21])
def test_a_copied_line_is_told_at_its_second_place_or_beside_it(path, at, source):
    damaged(path, lambda lines: [*lines[: at - 1], lines[source], *lines[at - 1 :]])
    line, kind = found(path)
    assert kind == Tampering.INSERTED
    assert line == (at + 1 if at == source + 1 else at)


@pytest.mark.parametrize("at", range(22))
@pytest.mark.parametrize("to", [0, 3, 10, 11, 12, 21])
def test_a_moved_line_is_told_where_the_order_ends(path, at, to):
    def change(lines):
        line = lines.pop(at)
        lines.insert(to, line)

    if at == to:
        return
    damaged(path, change)
    assert found(path) == (min(at, to) + 1, Tampering.REORDERED)


def test_a_line_moved_farther_than_is_read_at_once_is_told(path):
    write_run(path, numbers=range(400))
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(-1, lines.pop(1))
    path.write_bytes(b"".join(lines))
    assert path.stat().st_size > 2 * READ_BLOCK_BYTES
    assert found(path) == (2, Tampering.REORDERED)


def test_a_moved_block_is_told(path):
    damaged(path, lambda lines: lines[:2] + lines[5:8] + lines[2:5] + lines[8:])
    assert found(path) == (3, Tampering.REORDERED)


def test_two_runs_the_wrong_way_round_are_told(path):
    damaged(path, lambda lines: lines[11:] + lines[:11])
    assert found(path) == (1, Tampering.REORDERED)


def test_a_copy_at_the_very_end_is_told(path):
    damaged(path, lambda lines: [*lines, lines[13]])
    assert found(path) == (23, Tampering.INSERTED)


def test_the_first_of_several_damages_is_named(path):
    def change(lines):
        lines[15] = edit(lines[15], "person", "nobody")
        del lines[6]

    damaged(path, change)
    assert found(path) == (7, Tampering.REMOVED)


def test_an_edited_name_of_the_last_event_of_a_run_is_found_by_its_seal(path):
    damaged(path, lambda ls: ls.__setitem__(10, edit(ls[10], "run_finished", "run_finishes")))
    assert found(path) == (11, Tampering.EDITED)


@pytest.mark.parametrize("old", ['"exit_code":0', '"seal":"', '"projects_seen":1'])
def test_an_edited_last_line_is_found_by_its_seal(path, old):
    new = {'"seal":"': '"sealX":"'}.get(old, old.replace("0", "4").replace(":1", ":7"))
    damaged(path, lambda lines: lines.__setitem__(21, edit(lines[21], old, new)))
    result = verify([path])
    if old == '"seal":"':  # no bit flip, and it could be a log without seals
        assert result.warnings == ("1 run ends with a line without a `seal`.",)
    else:
        assert found(path) == (22, Tampering.EDITED)


def test_every_bit_of_the_last_line_and_its_newline_counts(tmp_path):
    path = tmp_path / "log.jsonl"
    write_run(path, numbers=[])
    data = path.read_bytes()
    start = data.index(b"\n") + 1
    for at in range(start, len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            path.write_bytes(changed)
            assert verify([path]).exit_code == 3, (at - start, bit)


def test_an_edited_id_is_told_as_an_edit_not_as_a_missing_intent(path):
    for number in (6, 9):  # an intent, an outcome
        path.unlink(missing_ok=True)
        damaged(path, lambda ls, at=number: ls.__setitem__(at, edit(ls[at], "00000", "00001")))
        assert found(path) == (number + 1, Tampering.EDITED)


# The end --------------------------------------------------------------------------------------


def warned(path, rest: bytes) -> str:
    path.write_bytes(path.read_bytes() + rest)
    result = verify([path])
    assert result.exit_code == 0, result.error
    (warning,) = result.warnings
    return warning


@pytest.mark.parametrize(
    "rest", [b"{", b'{"ts":"2026-11-25T01', b"\0\0\0", b"\xff", b"[" * 100_000]
)
def test_torn_last_line_alone_is_a_warning(path, rest):
    write_run(path)
    assert warned(path, rest) == (
        f"{path}:12: the line is torn, as after a crash. No deletion depends on it."
    )


def test_torn_end_of_a_run_is_a_warning_when_every_intent_has_its_outcome(path):
    write_run(path)
    path.write_bytes(path.read_bytes()[:-20])
    result = verify([path])
    assert (result.exit_code, result.lines) == (0, 10)
    assert f"{path}:11: the line is torn" in result.warnings[0]


def test_whole_last_line_without_its_newline_is_a_torn_one(path):
    write_run(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert verify([path]).exit_code == 0
    assert len(verify([path]).warnings) == 1


@pytest.mark.parametrize("rest", [b"x", b" ", b"\x0b", b"{}"])
def test_anything_after_a_whole_last_line_is_no_tear(path, rest):
    write_run(path)
    path.write_bytes(path.read_bytes()[:-1] + rest)
    assert found(path) == (11, Tampering.EDITED)


def test_torn_line_after_an_open_intent_is_incomplete(path):
    write_events(path, "r", [STARTED, intent()])
    path.write_bytes(path.read_bytes() + b'{"ts')
    assert found(path) == (2, Tampering.WITHOUT_OUTCOME)


# Intents and outcomes -------------------------------------------------------------------------


def test_intent_without_an_outcome_is_incomplete(path):
    write_events(path, "r", [STARTED, intent(1), intent(2), outcome(1), intent(3), FINISHED])
    assert found(path) == (3, Tampering.WITHOUT_OUTCOME)
    assert verify([path]).error.message == (
        "2 intents have no outcome; this is the first, of run r."
    )


def test_outcome_without_an_intent_is_found(path):
    write_events(path, "r", [STARTED, intent(1), outcome(1), outcome(2), FINISHED])
    assert found(path) == (4, Tampering.WITHOUT_INTENT)


def test_second_outcome_of_one_intent_is_found(path):
    write_events(path, "r", [STARTED, intent(1), outcome(1), outcome(1), FINISHED])
    assert found(path) == (4, Tampering.WITHOUT_INTENT)


def test_second_intent_before_the_outcome_is_found_at_the_first(path):
    write_events(path, "r", [STARTED, intent(1), intent(1), outcome(1), FINISHED])
    assert found(path) == (2, Tampering.WITHOUT_OUTCOME)


def test_one_invitation_may_be_deleted_twice_in_a_row(path):
    write_events(path, "r", [STARTED, *[intent(1), outcome(1)] * 2, FINISHED])
    assert verify([path]).error is None


@pytest.mark.parametrize("change", ["project_id", "source", "id"])
def test_outcome_of_another_invitation_does_not_answer(path, change):
    other = {"project_id": "f" * 24, "source": Source.USERS, "id": "f" * 24}[change]
    write_events(path, "r", [STARTED, intent(1, **{change: other}), outcome(1), FINISHED])
    assert found(path) == (3, Tampering.WITHOUT_INTENT)


@pytest.mark.parametrize("more", [{"attempts": 0, "outcome": "failed"}, {"outcome": "skipped"}])
def test_what_was_never_sent_needs_no_intent(path, more):
    write_events(path, "r", [STARTED, outcome(1, **more), FINISHED])
    assert verify([path]).error is None


def test_killed_run_that_a_later_one_recovered_is_sound_and_told(path):
    write_events(path, "killed", [STARTED, intent(1), intent(2), outcome(1)])
    assert found(path) == (4, Tampering.CUT_SHORT)
    assert "Run killed has no end and 1 intent without an outcome" in verify([path]).error.message
    recovered = outcome(2, recovered=True, recovers="killed", attempts=0)
    write_events(path, "next", [STARTED, recovered, FINISHED])
    result = verify([path])
    assert result.error is None
    assert result.warnings == ("1 run has no end although later runs follow: killed.",)


def test_recovery_may_come_before_the_run_that_it_belongs_to_has_started(path):
    write_events(path, "killed", [STARTED, intent(1)])
    recovered = outcome(1, recovered=True, recovers="killed")
    write_events(path, "next", [recovered, STARTED, FINISHED])
    assert verify([path]).error is None


def test_recovering_one_run_does_not_answer_for_another(path):
    write_events(path, "one", [STARTED, intent(1)])
    write_events(path, "two", [STARTED, intent(1)])
    write_events(path, "next", [STARTED, outcome(1, recovers="two"), FINISHED])
    assert found(path) == (2, Tampering.WITHOUT_OUTCOME)
    write_events(path, "last", [STARTED, outcome(1, recovers="one"), FINISHED])
    assert verify([path]).error is None


def test_recovering_the_same_intent_twice_is_found(path):
    write_events(path, "one", [STARTED, intent(1)])
    twice = [outcome(1, recovers="one")] * 2
    write_events(path, "next", [STARTED, *twice, FINISHED])
    assert found(path) == (5, Tampering.WITHOUT_INTENT)


def test_recovering_a_run_of_a_file_that_was_not_given_is_told(path):
    others = [outcome(number, recovers="elsewhere") for number in (1, 2, 3)]
    write_events(path, "next", [STARTED, *others, FINISHED])
    result = verify([path])
    assert result.error is None
    assert result.warnings == ("3 outcomes recover runs that are not in these files.",)


def test_one_outcome_that_recovers_a_run_of_a_file_that_was_not_given_is_one(path):
    write_events(path, "next", [STARTED, outcome(1, recovers="elsewhere"), FINISHED])
    said = "1 outcome recovers a run that is not in these files."
    assert verify([path]).warnings == (said,)


def test_two_intents_without_an_outcome_are_two(path):
    write_events(path, "r", [STARTED, intent(1), intent(2), FINISHED])
    assert found(path) == (2, Tampering.WITHOUT_OUTCOME)
    assert verify([path]).error.message.startswith("2 intents have no outcome; this is the first")


def test_only_the_last_unfinished_runs_are_named(path):
    for number in range(8):
        write_events(path, f"run-{number}", [STARTED])
    write_run(path, "last")
    (warning,) = verify([path]).warnings
    assert warning == (
        "8 runs have no end although later runs follow: run-3, run-4, run-5, run-6, run-7."
    )


def test_intents_in_unusual_form_are_told_apart_too(path):
    """A project's name may hold anything, and other programs may order the fields."""
    tricky = {"project_name": '","source":"users', "project_id": 'p","project_name":"x'}
    events = [intent(1, **tricky), ("outcome", fields_of(invitation(1, **tricky)) | answer())]
    write_events(path, "r", [STARTED, *events, FINISHED])
    assert verify([path]).error is None
    backwards = [(name, dict(reversed(fields.items()))) for name, fields in events]
    path.unlink()
    write_events(path, "r", [STARTED, events[0], backwards[1], FINISHED])
    assert verify([path]).error is None


# Several files --------------------------------------------------------------------------------


def cut_in_two(path, at) -> tuple[Path, Path]:
    lines = damaged(path, lambda _: None)
    first, second = path.with_name("first"), path.with_name("second")
    first.write_bytes(b"".join(lines[:at]))
    second.write_bytes(b"".join(lines[at:]))
    return first, second


def test_rotated_files_each_begin_a_chain_and_are_sound_together(tmp_path):
    files = [tmp_path / name for name in ("log.2", "log.1", "log")]
    write_events(files[0], "killed", [STARTED, intent(1)])
    write_events(files[1], "next", [STARTED, outcome(1, recovers="killed"), FINISHED])
    write_run(files[2], "last")
    result = verify(files)
    assert (result.error, result.runs, result.lines) == (None, 3, 16)


@pytest.mark.parametrize("at", range(1, 22))
def test_file_cut_in_two_is_sound_together_and_damaged_apart(path, at):
    first, second = cut_in_two(path, at)
    assert verify([first, second]).error is None
    assert verify([first, second]).lines == 22
    assert (verify([first]).error is None) == (at == 11)
    assert found(second) == (1, Tampering.REMOVED) or at == 21


@pytest.mark.parametrize("at", range(1, 22))
def test_second_half_alone_is_sound_as_a_continuation(path, at):
    _, second = cut_in_two(path, at)
    result = verify([second], continuation=True)
    assert result.error is None
    assert result.lines == 22 - at


def test_continuation_is_for_the_first_file_alone(path):
    first, second = cut_in_two(path, 5)
    other = path.with_name("other")
    write_run(other, "other")
    line, kind = found(other, second, continuation=True)
    assert (line, kind) == (1, Tampering.REMOVED)
    assert verify([first], continuation=True).error.kind == Tampering.CUT_SHORT


def test_continuation_still_finds_what_is_wrong_later(path):
    _, second = cut_in_two(path, 5)
    lines = second.read_bytes().splitlines(keepends=True)
    del lines[3]
    second.write_bytes(b"".join(lines))
    assert found(second, continuation=True) == (4, Tampering.REMOVED)


@pytest.mark.parametrize("seq", ['"6"', "6.0", "true", "null"])
def test_first_line_of_a_continuation_whose_number_is_no_whole_one_is_found(path, seq):
    _, second = cut_in_two(path, 5)
    data = second.read_bytes()
    second.write_bytes(data.replace(b'"seq":6,', f'"seq":{seq},'.encode(), 1))
    assert found(second, continuation=True) == (1, Tampering.EDITED)


def test_an_outcome_without_an_intent_is_found_in_the_second_run_of_a_continuation(path):
    write_run(path, "run-1")
    write_events(path, "run-2", [STARTED, outcome(5), FINISHED])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[6:]))
    assert found(path, continuation=True) == (7, Tampering.WITHOUT_INTENT)


def test_continuation_that_begins_with_a_run_knows_all_intents_of_it(path):
    write_run(path, "run-1")
    write_events(path, "run-2", [STARTED, outcome(5), FINISHED])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[11:]))
    assert found(path, continuation=True) == (2, Tampering.WITHOUT_INTENT)


def test_damaged_first_line_of_a_later_file_is_found(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    write_run(first, "one")
    write_run(second, "two")
    second.write_bytes(b"x" + second.read_bytes()[1:])
    finding = verify([first, second]).error
    assert (finding.position.path, finding.position.line, finding.kind) == (
        second,
        1,
        Tampering.EDITED,
    )
    assert str(finding.position) == f"{second}:1"


def test_torn_end_of_an_earlier_file_is_forgotten_when_the_next_one_is_sound(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    write_run(first, "one")
    first.write_bytes(first.read_bytes() + b'{"t')
    write_run(second, "two")
    assert verify([first, second]).exit_code == 0
    assert f"{first}:12: the line is torn" in verify([first, second]).warnings[0]


def test_torn_earlier_file_does_not_excuse_the_last_one(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    write_run(first, "one")
    first.write_bytes(first.read_bytes() + b'{"t')
    write_events(second, "two", [STARTED])
    assert found(first, second) == (1, Tampering.CUT_SHORT)


# One file, one run --------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["as it is", "by another way", "by a link", "by a hard link"])
def test_one_file_given_twice_is_a_usage_fault_that_names_both(tmp_path, path, how):
    write_run(path)
    other = {
        "as it is": path,
        "by another way": tmp_path / "." / ".." / tmp_path.name / path.name,
    }.get(how, tmp_path / "other")
    if how == "by a link":
        other.symlink_to(path)
    elif how == "by a hard link":
        other.hardlink_to(path)
    between = tmp_path / "between"
    write_run(between, "run-2")
    with pytest.raises(UsageError) as failed:
        verify([path, between, other])
    assert failed.value.message == f"{path} and {other} are the same audit log."
    assert failed.value.hint == "Name each file once."


def test_missing_file_given_twice_is_still_said_to_be_missing(path):
    with pytest.raises(UsageError, match="cannot be read"):
        verify([path, path])


def test_file_given_twice_is_told_before_one_that_is_missing(tmp_path, path):
    write_run(path)
    with pytest.raises(UsageError, match="are the same audit log"):
        verify([tmp_path / "missing", path, path])


def test_two_runs_without_a_seal_are_two(path):
    for run_id in ("run-1", "run-2"):
        write_events(path, run_id, [STARTED])
        prev = path.read_bytes().splitlines()[-1]
        record = {
            "ts": "2026-11-25T01:02:03.000000Z",
            "run_id": run_id,
            "seq": 2,
            "event": "run_finished",
        }
        line = orjson.dumps({**record, "prev": sha256(prev).hexdigest(), "exit_code": 0})
        path.write_bytes(path.read_bytes() + line + b"\n")
    assert verify([path]).warnings == ("2 runs end with a line without a `seal`.",)


def test_copy_of_a_log_is_found_at_its_first_line(tmp_path, path):
    write_run(path)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    result = verify([path, copy])
    assert (result.lines, result.runs, result.exit_code) == (11, 1, 3)
    finding = result.error
    assert (finding.position.path, finding.position.line, finding.kind) == (
        copy,
        1,
        Tampering.INSERTED,
    )
    assert finding.message == "Run run-1 already started before this line."


@pytest.mark.parametrize("apart", [0, 1], ids=["at once", "after another run"])
def test_run_that_begins_twice_in_a_sound_chain_is_found_where_it_begins_again(path, apart):
    for run_id in ("run-1", *["run-2"] * apart, "run-1"):
        write_run(path, run_id)
    assert found(path) == (11 * (1 + apart) + 1, Tampering.INSERTED)


def test_run_that_goes_on_in_the_next_file_has_begun_once(path):
    first, second = cut_in_two(path, 5)
    result = verify([first, second])
    assert (result.error, result.runs) == (None, 2)


def test_run_of_a_continuation_that_begins_again_is_found(path):
    _, second = cut_in_two(path, 5)
    write_run(second, "run-1")
    lines = second.read_bytes().count(b"\n")
    assert found(second, continuation=True) == (lines - 10, Tampering.INSERTED)


def test_run_id_that_is_edited_to_an_earlier_one_is_an_edited_line(path):
    lines = damaged(path, lambda _: None)
    lines[11] = edit(lines[11], '"run-2"', '"run-1"')
    path.write_bytes(b"".join(lines))
    assert found(path) == (12, Tampering.EDITED)
