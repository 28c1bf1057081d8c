"""One result, one story: every output tells a run in the same words and numbers."""

import json
import os
import re
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from builders import NOW
from prometheus_client.parser import text_string_to_metric_families
from report.scenes import SCENES, written
from rich.cells import cell_len
from rich.console import Console

from invite_sweeper.audit import AuditDirectory
from invite_sweeper.json_text import to_json
from invite_sweeper.policy import Notification
from invite_sweeper.report.metrics import Release, write_textfile
from invite_sweeper.report.notify import Ended, build_message
from invite_sweeper.report.readback import result_json
from invite_sweeper.report.story import Facts, Story, needs_attention, tell
from invite_sweeper.report.terminal import attention_lines, show_result

STORIES = Path(__file__).with_name("stories.txt")
FACTS = Facts(policy="policy.yaml")
FINISHED_AT = NOW + timedelta(minutes=1)
ENVIRONMENT = {
    "CHAT": "https://chat.example.com/x",
    "HOOK": "https://hook.example.com/x",
    "PING": "https://ping.example.com/x",
}
SLACK, WEBHOOK, PING = (
    Notification(kind=kind, url_env=name, when="always")
    for kind, name in (("slack", "CHAT"), ("webhook", "HOOK"), ("ping", "PING"))
)
COUNTS = ("invitations_seen", "stale", "kept", "deleted", "failed", "unknown", "skipped")


@pytest.fixture(params=SCENES)
def record(request, directory):
    return written(request.param, directory)


@pytest.fixture
def ended(record):
    """A run with an end: no message is sent about a killed one."""
    if record.end is None:
        pytest.skip("it was killed")
    return record


def on_terminal(record, width=10_000):
    """Return what a terminal shows of a run."""
    console = Console(file=StringIO(), width=width, color_system=None)
    show_result(console, record, FACTS)
    return console.file.getvalue()


def message(channel, record):
    """Return the body of a message about a run."""
    ended = Ended(record, tell(record, FACTS), FINISHED_AT)
    return build_message(channel, ENVIRONMENT, ended).body.decode()


def plain(text):
    """Return text of Slack as it is read."""
    for written_as, read in (("\u200b", ""), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(written_as, read)
    return text


def test_headline_is_the_same_in_every_output(ended):
    record = ended
    headline = tell(record, FACTS).headline
    whole = f"{headline.label}: {headline.text}"

    assert whole in plain(json.loads(message(SLACK, record))["text"])
    assert whole in message(PING, record)
    assert json.loads(message(WEBHOOK, record))["headline"] == whole
    assert re.search(f"^{re.escape(headline.label)} +{re.escape(headline.text)}$",
                     on_terminal(record), re.MULTILINE)  # fmt: skip


def test_what_needs_attention_is_in_every_output_with_its_exact_command(ended):
    record = ended
    story = tell(record, FACTS)
    quiet = "\n".join(attention_lines(record, FACTS))
    for each in story.attention:  # errors and warnings are on stderr by themselves
        assert (each.text in quiet) == (each.kind == "reason")
    texts = [message(PING, record), plain(json.loads(message(SLACK, record))["text"])]
    if all(each.kind != "error" for each in story.attention):
        texts.append(on_terminal(record))
    for text in texts:
        for each in story.attention:
            assert each.text in text
            assert each.advice in text
    told = json.loads(message(WEBHOOK, record))["attention"]
    assert told == json.loads(to_json([each._asdict() for each in story.attention]))


def test_run_that_ended_well_is_silent_with_quiet(record):
    told = [each for each in tell(record, FACTS).attention if each.kind != "error"]
    assert bool(list(attention_lines(record, FACTS))) == bool(told or record.exit_code == 4)
    if needs_attention(record):
        assert tell(record, FACTS).attention


def test_numbers_are_the_same_in_json_webhook_and_metrics(ended, tmp_path):
    record = ended
    path = tmp_path / "run.prom"
    assert write_textfile(path, Release("acme"), record, FINISHED_AT) == ()
    families = text_string_to_metric_families(path.read_text(encoding="utf-8"))
    samples = {s.name: s.value for each in families for s in each.samples if len(s.labels) == 1}
    result = json.loads(to_json(result_json(record)))
    sent = json.loads(message(WEBHOOK, record))

    for name in COUNTS:
        assert result[name] == sent[name]
        if f"invite_sweeper_{name}" in samples:
            assert samples[f"invite_sweeper_{name}"] == result[name]
    assert samples["invite_sweeper_last_run_exit_code"] == result["exit_code"]


def test_counts_of_a_result_add_up(record):
    end = record.end
    if end is None or not end.plan_made or record.mode == "restore":
        pytest.skip("it has no complete plan")
    assert end.stale + end.kept == end.invitations_seen
    assert sum(end.kept_by_reason.values()) == end.kept


@pytest.mark.parametrize("width", [60, 80, 140])
def test_terminal_shows_no_control_character_and_keeps_to_its_width(record, width):
    text = on_terminal(record, width)

    assert re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e\u2067]", text) is None
    whole = ("Audit", "Last hash", "What to do:")  # can be copied, so they are not wrapped
    for line in text.splitlines():
        assert cell_len(line) <= width or line.startswith(whole) or " more: " in line


def test_failed_deletion_names_the_person_with_quiet_and_on_the_terminal(directory):
    record = written("failed", directory)

    for text in (on_terminal(record), "\n".join(attention_lines(record, FACTS))):
        assert "person-3@example.com" in text
        assert "403" in text


def test_unread_list_names_the_project_with_quiet_and_on_the_terminal(directory):
    record = written("list not read", directory)

    for text in (on_terminal(record), "\n".join(attention_lines(record, FACTS))):
        assert "Blue Lagoon" in text
        assert "Atlas answered 500" in text


@pytest.mark.parametrize("name", ["list ends in 5 days", "secret ends in 2 days"])
def test_urgent_warning_is_sent_although_the_run_succeeded(directory, name):
    record = written(name, directory)

    assert record.end.exit_code == 0
    assert needs_attention(record)


def test_remark_is_no_reason_for_a_message(directory):
    assert not needs_attention(written("remark", directory))


def test_killed_run_is_told_by_its_lines_and_never_as_nothing_deleted(directory):
    headline = tell(written("killed", directory), FACTS).headline

    assert "1 deleted" in headline.text
    assert "1 of 2 planned without an outcome" in headline.text


def test_removed_member_has_the_command_that_invites_exactly_that_person(directory):
    (item, *_) = tell(written("member removed", directory), FACTS).attention

    assert "restore 1 --username user1@example.com --policy policy.yaml" in item.advice


def test_stories_are_as_they_were_reviewed(tmp_path):
    """Each word of an output is here once; `UPDATE_SNAPSHOTS=1` writes the file again."""
    parts = []
    for number, name in enumerate(SCENES):
        record = written(name, AuditDirectory(tmp_path / str(number)))
        parts.append(f"== {name}\n{as_text(tell(record, FACTS))}")
    text = "\n".join(parts)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        STORIES.write_text(text, encoding="utf-8")
    assert text == STORIES.read_text(encoding="utf-8")


def as_text(story: Story) -> str:
    lines = [story.headline, *story.lines, *story.organizations]
    texts = [f"{each.label}: {each.text}" for each in lines]
    for each in story.attention:
        texts.append(f"! {each.text}")
        texts += [f"  -> {each.advice}"] if each.advice else []
    return "\n".join([*texts, *(f"({each})" for each in story.remarks), ""])
