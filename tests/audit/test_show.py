"""Which lines `audit show` chooses."""

from datetime import date

import pytest
from audit.written_logs import answer, fields_of, opened, write_events
from builders import invitation

from invite_sweeper.audit import LinePosition, read_records
from invite_sweeper.audit.reader import LineFilter, filter_records
from invite_sweeper.errors import GuardRefused


@pytest.mark.parametrize("content", [b"junk", b"junk\n", b'{"a":1}\n', b"one\ntwo\n", b"[]\n"])
def test_file_that_begins_with_no_line_of_an_audit_log_is_refused(tmp_path, content):
    path = tmp_path / "other.txt"
    path.write_bytes(content)
    with pytest.raises(GuardRefused, match=r"other.txt:1 is not a line of an audit log"):
        filter_records([path], LineFilter())


@pytest.mark.parametrize("content", [b"", b"{", b'{"ts":"2026-11', b"\0\0\0"])
def test_file_that_is_empty_or_holds_the_torn_beginning_of_a_log_has_no_such_lines(
    tmp_path, content
):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    assert list(filter_records([path], LineFilter())) == []


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "log.jsonl"
    blue = fields_of(invitation(1, username="Ann@Example.com", project_name="Blue Sky"))
    red = fields_of(invitation(2, username="bob@example.org", project_id="c" * 24))
    unreadable = {"project_id": "d" * 24, "project_name": "Blue Moon", "reason": "no"}
    events = [("run_started", {"mode": "sweep"}), ("project_unreadable", unreadable)]
    for fields, kind in ((blue, "deleted"), (red, "failed")):
        events += [("planned", fields), ("intent", fields), ("outcome", fields | answer(kind))]
    write_events(path, "run-abc", events)
    write_events(path, "run-abd", [("run_started", {}), ("planned", blue)])
    return path


def chosen(path, **choice) -> list[int]:
    """The numbers of the lines chosen, from 1; the second run's are 9 and 10."""
    return [
        record["seq"] + (8 if record["run_id"] == "run-abd" else 0)
        for record in filter_records([path], LineFilter(**choice))
    ]


@pytest.mark.parametrize(
    ("choice", "lines"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"run": "run-abd"}, [9, 10]),
        ({"run": "run-ab"}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"run": "abc"}, []),
        ({"project": "c" * 24}, [6, 7, 8]),
        ({"project": "blue*"}, [2, 3, 4, 5, 10]),
        ({"project": "BLUE SKY"}, [3, 4, 5, 10]),
        ({"project": "blue"}, []),
        ({"username": "*@EXAMPLE.com"}, [3, 4, 5, 10]),
        ({"username": "bob@example.org"}, [6, 7, 8]),
        ({"username": "bob"}, []),
        ({"outcome": "deleted"}, [5]),
        ({"outcome": "skipped"}, []),
        ({"event": "planned"}, [3, 6, 10]),
        ({"event": "plan"}, []),
        ({"day": date(2026, 11, 25)}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"day": date(2026, 11, 24)}, []),
        ({"event": "planned", "run": "run-abc", "username": "ann*"}, [3]),
        ({"outcome": "deleted", "project": "c*"}, []),
        ({"outcome": "failed", "project": "c*", "username": "b*", "day": date(2026, 11, 25)}, [8]),
    ],
    ids=repr,
)
def test_all_that_is_given_must_hold(path, choice, lines):
    assert chosen(path, **choice) == lines


async def test_a_copied_outcome_of_another_event_is_chosen_by_its_outcome(tmp_path):
    log = opened(tmp_path / "log")
    log.write("restore", outcome="restored")
    await log.close()
    assert len(list(filter_records([log.path], LineFilter(outcome="restored")))) == 1


def test_damaged_lines_are_told_and_skipped_where_that_is_asked_for(path):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2:3] = [b"one\n", b"two\n"]
    path.write_bytes(b"".join(lines))
    told = []
    assert len(list(filter_records([path], LineFilter(), on_damaged=told.append))) == 9
    assert told == [LinePosition(path, 3), LinePosition(path, 4)]
    with pytest.raises(GuardRefused, match=r"log\.jsonl:3"):
        list(filter_records([path], LineFilter()))


def test_damaged_line_of_another_event_does_not_stop_a_choice_by_event(path):
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"rule"', b"rule", 1))
    assert chosen(path, event="intent") == [4, 7]
    with pytest.raises(GuardRefused):
        chosen(path)


def test_events_not_asked_for_are_not_even_parsed(path):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"rule"', b"rule", 1)
    path.write_bytes(b"".join(lines))
    assert [r["seq"] for r in read_records([path], frozenset({b"intent"}))] == [4, 7]
    with pytest.raises(GuardRefused):
        list(read_records([path], frozenset({b"intent", b"planned"})))


def test_event_is_found_in_another_form_of_json_and_never_inside_a_text(tmp_path):
    path = tmp_path / "log"
    path.write_text(
        '{"a": "\\"event\\":\\"intent\\"", "event" : "other"}\n'
        '{"a": "x", "event" : "intent"}\n{"event":"last"}\n'
    )
    assert [r["event"] for r in read_records([path], frozenset({b"intent"}))] == ["intent"]
    assert len(list(read_records([path]))) == 3
