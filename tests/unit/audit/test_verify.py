"""Verifying a directory: every change is found and named, and nothing else is."""

import gzip
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from audit.runs import deletion, finished, intent, outcome, planned, started, write_run

from invite_sweeper.audit import AuditDirectory, Head, RunFile, Verdict, verify, verify_directory
from invite_sweeper.audit.chain import GENESIS_HASH, add_seal, line_hash

Content = dict[str, bytes]
"""The files of a directory by name."""


def content_of(directory: AuditDirectory) -> Content:
    return {each.name: each.read_bytes() for each in sorted(directory.path.iterdir())}


def put(directory: AuditDirectory, content: Content) -> None:
    """Make the directory have these files and no other."""
    directory.path.mkdir(exist_ok=True)
    for each in directory.path.iterdir():
        if each.name not in content:
            each.unlink()
    for name, data in content.items():
        (directory.path / name).write_bytes(data)


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """Return a directory of two finished runs and one that was killed between them."""
    directory = AuditDirectory(tmp_path_factory.mktemp("three") / "audit")
    write_run(directory, "r1", *deletion(1))
    write_run(directory, "r2", *deletion(3), intent(planned(4)), killed=True)
    write_run(directory, "r3", outcome(planned(4), recovers="r2"), planned(5))
    return content_of(directory)


FIRST, KILLED, LAST = "000001-r1.jsonl", "000002-r2.jsonl", "000003-r3.jsonl"


def damage(directory: AuditDirectory, content: Content) -> str:
    """Return what verify says of changed files."""
    put(directory, content)
    found = verify_directory(directory)
    assert found.verdict is Verdict.DAMAGED
    return found.damage


def edit(content: Content, name: str, change: Callable[[list[bytes]], list[bytes]]) -> Content:
    """Return the files after the lines of one were changed."""
    return {**content, name: b"".join(change(content[name].splitlines(keepends=True)))}


class TestSound:
    def test_the_lines_and_the_last_hash_are_counted(self, directory, three_runs):
        put(directory, three_runs)
        found = verify_directory(directory)
        assert found.verdict is Verdict.SOUND
        assert [file.run_id for file in found.files] == ["r1", "r2", "r3"]
        assert found.lines == sum(data.count(b"\n") for data in three_runs.values()) - 1  # HEAD
        assert found.last_hash == line_hash(three_runs[LAST].splitlines()[-1])
        assert found.first_number == 1

    def test_a_directory_without_a_file_is_sound(self, directory):
        assert verify_directory(directory).verdict is Verdict.SOUND
        assert verify_directory(directory).last_hash == GENESIS_HASH

    @pytest.mark.parametrize("name", [FIRST, KILLED, LAST])
    def test_a_file_may_be_compressed(self, directory, three_runs, name):
        packed = {**three_runs, f"{name}.gz": gzip.compress(three_runs[name])}
        del packed[name]
        put(directory, packed)
        assert verify_directory(directory).verdict is Verdict.SOUND

    @pytest.mark.parametrize("gone", [1, 2])
    def test_the_oldest_files_may_be_removed(self, directory, three_runs, gone):
        names = (FIRST, KILLED, LAST)
        put(directory, {k: v for k, v in three_runs.items() if k not in names[:gone]})
        found = verify_directory(directory)
        assert found.verdict is Verdict.SOUND
        assert found.first_number == gone + 1

    def test_files_may_be_read_only(self, directory, three_runs):
        put(directory, three_runs)
        for name in (FIRST, KILLED, LAST):
            (directory.path / name).chmod(0o400)
        assert verify_directory(directory).verdict is Verdict.SOUND
        write_run(directory, "r4")
        assert verify_directory(directory).verdict is Verdict.SOUND

    def test_a_missing_head_is_no_damage(self, directory, three_runs):
        put(directory, {k: v for k, v in three_runs.items() if k != "HEAD"})
        assert verify_directory(directory).verdict is Verdict.SOUND

    def test_a_single_file_is_verified_by_itself(self, directory, three_runs, tmp_path):
        (tmp_path / "plan.jsonl").write_bytes(three_runs[LAST])
        assert verify([RunFile.of(tmp_path / "plan.jsonl")]).verdict is Verdict.SOUND


class TestUnfinished:
    def test_a_killed_run_is_unfinished_until_the_next_one(self, directory):
        path = write_run(directory, "r1", planned(), killed=True)
        found = verify_directory(directory)
        assert found.verdict is Verdict.UNFINISHED
        assert [(each.file.path, each.intents) for each in found.unfinished] == [(path, 0)]
        write_run(directory, "r2")
        assert verify_directory(directory).verdict is Verdict.SOUND

    def test_an_intent_is_open_until_a_run_resolves_it(self, directory):
        write_run(directory, "r1", *deletion(1)[:2], *deletion(2)[:2], killed=True)
        write_run(directory, "r2", start=started(mode="dry-run"))
        assert [each.intents for each in verify_directory(directory).unfinished] == [2]
        write_run(directory, "r3", outcome(planned(1), recovers="r1"))
        assert [each.intents for each in verify_directory(directory).unfinished] == [1]
        write_run(directory, "r4", outcome(planned(2), recovers="r1"))
        assert verify_directory(directory).verdict is Verdict.SOUND

    def test_an_outcome_resolves_only_the_intent_of_its_run(self, directory):
        write_run(directory, "r1", *deletion(1)[:2], killed=True)
        write_run(directory, "r2", *deletion(1))
        assert [each.file.run_id for each in verify_directory(directory).unfinished] == ["r1"]

    def test_a_file_without_a_line_is_a_run_that_was_killed(self, directory):
        write_run(directory, "r1")
        (directory.path / "000002-r2.jsonl").touch()
        assert [each.file.run_id for each in verify_directory(directory).unfinished] == ["r2"]


class TestChangedBytes:
    @pytest.mark.parametrize("name", [FIRST, LAST])
    def test_every_changed_byte_is_found_and_its_line_is_named(self, directory, three_runs, name):
        """Of the last line, what continues it is named where it is not a sealed line any more."""
        put(directory, three_runs)
        data = bytearray(three_runs[name])
        lines = data.count(b"\n")
        path = directory.path / name
        files, head = directory.files(), directory.read_head()
        for position in range(len(data)):
            line = data.count(b"\n", 0, position) + 1
            data[position] ^= 1
            path.write_bytes(data)
            found = verify(files, head)
            data[position] ^= 1
            assert found.verdict is Verdict.DAMAGED, (position, line)
            named = re.search(r"(\S+) line (\d+) ", found.damage)
            assert named, found.damage
            places = {(str(path), str(line)), (str(path), str(min(line + 1, lines)))}
            if line >= lines - 1:
                places |= {(str(directory.path / KILLED), "1")}
                places |= {(str(path), str(lines - 2)), (str(path), str(lines - 1))}
            assert named.groups() in places, (position, found.damage)

    def test_a_change_of_the_last_line_is_blamed_on_it_by_its_seal(self, directory, three_runs):
        for name, last in ((FIRST, 5), (LAST, 4)):
            for old, new in ((b'"prev":"', b'"prev":"f'), (b'"deleted":0', b'"deleted":9')):
                changed = edit(
                    three_runs, name, lambda lines, o=old, n=new: [
                        *lines[:-1], lines[-1].replace(o, n, 1)
                    ]
                )  # fmt: skip
                path = directory.path / name
                assert damage(directory, changed).startswith(f"{path} line {last} was changed")

    def test_a_last_line_with_a_new_seal_is_found_by_what_continues_it(self, directory, three_runs):
        def forge(lines: list[bytes]) -> list[bytes]:
            line = re.sub(rb',"seal":"\w+"\}\n$', b"}", lines[-1])
            return [*lines[:-1], add_seal(line.replace(b'"deleted":0', b'"deleted":9')) + b"\n"]

        assert "does not follow the last line" in damage(directory, edit(three_runs, FIRST, forge))
        assert "is not as HEAD describes it" in damage(directory, edit(three_runs, LAST, forge))

    @pytest.mark.parametrize("step", range(0, 60, 3))
    def test_a_changed_compressed_file_is_found(self, directory, three_runs, step):
        packed = bytearray(gzip.compress(three_runs[FIRST]))
        packed[10 + step * (len(packed) - 11) // 60] ^= 1
        changed = {**three_runs, f"{FIRST}.gz": bytes(packed)}
        del changed[FIRST]
        assert f"{FIRST}.gz" in damage(directory, changed)


OPERATIONS: dict[str, Callable[[list[bytes], int], list[bytes]]] = {
    "remove": lambda lines, at: [*lines[:at], *lines[at + 1 :]],
    "duplicate": lambda lines, at: [*lines[: at + 1], *lines[at:]],
    "swap": lambda lines, at: [*lines[:at], *lines[at : at + 2][::-1], *lines[at + 2 :]],
    "repeat the first": lambda lines, at: [*lines[: at + 1], lines[0], *lines[at + 1 :]],
    "insert a blank line": lambda lines, at: [*lines[:at], b"\n", *lines[at:]],
    "insert another text": lambda lines, at: [*lines[:at], b"hello\n", *lines[at:]],
    "break": lambda lines, at: [*lines[:at], b"\n".join((lines[at][:9], lines[at][9:]))],
    "join": lambda lines, at: [*lines[:at], lines[at][:-1], *lines[at + 1 :]],
    "cut": lambda lines, at: lines[:at],
    "cut within": lambda lines, at: [*lines[:at], lines[at][:20]],
    "zeros": lambda lines, at: [*lines[:at], b"\0" * len(lines[at]), *lines[at + 1 :]],
}


class TestLines:
    @pytest.mark.parametrize("name", [FIRST, LAST])
    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_each_operation_on_each_line_of_a_finished_file_is_found(
        self, directory, three_runs, operation, name
    ):
        lines = three_runs[name].count(b"\n")
        for at in range(lines):
            changed = edit(three_runs, name, lambda all_, at=at: OPERATIONS[operation](all_, at))
            if changed != three_runs:  # the last line has no other to be swapped with
                damage(directory, changed)

    @pytest.mark.parametrize("operation", OPERATIONS)
    def test_each_operation_on_a_killed_file_is_found_by_the_next(
        self, directory, three_runs, operation
    ):
        """What follows its last whole line is what the kill left, and proves nothing."""
        for at in range(three_runs[KILLED].count(b"\n") - 1):
            changed = edit(three_runs, KILLED, lambda all_, at=at: OPERATIONS[operation](all_, at))
            damage(directory, changed)

    @pytest.mark.parametrize("rest", [b"{", b'{"ts":"2026-11-25T01:00', b"\0" * 4096])
    def test_what_a_kill_left_after_the_last_whole_line_is_no_damage(
        self, directory, three_runs, rest
    ):
        put(directory, {**three_runs, KILLED: three_runs[KILLED] + rest})
        assert verify_directory(directory).verdict is Verdict.SOUND

    @pytest.mark.parametrize("rest", [b"x", b"{}", b"\n", b"\0\n", b'{"ts":"2026\n', b"{}\n"])
    def test_what_no_kill_can_have_left_is_damage(self, directory, three_runs, rest):
        lines = three_runs[KILLED].count(b"\n")
        found = damage(directory, {**three_runs, KILLED: three_runs[KILLED] + rest})
        assert f"{KILLED} line {lines + 1} is not a line" in found

    @pytest.mark.parametrize("name", [FIRST, LAST])
    @pytest.mark.parametrize("rest", [b"{", b"\0"])
    def test_anything_after_the_end_of_a_run_is_damage(self, directory, three_runs, name, rest):
        lines = three_runs[name].count(b"\n")
        found = damage(directory, {**three_runs, name: three_runs[name] + rest})
        assert f"{name} line {lines + 1} was added after the end" in found

    def test_the_first_line_that_does_not_follow_is_named(self, directory, three_runs):
        changed = edit(three_runs, FIRST, lambda lines: [*lines[:3], *lines[4:]])
        found = damage(directory, changed)
        assert found == f"{directory.path / FIRST} line 4 does not follow line 3."

    def test_a_line_that_this_version_cannot_decode_is_damage(self, directory):
        path = write_run(directory, "r1", killed=True)
        line = path.read_bytes().splitlines()[0].replace(b'"mode":"sweep"', b'"mode":"party"')
        path.write_bytes(line + b"\n")
        assert "line 1 cannot be decoded" in verify_directory(directory).damage


class TestFiles:
    def test_a_missing_file_in_the_middle_is_named(self, directory, three_runs):
        found = damage(directory, {k: v for k, v in three_runs.items() if k != KILLED})
        assert "file 000002 is missing" in found

    def test_a_missing_last_file_is_named(self, directory, three_runs):
        found = damage(directory, {k: v for k, v in three_runs.items() if k != LAST})
        assert LAST in found
        assert "is missing" in found

    def test_all_files_missing_is_damage(self, directory, three_runs):
        assert "is missing" in damage(directory, {"HEAD": three_runs["HEAD"]})

    def test_exchanged_files_are_found(self, directory, three_runs):
        swapped = {**three_runs, FIRST: three_runs[LAST], LAST: three_runs[FIRST]}
        assert "line 1 is of another run" in damage(directory, swapped)

    def test_files_with_exchanged_names_are_found(self, directory, three_runs):
        renamed = {
            "HEAD": three_runs["HEAD"],
            "000001-r3.jsonl": three_runs[LAST],
            "000002-r2.jsonl": three_runs[KILLED],
            "000003-r1.jsonl": three_runs[FIRST],
        }
        assert "line 1 is not the first line of a log" in damage(directory, renamed)

    @pytest.mark.parametrize("name", ["000001-x.jsonl", "000002-x.jsonl", "000003-x.jsonl"])
    def test_a_number_that_is_taken_twice_is_found(self, directory, three_runs, name):
        assert "has the number of" in damage(directory, {**three_runs, name: three_runs[FIRST]})

    def test_a_file_that_head_does_not_know_is_found(self, directory, three_runs, tmp_path):
        put(directory, three_runs)
        write_run(directory, "r4", *deletion(6))
        later = content_of(directory)
        found = damage(directory, {**later, "HEAD": three_runs["HEAD"]})
        assert "000004-r4.jsonl is not known to HEAD" in found

    def test_a_copy_of_another_directory_is_found(self, directory, three_runs, tmp_path):
        other = AuditDirectory(tmp_path / "other")
        write_run(other, "r1", *deletion(7))
        foreign = content_of(other)[FIRST]
        assert f"{KILLED} line 1 does not follow" in damage(
            directory, {**three_runs, FIRST: foreign}
        )

    def test_the_first_file_begins_the_log(self, directory, three_runs):
        lines = three_runs[FIRST].replace(GENESIS_HASH.encode(), b"1" * 64)
        assert f"{FIRST} line 1 is not the first line of a log" in damage(
            directory, {**three_runs, FIRST: lines}
        )

    @pytest.mark.parametrize("ended", [True, False])
    def test_a_head_of_another_time_is_found(self, directory, three_runs, ended):
        put(directory, three_runs)
        directory.write_head(Head(3, LAST, "1" * 64, ended=ended))
        assert "HEAD" in verify_directory(directory).damage

    def test_a_head_that_cannot_be_read_is_damage(self, directory, three_runs):
        assert "HEAD cannot be read" in damage(directory, {**three_runs, "HEAD": b"{"})

    def test_a_file_that_is_not_of_its_run_is_found(self, directory, three_runs):
        renamed = {k: v for k, v in three_runs.items() if k != KILLED}
        renamed["000002-other.jsonl"] = three_runs[KILLED]
        assert "000002-other.jsonl line 1 is of another run" in damage(directory, renamed)


class TestExpectedHead:
    def test_it_is_found_wherever_the_log_went_through(self, directory, three_runs):
        put(directory, three_runs)
        for name in (FIRST, KILLED, LAST):
            for number, line in enumerate(three_runs[name].splitlines(), 1):
                found = verify_directory(directory, line_hash(line))
                assert found.verdict is Verdict.SOUND
                assert found.expected_at == f"{directory.path / name} line {number}"

    def test_a_log_without_it_is_damaged(self, directory, three_runs):
        put(directory, three_runs)
        found = verify_directory(directory, "1" * 64)
        assert found.verdict is Verdict.DAMAGED
        assert "expected hash" in found.damage

    def test_a_log_that_was_rewritten_from_its_beginning_is_found(self, directory, three_runs):
        end = line_hash(three_runs[LAST].splitlines()[-1])
        write_run(directory, "r1")
        assert verify_directory(directory).verdict is Verdict.SOUND
        assert verify_directory(directory, end).verdict is Verdict.DAMAGED


def random_directory(directory: AuditDirectory, chance: random.Random) -> Path:
    """Write random runs, verifying after each, and return the last file."""
    path = directory.path
    open_intents: list[tuple[int, str]] = []
    for number in range(chance.randint(1, 5)):
        run_id = f"r{number}"
        events = [outcome(planned(n), recovers=run) for n, run in open_intents]
        for n in range(chance.randint(0, 3)):
            events += deletion(10 * number + n, chance.choice(["deleted", "failed", "skipped"]))
        killed = chance.random() < 0.3
        open_intents = []
        if killed and chance.random() < 0.5:
            events += deletion(10 * number + 9)[:2]
            open_intents = [(10 * number + 9, run_id)]
        path = write_run(directory, run_id, *events, killed=killed)
        if killed and chance.random() < 0.5:
            with path.open("ab") as file:
                file.write(chance.choice([b"\0" * 99, b'{"ts":"20', b"{"]))
        found = verify_directory(directory)
        assert found.verdict is (Verdict.UNFINISHED if killed else Verdict.SOUND), found
        files = directory.files()
        if chance.random() < 0.3:
            one = chance.choice(files).path
            if one.suffix != ".gz":
                one.with_name(f"{one.name}.gz").write_bytes(gzip.compress(one.read_bytes()))
                one.unlink()
        elif chance.random() < 0.2 and len(files) > 2:
            files[0].path.unlink()
    return path


@pytest.fixture
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _fd: None)


@pytest.mark.usefixtures("fast_disk")
class TestRandom:
    def test_clean_directories_are_accepted(self, tmp_path):
        chance = random.Random(34)
        for number in range(120):
            random_directory(AuditDirectory(tmp_path / str(number)), chance)

    def test_a_thousand_manipulations_are_found(self, directory, three_runs):
        chance = random.Random(34)
        put(directory, three_runs)
        found = 0
        while found < 1_000:
            name = chance.choice([FIRST, LAST])
            changed = manipulate(three_runs[name], chance)
            if changed == three_runs[name]:
                continue
            (directory.path / name).write_bytes(changed)
            assert verify_directory(directory).verdict is Verdict.DAMAGED, (name, changed)
            (directory.path / name).write_bytes(three_runs[name])
            found += 1


def manipulate(data: bytes, chance: random.Random) -> bytes:
    """Return a file after a random change."""
    at, length = chance.randrange(len(data)), chance.randint(1, 40)
    match chance.randrange(6):
        case 0:  # a bit
            return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
        case 1:  # some bytes are removed
            return data[:at] + data[at + length :]
        case 2:  # some are inserted
            return data[:at] + data[: at % 40 + 1] + data[at:]
        case 3:  # the end is cut
            return data[:at]
        case 4:  # another end
            return data + chance.randbytes(length)
    operation = chance.choice(list(OPERATIONS.values()))
    lines = data.splitlines(keepends=True)
    return b"".join(operation(lines, chance.randrange(len(lines))))


def test_a_finished_run_with_an_open_intent_is_unfinished(directory):
    write_run(directory, "r1", *deletion(1)[:2], end=finished())
    assert verify_directory(directory).verdict is Verdict.UNFINISHED
