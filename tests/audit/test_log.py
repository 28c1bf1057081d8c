import hashlib
import json
import os
import stat

import pytest
from audit.written_logs import (
    lines_of,
    opened,
)

from invite_sweeper.audit import AuditLog
from invite_sweeper.errors import AuditLogError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit" / "log.jsonl"


async def written(log: AuditLog, *events: str) -> list[dict]:
    for event in events:
        log.write(event)
    await log.close()
    return [json.loads(line) for line in lines_of(log.path)]


async def test_a_line_begins_with_the_five_fields_of_the_contract_in_their_order(path):
    log = opened(path)
    log.write("project_unreadable", zebra=1, ant=None)
    await log.close()
    (line,) = lines_of(path)
    assert list(json.loads(line)) == ["ts", "run_id", "seq", "event", "prev", "zebra", "ant"]
    assert line.startswith(
        b'{"ts":"2026-11-25T01:00:00.001000Z","run_id":"run-1","seq":1,'
        b'"event":"project_unreadable","prev":"' + b"0" * 64 + b'","zebra":1,"ant":null}'
    )


async def test_each_prev_is_the_hash_of_the_line_before_without_its_newline(path):
    await written(opened(path), "run_started", "planned", "intent")
    first, second, third = lines_of(path)
    assert json.loads(first)["prev"] == "0" * 64
    assert json.loads(second)["prev"] == hashlib.sha256(first).hexdigest()
    assert json.loads(third)["prev"] == hashlib.sha256(second).hexdigest()


async def test_a_second_run_counts_from_one_and_goes_on_with_the_chain(path):
    await written(opened(path, "run-1"), "run_started", "planned")
    await written(opened(path, "run-2"), "run_started")
    *_, before, last = lines_of(path)
    assert json.loads(last)["seq"] == 1
    assert json.loads(last)["run_id"] == "run-2"
    assert json.loads(last)["prev"] == hashlib.sha256(before).hexdigest()


async def test_position_and_last_hash_are_those_of_the_line_just_written(path):
    log = opened(path)
    assert (log.offset, log.last_hash) == (0, "0" * 64)
    log.write("run_started")
    position, last_hash = log.offset, log.last_hash
    await log.sync()
    (line,) = lines_of(path)
    assert position == len(line) + 1 == path.stat().st_size
    assert last_hash == hashlib.sha256(line).hexdigest()
    await log.close()


async def test_the_last_line_of_a_run_seals_itself(path):
    log = opened(path)
    log.write("run_finished", exit_code=0)
    await log.close()
    (line,) = lines_of(path)
    seal = json.loads(line)["seal"]
    bare = line.replace(b',"seal":"' + seal.encode() + b'"', b"")
    assert bare.endswith(b'"exit_code":0}')
    assert seal == hashlib.sha256(bare).hexdigest()


async def test_durable_has_every_line_so_far_in_the_file_and_close_the_rest(path):
    log = opened(path)
    log.write("run_started")
    assert path.read_bytes() == b""
    await log.sync()
    assert len(lines_of(path)) == 1
    log.write("planned")
    await log.close()
    assert len(lines_of(path)) == 2


async def test_a_field_that_the_log_writes_itself_is_refused_and_takes_no_number(path):
    log = opened(path)
    for name in ("ts", "run_id", "seq", "prev", "seal"):
        with pytest.raises(ValueError, match=rf"^reserved field names: {{'{name}'}}$"):
            log.write("planned", other=2, **{name: 1})
    log.write("planned")
    await log.close()
    assert [json.loads(line)["seq"] for line in lines_of(path)] == [1]


async def test_file_is_0600_and_missing_folders_become_0700(tmp_path):
    path = tmp_path / "a" / "b" / "log.jsonl"
    await opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


async def test_what_json_cannot_hold_is_written_visibly(path):
    log = opened(path)
    log.write("planned", username="a\udc80b", huge=2**70, roles=("x\ud800",), deep={"k\udc81": [3]})
    await log.close()
    (line,) = lines_of(path)
    record = json.loads(line)
    assert record["username"] == "a\\udc80b"
    assert record["huge"] == str(2**70)
    assert record["roles"] == ["x\\ud800"]
    assert record["deep"] == {"k\\udc81": [3]}


async def test_after_close_nothing_can_be_written_and_closing_again_is_nothing(path, monkeypatch):
    log = opened(path)
    await log.close()
    closed = []
    monkeypatch.setattr(os, "close", closed.append)
    await log.close()
    monkeypatch.undo()
    assert closed == []
    with pytest.raises(AuditLogError) as failed:
        log.write("planned")
    assert (failed.value.message, failed.value.consequence) == ("The audit log is closed.", "")
    with pytest.raises(AuditLogError, match="closed"):
        await log.sync()
