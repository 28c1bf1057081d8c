"""What the report claims about real runs, compared with what the simulated Atlas holds."""

import json
import re
from collections import Counter

import msgspec
import pytest
from markdown_it import MarkdownIt
from report.logbook import Logbook, invitation
from report.page_scenes import ACME, BETA, SCENES, read
from result_schemas import mismatches
from typer.testing import CliRunner

from invite_sweeper.cli.report import app
from invite_sweeper.cli.schema import SchemaName
from invite_sweeper.endings import ExitCode, Status
from invite_sweeper.report.html.attention import attention
from invite_sweeper.report.html.overview import notes, strip, tiles
from invite_sweeper.report.html.rendering import render
from invite_sweeper.report.html.verdict import verdict

DAMAGED = {"damaged", "cut_line"}
SEVERAL_RUNS = {"thirty_nights", "recovered", "changed_plan"}
RESTORES = {"restore_dry", "restore_real", "restore_active", "restore_active_dry"}
NOT_KNOWN = {"killed", "deadline_while_deleting"}
OTHER = SEVERAL_RUNS | RESTORES | NOT_KNOWN | DAMAGED
COMPLETE = tuple(name for name in SCENES if name not in OTHER)
"""Scenes of one command whose results are all known."""


def text_of(found) -> str:
    """Return the verdict as one text."""
    said = verdict(found.model)
    return " ".join((said.label, *said.sentences))


def first_screen(found) -> str:
    items = attention(found.model)
    parts = [part for item in items for part in (item.title, *item.messages, item.advice)]
    return " ".join((text_of(found), *parts))


# Every scene --------------------------------------------------------------------------------


LABELS = {
    "two_clean": "Done, 8 deleted",
    "two_refused": "Refused, nothing deleted",
    "two_fail": "Failed, nothing deleted",
    "canary": "Stopped itself, nothing deleted",
    "breaker": "Stopped itself",
    "deadline_while_deleting": "Stopped early",
    "recovered": "Done, 8 deleted",
    "damaged": "Damaged audit log",
    "dry_run": "Dry run: 12 would be deleted",
    "refused_dry_run": "Dry run: refused",
    "restore_real": "Restore: 10 sent again",
    "restore_active": "Restore: 1 person active at once",
    "changed_plan": "Dry run: 4 would be deleted, but an earlier run was partly done",
    "thirty_nights": "Done, 12 deleted",
    "six_thousand": "Dry run: 6,000 would be deleted",
    "deadline_while_reading": "Stopped early, nothing deleted",
    "deadline_after_one_project": "Stopped early, nothing deleted",
}


@pytest.mark.parametrize(("name", "label"), LABELS.items())
def test_label_names_how_the_command_ended_and_its_main_number(scene, name, label):
    assert verdict(scene(name).model).label == label


@pytest.mark.parametrize("name", COMPLETE)
def test_nothing_was_deleted_is_said_exactly_when_nothing_is_missing(scene, name):
    found = scene(name)
    assert ("othing was deleted." in text_of(found)) == (found.removed == 0)


@pytest.mark.parametrize("name", COMPLETE)
def test_number_of_deletions_is_that_of_the_missing_invitations(scene, name):
    found = scene(name)
    deleted = re.findall(r"(\d+) of \d+ planned invitations? (?:was|were) deleted", text_of(found))
    assert [int(number) for number in deleted or ["0"]] == [found.removed]


@pytest.mark.parametrize("name", SCENES)
def test_done_is_said_only_where_every_run_of_the_command_did_everything(scene, name):
    found = scene(name)
    good = all(run.status is Status.DONE for run in found.model.subject)
    assert (verdict(found.model).status is Status.DONE) == (good and name not in DAMAGED)


@pytest.mark.parametrize("name", SCENES)
def test_no_run_that_left_something_undone_is_said_to_have_done_the_rest(scene, name):
    found = scene(name)
    if found.model.counts["skipped"]:
        for phrase in ("rest is done", "else was done", "completed"):
            assert phrase not in first_screen(found)


@pytest.mark.parametrize("name", SCENES)
def test_each_bad_end_has_its_exit_code_and_what_to_do(scene, name):
    found = scene(name)
    items = attention(found.model)
    for run in (*found.model.subject, *found.model.unresolved):
        if run.status is Status.DONE or run.exit_code is None:
            continue
        code = f"xit code {run.exit_code}"
        (item,) = {item.title: item for item in items if code in item.title}.values() or [None]
        label = ExitCode(run.exit_code).label
        assert label in item.title or {"circuit_breaker", "made_active"} & {*run.reasons}
        assert item.advice or len(items) > 1
    assert all(item.messages or item.advice for item in items)


@pytest.mark.parametrize("name", SCENES)
def test_json_contains_the_verdict_and_the_figures(scene, name):
    found = scene(name)
    values = json.loads(render(found.model, "json"))
    assert mismatches(SchemaName.REPORT, values) == []
    assert values["verdict"]["label"] == verdict(found.model).label
    assert values["verdict"]["status"] == verdict(found.model).status.value
    assert len(values["attention"]) == len(attention(found.model))
    deleted = sum(run["outcomes"].get("deleted", 0) for run in values["report"]["subject"])
    assert deleted == found.model.counts["deleted"]
    assert values["report"]["nights"][-1]["exit_code"] == found.model.nights[-1].exit_code


@pytest.mark.parametrize("name", SCENES)
def test_markdown_is_a_comment_whose_sections_are_folded(scene, name):
    text = render(scene(name).model, "md")
    assert len(text) < 65_536
    assert text.startswith("# Invitation ")
    blocks = [t.content for t in MarkdownIt("gfm-like", {"linkify": False}).parse(text)]
    folds = [block for block in blocks if block.startswith(("<details>", "</details>"))]
    assert len(folds) >= 4
    assert len(folds) % 2 == 0
    assert "##" not in text.split("<details>", 1)[1]


# Organizations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "failing"),
    [("two_first_fails", ACME), ("two_second_fails", BETA), ("two_other_order", ACME)],
)
def test_one_failing_organization_decides_the_verdict_in_any_order(scene, name, failing):
    found = scene(name)
    said = verdict(found.model)
    assert said.label == "1 of 2 organizations failed"
    assert said.status is Status.FAILED
    assert said.sentences[0] == f"{failing} failed."
    rows = found.model.organizations
    assert [(row.id, row.exit_code, row.counts.get("deleted", 0)) for row in rows] == [
        (failing, 5, 0),
        (BETA if failing == ACME else ACME, 0, 4),
    ]
    (item,) = attention(found.model)
    assert item.title == "Exit code 5: credentials refused"
    assert item.messages[0].startswith(f"Organization {failing}: ")


def test_clean_organizations_are_counted_separately(scene):
    found = scene("two_clean")
    counts = {row.id: row.counts["deleted"] for row in found.model.organizations}
    assert counts == {ACME: 4, BETA: 4}


def test_all_refused_organizations_share_one_verdict_and_one_item(scene):
    found = scene("two_refused")
    assert len(attention(found.model)) == 1
    assert found.pending == 8


def test_all_failing_organizations_are_each_named(scene):
    found = scene("two_fail")
    screen = first_screen(found)
    assert f"Organization {ACME}: " in screen
    assert f"Organization {BETA}: " in screen
    assert "how many invitations are stale is not known" in screen
    assert "Stale" not in dict(tiles(found.model))


# Stops --------------------------------------------------------------------------------------


def test_canary_stop_counts_what_was_not_attempted(scene):
    found = scene("canary")
    assert "5 were not deleted because the request failed; 7 were not attempted" in text_of(found)
    assert found.deletes == 5
    (item,) = attention(found.model)
    assert item.title == "Exit code 4: the sweep stopped itself"


def test_breaker_stop_counts_what_was_deleted_before(scene):
    found = scene("breaker")
    assert found.model.counts["deleted"] == found.removed > 0


@pytest.mark.parametrize("name", ["deadline_while_reading", "deadline_after_one_project"])
def test_deadline_while_reading_is_not_nothing_stale(scene, name):
    found = scene(name)
    said = text_of(found)
    assert "how many invitations are stale is not known" in said
    assert "is stale" not in said
    assert not {"Seen", "Stale", "Kept"} & dict(tiles(found.model)).keys()
    page = render(found.model, "html")
    assert "it is not known how many were read" in page
    assert "project in scope was read" not in page


def test_part_of_a_plan_is_not_taken_for_the_whole(scene):
    found = scene("deadline_after_one_project")
    assert found.model.counts["planned"] == 12
    assert not found.model.plan_made


def test_deadline_while_deleting_says_what_is_not_known(scene):
    found = scene("deadline_while_deleting")
    counts = found.model.counts
    unclear = counts["unknown"] + counts["no_outcome"]
    assert counts["deleted"] <= found.removed <= counts["deleted"] + unclear
    assert f"Whether {unclear} more was deleted is not known." in text_of(found)


def test_killed_run_is_unfinished_and_its_log_is_not_called_damaged(scene):
    found = scene("killed")
    counts = found.model.counts
    assert verdict(found.model).status is Status.UNFINISHED
    assert counts["deleted"] <= found.removed <= counts["deleted"] + counts["no_outcome"]
    assert "it is still running, or it was killed" in text_of(found)
    outcomes = Counter(row.outcome for row in found.model.rows)
    assert outcomes == {"no_outcome": 2, None: 6, "deleted": 4}


def test_recovered_run_leaves_no_result_open_and_needs_no_attention(scene):
    found = scene("recovered")
    assert attention(found.model) == ()
    (earlier,) = (run for run in found.model.runs if run.exit_code is None)
    assert earlier.status is Status.RECOVERED
    gone = sum(run.count("deleted", "already_gone") for run in found.model.runs)
    assert gone == found.removed == 12


def test_damaged_chain_comes_before_every_other_verdict(scene):
    found = scene("damaged")
    assert "may be wrong" in text_of(found)
    assert "line " in attention(found.model)[0].title + first_screen(found)


# Dry runs, restores ---------------------------------------------------------------------------


def test_dry_run_says_what_would_be_deleted(scene):
    found = scene("dry_run")
    assert "12 invitations in 1 project would be deleted. Nothing was deleted." in text_of(found)
    assert found.pending == 15


def test_refused_dry_run_is_a_dry_run_and_shows_its_plan(scene):
    found = scene("refused_dry_run")
    assert "12 invitations in 1 project would be deleted, but a sweep would be refused" in text_of(
        found
    )
    assert {row.outcome for row in found.model.rows} == {None}


@pytest.mark.parametrize("name", ["clean", "refused_dry_run", "restore_real", "two_clean"])
def test_report_names_the_organizations(scene, name):
    found = scene(name)
    labels = {each.label for each in found.model.organizations}
    names = {ACME: "Example Industries", BETA: "Beta"}
    ids = {ACME, BETA} if name == "two_clean" else {ACME}
    assert labels == {f"{names[id_]} ({id_})" for id_ in ids}


@pytest.mark.parametrize("name", ["restore_dry", "restore_active_dry"])
def test_dry_run_of_a_restore_leaves_the_report_of_the_sweep(scene, name):
    found = scene(name)
    assert found.codes == (0, 0)
    assert verdict(found.model).label.startswith("Done, ")
    assert found.model.first.mode == "sweep"


def test_restore_is_a_restore_and_not_a_dry_run(scene):
    found = scene("restore_real")
    assert found.pending == 13
    assert {row.outcome for row in found.model.rows} == {"restored"}
    assert found.model.rows_total == 10
    assert "dry run" not in text_of(found).lower()


def test_restore_that_made_people_active_members_says_so_and_not_that_it_is_partly_done(scene):
    found = scene("restore_active")
    assert found.codes == (0, 4)
    assert "sent again" not in text_of(found)
    items = {item.title: item for item in attention(found.model)}
    assert "People became active members at once" in items
    assert "read" not in " ".join(
        items["Exit code 4: the restore made people active members"].messages
    )
    assert "Atlas added 1 person as an active member at once." in text_of(found)
    assert "artly done" not in first_screen(found)
    assert {row.outcome for row in found.model.rows} == {"active"}


@pytest.mark.parametrize("outcome", ["failed", "skipped", "unknown"])
def test_restore_that_did_not_send_all_is_partly_done(tmp_path, outcome):
    found = restore_log(tmp_path, "active", outcome)
    assert verdict(found).label == "Restore: partly done"
    assert "Exit code 4: partly done" in {item.title for item in attention(found)}


def test_plan_says_what_is_new_deleted_and_still_stale(scene):
    found = scene("changed_plan")
    assert re.search(
        r"2 new since the sweep of \S+ \S+ UTC; 2 still stale, 10 deleted\.", text_of(found)
    )
    assert Counter(row.new for row in found.model.rows) == {True: 2, False: 2}


def test_sweep_whose_list_was_retired_did_not_stop_itself(tmp_path):
    book = Logbook(tmp_path / "audit.jsonl")
    book.start("run-1")
    book.deletions({1: "deleted", 2: "skipped"})
    message = "Atlas retired the list invites during the sweep: 410"
    retired = {"code": "retired_source", "message": message, "level": "warning"}
    book.finish(4, stale=2, deleted=1, skipped=1, warnings=[retired])
    found = read(book.path)
    assert verdict(found).label == "Partly done"


def restore_log(folder, *outcomes):
    book = Logbook(folder / "audit.jsonl")
    book.start("run-1", mode="restore", policy_path="", dry_run=False)
    for number, outcome in enumerate(outcomes):
        book.line("intent", **invitation(number))
        book.line("outcome", **invitation(number), outcome=outcome, attempts=1)
    total = len(outcomes)
    book.line("run_finished", wanted=total, to_restore=total, error=None, exit_code=4)
    return read(book.path)


# Nights and warnings --------------------------------------------------------------------------


def test_thirty_nights_show_five_refusals_at_once(scene):
    found = scene("thirty_nights")
    marks = [cell.mark for cell in strip(found.model)]
    assert len(marks) == 30
    assert (marks.count("3"), marks.count("!"), marks.count("-"), marks.count("0")) == (5, 1, 1, 23)
    assert "23 of 29 nights were done; 5 refused, 1 did not finish." in text_of(found)
    assert "On 1 day of that period the logs contain no run." in text_of(found)
    assert attention(found.model) == ()  # good nights with the same credentials came after


def test_pattern_that_matches_nothing_is_a_folded_note(scene):
    found = scene("unused_pattern")
    page = render(found.model, "html")
    assert attention(found.model) == ()
    (remark,) = notes(found.model)
    note = page.index("prod-*")
    assert "prod-*" in remark
    assert page.rindex("<details", 0, note) > page.rindex("</details>", 0, note)


def test_six_thousand_planned_deletions_are_truncated_and_counted(scene):
    found = scene("six_thousand")
    assert (len(found.model.rows), found.model.rows_total) == (500, 6_000)
    assert len(msgspec.json.encode(render(found.model, "html"))) < 600_000


# The command -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "start"),
    [
        (("--out", "report.html"), "<!doctype html>"),
        (("--out", "report.md"), "# Invitation sweep"),
        (("--out", "report.JSON"), "{"),
        (("--out", "report.txt"), "<!doctype html>"),
        (("--out", "report.html", "--format", "md"), "# Invitation sweep"),
        ((), "<!doctype html>"),
        (("--format", "json"), "{"),
    ],
)
def test_format_is_that_of_the_suffix_unless_it_is_given(
    scene, tmp_path, monkeypatch, arguments, start
):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [str(scene("clean").log), *arguments])
    assert done.exit_code == 0, done.output
    written = (
        (tmp_path / arguments[1]).read_text(encoding="utf-8")
        if "--out" in arguments
        else done.stdout
    )
    assert written.startswith(start)
