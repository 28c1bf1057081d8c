"""What the report says of the runs in audit logs."""

from collections import Counter
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report.logbook import Logbook, invitation

from invite_sweeper.audit.verify import Verdict
from invite_sweeper.endings import Status
from invite_sweeper.errors import UsageError
from invite_sweeper.models import Outcome
from invite_sweeper.report.html.attention import attention
from invite_sweeper.report.html.chain import ChainResult
from invite_sweeper.report.html.overview import chain_mark, notes
from invite_sweeper.report.html.reading import read_report
from invite_sweeper.report.html.rendering import render
from invite_sweeper.report.html.verdict import verdict

INTACT = ChainResult(Verdict.SOUND, message="The chain is intact.", last_hash="d" * 64)
ORGANIZATIONS = {"a" * 24: "Acme", "b" * 24: "Beta", "c" * 24: "Gamma"}


@pytest.fixture
def book(tmp_path):
    return Logbook(tmp_path / "audit.jsonl")


def read(*books: Logbook, chain=None, run_id=""):
    return read_report([book.path for book in books], chain, run_id)


def titles(report) -> list[str]:
    return [item.title for item in attention(report)]


def test_log_without_a_run_is_empty(book):
    found = read(book)
    assert verdict(found).status is Status.EMPTY
    assert (found.subject, found.rows) == ((), ())


@pytest.mark.parametrize(
    ("exit_code", "status"),
    [
        (0, Status.DONE),
        (10, Status.DONE),
        (1, Status.FAILED),
        (3, Status.REFUSED),
        (4, Status.PARTLY_DONE),
        (5, Status.FAILED),
        (7, Status.FAILED),
        (8, Status.STOPPED),
        (99, Status.FAILED),
    ],
)
def test_status_follows_the_exit_code_of_the_newest_run(book, exit_code, status):
    book.sweep("run-1", {1: "deleted"}, days_ago=1)
    book.start("run-2")
    book.finish(exit_code, error="This is the reason.")
    found = read(book, chain=INTACT)
    assert verdict(found).status is status
    assert verdict(found).colour == status.colour
    assert status is Status.DONE or "This is the reason." in " ".join(verdict(found).sentences)


def test_run_without_a_last_line_is_unfinished_and_its_request_has_no_outcome(book):
    book.start("run-1")
    book.line("planned", **invitation(1))
    book.line("planned", **invitation(2))
    book.line("intent", **invitation(1))
    found = read(book)
    assert verdict(found).status is Status.UNFINISHED
    assert found.counts["no_outcome"] == 1
    assert [row.outcome for row in found.rows] == ["no_outcome", None]


@pytest.mark.parametrize("chain", [None, *Verdict])
def test_log_has_the_verdict_of_the_verification_and_only_damage_is_a_damaged_log(book, chain):
    book.sweep("run-1", {1: "deleted"})
    found = read(book, chain=chain and ChainResult(chain, "Reason.", ""))
    assert chain_mark(found.chain)[0] == (chain or "not verified")
    is_damaged = verdict(found).status is Status.DAMAGED
    assert is_damaged == (chain is Verdict.DAMAGED)
    assert is_damaged == ("Reason." in " ".join(verdict(found).sentences))


def test_outcomes_are_counted_from_the_lines(book):
    book.sweep("run-1", dict(enumerate([*Outcome] * 2)))
    counts = read(book).counts
    assert [counts[outcome] for outcome in Outcome] == [2] * len(Outcome)
    assert (counts["planned"], counts["no_outcome"]) == (2 * len(Outcome), 0)


def test_reported_plan_that_differs_from_the_lines_is_noted(book):
    book.sweep("run-1", {1: "deleted", 2: "failed"}, stale=3)
    assert "Run run-1 reports 3 planned; its lines show 2." in notes(read(book))


# Which command ------------------------------------------------------------------------------


def test_newest_command_is_the_one_that_started_last_in_any_file_order(tmp_path):
    late, early = Logbook(tmp_path / "a.jsonl"), Logbook(tmp_path / "b.jsonl")
    late.sweep("late", {1: "deleted"})
    early.sweep("early", {2: "deleted"}, days_ago=3)
    for order in permutations((late, early)):
        assert [run.run_id for run in read(*order).subject] == ["late"]


def test_dry_run_of_a_restore_is_never_the_newest_command(book):
    book.sweep("run-1", {1: "deleted"}, days_ago=1)
    book.start("run-2", mode="restore", dry_run=True)
    book.line("run_finished", wanted=1, to_restore=1, exit_code=0)
    assert read(book).first.run_id == "run-1"
    said = verdict(read(book, run_id="run-2"))
    assert said.label == "Restore, dry run: 1 would be sent again"
    assert "1 of 1 deleted invitation would be sent again." in said.sentences


def test_named_run_is_the_subject_and_its_night_the_last(book):
    for days_ago in (3, 2, 1, 0):
        book.sweep(f"run-{days_ago}", {days_ago: "deleted"}, days_ago=days_ago)
    found = read(book, run_id="run-1")
    assert found.first.run_id == "run-1"
    assert [int(row.invitation_id, 16) for row in found.rows] == [1]
    assert len(found.nights) == 3
    assert found.runs_total == 4


@pytest.mark.parametrize(("run_id", "message"), [("x", "no run has"), ("run-", "several runs")])
def test_run_that_is_not_one_command_is_a_usage_error(book, run_id, message):
    for days_ago in (1, 0):
        book.sweep(f"run-{days_ago}", {}, days_ago=days_ago)
    with pytest.raises(UsageError, match=message):
        read(book, run_id=run_id)


# Several organizations ------------------------------------------------------------------------


def three_organizations(book: Logbook, **failing) -> None:
    """Write a command with a run for each of three organizations, the last of which fails."""
    for number, org_id in enumerate(ORGANIZATIONS):
        last = number == 2
        book.start(
            f"20261125T010203Z-0000000{number}",
            organizations=[org_id],
            group_id="20261125T010203Z-00000000",
            actor=f"actor-{number}",
        )
        book.deletions({number: "failed" if last else "deleted"}, org_id=org_id)
        end = failing if last else {}
        book.finish(4 if last else 0, stale=1, organization_names=ORGANIZATIONS, **end)


def test_each_of_three_organizations_has_its_actor_and_counts_the_worst_first(book):
    three_organizations(book, reasons=["failed_deletions"])
    found = read(book)
    rows = [(each.name, each.actor, each.counts.get("deleted", 0)) for each in found.organizations]
    assert rows == [("Gamma", "actor-2", 0), ("Acme", "actor-0", 1), ("Beta", "actor-1", 1)]
    assert verdict(found).label == "1 of 3 organizations partly done"


@pytest.mark.parametrize("fmt", ["html", "md"])
def test_runs_show_organization_and_actor_and_show_all_shows_all_runs(book, fmt):
    three_organizations(book)
    text = render(read(book), fmt)
    for shown in (*ORGANIZATIONS, "actor-0", "actor-1", "actor-2"):
        assert shown in text.replace("<wbr>", "")
    for number in range(600):
        book.line("planned", **invitation(number, org_id="c" * 24))
    found = render(read(book), fmt).replace("<wbr>", "")
    assert f"audit show {book.path} --group 20261125T010203Z-00000000 --event planned" in found


# Earlier runs ---------------------------------------------------------------------------------


def failed_night(book: Logbook, days_ago: float, **start) -> None:
    book.start(f"failed-{days_ago}", days_ago=days_ago, **start)
    book.finish(5, error="Credentials refused.")


def test_earlier_failure_is_resolved_by_a_good_night_with_the_same_credentials(book):
    failed_night(book, 2)
    book.sweep("run-2", {1: "deleted"}, days_ago=1)
    book.sweep("run-3", {2: "deleted"})
    found = read(book)
    assert (verdict(found).label, titles(found)) == ("Done, 1 deleted", [])
    assert verdict(found).colour == "good"


@pytest.mark.parametrize(
    "start",
    [
        {"actor": "another", "organizations": ["d" * 24]},
        {"base_url": "https://x"},
        {"mode": "restore"},
    ],
)
def test_earlier_failure_stays_until_the_same_credentials_did_the_same(book, start):
    failed_night(book, 2, **start)
    book.sweep("run-3", {2: "deleted"})
    found = read(book)
    assert verdict(found).label == "Done, 1 deleted, but an earlier run failed"
    assert verdict(found).colour == "warning"
    assert titles(found) == ["1 earlier run with exit code 5: credentials refused"]


@pytest.mark.parametrize(
    ("first", "then", "is_resolved"), [("dry-run", "sweep", True), ("sweep", "dry-run", False)]
)
def test_good_sweep_resolves_a_failed_dry_run_and_not_the_other_way_round(
    book, first, then, is_resolved
):
    failed_night(book, 1, mode=first)
    book.start("run-2", mode=then)
    book.finish()
    assert (titles(read(book)) == []) is is_resolved


def test_earlier_command_over_three_organizations_is_one_run_with_one_message(book):
    for number in range(3):
        book.start(
            f"refused-{number}",
            days_ago=1,
            group_id="refused-0",
            actor=f"actor-{number}",
            organizations=[f"{number}" * 24],
        )
        book.finish(3, error="Too many stale invitations.")
    book.sweep("run-3", {2: "deleted"})
    found = read(book)
    assert verdict(found).label == "Done, 1 deleted, but an earlier run was refused"
    (item,) = attention(found)
    assert item.title == "1 earlier run with exit code 3: refused by a guard, nothing was deleted"
    assert len(item.messages) == 1


@pytest.mark.parametrize(("days", "label"), [(1, "an earlier run was"), (2, "2 earlier runs were")])
def test_number_of_earlier_refused_runs_agrees_with_the_verb(book, days, label):
    for day in range(days):
        book.start(f"refused-{day}", days_ago=day + 1, actor="another", organizations=["d" * 24])
        book.finish(3, error="Too many stale invitations.")
    book.sweep("run-3", {2: "deleted"})
    assert verdict(read(book)).label == f"Done, 1 deleted, but {label} refused"


def test_new_key_of_the_same_organizations_resolves_an_earlier_failure(book):
    failed_night(book, 2, actor="expired")
    book.sweep("run-3", {2: "deleted"})
    assert titles(read(book)) == []


def test_killed_run_whose_requests_were_all_recovered_needs_no_attention(book):
    book.start("run-1", days_ago=1, actor="x", organizations=["d" * 24])
    book.line("planned", **invitation(1))
    book.line("intent", **invitation(1))
    book.start("run-2")
    book.line("outcome", **invitation(1), outcome="deleted", recovers="run-1")
    book.finish()
    found = read(book)
    assert titles(found) == []
    assert [run.status for run in found.runs] == [Status.DONE, Status.RECOVERED]
    assert found.nights[0].deleted == 1


# What needs attention ---------------------------------------------------------------------------


def coded(code: str, message: str, level: str = "warning") -> dict[str, str]:
    return {"code": code, "message": message, "level": level}


def test_warning_needs_attention_and_a_remark_is_a_note(book):
    book.start("run-1")
    remark = coded("unused_pattern", "The entry x matched no project.", "remark")
    book.finish(warnings=[coded("sunset", "A list ends."), remark, "A sentence of an old log."])
    found = read(book)
    (warned,) = attention(found)
    assert warned.messages == ("A list ends.", "A sentence of an old log.")
    assert notes(found) == ("The run noted: The entry x matched no project.",)


def test_project_with_the_name_of_a_warning_changes_no_verdict(book):
    hostile = "The sweep stopped itself"
    book.start("run-1")
    book.line("planned", **invitation(1, project_name=hostile))
    book.line("outcome", **invitation(1, project_name=hostile), outcome="deleted")
    book.finish(stale=1, warnings=[coded("teams", f"{hostile} matched no project.")])
    found = read(book)
    assert verdict(found).label == "Done, 1 deleted"
    assert titles(found) == ["The run warned"]


def test_removed_member_has_the_command_for_this_person_alone(book):
    book.start("run-1")
    book.deletions({1: "accepted_during", 2: "deleted"})
    book.finish(4, stale=2, reasons=["removed_member"])
    advice = {item.advice for item in attention(read(book))}
    (command,) = advice
    assert command.count("--username") == 1
    assert "--run run-1 --username person-1@example.com" in command


def test_removed_member_is_restored_from_the_run_of_the_organization(book):
    for number, org_id in enumerate(ORGANIZATIONS):
        book.start(f"run-{number}", organizations=[org_id], group_id="run-0")
        outcome = "deleted" if number == 0 else "accepted_during"
        book.deletions({number: outcome}, org_id=org_id)
        book.finish(4 if number else 0, stale=1, reasons=["removed_member"] if number else [])
    advice = " ".join(item.advice for item in attention(read(book)))
    assert "--run run-1 --username person-1@example.com" in advice
    assert "--run run-2 --username person-2@example.com" in advice
    assert "--run run-1 --username person-2@example.com" not in advice


@pytest.mark.parametrize(
    ("reasons", "says"),
    [(["missing_role"], "Grant the credentials the role"), (["unknown_deletions"], "next sweep")],
)
def test_advice_follows_from_the_reasons_and_not_from_the_exit_code(book, reasons, says):
    book.start("run-1")
    book.finish(4, reasons=reasons)
    (item,) = attention(read(book))
    assert says in item.advice


def test_consequence_and_hint_of_an_error_are_shown(book):
    book.start("run-1")
    book.finish(3, error="It is over the limit.", consequence="Nothing happened.", hint="Wait.")
    (item,) = attention(read(book))
    assert (item.messages[-1], item.advice) == ("Nothing happened.", "Wait.")


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


@pytest.mark.parametrize("mode", ["sweep", "dry-run"])
def test_recorded_changes_are_the_only_comparison(book, mode):
    book.start("run-1", mode=mode)
    book.line("planned", **invitation(1), new=True)
    book.line("planned", **invitation(2))
    book.finish(stale=2, changes=CHANGES)
    found = read(book)
    changed = "1 new since the plan of 2026-11-24 01:02 UTC; 2 still stale, 3 deleted, 4 gone."
    assert verdict(found).sentences.count(changed) == 1
    assert [row.new for row in found.rows] == [True, False]


# Lists and tables -------------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", ["html", "md"])
def test_announced_invitations_have_a_table_with_the_day_from_which_they_are_deletable(book, fmt):
    book.start("run-1")
    book.line("announced", **invitation(1), deletable_from="2026-12-02T01:02:03Z")
    book.finish(announced=1, kept=1, kept_by_reason={"notice_pending": 1})
    found = read(book)
    assert "1 invitation was announced for a later deletion." in verdict(found).sentences
    text = render(found, fmt)
    assert "Announced for a later deletion" in text
    assert "2026-12-02 01:02" in text
    assert "01:02:03Z" not in text


def test_lists_are_truncated_and_state_their_length(book):
    book.start("run-1", mode="dry-run")
    for number in range(510):
        book.line("planned", **invitation(number))
        book.line("project_unreadable", project_id="x", project_name=f"p{number}", reason="r")
    book.finish(stale=510, projects_unreadable=510)
    found = read(book)
    assert (len(found.rows), found.rows_total, len(found.unreadable)) == (500, 510, 500)


def test_name_of_an_organization_is_that_of_the_last_line_that_knows_it(book):
    book.start("run-1", days_ago=1)
    book.finish(organization_names={"b" * 24: "Acme"})
    book.start("run-2", organizations=["b" * 24, "c" * 24])
    book.finish()
    assert [each.label for each in read(book).organizations] == [f"Acme ({'b' * 24})", "c" * 24]


@pytest.mark.parametrize(("until", "state"), [("2026-11-24", "ended"), ("2026-11-25", "in force")])
def test_keep_entry_ends_after_its_last_day(book, until, state):
    book.start("run-1")
    entry = {"name": "board", "reason": "travel", "until": until, "matched": 2}
    book.finish(keep_entries=[entry], kept=2, kept_by_reason={"keep:board": 2})
    page = render(read(book), "html")
    assert f'data-is="{state}"' in page


# Any log ---------------------------------------------------------------------------------------


def test_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError):
        read_report([tmp_path / "absent.jsonl"])


@pytest.mark.parametrize("repeated", [1, 2])
def test_file_that_is_named_twice_is_read_once(book, repeated):
    book.sweep("run-1", {1: "deleted"})
    found = read(*[book] * repeated)
    assert found.counts["deleted"] == 1
    assert [log.lines for log in found.files] == [5]


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
    found = read(book)
    assert sum(log.lines for log in found.files) == kinds.total()
    for fmt in ("html", "md", "json"):
        assert render(found, fmt)


def test_line_of_20_mib_is_skipped(book):
    book.sweep("run-1", {1: "deleted"})
    with book.path.open("ab") as stream:
        for _ in range(20):
            stream.write(b"x" * (1 << 20))
        stream.write(b"\n")
    book.sweep("run-2", {1: "deleted"})
    found = read(book)
    assert found.first.run_id == "run-2"
    assert [(log.lines, log.invalid_lines) for log in found.files] == [(11, 1)]
    assert any("1 of 11 lines" in note for note in notes(found))
