"""Events: their fields and bytes, the invitation in them, and what cannot be read."""

from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from pathlib import PurePosixPath

import jsonschema
import msgspec
import pytest
from audit.written_logs import event
from builders import NOW, invitation
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.audit import error_fields
from invite_sweeper.audit.chain import add_checksum, checksum_ok
from invite_sweeper.audit.events import (
    EVENTS,
    Event,
    Intent,
    InvitationFields,
    Line,
    OutcomeLine,
    Planned,
    RestoreFinished,
    decode,
    format_timestamp,
)
from invite_sweeper.cli.schema import SchemaName, schema_of
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Invitation, Source, UnreadableDate

MICROSECOND = timedelta(microseconds=1)
TEXT = st.text()
ANY_TEXT = st.text(st.characters())  # includes lone surrogates, which UTF-8 cannot encode
IDS = st.from_regex(r"[0-9a-f]{24}", fullmatch=True)
DATETIMES = st.integers(0, 2**52).map(
    lambda us: datetime(1970, 1, 1, tzinfo=UTC) + us * MICROSECOND
)
TIMESTAMPS = st.one_of(
    st.none(),
    DATETIMES,
    st.sampled_from(["", "soon", "2026-13-45T00:00:00Z", "2026-01-01"]).map(UnreadableDate),
)
INVITATIONS = st.builds(
    Invitation,
    id=IDS | st.just(""),
    project_id=IDS,
    project_name=TEXT,
    org_id=IDS,
    username=st.none() | TEXT,
    roles=st.lists(TEXT).map(tuple),
    inviter=st.none() | TEXT,
    created_at=TIMESTAMPS,
    expires_at=TIMESTAMPS,
    source=st.sampled_from(Source),
    status=st.sampled_from([None, "PENDING", "INVITATION_EXPIRED"]),
    team_ids=st.lists(IDS).map(tuple),
    project_roles=st.lists(st.tuples(TEXT, TEXT)).map(tuple),
    linked_projects=st.lists(st.tuples(TEXT, TEXT)).map(tuple),
    links_out_of_scope=st.just(
        value=False
    ),  # an invitation with such links is kept and has no line
)


def without_project(one: Invitation) -> Invitation:
    """Replace the project of an organization invitation with the organization."""
    if one.source in {Source.INVITES, Source.USERS}:
        return one
    return one._replace(project_id=one.org_id, project_name="")


def line_of(written: Event, **changes: object) -> bytes:
    """Return a line with this event; a field that is None in `changes` is left out."""
    header = {"ts": "t", "run_id": "run-1", "seq": 1, "event": written.event, "prev": "0" * 64}
    fields = header | msgspec.to_builtins(written) | changes
    return to_json({name: value for name, value in fields.items() if value is not ...})


def planned(one: Invitation, rule: str = "r") -> Planned:
    return Planned.from_invitation(one, NOW, rule=rule)


@given(INVITATIONS.map(without_project), TEXT)
def test_invitation_is_equal_after_a_round_trip_through_its_line(original, rule):
    found = decode(line_of(planned(original, rule)))
    assert found == Line("t", "run-1", planned(original, rule), "0" * 64)
    assert found.event.invitation() == original


@given(INVITATIONS.map(without_project))
def test_key_of_an_invitation_is_that_of_its_fields(original):
    assert planned(original).key == original.key
    assert planned(original).user_key == original.user_key


@given(
    INVITATIONS.map(without_project), ANY_TEXT, ANY_TEXT, st.integers(-23 * 60 - 59, 23 * 60 + 59)
)
def test_line_is_identical_after_a_round_trip_through_the_invitation(
    original, name, rule, offset_min
):
    zone = timezone(timedelta(minutes=offset_min))
    sent_at = original.created_at
    if isinstance(sent_at, datetime):
        sent_at = sent_at.astimezone(zone)
    odd = UnreadableDate("a" + name)
    one = original._replace(username=name, created_at=sent_at, expires_at=odd, roles=(name,))
    line = line_of(planned(one, rule))
    found = decode(line).event
    assert line_of(planned(found.invitation(), found.rule)) == line


@pytest.mark.parametrize("source", [Source.ORG_USERS, Source.ORG_INVITES])
def test_project_in_an_organization_invitation_s_line_is_ignored(source):
    one = decode(line_of(planned(invitation()), source=source.value)).event.invitation()
    assert (one.project_id, one.project_name, one.source) == (one.org_id, "", source)


def test_fields_have_the_contract_s_names_and_order():
    assert msgspec.json.decode(to_json(InvitationFields.from_invitation(invitation(7), NOW))) == {
        "invitation_id": "000000000000000000000007",
        "project_id": "6a793fd0c0eb9e7a177181d4",
        "project_name": "Sandbox Alpha",
        "org_id": "5efda682a3f2ed2e7dd6cde4",
        "username": "person-7@example.com",
        "roles": ["GROUP_READ_ONLY"],
        "inviter": "nmtxqlkl",
        "created_at": "2026-11-05T01:00:00Z",
        "expires_at": "2026-12-05T01:00:00Z",
        "age_days": 20.0,
        "source": "invites",
    }
    assert names_of(planned(invitation()))[:11] == CONTRACT_FIELDS


CONTRACT_FIELDS = [
    "invitation_id",
    "project_id",
    "project_name",
    "org_id",
    "username",
    "roles",
    "inviter",
    "created_at",
    "expires_at",
    "age_days",
    "source",
]


def names_of(written: object) -> list[str]:
    return list(msgspec.json.decode(to_json(written)))


@pytest.mark.parametrize("source", [Source.ORG_USERS, Source.ORG_INVITES])
def test_organization_invitation_has_no_project_in_its_line(source):
    fields = planned(invitation(source=source))
    assert (fields.project_id, fields.project_name) == (None, None)


def test_error_of_a_run_has_three_fields_and_null_for_a_missing_part():
    assert error_fields(None) == {"error": None, "consequence": None, "hint": None}
    for consequence, hint in (("Nothing was deleted.", ""), ("", "Run again.")):
        error = {"message": "It failed.", "consequence": consequence, "hint": hint}
        assert error_fields(error) == {
            "error": "It failed.",
            "consequence": consequence or None,
            "hint": hint or None,
        }


def test_optional_fields_follow_only_if_they_are_not_the_default():
    more = {
        "status": "INVITATION_EXPIRED",
        "team_ids": ("t",),
        "project_roles": (("a", "b"),),
        "linked_projects": (("c", "d"),),
    }
    assert names_of(planned(invitation(**more)))[11:] == [*more, "rule"]
    assert names_of(planned(invitation(status=None)))[11:] == ["status", "rule"]
    assert names_of(planned(invitation()))[11:] == ["rule"]
    found = Planned.from_invitation(invitation(), NOW, rule="r", bounced=2, new=True)
    assert names_of(found)[11:] == ["rule", "bounced", "new"]


@pytest.mark.parametrize(
    ("name", "earlier", "pairs"),
    [("project_roles", "origin", (("a", "b"),)), ("linked_projects", "reaches", (("c", "d"),))],
)
def test_line_with_the_earlier_name_of_a_field_is_read(name, earlier, pairs):
    one = without_project(invitation(source=Source.ORG_USERS, **{name: pairs}))
    line = line_of(planned(one)).replace(f'"{name}"'.encode(), f'"{earlier}"'.encode())
    assert decode(line).event == planned(one)


OUTCOME = {
    "rule": "r",
    "outcome": "deleted",
    "attempts": 2,
    "http_status": 204,
    "error_code": "X",
    "duration_ms": 12.3,
}


@pytest.mark.parametrize(
    ("more", "names"),
    [
        ({}, []),
        ({"seen_before": "PENDING", "seen_after": None}, ["seen_before", "seen_after"]),
        ({"recovered": True, "recovers": "run-1"}, ["recovered", "recovers"]),
    ],
)
def test_outcome_has_the_contract_s_names_and_order(more, names):
    found = OutcomeLine.from_invitation(invitation(), NOW, **OUTCOME, **more)
    assert names_of(found)[11:] == [*OUTCOME, *names]
    assert decode(line_of(found)).event == found


def test_intent_and_outcome_of_a_restore_name_the_run_after_the_rule():
    intent = Intent.from_invitation(invitation(), NOW, rule="r", restores="run-1")
    ended = OutcomeLine.from_invitation(invitation(), NOW, **OUTCOME, restores="run-1")
    assert names_of(intent)[11:] == ["rule", "restores"]
    assert names_of(ended)[11:14] == ["rule", "restores", "outcome"]


def test_end_of_a_restore_and_of_a_sweep_are_told_apart():
    sweep, restore = (
        event("run_finished", exit_code=4),
        event("run_finished", wanted=3, exit_code=4),
    )
    assert isinstance(restore, RestoreFinished)
    assert decode(line_of(restore)).event == restore
    assert decode(line_of(sweep)).event == sweep


def test_event_of_a_later_version_is_none():
    assert decode(line_of(event("source_retired"), event="invented")) is None


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"{}", b"\xff", b'{"event":"planned"}', b"[" * 100_000, b'"\\ud800"'],
)
def test_line_that_is_not_of_an_audit_log_is_a_value_error(line):
    with pytest.raises(ValueError, match=r"."):
        decode(line)


def test_line_that_is_nested_too_deeply_is_a_value_error_that_says_so():
    with pytest.raises(ValueError, match=r"^the line is nested too deeply$"):
        decode(b'{"x":' + b"[" * 100_000)


@pytest.mark.parametrize("name", ["project_id", "project_name"])
def test_project_s_invitation_without_its_project_is_a_value_error_that_says_so(name):
    without = decode(line_of(planned(invitation()), **{name: None})).event
    with pytest.raises(ValueError, match=r"^a project's invitation has no project$"):
        without.invitation()


def test_fields_with_the_names_of_earlier_versions_are_read():
    one = invitation(project_roles=(("a", "b"),), linked_projects=(("c", "d"),))
    line = line_of(planned(one))
    assert (line.count(b'"project_roles":'), line.count(b'"linked_projects":')) == (1, 1)
    for renamed in (
        line.replace(b'"project_roles":', b'"origin":'),
        line.replace(b'"linked_projects":', b'"reaches":'),
    ):
        assert decode(renamed) == decode(line)
        assert decode(renamed).event.invitation() == one


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_schema_describes_the_line_of_each_event(kind):
    more = {"wanted": 1, "exit_code": 0} if kind is RestoreFinished else {}
    more |= {"deletable_from": "2026-11-26T01:00:00Z"} if kind.event == "announced" else {}
    more |= {"reason": "no_rule"} if kind.event in {"announcement_ended", "kept"} else {}
    written = event(kind.event, **more)
    validator = jsonschema.Draft202012Validator(schema_of(SchemaName.AUDIT_LINE))
    line = line_of(written)
    record = msgspec.json.decode(add_checksum(line) if kind.event == "run_finished" else line)
    assert list(validator.iter_errors(record)) == []
    assert list(validator.iter_errors({**record, "seq": "1"})) != []


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05Z"),
        (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "2026-01-02T03:04:05.000678Z"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:00:00Z"),
        (UnreadableDate("the other day"), "the other day"),
        (None, None),
    ],
)
def test_dates_are_rfc_3339_in_utc_or_the_original_text_or_null(moment, written):
    fields = planned(invitation(created_at=moment, expires_at=moment))
    assert (fields.created_at, fields.expires_at) == (written, written)


@pytest.mark.parametrize(
    ("age", "days"),
    [
        (timedelta(days=14), 14.0),
        (timedelta(days=14) - timedelta(microseconds=1), 13.9),
        (timedelta(hours=2, minutes=24), 0.1),
        (timedelta(hours=2, minutes=24) - timedelta(seconds=1), 0.0),
        (timedelta(0), 0.0),
        (timedelta(microseconds=-1), -0.1),
        (timedelta(days=3, hours=7, minutes=12), 3.3),
    ],
)
def test_age_is_floored_to_a_tenth_of_a_day(age, days):
    assert planned(invitation(age=age)).age_days == days


@pytest.mark.parametrize("moment", [None, UnreadableDate("x")])
def test_age_is_null_without_a_readable_date(moment):
    assert planned(invitation(created_at=moment)).age_days is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, values in {
            "invitation_id": (None, 1),
            "project_id": (None,),
            "project_name": (None,),
            "org_id": (None,),
            "username": (1, []),
            "roles": (None, "A", [1], {"A": 1}),
            "inviter": (1,),
            "created_at": (1,),
            "expires_at": ([],),
            "source": (None, "elsewhere"),
            "rule": (None, 1),
            "status": (1,),
            "team_ids": (None, [1]),
            "project_roles": (None, [1], [["a"]], [["a", 1]], [["a", "b", "c"]], ["ab"]),
            "linked_projects": (None, [["a", 1]]),
        }.items()
        for value in values
    ],
)
def test_field_of_another_type_is_a_value_error_that_names_it(name, value):
    with pytest.raises(
        ValueError, match="project" if value is None and "project" in name else name
    ):
        decode(line_of(planned(invitation()), **{name: value})).event.invitation()


@pytest.mark.parametrize("name", [*CONTRACT_FIELDS, "rule"])
def test_missing_field_is_a_value_error_that_names_it(name):
    with pytest.raises(ValueError, match=name):
        decode(line_of(planned(invitation()), **{name: ...}))


def test_timestamps_are_utc_and_always_have_microseconds():
    assert format_timestamp(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000000Z"
    late = datetime(2026, 1, 2, 0, 0, 0, 5, tzinfo=timezone(timedelta(hours=-1)))
    assert format_timestamp(late) == "2026-01-02T01:00:00.000005Z"


@pytest.mark.usefixtures("machine_zone")
def test_timestamps_and_dates_are_utc_in_any_time_zone_of_the_machine():
    assert format_timestamp(NOW) == "2026-11-25T01:00:00.000000Z"
    there = NOW.astimezone(timezone(timedelta(hours=2)))
    one = invitation(created_at=NOW, expires_at=there)
    fields = planned(one)
    assert (fields.created_at, fields.expires_at) == ("2026-11-25T01:00:00Z",) * 2
    assert fields.invitation() == one


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (NOW, b'"2026-11-25T01:00:00Z"'),
        (PurePosixPath("a/b"), b'"a/b"'),
        (Colour.RED, b'"red"'),
        ("\ud800", b'"\\\\ud800"'),
        (["\udcff", 1, None, True, 1.5], b'["\\\\udcff",1,null,true,1.5]'),
        ({"\ud800": {"a": ("\ud800",)}}, b'{"\\\\ud800":{"a":["\\\\ud800"]}}'),
        ([NOW, "\ud800"], b'["2026-11-25T01:00:00Z","\\\\ud800"]'),
        ([2**70, "\ud800"], b'[1180591620717411303424,"\\\\ud800"]'),
        ({1: "\ud800"}, b'{"1":"\\\\ud800"}'),
        ([PurePosixPath("x"), "\ud800"], b'["x","\\\\ud800"]'),
        ([float("nan")], b"[null]"),
    ],
    ids=lambda each: repr(each).replace("\\", "/"),
)
def test_any_value_becomes_json(value, written):
    assert to_json(value) == written


# Checksum -------------------------------------------------------------------------------------


def test_checksum_is_true_if_correct_and_none_if_missing():
    assert checksum_ok(add_checksum(b'{"a":1}')) is True
    assert checksum_ok(b'{"a":1}') is None
    assert checksum_ok(b'{"other":"' + b"0" * 64 + b'"}') is None
    assert checksum_ok(b'{"a":1,"seal":"' + b"0" * 63 + b'"}') is None
    assert checksum_ok(b'{"a":1,"seal":"' + b"\xff" * 64 + b'"}') is False


@pytest.mark.parametrize("key", [b"sEal", b"hash"])
def test_field_of_the_same_form_with_another_name_is_a_wrong_checksum(key):
    assert checksum_ok(add_checksum(b'{"a":1}').replace(b"seal", key)) is False


def test_changed_line_has_a_wrong_checksum():
    assert checksum_ok(add_checksum(b'{"a":1}').replace(b"1", b"2", 1)) is False
