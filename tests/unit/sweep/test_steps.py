"""A saved plan: what it lists bounds what is deleted."""

from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from audit.runs import finished, started, write_run
from builders import NOW, ORG, entry_of, invitation, object_id, policy
from hypothesis import given
from hypothesis import strategies as st
from reviewed import assert_reviewed
from sweep.night import command_of, line_of, refusal

from invite_sweeper.audit import AuditDirectory, History, SavedPlan
from invite_sweeper.audit.events import MissingAccepted
from invite_sweeper.models import Source
from invite_sweeper.sweep.guards import check_plan, why_possibly_used
from invite_sweeper.sweep.selection import Decision
from invite_sweeper.sweep.steps import KeepOutsidePlan

DAY = timedelta(days=1)
HOST = "https://cloud.mongodb.com"
SHA256 = "5abc" * 16


def stale(number=1, rule="r", **changes):
    return Decision(invitation(number, **{"source": Source.INVITES, **changes}), rule, None)


def kept(number=1, reason="too_young"):
    return Decision(invitation(number, source=Source.INVITES), None, reason)


def outside(*decisions):
    return KeepOutsidePlan(map(line_of, decisions))


def saved(*decisions, start=None, sha256=SHA256):
    start = start or started(mode="dry-run")
    return SavedPlan(Path("p.jsonl"), "dry", start, tuple(map(line_of, decisions)), sha256)


@pytest.mark.parametrize(
    "changes",
    [
        {"username": None},
        {"created_at": None},
        {"created_at": "x"},
        {"created_at": NOW - 15 * DAY},
        {"project_id": object_id(99)},
        {"org_id": object_id(98)},
        {"source": Source.ORG_INVITES},
    ],
    ids=str,
)
def test_invitation_with_another_name_date_or_place_is_not_in_the_plan(changes):
    assert outside(stale())(stale(**changes)).keep_reason == "not_in_plan"


def test_order_of_roles_another_name_status_or_time_zone_is_not_a_change():
    roles = ("GROUP_OWNER", "GROUP_READ_ONLY")
    local = (NOW - 20 * DAY).astimezone()
    shown = {"project_name": "renamed", "status": "INVITATION_EXPIRED", "created_at": local}
    assert outside(stale(roles=roles))(stale(roles=roles[::-1], **shown)).stale


@pytest.mark.parametrize("created_at", [None, "x"])
def test_planned_line_without_a_date_allows_nothing(created_at):
    planned = stale(created_at=created_at)
    for now in (stale(), stale(created_at=created_at)):
        assert outside(planned)(now).keep_reason == "not_in_plan"


def person(*lists):
    """Return the invitation of a person in these lists; the first one names it."""
    named, *others = map(entry_of, lists)
    return Decision(named, "r", None, entries=tuple(others))


def test_delete_may_end_fewer_entries_than_the_plan_showed_and_none_that_it_did_not():
    of_two = person(Source.ORG_USERS, Source.USERS)
    assert outside(of_two)(person(Source.ORG_USERS)).stale
    assert outside(of_two)(of_two).stale
    of_three = person(Source.ORG_USERS, Source.USERS, Source.ORG_INVITES)
    step = outside(of_two)
    assert step(of_three).keep_reason == "changed_since_plan"


def test_what_was_another_invitation_when_the_plan_was_made_is_kept_and_reported():
    lists = Source.USERS, Source.ORG_INVITES
    step = outside(*map(person, lists))
    assert step(person(Source.ORG_USERS, *lists)).keep_reason == "not_in_plan"
    assert [each.partition(" because")[0] for each in step.differences()] == [
        "2 of the plan's invitations are kept"
    ]


@given(st.sets(st.integers(1, 30)), st.lists(st.tuples(st.integers(1, 30), st.booleans())))
def test_planned_invitations_are_allowed_once_unless_one_is_kept_and_no_others(planned, present):
    step = outside(*map(stale, planned))
    first = {}
    for number, is_stale in present:
        first.setdefault(number, is_stale)
    allowed = [n for n, is_stale in present if step(stale(n) if is_stale else kept(n)).stale]
    assert allowed == [n for n, is_stale in first.items() if is_stale and n in planned]


RULES = policy()


def apply(*, age=DAY, history=None, expected=None, **start):
    own = {"mode": "dry-run", "policy_sha256": RULES.sha256, "organizations": (ORG,), **start}
    plan, history = saved(stale(), start=started(**own)), history or History()
    command = command_of(RULES, saved=plan, now=NOW + age, history=history)
    check_plan(command, max_age=DAY, sha256=expected)


def test_plan_may_be_applied_up_to_its_greatest_age_and_from_a_machine_5_minutes_ahead():
    """And with its hash, as a person may write it."""
    for age in (DAY, timedelta(), timedelta(minutes=-5)):
        apply(age=age, expected=f" {SHA256.upper()}\n")
    check_plan(command_of(RULES), max_age=DAY)  # no plan was given


DIFFERENCES = {
    "no invitation": ((), 0, 0),
    "one is kept": (["too_young"], 0, 0),
    "three are kept": (["too_young", "keep:boss", "too_young"], 0, 0),
    "one has changed": ((), 1, 0),
    "three have changed": ((), 3, 0),
    "one is not seen": ((), 0, 1),
    "1,200 are not seen": ((), 0, 1200),
}
"""Of a plan: for which reasons it is kept now, and how many have changed or were not seen."""
REFUSED = {
    "too old": {"age": DAY + timedelta(microseconds=1)},
    "of a time to come": {"age": -timedelta(minutes=5, microseconds=1)},
    "for one organization more": {"organizations": (ORG, "0" * 24)},
    "for no organization": {"organizations": ()},
    "for another Atlas": {"base_url": "https://cloud.mongodbgov.com"},
    "of another policy": {"policy_sha256": "b" * 64},
    "of another hash": {"expected": "f" * 64},
    "of no hash": {"expected": ""},
}


def test_what_is_told_of_a_saved_plan_is_as_it_was_reviewed():
    parts = []
    for name, (reasons, changed, unseen) in DIFFERENCES.items():
        step = outside(*map(stale, range(len(reasons) + changed + unseen)))
        for number, reason in enumerate(reasons):
            step(kept(number, reason))
        for number in range(changed):
            step(stale(number, rule="another"))
        step(kept(5000, "not planned"))
        parts += [f"== {name}", *step.differences()]
    parts += [f"== {name}\n{refusal(apply, **options)}" for name, options in REFUSED.items()]
    assert_reviewed("\n".join(parts) + "\n", Path(__file__).with_name("saved_plan.txt"))


def test_plan_that_a_sweep_completed_is_refused(directory):
    for number, applied in enumerate(("6" * 64, SHA256), start=1):
        apply(history=History.read(directory, NOW))
        write_run(directory, f"r{number}", start=started(plan_sha256=applied), end=finished())
    history = History.read(directory, NOW)
    assert "Run 2 has already applied the plan.\nNothing" in refusal(apply, history=history)


@pytest.mark.parametrize("made_at", [NOW, NOW - timedelta(hours=1), NOW + timedelta(hours=1)])
@pytest.mark.parametrize("is_accepted_before", [True, False])
def test_plan_is_refused_that_a_lost_run_may_have_applied(directory, made_at, is_accepted_before):
    """It ran before another run accepted that its file is lost, so it cannot know a later plan."""
    write_run(directory, "r1")
    write_run(directory, "r2").unlink()
    if is_accepted_before:
        write_run(directory, "r3", MissingAccepted((2,)))
    history = History()
    recent = {"period": timedelta(), "back": timedelta(days=1)}
    history.add_recent(directory, NOW, **recent, accepts_missing=True)
    if is_accepted_before and made_at > NOW:
        assert why_possibly_used("dry", made_at, history) == ""
        return
    assert why_possibly_used("dry", made_at, history) == (
        "The file of a run is lost: whether that run has applied the plan is not known."
    )


@pytest.mark.parametrize(
    ("holder", "is_refused"), [("r2", True), ("r1", False), ("dry", False), (None, False)]
)
@pytest.mark.parametrize("is_held", [True, False], ids=["by a sweep", "to pass it on"])
def test_plan_is_refused_where_head_and_the_file_of_the_run_that_held_the_lock_last_are_missing(
    directory, holder, is_refused, is_held
):
    """Without HEAD, the lock alone names a sweep whose file is gone."""
    write_run(directory, "r1")
    (directory.path / "HEAD").unlink()
    if holder is not None:
        with directory.lock.hold(run_id=holder, now=NOW, command="sweep --plan p.jsonl"):
            pass
    now = AuditDirectory(directory.path)
    with now.lock.hold(run_id="r3", now=NOW, command="sweep") if is_held else nullcontext():
        history = History.read(now, NOW)
    if not is_refused:
        apply(history=history)
        return
    assert refusal(apply, history=history) == (
        "p.jsonl: HEAD, and a file of run r2, which held the lock last, are missing in the audit "
        "directory: whether that run has applied the plan is not known.\nNothing was deleted.\n"
        "-> Restore that file from a copy. If it is lost, create a new plan with: "
        "invite-sweeper plan --policy policy.yaml\nplan"
    )
