"""Deletions that a restore reads from audit logs, and logs that it refuses."""

import pytest
from audit.written_logs import answer, fields_of, lines_of, write_events, write_run
from builders import invitation

from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.restore.deletions import (
    check_log_intact,
    find_deletions,
    read_deletion_log,
)

URL = "https://atlas.example.com"


@pytest.fixture
def log(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path / "audit.jsonl"


def names(found):
    return [each.invitation.username for each in found]


def run_with(log, run_id, *outcomes, base_url=URL):
    """Write a sweep with the given outcomes, each of another user."""
    events = [("run_started", {"mode": "sweep", "base_url": base_url})]
    for number, outcome in outcomes:
        fields = fields_of(invitation(number))
        events += [("intent", fields), ("outcome", fields | answer(outcome))]
    write_events(log, run_id, [*events, ("run_finished", {"exit_code": 0})])


def test_only_deletions_are_returned(log):
    run_with(
        log, "run-1", (1, "deleted"), (2, "already_gone"), (3, "failed"), (4, "accepted_during")
    )
    found = find_deletions(read_deletion_log([log]), base_url=URL)
    assert names(found) == ["person-1@example.com", "person-4@example.com"]
    assert {each.run_id for each in found} == {"run-1"}


def test_deletion_is_read_with_all_recorded_fields(log):
    run_with(log, "run-1", (1, "deleted"))
    (found,) = find_deletions(read_deletion_log([log]), base_url=URL)
    assert found.invitation == invitation(1)
    assert found.rule == "forgotten"


def test_two_runs_with_deletions_require_a_run_id(log):
    run_with(log, "run-1", (1, "deleted"))
    run_with(log, "run-2", (2, "deleted"))
    with pytest.raises(UsageError, match=r"run-1 \(1\), run-2 \(1\)"):
        find_deletions(read_deletion_log([log]), base_url=URL)
    assert names(find_deletions(read_deletion_log([log]), base_url=URL, run="run-2")) == [
        "person-2@example.com"
    ]


def test_ambiguous_start_of_a_run_id_is_refused(log):
    run_with(log, "run-1", (1, "deleted"))
    run_with(log, "run-2", (2, "deleted"))
    with pytest.raises(UsageError):
        find_deletions(read_deletion_log([log]), base_url=URL, run="run-")


def test_run_without_deletions_is_ignored(log):
    run_with(log, "run-1", (1, "deleted"))
    write_run(log, "run-2", mode="dry-run")
    assert names(find_deletions(read_deletion_log([log]), base_url=URL)) == ["person-1@example.com"]


def test_unknown_run_is_a_usage_error(log):
    run_with(log, "run-1", (1, "deleted"))
    with pytest.raises(UsageError, match="no run nowhere"):
        find_deletions(read_deletion_log([log]), base_url=URL, run="nowhere")


@pytest.mark.parametrize("run", [None, "run-2"], ids=["whichever", "by name"])
def test_log_without_a_deletion_returns_nothing(log, run):
    run_with(log, "run-1", (1, "already_gone"))
    run_with(log, "run-2", (2, "failed"))
    assert find_deletions(read_deletion_log([log]), base_url=URL, run=run) == ()


def test_selected_run_without_deletions_returns_nothing_if_another_has_some(log):
    run_with(log, "run-1", (1, "deleted"))
    run_with(log, "run-2", (2, "failed"))
    assert find_deletions(read_deletion_log([log]), base_url=URL, run="run-2") == ()


def test_username_is_a_glob_and_case_does_not_matter(log):
    run_with(log, "run-1", (1, "deleted"), (12, "deleted"), (2, "deleted"))
    found = find_deletions(read_deletion_log([log]), base_url=URL, username="PERSON-1*")
    assert names(found) == ["person-1@example.com", "person-12@example.com"]


def test_user_of_one_list_is_returned_once(log):
    again = invitation(2, username="PERSON-1@example.com")
    events = [("run_started", {"mode": "sweep", "base_url": URL})]
    for each in (invitation(1), again):
        events += [("intent", fields_of(each)), ("outcome", fields_of(each) | answer())]
    write_events(log, "run-1", events)
    assert names(find_deletions(read_deletion_log([log]), base_url=URL)) == ["person-1@example.com"]


@pytest.mark.parametrize("lacks", ["source", "roles", "username", "rule"])
def test_incomplete_deletion_record_is_refused(log, lacks):
    run_with(log, "run-1", (1, "deleted"))
    log.write_bytes(log.read_bytes().replace(f'"{lacks}":'.encode(), b'"other":'))
    with pytest.raises(GuardRefused, match="cannot be read") as refused:
        find_deletions(read_deletion_log([log]), base_url=URL)
    assert refused.value.consequence == "No one was invited."


def test_run_with_another_base_url_is_refused(log):
    run_with(log, "run-1", (1, "deleted"), base_url="https://elsewhere.example.com")
    with pytest.raises(GuardRefused, match="used https://elsewhere"):
        find_deletions(read_deletion_log([log]), base_url=URL)


def test_rotated_files_are_read_together(tmp_path, log):
    older = tmp_path / "audit.jsonl.1"
    run_with(older, "run-1", (1, "deleted"))
    run_with(log, "run-2", (2, "deleted"))
    assert names(find_deletions(read_deletion_log([older, log]), base_url=URL, run="run-1")) == [
        "person-1@example.com"
    ]


def test_sound_log_passes_without_warnings(log):
    run_with(log, "run-1", (1, "deleted"))
    assert check_log_intact([log]) == ()


def test_edited_log_is_refused(log):
    run_with(log, "run-1", (1, "deleted"), (2, "deleted"))
    log.write_bytes(log.read_bytes().replace(b"person-1@", b"person-9@"))
    with pytest.raises(GuardRefused, match="damaged"):
        check_log_intact([log])


def test_log_with_a_removed_line_is_refused(log):
    run_with(log, "run-1", (1, "deleted"), (2, "deleted"))
    kept = lines_of(log)
    del kept[2]
    log.write_bytes(b"\n".join(kept) + b"\n")
    with pytest.raises(GuardRefused):
        check_log_intact([log])


def test_log_of_a_killed_run_passes_with_a_warning(log):
    fields = fields_of(invitation(1))
    write_events(
        log,
        "run-1",
        [
            ("run_started", {"mode": "sweep", "base_url": URL}),
            ("intent", fields),
            ("outcome", fields | answer()),
            ("intent", fields_of(invitation(2))),
        ],
    )
    (message,) = check_log_intact([log])
    assert "no end" in message
    found = [
        each for each in find_deletions(read_deletion_log([log]), base_url=URL) if not each.doubt
    ]
    assert names(found) == ["person-1@example.com"]


# --- deletions that Atlas did not confirm ------------------------------------------------------


def killed_run(log, run_id="run-1", *numbers, mode="sweep"):
    """Write a run that was killed with intents in flight."""
    events = [("run_started", {"mode": mode, "base_url": URL})]
    events += [("intent", fields_of(invitation(number))) for number in numbers]
    write_events(log, run_id, events)


def recovering_run(log, run_id, recovers, *outcomes):
    """Write a run that recorded the outcomes of a killed one."""
    events = [("run_started", {"mode": "sweep", "base_url": URL})]
    for number, outcome in outcomes:
        recovered = {"recovered": True, "recovers": recovers, "attempts": 0}
        fields = fields_of(invitation(number)) | answer(outcome) | recovered
        events.append(("outcome", fields))
    write_events(log, run_id, [*events, ("run_finished", {"exit_code": 0})])


def doubts(found):
    return {each.invitation.username: each.doubt for each in found}


GONE = "The run was killed; afterwards Atlas no longer had the invitation."


def test_invitation_that_was_gone_after_a_kill_belongs_to_the_killed_run_and_is_in_doubt(log):
    killed_run(log, "run-1", 1, 2)
    recovering_run(log, "run-2", "run-1", (1, "already_gone"), (2, "failed"))
    for run in (None, "run-1"):
        found = find_deletions(read_deletion_log([log]), base_url=URL, run=run)
        assert doubts(found) == {"person-1@example.com": GONE}
        assert {each.run_id for each in found} == {"run-1"}
    assert find_deletions(read_deletion_log([log]), base_url=URL, run="run-2") == ()


def test_intent_without_an_outcome_is_in_doubt(log):
    killed_run(log, "run-1", 1)
    found = find_deletions(read_deletion_log([log]), base_url=URL, run="run-1")
    assert doubts(found) == {
        "person-1@example.com": "The run was killed before it recorded an outcome."
    }


@pytest.mark.parametrize("mode", ["restore", "dry-run"])
def test_open_intent_of_another_mode_is_not_a_deletion(log, mode):
    killed_run(log, "run-1", 1, mode=mode)
    assert find_deletions(read_deletion_log([log]), base_url=URL) == ()


def test_unknown_outcome_of_a_sweep_is_in_doubt_and_that_of_a_restore_is_not_a_deletion(log):
    run_with(log, "run-1", (1, "unknown"))
    assert doubts(find_deletions(read_deletion_log([log]), base_url=URL)) == {
        "person-1@example.com": "The DELETE had no response."
    }
    killed_run(log, "run-2", 2, mode="restore")
    recovering_run(log, "run-3", "run-2", (2, "unknown"))
    assert find_deletions(read_deletion_log([log]), base_url=URL, run="run-2") == ()


@pytest.mark.parametrize(("attempts", "count"), [(1, 0), (2, 1)])
def test_invitation_gone_at_a_repeated_delete_is_in_doubt(log, attempts, count):
    fields = fields_of(invitation(1)) | answer("already_gone") | {"attempts": attempts}
    events = [("run_started", {"mode": "sweep", "base_url": URL}), ("outcome", fields)]
    write_events(log, "run-1", events)
    assert len(find_deletions(read_deletion_log([log]), base_url=URL)) == count


def test_certain_deletions_come_first_and_decide_which_run_is_meant(log):
    killed_run(log, "run-1", 1)
    recovering_run(log, "run-2", "run-1", (1, "already_gone"))
    run_with(log, "run-3", (2, "unknown"), (3, "deleted"))
    found = find_deletions(read_deletion_log([log]), base_url=URL)
    assert doubts(found) == {
        "person-3@example.com": "",
        "person-2@example.com": "The DELETE had no response.",
    }
    assert found[0].doubt == ""


def test_member_removed_by_a_killed_run_is_found_under_both_runs(log):
    killed_run(log, "run-1", 1)
    recovering_run(log, "run-2", "run-1", (1, "accepted_during"))
    for run, found_run in ((None, "run-1"), ("run-1", "run-1"), ("run-2", "run-2")):
        (found,) = find_deletions(read_deletion_log([log]), base_url=URL, run=run)
        assert (found.run_id, found.doubt, found.was_member) == (found_run, "", True)
