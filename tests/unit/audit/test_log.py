"""Writing to the audit log: lines, hash chain, checksum, sync and close."""

import hashlib
import json
import os
import stat

import pytest
from audit.written_logs import event, lines_of, opened

from invite_sweeper.audit import AuditLog
from invite_sweeper.errors import AuditLogError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit" / "log.jsonl"


async def written(log: AuditLog, *events: str) -> list[dict]:
    for name in events:
        log.write(event(name))
    await log.close()
    return [json.loads(line) for line in lines_of(log.path)]


async def test_line_starts_with_the_contract_s_five_fields_in_order(path):
    log = opened(path)
    log.write(event("source_retired"))
    await log.close()
    (line,) = lines_of(path)
    assert list(json.loads(line))[:5] == ["ts", "run_id", "seq", "event", "prev"]
    assert line.startswith(
        b'{"ts":"2026-11-25T01:00:00.001000Z","run_id":"run-1","seq":1,'
        b'"event":"source_retired","prev":"' + b"0" * 64 + b'","source":"invites",'
    )


async def test_prev_is_the_hash_of_the_previous_line_without_its_newline(path):
    await written(opened(path), "run_started", "planned", "intent")
    first, second, third = lines_of(path)
    assert json.loads(first)["prev"] == "0" * 64
    assert json.loads(second)["prev"] == hashlib.sha256(first).hexdigest()
    assert json.loads(third)["prev"] == hashlib.sha256(second).hexdigest()


async def test_second_run_counts_from_1_and_continues_the_chain(path):
    await written(opened(path, "run-1"), "run_started", "planned")
    await written(opened(path, "run-2"), "run_started")
    *_, before, last = lines_of(path)
    assert json.loads(last)["seq"] == 1
    assert json.loads(last)["run_id"] == "run-2"
    assert json.loads(last)["prev"] == hashlib.sha256(before).hexdigest()


async def test_offset_and_last_hash_include_the_last_written_line(path):
    log = opened(path)
    assert (log.offset, log.last_hash) == (0, "0" * 64)
    log.write(event("run_started"))
    position, last_hash = log.offset, log.last_hash
    await log.sync()
    (line,) = lines_of(path)
    assert position == len(line) + 1 == path.stat().st_size
    assert last_hash == hashlib.sha256(line).hexdigest()
    await log.close()


async def test_last_line_of_a_run_contains_its_checksum(path):
    log = opened(path)
    log.write(event("run_finished", exit_code=0))
    await log.close()
    (line,) = lines_of(path)
    seal = json.loads(line)["seal"]
    without_seal = line.replace(b',"seal":"' + seal.encode() + b'"', b"")
    assert line == without_seal[:-1] + b',"seal":"%b"}' % seal.encode()
    assert seal == hashlib.sha256(without_seal).hexdigest()


async def test_sync_writes_all_lines_so_far_and_close_the_rest(path):
    log = opened(path)
    log.write(event("run_started"))
    assert path.read_bytes() == b""
    await log.sync()
    assert len(lines_of(path)) == 1
    log.write(event("planned"))
    await log.close()
    assert len(lines_of(path)) == 2


async def test_file_has_mode_0600_and_new_directories_0700(tmp_path):
    path = tmp_path / "a" / "b" / "log.jsonl"
    await opened(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


async def test_values_that_json_cannot_represent_are_written_as_text(path):
    log = opened(path)
    log.write(event("planned", username="a\udc80b", roles=("x\ud800",)))
    await log.close()
    (line,) = lines_of(path)
    record = json.loads(line)
    assert record["username"] == "a\\udc80b"
    assert record["roles"] == ["x\\ud800"]


async def test_writing_after_close_fails_and_closing_again_does_nothing(path, monkeypatch):
    log = opened(path)
    await log.close()
    closed = []
    monkeypatch.setattr(os, "close", closed.append)
    await log.close()
    monkeypatch.undo()
    assert (closed, log.fd) == ([], -1)
    with pytest.raises(AuditLogError) as failed:
        log.write(event("planned"))
    assert (failed.value.message, failed.value.consequence) == ("The audit log is closed.", "")
    with pytest.raises(AuditLogError, match="closed"):
        await log.sync()


async def test_runs_of_one_command_share_file_and_chain_and_count_their_own_lines(path):
    first = opened(path, "run-1")
    second = first.for_run("run-2")
    for log, name in ((first, "run_started"), (second, "run_started"), (first, "intent")):
        log.write(event(name))
    assert (first.offset, first.last_hash) == (second.offset, second.last_hash)
    await second.sync()
    await first.close()
    lines = lines_of(path)
    records = [json.loads(line) for line in lines]
    assert [(each["run_id"], each["seq"]) for each in records] == [
        ("run-1", 1),
        ("run-2", 1),
        ("run-1", 2),
    ]
    hashes = [hashlib.sha256(line).hexdigest() for line in lines[:-1]]
    assert [each["prev"] for each in records] == ["0" * 64, *hashes]


async def test_log_of_one_run_fails_with_that_of_another_of_the_same_command(path):
    first = opened(path, "run-1")
    second = first.for_run("run-2")
    first.write(event("run_started"))
    await first.sync()
    path.unlink()
    first.write(event("intent"))
    with pytest.raises(AuditLogError):
        await first.sync()
    with pytest.raises(AuditLogError):
        second.write(event("intent"))
    await first.close()


async def test_log_of_another_run_has_the_same_path_and_copies(path):
    path.parent.mkdir()
    path.write_bytes(b'{"ts":"20')
    path.chmod(0o600)
    first = opened(path, "run-1")
    second = first.for_run("run-2")
    torn_copy = path.with_name(f"{path.name}.torn-1")
    assert (second.path, second.torn_copy, first.torn_copy) == (first.path, torn_copy, torn_copy)
    assert second.copy_failure is first.copy_failure
    second.write(event("run_started"))
    assert (second.last_hash, second.offset) == (first.last_hash, first.offset)
    await second.close()
