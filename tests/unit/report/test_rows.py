"""Every surface shows all roles of an invitation and its history, owners first, then the oldest.

The owner here is an organization user whose only owner role is one in a project.
"""

from datetime import UTC, timedelta
from pathlib import Path

import msgspec
import pytest
from builders import NOW, ORG, invitation, object_id, policy
from hypothesis import given
from hypothesis import strategies as st
from invite_sweeper.report.html.reading import read_report
from invite_sweeper.report.html.rendering import render
from invite_sweeper.report.restore_tables import show_result
from invite_sweeper.report.run_view import RunView, read_view
from invite_sweeper.report.saved_plan import (
    PlanStatus,
    PlanUse,
    SavedPlanResult,
    show_saved_plan,
)
from invite_sweeper.restore.deletions import DeletedInvitation, RestoreOutcome, RestoreResult
from invite_sweeper.restore.report import RestoreReport
from msgspec import to_builtins
from report.scenes import Scene, on_terminal

from invite_sweeper.audit.events import Planned
from invite_sweeper.cli.confirm import render_question
from invite_sweeper.explain import Explainer
from invite_sweeper.json_text import to_json
from invite_sweeper.models import Source, UnreadableDate
from invite_sweeper.policy import Limits
from invite_sweeper.report.rows import role_line, row_of, sorted_rows
from invite_sweeper.sweep.saved_plan import PlanContext, parse_plan, render_lines

OWNER = invitation(
    1,
    username="owner@example.com",
    project_id=ORG,
    project_name="",
    source=Source.ORG_USERS,
    roles=("ORG_MEMBER",),
    project_roles=((object_id(9), "GROUP_OWNER"),),
    linked_projects=((object_id(9), "Blue Lagoon"),),
    age=timedelta(days=15),
)
READER = invitation(2, username="reader@example.com", age=timedelta(days=40), source=Source.INVITES)
PLANNED = (
    Planned.from_invitation(READER, NOW, rule="forgotten"),
    Planned.from_invitation(OWNER, NOW, rule="forgotten", bounced=1),
)
CONTEXT = PlanContext(
    run_id="r1",
    now=NOW.isoformat(),
    tool_version="1.0.0",
    base_url="https://cloud.example.com",
    organizations=(ORG,),
    policy_sha256="a" * 64,
)


@pytest.fixture
def scene(tmp_path) -> Scene:
    found = Scene(tmp_path / "audit.jsonl")
    for planned in PLANNED:
        line = to_builtins(planned)
        found.book.line("planned", **line)
        found.planned.append(line)
    return found


def saved_plan() -> PlanStatus:
    plan = parse_plan(render_lines(CONTEXT, PLANNED))
    return PlanStatus(Path("p"), plan, NOW, timedelta(hours=24), PlanUse())


def plan_text(_scene: Scene, width: int) -> str:
    def show(console):
        show_saved_plan(console, saved_plan(), verbose=False, show_all="")

    return on_terminal(width, show)


def result(scene: Scene, width: int) -> str:
    return scene.printed(width, scene.summary())


def page(scene: Scene, _width: int, fmt: str = "html") -> str:
    text = render(read_report([scene.path]), fmt).replace("<wbr>", "")
    return text.partition("Owners first, then the oldest.")[2]


def markdown(scene: Scene, width: int) -> str:
    return page(scene, width, "md")


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("surface", [result, plan_text, page, markdown])
def test_owner_in_a_project_is_first_with_role_and_history(scene, surface, width):
    text = surface(scene, width)
    assert text.index("owner@example.com") < text.index("reader@example.com")
    assert " ".join(text.split()).count("GROUP_OWNER in Blue Lagoon") == 1
    assert text.count("deleted 1 time before") == 1


@pytest.mark.parametrize("width", [60, 80, 140])
def test_restore_shows_every_role_owners_first_and_why_one_failed(width):
    deletions = [DeletedInvitation("r1", one, "forgotten") for one in (READER, OWNER)]
    failed = RestoreResult(RestoreOutcome.FAILED, error_code="UNEXPECTED_ERROR")
    report = RestoreReport(
        "r2",
        NOW,
        dry_run=False,
        audit_log="log",
        deletions=deletions,
        results={deletions[1]: failed},
    )
    text = on_terminal(width, lambda console: show_result(console, report))
    assert text.index("owner@example.com") < text.index("reader@example.com")
    words = " ".join(text.split())
    assert "GROUP_OWNER in Blue Lagoon" in words
    assert "UNEXPECTED_ERROR" in words


def test_question_names_the_role_and_history_of_the_newest_and_counts_owners(scene):
    summary = scene.summary()
    question = render_question(summary, scene.view(summary), Limits())
    text = on_terminal(200, lambda console: console.print(question))
    newest = next(line for line in text.splitlines() if "newest" in line)
    assert "organization member, GROUP_OWNER in Blue Lagoon, deleted 1 time before" in newest
    assert "owners        1 of them" in text


def test_saved_plan_as_json_is_in_the_order_of_the_rows_and_keeps_the_history():
    result = msgspec.to_builtins(SavedPlanResult.of(saved_plan()))
    first, second = result["invitations"]
    assert (first["username"], first["bounced"]) == ("owner@example.com", 1)
    assert (second["username"], "bounced" in second) == ("reader@example.com", False)


def test_saved_plan_names_its_organizations_and_who_made_it():
    plan = parse_plan(
        render_lines(
            msgspec.structs.replace(CONTEXT, organization_names={ORG: "Acme"}, actors=("client",)),
            [Planned.from_invitation(OWNER, NOW, rule="r")],
        )
    )
    status = saved_plan()._replace(saved=plan)
    result = SavedPlanResult.of(status)
    assert (result.organizations[0].name, result.actors) == ("Acme", ("client",))

    def show(console):
        show_saved_plan(console, status, verbose=False, show_all="")

    text = on_terminal(140, show)
    assert f"of organization Acme ({ORG})" in text
    assert "by       client" in text


def test_explanation_names_the_roles_in_projects():
    owners = policy(
        sources=["org_users"],
        rules=[{"name": "owners", "older_than": "1d", "roles": ["GROUP_OWNER"]}],
    )
    (entry,) = Explainer(owners, NOW).explain(OWNER).rules
    (roles,) = (key for key in entry.keys if key.key == "roles")
    assert (roles.actual, roles.matched) == ("ORG_MEMBER, GROUP_OWNER", True)


@pytest.mark.parametrize(
    ("role", "projects", "text", "style"),
    [
        ("ORG_MEMBER", (), "organization member", "plain"),
        ("GROUP_OWNER", (), "GROUP_OWNER", "privileged"),
        ("GROUP_OWNER", ("a",), "GROUP_OWNER in a", "privileged"),
        ("GROUP_READ_ONLY", ("a", "b"), "read only in 2 projects", "plain"),
        ("GROUP_FUTURE_ROLE", (), "GROUP_FUTURE_ROLE", "strong"),
    ],
)
def test_role_is_one_line_that_names_its_project(role, projects, text, style):
    one = OWNER._replace(
        roles=() if projects else (role,),
        project_roles=tuple((f"id-{name}", role) for name in projects),
        linked_projects=tuple((f"id-{name}", name) for name in projects),
    )
    row = row_of(Planned.from_invitation(one, NOW, rule="r"))
    assert [role_line(each) for each in row.roles] == [(text, style)]


EQUALLY_OLD = [
    *(
        invitation(number, username=f"user-{number}@example.com", source=Source.INVITES)
        for number in range(5)
    ),
    *(
        invitation(number, project_id=object_id(7), project_name="a", source=Source.INVITES)
        for number in range(5, 8)
    ),
]


@given(st.permutations(EQUALLY_OLD), st.integers(1, 8))
def test_rows_of_equal_age_are_the_same_in_any_order_of_arrival(arrived, max_rows):
    def view(invitations) -> RunView:
        planned = [to_builtins(Planned.from_invitation(i, NOW, rule="r")) for i in invitations]
        failed = {
            "outcome": "failed",
            "attempts": 1,
            "http_status": 500,
            "error_code": "X",
            "duration_ms": 1,
        }
        header = {"run_id": "run", "seq": 1, "prev": "0" * 64, "ts": NOW.isoformat()}
        lines = (
            *({**header, "event": "planned", **each} for each in planned),
            *({**header, "event": "outcome", **each, **failed} for each in planned),
        )
        return read_view(map(to_json, lines), {"run"}, max_rows=max_rows)

    shown, expected = view(arrived), view(EQUALLY_OLD)
    assert shown.failed
    assert shown.by_place() == expected.by_place()
    assert (shown.failed, shown.oldest, shown.newest) == (
        expected.failed,
        expected.oldest,
        expected.newest,
    )


ANY_INVITATION = st.builds(
    invitation,
    source=st.sampled_from(list(Source)),
    roles=st.lists(st.sampled_from(["GROUP_OWNER", "GROUP_READ_ONLY"]), max_size=2).map(tuple),
    created_at=st.one_of(
        st.none(), st.just(UnreadableDate("soon")), st.datetimes(timezones=st.just(UTC))
    ),
    project_name=st.sampled_from("ab"),
    username=st.one_of(st.none(), st.sampled_from("xy")),
)


@given(st.lists(ANY_INVITATION))
def test_owners_come_first_then_the_oldest_then_those_without_a_date(invitations):
    rows = sorted_rows(Planned.from_invitation(one, NOW, rule="r") for one in invitations)
    ages = [-1e9 if row.age_days is None else row.age_days for row in rows]
    keys = [(not row.is_owner, -age) for row, age in zip(rows, ages, strict=True)]
    assert keys == sorted(keys)
