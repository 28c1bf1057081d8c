"""`audit.path`: placeholders, the copy, the lock file, and the files of earlier runs."""

import gzip
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from audit.written_logs import write_run

from invite_sweeper.audit import LogPath
from invite_sweeper.audit.files import DEFAULT_PATH
from invite_sweeper.audit.reader import open_log
from invite_sweeper.errors import UsageError

LATE = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "template", "copy"),
    [
        ("audit/log.jsonl", "audit/log.jsonl", False),
        ("my audit/log.jsonl", "my audit/log.jsonl", False),
        ("audit/log.jsonl -", "audit/log.jsonl", True),
        ("audit/log.jsonl  -", "audit/log.jsonl", True),
        ("-", DEFAULT_PATH, True),
        (" -", DEFAULT_PATH, True),
        ("log-", "log-", False),
        ("audit/{date}/{run_id}.jsonl", "audit/{date}/{run_id}.jsonl", False),
    ],
)
def test_dash_adds_a_copy_to_the_file_before_it_or_to_the_default(text, template, copy):
    assert LogPath.parse(text) == LogPath(template, copy)


@pytest.mark.parametrize("text", ["{day}.jsonl", "a}b", "{", "{{date}}", "{run_id", "{DATE}"])
def test_unknown_placeholder_is_a_usage_error(text):
    with pytest.raises(UsageError, match="braces") as failed:
        LogPath.parse(text)
    assert failed.value.hint == "Use only the placeholders {date} and {run_id}."


@pytest.mark.parametrize("text", ["", "/", ".", "/ -"])
def test_path_without_a_file_is_a_usage_error(text):
    with pytest.raises(UsageError, match="does not name a file") as failed:
        LogPath.parse(text)
    assert failed.value.hint == f"Name a file, for example {DEFAULT_PATH}."


def test_name_that_the_locale_cannot_encode_is_a_usage_error_with_the_locale_to_set():
    with pytest.raises(UsageError) as failed:
        LogPath.parse("\ud800.jsonl")
    assert failed.value.message == "A file cannot be named \ud800.jsonl in this locale."
    assert failed.value.hint == "Set LC_ALL=C.UTF-8, or use ASCII alone in the name."


def test_option_overrides_the_default_and_an_empty_one_is_a_usage_error():
    assert LogPath.from_option(None, "b") == LogPath("b", copy_to_stdout=False)
    assert LogPath.from_option("a -", "b") == LogPath("a", copy_to_stdout=True)
    with pytest.raises(UsageError, match="does not name a file"):
        LogPath.from_option("", "b")


def test_placeholders_are_replaced_by_the_utc_day_and_the_run_id():
    target = LogPath("audit/{date}/{date}-{run_id}.jsonl")
    tokyo = LATE.astimezone(timezone(timedelta(hours=9)))
    expected = Path("audit/2026-11-25/2026-11-25-r1.jsonl")
    assert target.path_of_run(now=LATE, run_id="r1") == expected
    assert target.path_of_run(now=tokyo, run_id="r1") == expected
    assert LogPath("plain.jsonl").path_of_run(now=LATE, run_id="r1") == Path("plain.jsonl")


@pytest.mark.usefixtures("machine_zone")
def test_day_is_in_utc_in_any_time_zone_of_the_machine():
    midnight = datetime(2026, 11, 25, tzinfo=UTC)
    for now in (midnight, midnight + timedelta(hours=23, minutes=59)):
        path = LogPath("{date}.jsonl").path_of_run(now=now, run_id="r1")
        assert path == Path("2026-11-25.jsonl")


@pytest.mark.parametrize(
    ("template", "lock"),
    [
        ("audit/log.jsonl", "audit/log.jsonl.lock"),
        ("log.jsonl", "log.jsonl.lock"),
        ("/var/log/a.jsonl", "/var/log/a.jsonl.lock"),
        ("audit/{date}.jsonl", "audit/date.jsonl.lock"),
        ("audit/{date}/{run_id}.jsonl", "audit/date-run_id.jsonl.lock"),
        ("{date}/x/log.jsonl", "date-x-log.jsonl.lock"),
        ("/a/{run_id}/b/log.jsonl", "/a/run_id-b-log.jsonl.lock"),
    ],
)
def test_all_runs_of_a_template_share_one_lock(template, lock):
    assert LogPath(template).lock_path == Path(lock)


def found_names(folder, template, *names) -> list[str]:
    """Create the files, one minute apart, and return the names that `files` finds.

    Check that `matches` agrees with `files` before the files exist.
    """
    target = LogPath(f"{folder}/{template}")
    matching = {name for name in names if target.matches(folder / name)}
    for minute, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        header = {"ts": f"2026-11-25T01:{minute:02}:00.000000Z", "run_id": "r", "seq": 1}
        line = json.dumps({**header, "event": "e", "prev": f"{minute:064}"}).encode() + b"\n"
        (folder / name).write_bytes(gzip.compress(line) if name.endswith(".gz") else line)
    found = [str(path.relative_to(folder)) for path in target.files()]
    assert matching == set(found)
    return found


def test_files_of_a_plain_path_are_the_file_and_its_rotated_files(tmp_path):
    ours = [
        "log.jsonl-20261001",
        "log.jsonl-20261101-2",
        "log.jsonl-20261102.gz",
        "log.jsonl-20261103-1764000000.gz",
        "log.jsonl-1764000000",
        "log.jsonl-2026-11-04.gz",
        "log.jsonl.3.gz",
        "log.jsonl.2.gz",
        "log.jsonl.gz",
        "log.jsonl.1",
        "log.jsonl.12",
        "log.jsonl-20261002.gz",
        "log.jsonl",
    ]
    others = [
        "log.jsonl.lock",
        ".log.jsonl.lock.holder",
        "log.jsonl.torn-1",
        "log.jsonl-2026",
        "log.jsonl.1.gzip",
        "log.jsonl.1gz",
        "log.jsonl.1.gz.gz",
        "log.jsonl-17640000000",
        "log.jsonl.gz.1",
        ".log.jsonl.head",
        "logXjsonl",
        "other.jsonl",
        "alog.jsonl",
    ]
    assert found_names(tmp_path, "log.jsonl", *ours, *others) == ours


@pytest.mark.parametrize("suffix", ["bz2", "xz", "lzma", "zst", "lz4", "Z", "zip"])
def test_files_in_another_compression_are_found_so_that_a_run_refuses_them(tmp_path, suffix):
    name = f"log.jsonl.1.{suffix}"
    assert found_names(tmp_path, "log.jsonl", name) == [name]
    with (
        pytest.raises(UsageError, match=rf"\.{suffix} is not supported"),
        open_log(tmp_path / name),
    ):
        pass


def test_files_of_a_template_are_those_with_a_matching_name(tmp_path):
    ours = ["2026-11-24/run-1.jsonl", "2026-11-24/run-2.jsonl-20261125", "2026-11-25/r_3.jsonl"]
    others = ["2026-11-24/run-1.jsonl.lock", "24/run-1.jsonl", "2026-11-24/run 1.jsonl", "x.jsonl"]
    assert found_names(tmp_path, "{date}/{run_id}.jsonl", *ours, *others) == ours


def test_path_parts_after_a_placeholder_are_literal(tmp_path):
    names = ["a/x.y/log.jsonl", "a/xzy/log.jsonl"]
    assert found_names(tmp_path, "{run_id}/x.y/log.jsonl", *names) == names[:1]


def test_files_of_several_chains_are_ordered_by_the_timestamp_of_their_first_line(tmp_path):
    names = ["log.jsonl.2", "log.jsonl.1", "log.jsonl"]
    assert found_names(tmp_path, "log.jsonl", *names) == names


def test_missing_directory_and_subdirectories_yield_no_files(tmp_path):
    assert LogPath(f"{tmp_path}/missing/log.jsonl").files() == ()
    assert LogPath(f"{tmp_path}/{{date}}/{{run_id}}.jsonl").files() == ()
    (tmp_path / "log.jsonl").mkdir()
    assert LogPath(f"{tmp_path}/log.jsonl").files() == ()


def test_relative_template_uses_the_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "log.jsonl")
    assert LogPath("log.jsonl").files() == (Path("log.jsonl"),)


def test_equivalent_spellings_of_a_path_match(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("audit")
    target = LogPath("audit/{run_id}.jsonl")
    for name in (
        "audit/a.jsonl",
        "./audit/x/../a.jsonl",
        f"{tmp_path}/audit/a.jsonl",
        "link/a.jsonl",
    ):
        assert target.matches(Path(name)), name
    for name in ("a.jsonl", "audit/x/a.jsonl", "audit", "/audit/a.jsonl", "audit/a.json"):
        assert not target.matches(Path(name)), name
