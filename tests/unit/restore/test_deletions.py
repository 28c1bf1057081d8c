"""Deletions that a restore reads from audit logs, and logs that it refuses."""

import pytest
from audit.written_logs import answer, fields_of, lines_of, write_events, write_run
from builders import invitation

from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.restore import check_log_intact, read_deletions

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
    found = read_deletions([log], base_url=URL)
    assert names(found) == ["person-1@example.com", "person-4@example.com"]
    assert {each.run_id for each in found} == {"run-1"}


def test_deletion_is_read_with_all_recorded_fields(log):
    run_with(log, "run-1", (1, "deleted"))
    (found,) = read_deletions([log], base_url=URL)
    assert found.invitation == invitation(1)
    assert found.rule == "forgotten"


def test_two_runs_with_deletions_require_a_run_id(log):
    run_with(log, "run-1", (1, "deleted"))
    run_with(log, "run-2", (2, "deleted"))
    with pytest.raises(UsageError, match=r"run-1 \(1\), run-2 \(1\)"):
        read_deletions([log], base_url=URL)
    assert names(read_deletions([log], base_url=URL, run="run-2")) == ["person-2@example.com"]


def test_ambiguous_start_of_a_run_id_is_refused(log):
    run_with(log, "run-1", (1, "deleted"))
    run_with(log, "run-2", (2, "deleted"))
    with pytest.raises(UsageError):
        read_deletions([log], base_url=URL, run="run-")


def test_run_without_deletions_is_ignored(log):
    run_with(log, "run-1", (1, "deleted"))
    write_run(log, "run-2", mode="dry-run")
    assert names(read_deletions([log], base_url=URL)) == ["person-1@example.com"]


def test_unknown_run_is_a_usage_error(log):
    run_with(log, "run-1", (1, "deleted"))
    with pytest.raises(UsageError, match="no run nowhere"):
        read_deletions([log], base_url=URL, run="nowhere")


@pytest.mark.parametrize("run", [None, "run-2"], ids=["whichever", "by name"])
def test_log_without_a_deletion_returns_nothing(log, run):
    run_with(log, "run-1", (1, "already_gone"))
    run_with(log, "run-2", (2, "failed"))
    assert read_deletions([log], base_url=URL, run=run) == ()


def test_selected_run_without_deletions_returns_nothing_if_another_has_some(log):
    run_with(log, "run-1", (1, "deleted"))
    run_with(log, "run-2", (2, "failed"))
    assert read_deletions([log], base_url=URL, run="run-2") == ()


def test_username_is_a_glob_and_case_does_not_matter(log):
    run_with(log, "run-1", (1, "deleted"), (12, "deleted"), (2, "deleted"))
    found = read_deletions([log], base_url=URL, username="PERSON-1*")
    assert names(found) == ["person-1@example.com", "person-12@example.com"]


def test_user_of_one_list_is_returned_once(log):
    again = invitation(2, username="PERSON-1@example.com")
    events = [("run_started", {"mode": "sweep", "base_url": URL})]
    for each in (invitation(1), again):
        events += [("intent", fields_of(each)), ("outcome", fields_of(each) | answer())]
    write_events(log, "run-1", events)
    assert names(read_deletions([log], base_url=URL)) == ["person-1@example.com"]


@pytest.mark.parametrize("lacks", ["source", "roles", "username", "rule"])
def test_incomplete_deletion_record_is_refused_and_named(log, lacks):
    fields = fields_of(invitation(1)) | answer("deleted")
    del fields[lacks]
    write_events(log, "run-1", [("run_started", {"mode": "sweep"}), ("outcome", fields)])
    with pytest.raises(GuardRefused, match="run-1 cannot be read") as refused:
        read_deletions([log], base_url=URL)
    assert refused.value.consequence == "No one was invited."


def test_run_with_another_base_url_is_refused(log):
    run_with(log, "run-1", (1, "deleted"), base_url="https://elsewhere.example.com")
    with pytest.raises(GuardRefused, match="used https://elsewhere"):
        read_deletions([log], base_url=URL)


def test_rotated_files_are_read_together(tmp_path, log):
    older = tmp_path / "audit.jsonl.1"
    run_with(older, "run-1", (1, "deleted"))
    run_with(log, "run-2", (2, "deleted"))
    assert names(read_deletions([older, log], base_url=URL, run="run-1")) == [
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
    assert names(read_deletions([log], base_url=URL)) == ["person-1@example.com"]
