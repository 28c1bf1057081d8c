"""A file that is missing is damage until a later run has accepted it."""

import pytest
from audit.runs import deletion, write_run
from builders import NOW

from invite_sweeper.audit import History, Verdict, verify_directory
from invite_sweeper.audit.directory import MIN_RUNS
from invite_sweeper.audit.events import MissingAccepted
from invite_sweeper.errors import DamagedLog


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
