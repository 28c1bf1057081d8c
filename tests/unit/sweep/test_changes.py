"""The comparison of a plan with the last one of the same policy: which run, and what changed."""

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from audit.written_logs import answer, fields_of, write_events
from builders import ORG, PROJECT, invitation
from hypothesis import given, settings
from hypothesis import strategies as st

from invite_sweeper.audit.events import ComparedRun, PlanChanges
from invite_sweeper.audit.history import PlanScope, read_history
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import ListUnreadable, Source, SourceRetired
from invite_sweeper.sweep.changes import ChangeTracker, merge_changes

URL = "https://cloud.mongodb.com"
SCOPE = PlanScope("c" * 64, frozenset({ORG}), URL)


def write_plan(path, run_id="run-1", numbers=(1, 2, 3), *, started=None, totals=None, more=()):
    """Append a run that planned these invitations: by default a dry run that ended with 0."""
    head = {
        "mode": "dry-run",
        "policy_sha256": "c" * 64,
        "organizations": [ORG],
        "base_url": URL,
        "now": "2026-11-25T01:02:03Z",
        **(started or {}),
    }
    planned = [("planned", fields_of(invitation(number))) for number in numbers]
    end = {"plan_made": True, "trimmed": 0, "exit_code": 0, **(totals or {})}
    write_events(path, run_id, [("run_started", head), *planned, *more, ("run_finished", end)])


def outcome(number, kind="deleted"):
    return ("outcome", fields_of(invitation(number)) | answer(kind))


def tracker_of(paths, scope=SCOPE):
    previous = read_history(paths).last_plan(scope)
    return ChangeTracker(previous) if previous is not None else None


def compare(paths, stale=(), kept=(), unread=(), scope=SCOPE):
    """Return the comparison with the last plan in the logs; None without one."""
    tracker = tracker_of(paths, scope)
    if tracker is None:
        return None
    for number in stale:
        tracker.is_new(invitation(number), stale=True)
    for number in kept:
        tracker.is_new(invitation(number), stale=False)
    for each in unread:
        tracker.add_unread(each)
    return tracker.result()


def counts(changes):
    """Return new, still stale, deleted, kept, gone, not read, not read then."""
    return (
        *(changes.new, changes.still_stale, changes.deleted, changes.kept, changes.gone),
        *(changes.not_read, changes.not_read_then),
    )


# What changed -------------------------------------------------------------------------------


def test_each_invitation_of_both_plans_is_counted_once(path):
    write_plan(path, numbers=(1, 2, 3, 4))
    found = compare([path], stale=(1, 5, 6), kept=(2, 7))
    assert counts(found) == (2, 1, 0, 1, 2, 0, 0)
    assert found.runs == (ComparedRun("run-1", "dry-run", "2026-11-25T01:02:03Z"),)


def test_only_what_is_stale_now_and_was_not_planned_then_is_new(path):
    write_plan(path, numbers=(1, 2))
    tracker = tracker_of([path])
    found = [tracker.is_new(invitation(n), stale=n != 4) for n in (1, 3, 4)]
    assert found == [False, True, False]


def test_empty_plans_have_no_change(path):
    write_plan(path, numbers=())
    assert counts(compare([path])) == (0, 0, 0, 0, 0, 0, 0)


def test_plan_after_an_empty_one_is_all_new(path):
    write_plan(path, numbers=())
    assert counts(compare([path], stale=(1, 2))) == (2, 0, 0, 0, 0, 0, 0)


def test_empty_plan_after_another_has_all_of_it_gone(path):
    write_plan(path)
    assert counts(compare([path])) == (0, 0, 0, 0, 3, 0, 0)


@pytest.mark.parametrize(
    ("kind", "deleted"),
    [("deleted", 1), ("accepted_during", 0), ("already_gone", 0), ("accepted_before", 0)],
)
def test_what_the_sweep_removed_is_deleted_and_not_gone(path, kind, deleted):
    write_plan(path, started={"mode": "sweep"}, more=[outcome(1, kind)])
    assert counts(compare([path], stale=(2, 3))) == (0, 2, deleted, 0, 1 - deleted, 0, 0)


@pytest.mark.parametrize("kind", ["failed", "unknown", "skipped"])
def test_what_the_sweep_did_not_delete_is_still_stale(path, kind):
    write_plan(path, started={"mode": "sweep"}, totals={"exit_code": 4}, more=[outcome(1, kind)])
    assert counts(compare([path], stale=(1, 2, 3))) == (0, 3, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "killed"])
def test_what_another_run_deleted_after_the_plan_is_deleted(path, ended):
    write_plan(path)
    sweep = [("run_started", {"mode": "sweep", "plan_sha256": "d" * 64}), outcome(1), outcome(2)]
    write_events(path, "run-2", [*sweep, *([("run_finished", {"exit_code": 0})] if ended else [])])
    assert counts(compare([path], stale=(3,))) == (0, 1, 2, 0, 0, 0, 0)


def test_what_a_run_deleted_before_the_plan_is_not_counted(path):
    write_events(path, "run-0", [("run_started", {"mode": "sweep"}), outcome(1)])
    write_plan(path)
    assert counts(compare([path])) == (0, 0, 0, 0, 3, 0, 0)


def test_same_id_in_another_list_or_organization_is_another_invitation(path):
    write_plan(path, numbers=(1,))
    tracker = tracker_of([path])
    assert tracker.is_new(invitation(1, source=Source.USERS), stale=True)
    assert tracker.is_new(invitation(1, org_id="f" * 24), stale=True)
    assert tracker.is_new(invitation(1, project_id="f" * 24), stale=True)
    assert not tracker.is_new(invitation(1), stale=True)


def test_invitation_of_an_organization_has_no_project_and_is_found_again(path):
    listed = invitation(1, source=Source.ORG_INVITES, project_id=ORG, project_name="")
    write_plan(path, numbers=(), more=[("planned", fields_of(listed))])
    tracker = tracker_of([path])
    assert not tracker.is_new(listed, stale=True)


@settings(max_examples=40)
@given(
    planned=st.sets(st.integers(1, 6)),
    deleted=st.sets(st.integers(1, 6)),
    found=st.dictionaries(st.integers(1, 9), st.booleans()),
    unread_then=st.booleans(),
    unread_now=st.booleans(),
)
def test_counts_add_up_to_both_plans(planned, deleted, found, unread_then, unread_now):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        then = ("project_unreadable", {"project_id": PROJECT, "org_id": ORG, "source": "invites"})
        more = [*map(outcome, sorted(planned & deleted)), *([then] if unread_then else [])]
        write_plan(path, numbers=sorted(planned), started={"mode": "sweep"}, more=more)
        changes = compare(
            [path],
            stale=[number for number, stale in found.items() if stale],
            kept=[number for number, stale in found.items() if not stale],
            unread=[ListUnreadable(PROJECT, "Sandbox Alpha", "403")] if unread_now else [],
        )
    new, still_stale, gone_by_run, kept, gone, not_read, not_read_then = counts(changes)
    assert new + still_stale + not_read_then == sum(found.values())
    assert still_stale + gone_by_run + kept + gone + not_read == len(planned)
    assert not (new and unread_then)
    assert not (gone and unread_now)
    assert gone_by_run == len((planned & deleted) - found.keys())


# Lists that were not read -------------------------------------------------------------------


def test_planned_invitations_in_a_list_that_is_not_read_now_are_not_gone(path):
    write_plan(path)
    unread = ListUnreadable(PROJECT, "Sandbox Alpha", "403")
    assert counts(compare([path], unread=[unread])) == (0, 0, 0, 0, 0, 3, 0)
    other = ListUnreadable(PROJECT, "Sandbox Alpha", "403", source=Source.USERS)
    assert counts(compare([path], unread=[other])) == (0, 0, 0, 0, 3, 0, 0)


def test_planned_invitations_of_a_source_that_is_retired_now_are_not_gone(path):
    write_plan(path)
    retired = SourceRetired("f" * 24, "Other", "410", source=Source.INVITES)
    assert counts(compare([path], unread=[retired])) == (0, 0, 0, 0, 0, 3, 0)


def test_deleted_in_a_list_that_is_not_read_now_stays_deleted(path):
    write_plan(path, numbers=(1,), started={"mode": "sweep"}, more=[outcome(1)])
    unread = ListUnreadable(PROJECT, "Sandbox Alpha", "403")
    assert counts(compare([path], unread=[unread])) == (0, 0, 1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("event", "fields"),
    [
        ("project_unreadable", {"project_id": PROJECT, "org_id": ORG}),
        ("source_retired", {}),
    ],
)
@pytest.mark.parametrize(("source", "new"), [("invites", 0), ("users", 1)])
def test_stale_invitations_of_a_list_that_was_not_read_then_are_not_new(
    path, event, fields, source, new
):
    write_plan(path, numbers=(), more=[(event, {**fields, "source": source})])
    assert counts(compare([path], stale=(9,))) == (new, 0, 0, 0, 0, 0, 1 - new)


# Which run is compared ----------------------------------------------------------------------


def test_without_a_log_or_a_run_nothing_is_compared(path):
    assert compare([]) is None
    path.touch()
    assert compare([path]) is None


def test_the_last_of_several_plans_is_compared(path):
    write_plan(path, "one", (1,))
    write_plan(path, "two", (1, 2))
    found = compare([path], stale=(1, 2, 3))
    assert (found.runs[0].run_id, counts(found)) == ("two", (1, 2, 0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    "started",
    [
        {"policy_sha256": "d" * 64},
        {"base_url": "https://cloud.mongodbgov.com"},
        {"organizations": ["f" * 24]},
        {"organizations": [ORG, "f" * 24]},
        {"mode": "restore"},
        {"mode": "sweep", "plan_sha256": "d" * 64},
    ],
    ids=["policy", "host", "organization", "more", "restore", "saved plan"],
)
def test_run_of_another_scope_is_not_compared(path, started):
    write_plan(path, "one", (1,))
    write_plan(path, "two", (2,), started=started)
    assert compare([path], stale=(1,)).runs[0].run_id == "one"
    path.unlink()
    write_plan(path, "two", (2,), started=started)
    assert compare([path], stale=(1,)) is None


@pytest.mark.parametrize("code", [0, 3, 4, 10])
def test_run_with_a_whole_plan_is_compared(path, code):
    write_plan(path, totals={"exit_code": code})
    assert compare([path]).runs[0].refused is (code == 3)


@pytest.mark.parametrize("code", [1, 2, 5, 6, 7, 8, 9])
def test_failed_or_interrupted_run_is_not_compared(path, code):
    write_plan(path, "one", (1,))
    write_plan(path, "two", (2,), totals={"exit_code": code})
    assert compare([path]).runs[0].run_id == "one"


@pytest.mark.parametrize(
    "totals",
    [{"exit_code": 3, "plan_made": False}, {"trimmed": 1}],
    ids=["refused before its plan was whole", "trimmed"],
)
def test_run_without_a_whole_plan_is_not_compared(path, totals):
    write_plan(path, totals=totals)
    assert compare([path]) is None


def test_killed_run_is_not_compared(path):
    write_plan(path, "one", (1,))
    planned = ("planned", fields_of(invitation(2)))
    write_events(path, "two", [("run_started", {"mode": "dry-run"}), planned])
    found = compare([path], stale=(1, 2))
    assert (found.runs[0].run_id, counts(found)) == ("one", (1, 1, 0, 0, 0, 0, 0))


def test_order_of_the_organizations_is_ignored(path):
    both = frozenset({ORG, "f" * 24})
    write_plan(path, started={"organizations": sorted(both, reverse=True)})
    assert compare([path], scope=SCOPE._replace(organizations=both)) is not None


def test_rotated_and_compressed_logs_are_read(tmp_path):
    first, second = tmp_path / "log.jsonl.2.gz", tmp_path / "log.jsonl.1"
    plain = tmp_path / "plain"
    write_plan(plain, "one", (1, 2))
    first.write_bytes(gzip.compress(plain.read_bytes()))
    write_events(second, "two", [("run_started", {"mode": "sweep"}), outcome(1)])
    assert counts(compare([first, second], stale=(2,))) == (0, 1, 1, 0, 0, 0, 0)


def test_plan_that_continues_in_the_next_file_is_whole(tmp_path):
    path, first, second = tmp_path / "log", tmp_path / "1", tmp_path / "2"
    write_plan(path)
    lines = path.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:2]))
    second.write_bytes(b"".join(lines[2:]))
    assert counts(compare([first, second], stale=(1, 2, 3))) == (0, 3, 0, 0, 0, 0, 0)


def test_damaged_line_of_the_plan_is_refused(path):
    write_plan(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1][:-20] + b"\n", *lines[2:]]))
    with pytest.raises(GuardRefused, match="damaged"):
        compare([path])


# Several runs of one command ----------------------------------------------------------------

ONE, TWO = ComparedRun("one", "sweep", "2026-11-24"), ComparedRun("two", "sweep", "2026-11-25")


def test_changes_of_several_runs_are_added_up():
    found = merge_changes([PlanChanges((ONE,), 1, 2, 3, 4, 5, 6, 7), PlanChanges((TWO,), 1)])
    assert (found.runs, counts(found)) == ((ONE, TWO), (2, 2, 3, 4, 5, 6, 7))


@pytest.mark.parametrize("changes", [[], [None], [PlanChanges((ONE,), 1), None]])
def test_changes_are_unknown_if_one_run_cannot_be_compared(changes):
    assert merge_changes(changes) is None
