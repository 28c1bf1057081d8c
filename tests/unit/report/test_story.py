"""One result, one story: every output describes a run in the same words and numbers."""

import json
import re
from datetime import timedelta

import pytest
from audit.runs import planned
from builders import NOW
from prometheus_client.parser import text_string_to_metric_families
from report.reading import (
    ADVISOR,
    Reader,
    as_shown,
    on_terminal,
    page_of,
    question_about,
    run_message,
    words,
)
from report.scenes import SCENES, recorded, run
from reviewed import assert_reviewed
from rich.cells import cell_len

from invite_sweeper.audit import AuditDirectory
from invite_sweeper.audit.events import RunFinished, WouldBeAnnounced
from invite_sweeper.audit.reader import read_back
from invite_sweeper.json_text import to_json
from invite_sweeper.outcomes import OUTCOMES_OF_DELETIONS
from invite_sweeper.policy import Notification
from invite_sweeper.report.document import Document, Fact
from invite_sweeper.report.markdown import render_markdown
from invite_sweeper.report.metrics import Metrics
from invite_sweeper.report.notify import is_due, message_about
from invite_sweeper.report.page import render_html
from invite_sweeper.report.run import result_json, result_of, what_needs_attention
from invite_sweeper.report.story import describe_stale, story_of

HOW_TO_READ_IT = """\
# What the outputs show of each scene of scenes.py: "= LABEL" is as in the first story, "! TEXT"
# needs attention, "-> ADVICE" is what to do about it, and "(TEXT)" is a remark.

"""
FINISHED_AT = NOW + timedelta(minutes=1)
COUNTS = ("invitations_seen", "stale", "kept", "deleted", "failed", "unknown", "skipped")


@pytest.fixture(params=SCENES)
def record(request, directory):
    return recorded(SCENES[request.param], directory)


def message(kind, record, when="always", **settings):
    if kind == "webhook":
        settings["secret_env"] = "KEY"
    settings = Notification(kind=kind, url_env="URL", when=when, **settings)
    environment = {"URL": "https://example.com/x", "KEY": "k3y"}
    run = run_message(record)
    if not is_due(settings, run):
        return None
    return message_about(settings, environment, run).body.decode()


def outputs(record, directory):
    """Return what a reader gets from each output that has the whole story."""
    page = page_of(directory, ADVISOR)
    texts = {
        "page": Reader(render_html(page)).text,
        "markdown": render_markdown(page),
        "terminal": on_terminal(record),
    }
    if record.end is not None:  # no message is sent about a killed run
        texts["ping"] = message("ping", record)
    return {name: words(text) for name, text in texts.items()}


def test_every_output_has_the_headline_the_lines_and_the_advice(record, directory):
    story = story_of(record, ADVISOR)
    found = outputs(record, directory)
    for line in (story.headline, *story.facts, *organizations_of(story)):
        for name, text in found.items():
            assert words(line.label) in text, name
            assert words(line.text) in text, name
    for item in story.attention:
        for name in found.keys() - ({"terminal"} if item.kind == "error" else set()):
            for part in (item.title, *item.messages, item.hint.sentence):
                assert words(part) in found[name], name
    for remark in story.remarks:
        assert words(remark) in found["page"]
        assert words(remark) in found["markdown"]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_warning_that_a_terminal_has_shown_is_not_repeated_below_the_result(directory, is_terminal):
    record = recorded(SCENES["list ends in 5 days"], directory)
    text = on_terminal(record, shown_above={"error", "warning"} if is_terminal else {"error"})
    assert ("Atlas ends the list invites in 5 days." in text) is not is_terminal


def test_quiet_names_what_stderr_does_not_and_is_silent_after_a_good_run(record):
    story = story_of(record, ADVISOR)
    lines = what_needs_attention(read_back(record), ADVISOR).brief()
    quiet = "\n".join(line.sentence for line in lines)
    for each in story.attention:  # errors and warnings are on stderr by themselves
        assert (each.text in quiet) == (each.kind == "reason")
        assert each.kind != "reason" or each.hint.sentence in quiet
    left = [each for each in story.attention if each.kind != "error"]
    assert bool(quiet) == bool(left or record.exit_code == 4)
    assert message("slack", record, "failures") is None or story.attention


def test_numbers_are_the_same_in_json_webhook_metrics_and_question(record, tmp_path):
    if record.end is None:
        pytest.skip("it was killed")
    path = tmp_path / "run.prom"
    assert Metrics({"instance": "acme"}, record, FINISHED_AT).write(path) == ()
    families = text_string_to_metric_families(path.read_text(encoding="utf-8"))
    every = [sample for family in families for sample in family.samples]
    samples = {each.name: each.value for each in every if len(each.labels) == 1}
    result = json.loads(to_json(result_json(read_back(record))))
    story = story_of(record, ADVISOR)
    sent = json.loads(message("webhook", record))
    for name in COUNTS:
        assert result[name] == sent[name]
        assert samples.get(f"invite_sweeper_{name}", result[name]) == result[name]
    outcomes = {each.labels["outcome"]: each.value for each in every if "outcome" in each.labels}
    assert len(outcomes) == len(OUTCOMES_OF_DELETIONS)
    assert outcomes.items() <= result.items()
    kept = {s.labels["reason"]: s.value for s in every if s.name == "invite_sweeper_kept"}
    assert kept == result["kept_by_reason"]
    assert samples["invite_sweeper_last_run_exit_code"] == result["exit_code"]
    assert sent["headline"] == f"{story.headline.label}: {story.headline.text}"
    hints = [(each["hint"], each["command"]) for each in sent["attention"]]
    assert hints == [(each.hint.sentence, each.hint.command) for each in story.attention]
    if record.mode != "restore":
        planned = len(result["invitations"])
        question = question_about(record)
        assert re.search(rf"^Delete {planned} invitations? in .+", question, re.MULTILINE)
    if record.end.plan_made and record.mode != "restore":
        assert result["stale"] + result["kept"] == result["invitations_seen"]
        assert sum(result["kept_by_reason"].values()) == result["kept"]


def test_places_name_their_organization_where_the_run_is_about_several(directory):
    record = recorded(SCENES["three organizations"], directory)  # all rows are of one of them
    place = "Sandbox Alpha · Acme"
    assert on_terminal(record).count(f"  {place}  ") == 2
    assert f"- person-1@example.com in {place}: deleted\n" in message("ping", record, details=True)


def test_outputs_of_a_run_read_its_file_once_and_leave_what_they_read_as_it_is(directory):
    run = read_back(recorded(SCENES["failed"], directory))
    first = to_json(result_json(run))
    for file in directory.files():
        file.path.unlink()
    shown = as_shown(result_of(run, ADVISOR, differing_only=True))
    assert "person-3@example.com" in shown
    assert "person-1@example.com" not in shown  # it was deleted as planned
    lines = what_needs_attention(run, ADVISOR).brief()
    assert any("person-3@example.com" in line.text for line in lines)
    assert to_json(result_json(run)) == first


def test_terminal_shows_no_control_character_and_keeps_to_its_width(record):
    whole = ("Audit", "Last hash", "What to do:")  # can be copied, so they are not wrapped
    for width in (60, 80, 140):
        text = on_terminal(record, width)
        assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\u2067]", text) is None
        for line in text.splitlines():
            is_one_word = len(line.split()) == 1  # such as a SHA-256, which can be copied
            may_be_long = line.startswith(whole) or " more: " in line or is_one_word
            assert may_be_long or cell_len(line) <= width


def test_whom_a_dry_run_would_announce_is_named_with_the_day_and_the_rest_by_a_command(directory):
    day = {"rule": "forgotten", "deletable_from": "2026-12-02T00:00:00Z"}
    lines = (planned(number).as_event(WouldBeAnnounced, **day) for number in range(52))
    text = on_terminal(recorded(run(*lines, mode="dry-run", announced=52), directory))
    command = "invite-sweeper audit show 1 --event would_be_announced --policy policy.yaml"
    assert re.search(r"announced\n.*\n2026-12-02 00:00 UTC .* person-0@example.com ", text)
    assert f"\n32 more: {command}\n" in text


def test_stories_are_as_they_were_reviewed(tmp_path):
    """Each word of an output is here once."""
    parts = []
    seen = ()
    for number, name in enumerate(SCENES):
        record = recorded(SCENES[name], AuditDirectory(tmp_path / str(number)))
        story = story_of(record, ADVISOR)
        parts.append(f"== {name}\n{as_text(story, seen)}")
        seen = seen or story.facts
    text = HOW_TO_READ_IT + "\n".join(parts)
    assert_reviewed(text, __file__, "stories.txt")


def organizations_of(story: Document) -> list[Fact]:
    return [fact for section in story.sections for fact in section.facts]


def as_text(story: Document, seen: tuple[Fact, ...]) -> str:
    new_lines = [line for line in story.facts if line not in seen]
    texts = [f"{line.label}: {line.text}" for line in (story.headline, *new_lines)]
    known_labels = [line.label for line in story.facts if line in seen]
    if known_labels:
        texts.append(f"= {', '.join(known_labels)}")
    texts += [f"{line.label}: {line.text}" for line in organizations_of(story)]
    for attention in story.attention:
        texts.append(f"! {attention.text}")
        if attention.hint.text:
            texts.append(f"  -> {attention.hint.sentence}")
    texts += [f"({remark})" for remark in story.remarks]
    return "\n".join([*texts, ""])


LIMITS = (
    {},
    {"trimmed": 1, "nights_left": 1},
    {"trimmed": 1},
    {"trimmed": 2, "nights_left": 2, "limited_by": "max_deletions", "limit_used": 9},
    {"waiting": 1},
    {"waiting": 2},
    {"waiting": 1, "trimmed": 1, "nights_left": 1},
)


def test_what_the_limits_leave_for_later_has_the_limit_its_nights_and_what_earlier_runs_used():
    """As it was reviewed: of two that are stale."""
    text = ""
    for known in LIMITS:
        due = 2 - known.get("trimmed", 0) - known.get("waiting", 0)
        end = RunFinished(exit_code=0, plan_made=True, stale=2, due=due, limit_most=10, **known)
        text += f"{json.dumps(known)}\n    {describe_stale(end)}\n"
    assert_reviewed(text, __file__, "limits.txt")
