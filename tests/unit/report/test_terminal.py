"""Terminal output of runs at 60, 80 and 140 columns, compared with snapshots."""

import re
from collections.abc import Callable

import pytest
from report.hostile import HOSTILE
from report.scenes import ORG, RUN, Scene, kept_invitations, on_terminal
from report.snapshots import assert_snapshot
from rich.cells import cell_len

from invite_sweeper.audit.events import ComparedRun, PlanChanges
from invite_sweeper.cli.confirm import render_question
from invite_sweeper.endings import RunWarning, WarningCode, WarningLevel
from invite_sweeper.policy import Limits
from invite_sweeper.report.record_table import RecordTable
from invite_sweeper.report.run_view import RunView
from invite_sweeper.sweep.summary import OrganizationSummary, RunSummary

WIDTHS = (60, 80, 140)
NEVER_WRAPPED = re.compile(r"Show all: |Audit  |Last hash +[0-9a-f]{64}$")
REASON = "Atlas answered 401 USER_UNAUTHORIZED: the credentials lack the role Project Owner."
OVER_LIMIT = {
    "message": "7 stale invitations are over max_deletions: 5.",
    "consequence": "Nothing was deleted.",
    "hint": "Raise the limit.",
}
DEADLINE = {
    "message": "The deadline of 60 minutes passed.",
    "consequence": "The audit log is complete.",
    "hint": "Run the command again.",
}
UNAUTHORIZED = {
    "message": "Organization Beta (0123456789abcdef01234567): Atlas answered 401.",
    "consequence": "Nothing was deleted.",
    "hint": "Check the credentials.",
}


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path / "audit.jsonl")


def plan_some(scene: Scene) -> None:
    for number in range(5):
        scene.plan("Data Lake", number)
    for number in range(5, 7):
        scene.plan("Billing (staging)", number, inviter="wkzjqvtb", rule="forgotten")


def dry_run(scene: Scene, width: int) -> str:
    plan_some(scene)
    reasons = {"too_young": 11, "keep:board": 2, "no_date": 1}
    return scene.printed(width, scene.summary(kept=14, kept_by_reason=reasons))


def sweep(scene: Scene, width: int) -> str:
    plan_some(scene)
    scene.sweep(
        *("deleted", "failed", "already_gone", "unknown"),
        *("skipped", "accepted_before", "accepted_during"),
    )
    summary = scene.summary(mode="sweep", exit_code=4, retries=3, rate_limited=1)
    return scene.printed(width, summary)


def empty(scene: Scene, width: int) -> str:
    return scene.printed(width, scene.summary(projects_seen=1, requests=2))


def truncated(scene: Scene, width: int) -> str:
    for project in range(8):
        for number in range(14):
            scene.plan(f"Project {project + 1}", 14 * project + number)
    return scene.printed(width, scene.summary(exit_code=10), max_rows=20)


def refused(scene: Scene, width: int) -> str:
    plan_some(scene)
    summary = scene.summary(mode="sweep", exit_code=3, error=OVER_LIMIT)
    return scene.printed(width, summary)


def partial(scene: Scene, width: int) -> str:
    scene.unreadable("prod-eu", REASON)
    scene.unreadable("", "No answer within 90 s.")
    scene.plan("Data Lake", 1, bounced=2)
    scene.plan("Data Lake", 2)
    scene.sweep()
    return scene.printed(
        width,
        scene.summary(
            mode="sweep",
            stale=6,
            trimmed=4,
            invitations_seen=9,
            projects_unreadable=2,
            kept=3,
            kept_by_reason={"bounced": 2, "a_new_reason": 1},
            exit_code=4,
            recovered=1,
            sunset="2027-05-01",
        ),
    )


def many_unreadable(scene: Scene, width: int) -> str:
    for number in range(5):
        scene.unreadable(f"prod-{number}", REASON)
    return scene.printed(width, scene.summary(projects_unreadable=5, exit_code=4), max_rows=3)


def verbose(scene: Scene, width: int) -> str:
    plan_some(scene)
    kept = (("too_young", 4), ("keep:board", 2))
    summary = scene.summary(kept=9, kept_by_reason={"too_young": 6, "keep:board": 2, "no_date": 1})
    return scene.printed(width, summary, kept=kept_invitations(6, *kept))


def stopped(scene: Scene, width: int) -> str:
    plan_some(scene)
    scene.sweep(*["deleted"] * 2, *["skipped"] * 5)
    return scene.printed(width, scene.summary(mode="sweep", exit_code=8))


def failed(scene: Scene, width: int) -> str:
    """The audit log could not be written: there is only a plan."""
    plan_some(scene)
    return scene.printed(width, scene.summary(mode="sweep", exit_code=7, skipped=7))


def changed_since_the_last_plan(scene: Scene, width: int) -> str:
    for number in range(3):
        scene.plan("Data Lake", number, **({"new": True} if number else {}))
    scene.plan("Billing", 3, new=True, username=f"{'long-name.' * 7}@example.com")
    compared = ComparedRun("run-0", "sweep", "2026-11-24T01:02:03Z")
    return scene.printed(width, scene.summary(changes=PlanChanges((compared,), 3, 1, 12, 2, 4)))


def deadline_while_reading_dry_run(scene: Scene, width: int) -> str:
    return scene.printed(width, scene.summary(exit_code=8, error=DEADLINE, plan_made=False))


def one_organization_failed_dry_run(scene: Scene, width: int) -> str:
    """Acme has a plan; Beta's credentials are refused."""
    plan_some(scene)
    seen = {"projects_seen": 2, "invitations_seen": 7, "stale": 7, "plan_made": True}
    acme = OrganizationSummary(ORG, "Acme", RUN, **seen)
    beta = OrganizationSummary("0123456789abcdef01234567", "Beta", RUN, 5, UNAUTHORIZED)
    end = {"exit_code": 4, "error": UNAUTHORIZED, "organizations": (beta, acme)}
    return scene.printed(width, scene.summary(projects_seen=2, **end))


def hostile(scene: Scene, width: int) -> str:
    wide = "\u6771\u4eac\u7814\u7a76\u6240"
    names = {
        "wide": f"{wide * 3}@\u4f8b\u3048.example",
        "four bytes": "\U0001f99c\U0001f1ee\U0001f1f8\U0002070e@example.com",
        "combining": "z\u0335\u0321\u034e@example.com",
        "right to left": "\u05e9\u05dc\u05d5\u05dd@example.com",
        "override": "invoice\u202egnp.exe",
        "controls": "a\x00b\x07c\x1b[31md\re\nf\tg\x7fh\x85i\u2028j",
        "long": "x" * 10_000,
        "long and wide": wide * 2_000,
        "surrogate": "a\ud800b",
        "nothing": "",
    }
    for number, (project, name) in enumerate(names.items()):
        project_name = project if number % 2 else name
        scene.plan(
            project_name, number, username=name, inviter=name, rule=name[:30], roles=[name, name]
        )
    reasons = {f"keep:{name[:20]}": 1 for name in names.values()}
    return scene.printed(width, scene.summary(kept=len(reasons), kept_by_reason=reasons))


def prompt(scene: Scene, width: int) -> str:
    plan_some(scene)
    summary = scene.summary(invitations_seen=21, kept=14)
    return printed_question(width, summary, scene.view(summary), Limits())


def prompt_trimmed(scene: Scene, width: int) -> str:
    scene.plan("Data Lake", 1)
    scene.plan("Elsewhere", 2, org_id="c" * 24)
    summary = scene.summary(stale=40, trimmed=38, invitations_seen=60)
    limits = Limits(over_limit="trim", max_deletions=2)
    return printed_question(width, summary, scene.view(summary), limits)


def records(scene: Scene, width: int) -> str:
    """`audit show` of a whole run."""
    plan_some(scene)
    scene.unreadable("prod-eu", REASON)
    scene.plan("\u6771\u4eac " * 3, 7, username="a\x1b[31m@\u4f8b\u3048.example [bold]b[/]")
    scene.sweep("deleted", "failed", "already_gone", "unknown", "skipped")
    scene.book.finish(4, stale=8, deleted=4)
    return printed_records(width, scene.book.events())


def records_none(_scene: Scene, width: int) -> str:
    return printed_records(width, [])


def test_question_says_what_is_announced_and_waits(scene):
    scene.plan("Data Lake", 1)
    message = "2 invitations announced, 1 due, 3 wait until 4 December 2026, 01:00 UTC or later."
    remark = RunWarning(WarningCode.NOTICE, message, WarningLevel.REMARK)
    summary = scene.summary(stale=1, invitations_seen=6, warnings=(remark,))
    printed = printed_question(120, summary, scene.view(summary), Limits())
    assert message in printed


def printed_question(width: int, summary: RunSummary, view: RunView, limits: Limits) -> str:
    question = render_question(summary, view, limits)
    return on_terminal(width, lambda console: console.print(question, end=""))


def printed_records(width: int, events) -> str:
    def write(console):
        table = RecordTable(console)
        for record in events:
            table.add(record)
        table.close()

    return on_terminal(width, write)


def test_retired_sources_are_listed_and_an_empty_log_has_no_last_hash(scene):
    plan_some(scene)
    printed = scene.printed(
        80, scene.summary(sources_retired=("invites", "org_invites"), audit_last_hash="")
    )
    assert "Atlas no longer serves these lists: invites, org_invites" in printed
    assert "Last hash" not in printed


def test_user_in_two_lists_has_one_row_naming_both_lists(scene):
    one = {"username": "ann@example.com", "project_id": "a" * 24, "roles": []}
    scene.plan("Data Lake", 1, **one)
    scene.plan("Data Lake", 2, source="users", **one)
    scene.sweep("deleted", "failed")
    printed = scene.printed(100, scene.summary(mode="sweep"))
    assert printed.count("ann@example.com") == 2  # one row, and one failure
    assert "in 2 lists: users, invites" in printed  # the older one first


def test_kept_invitation_without_a_date_has_no_age():
    kept = kept_invitations(5, ("no_date", 1), created_at=None)
    (row,) = kept.rows("no_date")
    assert (row.username, row.age_days) == ("person-1@example.com", None)


def test_question_omits_unknown_ages(scene):
    summary = scene.summary(stale=1)
    view = RunView(counts={"a" * 24: 1})
    printed = printed_question(80, summary, view, Limits())
    assert "limits" in printed
    assert not set(printed.split()) & {"oldest", "newest"}


@pytest.mark.parametrize("count", [499, 500, 501, 1000])
def test_log_of_499_to_1000_records_is_shown_completely_under_one_header(count):
    events = [{"ts": "2026-11-25T01:02:03Z", "event": "intent"}] * count
    printed = printed_records(140, events).splitlines()
    assert (len(printed), printed[0].split()[0]) == (count + 1, "TIME")
    assert sum(line.startswith("TIME") for line in printed) == 1
    assert len(printed_records(80, events).splitlines()) == count  # no detail lines


CASES: tuple[Callable[[Scene, int], str], ...] = (
    dry_run,
    sweep,
    empty,
    truncated,
    refused,
    partial,
    many_unreadable,
    deadline_while_reading_dry_run,
    one_organization_failed_dry_run,
    changed_since_the_last_plan,
    verbose,
    stopped,
    failed,
    hostile,
    prompt,
    prompt_trimmed,
    records,
    records_none,
)
"""What no scene that is played against the simulated Atlas shows."""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_output_matches_its_snapshot_and_fits_the_terminal(scene, case, width):
    printed = case(scene, width)
    for line in printed.split("\n"):
        assert cell_len(line) <= width or NEVER_WRAPPED.match(line)
        assert line == line.rstrip()
    assert_snapshot(f"{case.__name__}-{width}", printed)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("width", [1, 7, 20, 500])
def test_output_is_printed_at_unusual_widths(scene, case, width):
    assert case(scene, width)


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_names_neither_move_the_cursor_nor_start_a_line(scene, value, width):
    scene.unreadable(value, value)
    scene.plan(value, 1, username=value, inviter=value, rule=value, roles=[value], bounced=1)
    scene.sweep("failed")
    summary = scene.summary(
        mode="sweep",
        projects_unreadable=1,
        kept=1,
        kept_by_reason={f"keep:{value}": 1},
        audit_log=value,
        exit_code=4,
    )
    kept = kept_invitations(9, (f"keep:{value}", 1), username=value, project_name=value)
    printed = scene.printed(width, summary, kept=kept)
    printed += printed_question(width, summary, scene.view(summary), Limits())
    fields = (
        "ts",
        "run_id",
        "event",
        "project_name",
        "username",
        "reason",
        "rule",
        "actor",
        "mode",
    )
    for event in (value, "planned", "outcome", "project_unreadable", "run_started", "run_finished"):
        printed += printed_records(width, [{**dict.fromkeys(fields, value), "event": event}])
    assert not set(printed) & set(
        "\x00\x07\x1b\r\t\x7f\x85\u2028\u202e\u2066\u2067\u200b\u200d\ufeff"
    )
    lines = printed.split("\n")
    assert all(cell_len(line) <= width or NEVER_WRAPPED.match(line) for line in lines)


def test_sweep_names_the_key_that_approved_its_plan(scene):
    scene.book.start(RUN, plan_approved_by="SHA256:key")
    assert "Approved by   the key SHA256:key" in scene.printed(80, scene.summary(mode="sweep"))


@pytest.mark.parametrize("width", [60, 80, 120, 140])
def test_failures_leave_addresses_and_project_names_whole_at_any_width(scene, width):
    project = "project-with-a-very-long-name-that-has-no-blank"
    for number in range(3):
        scene.plan(project, number, username=f"a.long.name.{number}@subsidiary.example.com")
    scene.sweep("failed", "failed", "failed")
    printed = scene.printed(width, scene.summary(mode="sweep", exit_code=4))
    _, _, section = printed.partition("Not as planned")
    assert section.count(project) == section.count("@subsidiary.example.com") == 3
    assert section.count("failed: 500 UNEXPECTED_ERROR") == 3
