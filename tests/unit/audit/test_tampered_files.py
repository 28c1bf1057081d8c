"""Manipulated logs of 5 rotated files: what is found, and what the files cannot prove."""

import asyncio
import gzip
import json
import os
from hashlib import sha256
from random import Random

import pytest
from audit.rotated_logs import recomputed, rotate, write_finished_run

from invite_sweeper.audit import LogPath
from invite_sweeper.audit.verify import verify

FULL = os.environ.get("INVITE_SWEEPER_SOAK") == "full"
CASES = 1000 if FULL else 120
NAMES = ["log.jsonl.4.gz", "log.jsonl.3.gz", "log.jsonl.2", "log.jsonl.1", "log.jsonl"]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Return the lines of each file, oldest first, last hash and head file."""
    path = tmp_path_factory.mktemp("original") / "log.jsonl"

    async def write():
        last = ""
        for file in range(5):
            for run in range(3):
                last = await write_finished_run(path, f"run-{file}{run}", deletions=run + 1)
            if file < 4:
                rotate(path, compress=file < 2)
        return last

    last_hash = asyncio.run(write())
    head = LogPath(str(path)).head_path.read_bytes()
    files = [read_lines(path.with_name(name)) for name in NAMES]
    assert verify([path.with_name(name) for name in NAMES]).error is None
    return files, last_hash, head


def read_lines(path) -> list[bytes]:
    data = path.read_bytes()
    data = gzip.decompress(data) if path.suffix == ".gz" else data
    return data.splitlines(keepends=True)


def record_of(line: bytes) -> dict:
    return json.loads(line)


# Each manipulation changes the files and returns whether the rest was made consistent again: a
# new end that is only wrong for those who know the old one.


def remove_a_file(files, random):
    files[random.randrange(5)] = None


def remove_files(files, random):
    for number in random.sample(range(5), random.randrange(1, 4)):
        files[number] = None


def swap_two_files(files, random):
    one, other = random.sample(range(5), 2)
    files[one], files[other] = files[other], files[one]


def cut_a_file(files, random):
    number = random.randrange(5)
    files[number] = files[number][: random.randrange(1, len(files[number]))]


def cut_the_beginning_of_a_file(files, random):
    number = random.randrange(5)
    files[number] = files[number][random.randrange(1, len(files[number])) :]


def cut_the_tail(files, random):
    number = random.randrange(5)
    files[number] = files[number][: random.randrange(1, len(files[number]))]
    files[number + 1 :] = [None] * (4 - number)


def double_a_file(files, random):
    one, other = random.sample(range(5), 2)
    files[one] = files[other]


def rewrite(files, random, *, change):
    """Change a file, and recompute the chain of this file, or of all files after it, too."""
    number = random.randrange(5)
    to_the_end = random.random() < 0.5
    prev = sha256(files[number - 1][-1][:-1]).hexdigest() if number else "0" * 64
    changed = change(files[number], random)
    if not changed:
        files[number] = None
        return to_the_end and number == 4
    files[number] = recomputed(changed, prev)
    for later in range(number + 1, 5) if to_the_end else ():
        prev = sha256(files[later - 1][-1][:-1]).hexdigest()
        files[later] = recomputed(files[later], prev)
    return to_the_end or number == 4


def edit_with_a_recomputed_chain(files, random):
    def change(lines, random):
        lines = list(lines)
        ends = [n for n, line in enumerate(lines) if b'"event":"run_finished"' in line]
        at = random.choice(ends)
        lines[at] = lines[at].replace(b'"deleted":', b'"deleted":7')
        return lines

    return rewrite(files, random, change=change)


def remove_a_run_with_a_recomputed_chain(files, random):
    def change(lines, random):
        run_id = record_of(random.choice(lines))["run_id"]
        return [line for line in lines if record_of(line)["run_id"] != run_id]

    return rewrite(files, random, change=change)


def remove_a_run(files, random):
    number = random.randrange(5)
    run_id = record_of(random.choice(files[number]))["run_id"]
    files[number] = [line for line in files[number] if record_of(line)["run_id"] != run_id]


MANIPULATIONS = (
    remove_a_file,
    remove_files,
    swap_two_files,
    cut_a_file,
    cut_the_beginning_of_a_file,
    cut_the_tail,
    double_a_file,
    edit_with_a_recomputed_chain,
    remove_a_run,
    remove_a_run_with_a_recomputed_chain,
)


def changes_only_the_ends(files, original) -> bool:
    """Return whether what is left is one piece of the log, from a run's start to a run's end."""
    before = [line for lines in original for line in lines]
    left = [line for lines in files if lines for line in lines]
    if left[0] not in before:
        return False
    start = before.index(left[0])
    after = before[start + len(left) : start + len(left) + 1]
    return (
        before[start : start + len(left)] == left
        and record_of(left[0])["seq"] == 1
        and record_of(left[-1])["event"] == "run_finished"
        and (not after or record_of(after[0])["event"] == "run_started")
    )


@pytest.mark.slow
@pytest.mark.parametrize("manipulation", MANIPULATIONS, ids=lambda each: each.__name__)
def test_every_manipulation_is_found_with_evidence_and_all_but_those_of_the_ends_without(
    manipulation, original, tmp_path
):
    clean, last_hash, _ = original
    random = Random(manipulation.__name__)
    for case in range(CASES // len(MANIPULATIONS)):
        files = [list(lines) for lines in clean]
        is_new_end = manipulation(files, random)
        if files == clean or (is_new_end and files[0] is None):
            continue
        paths = write_files(tmp_path, files)
        random.shuffle(paths)
        assert verify(paths, expect_head=last_hash).exit_code == 3, case
        result = verify(paths)
        undetectable = is_new_end or changes_only_the_ends(files, clean)
        assert (result.error is None) == undetectable, (case, result.error)
        if undetectable:
            check_what_is_said(result, files, clean)
        else:
            assert result.error.runs, (case, result.error)


def write_files(folder, files):
    paths = []
    for name, lines in zip(NAMES, files, strict=True):
        path = folder / name
        path.unlink(missing_ok=True)
        if lines:
            data = b"".join(lines)
            path.write_bytes(gzip.compress(data, 1) if path.suffix == ".gz" else data)
            paths.append(path)
    return paths


def check_what_is_said(result, files, clean):
    (log,) = result.logs
    assert log.end == "the end is not proven: later lines or files may be missing"
    first = next(lines for lines in files if lines)[0]
    if record_of(first)["prev"] != "0" * 64:
        assert log.beginning.startswith("begins after a file that is not here")


# What each proof shows about a new end ----------------------------------------------------------


def append_a_forged_run(files, random):
    run_id = record_of(random.choice(files[random.randrange(5)]))["run_id"]
    whole = [line for lines in files for line in lines if record_of(line)["run_id"] == run_id]
    forged = [line.replace(run_id.encode(), b"forged") for line in whole]
    files[4] += recomputed(forged, sha256(files[4][-1][:-1]).hexdigest())


def roll_back(files, random):
    """Remove all runs after one that is chosen."""
    ends = [
        (number, at)
        for number, lines in enumerate(files)
        for at, line in enumerate(lines)
        if record_of(line)["event"] == "run_finished"
    ][:-1]
    number, at = random.choice(ends)
    files[number] = files[number][: at + 1]
    files[number + 1 :] = [None] * (4 - number)


def wipe(files, random):
    """Empty the newest files, and remove the others."""
    files[:4], files[4] = [None] * 4, []


NEW_ENDS = {
    append_a_forged_run: ("after the expected hash are not proven", "appended"),
    roll_back: ("do not contain", "do not contain"),
    wipe: ("do not contain", "do not contain"),
}


@pytest.mark.slow
@pytest.mark.parametrize("manipulation", NEW_ENDS, ids=lambda each: each.__name__)
def test_new_end_is_found_or_said_by_kept_hash_and_by_head_file(manipulation, original, tmp_path):
    clean, last_hash, head = original
    random = Random(manipulation.__name__)
    for case in range(CASES // len(NEW_ENDS)):
        files = [list(lines) for lines in clean]
        manipulation(files, random)
        paths = write_files(tmp_path, files)
        if manipulation is wipe:
            paths = [tmp_path / "log.jsonl"]
            paths[0].touch()
        by_hash = verify(paths, expect_head=last_hash)
        head_path = LogPath(str(tmp_path / "log.jsonl")).head_path
        head_path.write_bytes(head)
        by_head = verify(paths)
        head_path.unlink()
        for found, words in zip((by_hash, by_head), NEW_ENDS[manipulation], strict=True):
            said = found.error.message if found.error is not None else ""
            said += "".join([*(log.end for log in found.logs), *found.warnings])
            assert words in said, (case, words, said)
        assert by_head.exit_code == 3
