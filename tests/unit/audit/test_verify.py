"""`audit verify`: valid logs, and each kind of damage at each line."""

import gzip
import json
import re
import resource
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from audit.damages import MOVED
from audit.rotated_logs import rotate, write_finished_run
from audit.written_logs import (
    answer,
    fields_of,
    lines_of,
    write_earlier_version,
    write_events,
    write_run,
)
from builders import invitation

from invite_sweeper.audit import LinePosition, LogPath
from invite_sweeper.audit.chain import checksum_ok, line_hash
from invite_sweeper.audit.damage import Damage
from invite_sweeper.audit.reader import READ_BLOCK_BYTES
from invite_sweeper.audit.verify import Verdict, verify
from invite_sweeper.errors import UsageError
from invite_sweeper.models import Source

STARTED = ("run_started", {"mode": "sweep"})
FINISHED = ("run_finished", {"exit_code": 0})


def intent(number=1, **changes):
    return ("intent", fields_of(invitation(number, **changes)))


def outcome(number=1, kind="deleted", **more):
    return ("outcome", fields_of(invitation(number)) | answer(kind) | more)


@cache
def lines_of_two_runs() -> tuple[bytes, ...]:
    """Return the lines of a log of two runs, 11 each."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "log.jsonl")
        for run_id in ("run-1", "run-2"):
            write_run(path, run_id)
        return tuple(path.read_bytes().splitlines(keepends=True))


def write_damaged(path, change) -> list[bytes]:
    """Write two runs of 11 lines each, apply the change, and return the lines."""
    lines = list(lines_of_two_runs())
    assert len(lines) == 22
    lines = change(lines) or lines
    path.write_bytes(b"".join(lines))
    return lines


MESSAGES = {
    Damage.CHANGED: r"The line was changed\.",
    Damage.REMOVED: r"Lines before this one are missing\."
    r"|The log begins after a file that is not here\. Pass --continuation if it was left out on "
    r"purpose\. The first run here is run-\d\."
    r"|The file does not continue .+: a file between them is missing, or the end of .+ was cut "
    r"off or changed\. The last run before the gap is run-\d, the first one after it run-\d\.",
    Damage.INSERTED: r"The line does not belong here\."
    r"|Run .+ already started before this line\."
    r"|The file is a copy of .+: run .+ already started there\."
    r"|A second history begins here: the first line does not continue .+\.",
    Damage.INCOMPLETE: r"(?:1 intent has|(?:[2-9]|\d\d+) intents have) no outcome; "
    r"this is the first, of run .+\."
    r"|The intent is repeated in line \d+ without an outcome in between\."
    r"|The outcome has no intent\.",
    Damage.UNFINISHED: r"Run .+ has no end and (?:1 intent|\d+ intents) without an outcome: it was "
    r"killed, or lines were removed\. The next sweep resolves the intents of a killed run\."
    r"|(?:1 intent has|(?:[2-9]|\d\d+) intents have) no outcome; this is the first, of run .+\.",
}


def first_error(*paths: Path, **options) -> tuple[int, str]:
    error = verify(paths, **options).error
    assert error is not None
    assert error.position.path in paths
    assert re.fullmatch(MESSAGES[error.kind], error.message)
    return error.position.line, error.kind


def replace_once(line: bytes, old: str, new: str) -> bytes:
    assert old.encode() in line
    return line.replace(old.encode(), new.encode(), 1)


# Valid logs -----------------------------------------------------------------------------------


def test_valid_log_reports_its_lines_runs_and_last_hash(path):
    lines = write_damaged(path, lambda _: None)
    result = verify([path])
    assert (result.lines, result.runs, result.exit_code) == (22, 2, 0)
    assert (result.error, result.warnings) == (None, ())
    assert result.last_hash == sha256(lines[-1][:-1]).hexdigest()


def test_empty_log_is_valid_with_a_warning(path):
    path.touch()
    result = verify([path])
    assert (result.exit_code, result.lines) == (0, 0)
    assert result.warnings == ("The audit log is empty.",)
    assert result.last_hash == "0" * 64


def test_missing_file_is_a_usage_error(path):
    with pytest.raises(UsageError, match=r"cannot be read: No such file or directory\.") as failed:
        verify([path])
    assert failed.value.hint == "Check that the file exists and that this user can read it."


def test_log_in_other_json_formatting_is_verified(path):
    """The contract fixes the fields, not the whitespace between them."""
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
    lines[2] = replace_once(lines[2], '"deleted"', '"failed"')
    path.write_bytes(b"".join(lines))
    assert first_error(path) == (3, Damage.CHANGED)


@pytest.mark.parametrize("seq", [2, 3, 5, 11])
def test_seq_edited_to_1_does_not_start_a_run(path, seq):
    """3 and 1 differ by one bit."""
    lines = write_damaged(path, lambda _: None)
    lines[seq - 1] = replace_once(lines[seq - 1], f'"seq":{seq},', '"seq":1,')
    path.write_bytes(b"".join(lines))
    assert first_error(path) == (seq, Damage.CHANGED)


def test_log_without_its_first_line_is_not_reported_as_empty(path):
    lines = write_damaged(path, lambda _: None)
    path.write_bytes(b"".join(lines[1:]))
    result = verify([path])
    assert result.error is not None
    assert result.warnings == ()


@pytest.mark.parametrize("run_id", ['run "quoted" \\ ü', "r" * 300], ids=["escaped", "long"])
def test_any_run_id_is_verified(path, run_id):
    write_run(path, run_id)
    assert verify([path]).error is None


# Damage ---------------------------------------------------------------------------------------


def test_bytes_that_no_crash_leaves_in_a_file_without_a_line_are_reported(path):
    path.write_bytes(b"{}x")
    assert first_error(path) == (1, Damage.CHANGED)


def test_error_before_the_first_run_names_no_run(path):
    path.write_bytes(b"{}\n")
    error = verify([path]).error
    assert (error.position.line, error.kind, error.runs) == (1, Damage.CHANGED, ())


def edit(number, old, new):
    """Return a change of one text in a line; `old` and `new` may depend on the line's record."""

    def change(lines):
        line = lines[number - 1]
        texts = [text(json.loads(line)) if callable(text) else text for text in (old, new)]
        lines[number - 1] = replace_once(line, *texts)

    return change


def edit_seq(number, by):
    return edit(number, lambda r: f'"seq":{r["seq"]},', lambda r: f'"seq":{r["seq"] + by},')


def shorten(number):
    return lambda lines: lines.__setitem__(number - 1, lines[number - 1][:-9] + b"\n")


def insert(at, line):
    return lambda lines: lines.insert(at - 1, line)


def empty(number):
    return lambda lines: lines.__setitem__(number - 1, b"\n")


def without(start, stop):
    return lambda lines: lines[:start] + lines[stop:]


FOREIGN = [b"\n", b'{"event":"outcome"}\n', b"text\n"]
REPORTED = {
    Damage.CHANGED: {
        **{f"line {n} edited": (edit(n, ":0", ":9"), n) for n in range(1, 23)},
        **{f"seq of line {n} edited by 40": (edit_seq(n, 40), n) for n in range(1, 23)},
        **{
            f"seq of line {n} edited by {by}": (edit_seq(n, by), n)
            for n in (4, 11, 15, 22)
            for by in (-2, -1, 1, 2)
        },
        **{
            f"prev of line {n} edited": (edit(n, lambda r: r["prev"], lambda r: r["prev"][::-1]), n)
            for n in range(2, 22)
            if n != 12  # begins a run: lines before it could be missing
        },
        "prev of the first line edited": (edit(1, "0" * 64, "1" * 64), 1),
        **{f"run_id of line {n} edited": (edit(n, "run-", "ruN-"), n) for n in range(1, 22)},
        **{f"line {n} shortened": (shorten(n), n) for n in range(1, 23)},
        **{f"line {n} emptied": (empty(n), n) for n in (1, 2, 11, 12, 22)},
        "event of a run's last line edited": (edit(11, "run_finished", "run_finishes"), 11),
        "id of an intent edited": (edit(7, "00000", "00001"), 7),
        "id of an outcome edited": (edit(10, "00000", "00001"), 10),
    },
    Damage.REMOVED: {
        **{f"line {n} removed": (without(n - 1, n), n) for n in range(1, 22)},
        **{
            f"lines {start + 1} to {stop} removed": (without(start, stop), start + 1)
            for start, stop in ((0, 10), (3, 6), (9, 13), (10, 12), (5, 15))
        },
        "lines moved": (lambda lines: lines[:2] + lines[5:8] + lines[2:5] + lines[8:], 3),
        "runs swapped": (lambda lines: lines[11:] + lines[:11], 12),
        "prev of a run's first line edited": (
            edit(12, lambda r: r["prev"], lambda r: r["prev"][::-1]), 12,
        ),
    },
    Damage.UNFINISHED: {
        f"all but {keep} lines removed": (without(keep, 22), keep)
        for keep in (1, 2, 5, 8, 10, 12, 15, 20, 21)
    },
    Damage.INSERTED: {
        **{
            f"{what!r} at line {at}": (insert(at, what), at)
            for at in range(1, 23)
            for what in FOREIGN
        },
        "a JSON list": (insert(5, b'[{"event":"outcome"}]\n'), 5),
        "a copied line at the end": (lambda lines: [*lines, lines[13]], 23),
    },
}  # fmt: skip
"""Changes of a log of two runs of 11 lines, and the line at which each is reported."""


@pytest.mark.parametrize(
    ("change", "kind", "line"),
    [
        pytest.param(change, kind, line, id=name)
        for kind, changes in REPORTED.items()
        for name, (change, line) in changes.items()
    ],
)
def test_damage_is_reported_at_its_line(path, change, kind, line):
    write_damaged(path, change)
    assert first_error(path) == (line, kind)


def test_removal_of_the_whole_last_run_is_not_detected(path):
    write_damaged(path, lambda lines: lines[:11])
    assert verify([path]).error is None


@pytest.mark.parametrize("at", range(1, 24))
@pytest.mark.parametrize("source", [0, 4, 10, 11, 15, 21])
def test_copied_line_is_reported_at_the_copy(path, at, source):
    write_damaged(path, lambda lines: [*lines[: at - 1], lines[source], *lines[at - 1 :]])
    line, kind = first_error(path)
    if (at, source) == (1, 11):  # the log could begin with this run, after a file not here
        assert (line, kind) == (2, Damage.REMOVED)
        return
    assert kind == Damage.INSERTED
    assert line == (at + 1 if at == source + 1 else at)


@pytest.mark.parametrize("at", range(22))
@pytest.mark.parametrize("to", [0, 3, 10, 11, 12, 21])
def test_moved_line_is_reported_where_the_order_breaks(path, at, to):
    def change(lines):
        line = lines.pop(at)
        lines.insert(to, line)

    if at == to:
        return
    write_damaged(path, change)
    first_wrong = min(at, to) + 1
    if (at, to) == (11, 0):  # the log could begin with this run, after a file not here
        first_wrong = 2
    line, kind = first_error(path)
    assert (line, kind in MOVED) == (first_wrong, True)


def test_line_moved_farther_than_one_read_block_is_reported(path):
    write_run(path, numbers=range(400))
    lines = path.read_bytes().splitlines(keepends=True)
    lines.insert(-1, lines.pop(1))
    path.write_bytes(b"".join(lines))
    assert path.stat().st_size > 2 * READ_BLOCK_BYTES
    assert first_error(path) == (2, Damage.REMOVED)


def test_first_of_several_damages_is_reported(path):
    def change(lines):
        lines[15] = replace_once(lines[15], "person", "member")
        del lines[6]

    write_damaged(path, change)
    assert first_error(path) == (7, Damage.REMOVED)


@pytest.mark.parametrize("old", ['"exit_code":0', '"seal":"', '"projects_seen":1'])
def test_edited_last_line_is_detected_by_its_checksum(path, old):
    new = {'"seal":"': '"sealX":"'}.get(old, old.replace("0", "4").replace(":1", ":7"))
    write_damaged(path, lambda lines: lines.__setitem__(21, replace_once(lines[21], old, new)))
    result = verify([path])
    if old == '"seal":"':  # not a bit flip; it could be a log without checksums
        assert result.warnings == ("1 run ends with a line without a `seal`.",)
    else:
        assert first_error(path) == (22, Damage.CHANGED)


def test_every_flipped_bit_of_the_last_line_is_detected(tmp_path):
    path = tmp_path / "log.jsonl"
    write_run(path, numbers=[])
    LogPath(str(path)).head_path.unlink()
    data = path.read_bytes()
    start = data.index(b"\n") + 1
    for at in range(start, len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            if checksum_ok(bytes(changed[start:-1])) is False and at % 16:
                continue  # what a wrong checksum leads to is the same for all
            path.write_bytes(changed)
            assert verify([path]).exit_code == 3, (at - start, bit)


# End of the file ------------------------------------------------------------------------------


def warning_after(path, rest: bytes) -> str:
    path.write_bytes(path.read_bytes() + rest)
    result = verify([path])
    assert result.exit_code == 0, result.error
    (warning,) = result.warnings
    return warning


@pytest.mark.parametrize(
    "rest",
    [b"{", b'{"ts":"2026-11-25T01', b"\0\0\0", b"\xff", b"[" * 100_000, b'{"seq":' + b"9" * 5000],
    ids=["brace", "date", "zeros", "not UTF-8", "brackets", "digits"],
)
def test_torn_last_line_is_a_warning(path, rest):
    write_run(path)
    assert warning_after(path, rest) == (
        f"{path}:12: the line is torn, as after a crash. No deletion depends on it."
    )


def test_torn_last_line_of_a_run_is_a_warning_if_every_intent_has_an_outcome(path):
    write_run(path)
    LogPath(str(path)).head_path.unlink()
    path.write_bytes(path.read_bytes()[:-20])
    result = verify([path])
    assert (result.exit_code, result.lines) == (0, 10)
    assert f"{path}:11: the line is torn" in result.warnings[0]


def test_complete_last_line_without_a_newline_is_torn(path):
    write_run(path)
    LogPath(str(path)).head_path.unlink()
    path.write_bytes(path.read_bytes()[:-1])
    assert verify([path]).exit_code == 0
    assert len(verify([path]).warnings) == 1


@pytest.mark.parametrize("rest", [b"x", b" ", b"\x0b", b"{}"])
def test_bytes_in_place_of_the_last_newline_are_reported_as_an_edit(path, rest):
    write_run(path)
    path.write_bytes(path.read_bytes()[:-1] + rest)
    assert first_error(path) == (11, Damage.CHANGED)
    assert verify([path]).error.runs == ("run-1",)


def test_more_than_one_value_in_the_only_line_is_an_edit_of_no_known_run(path):
    path.write_bytes(b"{}{}")
    error = verify([path]).error
    assert (error.position.line, error.kind, error.runs) == (1, Damage.CHANGED, ())


def test_torn_line_after_an_open_intent_is_unfinished(path):
    write_events(path, "r", [STARTED, intent()])
    path.write_bytes(path.read_bytes() + b'{"ts')
    assert first_error(path) == (2, Damage.UNFINISHED)


# Intents and outcomes -------------------------------------------------------------------------


def test_verdict_of_a_killed_run_is_unfinished_and_that_of_a_missing_line_damaged(path):
    write_run(path)
    assert verify([path]).verdict is Verdict.SOUND
    write_events(path, "killed", [STARTED, intent(1)])
    result = verify([path])
    assert (result.verdict, result.exit_code, result.lines) == (Verdict.UNFINISHED, 3, 13)
    assert result.error.runs == ("killed",)
    path.write_bytes(path.read_bytes().replace(b"person-1", b"person-2", 1))
    assert verify([path]).verdict is Verdict.DAMAGED


def test_intent_of_a_killed_run_that_no_later_run_resolved_is_unfinished(path):
    write_events(path, "killed", [STARTED, intent(1)])
    write_run(path, "dry", mode="dry-run")
    assert first_error(path) == (2, Damage.UNFINISHED)
    write_events(path, "odd", [STARTED, intent(2), FINISHED])
    assert first_error(path) == (9, Damage.INCOMPLETE)


def test_intent_without_an_outcome_is_incomplete(path):
    write_events(path, "r", [STARTED, intent(1), intent(2), outcome(1), intent(3), FINISHED])
    assert first_error(path) == (3, Damage.INCOMPLETE)
    error = verify([path]).error
    assert error.message == "2 intents have no outcome; this is the first, of run r."
    assert error.runs == ("r",)


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([intent(1), outcome(1), outcome(2)], 4),
        ([intent(1), outcome(1), outcome(1)], 4),
        ([intent(1), intent(1), outcome(1)], 2),
    ],
    ids=["outcome without an intent", "second outcome", "second intent before the outcome"],
)
def test_intent_and_outcome_that_are_no_pair_are_reported(path, events, line):
    write_events(path, "r", [STARTED, *events, FINISHED])
    assert first_error(path) == (line, Damage.INCOMPLETE)


def test_invitation_deleted_twice_in_one_run_is_valid(path):
    write_events(path, "r", [STARTED, *[intent(1), outcome(1)] * 2, FINISHED])
    assert verify([path]).error is None


@pytest.mark.parametrize("change", ["project_id", "source", "id"])
def test_outcome_of_another_invitation_does_not_resolve_an_intent(path, change):
    other = {"project_id": "f" * 24, "source": Source.USERS, "id": "f" * 24}[change]
    write_events(path, "r", [STARTED, intent(1, **{change: other}), outcome(1), FINISHED])
    assert first_error(path) == (3, Damage.INCOMPLETE)


@pytest.mark.parametrize("more", [{"attempts": 0, "outcome": "failed"}, {"outcome": "skipped"}])
def test_outcome_without_a_sent_request_needs_no_intent(path, more):
    write_events(path, "r", [STARTED, outcome(1, **more), FINISHED])
    assert verify([path]).error is None


def test_killed_run_that_a_later_run_recovered_is_valid_with_a_warning(path):
    write_events(path, "killed", [STARTED, intent(1), intent(2), outcome(1)])
    assert first_error(path) == (4, Damage.UNFINISHED)
    assert "Run killed has no end and 1 intent without an outcome" in verify([path]).error.message
    recovered = outcome(2, recovered=True, recovers="killed", attempts=0)
    write_events(path, "next", [STARTED, recovered, FINISHED])
    result = verify([path])
    assert result.error is None
    assert result.warnings == ("1 run has no end although later runs follow: killed.",)


def test_recovered_outcome_before_the_recovering_run_s_first_line_is_valid(path):
    write_events(path, "killed", [STARTED, intent(1)])
    recovered = outcome(1, recovered=True, recovers="killed")
    write_events(path, "next", [recovered, STARTED, FINISHED])
    assert verify([path]).error is None


def test_recovered_outcome_resolves_only_the_named_run_s_intent(path):
    write_events(path, "one", [STARTED, intent(1)])
    write_events(path, "two", [STARTED, intent(1)])
    write_events(path, "next", [STARTED, outcome(1, recovers="two"), FINISHED])
    assert first_error(path) == (2, Damage.UNFINISHED)
    write_events(path, "last", [STARTED, outcome(1, recovers="one"), FINISHED])
    assert verify([path]).error is None


def test_intent_recovered_twice_is_reported(path):
    write_events(path, "one", [STARTED, intent(1)])
    twice = [outcome(1, recovers="one")] * 2
    write_events(path, "next", [STARTED, *twice, FINISHED])
    assert first_error(path) == (5, Damage.INCOMPLETE)


@pytest.mark.parametrize(
    ("count", "warning"),
    [
        (1, "1 outcome recovers a run that is not in these files."),
        (3, "3 outcomes recover runs that are not in these files."),
    ],
)
def test_outcomes_that_recover_a_run_of_another_file_are_a_warning(path, count, warning):
    others = [outcome(number, recovers="elsewhere") for number in range(count)]
    write_events(path, "next", [STARTED, *others, FINISHED])
    result = verify([path])
    assert (result.error, result.warnings) == (None, (warning,))


def test_warning_names_the_last_5_unfinished_runs(path):
    for number in range(8):
        write_events(path, f"run-{number}", [STARTED])
    write_run(path, "last")
    (warning,) = verify([path]).warnings
    assert warning == (
        "8 runs have no end although later runs follow: run-3, run-4, run-5, run-6, run-7."
    )


def test_intents_with_unusual_contents_or_field_order_are_matched(path):
    """A project name may contain any text, and field order is not fixed."""
    unusual = {"project_name": '","source":"users', "project_id": 'p","project_name":"x'}
    events = [intent(1, **unusual), ("outcome", fields_of(invitation(1, **unusual)) | answer())]
    write_events(path, "r", [STARTED, *events, FINISHED])
    assert verify([path]).error is None
    reordered = [(name, dict(reversed(fields.items()))) for name, fields in events]
    path.unlink()
    write_events(path, "r", [STARTED, events[0], reordered[1], FINISHED])
    assert verify([path]).error is None


def test_compressed_line_of_300_mib_is_reported_in_bounded_memory(tmp_path):
    path = tmp_path / "log.jsonl.1.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert first_error(path) == (1, Damage.CHANGED)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10


# Several files --------------------------------------------------------------------------------


def split_file(path, at) -> tuple[Path, Path]:
    lines = write_damaged(path, lambda _: None)
    first, second = path.with_name("first"), path.with_name("second")
    first.write_bytes(b"".join(lines[:at]))
    second.write_bytes(b"".join(lines[at:]))
    return first, second


def test_rotated_files_that_each_start_a_chain_are_valid_together(tmp_path):
    files = [tmp_path / name for name in ("log.2", "log.1", "log")]
    write_earlier_version(files[0], "killed", [STARTED, intent(1)])
    write_earlier_version(files[1], "next", [STARTED, outcome(1, recovers="killed"), FINISHED])
    write_earlier_version(files[2], "last", [STARTED, FINISHED])
    result = verify(files)
    assert (result.error, result.runs, result.lines) == (None, 3, 7)
    assert result.warnings == (
        "1 run has no end although later runs follow: killed.",
        "3 files each start a hash chain: the order between them is not proven.",
    )


@pytest.mark.parametrize("at", range(1, 22))
def test_split_file_is_valid_together_and_damaged_separately(path, at):
    first, second = split_file(path, at)
    assert verify([first, second]).error is None
    assert verify([first, second]).lines == 22
    assert (verify([first]).error is None) == (at == 11)
    if at == 11:  # between two runs, where a log may have been rotated
        (log,) = verify([second]).logs
        assert log.beginning == "begins after a file that is not here"
    else:
        assert first_error(second) == (1, Damage.REMOVED) or at == 21


@pytest.mark.parametrize("at", range(1, 22))
def test_second_part_alone_is_valid_as_a_continuation(path, at):
    _, second = split_file(path, at)
    result = verify([second], continuation=True)
    assert result.error is None
    assert result.lines == 22 - at


def test_continuation_does_not_excuse_a_missing_file_or_a_missing_end(path):
    first, _ = split_file(path, 5)
    write_run(path, "run-3")
    third = path.with_name("third")
    third.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[22:]))
    assert verify([third], continuation=True).error is None
    assert first_error(first, third, continuation=True) == (1, Damage.REMOVED)
    assert verify([first], continuation=True).error.kind == Damage.UNFINISHED


def test_damage_later_in_a_continuation_is_reported(path):
    _, second = split_file(path, 5)
    lines = second.read_bytes().splitlines(keepends=True)
    del lines[3]
    second.write_bytes(b"".join(lines))
    assert first_error(second, continuation=True) == (4, Damage.REMOVED)


@pytest.mark.parametrize("seq", ['"6"', "6.0", "true", "null"])
def test_first_seq_of_a_continuation_that_is_not_an_integer_is_reported(path, seq):
    _, second = split_file(path, 5)
    data = second.read_bytes()
    second.write_bytes(data.replace(b'"seq":6,', f'"seq":{seq},'.encode(), 1))
    assert first_error(second, continuation=True) == (1, Damage.CHANGED)


@pytest.mark.parametrize(("left_out", "line"), [(6, 7), (11, 2)], ids=["in a run", "whole runs"])
def test_missing_intent_is_reported_in_the_second_run_of_a_continuation(path, left_out, line):
    write_run(path, "run-1")
    write_events(path, "run-2", [STARTED, outcome(5), FINISHED])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[left_out:]))
    assert first_error(path, continuation=True) == (line, Damage.INCOMPLETE)


@pytest.mark.parametrize(
    ("old", "new"), [(rb"^{", b"x"), (rb'"prev":"....', b'"prev":"0000')], ids=["start", "prev"]
)
def test_damaged_first_line_of_a_later_file_is_reported(path, old, new):
    first, second = path.with_name("log.jsonl.1"), path
    write_run(path, "one")
    rotate(path)
    write_run(path, "two")
    second.write_bytes(re.sub(old, new, second.read_bytes(), count=1))
    error = verify([first, second]).error
    assert (error.position, error.kind) == (LinePosition(second, 1), Damage.CHANGED)
    assert str(error.position) == f"{second}:1"


def test_torn_last_line_of_an_earlier_file_is_a_warning(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    write_run(first, "one")
    first.write_bytes(first.read_bytes() + b'{"t')
    write_run(second, "two")
    assert verify([first, second]).exit_code == 0
    assert f"{first}:12: the line is torn" in verify([first, second]).warnings[0]


def test_torn_line_of_an_earlier_file_does_not_excuse_an_unfinished_run(tmp_path):
    first, second = tmp_path / "1", tmp_path / "2"
    write_run(first, "one")
    first.write_bytes(first.read_bytes() + b'{"t')
    write_events(second, "two", [STARTED])
    assert first_error(first, second) == (1, Damage.UNFINISHED)


# Duplicate files and runs ---------------------------------------------------------------------


@pytest.mark.parametrize("how", ["same path", "other spelling", "symlink", "hard link"])
def test_duplicate_file_is_a_usage_error_that_names_both_paths(tmp_path, path, how):
    write_run(path)
    other = {
        "same path": path,
        "other spelling": tmp_path / "." / ".." / tmp_path.name / path.name,
    }.get(how, tmp_path / "other")
    if how == "symlink":
        other.symlink_to(path)
    elif how == "hard link":
        other.hardlink_to(path)
    between = tmp_path / "between"
    write_run(between, "run-2")
    with pytest.raises(UsageError) as failed:
        verify([path, between, other])
    assert failed.value.message == f"{path} and {other} are the same audit log."
    assert failed.value.hint == "Name each file once."


def test_file_named_twice_is_missing_before_it_is_a_duplicate(tmp_path, path):
    with pytest.raises(UsageError, match="cannot be read"):
        verify([path, path])
    write_run(path)
    with pytest.raises(UsageError, match="are the same audit log"):
        verify([tmp_path / "missing", path, path])


def test_number_of_runs_without_a_checksum_is_reported(path):
    for run_id in ("run-1", "run-2"):
        write_events(path, run_id, [STARTED])
        prev = path.read_bytes().splitlines()[-1]
        record = {
            "ts": "2026-11-25T01:02:03.000000Z",
            "run_id": run_id,
            "seq": 2,
            "event": "run_finished",
        }
        line = msgspec.json.encode({**record, "prev": sha256(prev).hexdigest(), "exit_code": 0})
        path.write_bytes(path.read_bytes() + line + b"\n")
        LogPath(str(path)).head_path.unlink()
    assert verify([path]).warnings == ("2 runs end with a line without a `seal`.",)


def test_copy_of_a_log_is_reported_at_its_first_line(tmp_path, path):
    write_run(path)
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    result = verify([path, copy])
    assert (result.lines, result.runs, result.exit_code) == (11, 1, 3)
    error = result.error
    assert (error.position.path, error.position.line, error.kind) == (
        copy,
        1,
        Damage.INSERTED,
    )
    assert error.message == f"The file is a copy of {path}: run run-1 already started there."
    assert error.runs == ("run-1",)


@pytest.mark.parametrize("apart", [0, 1], ids=["immediately", "after another run"])
def test_run_id_used_twice_in_a_valid_chain_is_reported_at_its_second_start(path, apart):
    for run_id in ("run-1", *["run-2"] * apart, "run-1"):
        write_run(path, run_id)
    assert first_error(path) == (11 * (1 + apart) + 1, Damage.INSERTED)
    assert verify([path]).error.message == "Run run-1 already started before this line."


def test_run_that_spans_two_files_is_counted_once(path):
    first, second = split_file(path, 5)
    result = verify([first, second])
    assert (result.error, result.runs) == (None, 2)


def test_run_of_a_continuation_that_starts_again_is_reported(path):
    _, second = split_file(path, 5)
    write_run(second, "run-1")
    lines = second.read_bytes().count(b"\n")
    assert first_error(second, continuation=True) == (lines - 10, Damage.INSERTED)


def test_run_id_edited_to_an_earlier_one_is_reported_as_an_edit(path):
    lines = write_damaged(path, lambda _: None)
    lines[11] = replace_once(lines[11], '"run-2"', '"run-1"')
    path.write_bytes(b"".join(lines))
    assert first_error(path) == (12, Damage.CHANGED)


async def test_each_log_has_its_files_lines_and_last_hash(tmp_path):
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    last_hashes = []
    for path, runs in zip(paths, (3, 1), strict=True):
        for number in range(runs):
            last_hash = await write_finished_run(path, f"{path.stem}-{number}")
        last_hashes.append(last_hash)
    status = verify(paths)
    assert [(each.files, each.lines, each.last_hash) for each in status.logs] == [
        ((str(paths[0]),), 18, last_hashes[0]),
        ((str(paths[1]),), 6, last_hashes[1]),
    ]


@pytest.mark.parametrize(("proven", "words"), [(18, None), (16, "2 lines"), (12, "6 lines")])
async def test_lines_after_the_proven_one_are_counted(tmp_path, proven, words):
    path = tmp_path / "a.jsonl"
    for number in range(3):
        await write_finished_run(path, f"a-{number}")
    head = line_hash(lines_of(path)[proven - 1])
    (log,) = verify([path], expect_head=head).logs
    assert log.end_proven is (words is None)
    assert (words or "expected hash") in log.end
    assert words is None or " are " in log.end
