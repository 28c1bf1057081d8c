"""Intents and outcomes of a sweep, and reading the plan back from the log."""

import asyncio
import json
import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from audit.written_logs import event, fields_of, lines_of, opened, plan_readers
from builders import NOW, PROJECT, invitation
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.audit import (
    AuditLog,
    Planned,
    PlanSpan,
    PlanSpanBuilder,
    SweepRecorder,
)
from invite_sweeper.audit.write_ahead import PLAN_BLOCK_BYTES, PlanBlock
from invite_sweeper.errors import AuditLogError
from invite_sweeper.models import (
    DeletionResult,
    Invitation,
    ListRef,
    Outcome,
    PlannedDeletion,
    Project,
    Source,
)

LIST_REF = ListRef(
    Project(
        PROJECT,
        invitation(1, source=Source.INVITES).project_name,
        invitation(1, source=Source.INVITES).org_id,
    ),
    Source.INVITES,
)


def planned_of(one: Invitation, rule: str = "forgotten", **more: object) -> Planned:
    return Planned.from_invitation(one, NOW, rule=rule, **more)


async def write_plan(path, *numbers, run_id="run-1", **changes) -> PlanSpan:
    log = opened(path, run_id)
    log.write(event("run_started"))
    builder = PlanSpanBuilder(log, LIST_REF)
    for number in numbers:
        builder.write(planned_of(invitation(number, **{"source": Source.INVITES, **changes})))
    span = builder.build()
    assert span.count == len(numbers)
    log.write(event("run_finished"))
    await log.close()
    return span


def read(path, span, run_id="run-1") -> list[PlannedDeletion]:
    deletions = []
    with plan_readers(path, run_id) as reader_of:
        reader = reader_of(span)
        while (head := reader.peek()) is not None:
            assert reader.peek() is head
            deletions.append(head)
            reader.pop()
    return deletions


async def test_intent_and_outcome_have_the_contract_s_fields(path):
    log = opened(path)
    recorder = SweepRecorder(log, NOW)
    planned_one = PlannedDeletion(invitation(3, source=Source.INVITES), "forgotten")
    recorder.write_intents([planned_one])
    await recorder.sync()
    assert len(lines_of(path)) == 1
    result = DeletionResult(
        Outcome.ALREADY_GONE, 2, 404, "GONE", seen_before="PENDING", seen_after="ACTIVE"
    )
    recorder.write_outcome(planned_one, result, 12.3456)
    await log.close()
    intent, outcome = (json.loads(line) for line in lines_of(path))
    described = json.loads(json.dumps(fields_of(invitation(3, source=Source.INVITES))))
    assert {name: intent[name] for name in list(intent)[5:]} == described
    expected = described | {
        "outcome": "already_gone",
        "attempts": 2,
        "http_status": 404,
        "error_code": "GONE",
        "duration_ms": 12.3,
        "seen_before": "PENDING",
        "seen_after": "ACTIVE",
    }
    assert {name: outcome[name] for name in expected} == expected
    assert (intent["event"], outcome["event"]) == ("intent", "outcome")
    assert (intent["seq"], outcome["seq"]) == (1, 2)
    assert list(outcome)[5:] == list(expected)


DONE = DeletionResult(Outcome.DELETED, 1, 204)


async def test_outcome_has_its_own_timestamp_and_is_written_before_the_next_intent(path):
    seconds = iter(range(1, 100))
    log = AuditLog.open(path, run_id="run-1", clock=lambda: NOW + timedelta(seconds=next(seconds)))
    recorder = SweepRecorder(log, NOW)
    recorder.write_intents([PlannedDeletion(invitation(1, source=Source.INVITES), "r")])
    recorder.write_outcome(PlannedDeletion(invitation(1, source=Source.INVITES), "r"), DONE, 1.0)
    recorder.write_intents([PlannedDeletion(invitation(2, source=Source.INVITES), "r")])
    await log.close()
    lines = [json.loads(line) for line in lines_of(path)]
    events = [(line["event"], datetime.fromisoformat(line["ts"]) - NOW) for line in lines]
    assert events == [
        ("intent", timedelta(seconds=1)),
        ("outcome", timedelta(seconds=2)),
        ("intent", timedelta(seconds=3)),
    ]


AWKWARD = '","rule":"x","prev":"' + "0" * 64 + '"} \\ \u202e \n'


@pytest.mark.parametrize("extra", [{}, {"bounced": 2, "new": True}])
async def test_intent_and_outcome_repeat_the_plan_s_fields_byte_for_byte(path, extra):
    log = opened(path)
    builder = PlanSpanBuilder(log, LIST_REF)
    planned_line = planned_of(
        invitation(3, username=AWKWARD, project_name=AWKWARD, source=Source.INVITES),
        rule=AWKWARD,
        **extra,
    )
    builder.write(planned_line)
    span = builder.build()
    await log.sync()
    recorder = SweepRecorder(log, NOW)
    (planned_one,) = read(path, span)
    recorder.write_intents([planned_one])
    recorder.write_outcome(planned_one, DeletionResult(Outcome.DELETED, 1, 204), 1.0)
    await log.close()
    planned, intent, outcome = (line.split(b',"prev":"', 1)[1][65:] for line in lines_of(path))
    assert intent == planned.replace(b',"bounced":2,"new":true', b"")
    assert outcome.startswith(intent[:-1] + b',"outcome":"deleted"')
    assert planned_one.invitation.username == AWKWARD
    assert (planned_one.bounced, planned_one.new) == ((2, True) if extra else (0, False))


@pytest.mark.parametrize("count", [0, 1, 2, 500])
async def test_plan_is_read_back_in_order(path, count):
    span = await write_plan(path, *range(count))
    expected = [invitation(number, source=Source.INVITES) for number in range(count)]
    assert [each.invitation for each in read(path, span)] == expected


async def test_plan_is_read_one_block_at_a_time(path, monkeypatch):
    span = await write_plan(path, *range(500))
    blocks, original = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *args: blocks.append(args) or original(*args))
    assert len(read(path, span)) == 500
    assert len(blocks) == len(span.blocks) <= 1 + (span.blocks[-1].stop - span.start) // 60_000


async def test_line_longer_than_a_block_is_read_back(path):
    roles = (*("R" * 1000,) * 200, "S")
    span = await write_plan(path, 1, 2, roles=roles)
    assert [each.invitation.roles for each in read(path, span)] == [roles, roles]


async def test_reader_continues_after_releasing_its_memory(path):
    span = await write_plan(path, *range(5))
    with plan_readers(path, "run-1") as reader_of:
        reader = reader_of(span)
        seen = []
        while (head := reader.peek()) is not None:
            seen.append(int(head.invitation.id, 16))
            reader.release_memory()
            assert reader.peek() == head
            reader.pop()
            reader.release_memory()
    assert seen == [0, 1, 2, 3, 4]


ANY_SPAN = PlanSpan(LIST_REF, 0, (PlanBlock(1, "0" * 64),), 1)
REFUSED = r"^The plan in the audit log (?:is|was) (truncated|changed after this run wrote it)\. "
CHANGES = {
    "another event": lambda data: data.replace(b'"event":"planned"', b'"event":"planted"', 1),
    "another run": lambda data: data.replace(b"run-1", b"run-9"),
    "another project": lambda data: data.replace(PROJECT.encode(), b"f" * 24),
    "another type": lambda data: data.replace(b'"roles":[', b'"roles":1,"x":[', 1),
    "no id": lambda data: data.replace(b"invitation_id", b"invitation_ix"),
    "truncated": lambda data: data[: len(data) // 2],
    "not json": lambda data: data.replace(b'"prev"', b"prev"),
    "moved": lambda data: b"[]\n" + data,
    "empty": lambda data: b"",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_changed_plan_is_refused(path, change):
    span = await write_plan(path, 1, 2, 3)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(AuditLogError, match=REFUSED):
        read(path, span)


@given(line=st.integers(0, 9), at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_block_with_one_changed_byte_is_refused(line, at, flip):
    with TemporaryDirectory() as directory:
        path = Path(directory) / "log.jsonl"
        span = asyncio.run(write_plan(path, *range(10)))
        lines = path.read_bytes().split(b"\n")
        changed = bytearray(lines[1 + line])
        changed[at % len(changed)] ^= flip
        lines[1 + line] = bytes(changed)
        path.write_bytes(b"\n".join(lines))
        with plan_readers(path, "run-1") as reader_of:
            reader = reader_of(span)
            with pytest.raises(AuditLogError, match=REFUSED):
                reader.peek()


@pytest.mark.parametrize("number", [0, 3, 5, 9])
async def test_block_changed_while_its_memory_was_released_is_refused(path, number):
    span = await write_plan(path, *range(10))
    with plan_readers(path, "run-1") as reader_of:
        reader = reader_of(span)
        for _ in range(4):
            reader.peek()
            reader.pop()
        reader.release_memory()
        data = path.read_bytes()
        path.write_bytes(data.replace(f"{number:024x}".encode(), b"f" * 24))
        with pytest.raises(AuditLogError, match=REFUSED):
            reader.peek()


def roles_of_size(size):
    """Return roles that take this many bytes in a line, each short enough to be recorded."""
    whole, rest = divmod(size - 2, 1003)  # a role of 1,000 characters, two quotes and a comma
    return (*("R" * 1000,) * whole, "R" * rest)


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_block_ends_with_the_line_that_reaches_64_kib(path, over):
    log = opened(path)
    log.write(event("run_started"))
    builder = PlanSpanBuilder(log, LIST_REF)
    short = planned_of(invitation(1, roles=(), source=Source.INVITES))
    start = log.offset
    builder.write(short)
    line_size = log.offset - start
    roles = roles_of_size(PLAN_BLOCK_BYTES - 2 * line_size + over)
    builder.write(planned_of(invitation(2, roles=roles, source=Source.INVITES)))
    size = log.offset - start
    builder.write(short)
    span = builder.build()
    await log.close()
    assert size == PLAN_BLOCK_BYTES + over
    assert len(span.blocks) == (1 if over < 0 else 2)
    assert len(read(path, span)) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {"rule": 1},
        {"source": "letters"},
        {"source": "users"},
        {"invitation_id": None},
        {"roles": "OWNER"},
        {"created_at": 1},
    ],
    ids=["rule", "source", "another source", "id", "roles", "date"],
)
async def test_line_that_is_not_an_invitation_of_the_list_is_refused(path, fields):
    log = opened(path)
    builder = PlanSpanBuilder(log, LIST_REF)
    builder.write(
        msgspec.structs.replace(planned_of(invitation(1, source=Source.INVITES)), **fields)
    )
    span = builder.build()
    await log.close()
    with pytest.raises(AuditLogError, match=REFUSED):
        read(path, span)


async def test_plan_of_another_run_is_refused(path):
    span = await write_plan(path, 1)
    with pytest.raises(AuditLogError, match=REFUSED):
        read(path, span, "run-2")


async def test_span_of_another_project_is_refused(path):
    span = await write_plan(path, 1)
    other = LIST_REF._replace(project=replace(LIST_REF.project, id="f" * 24))
    with pytest.raises(AuditLogError, match=REFUSED):
        read(path, replace(span, list_ref=other))


@pytest.mark.parametrize("source", Source)
async def test_span_of_another_list_of_the_same_project_is_refused(path, source):
    span = await write_plan(path, 1)
    other = replace(span, list_ref=LIST_REF._replace(source=source))
    if source is LIST_REF.source:
        assert len(read(path, other)) == 1
    else:
        with pytest.raises(AuditLogError, match=REFUSED):
            read(path, other)


@pytest.mark.parametrize("source", Source)
async def test_invitations_of_each_source_are_read_back_unchanged(path, source):
    org_id = invitation(1, source=source).org_id
    scope_id = org_id if source.is_organization_level else PROJECT
    one = invitation(1, source=source, project_id=scope_id)
    if source.is_organization_level:
        one = one._replace(project_name="")
    log = opened(path)
    builder = PlanSpanBuilder(log, ListRef(Project(scope_id, one.project_name, org_id), source))
    builder.write(planned_of(one))
    await log.close()
    (planned_one,) = read(path, builder.build())
    assert planned_one.invitation == one


async def test_outcome_without_an_intent_has_the_fields_of_its_own_invitation(path):
    """A skipped deletion has no intent."""
    log = opened(path)
    recorder = SweepRecorder(log, NOW)
    sent, skipped = (
        PlannedDeletion(invitation(n, source=Source.INVITES), f"rule-{n}") for n in (1, 2)
    )
    recorder.write_intents([sent])
    recorder.write_outcome(skipped, DeletionResult(Outcome.SKIPPED, 0), 0.0)
    recorder.write_outcome(sent, DeletionResult(Outcome.DELETED, 1, 204), 1.0)
    recorder.write_outcome(sent, DeletionResult(Outcome.FAILED, 1, 500), 1.0)
    await log.close()
    records = [json.loads(line) for line in lines_of(path)]
    assert [(r["event"], r["invitation_id"][-1], r["rule"]) for r in records] == [
        ("intent", "1", "rule-1"),
        ("outcome", "2", "rule-2"),
        ("outcome", "1", "rule-1"),
        ("outcome", "1", "rule-1"),
    ]


async def test_error_about_a_changed_plan_says_what_to_do(path):
    span = await write_plan(path, 1)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"person-1", b"person-2"))
    with plan_readers(path, "run-1") as queue_for, pytest.raises(AuditLogError) as caught:
        queue_for(span).peek()
    assert caught.value.consequence == "No further deletion is sent."
    assert caught.value.hint == "Check the audit log with `audit verify`."
