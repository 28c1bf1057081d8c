"""Reading a run back from its audit log: row limits, outcomes and constant memory."""

import tracemalloc

import pytest
from builders import NOW, invitation
from hypothesis import given
from hypothesis import strategies as st
from report.scenes import RUN, Scene

from invite_sweeper.models import Source
from invite_sweeper.report.run_view import KeptInvitations, load_run_view
from invite_sweeper.sweep.selection import Decision


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path / "audit.jsonl")


def read(scene: Scene, max_rows: int = 50):
    return load_run_view(scene.path, {RUN}, start=0, max_rows=max_rows)


def plan_ages(scene: Scene, ages: dict[str, tuple[float, ...]], **changes) -> None:
    for project, days in ages.items():
        for number, age in enumerate(days):
            defaults = {"roles": ["GROUP_READ_ONLY"], "project_id": project * 24}
            scene.plan(project, number, age_days=float(age), **{**defaults, **changes})


def shown_ages(shown) -> dict[str, list[float]]:
    return {group.place.name: [row.age_days for row in group.rows] for group in shown.by_place()}


@pytest.mark.parametrize("role", ["GROUP_OWNER", "ORG_OWNER"])
def test_owners_come_before_older_invitations_and_their_project_before_others(scene, role):
    plan_ages(scene, {"a": (50, 40)})
    plan_ages(scene, {"z": (15,)}, roles=["GROUP_READ_ONLY", role])
    plan_ages(scene, {"z": (45,)})
    assert list(shown_ages(read(scene)).items()) == [("z", [15.0, 45.0]), ("a", [50.0, 40.0])]


@pytest.mark.parametrize(("max_rows", "ages"), [(1, [15.0]), (2, [15.0, 60.0])])
def test_long_plan_is_cut_after_owners_and_the_oldest_not_in_the_alphabet(scene, max_rows, ages):
    plan_ages(scene, {"a": tuple(range(20, 40))})
    plan_ages(scene, {"z": (60, *range(20, 30))})
    plan_ages(scene, {"z": (15,)}, roles=["GROUP_OWNER"])
    shown = read(scene, max_rows=max_rows)
    assert shown_ages(shown) == {"z": ages}
    assert [group.hidden for group in shown.by_place()] == [12 - max_rows]
    assert (shown.planned, shown.projects) == (32, 2)


@pytest.mark.parametrize(("count", "hidden"), [(20, 0), (21, 0), (22, 2)])
def test_20_rows_are_shown_and_more_are_counted_but_never_only_one(scene, count, hidden):
    for number in range(count):
        scene.plan("Data Lake", number)
    (group,) = read(scene, max_rows=20).by_place()
    assert (len(group.rows), group.hidden) == (count - hidden, hidden)


def test_hidden_rows_are_not_older_than_shown_rows(scene):
    ages = [float((n * 37) % 101) for n in range(60)]
    plan_ages(scene, {"d": tuple(ages)})
    (group,) = read(scene, max_rows=10).by_place()
    assert [row.age_days for row in group.rows] == sorted(ages, reverse=True)[:10]


def test_two_lists_of_a_project_form_one_group(scene):
    scene.plan("A", 1, project_id="a" * 24)
    scene.plan("B", 2, project_id="b" * 24)
    scene.plan("A", 3, project_id="a" * 24, source="users")
    shown = read(scene)
    assert [(group.place.name, group.count) for group in shown.by_place()] == [("A", 2), ("B", 1)]
    assert shown.projects == 2


def test_organization_invitations_form_a_separate_group(scene):
    scene.plan("A", 1)
    scene.plan("", 2, project_id=None, project_name=None, source="org_users", org_id="c" * 24)
    names = {group.place.name for group in read(scene).by_place()}
    assert names == {"A", f"organization {'c' * 24}"}


def test_same_invitation_id_in_two_sources_has_separate_outcomes(scene):
    first = scene.plan("A", 7)
    second = scene.plan("A", 7, source="users")
    for line, outcome in ((first, "deleted"), (second, "already_gone")):
        scene.book.line("outcome", **line, outcome=outcome)
    assert sorted(row.outcome for row in read(scene).rows) == ["already_gone", "deleted"]


def test_failures_of_hidden_rows_are_shown(scene):
    for number in range(30):
        scene.plan("Data Lake", number)
    scene.sweep(*["deleted"] * 27, "failed", "unknown", "failed")
    shown = read(scene, max_rows=2)
    failed = {(row.outcome, row.detail) for row in shown.failed}
    assert failed == {("failed", "500 UNEXPECTED_ERROR"), ("unknown", "no response")}


def test_deletion_time_is_from_first_request_to_last_response(scene):
    for number in range(3):
        scene.plan("Data Lake", number)
    scene.sweep("deleted", "deleted", "skipped")
    # one line per millisecond: intent, outcome, intent, outcome, and a skipped one
    assert read(scene).deleting_s == pytest.approx(0.003)


def test_dry_run_has_no_deletion_time(scene):
    scene.plan("Data Lake", 1)
    assert read(scene).deleting_s is None


def test_other_runs_in_the_same_log_are_not_shown(scene):
    scene.plan("Mine", 1)
    scene.book.run_id = "another"
    scene.plan("Theirs", 2)
    scene.unreadable("Theirs", "timeout")
    shown = read(scene)
    assert [group.place.name for group in shown.by_place()] == ["Mine"]
    assert shown.unreadable == ()


def test_lines_before_the_start_are_not_read(scene):
    scene.plan("Before", 1)
    start = scene.path.stat().st_size
    scene.plan("After", 2)
    shown = load_run_view(scene.path, {RUN}, start=start, max_rows=9)
    assert [group.place.name for group in shown.by_place()] == ["After"]


def test_invalid_lines_are_skipped(scene):
    scene.plan("A", 1)
    for junk in (b"", b"{", b"[]", b"\xff\xfe", b'{"event":"planned"}'):
        scene.book.raw(junk)
    scene.book.line("planned", roles="not a list", age_days="old", bounced="often")
    shown = read(scene)
    assert shown.planned == 1


def test_missing_log_raises_oserror(tmp_path):
    with pytest.raises(OSError, match="audit"):
        load_run_view(tmp_path / "audit.jsonl", {RUN}, start=0, max_rows=9)


def test_rows_and_unreadable_projects_are_limited_to_max_rows_and_counted(scene):
    for number in range(9):
        scene.unreadable(f"P{number}", "timeout")
        scene.plan("A", number, bounced=1)
    shown = read(scene, max_rows=4)
    assert (len(shown.rows), shown.bounced, len(shown.unreadable)) == (4, 9, 4)


@given(
    counts=st.lists(st.integers(1, 12), max_size=6),
    max_rows=st.integers(1, 30),
)
def test_at_most_max_rows_are_shown_and_all_are_counted(tmp_path_factory, counts, max_rows):
    scene = Scene(tmp_path_factory.mktemp("log") / "audit.jsonl")
    number = 0
    for project, count in enumerate(counts):
        for _ in range(count):
            number += 1
            scene.plan(f"P{project}", number, project_id=f"{project:024x}")
    shown = read(scene, max_rows=max_rows)
    assert sum(len(group.rows) for group in shown.by_place()) <= max_rows + len(counts)
    assert all(group.rows and group.hidden not in {-1, 1} for group in shown.by_place())
    assert (shown.planned, shown.projects) == (sum(counts), len(counts))
    assert shown.max_in_project == max(counts, default=0)
    if sum(counts) <= max_rows:
        assert sorted(group.count for group in shown.by_place()) == sorted(counts)
        assert all(not group.hidden for group in shown.by_place())


def test_rows_are_shared_out_among_organizations_and_each_shows_its_owners_and_oldest(scene):
    plan_ages(scene, {"a": tuple(range(60, 80))}, org_id="1" * 24)
    plan_ages(scene, {"b": (15, 16, 17)}, org_id="2" * 24)
    plan_ages(scene, {"b": (14,)}, org_id="2" * 24, roles=["ORG_OWNER"])
    shown = read(scene, max_rows=5)
    assert shown_ages(shown) == {"b": [14.0, 17.0], "a": [79.0, 78.0, 77.0]}


def test_each_of_51_organizations_shows_one_row_at_least(scene):
    for number in range(51):
        project = {"project_id": f"{number:024x}", "org_id": f"{number + 100:024x}"}
        plan_ages(scene, {f"p{number}": (20, 30, 40)}, **project)
    shown = read(scene, max_rows=50)
    assert list(shown_ages(shown).values()) == [[40.0]] * 51
    assert [group.hidden for group in shown.by_place()] == [2] * 51


@pytest.mark.parametrize(("elsewhere", "shown_of_b"), [(1, ["b0"]), (2, [])])
def test_one_invitation_in_the_only_other_project_is_shown_instead_of_counted(
    scene, elsewhere, shown_of_b
):
    plan_ages(scene, {"a": (60, 50)})
    for number in range(elsewhere):
        plan_ages(scene, {f"b{number}": (20,)}, project_id=f"{number:024x}")
    shown = read(scene, max_rows=2)
    assert list(shown_ages(shown)) == ["a", *shown_of_b]
    assert list(map(sum, shown.hidden_by_organization().values())) == [2] * (not shown_of_b)


def test_memory_for_5000_planned_lines_is_that_for_500(tmp_path):
    peaks = []
    for count in (500, 5_000):
        scene = Scene(tmp_path / f"{count}.jsonl")
        for number in range(count):
            scene.plan(f"P{number % 7}", number, project_id=f"{number % 7:024x}")
        scene.sweep()
        tracemalloc.start()
        read(scene)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_at_most_1000_kept_invitations_are_recorded():
    kept = KeptInvitations(NOW)
    for number in range(1_001):
        decision = Decision(
            invitation(number, source=Source.INVITES),
            None,
            "too_young" if number % 2 else "no_rule",
        )
        assert kept.record(decision) is decision
    stale = Decision(invitation(source=Source.INVITES), "forgotten", None)
    assert kept.record(stale) is stale
    assert len(kept.rows("too_young")) + len(kept.rows("no_rule")) == 1_000
