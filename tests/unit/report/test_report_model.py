"""The report's model, built from audit logs."""

import sqlite3
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report.logbook import NOW, Logbook, invitation

from invite_sweeper.errors import UsageError
from invite_sweeper.models import Outcome
from invite_sweeper.report.html import ChainResult, build_report_model
from invite_sweeper.report.html.attention import attention
from invite_sweeper.report.html.database import temporary_database
from invite_sweeper.report.html.model import ReportStatus
from invite_sweeper.report.html.verdict import verdict
from invite_sweeper.sweep.plan import AGE_CLASS_LABELS, AgeHistogram, age_class

INTACT = ChainResult(sound=True, message="The chain is intact.", last_hash="d" * 64)


@pytest.fixture
def book(tmp_path):
    return Logbook(tmp_path / "audit.jsonl")


def model(*books: Logbook, chain=None):
    return build_report_model([book.path for book in books], chain)


def ids(truncated) -> set[int]:
    return {int(entry.invitation_id, 16) for entry in truncated.rows}


def test_empty_log_has_the_status_empty(book):
    found = model(book)
    assert verdict(found).status is ReportStatus.EMPTY
    assert found.current == ()
    assert found.invitations.total == 0


@pytest.mark.parametrize(
    ("exit_code", "status"),
    [
        (0, ReportStatus.CLEAN),
        (10, ReportStatus.CLEAN),
        (1, ReportStatus.FAILED),
        (3, ReportStatus.REFUSED),
        (4, ReportStatus.PARTIAL),
        (5, ReportStatus.FAILED),
        (6, ReportStatus.FAILED),
        (7, ReportStatus.FAILED),
        (8, ReportStatus.INTERRUPTED),
        (99, ReportStatus.FAILED),
    ],
)
def test_status_follows_the_exit_code_of_the_newest_run(book, exit_code, status):
    book.sweep("run-1", {1: "deleted"}, days_ago=1)
    book.start("run-2")
    book.finish(exit_code, error="This is the reason.")
    found = model(book, chain=INTACT)
    assert verdict(found).status is status
    assert status is ReportStatus.CLEAN or "This is the reason." in " ".join(
        verdict(found).sentences
    )


def test_run_without_a_last_line_is_unfinished(book):
    book.start("run-1")
    book.line("planned", **invitation(1))
    book.line("intent", **invitation(1))
    found = model(book)
    assert verdict(found).status is ReportStatus.UNFINISHED
    assert found.outcomes.open == 1
    assert found.invitations.rows[0].state == "no outcome"


def test_damaged_chain_overrides_every_other_status(book):
    book.sweep("run-1", {1: "deleted"})
    damaged = ChainResult(sound=False, message="Line 2 was edited.", last_hash="")
    found = model(book, chain=damaged)
    assert verdict(found).status is ReportStatus.DAMAGED
    assert "Line 2 was edited." in " ".join(verdict(found).sentences)


def test_newest_run_is_the_one_that_started_last_in_any_file_order(tmp_path):
    late, early = Logbook(tmp_path / "a.jsonl"), Logbook(tmp_path / "b.jsonl")
    late.sweep("late", {1: "deleted"})
    early.sweep("early", {2: "deleted"}, days_ago=3)
    for order in ([late, early], [early, late]):
        assert [run.run_id for run in model(*order).current] == ["late"]


def test_outcomes_are_counted_from_the_lines(book):
    outcomes = dict(enumerate([*Outcome] * 2))
    book.sweep("run-1", outcomes)
    found = model(book).outcomes
    counts = [getattr(found, outcome.value) for outcome in Outcome]
    assert counts == [2] * len(Outcome)
    assert (found.planned, found.open) == (2 * len(Outcome), 0)


def test_reported_total_that_differs_from_the_lines_is_noted(book):
    book.sweep("run-1", {1: "deleted", 2: "failed"}, deleted=3)
    assert "Run run-1 reports 3 deleted; its lines show 1." in model(book).notes


def test_matching_totals_have_no_note(book):
    book.sweep("run-1", {1: "deleted"}, days_ago=1)
    book.sweep("run-2", {2: "deleted", 3: "failed", 4: "already_gone"})
    assert model(book).notes == ()


def test_failures_are_first_then_the_oldest(book):
    book.start("run-1")
    states = ["deleted", "failed", "skipped", "unknown", "deleted"]
    for number, state in enumerate(states):
        book.line("planned", **invitation(number, age_days=float(number)))
        book.line("outcome", **invitation(number), outcome=state, attempts=2, http_status=500)
    book.finish(4)
    rows = model(book).invitations.rows
    assert [row.state for row in rows] == ["failed", "unknown", "skipped", "deleted", "deleted"]
    assert [row.age_days for row in rows[-2:]] == [4.0, 0.0]
    assert rows[0].detail == "HTTP 500, 2 attempts"


@pytest.mark.parametrize("role", ["GROUP_OWNER", "ORG_OWNER"])
def test_owners_come_before_older_invitations_and_after_failures(book, role):
    book.start("run-1")
    for number, (roles, state) in enumerate(
        [(["GROUP_READ_ONLY"], "deleted"), ([role], "deleted"), (["GROUP_READ_ONLY"], "failed")]
    ):
        fields = invitation(number, roles=roles, age_days=90.0 - number)
        book.line("planned", **fields)
        book.line("outcome", **fields, outcome=state, attempts=1)
    book.finish(4)
    assert [int(row.invitation_id, 16) for row in model(book).invitations.rows] == [2, 1, 0]


class TestPreviousRun:
    def test_invitations_are_new_persisting_or_gone(self, book):
        book.sweep("run-1", {1: "deleted", 2: "failed", 3: "skipped"}, days_ago=1)
        book.sweep("run-2", {2: "deleted", 4: "deleted"})
        found = model(book).comparison
        assert ids(found.new) == {4}
        assert ids(found.persisting) == {2}
        assert ids(found.gone) == {1, 3}
        reasons = {int(entry.invitation_id, 16): entry.state for entry in found.gone.rows}
        assert reasons[1] == "deleted by the previous run"
        assert reasons[3].startswith("accepted")
        assert found.since == NOW - timedelta(days=1)

    @pytest.mark.parametrize(
        ("outcome", "reason"),
        [
            ("deleted", "deleted by the previous run"),
            ("already_gone", "already gone before its planned deletion"),
            ("accepted_before", "accepted before its planned deletion"),
            ("accepted_during", "accepted and removed during the previous run"),
            ("failed", "accepted, revoked, expired or no longer stale"),
        ],
    )
    def test_reason_of_a_gone_invitation_is_its_previous_outcome(self, book, outcome, reason):
        book.sweep("run-1", {1: outcome}, days_ago=1)
        book.sweep("run-2", {})
        (entry,) = model(book).comparison.gone.rows
        assert entry.state == reason

    def test_invitation_of_a_now_unreadable_project_is_unseen_not_gone(self, book):
        book.sweep("run-1", {1: "failed"}, days_ago=1)
        book.start("run-2")
        book.line("project_unreadable", project_id="a" * 24, project_name="x", reason="401")
        book.finish(4, projects_unreadable=1)
        found = model(book).comparison
        assert (found.gone.total, found.unseen) == (0, 1)

    @pytest.mark.parametrize(
        ("final", "reason"),
        [
            ({"exit_code": 6, "projects_seen": 0}, "did not list everything"),
            ({"exit_code": 3, "projects_seen": 0}, "did not list everything"),
            ({"exit_code": 8, "stale": 9}, "did not list everything"),
        ],
    )
    def test_run_that_did_not_list_everything_is_not_compared(self, book, final, reason):
        book.sweep("run-1", {1: "failed"}, days_ago=1)
        book.start("run-2")
        book.finish(**final)
        found = model(book)
        assert found.comparison is None
        assert any(reason in note for note in found.notes)

    def test_states_of_compared_invitations_are_outcomes(self, book):
        book.sweep("run-1", {1: "failed"}, days_ago=1)
        book.sweep("run-2", {1: "deleted", 2: "deleted"})
        found = model(book).comparison
        assert [entry.state for entry in found.persisting.rows] == ["deleted"]
        assert [entry.state for entry in found.new.rows] == ["deleted"]

    def test_what_another_run_deleted_since_is_deleted_and_not_gone(self, book):
        book.start("plan", days_ago=2, mode="dry-run")
        for number in (1, 2, 3):
            book.line("planned", **invitation(number))
        book.finish(stale=3)
        book.start("sweep", days_ago=1, plan_sha256="d" * 64)
        book.deletions({1: "deleted"})
        book.finish(stale=1)
        book.sweep("run-2", {3: "deleted"})
        found = model(book).comparison
        assert (found.deleted, ids(found.gone), ids(found.persisting)) == (1, {1, 2}, {3})
        reasons = {int(entry.invitation_id, 16): entry.state for entry in found.gone.rows}
        assert reasons[1] == "deleted by another run since"

    def test_deleted_in_a_now_unreadable_project_stays_deleted(self, book):
        book.sweep("run-1", {1: "deleted", 2: "failed"}, days_ago=1)
        book.start("run-2")
        book.line("project_unreadable", project_id="a" * 24, project_name="x", reason="401")
        book.finish(4, projects_unreadable=1)
        found = model(book).comparison
        assert (found.deleted, ids(found.gone), found.unseen) == (1, {1}, 1)

    def test_invitation_of_a_then_unreadable_project_is_not_new(self, book):
        book.start("run-1", days_ago=1)
        book.line("project_unreadable", project_id="a" * 24, project_name="x", reason="401")
        book.finish(4, projects_unreadable=1)
        book.sweep("run-2", {1: "deleted"})
        found = model(book).comparison
        assert (found.new.total, found.unseen_then) == (0, 1)

    @pytest.mark.parametrize(
        ("started", "final"),
        [
            ({}, {"exit_code": 3, "estimate_s": None}),
            ({}, {"exit_code": 3}),
            ({}, {"trimmed": 1}),
            ({"plan_sha256": "d" * 64}, {}),
        ],
        ids=["refused while reading", "refused, earlier version", "trimmed", "saved plan"],
    )
    def test_run_without_a_whole_plan_is_not_the_previous_run(self, book, started, final):
        book.sweep("run-1", {1: "failed"}, days_ago=2)
        book.start("run-2", days_ago=1, **started)
        book.finish(**final)
        book.sweep("run-3", {1: "failed"})
        assert ids(model(book).comparison.persisting) == {1}

    def test_refused_run_with_a_whole_plan_is_the_previous_run(self, book):
        book.start("run-1", days_ago=1)
        book.line("planned", **invitation(1))
        book.finish(3, stale=1, estimate_s=0.0)
        book.sweep("run-2", {1: "deleted"})
        assert ids(model(book).comparison.persisting) == {1}

    def test_run_of_the_same_policy_is_compared_before_a_later_one_of_another(self, book):
        book.sweep("run-1", {1: "failed"}, days_ago=2)
        book.start("run-2", days_ago=1, policy_sha256="e" * 64)
        book.finish()
        book.sweep("run-3", {1: "failed"})
        assert ids(model(book).comparison.persisting) == {1}

    def test_sweep_of_a_saved_plan_is_not_compared(self, book):
        book.sweep("run-1", {1: "failed"}, days_ago=1)
        book.start("run-2", plan_sha256="d" * 64)
        book.finish()
        found = model(book)
        assert found.comparison is None
        assert any("used a saved plan" in note for note in found.notes)

    def test_unfinished_run_is_not_compared(self, book):
        book.sweep("run-1", {1: "failed"}, days_ago=1)
        book.start("run-2")
        assert model(book).comparison is None

    def test_unfinished_run_in_between_is_skipped(self, book):
        book.sweep("run-1", {1: "failed"}, days_ago=2)
        book.start("run-2", days_ago=1)
        book.line("planned", **invitation(7))
        book.sweep("run-3", {1: "failed"})
        assert ids(model(book).comparison.persisting) == {1}

    def test_run_of_another_policy_is_not_the_previous_run(self, book):
        book.start("other", days_ago=1, policy_path="config/other.yaml")
        book.finish()
        book.sweep("run-1", {1: "deleted"})
        found = model(book)
        assert found.comparison is None
        assert any("1 other pair of host and policy" in note for note in found.notes)

    def test_changed_policy_and_trimmed_plan_are_noted(self, book):
        book.start("run-1", days_ago=1, policy_sha256="e" * 64)
        book.finish()
        book.start("run-2")
        book.line("planned", **invitation(1))
        book.finish(stale=3, trimmed=2)
        notes = model(book).notes
        assert any("policy changed" in note for note in notes)
        assert any("trimmed" in note for note in notes)

    @given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
    @settings(max_examples=25, deadline=None)
    def test_each_invitation_is_in_exactly_one_list(self, tmp_path_factory, before, now):
        book = Logbook(tmp_path_factory.mktemp("logs") / "audit.jsonl")
        book.sweep("run-1", dict.fromkeys(before, "failed"), days_ago=1)
        book.sweep("run-2", dict.fromkeys(now, "failed"))
        found = model(book).comparison
        assert ids(found.new) == now - before
        assert ids(found.persisting) == now & before
        assert ids(found.gone) == before - now


class TestShards:
    def shard(self, path: Path, number: int, *, of: int = 3, days_ago: float = 0) -> Logbook:
        book = Logbook(path / f"{number}-{days_ago}.jsonl")
        book.start(f"run-{number}-{days_ago}", shard=f"{number}/{of}", days_ago=days_ago)
        book.line("planned", **invitation(number))
        book.line("intent", **invitation(number))
        book.line("outcome", **invitation(number), outcome="deleted")
        book.finish(stale=1, deleted=1)
        return book

    def test_shards_of_a_run_are_summed(self, tmp_path):
        found = model(*(self.shard(tmp_path, number) for number in (1, 2, 3)))
        assert verdict(found).status is ReportStatus.CLEAN
        assert (found.outcomes.deleted, found.totals.stale, found.invitations.total) == (3, 3, 3)

    def test_missing_shard_is_named_and_the_run_is_unfinished(self, tmp_path):
        found = model(self.shard(tmp_path, 1), self.shard(tmp_path, 3))
        assert verdict(found).status is ReportStatus.UNFINISHED
        assert found.missing_shards == (2,)

    def test_shard_of_the_previous_day_does_not_replace_a_missing_one(self, tmp_path):
        books = [self.shard(tmp_path, number) for number in (1, 3)]
        found = model(*books, self.shard(tmp_path, 2, days_ago=1))
        assert found.missing_shards == (2,)
        assert verdict(found).status is ReportStatus.UNFINISHED

    def test_sharded_runs_are_compared_shard_by_shard(self, tmp_path):
        books = [self.shard(tmp_path, n, days_ago=d) for n in (1, 2, 3) for d in (0, 1)]
        found = model(*books)
        assert ids(found.comparison.persisting) == {1, 2, 3}


class TestCopiesAndRotation:
    def test_same_file_passed_twice_is_read_once(self, book):
        book.sweep("run-1", {1: "deleted"})
        found = model(book, book)
        assert (found.outcomes.deleted, len(found.files)) == (1, 1)

    def test_copy_of_a_log_is_not_counted_twice(self, book, tmp_path):
        book.sweep("run-1", {1: "deleted", 2: "failed"})
        copy = tmp_path / "copy.jsonl"
        copy.write_bytes(book.path.read_bytes())
        found = build_report_model([book.path, copy])
        assert (found.outcomes.planned, found.outcomes.deleted, found.invitations.total) == (
            2,
            1,
            2,
        )

    def test_log_rotated_within_a_run_is_one_run_in_any_file_order(self, book):
        book.sweep("run-1", {1: "deleted", 2: "failed"})
        lines = book.path.read_bytes().splitlines(keepends=True)
        first, second = book.path.with_name("z.jsonl"), book.path.with_name("a.jsonl")
        first.write_bytes(b"".join(lines[:4]))
        second.write_bytes(b"".join(lines[4:]))
        found = build_report_model([second, first])
        assert (found.outcomes.planned, found.outcomes.deleted, found.outcomes.failed) == (2, 1, 1)

    def test_recovered_outcome_belongs_to_the_interrupted_run(self, book):
        book.start("killed", days_ago=1)
        book.line("planned", **invitation(1))
        book.line("intent", **invitation(1))
        book.start("next")
        recovered = {"outcome": "deleted", "recovered": True, "recovers": "killed"}
        book.line("outcome", **invitation(1), **recovered)
        book.finish()
        found = model(book)
        assert found.outcomes.deleted == 0
        assert found.notes == (
            "These logs contain no earlier complete run of this policy to compare with.",
        )
        killed = next(run for run in found.runs.rows if run.run_id == "killed")
        assert (killed.outcomes.deleted, killed.outcomes.open) == (1, 0)


def test_ages_are_grouped_by_project_and_by_inviter(book):
    book.start("run-1", mode="dry-run")
    for number, (project, inviter, age) in enumerate(
        [("a", "x", 2.9), ("a", "y", 3.0), ("b", "x", 364.9), ("b", "x", 365.0), ("b", "x", None)]
    ):
        fields = {"project_id": project, "project_name": project.upper(), "inviter": inviter}
        book.line("planned", **invitation(number, **fields, age_days=age))
    book.finish(stale=5, kept_ages={"0": 4, "none": 1})
    found = model(book)
    assert dict(zip(AGE_CLASS_LABELS, found.stale_ages, strict=True)) == {
        **dict.fromkeys(AGE_CLASS_LABELS, 0),
        "0-3": 1,
        "3-7": 1,
        "180-365": 1,
        "365+": 1,
        "unknown": 1,
    }
    assert [(row.name, row.total) for row in found.by_project.rows.rows] == [("B", 3), ("A", 2)]
    assert [(row.name, row.total) for row in found.by_inviter.rows.rows] == [("x", 4), ("y", 1)]
    assert found.kept_ages == (4, *[0] * 8, 1)


def test_projects_after_the_50th_are_summed_in_the_rest(book):
    book.start("run-1", mode="dry-run")
    for number in range(60):
        book.line("planned", **invitation(number, project_id=f"{number:024x}"))
    book.finish(stale=60)
    table = model(book).by_project
    assert (len(table.rows.rows), table.rows.more) == (50, 10)
    assert sum(table.rest) == 10


@given(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)))
def test_each_age_is_in_one_class(age):
    histogram = AgeHistogram()
    histogram.add(age)
    assert sum(histogram.to_field().values()) == 1
    assert 0 <= age_class(age) < len(AGE_CLASS_LABELS)


def test_deletions_are_counted_by_the_day_on_which_their_run_started(book):
    book.sweep("run-1", {1: "deleted"}, days_ago=2)
    book.sweep("run-2", {2: "deleted"}, days_ago=1.5)
    book.sweep("run-3", {3: "failed", 4: "skipped"})
    book.start("dry", mode="dry-run")
    book.line("planned", **invitation(9))
    book.finish()
    days = {each.day: each.outcomes for each in model(book).days.rows}
    assert {day: outcomes.deleted for day, outcomes in days.items()} == {
        "2026-11-23": 2,
        "2026-11-25": 0,
    }
    assert days["2026-11-25"].planned == 2


def test_unknown_events_and_outcomes_are_ignored(book):
    book.start("run-1")
    book.line("planned", **invitation(1))
    book.line("run_paused", exit_code=3)
    book.line("outcome", **invitation(1), outcome="postponed")
    book.finish(stale=1, keep_entries=["board", {"name": "real", "matched": 1}])
    found = model(book)
    assert (verdict(found).status, found.outcomes.planned, found.outcomes.deleted) == (
        ReportStatus.CLEAN,
        1,
        0,
    )
    assert [entry.name for entry in found.keep_entries.rows] == ["real"]


def test_unreadable_projects_of_older_runs_are_not_counted(book):
    for run, days_ago in (("run-1", 2), ("run-2", 1), ("run-3", 0)):
        book.start(run, days_ago=days_ago)
        if run == "run-1":
            book.line("project_unreadable", project_id="1", project_name="p", reason="no role")
        book.finish()
    assert model(book).coverage.reasons.total == 0


def test_coverage_contains_the_reasons_of_unreadable_projects(book):
    book.start("run-1")
    for number, reason in enumerate(["no role", "no role", "timeout"]):
        book.line("project_unreadable", project_id=f"{number}", project_name="p", reason=reason)
    book.finish(4, projects_seen=10, projects_unreadable=3)
    found = model(book).coverage
    assert (found.seen, found.unreadable) == (10, 3)
    assert found.reasons.rows == (("no role", 2), ("timeout", 1))


def test_keep_entry_ends_after_its_last_day(book):
    book.start("run-1")
    entries = [
        {"name": "board", "reason": "on leave", "until": "2026-11-25", "matched": 2},
        {"name": "past", "reason": None, "until": "2026-11-24", "matched": 0},
        {"name": "endless", "reason": None, "until": None},
    ]
    book.finish(kept=5, kept_by_reason={"keep:endless": 3, "keep:board": 2}, keep_entries=entries)
    found = {entry.name: entry for entry in model(book).keep_entries.rows}
    assert (found["board"].reason, found["board"].ended) == ("on leave", False)
    assert found["past"].ended
    assert (found["endless"].matched, found["endless"].ended) == (3, False)


def test_keep_entries_missing_from_the_last_line_are_taken_from_the_counts(book):
    book.start("run-1")
    book.finish(kept=5, kept_by_reason={"keep:board": 2, "too_young": 3})
    found = model(book)
    assert [(entry.name, entry.matched) for entry in found.keep_entries.rows] == [("board", 2)]
    assert found.kept_by_reason.rows == (("too_young", 3), ("keep:board", 2))


def test_bounced_invitation_is_recognized_by_user_and_project(book):
    book.sweep("run-1", {1: "deleted"}, days_ago=2)
    book.start("run-2", days_ago=1)
    book.deletions({2: "deleted"}, username="PERSON-1@example.com")
    book.finish(stale=1, deleted=1)
    book.start("run-3")
    book.line("planned", **invitation(3, username="person-1@example.com"))
    book.line("planned", **invitation(4, username="person-1@example.com", project_id="f" * 24))
    book.line("planned", **invitation(5, username=None))
    book.line("planned", **invitation(6, bounced=7))
    book.finish(stale=4)
    found = model(book).bounces
    assert [(int(row.invitation_id, 16), row.bounced) for row in found.rows] == [(6, 7), (3, 2)]
    assert found.rows[1].last_deleted.startswith("2026-11-24")


def test_lists_are_truncated_and_state_their_length(book):
    book.sweep("run-1", {}, days_ago=1)
    book.sweep("run-2", dict.fromkeys(range(600), "deleted"))
    found = model(book)
    assert (len(found.invitations.rows), found.invitations.total) == (500, 600)
    assert (len(found.comparison.new.rows), found.comparison.new.more) == (100, 500)


def coded(code, message, level="warning"):
    return {"code": code, "message": message, "level": level}


def messages_of(found):
    return [each.message for each in found.warnings]


def test_warning_about_a_project_named_like_one_needs_attention(book):
    book.start("run-1")
    message = "The teams of matched no project. could not be read."
    book.finish(warnings=[coded("teams", message)])
    assert messages_of(model(book)) == [message]


def test_warnings_of_the_run_need_attention(book):
    book.start("run-1")
    book.finish(warnings=["The keep entry board has ended."])
    assert messages_of(model(book)) == ["The keep entry board has ended."]


@pytest.mark.parametrize(
    ("code", "warning"),
    [
        ("unused_pattern", "projects.include 'dev-*' matched no project."),
        ("unused_keep", "The keep entry 'board' matched no invitation: check its spelling."),
    ],
)
def test_entry_that_matches_nothing_is_a_note_from_the_first_run_on(book, code, warning):
    book.start("run-1")
    book.finish(warnings=[coded(code, warning, "remark")])
    found = model(book)
    assert found.warnings == ()
    assert f"The run warned: {warning}" in found.notes


def test_warning_that_the_previous_run_recorded_too_is_a_note(book):
    book.start("run-1", days_ago=1)
    book.finish(warnings=["Known."])
    book.start("run-2")
    book.finish(warnings=["Known.", "New."])
    found = model(book)
    assert messages_of(found) == ["New."]
    assert found.notes == ("The run warned: Known.",)


def test_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        build_report_model([tmp_path / "absent.jsonl"])


def test_full_temporary_folder_is_a_usage_error(book, monkeypatch):
    book.sweep("run-1", {1: "deleted"})
    real = sqlite3.connect

    def connect_with_size_limit(*arguments, **options):
        connection = real(*arguments, **options)
        connection.execute("PRAGMA max_page_count = 3")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_with_size_limit)
    with pytest.raises(UsageError, match="temporary folder"):
        model(book)


def test_sql_error_is_not_reported_as_a_full_temporary_folder():
    with (
        pytest.raises(sqlite3.OperationalError, match="no such table"),
        temporary_database() as connection,
    ):
        connection.execute("SELECT * FROM missing")


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.dictionaries(
                st.sampled_from(
                    [
                        *("ts", "run_id", "seq", "event", "now", "mode", "shard", "outcome"),
                        *("invitation_id", "project_id", "username", "age_days", "exit_code"),
                        *("kept_by_reason", "keep_entries", "kept_ages", "warnings", "recovers"),
                        *("stale", "projects_seen", "duration_s", "roles", "reason"),
                    ]
                ),
                st.one_of(
                    st.sampled_from(
                        [
                            *("run_started", "run_finished", "planned", "intent", "outcome"),
                            *("project_unreadable", "deleted", "2/3", "99999/999999", "r"),
                            *("2026-11-25T01:02:03Z", "0001-01-01T00:00:00+23:59", "NaN"),
                        ]
                    ),
                    st.recursive(
                        st.one_of(
                            st.none(),
                            st.booleans(),
                            st.integers(),
                            st.floats(),
                            st.text(st.characters(), max_size=5),
                        ),
                        lambda inner: st.one_of(
                            st.lists(inner, max_size=3),
                            st.dictionaries(st.text(max_size=3), inner, max_size=3),
                        ),
                        max_leaves=5,
                    ),
                ),
                max_size=9,
            ),
        ),
        max_size=12,
    )
)
@settings(max_examples=150, deadline=None)
def test_arbitrary_lines_do_not_stop_a_report(tmp_path_factory, lines):
    book = Logbook(tmp_path_factory.mktemp("logs") / "audit.jsonl")
    kinds = Counter(map(type, lines))
    for line in lines:
        if isinstance(line, bytes):
            book.raw(line.replace(b"\n", b" "))
        else:
            book.json(line)
    found = model(book)
    assert sum(log.lines for log in found.files) == kinds.total()


def test_line_of_20_mib_is_skipped(book):
    book.sweep("run-1", {1: "deleted"})
    with book.path.open("ab") as stream:
        for _ in range(20):
            stream.write(b"x" * (1 << 20))
        stream.write(b"\n")
    book.sweep("run-2", {1: "deleted"})
    found = model(book)
    assert found.current[0].run_id == "run-2"
    assert [(log.lines, log.invalid_lines) for log in found.files] == [(11, 1)]


# What the runs recorded about themselves ------------------------------------------------------

CHANGES = {
    "runs": [
        {"run_id": "run-0", "mode": "dry-run", "now": "2026-11-24T01:02:03Z", "refused": False}
    ],
    "new": 1,
    "still_stale": 2,
    "deleted": 3,
    "kept": 0,
    "gone": 4,
    "not_read": 0,
    "not_read_then": 0,
}


def test_recorded_changes_are_shown_without_the_earlier_log(book):
    book.start("run-1", mode="dry-run")
    book.line("planned", **invitation(1), new=True)
    book.line("planned", **invitation(2))
    book.finish(stale=2, changes=CHANGES)
    found = model(book)
    assert (
        "1 new since the plan of 2026-11-24 01:02 UTC; 2 still stale, 3 deleted, 4 gone."
        in verdict(found).sentences
    )
    states = {int(row.invitation_id, 16): row.state for row in found.invitations.rows}
    assert states == {1: "planned, new", 2: "planned"}


def test_recorded_changes_of_a_sweep_are_a_note(book):
    book.start("run-1")
    book.deletions({1: "deleted"})
    book.finish(stale=1, deleted=1, changes=CHANGES)
    assert any(note.startswith("The run recorded: 1 new since") for note in model(book).notes)


@pytest.mark.parametrize("wrong", [None, 7, [], {}, {"runs": []}, {**CHANGES, "new": "x"}])
def test_recorded_changes_of_another_form_are_ignored(book, wrong):
    book.start("run-1", mode="dry-run")
    book.finish(changes=wrong, policy_change=wrong)
    found = model(book)
    assert (found.policy_change, found.changes) == (None, None)


def test_policy_that_is_not_accepted_is_shown_once_with_the_hash_to_accept(book):
    sentences = ["The new policy would also delete Alpha: a@example.com"]
    refusal = "A sweep would be refused: The policy has changed."
    book.start("run-1", mode="dry-run")
    difference = {
        "policy_sha256": "c" * 64,
        "accepted_sha256": "d" * 64,
        "compared": True,
        "added": 1,
        "removed": 2,
        "sentences": sentences,
    }
    book.finish(
        policy_change=difference,
        warnings=[
            *(coded("policy_changed", each) for each in sentences),
            coded("would_be_refused", refusal),
            "Another warning.",
        ],
    )
    policy, warned = attention(model(book))
    assert policy.messages == (
        "Changed since the last sweep: 1 more stale, 2 no longer stale.",
        *sentences,
    )
    assert policy.hint.endswith(f"run the sweep with --accept-policy {'c' * 64}.")
    assert warned.messages == ("Another warning.",)


def test_refused_sweep_of_a_policy_that_is_not_accepted_has_the_hint_once(book):
    book.start("run-1", mode="dry-run")
    difference = {
        "policy_sha256": "c" * 64,
        "accepted_sha256": None,
        "compared": False,
        "added": 1,
        "removed": 0,
        "sentences": [],
    }
    book.finish(3, error="No sweep yet (quarantine).", hint="Accept it.", policy_change=difference)
    hints = [item.hint for item in attention(model(book))]
    assert hints == ["Accept it.", ""]


def test_name_of_an_organization_is_that_of_the_last_line(book):
    book.start("run-1", days_ago=1, organizations=["b" * 24, "c" * 24])
    book.finish(organizations=["b" * 24, "c" * 24], organization_names={"b" * 24: "Acme"})
    book.start("run-2", organizations=["b" * 24, "c" * 24])
    labels = {each.label for each in model(book).organizations.rows}
    assert labels == {f"Acme ({'b' * 24})", "c" * 24}


@pytest.mark.parametrize("wrong", [None, 7, ["Acme"], "Acme"])
def test_names_of_another_form_are_ignored(book, wrong):
    book.start("run-1", organizations=["b" * 24])
    book.finish(organizations=["b" * 24], organization_names=wrong)
    assert [each.label for each in model(book).organizations.rows] == ["b" * 24]


def test_consequence_and_hint_of_an_error_are_shown(book):
    book.start("run-1")
    left = "3 invitations had been deleted by then."
    book.finish(5, error="Refused.", consequence=left, hint="Check the role.")
    (item,) = attention(model(book))
    assert left in item.messages
    assert item.hint == "Check the role."


def test_error_of_a_version_without_consequence_and_hint_has_those_of_its_exit_code(book):
    book.start("run-1")
    book.finish(5, error="Refused.")
    (item,) = attention(model(book))
    assert item.hint == "Check the credentials, their role and the access list."
