"""A saved plan is what was reviewed, or nothing: edits, cuts, age, and what it lets through."""

import hashlib
from datetime import timedelta

import orjson
import pytest
from builders import NOW, ORG, invitation, object_id
from hypothesis import given
from hypothesis import strategies as st

from invite_sweeper.audit import invitation_fields
from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Source, UnreadableDate
from invite_sweeper.sweep.saved_plan import (
    PlanContext,
    SavedPlanFilter,
    check_applicable,
    parse_plan,
    render_lines,
)

MAX_AGE = timedelta(hours=24)
CONTEXT = PlanContext(
    run_id="r1",
    now=NOW.isoformat(),
    tool_version="0.1.0",
    base_url="https://cloud.mongodb.com",
    organizations=(ORG,),
    policy_sha256="a" * 64,
)


def lines(*numbers, context=CONTEXT):
    rows = ({**invitation_fields(invitation(n), NOW), "rule": "r"} for n in numbers)
    return list(render_lines(context, rows))


def saved(*numbers, context=CONTEXT):
    return parse_plan(lines(*numbers, context=context))


def checked(plan=None, *, now=NOW, max_age=MAX_AGE, **present):
    check_applicable(
        plan or saved(1),
        CONTEXT.model_copy(update=present),
        now=now,
        max_age=max_age,
    )


def resealed(body):
    """What somebody who knows the format, and has no key, would write."""
    digest = hashlib.sha256(b"".join(body)).hexdigest()
    return [*body, orjson.dumps({"sha256": digest}) + b"\n"]


def test_plan_reads_back_as_it_was_written():
    plan = saved(1, 2)
    assert plan.context == CONTEXT
    assert plan.created_at == NOW
    assert set(plan.invitations) == {
        ("invites", invitation(n).project_id, object_id(n)) for n in (1, 2)
    }


def test_invitation_of_an_organization_stands_in_the_plan_under_the_organization():
    one = invitation(1, source=Source.ORG_INVITES, project_id=ORG, project_name="")
    plan = parse_plan(render_lines(CONTEXT, [invitation_fields(one, NOW)]))
    assert set(plan.invitations) == {("org_invites", ORG, object_id(1))}
    assert SavedPlanFilter(plan).allows(one)


def test_header_names_the_format_and_what_the_plan_was_made_of():
    header = orjson.loads(lines()[0])
    assert header == {
        "plan": "invite-sweeper plan 1",
        **CONTEXT.model_dump(),
        "organizations": [ORG],
    }


def test_plan_of_nothing_is_a_plan():
    assert saved().invitations == {}


def test_digest_is_that_of_all_the_bytes_before_the_last_line():
    *body, last = lines(1, 2)
    assert orjson.loads(last) == {"sha256": hashlib.sha256(b"".join(body)).hexdigest()}
    assert parse_plan([*body, last]).digest == orjson.loads(last)["sha256"]


@given(data=st.data(), size=st.integers(0, 4))
def test_any_change_of_any_byte_is_refused(data, size):
    whole = bytearray(b"".join(lines(*range(1, size + 1))))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(GuardRefused, match="plan"):
        parse_plan(bytes(whole).splitlines(keepends=True))


@given(data=st.data(), size=st.integers(1, 4))
def test_any_cut_is_refused(data, size):
    whole = b"".join(lines(*range(1, size + 1)))
    kept = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(GuardRefused):
        parse_plan(whole[:kept].splitlines(keepends=True))


@pytest.mark.parametrize("change", ["remove", "add", "swap"])
def test_line_removed_added_or_moved_is_refused(change):
    found = lines(1, 2, 3)
    changed = {
        "remove": [found[0], *found[2:]],
        "add": [*found[:2], lines(9)[1], *found[2:]],
        "swap": [found[0], found[2], found[1], *found[3:]],
    }[change]
    with pytest.raises(GuardRefused) as caught:
        parse_plan(changed)
    assert caught.value.message == (
        "The plan cannot be used. Its digest does not fit: it was edited or cut."
    )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ([], "It is no plan, or was cut"),
        ([b"{}\n"], "It is no plan, or was edited"),
        ([b'{"plan":"another 1"}\n'], "It is no plan, or was edited"),
        ([b"[]\n"], "It is no plan, or was edited"),
        ([lines()[0].replace(b"plan 1", b"plan 2")], "It is a plan of another format"),
        ([lines()[0].replace(b"{", b'{"more":1,', 1)], "It is no plan, or was edited"),
        ([lines()[0], b'{"source":"invites"}\n'], "It is no plan, or was edited"),
        ([lines()[0], b"7\n"], "It is no plan, or was edited"),
        (
            [lines()[0].replace(NOW.isoformat().encode(), b"yesterday")],
            "It holds a date that is none",
        ),
        (
            [lines()[0].replace(NOW.isoformat().encode(), b"2026-11-25T01:00:00")],
            "It holds a date without a zone",
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
def test_what_is_no_plan_is_refused_though_its_digest_fits(body, why):
    with pytest.raises(GuardRefused) as caught:
        parse_plan(resealed(body))
    assert caught.value.message == f"The plan cannot be used. {why}."


def test_file_without_a_line_is_no_plan():
    with pytest.raises(GuardRefused, match="It is no plan, or was cut"):
        parse_plan([])


def test_plan_exactly_as_old_as_it_may_be_passes_and_a_microsecond_more_does_not():
    day = MAX_AGE
    checked(now=NOW + day)
    with pytest.raises(GuardRefused, match="ago"):
        checked(now=NOW + day + timedelta(microseconds=1))


def test_plan_from_the_future_is_refused():
    checked(now=NOW)
    with pytest.raises(GuardRefused, match="still to come"):
        checked(now=NOW - timedelta(microseconds=1))


OTHER_ORGANIZATIONS = "The plan belongs to other organizations than the policy."


@pytest.mark.parametrize(
    ("present", "said"),
    [
        ({"organizations": (ORG, "0" * 24)}, OTHER_ORGANIZATIONS),
        ({"organizations": ()}, OTHER_ORGANIZATIONS),
        (
            {"base_url": "https://cloud.mongodbgov.com"},
            "The plan belongs to https://cloud.mongodb.com, not to https://cloud.mongodbgov.com.",
        ),
        ({"policy_sha256": "b" * 64}, "The plan was made by another policy."),
    ],
    ids=["more", "none", "host", "policy"],
)
def test_plan_of_another_organization_host_or_policy_is_refused(present, said):
    with pytest.raises(GuardRefused) as caught:
        checked(**present)
    assert caught.value.message == said


def test_refusal_says_how_to_make_another():
    with pytest.raises(GuardRefused) as caught:
        checked(base_url="https://elsewhere.example.com")
    assert caught.value.hint == "Make another with: invite-sweeper plan --out FILE"
    assert caught.value.consequence == "Nothing was deleted."


def test_ceiling_admits_what_was_planned_once_and_nothing_else():
    ceiling = SavedPlanFilter(saved(1, 2))
    assert ceiling.allows(invitation(1))
    assert not ceiling.allows(invitation(1))
    assert not ceiling.allows(invitation(3))
    assert ceiling.not_seen == 1


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
def test_ceiling_does_not_admit_what_is_not_the_one_that_was_meant(changes):
    assert not SavedPlanFilter(saved(1)).allows(invitation(1, **changes))


def test_planned_line_without_a_date_lets_nothing_through():
    plan = parse_plan(
        render_lines(CONTEXT, [invitation_fields(invitation(1, created_at=None), NOW)])
    )
    assert not SavedPlanFilter(plan).allows(invitation(1))
    assert not SavedPlanFilter(plan).allows(invitation(1, created_at=None))


def test_planned_line_without_an_address_admits_who_still_has_none():
    plan = parse_plan(render_lines(CONTEXT, [invitation_fields(invitation(1, username=None), NOW)]))
    assert SavedPlanFilter(plan).allows(invitation(1, username=None))
    assert not SavedPlanFilter(plan).allows(invitation(1))


def test_same_instant_written_in_another_way_is_the_same():
    local = NOW.astimezone().replace(tzinfo=NOW.astimezone().tzinfo) - timedelta(days=20)
    assert SavedPlanFilter(saved(1)).allows(invitation(1, created_at=local))


def test_what_is_kept_now_is_counted_by_its_reason():
    ceiling = SavedPlanFilter(saved(1, 2, 3))
    ceiling.record_kept(invitation(1), "keep:board")
    ceiling.record_kept(invitation(2), "keep:board")
    ceiling.record_kept(invitation(9), "too_young")
    assert ceiling.kept_by_reason == {"keep:board": 2}
    assert ceiling.not_seen == 1


@given(planned=st.sets(st.integers(1, 30)), present=st.lists(st.integers(1, 30), max_size=40))
def test_nothing_beyond_the_plan_ever_passes_and_nothing_twice(planned, present):
    ceiling = SavedPlanFilter(saved(*planned))
    passed = [n for n in present if ceiling.allows(invitation(n))]
    assert set(passed) <= planned
    assert len(passed) == len(set(passed))
    assert ceiling.not_seen == len(planned) - len(passed)


@pytest.mark.parametrize(
    ("kept", "count", "said"),
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
def test_what_a_plan_lists_and_a_run_leaves_is_told_by_reason(kept, count, said):
    ceiling = SavedPlanFilter(saved(*range(1, count + 1)))
    for number, reason in enumerate(kept, 1):
        ceiling.record_kept(invitation(number), reason)
    rest = "gone, or in a list that was not read."
    assert tuple(ceiling.describe_difference()) == tuple(
        s if s.endswith(".") else s + rest for s in said
    )
