"""Verifying a directory: every change is found and named, no run builds on it, and nothing else is.

What is harmless is known by what was changed: files that are gone from the beginning, `HEAD` that
is gone or the same, compression, and what a kill leaves.
"""

import asyncio
import gzip
import re
from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest
from audit.runs import clock, deletion, intent, outcome, planned, started, write_run
from builders import NOW
from reviewed import assert_reviewed

from invite_sweeper.audit import (
    AuditDirectory,
    AuditLog,
    History,
    RunFile,
    Verdict,
    verify,
    verify_directory,
)
from invite_sweeper.audit.chain import GENESIS_HASH, add_seal, line_hash
from invite_sweeper.audit.directory import MIN_RUNS
from invite_sweeper.audit.events import MissingAccepted
from invite_sweeper.errors import DamagedLog

Content = dict[str, bytes]
"""The files of a directory by name."""
Change = Callable[[Content], Content]
FIRST = "000001-r1.jsonl"
KILLED = "000002-r2.jsonl"
LAST = "000003-r3.jsonl"
FILES = (FIRST, KILLED, LAST)


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """Return a directory of two finished runs and one that was killed between them."""
    directory = AuditDirectory(tmp_path_factory.mktemp("three") / "audit")
    write_run(directory, "r1", *deletion(1))
    write_run(directory, "r2", *deletion(3), intent(planned(4)), killed=True)
    write_run(directory, "r3", outcome(planned(4), recovers="r2"), planned(5))
    return content_of(directory)


def put(directory: AuditDirectory, content: Content) -> None:
    directory.path.mkdir(exist_ok=True)
    for each in directory.path.iterdir():
        each.unlink()
    for name, data in content.items():
        (directory.path / name).write_bytes(data)


def content_of(directory: AuditDirectory) -> Content:
    return {each.name: each.read_bytes() for each in directory.path.iterdir()}


def damage(directory: AuditDirectory, content: Content) -> str:
    """Return what verify says of changed files, without their folder; a run refuses them too."""
    put(directory, content)
    found = verify_directory(directory)
    assert found.verdict is Verdict.DAMAGED
    with pytest.raises(DamagedLog) as refused:  # what a sweep, a plan and a restore begin with
        History.read(directory, NOW)
    assert any(name in refused.value.message for name in (*content, *FILES)), refused.value.message
    assert f"audit verify {directory.path}" in refused.value.command
    assert content_of(directory) == content
    return found.damage.replace(f"{directory.path}/", "")


def without(*names: str) -> Change:
    return lambda content: {name: data for name, data in content.items() if name not in names}


def added(name: str, data: bytes) -> Change:
    return lambda content: {**content, name: content.get(name, b"") + data}


def packed(name: str, change: Callable[[bytes], bytes] = bytes) -> Change:
    """Return the compression of a file, and a change of what it makes."""

    def pack(content: Content) -> Content:
        return without(name)({**content, f"{name}.gz": change(gzip.compress(content[name]))})

    return pack


def edited(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Change:
    return lambda content: content | {name: b"".join(change(content[name].splitlines(True)))}


def last_line(name: str, change: Callable[[bytes], bytes]) -> Change:
    return edited(name, lambda lines: [*lines[:-1], change(lines[-1])])


def head_with(**fields: object) -> Change:
    """Return the change of HEAD to that of another time."""

    def change(content: Content) -> Content:
        head = msgspec.json.decode(content["HEAD"]) | fields
        return {**content, "HEAD": msgspec.json.encode(head)}

    return change


OF_ANOTHER_TIME = [{"last_hash": "1" * 64}, {"ended": False}, *({"number": n} for n in (0, 2, 4))]


def forged(line: bytes) -> bytes:
    """Return a changed last line with a seal that holds."""
    line = re.sub(rb',"seal":"\w+"\}\n$', b"}", line).replace(b'"deleted":0', b'"deleted":9')
    return add_seal(line) + b"\n"


SOUND: dict[str, tuple[Change, int]] = {
    "as it was": (lambda content: content, 1),
    **{f"{name} compressed": (packed(name), 1) for name in FILES},
    "without HEAD": (without("HEAD"), 1),
    "without the oldest": (without(FIRST), 2),
    "without the two oldest": (without(FIRST, KILLED), 3),
    "the start of a line after a kill": (added(KILLED, b'{"ts":"2026-11-25T01:00'), 1),
    "an unwritten block after a kill": (added(KILLED, b"\0" * 4096), 1),
    "half of one after a kill": (added(KILLED, b'{"ts":"2' + b"\0" * 99), 1),
}

DAMAGED: dict[str, Change] = {
    **{f"{name} compressed and cut": packed(name, lambda data: data[:-1]) for name in FILES},
    "one is missing": without(KILLED),
    "the last is missing": without(LAST),
    "two are exchanged": lambda content: {**content, FIRST: content[LAST], LAST: content[FIRST]},
    "a number twice": lambda content: content | {"000002-x.jsonl": content[FIRST]},
    "unknown to HEAD": lambda content: content | {"000004-r1.jsonl": content[FIRST]},
    "another beginning": edited(
        FIRST, lambda lines: [lines[0].replace(b"0" * 64, b"1" * 64), *lines[1:]]
    ),
    "a forged end": last_line(FIRST, forged),
    **{
        f"{rest.hex()} after a kill": added(KILLED, rest)
        for rest in (b"x", b"{}", b"\n", b"\0\n", b'{"ts":"2026\n', b"{}\n")
    },
    # Of the last file and of those that HEAD does not know.
    **{
        f"{data[:9].hex()} as HEAD": lambda content, data=data: content | {"HEAD": data}
        for data in (b"", b"{}", b"[" * 9_999, b"\xff", b'{"number":1}')
    },
    **{f"HEAD with {fields}": head_with(**fields) for fields in OF_ANOTHER_TIME},
    "torn and unknown to HEAD": added("000004-r1.jsonl", b"{"),
    "the last is emptied": lambda content: content | {LAST: b""},
    "a forged end of the last": last_line(LAST, forged),
    **{f"{rest.hex()} after the end": added(LAST, rest) for rest in (b"{", b"\0", b" ")},
    "the last empty and compressed": packed(LAST, lambda data: b""),
    "the last is not gzip": packed(LAST, lambda data: data[:40] + b"x" + data[41:]),
}


@pytest.mark.parametrize(("change", "first"), SOUND.values(), ids=SOUND)
def test_what_other_programs_may_do_is_not_damage(directory, three_runs, change, first):
    content = change(three_runs)
    put(directory, content)
    for file in directory.files():
        file.path.chmod(0o400)
    found = verify_directory(directory)
    assert (found.verdict, found.first_run) == (Verdict.SOUND, first)
    assert found.last_hash == line_hash(three_runs[LAST].splitlines()[-1])
    runs = [three_runs[name] for name in FILES][first - 1 :]
    assert found.lines == b"".join(runs).count(b"\n")
    assert found.files == len(directory.files())
    before = {file.path: file.path.read_bytes() for file in directory.files()}
    History.read(directory, NOW)
    assert bool(directory.warnings_of_missing_files()) is ("HEAD" not in content)
    assert directory.next_run() == (4, found.last_hash)
    write_run(directory, "r4")
    assert verify_directory(directory).verdict is Verdict.SOUND
    assert all(path.read_bytes() == data for path, data in before.items())


def test_damage_is_named_as_it_was_reviewed(directory, three_runs):
    lines = [
        f"{name}: {damage(directory, change(three_runs))}\n" for name, change in DAMAGED.items()
    ]
    assert_reviewed("".join(lines), __file__, "damage.txt")


def test_run_that_was_killed_before_its_first_line_has_the_last_hash_before_it_in_head(directory):
    path = write_run(directory, "r1", *deletion(1))
    asyncio.run(AuditLog(directory, "r2", clock=clock()).close())
    assert verify_directory(directory).verdict is Verdict.UNFINISHED
    *lines, _ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines))
    assert "000002-r2.jsonl is not as HEAD" in verify_directory(directory).damage
    with pytest.raises(DamagedLog, match="is not as HEAD describes it"):
        History.read(directory, NOW)


def test_line_that_this_version_cannot_decode_is_damage(directory):
    path = write_run(directory, "r1", killed=True)
    path.write_bytes(path.read_bytes().replace(b'"mode":"sweep"', b'"mode":"party"'))
    assert "line 1 cannot be decoded" in verify_directory(directory).damage


def test_empty_directory_and_files_with_other_names_are_sound(directory, three_runs, tmp_path):
    found = verify_directory(directory)
    empty = Verdict.SOUND, GENESIS_HASH, None
    assert (found.verdict, found.last_hash, found.first_run) == empty
    files = [RunFile.of(tmp_path / f"{name}.log") for name in FILES]
    for file in files:
        file.path.write_bytes(three_runs[file.path.stem])
    for some in (files, files[-1:]):
        assert verify(some).verdict is Verdict.SOUND


def left(directory: AuditDirectory) -> list[tuple[int, str, str, int]]:
    """Return what runs left open; a log of which one did is unfinished."""
    found = verify_directory(directory)
    assert (found.verdict is Verdict.UNFINISHED) == bool(found.unfinished)
    assert found.exit_code == (3 if found.unfinished else 0)
    return [(each.run, each.run_id, each.file, each.intents) for each in found.unfinished]


def test_intent_is_open_until_a_run_resolves_that_of_its_run_which_may_have_ended(directory):
    write_run(directory, "r1", *deletion(1)[:2], *deletion(2)[:2], killed=True)
    write_run(directory, "r2", *deletion(1), *deletion(3)[:2])
    assert left(directory) == [(1, "r1", FIRST, 2), (2, "r2", KILLED, 1)]
    write_run(directory, "r3", outcome(planned(1), recovers="r1"))
    assert left(directory) == [(1, "r1", FIRST, 1), (2, "r2", KILLED, 1)]
    resolved = [outcome(planned(2), recovers="r1"), outcome(planned(3), recovers="r2")]
    write_run(directory, "r4", *resolved)
    assert left(directory) == []


def test_expected_hash_is_found_wherever_the_log_went_through(directory, three_runs):
    put(directory, three_runs)
    for name in FILES:
        for number, line in enumerate(three_runs[name].splitlines(), 1):
            found = verify_directory(directory, line_hash(line))
            assert found.verdict is Verdict.SOUND
            assert found.expected_at == f"{directory.path / name} line {number}"


def test_log_that_was_rewritten_from_its_beginning_has_no_expected_hash(directory, three_runs):
    end = line_hash(three_runs[LAST].splitlines()[-1])
    write_run(directory, "r1")
    assert verify_directory(directory).verdict is Verdict.SOUND
    found = verify_directory(directory, end)
    assert found.verdict is Verdict.DAMAGED
    assert found.damage == f"No line has the expected hash {end}."


OPERATIONS: dict[str, Callable[[list[bytes], int], list[bytes]]] = {
    "remove": lambda lines, at: [*lines[:at], *lines[at + 1 :]],
    "duplicate": lambda lines, at: [*lines[: at + 1], *lines[at:]],
    "swap": lambda lines, at: [*lines[:at], *lines[at : at + 2][::-1], *lines[at + 2 :]],
    "insert a blank line": lambda lines, at: [*lines[:at], b"\n", *lines[at:]],
    "break": lambda lines, at: [*lines[:at], b"\n".join((lines[at][:9], lines[at][9:]))],
    "cut": lambda lines, at: lines[:at],
    "cut within": lambda lines, at: [*lines[:at], lines[at][:20]],
    "zeros": lambda lines, at: [*lines[:at], b"\0" * len(lines[at]), *lines[at + 1 :]],
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", FILES)
def test_each_operation_on_each_line_is_found(directory, three_runs, name, operation):
    """What follows the last whole line of a killed run is what the kill left: it proves nothing."""
    for at in range(three_runs[name].count(b"\n") - (name == KILLED)):
        change = edited(name, lambda lines, at=at: OPERATIONS[operation](lines, at))
        changed = change(three_runs)
        if changed != three_runs:  # the last line has no other to be swapped with
            damage(directory, changed)


@pytest.mark.parametrize(("name", "step"), [("HEAD", 7), (FIRST, 41), (KILLED, 41), (LAST, 11)])
def test_changed_byte_is_found_and_its_line_is_named(directory, three_runs, name, step):
    """Of the last line, what precedes it is named where it is not a sealed line any more."""
    lines = three_runs[name].count(b"\n")
    for position in range(0, len(three_runs[name]), step):
        data = bytearray(three_runs[name])
        data[position] ^= 1
        found = damage(directory, three_runs | {name: bytes(data)})
        line = data.count(b"\n", 0, position) + 1
        named = re.search(rf"{name} line (\d+) ", found)
        near = range(line, line + 2) if line < lines - 1 else range(lines - 2, lines + 1)
        assert name in {"HEAD", KILLED} or int(named[1]) in near, (position, found)


def write(directory, *events, gone=False, killed=False):
    """Write the next run, of a year ago by its id; perhaps lose its file."""
    path = write_run(
        directory, f"20251125T010000Z-{len(directory.files())}", *events, killed=killed
    )
    if gone:
        path.unlink()
    return path


def is_damaged(directory):
    """Return whether a run is refused, and `verify` agrees."""
    found = verify_directory(directory)
    try:
        History.read(directory, NOW)
    except DamagedLog:
        assert found.verdict is Verdict.DAMAGED
        return True
    assert found.verdict is not Verdict.DAMAGED, found
    return False


def accepting(directory):
    """Return what a run reads that accepts what is missing."""
    history = History()
    history.add_recent(directory, NOW, period=NOW - NOW, back=NOW - NOW, accepts_missing=True)
    return history


@pytest.mark.parametrize(
    ("gone", "killed"), [*((gone, False) for gone in ("2", "23", "24", "4", "234")), ("34", True)]
)
def test_each_missing_number_must_be_accepted_by_a_later_run(directory, gone, killed):
    for number in "1234":
        write(directory, *deletion(), gone=number in gone, killed=killed)
    assert is_damaged(directory)
    numbers = tuple(map(int, gone))
    for accepted in (numbers[:-1], (1,), ()):
        write(directory, MissingAccepted(accepted))
        assert is_damaged(directory)
    write(directory, MissingAccepted(numbers))
    assert not is_damaged(directory)
    write(directory)
    assert verify_directory(directory).missing_accepted[-len(numbers) :] == numbers
    assert not is_damaged(directory)


def test_what_is_accepted_before_it_is_missing_is_damage(directory):
    write(directory, MissingAccepted((2, 3)))
    path = write(directory)
    write(directory)
    path.unlink()
    assert is_damaged(directory)


def test_run_that_accepts_is_told_all_that_is_missing_and_goes_on_after_the_lost_one(directory):
    write(directory, *deletion())
    write(directory, gone=True)
    write(directory, *deletion())
    write(directory)
    end = directory.read_head().last_hash
    directory.files()[-1].path.unlink()
    history = accepting(directory)
    assert history.missing == (2, 4)
    path = write(directory, MissingAccepted(history.missing))
    assert path.name.startswith("000005-")
    assert f'"prev":"{end}"' in path.read_text()
    assert not is_damaged(directory)


def test_a_killed_run_whose_acceptance_was_torn_accepts_nothing(directory):
    write(directory)
    write(directory, gone=True)
    path = write(directory, MissingAccepted((2,)), killed=True)
    path.write_bytes(path.read_bytes()[:-3])
    assert is_damaged(directory)


def test_a_gap_before_the_runs_that_are_read_is_seen_and_who_accepted_it_is_looked_for(directory):
    write(directory)
    write(directory, gone=True)
    for _ in range(MIN_RUNS + 2):
        write(directory)
    assert is_damaged(directory)
    write(directory, MissingAccepted((2,)))
    for _ in range(MIN_RUNS + 2):
        write(directory)
    assert directory.recent(NOW).first > len(directory.files()) - MIN_RUNS - 1
    assert not is_damaged(directory)
    assert accepting(directory).missing == ()  # nothing else is


def test_the_oldest_files_may_be_removed_after_what_was_accepted_and_with_it(directory):
    write(directory)
    write(directory, gone=True)
    write(directory, MissingAccepted((2,)))
    write(directory)
    for _ in range(2):
        directory.files()[0].path.unlink()
        assert not is_damaged(directory)


def test_all_files_gone_is_damage_until_a_run_accepts_the_last_one(directory):
    for _ in range(3):
        write(directory)
    for file in directory.files():
        file.path.unlink()
    assert is_damaged(directory)
    history = accepting(directory)
    assert history.missing == (3,)
    write(directory, MissingAccepted((3,)))
    assert not is_damaged(directory)


def test_a_file_with_the_number_of_the_missing_last_one_is_no_way_around(directory):
    write(directory)
    path = write(directory, gone=True)
    path.with_name("000002-other.jsonl").touch()
    assert is_damaged(directory)


@pytest.mark.parametrize("digits", [7, 30, 200])
@pytest.mark.parametrize("has_head", [True, False])
def test_a_number_that_no_run_leads_to_is_a_strange_file_however_long_it_is(
    directory, digits, has_head
):
    write(directory)
    write(directory)
    strange = directory.path / f"{'9' * digits}-r9.jsonl"
    strange.write_bytes(directory.files()[-1].path.read_bytes())
    if not has_head:
        (directory.path / "HEAD").unlink()
    assert is_damaged(directory)
    assert strange.name in verify_directory(directory).damage
    with pytest.raises(DamagedLog, match=strange.name):
        accepting(directory)


def test_missing_numbers_are_told_as_ranges(directory):
    for number in range(1, 8):
        write(directory, gone=number in {2, 3, 4, 6})
    assert "files 000002 to 000004 are missing" in verify_directory(directory).damage
    lost = MissingAccepted(accepting(directory).missing)
    assert lost == MissingAccepted((2, 3, 4, 6))
    assert lost.text == "The files of runs 2 to 4, 6 are lost"


@pytest.mark.parametrize("lost", [2, 3, 4])
def test_a_file_that_was_accepted_as_lost_and_is_put_back_whole_is_read_again(directory, lost):
    paths = [write(directory, *deletion()) for _ in range(4)]
    content = paths[lost - 1].read_bytes()
    paths[lost - 1].unlink()
    write(directory, MissingAccepted((lost,)))
    paths[lost - 1].write_bytes(content)
    assert not is_damaged(directory)
    assert verify_directory(directory).left_aside == ()
    history = History.read(directory, NOW + timedelta(hours=1), period=timedelta(days=2))
    assert history.sent.total() == 4


@pytest.mark.parametrize("lost", [2, 3, 4])
def test_one_that_its_neighbours_do_not_continue_is_left_aside_and_named(directory, lost):
    paths = [write(directory, *deletion()) for _ in range(4)]
    lines = paths[lost - 1].read_bytes().splitlines(keepends=True)
    paths[lost - 1].unlink()
    path = write(directory, MissingAccepted((lost,)))
    paths[lost - 1].write_bytes(b"".join(lines[:-1]))
    for _ in range(2):
        assert not is_damaged(directory)
        assert verify_directory(directory).left_aside == (paths[lost - 1].name,)
        write(directory)
    path.unlink()  # who accepted it
    assert is_damaged(directory)


def test_a_run_that_was_killed_lost_and_accepted_is_left_aside_where_the_log_went_on_before_it(
    directory,
):
    write(directory)
    path = write(directory, *deletion(), killed=True)
    content = path.read_bytes()
    path.unlink()
    write(directory, MissingAccepted((2,)))
    path.write_bytes(content)
    assert not is_damaged(directory)
    assert verify_directory(directory).left_aside == (path.name,)


def test_a_killed_run_is_named_with_its_instant_and_what_it_sent(directory):
    write(directory)
    write(directory, *deletion(1), *deletion(2)[:2], planned(3), killed=True)
    (left,) = verify_directory(directory).unfinished
    assert (left.run, left.mode, left.now) == (2, "sweep", "2026-11-25T01:00:00Z")
    assert (left.sent, left.intents) == (2, 1)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        ({}, ("sweep",)),
        ({"mode": "dry-run"}, ("plan",)),
        (
            {"shard": "2/3", "projects": ("Search",)},
            ("sweep", "--shard", "2/3", "--project", "Search"),
        ),
        ({"plan_sha256": "c" * 64}, ()),
        ({"mode": "restore"}, ()),
    ],
)
def test_the_command_of_a_killed_run_does_no_more_than_the_run_and_else_is_not_named(
    directory, start, words
):
    write_run(directory, "r1", killed=True, start=started(**start))
    (left,) = verify_directory(directory).unfinished
    assert left.again == words
