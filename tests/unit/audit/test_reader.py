"""Reading and filtering lines, as `audit show` does."""

import gzip
from datetime import date, timedelta, timezone

import pytest
from audit.written_logs import answer, fields_of, write_events
from builders import NOW, invitation

from invite_sweeper.audit import LinePosition, read_events, reader
from invite_sweeper.audit.events import format_timestamp
from invite_sweeper.audit.reader import LineFilter, filter_lines, open_log, require_audit_log
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.models import Source


def records_of(*arguments, **options):
    return (record for record, _ in filter_lines(*arguments, **options))


@pytest.mark.parametrize("content", [b"junk", b"junk\n", b'{"a":1}\n', b"one\ntwo\n", b"[]\n"])
def test_file_that_is_not_an_audit_log_is_refused(tmp_path, content):
    path = tmp_path / "other.txt"
    path.write_bytes(content)
    with pytest.raises(GuardRefused, match=r"other.txt:1 is not a line of an audit log"):
        records_of([path], LineFilter())


@pytest.mark.parametrize("content", [b"", b"{", b'{"ts":"2026-11', b"\0\0\0"])
def test_empty_file_and_torn_first_line_yield_no_records(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    assert list(records_of([path], LineFilter())) == []


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "log.jsonl"
    blue = fields_of(
        invitation(1, username="Ann@Example.com", project_name="Blue Sky", source=Source.INVITES)
    )
    red = fields_of(
        invitation(2, username="bob@example.org", project_id="c" * 24, source=Source.INVITES)
    )
    unreadable = {"project_id": "d" * 24, "project_name": "Blue Moon", "reason": "no"}
    events = [("run_started", {"mode": "sweep"}), ("project_unreadable", unreadable)]
    for fields, kind in ((blue, "deleted"), (red, "failed")):
        events += [("planned", fields), ("intent", fields), ("outcome", fields | answer(kind))]
    write_events(path, "run-abc", events)
    write_events(path, "run-abd", [("run_started", {}), ("planned", blue)])
    return path


def matching_lines(path, **criteria) -> list[int]:
    """Return the numbers of the matching lines, from 1; the second run has lines 9 and 10."""
    return [
        record["seq"] + (8 if record["run_id"] == "run-abd" else 0)
        for record in records_of([path], LineFilter(**criteria))
    ]


@pytest.mark.parametrize(
    ("criteria", "lines"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"run": "run-abd"}, [9, 10]),
        ({"run": "run-ab"}, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"run": "abc"}, []),
        ({"group": "run-abd"}, [9, 10]),
        ({"group": "run-abc", "event": "planned"}, [3, 6]),
        ({"group": "run-none"}, []),
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
def test_all_criteria_must_match(path, criteria, lines):
    assert matching_lines(path, **criteria) == lines


def test_group_selects_the_alternating_lines_of_all_runs_of_one_command(tmp_path):
    path = tmp_path / "log.jsonl"
    for run_id, group in (("run-1", "run-1"), ("run-2", "run-1"), ("run-3", "run-3")):
        write_events(path, run_id, [("run_started", {"group_id": group})])
    for run_id in ("run-2", "run-3", "run-1"):
        write_events(path, run_id, [("planned", fields_of(invitation(1, source=Source.INVITES)))])
    found = [record["run_id"] for record in records_of([path], LineFilter(group="run-1"))]
    assert found == ["run-1", "run-2", "run-2", "run-1"]


def test_damaged_lines_are_reported_to_on_damaged_and_skipped(path):
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2:3] = [b"one\n", b"7\n"]
    path.write_bytes(b"".join(lines))
    damaged = []
    assert len(list(records_of([path], LineFilter(), on_damaged=damaged.append))) == 9
    assert damaged == [LinePosition(path, 3), LinePosition(path, 4)]
    with pytest.raises(GuardRefused) as refused:
        list(records_of([path], LineFilter()))
    assert refused.value.message == (
        f"The audit log is damaged at {path}:3. Earlier runs cannot be read from it."
    )
    assert refused.value.hint == (
        "Check it with `audit verify`. Runs go on without the file if it is moved away, but then "
        "without its interrupted deletions, used plans and bounced invitations."
    )
    assert refused.value.reasons == (Reason.EARLIER_RUNS,)


@pytest.mark.parametrize("whole_lines", [0, 1])
@pytest.mark.parametrize("rest", [b"junk", b"junk\n"], ids=["torn", "whole"])
def test_last_line_that_is_not_json_is_damage_only_if_it_is_the_first(path, whole_lines, rest):
    lines = path.read_bytes().splitlines(keepends=True)[:whole_lines]
    path.write_bytes(b"".join([*lines, rest]))
    damaged = []
    assert len(list(read_events([path], on_damaged=damaged.append))) == whole_lines
    assert damaged == ([] if whole_lines else [LinePosition(path, 1)])


def test_last_line_without_its_newline_is_skipped(path):
    path.write_bytes(path.read_bytes()[:-1])
    assert len(list(read_events([path]))) == 9


# Compressed files ---------------------------------------------------------------------------


def test_compressed_log_yields_the_same_records(tmp_path, path):
    compressed = tmp_path / "log.jsonl.1.gz"
    compressed.write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_events([compressed])) == list(read_events([path])) != []


def test_compressed_log_of_several_members_is_read_to_its_end(tmp_path, path):
    first, *rest = path.read_bytes().splitlines(keepends=True)
    compressed = tmp_path / "log.gz"
    compressed.write_bytes(gzip.compress(first) + gzip.compress(b"".join(rest)))
    assert list(read_events([compressed])) == list(read_events([path]))


def test_compressed_empty_log_has_no_records(tmp_path):
    (tmp_path / "log.gz").write_bytes(gzip.compress(b""))
    assert list(read_events([tmp_path / "log.gz"])) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "the compressed file is cut off"),
        (lambda data: data[:-8], "the compressed file is cut off"),
        (lambda data: data[:20], "the compressed file is cut off"),
        (lambda _data: b"", "the compressed file is cut off"),
        (lambda data: b"x" + data, r"Not a gzipped file \(b'x\\x1f'\)"),
        (lambda data: data[:-8] + bytes(8), "CRC check failed .*"),
        (lambda data: data[:12] + b"\xff" * 30 + data[42:], "Error -3 while decompressing .*"),
    ],
    ids=["last byte", "checksum", "data", "empty", "not gzip", "wrong checksum", "wrong data"],
)
def test_compressed_log_that_cannot_be_read_to_its_end_is_an_error(tmp_path, path, change, reason):
    compressed = tmp_path / "log.gz"
    compressed.write_bytes(change(gzip.compress(path.read_bytes())))
    message = f"The audit log {compressed} cannot be read: {reason}\\."
    with pytest.raises(GuardRefused, match=f"^{message}") as caught:
        list(read_events([compressed]))
    assert caught.value.hint == "Restore the file from a copy: it is damaged."
    assert caught.value.reasons == (Reason.EARLIER_RUNS,)


def test_other_compression_is_an_error_with_the_fix(tmp_path):
    with pytest.raises(UsageError) as caught, open_log(tmp_path / "log.jsonl.xz"):
        pass
    assert caught.value.message.endswith("log.jsonl.xz cannot be read: .xz is not supported.")
    assert caught.value.hint == "Decompress it, and compress with gzip in future."


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_missing_file_is_an_error(tmp_path, name):
    with pytest.raises(UsageError) as caught, open_log(tmp_path / name):
        pass
    assert caught.value.message == (
        f"The audit log {tmp_path / name} cannot be read: No such file or directory."
    )
    assert caught.value.hint == "Check that the file exists and that this user can read it."


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "lines"),
    [
        (None, None, [1, 2, 3]),
        (2, None, [2, 3]),
        (None, 2, [1]),
        (2, 3, [2]),
        (1, 4, [1, 2, 3]),
        (2, 2, []),
    ],
)
def test_period_includes_its_first_instant_and_not_its_last(tmp_path, since_ms, until_ms, lines):
    """The clock of the log advances by a millisecond a line."""
    path = tmp_path / "log.jsonl"
    write_events(path, "r", [("run_started", {}), ("planned", {}), ("run_finished", {})])
    period = {
        name: None if ms is None else NOW + timedelta(milliseconds=ms)
        for name, ms in (("since", since_ms), ("until", until_ms))
    }
    found = [record["seq"] for record in records_of([path], LineFilter(**period))]
    assert found == lines


@pytest.mark.parametrize("ts", [None, 5])
@pytest.mark.parametrize("key", ["since", "until"])
def test_line_without_a_timestamp_is_in_no_period(ts, key):
    assert LineFilter().matches({"ts": ts})
    assert not LineFilter(**{key: NOW}).matches({"ts": ts})


def test_period_in_another_time_zone_is_the_same_instant():
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    record = {"ts": format_timestamp(NOW)}
    assert LineFilter(since=east).matches(record)
    assert not LineFilter(until=east).matches(record)


def test_file_that_is_not_an_audit_log_is_refused_with_its_first_line(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("shopping\n", encoding="utf-8")
    with pytest.raises(GuardRefused) as caught:
        require_audit_log(path)
    assert caught.value.message == f"{path}:1 is not a line of an audit log."
    assert caught.value.hint == "Name an audit log. Check a damaged one with `audit verify`."
    assert caught.value.reasons == (Reason.EARLIER_RUNS,)


def test_first_line_in_other_json_formatting_is_one_of_an_audit_log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"run_id": "r", "seq": 1, "event": "run_started", "prev": "0"}\n', encoding="utf-8"
    )
    require_audit_log(path)


def test_first_line_without_an_end_is_not_read_whole(tmp_path, monkeypatch):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"ts":"' + b"x" * (1 << 22))
    seen = []
    monkeypatch.setattr(reader, "could_be_first_line", seen.append)
    with pytest.raises(GuardRefused):
        require_audit_log(path)
    assert [len(each) for each in seen] == [reader.READ_BLOCK_BYTES]


def test_torn_first_line_and_an_empty_file_are_accepted(tmp_path):
    path = tmp_path / "log.jsonl"
    write_events(path, "r", [("run_started", {})])
    whole = path.read_bytes()
    for size in (0, 1, 40, len(whole) - 1, len(whole)):
        path.write_bytes(whole[:size])
        require_audit_log(path)


def test_filtered_record_has_the_bytes_of_its_line_without_the_newline(tmp_path):
    path = tmp_path / "log.jsonl"
    write_events(path, "r", [("run_started", {}), ("run_finished", {})])
    found = [line for _, line in filter_lines([path], LineFilter())]
    assert found == path.read_bytes().splitlines()
