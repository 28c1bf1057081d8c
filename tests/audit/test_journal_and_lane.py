"""What a sweep writes of its deletions, and how the plan is read back."""

import asyncio
import json
import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from audit.written_logs import fields_of, lines_of, opened
from builders import NOW, PROJECT, invitation
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.audit import AuditLog, PlanReader, PlanSpan, PlanSpanBuilder, SweepRecorder
from invite_sweeper.audit.write_ahead import PLAN_BLOCK_BYTES, PlanBlock
from invite_sweeper.errors import AuditLogError
from invite_sweeper.models import DeletionResult, ListRef, Outcome, PlannedDeletion, Project, Source

PLACE = ListRef(Project(PROJECT, invitation(1).project_name, invitation(1).org_id), Source.INVITES)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


async def planned(path, *numbers, run_id="run-1", **changes) -> PlanSpan:
    log = opened(path, run_id)
    log.write("run_started")
    builder = PlanSpanBuilder(log, PLACE)
    for number in numbers:
        builder.write(fields_of(invitation(number, **changes)))
    span = builder.build()
    assert span.count == len(numbers)
    log.write("run_finished")
    await log.close()
    return span


def read(path, span, run_id="run-1") -> list[PlannedDeletion]:
    taken = []
    with PlanReader.open(path, run_id) as lane_of:
        lane = lane_of(span)
        while (head := lane.peek()) is not None:
            assert lane.peek() is head
            taken.append(head)
            lane.pop()
    return taken


async def test_intent_and_outcome_have_the_fields_of_the_contract(path):
    log = opened(path)
    recorder = SweepRecorder(log, NOW)
    planned_one = PlannedDeletion(invitation(3), "forgotten")
    recorder.write_intents([planned_one])
    await recorder.sync()
    assert len(lines_of(path)) == 1
    gone = DeletionResult(
        Outcome.ALREADY_GONE, 2, 404, "GONE", seen_before="PENDING", seen_after="ACTIVE"
    )
    recorder.write_outcome(planned_one, gone, 12.3456)
    await log.close()
    intent, outcome = (json.loads(line) for line in lines_of(path))
    described = json.loads(json.dumps(fields_of(invitation(3))))
    assert {name: intent[name] for name in list(intent)[5:]} == described
    told = described | {
        "outcome": "already_gone",
        "attempts": 2,
        "http_status": 404,
        "error_code": "GONE",
        "duration_ms": 12.3,
        "seen_before": "PENDING",
        "seen_after": "ACTIVE",
    }
    assert {name: outcome[name] for name in told} == told
    assert (intent["event"], outcome["event"]) == ("intent", "outcome")
    assert (intent["seq"], outcome["seq"]) == (1, 2)
    assert list(outcome)[5:] == list(told)


DONE = DeletionResult(Outcome.DELETED, 1, 204)


async def test_outcome_has_the_date_at_which_it_came_and_comes_before_the_next_intent(path):
    ticks = iter(range(1, 100))
    log = AuditLog.open(path, run_id="run-1", clock=lambda: NOW + timedelta(seconds=next(ticks)))
    recorder = SweepRecorder(log, NOW)
    recorder.write_intents([PlannedDeletion(invitation(1), "r")])
    recorder.write_outcome(PlannedDeletion(invitation(1), "r"), DONE, 1.0)
    recorder.write_intents([PlannedDeletion(invitation(2), "r")])
    await log.close()
    lines = [json.loads(line) for line in lines_of(path)]
    told = [(line["event"], datetime.fromisoformat(line["ts"]) - NOW) for line in lines]
    assert told == [
        ("intent", timedelta(seconds=1)),
        ("outcome", timedelta(seconds=2)),
        ("intent", timedelta(seconds=3)),
    ]


AWKWARD = '","rule":"x","prev":"' + "0" * 64 + '"} \\ \u202e \n'


@pytest.mark.parametrize("further", [{}, {"bounced": 2}])
async def test_intent_and_outcome_repeat_the_fields_of_the_plan_byte_for_byte(path, further):
    log = opened(path)
    builder = PlanSpanBuilder(log, PLACE)
    fields = fields_of(invitation(3, username=AWKWARD, project_name=AWKWARD)) | {"rule": AWKWARD}
    builder.write({**fields, **further})
    span = builder.build()
    await log.sync()
    recorder = SweepRecorder(log, NOW)
    (planned_one,) = read(path, span)
    recorder.write_intents([planned_one])
    recorder.write_outcome(planned_one, DeletionResult(Outcome.DELETED, 1, 204), 1.0)
    log.write("like an intent", **fields)
    await log.close()
    _, intent, outcome, rendered = (line.split(b',"prev":"', 1)[1][65:] for line in lines_of(path))
    assert intent == rendered
    assert outcome.startswith(rendered[:-1] + b',"outcome":"deleted"')
    assert planned_one.invitation.username == AWKWARD


@pytest.mark.parametrize("count", [0, 1, 2, 500])
async def test_plan_comes_back_in_its_order(path, count):
    span = await planned(path, *range(count))
    expected = [invitation(number) for number in range(count)]
    assert [each.invitation for each in read(path, span)] == expected


async def test_lines_are_read_a_block_at_a_time(path, monkeypatch):
    span = await planned(path, *range(500))
    blocks, really = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *args: blocks.append(args) or really(*args))
    assert len(read(path, span)) == 500
    assert len(blocks) == len(span.blocks) <= 1 + (span.blocks[-1].stop - span.start) // 60_000


async def test_line_longer_than_a_block_comes_back(path):
    roles = ("R" * 200_000, "S")
    span = await planned(path, 1, 2, roles=roles)
    assert [each.invitation.roles for each in read(path, span)] == [roles, roles]


async def test_lane_that_rested_goes_on_where_it_was(path):
    span = await planned(path, *range(5))
    with PlanReader.open(path, "run-1") as lane_of:
        lane = lane_of(span)
        seen = []
        while (head := lane.peek()) is not None:
            seen.append(int(head.invitation.id, 16))
            lane.release_memory()
            assert lane.peek() == head
            lane.pop()
            lane.release_memory()
    assert seen == [0, 1, 2, 3, 4]


NOWHERE = PlanSpan(PLACE, 0, (PlanBlock(1, "0" * 64),), 1)
REFUSED = r"^The plan in the audit log (?:is|was) (truncated|changed after this run wrote it)\. "
CHANGES = {
    "another event": lambda data: data.replace(b'"event":"planned"', b'"event":"planted"', 1),
    "another run": lambda data: data.replace(b"run-1", b"run-9"),
    "another project": lambda data: data.replace(PROJECT.encode(), b"f" * 24),
    "another kind": lambda data: data.replace(b'"roles":[', b'"roles":1,"x":[', 1),
    "no id": lambda data: data.replace(b"invitation_id", b"invitation_ix"),
    "cut": lambda data: data[:-900],
    "no json": lambda data: data.replace(b'"prev"', b"prev"),
    "moved": lambda data: b"[]\n" + data,
    "emptied": lambda data: b"",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_plan_that_is_not_as_it_was_written_is_refused(path, change):
    span = await planned(path, 1, 2, 3)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(AuditLogError, match=REFUSED):
        read(path, span)


@given(line=st.integers(0, 9), at=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_line_of_a_block_is_believed_where_one_byte_of_it_is_another(line, at, flip):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        span = asyncio.run(planned(path, *range(10)))
        lines = path.read_bytes().split(b"\n")
        hit = bytearray(lines[1 + line])
        hit[at % len(hit)] ^= flip
        lines[1 + line] = bytes(hit)
        path.write_bytes(b"\n".join(lines))
        with PlanReader.open(path, "run-1") as lane_of:
            lane = lane_of(span)
            with pytest.raises(AuditLogError, match=REFUSED):
                lane.peek()


@pytest.mark.parametrize("number", [0, 3, 5, 9])
async def test_lane_that_rested_believes_nothing_that_was_changed_meanwhile(path, number):
    span = await planned(path, *range(10))
    with PlanReader.open(path, "run-1") as lane_of:
        lane = lane_of(span)
        for _ in range(4):
            lane.peek()
            lane.pop()
        lane.release_memory()
        data = path.read_bytes()
        path.write_bytes(data.replace(f"{number:024x}".encode(), b"f" * 24))
        with pytest.raises(AuditLogError, match=REFUSED):
            lane.peek()


@pytest.mark.parametrize("over", [-1, 0, 1])
async def test_block_ends_with_the_line_that_reaches_its_size(path, over):
    log = opened(path)
    log.write("run_started")
    builder = PlanSpanBuilder(log, PLACE)
    fields = fields_of(invitation(1, roles=()))
    start = log.offset
    builder.write(fields)
    one = log.offset - start
    roles = ("R" * (PLAN_BLOCK_BYTES - 2 * one - 2 + over),)
    builder.write(fields_of(invitation(2, roles=roles)))
    reached = log.offset - start
    builder.write(fields)
    span = builder.build()
    await log.close()
    assert reached == PLAN_BLOCK_BYTES + over
    assert len(span.blocks) == (1 if over < 0 else 2)
    assert len(read(path, span)) == 3


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"rule": 1},
        {"source": "letters"},
        {"source": "users"},
        {"invitation_id": None},
        {"roles": "OWNER"},
        {"created_at": 1},
    ],
    ids=["nothing", "rule", "source", "another source", "id", "roles", "date"],
)
async def test_chained_line_that_is_not_an_invitation_of_the_list_is_refused(path, fields):
    log = opened(path)
    builder = PlanSpanBuilder(log, PLACE)
    builder.write({**fields_of(invitation(1)), **fields} if fields else {})
    span = builder.build()
    await log.close()
    with pytest.raises(AuditLogError, match=REFUSED):
        read(path, span)


async def test_plan_of_another_run_is_refused(path):
    span = await planned(path, 1)
    with pytest.raises(AuditLogError):
        read(path, span, "run-2")


async def test_span_of_another_project_is_refused(path):
    span = await planned(path, 1)
    with pytest.raises(AuditLogError):
        read(
            path,
            replace(span, list_ref=PLACE._replace(project=replace(PLACE.project, id="f" * 24))),
        )


@pytest.mark.parametrize("source", Source)
async def test_span_of_another_list_of_the_same_project_is_refused(path, source):
    span = await planned(path, 1)
    other = replace(span, list_ref=PLACE._replace(source=source))
    if source is PLACE.source:
        assert len(read(path, other)) == 1
    else:
        with pytest.raises(AuditLogError, match=REFUSED):
            read(path, other)


@pytest.mark.parametrize("source", Source)
async def test_lines_of_each_list_come_back_with_what_their_deletion_needs(path, source):
    org_id = invitation(1).org_id
    scope_id = org_id if source.is_organization_level else PROJECT
    one = invitation(1, source=source, project_id=scope_id)
    if source.is_organization_level:
        one = one._replace(project_name="")
    log = opened(path)
    builder = PlanSpanBuilder(log, ListRef(Project(scope_id, one.project_name, org_id), source))
    builder.write(fields_of(one))
    await log.close()
    (planned_one,) = read(path, builder.build())
    assert planned_one.invitation == one


def test_missing_log_and_symlink_are_refused(path):
    with pytest.raises(AuditLogError, match="cannot be read: No such file"):
        read(path, NOWHERE)
    path.symlink_to("/etc/hostname")
    with pytest.raises(AuditLogError, match="cannot be read"):
        read(path, NOWHERE)
