"""What became of the requests of runs: their own outcomes, and those that later runs recorded."""

from audit.runs import deletion, intent, outcome, planned, records, started, write_run

from invite_sweeper.audit import verify_directory
from invite_sweeper.audit.events import OutcomeLine

RESTORE = {"start": started(mode="restore")}


def recovered(number: int, result: str = "already_gone", run: str = "r1") -> OutcomeLine:
    """Return what a later run recorded of a request."""
    return outcome(planned(number), result, attempts=0, recovers=run)


def test_each_request_counts_once_with_the_last_that_is_known_of_it(directory):
    lines = [*deletion(1), *deletion(2, "unknown"), *deletion(3)[:2], *deletion(4)[:2], planned(5)]
    write_run(directory, "r1", *lines, killed=True)
    (first,) = records(directory)
    assert (first.outcomes, first.open_requests) == ({"deleted": 1, "unknown": 1}, 2)
    write_run(directory, "r2", recovered(2), recovered(3, "failed"), *deletion(3))
    first, second = records(directory)
    assert (+first.outcomes, first.open_requests) == (
        {"deleted": 1, "already_gone": 1, "failed": 1},
        1,
    )
    assert first.recovered is None
    assert second.outcomes == {"deleted": 1}
    write_run(directory, "r3", recovered(4))
    first = records(directory)[0]
    assert +first.outcomes == {"deleted": 1, "already_gone": 2, "failed": 1}
    assert first.recovered is not None
    assert (first.recovered.by, first.recovered.outcomes) == (3, {"already_gone": 2, "failed": 1})
    assert verify_directory(directory).recovered == (first.recovered,)


def test_what_no_run_left_is_not_recovered(directory):
    write_run(directory, "r1", *deletion(1))
    write_run(directory, "r2", recovered(1, "failed"), recovered(2), recovered(3, run="r0"))
    first, second = records(directory)
    assert (first.outcomes, second.outcomes) == ({"deleted": 1}, {})


def test_a_run_that_ended_with_a_lost_answer_is_no_killed_one(directory):
    write_run(directory, "r1", *deletion(1, "unknown"))
    write_run(directory, "r2", recovered(1))
    first = records(directory)[0]
    assert (+first.outcomes, first.recovered, first.unfinished) == ({"already_gone": 1}, None, None)


def test_an_intent_is_answered_by_an_outcome_that_shows_its_invitation_otherwise(directory):
    lines = [intent(planned(1)), outcome(planned(1, username="other@example.com"))]
    write_run(directory, "r1", *lines)
    (first,) = records(directory)
    assert (first.open_requests, first.outcomes, first.sent.total()) == (0, {"deleted": 1}, 1)


def test_an_open_invitation_of_a_restore_is_left_and_one_without_an_answer_is_not(directory):
    lines = [*deletion(1, "unknown")[1:], intent(planned(2))]
    write_run(directory, "r1", *lines, killed=True, **RESTORE)
    (first,) = records(directory)
    assert list(first.left) == [planned(2).key]
