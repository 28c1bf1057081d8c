"""Reading a run back from its audit log: row limits, outcomes and constant memory."""

import tracemalloc

import pytest
from builders import NOW, invitation
from hypothesis import given
from hypothesis import strategies as st
from report.scenes import RUN, Scene

from invite_sweeper.report.run_view import KeptInvitations, load_run_view
from invite_sweeper.sweep.selection import Decision


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path / "audit.jsonl")


def read(scene: Scene, max_rows: int = 50, planned: int | None = None):
    count = len(scene.planned) if planned is None else planned
    return load_run_view(scene.path, {RUN}, start=0, max_rows=max_rows, planned=count)


def test_projects_are_sorted_by_name_and_rows_oldest_first(scene):
    for project, ages in {"b": (20, 40, 30), "A": (15, 50)}.items():
        for number, age in enumerate(ages):
            scene.plan(project, number, age_days=float(age), project_id=project * 24)
    shown = read(scene)
    assert [group.project for group in shown.groups] == ["A", "b"]
    assert [[row.age_days for row in group.rows] for group in shown.groups] == [
        [50.0, 15.0],
        [40.0, 30.0, 20.0],
    ]
    assert (shown.oldest.age_days, shown.newest.age_days) == (50.0, 15.0)
    assert (shown.planned, shown.projects, shown.max_in_project) == (5, 2, 3)


def test_project_with_20_of_20_rows_shows_all_and_with_21_a_fifth(scene):
    for number in range(20):
        scene.plan("Data Lake", number)
    (group,) = read(scene, max_rows=20).groups
    assert (len(group.rows), group.hidden) == (20, 0)
    scene.plan("Data Lake", 20)
    (group,) = read(scene, max_rows=20).groups
    assert (len(group.rows), group.hidden) == (4, 17)


def test_hidden_rows_are_not_older_than_shown_rows(scene):
    ages = [float((n * 37) % 101) for n in range(60)]
    for number, age in enumerate(ages):
        scene.plan("Data Lake", number, age_days=age)
    (group,) = read(scene, max_rows=10).groups
    assert [row.age_days for row in group.rows] == sorted(ages, reverse=True)[:2]


def test_two_lists_of_a_project_form_one_group(scene):
    scene.plan("A", 1, project_id="a" * 24)
    scene.plan("B", 2, project_id="b" * 24)
    scene.plan("A", 3, project_id="a" * 24, source="users")
    shown = read(scene)
    assert [(group.project, group.count) for group in shown.groups] == [("A", 2), ("B", 1)]
    assert shown.projects == 2


def test_organization_invitations_form_a_separate_group(scene):
    scene.plan("A", 1)
    scene.plan("", 2, project_id=None, project_name=None, source="org_users", org_id="c" * 24)
    names = {group.project for group in read(scene).groups}
    assert names == {"A", f"organization {'c' * 24}"}


def test_same_invitation_id_in_two_sources_has_separate_outcomes(scene):
    first = scene.plan("A", 7)
    second = scene.plan("A", 7, source="users")
    for line, outcome in ((first, "deleted"), (second, "already_gone")):
        scene.book.line("outcome", **line, outcome=outcome)
    (group,) = read(scene).groups
    assert sorted(row.outcome for row in group.rows) == ["already_gone", "deleted"]


def test_failures_of_hidden_rows_are_shown(scene):
    for number in range(30):
        scene.plan("Data Lake", number)
    scene.sweep(*["deleted"] * 27, "failed", "unknown", "failed")
    shown = read(scene, max_rows=2)
    assert [row.outcome for row in shown.failed] == ["failed", "unknown"]
    assert [row.detail for row in shown.failed] == ["500 UNEXPECTED_ERROR", "no response"]


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
    assert [group.project for group in shown.groups] == ["Mine"]
    assert shown.unreadable == ()


def test_lines_before_the_start_are_not_read(scene):
    scene.plan("Before", 1)
    start = scene.path.stat().st_size
    scene.plan("After", 2)
    shown = load_run_view(scene.path, {RUN}, start=start, max_rows=9, planned=1)
    assert [group.project for group in shown.groups] == ["After"]


def test_invalid_lines_are_skipped(scene):
    scene.plan("A", 1)
    for junk in (b"", b"{", b"[]", b"\xff\xfe", b'{"event":"planned"}'):
        scene.book.raw(junk)
    scene.book.line("planned", roles="not a list", age_days="old", bounced="often")
    shown = read(scene)
    assert shown.planned == 2


def test_missing_log_raises_oserror(tmp_path):
    with pytest.raises(OSError, match="audit"):
        load_run_view(tmp_path / "audit.jsonl", {RUN}, start=0, max_rows=9, planned=0)


def test_bounced_and_unreadable_rows_are_limited_to_max_rows(scene):
    for number in range(9):
        scene.unreadable(f"P{number}", "timeout")
        scene.plan("A", number, bounced=1)
    shown = read(scene, max_rows=4)
    assert (len(shown.bounced), shown.bounced_count, len(shown.unreadable)) == (4, 9, 4)


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
    assert sum(len(group.rows) for group in shown.groups) <= max_rows
    assert all(group.rows and group.hidden >= 0 for group in shown.groups)
    assert (shown.planned, shown.projects) == (sum(counts), len(counts))
    assert shown.max_in_project == max(counts, default=0)
    if sum(counts) <= max_rows:
        assert [group.count for group in shown.groups] == counts
        assert all(not group.hidden for group in shown.groups)


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
        decision = Decision(invitation(number), None, "too_young" if number % 2 else "no_rule")
        assert kept.record(decision) is decision
    stale = Decision(invitation(), "forgotten", None)
    assert kept.record(stale) is stale
    assert sum(map(len, kept.rows.values())) == 1_000
