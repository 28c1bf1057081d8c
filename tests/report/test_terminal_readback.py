"""What is read back from an audit log for the terminal: cut fairly, in flat memory."""

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


def read(scene: Scene, most: int = 50, planned: int | None = None):
    count = len(scene.planned) if planned is None else planned
    return load_run_view(scene.path, RUN, start=0, max_rows=most, planned=count)


def test_rows_stand_oldest_first_within_projects_by_name(scene):
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


def test_one_project_that_fits_shows_all_and_one_more_row_cuts_it_to_its_share(scene):
    for number in range(20):
        scene.plan("Data Lake", number)
    (whole,) = read(scene, most=20).groups
    assert (len(whole.rows), whole.hidden) == (20, 0)
    scene.plan("Data Lake", 20)
    (part,) = read(scene, most=20).groups
    assert (len(part.rows), part.hidden) == (4, 17)


def test_rows_that_are_cut_are_never_older_than_those_that_are_shown(scene):
    ages = [float((n * 37) % 101) for n in range(60)]
    for number, age in enumerate(ages):
        scene.plan("Data Lake", number, age_days=age)
    (group,) = read(scene, most=10).groups
    assert [row.age_days for row in group.rows] == sorted(ages, reverse=True)[:2]


def test_two_lists_of_one_project_are_one_group(scene):
    scene.plan("A", 1, project_id="a" * 24)
    scene.plan("B", 2, project_id="b" * 24)
    scene.plan("A", 3, project_id="a" * 24, source="users")
    shown = read(scene)
    assert [(group.project, group.count) for group in shown.groups] == [("A", 2), ("B", 1)]
    assert shown.projects == 2


def test_list_of_an_organization_is_a_group_of_its_own(scene):
    scene.plan("A", 1)
    scene.plan("", 2, project_id=None, project_name=None, source="org_users", org_id="c" * 24)
    names = {group.project for group in read(scene).groups}
    assert names == {"A", f"organization {'c' * 24}"}


def test_same_id_in_two_sources_keeps_its_own_outcome(scene):
    first = scene.plan("A", 7)
    second = scene.plan("A", 7, source="users")
    for line, outcome in ((first, "deleted"), (second, "already_gone")):
        scene.book.line("outcome", **line, outcome=outcome)
    (group,) = read(scene).groups
    assert sorted(row.outcome for row in group.rows) == ["already_gone", "deleted"]


def test_failures_are_shown_though_their_rows_are_cut(scene):
    for number in range(30):
        scene.plan("Data Lake", number)
    scene.sweep(*["deleted"] * 27, "failed", "unknown", "failed")
    shown = read(scene, most=2)
    assert [row.outcome for row in shown.failed] == ["failed", "unknown"]
    assert [row.detail for row in shown.failed] == ["500 UNEXPECTED_ERROR", "no answer"]


def test_time_of_the_deletions_is_from_the_first_call_to_the_last_answer(scene):
    for number in range(3):
        scene.plan("Data Lake", number)
    scene.sweep("deleted", "deleted", "skipped")
    # a line a millisecond: intent, outcome, intent, outcome, and one that was never sent
    assert read(scene).deleting_s == pytest.approx(0.003)


def test_dry_run_has_no_time_of_deletions(scene):
    scene.plan("Data Lake", 1)
    assert read(scene).deleting_s is None


def test_other_runs_in_the_same_log_are_not_shown(scene):
    scene.plan("Mine", 1)
    scene.book.run_id = "another"
    scene.plan("Theirs", 2)
    scene.lose("Theirs", "no answer")
    shown = read(scene)
    assert [group.project for group in shown.groups] == ["Mine"]
    assert shown.unreadable == ()


def test_lines_before_the_start_are_not_read(scene):
    scene.plan("Before", 1)
    start = scene.path.stat().st_size
    scene.plan("After", 2)
    shown = load_run_view(scene.path, RUN, start=start, max_rows=9, planned=1)
    assert [group.project for group in shown.groups] == ["After"]


def test_damaged_lines_are_passed_over(scene):
    scene.plan("A", 1)
    for junk in (b"", b"{", b"[]", b"\xff\xfe", b'{"event":"planned"}'):
        scene.book.raw(junk)
    scene.book.line("planned", roles="no list", age_days="old", bounced="often")
    shown = read(scene)
    assert shown.planned == 2


def test_missing_log_is_told(tmp_path):
    with pytest.raises(OSError, match="audit"):
        load_run_view(tmp_path / "audit.jsonl", RUN, start=0, max_rows=9, planned=0)


def test_returned_ones_and_lost_projects_are_bounded_and_counted(scene):
    for number in range(9):
        scene.lose(f"P{number}", "no answer")
        scene.plan("A", number, bounced=1)
    shown = read(scene, most=4)
    assert (len(shown.bounced), shown.bounced_count, len(shown.unreadable)) == (4, 9, 4)


@given(
    counts=st.lists(st.integers(1, 12), max_size=6),
    most=st.integers(1, 30),
)
def test_no_more_rows_than_asked_and_every_one_counted(tmp_path_factory, counts, most):
    scene = Scene(tmp_path_factory.mktemp("log") / "audit.jsonl")
    number = 0
    for project, count in enumerate(counts):
        for _ in range(count):
            number += 1
            scene.plan(f"P{project}", number, project_id=f"{project:024x}")
    shown = read(scene, most=most)
    assert sum(len(group.rows) for group in shown.groups) <= most
    assert all(group.rows and group.hidden >= 0 for group in shown.groups)
    assert (shown.planned, shown.projects) == (sum(counts), len(counts))
    assert shown.max_in_project == max(counts, default=0)
    if sum(counts) <= most:
        assert [group.count for group in shown.groups] == counts
        assert all(not group.hidden for group in shown.groups)


def test_long_plan_is_read_in_flat_memory(tmp_path):
    peaks = []
    for count in (500, 5_000):
        scene = Scene(tmp_path / f"{count}.jsonl")
        for number in range(count):
            scene.plan(f"P{number % 7}", number, project_id=f"{number % 7:024x}")
        scene.sweep()
        tracemalloc.start()
        read(scene, most=50)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_at_most_1000_kept_names_are_in_memory():
    names = kept_names_by_default(1_001)
    assert sum(map(len, names.rows.values())) == 1_000


def kept_names_by_default(count: int) -> KeptInvitations:
    names = KeptInvitations(NOW)
    for number in range(count):
        decision = Decision(invitation(number), None, "too_young" if number % 2 else "no_rule")
        assert names.record(decision) is decision
    stale = Decision(invitation(), "forgotten", None)
    assert names.record(stale) is stale
    return names
