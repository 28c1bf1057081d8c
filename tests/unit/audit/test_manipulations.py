"""Random changes of a directory: verify finds each, no run builds on it, and nothing else is found.

The oracle knows what is harmless by what was changed, not by how it is found: files that are gone
from the beginning, `HEAD` that is gone or the same, compression, and what a kill leaves.
"""

import gzip
import random
import re
from collections.abc import Callable
from datetime import timedelta
from enum import Enum

import msgspec
import pytest
from audit.runs import HOST, clock, deletion, intent, outcome, planned, started, write_run
from builders import NOW

from invite_sweeper.audit import AuditDirectory, AuditLog, History, Verdict, verify_directory
from invite_sweeper.audit.events import Announced
from invite_sweeper.audit.reader import Head
from invite_sweeper.errors import DamagedLog
from invite_sweeper.outcomes import Outcome

Content = dict[str, bytes]
"""The files of a directory by name."""
HEAD = "HEAD"


class Expected(Enum):
    HARMLESS = "nothing is found"
    DAMAGED = "verify finds it, and each run refuses it"


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Content:
    """Return a dry run, sweeps, a restore and a sweep that was killed and recovered."""
    directory = AuditDirectory(tmp_path_factory.mktemp("nights") / "audit")
    write_run(directory, "dry", planned(1), start=started(mode="dry-run"))
    write_run(directory, "first", *deletion(1), *deletion(2, "failed"))
    write_run(directory, "killed", *deletion(3), planned(4), intent(planned(4)), killed=True)
    write_run(directory, "next", outcome(planned(4), "already_gone", recovers="killed"))
    restored = intent(planned(1)), outcome(planned(1), "restored")
    write_run(directory, "back", *restored, start=started(mode="restore"))
    write_run(directory, "last", *deletion(5), *deletion(6))
    return content_of(directory)


def content_of(directory: AuditDirectory) -> Content:
    return {each.name: each.read_bytes() for each in directory.path.iterdir()}


def put(directory: AuditDirectory, content: Content) -> None:
    directory.path.mkdir(mode=0o700)
    for name, data in content.items():
        (directory.path / name).write_bytes(data)


def change_byte(chosen: random.Random, content: Content) -> Expected:
    """Change a byte of a file to another one that is neither an end of a line nor was there."""
    name = chosen.choice(files(content))
    data = bytearray(content[name])
    at = chosen.randrange(len(data))
    data[at] = chosen.choice([each for each in range(1, 256) if each not in (data[at], 10)])
    content[name] = bytes(data)
    return Expected.DAMAGED


def change_line(chosen: random.Random, content: Content) -> Expected:
    """Remove a line, copy it, exchange it with another one, or replace its value."""
    name = chosen.choice(files(content))
    lines = content[name].splitlines(keepends=True)
    first, second = chosen.sample(range(len(lines)), 2)
    match chosen.randrange(4):
        case 0:
            del lines[first]
        case 1:
            lines.insert(second, lines[first])
        case 2:
            lines[first], lines[second] = lines[second], lines[first]
        case _:
            lines[first] = re.sub(rb'"ts":"2026', b'"ts":"2025', lines[first])
    content[name] = b"".join(lines)
    return Expected.DAMAGED


def cut(chosen: random.Random, content: Content) -> Expected:
    """Cut a file at any byte, at the end of a line or at its start."""
    name = chosen.choice(files(content))
    data = content[name]
    ends = [found.end() for found in re.finditer(rb"\n", data)][:-1]
    content[name] = data[: chosen.choice([0, chosen.choice(ends), chosen.randrange(len(data))])]
    return Expected.DAMAGED


def lengthen(chosen: random.Random, content: Content) -> Expected:
    """Append bytes, or lines of another file."""
    name, other = chosen.sample(files(content), 2)
    lines = content[other].splitlines(keepends=True)
    content[name] += chosen.choice([b" ", b"\n", b"{}\n", b"\0\n", *lines])
    return Expected.DAMAGED


def remove(chosen: random.Random, content: Content) -> Expected:
    """Remove a file, or the oldest ones."""
    names = files(content)
    if chosen.random() < 0.3:
        for name in names[: chosen.randrange(1, len(names))]:
            del content[name]
        return Expected.HARMLESS
    name = chosen.choice(names)
    del content[name]
    return gone(names, name)


def rename(chosen: random.Random, content: Content) -> Expected:
    """Give a file another name: another number, another id, or that of no run."""
    names = files(content)
    name = chosen.choice(names)
    number, _, rest = name.partition("-")
    new = chosen.choice(
        [
            f"{int(number) + chosen.randrange(1, 9):06d}-{rest}",
            f"{number}-x{rest}",
            f"{chosen.choice([n for n in range(1, 99) if n != int(number)]):06d}-{rest}",
            f"{name}.old",
        ]
    )
    content[new] = content.pop(name)
    return gone(names, name) if new.endswith(".old") else Expected.DAMAGED


def copy(chosen: random.Random, content: Content) -> Expected:
    """Copy a file over another one, or under a new name, exchange two, or empty one."""
    name, other = chosen.sample(files(content), 2)
    match chosen.randrange(4):
        case 0:
            content[other] = content[name]
        case 1:
            content[other], content[name] = content[name], content[other]
        case 2:
            content[f"{chosen.randrange(1, 20):06d}-copy.jsonl"] = content[name]
        case _:
            content[name] = b""
    return Expected.DAMAGED


def change_head(chosen: random.Random, content: Content) -> Expected:
    """Remove `HEAD`, change a byte of it, or a field."""
    before = msgspec.json.decode(content[HEAD], type=Head)
    fields = msgspec.to_builtins(before)
    match chosen.randrange(4):
        case 0:
            del content[HEAD]
            return Expected.HARMLESS
        case 1:
            data = bytearray(content[HEAD])
            data[chosen.randrange(len(data))] = chosen.randrange(32, 127)
            content[HEAD] = bytes(data)
        case 2:
            fields["number"] = chosen.choice([0, 1, before.number + 1, 1_000_000_000])
            content[HEAD] = msgspec.json.encode(fields)
        case _:
            name = chosen.choice(files(content)[:-1])
            other = {"file": name, "number": int(name[:6])}
            more = {"last_hash": "0" * 64}, {"ended": False}, {"number": 2}, other
            content[HEAD] = msgspec.json.encode(fields | chosen.choice(more))
    try:
        same = msgspec.json.decode(content[HEAD], type=Head) == before
    except ValueError:
        same = False
    return Expected.HARMLESS if same else Expected.DAMAGED


def compress(chosen: random.Random, content: Content) -> Expected:
    """Compress some files; perhaps change the compressed bytes of one."""
    names = files(content)
    for name in chosen.sample(names, chosen.randrange(1, len(names))):
        content[f"{name}.gz"] = gzip.compress(content.pop(name))
    if chosen.random() < 0.5:
        return Expected.HARMLESS
    packed = chosen.choice([name for name in content if name.endswith(".gz")])
    content[packed] = content[packed][: -chosen.randrange(1, 30)]
    return Expected.DAMAGED


def files(content: Content) -> list[str]:
    return sorted(name for name in content if name != HEAD and ".jsonl" in name)


def gone(names: list[str], name: str) -> Expected:
    """Return what is expected where one file is gone."""
    return Expected.HARMLESS if name == names[0] else Expected.DAMAGED


CHANGES: tuple[Callable[[random.Random, Content], Expected], ...] = (
    *(change_byte, change_line, cut, lengthen, remove, rename, copy, change_head, compress),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("seed", range(40))
def test_a_changed_directory_is_refused_by_verify_and_by_each_run_or_by_neither(
    directory, nights, change, seed
):
    content = dict(nights)
    expected = change(random.Random(f"{change.__name__} {seed}"), content)
    if content == nights:
        expected = Expected.HARMLESS
    put(directory, content)
    found = verify_directory(directory)
    assert (found.verdict is Verdict.DAMAGED) == (expected is not Expected.HARMLESS), found
    if expected is Expected.DAMAGED:
        with pytest.raises(DamagedLog) as caught:  # what a sweep, a plan and a restore begin with
            History.read(directory, NOW)
        named = [name for name in (*content, *nights) if name in caught.value.message]
        assert named, caught.value.message
        assert content_of(directory) == content
        return
    History.read(directory, NOW)
    said = directory.warnings_of_missing_files()
    assert bool(said) == (HEAD not in content)
    write_run(directory, "on-top")
    if expected is Expected.HARMLESS:
        assert verify_directory(directory).verdict is Verdict.SOUND


@pytest.mark.parametrize("seed", range(100))
def test_no_clean_directory_is_accused(directory, seed):
    chosen = random.Random(seed)
    for number in range(chosen.randrange(1, 9)):
        numbers = chosen.sample(range(50), chosen.randrange(4))
        lines = [line for each in numbers for line in deletion(each)]
        killed = chosen.random() < 0.2
        if killed:
            lines = lines[: chosen.randrange(len(lines) + 1)]
        mode = chosen.choice(["sweep", "dry-run"])
        path = write_run(directory, f"r{number}", *lines, start=started(mode=mode), killed=killed)
        if killed and chosen.random() < 0.5:
            path.write_bytes(path.read_bytes() + b'{"ts":"2026'[: chosen.randrange(1, 11)])
        if chosen.random() < 0.3:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
        names = directory.files()
        if len(names) > 2 and chosen.random() < 0.3:
            names[0].path.unlink()
        assert verify_directory(directory).verdict is not Verdict.DAMAGED
        History.read(directory, NOW + timedelta(days=number))
        assert directory.warnings_of_missing_files() == ()


PLAN = planned(8)
LINES = [
    started(),
    planned(7).as_event(Announced, rule="forgotten", deletable_from="2026-12-02T01:00:00Z"),
    PLAN,
    planned(9),
    intent(PLAN),
    intent(planned(9)),
    outcome(PLAN),
]


@pytest.mark.parametrize("count", range(len(LINES) + 1))
def test_a_kill_after_each_kind_of_line_is_settled_by_the_next_run(directory, count):
    write_run(directory, "before", *deletion(1))
    log = AuditLog(directory, "killed", clock=clock())
    lines = [log._chain.add(each) + b"\n" for each in LINES[:count]]
    log.file.path.write_bytes(b"".join(lines))
    left = {each.key for each in LINES[:count] if each.event == "intent"}
    left -= {each.key for each in LINES[:count] if each.event == "outcome"}
    found = verify_directory(directory)
    assert found.verdict is Verdict.UNFINISHED
    assert [each.intents for each in found.unfinished] == [len(left)]
    history = History.read(directory, NOW)
    opened = [each.intent for some in history.open_intents(HOST).values() for each in some]
    assert {each.key for each in opened} == left
    gone = [outcome(each, Outcome.ALREADY_GONE, recovers="killed") for each in opened]
    write_run(directory, "next", *gone)
    found = verify_directory(directory)
    assert found.verdict is Verdict.SOUND
    (recovered,) = found.recovered
    assert (recovered.run_id, recovered.by) == ("killed", 3 if left else None)
    assert History.read(directory, NOW).open_intents(HOST) == {}
