"""Saved plans: edited or truncated files, age, context, and the limit to planned deletions."""

import hashlib
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from builders import NOW, ORG, PLAN_CONTEXT, invitation, object_id
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Source, UnreadableDate
from invite_sweeper.sweep.saved_plan import (
    PlanContext,
    SavedPlanFilter,
    check_applicable,
    parse_plan,
    render_lines,
    used_error,
)

MAX_AGE = timedelta(hours=24)


def row(planned):
    return Planned.from_invitation(planned, NOW, rule="r")


def lines(*numbers, context=PLAN_CONTEXT):
    return list(render_lines(context, (row(invitation(n)) for n in numbers)))


def saved(*numbers, context=PLAN_CONTEXT):
    return parse_plan(lines(*numbers, context=context))


def check(plan=None, *, now=NOW, max_age=MAX_AGE, **current):
    check_applicable(
        plan or saved(1),
        structs.replace(PLAN_CONTEXT, **current),
        now=now,
        max_age=max_age,
    )


def with_digest(body):
    """Return the lines with a valid digest, as an attacker could write them."""
    digest = hashlib.sha256(b"".join(body)).hexdigest()
    return [*body, msgspec.json.encode({"sha256": digest}) + b"\n"]


def test_plan_can_be_read_back():
    plan = saved(1, 2)
    assert plan.context == PLAN_CONTEXT
    assert plan.created_at == NOW
    assert set(plan.invitations) == {
        ("invites", ORG, invitation(n).project_id, object_id(n)) for n in (1, 2)
    }


def test_organization_invitation_is_planned_under_the_organization_id():
    one = invitation(1, source=Source.ORG_INVITES, project_id=ORG, project_name="")
    plan = parse_plan(render_lines(PLAN_CONTEXT, [row(one)]))
    assert set(plan.invitations) == {("org_invites", ORG, ORG, object_id(1))}
    assert SavedPlanFilter(plan).find_keep_reason(one, "r") is None


def test_header_contains_the_format_and_the_context():
    header = msgspec.json.decode(lines()[0])
    assert header["plan"] == "invite-sweeper plan 2"
    assert msgspec.convert(header, PlanContext) == PLAN_CONTEXT


def test_empty_plan_is_valid():
    assert saved().invitations == {}


def test_digest_covers_all_bytes_before_the_last_line():
    *body, last = lines(1, 2)
    assert msgspec.json.decode(last) == {"sha256": hashlib.sha256(b"".join(body)).hexdigest()}
    assert parse_plan([*body, last]).digest == hashlib.sha256(b"".join([*body, last])).hexdigest()


@given(data=st.data(), size=st.integers(0, 4))
def test_plan_with_any_changed_byte_is_refused(data, size):
    whole = bytearray(b"".join(lines(*range(1, size + 1))))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(GuardRefused, match="plan"):
        parse_plan(bytes(whole).splitlines(keepends=True))


@given(data=st.data(), size=st.integers(1, 4))
def test_truncated_plan_is_refused(data, size):
    whole = b"".join(lines(*range(1, size + 1)))
    kept = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(GuardRefused):
        parse_plan(whole[:kept].splitlines(keepends=True))


@pytest.mark.parametrize("change", ["remove", "add", "swap"])
def test_plan_with_a_removed_added_or_moved_line_is_refused(change):
    found = lines(1, 2, 3)
    changed = {
        "remove": [found[0], *found[2:]],
        "add": [*found[:2], lines(9)[1], *found[2:]],
        "swap": [found[0], found[2], found[1], *found[3:]],
    }[change]
    with pytest.raises(GuardRefused) as caught:
        parse_plan(changed)
    assert caught.value.message == (
        "The plan is not valid: the digest does not match, so it was edited or truncated."
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([], "it is not a plan file, or was truncated"),
        ([b"{}\n"], "it is not a plan file, or was edited"),
        ([b'{"plan":"another 1"}\n'], "it is not a plan file, or was edited"),
        ([b"[]\n"], "it is not a plan file, or was edited"),
        ([lines()[0].replace(b"plan 2", b"plan 1")], "its format version is not supported"),
        ([lines()[0].replace(b"{", b'{"more":1,', 1)], "it is not a plan file, or was edited"),
        ([lines()[0], b'{"source":"invites"}\n'], "it is not a plan file, or was edited"),
        ([lines()[0], b"7\n"], "it is not a plan file, or was edited"),
        (
            [lines()[0].replace(NOW.isoformat().encode(), b"yesterday")],
            "it contains an invalid date",
        ),
        (
            [lines()[0].replace(NOW.isoformat().encode(), b"2026-11-25T01:00:00")],
            "it contains a date without a time zone",
        ),
    ],
    ids=[
        "empty",
        "no header",
        "other",
        "array",
        "format",
        "key",
        "row",
        "number",
        "date",
        "no zone",
    ],
)
def test_invalid_plan_is_refused_even_with_a_valid_digest(body, reason):
    with pytest.raises(GuardRefused) as caught:
        parse_plan(with_digest(body))
    assert caught.value.message == f"The plan is not valid: {reason}."


def test_empty_file_is_not_a_plan():
    with pytest.raises(GuardRefused, match="it is not a plan file, or was truncated"):
        parse_plan([])


def test_plan_older_than_max_age_by_a_microsecond_is_refused():
    check(now=NOW + MAX_AGE)
    with pytest.raises(GuardRefused, match="ago"):
        check(now=NOW + MAX_AGE + timedelta(microseconds=1))


def test_plan_from_the_future_is_refused():
    check(now=NOW)
    with pytest.raises(GuardRefused, match="in the future"):
        check(now=NOW - timedelta(microseconds=1))


OTHER_HOST = (
    "The plan was created for https://cloud.mongodb.com, not for https://cloud.mongodbgov.com."
)
OTHER_ORGANIZATIONS = "The plan was created for other organizations than the policy's."


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ({"organizations": (ORG, "0" * 24)}, OTHER_ORGANIZATIONS),
        ({"organizations": ()}, OTHER_ORGANIZATIONS),
        (
            {"base_url": "https://cloud.mongodbgov.com"},
            OTHER_HOST,
        ),
        ({"policy_sha256": "b" * 64}, "The plan was created with another policy."),
    ],
    ids=["more", "none", "host", "policy"],
)
def test_plan_of_another_organization_host_or_policy_is_refused(current, expected):
    with pytest.raises(GuardRefused) as caught:
        check(**current)
    assert caught.value.message == expected


def test_error_contains_the_command_for_a_new_plan():
    with pytest.raises(GuardRefused) as caught:
        check(base_url="https://elsewhere.example.com")
    assert (
        caught.value.hint
        == "Create a new plan with: invite-sweeper plan --policy POLICY --out FILE"
    )
    assert caught.value.consequence == "Nothing was deleted."
    assert caught.value.reasons == (Reason.PLAN,)


@pytest.mark.parametrize(("by", "words"), [("", ""), ("run-1", ", by run-1")])
def test_error_about_a_used_plan_names_what_used_it(by, words):
    message = used_error(Path("p.jsonl"), by).message
    assert message == f"The plan p.jsonl has already been applied{words}."


def test_planned_invitation_is_allowed_once_and_no_other():
    plan_filter = SavedPlanFilter(saved(1, 2))
    assert plan_filter.find_keep_reason(invitation(1), "r") is None
    assert plan_filter.find_keep_reason(invitation(1), "r") == "not_in_plan"
    assert plan_filter.find_keep_reason(invitation(3), "r") == "not_in_plan"
    assert plan_filter.not_seen == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"username": "other@example.com"},
        {"username": None},
        {"created_at": NOW - timedelta(days=19)},
        {"created_at": None},
        {"created_at": UnreadableDate("x")},
        {"project_id": object_id(99)},
        {"source": Source.ORG_INVITES},
    ],
    ids=lambda c: next(iter(c)) + str(next(iter(c.values())))[:12],
)
def test_invitation_with_other_evidence_is_not_allowed(changes):
    assert (
        SavedPlanFilter(saved(1)).find_keep_reason(invitation(1, **changes), "r") == "not_in_plan"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"roles": ("GROUP_OWNER",)},
        {"roles": ()},
        {"inviter": "other@example.com"},
        {"expires_at": NOW},
        {"expires_at": None},
        {"team_ids": (object_id(7),)},
        {"project_roles": ((object_id(7), "GROUP_OWNER"),)},
        {"linked_projects": ((object_id(7), "prod"),)},
    ],
    ids=lambda c: next(iter(c)) + str(next(iter(c.values())))[:12],
)
def test_invitation_that_has_changed_since_it_was_approved_is_left_out_and_said(changes):
    plan_filter = SavedPlanFilter(saved(1, 2))
    changed = invitation(1, **changes)
    assert plan_filter.find_keep_reason(changed, "r") == "changed_since_plan"
    assert next(plan_filter.describe_difference()).startswith("1 of the plan's invitations is kept")
    assert plan_filter.find_keep_reason(invitation(2), "another rule") == "changed_since_plan"
    (sentence,) = plan_filter.describe_difference()
    assert sentence == (
        "2 of the plan's invitations are kept because the roles, projects, inviter, expiry or "
        "rule changed since the plan was created."
    )


def test_order_of_roles_and_a_new_project_name_are_not_a_change():
    two = invitation(1, roles=("GROUP_OWNER", "GROUP_READ_ONLY"))
    plan = parse_plan(render_lines(PLAN_CONTEXT, [row(two)]))
    now = two._replace(roles=two.roles[::-1], project_name="renamed", status="INVITATION_EXPIRED")
    assert SavedPlanFilter(plan).find_keep_reason(now, "r") is None


def test_number_of_earlier_deletions_is_read_back():
    fields = structs.replace(row(invitation(1)), bounced=2, new=True)
    (planned,) = parse_plan(render_lines(PLAN_CONTEXT, [fields])).invitations.values()
    assert (planned.bounced, planned.new) == (2, True)


def test_planned_line_without_a_date_allows_nothing():
    plan = parse_plan(render_lines(PLAN_CONTEXT, [row(invitation(1, created_at=None))]))
    assert SavedPlanFilter(plan).find_keep_reason(invitation(1), "r") == "not_in_plan"
    assert (
        SavedPlanFilter(plan).find_keep_reason(invitation(1, created_at=None), "r") == "not_in_plan"
    )


def test_planned_line_without_a_username_allows_only_one_without():
    plan = parse_plan(render_lines(PLAN_CONTEXT, [row(invitation(1, username=None))]))
    assert SavedPlanFilter(plan).find_keep_reason(invitation(1, username=None), "r") is None
    assert SavedPlanFilter(plan).find_keep_reason(invitation(1), "r") == "not_in_plan"


def test_same_instant_in_another_time_zone_is_equal():
    local = NOW.astimezone().replace(tzinfo=NOW.astimezone().tzinfo) - timedelta(days=20)
    assert SavedPlanFilter(saved(1)).find_keep_reason(invitation(1, created_at=local), "r") is None


def test_planned_invitations_that_are_kept_now_are_counted_by_reason():
    plan_filter = SavedPlanFilter(saved(1, 2, 3))
    plan_filter.record_kept(invitation(1), "keep:board")
    plan_filter.record_kept(invitation(2), "keep:board")
    plan_filter.record_kept(invitation(9), "too_young")
    assert plan_filter.kept_by_reason == {"keep:board": 2}
    assert plan_filter.not_seen == 1


@given(planned=st.sets(st.integers(1, 30)), present=st.lists(st.integers(1, 30), max_size=40))
def test_only_planned_invitations_are_allowed_and_each_once(planned, present):
    plan_filter = SavedPlanFilter(saved(*planned))
    allowed = [n for n in present if plan_filter.find_keep_reason(invitation(n), "r") is None]
    assert set(allowed) <= planned
    assert len(allowed) == len(set(allowed))
    assert plan_filter.not_seen == len(planned) - len(allowed)


@pytest.mark.parametrize(
    ("kept", "count", "sentences"),
    [
        ((), 0, ()),
        (("too_young",), 1, ("1 of the plan's invitations is kept now: too_young.",)),
        (
            ("too_young", "keep:boss", "too_young"),
            3,
            (
                "1 of the plan's invitations is kept now: keep:boss.",
                "2 of the plan's invitations are kept now: too_young.",
            ),
        ),
        ((), 1, ("1 of the plan's invitations was not seen: ",)),
        ((), 1200, ("1,200 of the plan's invitations were not seen: ",)),
    ],
)
def test_planned_invitations_that_are_not_deleted_are_described_by_reason(kept, count, sentences):
    plan_filter = SavedPlanFilter(saved(*range(1, count + 1)))
    for number, reason in enumerate(kept, 1):
        plan_filter.record_kept(invitation(number), reason)
    rest = "gone, or in a list that was not read."
    assert tuple(plan_filter.describe_difference()) == tuple(
        s if s.endswith(".") else s + rest for s in sentences
    )
