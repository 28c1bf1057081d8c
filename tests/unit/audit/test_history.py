"""Earlier runs read back from logs: runs, open intents, population, deletion counts."""

import pytest
from audit.written_logs import answer, fields_of, write_events, write_run
from builders import PROJECT, invitation

from invite_sweeper.audit import (
    DeletionHistory,
    Population,
    RunRecord,
    last_population,
    last_sweep_policy,
    open_intents,
    read_runs,
)
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.models import Source

STARTED = ("run_started", {"mode": "sweep"})
FINISHED = ("run_finished", {"exit_code": 0})


def intent(number=1, rule="forgotten", **changes):
    return ("intent", fields_of(invitation(number, **changes), rule))


def outcome(number=1, kind="deleted", more=None, **changes):
    return ("outcome", fields_of(invitation(number, **changes)) | answer(kind) | (more or {}))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


# Runs -----------------------------------------------------------------------------------------


def test_no_runs_in_no_files_and_an_empty_file(path):
    path.touch()
    assert list(read_runs()) == []
    assert list(read_runs(path)) == []
    with pytest.raises(UsageError):
        list(read_runs(path.with_name("missing")))


def test_run_is_read_from_its_first_and_last_line(path):
    write_run(path, "one", mode="dry-run", started={"policy_sha256": "d" * 64, "shard": "1/4"})
    write_run(path, "two", totals={"exit_code": 4})
    first, second = read_runs(path)
    assert (first.run_id, first.mode, first.shard, first.finished) == (
        "one",
        "dry-run",
        "1/4",
        True,
    )
    assert (first.policy_sha256, first.exit_code) == ("d" * 64, 0)
    assert first.start_record["event"] == "run_started"
    assert first.end_record["invitations_seen"] == 3
    assert (second.run_id, second.mode, second.shard, second.exit_code) == ("two", "sweep", None, 4)


def test_unfinished_runs_are_included_in_order(path):
    write_events(path, "killed-1", [STARTED])
    write_events(path, "killed-2", [STARTED])
    write_run(path, "whole")
    write_events(path, "killed-3", [STARTED])
    runs = list(read_runs(path))
    assert [run.run_id for run in runs] == ["killed-1", "killed-2", "whole", "killed-3"]
    assert [run.finished for run in runs] == [False, False, True, False]
    assert runs[0].exit_code is None


def test_run_may_span_two_files_or_lack_its_first_line(tmp_path):
    write_events(tmp_path / "1", "run", [STARTED])
    write_events(tmp_path / "2", "run", [FINISHED])
    (whole,) = read_runs(tmp_path / "1", tmp_path / "2")
    assert (whole.finished, whole.mode) == (True, "sweep")
    (half,) = read_runs(tmp_path / "2")
    assert (half.finished, half.mode, half.policy_sha256) == (True, None, None)
    assert half == RunRecord("run", end_record=half.end_record)


@pytest.mark.parametrize("code", [None, "0", 0.0, True])
def test_exit_code_of_another_type_is_unknown(code):
    assert RunRecord("r", end_record={"exit_code": code}).exit_code is None


@pytest.mark.parametrize("value", [None, 1, ["sweep"]])
def test_start_field_of_another_type_is_unknown(value):
    names = ("mode", "policy_sha256", "shard", "base_url")
    run = RunRecord("r", start_record=dict.fromkeys(names, value))
    assert [getattr(run, name) for name in names] == [None] * 4


# Open intents ---------------------------------------------------------------------------------


def open_numbers(*paths) -> list[tuple[str, int]]:
    found = open_intents(*paths)
    return [(each.run_id, int(each.invitation.id, 16)) for each in found]


def test_finished_run_leaves_no_open_intent(path):
    write_run(path)
    assert open_intents(path) == ()


def test_open_intent_contains_its_invitation_rule_run_and_mode(path):
    write_events(path, "killed", [STARTED, intent(1), intent(2, rule="other"), outcome(1)])
    (found,) = open_intents(path)
    assert (found.invitation, found.rule) == (invitation(2), "other")
    assert (found.run_id, found.mode) == ("killed", "sweep")


def test_open_intents_of_several_runs_are_found_with_their_modes(path):
    write_events(path, "one", [("run_started", {"mode": "restore"}), intent(1)])
    write_events(path, "two", [STARTED, intent(2), intent(1)])
    write_run(path, "three")
    found = open_intents(path)
    assert [(each.run_id, each.mode) for each in found] == [
        ("one", "restore"),
        ("two", "sweep"),
        ("two", "sweep"),
    ]
    assert open_numbers(path) == [("one", 1), ("two", 2), ("two", 1)]


def test_open_intents_have_their_own_run_s_base_url(path):
    write_events(path, "unknown", [STARTED, intent(1)])
    for run_id in ("one", "two"):
        start = ("run_started", {"mode": "sweep", "base_url": f"https://{run_id}.example.com"})
        write_events(path, run_id, [start, intent(1), intent(2), outcome(2)])
    write_run(path, "three", started={"base_url": "https://three.example.com"})
    assert [(each.run_id, each.base_url) for each in open_intents(path)] == [
        ("unknown", None),
        ("one", "https://one.example.com"),
        ("two", "https://two.example.com"),
    ]


def test_recovered_outcome_resolves_only_the_intent_of_the_named_run(path):
    write_events(path, "one", [STARTED, intent(1)])
    write_events(path, "two", [STARTED, intent(1)])
    write_events(path, "three", [STARTED, outcome(1, more={"recovers": "two"}), FINISHED])
    assert open_numbers(path) == [("one", 1)]


def test_outcome_without_recovers_resolves_no_earlier_intent(path):
    write_events(path, "one", [STARTED, intent(1)])
    write_events(path, "two", [STARTED, intent(1), outcome(1), FINISHED])
    assert open_numbers(path) == [("one", 1)]


@pytest.mark.parametrize(
    "change", [{"project_id": "f" * 24}, {"source": Source.USERS}, {"id": "f" * 24}]
)
def test_outcome_of_another_invitation_resolves_no_intent(path, change):
    write_events(path, "one", [STARTED, intent(1), outcome(1, **change)])
    assert len(open_intents(path)) == 1


def test_other_events_of_the_invitation_resolve_no_intent(path):
    fields = fields_of(invitation(1))
    write_events(path, "one", [STARTED, intent(1), ("planned", fields), ("restore", fields)])
    assert open_numbers(path) == [("one", 1)]


def test_open_intent_of_a_run_without_first_line_has_no_mode(path):
    write_events(path, "half", [intent(1)])
    (alone,) = open_intents(path)
    write_run(path, "next")
    (followed,) = open_intents(path)
    assert (alone.run_id, alone.mode) == (followed.run_id, followed.mode) == ("half", None)


def test_intent_in_a_rotated_file_is_resolved_in_the_next(tmp_path):
    write_events(tmp_path / "1", "one", [STARTED, intent(1), intent(2)])
    write_events(tmp_path / "2", "two", [outcome(2, more={"recovers": "one"}), FINISHED])
    assert open_numbers(tmp_path / "1", tmp_path / "2") == [("one", 1)]
    assert [each.mode for each in open_intents(tmp_path / "1", tmp_path / "2")] == ["sweep"]


@pytest.mark.parametrize("rest", [b'{"ts":"2026', b'{"ts":"2026\n', b"\0\0\0", b"\n"])
def test_torn_last_line_is_ignored(path, rest):
    write_events(path, "one", [STARTED, intent(1)])
    path.write_bytes(path.read_bytes() + rest)
    assert open_numbers(path) == [("one", 1)]


def test_last_line_without_a_newline_is_torn_and_ignored(path):
    write_events(path, "one", [STARTED, intent(1), intent(2)])
    path.write_bytes(path.read_bytes()[:-1])
    assert open_numbers(path) == [("one", 1)]


def test_torn_last_line_of_an_earlier_file_is_ignored(tmp_path):
    write_events(tmp_path / "1", "one", [STARTED, intent(1)])
    (tmp_path / "1").write_bytes((tmp_path / "1").read_bytes() + b"{")
    write_run(tmp_path / "2", "two")
    assert open_numbers(tmp_path / "1", tmp_path / "2") == [("one", 1)]


@pytest.mark.parametrize(
    "line",
    [b"\n", b"text\n", b'{"event":"intent"\n', b'["event"]\n', b'[{"event":"intent"}]\n'],
)
def test_damaged_line_before_the_last_is_refused(path, line):
    write_events(path, "one", [STARTED, intent(1)])
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + second)
    with pytest.raises(GuardRefused, match=f"{path}:2") as failed:
        open_intents(path)
    assert failed.value.exit_code == 3
    assert failed.value.hint == (
        "Check it with `audit verify`. Runs go on without the file if it is moved away, "
        "but then without its interrupted deletions, used plans and bounced invitations."
    )


def test_intent_without_an_invitation_is_refused(path):
    write_events(path, "one", [STARTED, ("intent", {"invitation_id": "x"})])
    with pytest.raises(
        GuardRefused, match=r"intent of run one cannot be read: `\w+` is not a string"
    ) as failed:
        open_intents(path)
    assert failed.value.hint == "Check the audit log with `audit verify`."


# Policy and population ------------------------------------------------------------------------


def test_last_policy_is_that_of_the_last_finished_sweep(path):
    path.touch()
    assert last_sweep_policy(path) is None
    write_run(path, "1", started={"policy_sha256": "1" * 64})
    write_run(path, "2", started={"policy_sha256": "2" * 64})
    write_run(path, "3", started={"policy_sha256": "3" * 64}, mode="dry-run")
    write_events(path, "4", [("run_started", {"mode": "sweep", "policy_sha256": "4" * 64})])
    assert last_sweep_policy(path) == "2" * 64


def seen(projects, invitations, code=0, **more):
    return {"projects_seen": projects, "invitations_seen": invitations, "exit_code": code, **more}


def test_no_population_without_a_complete_run(path):
    path.touch()
    assert last_population(path) is None
    write_events(path, "killed", [STARTED])
    assert last_population(path) is None


@pytest.mark.parametrize(
    ("code", "counts"),
    [
        (0, True),
        (4, True),
        (10, True),
        (3, False),
        (8, False),
        (6, False),
        (7, False),
        (None, False),
    ],
)
def test_population_is_that_of_the_last_run_with_exit_code_0_4_or_10(path, code, counts):
    write_run(path, "good", totals=seen(10, 100))
    write_run(path, "later", totals=seen(5, 50, code))
    expected = Population("later", 5, 50) if counts else Population("good", 10, 100)
    assert last_population(path) == expected


def test_population_excludes_deleted_and_gone_invitations(path):
    write_run(path, "r", totals=seen(10, 100, deleted=7, already_gone=2))
    assert last_population(path) == Population("r", 10, 91)


def test_population_ignores_runs_of_other_shards(path):
    write_run(path, "whole", totals=seen(40, 400))
    write_run(path, "part", totals=seen(10, 100), started={"shard": "2/4"})
    assert last_population(path) == Population("whole", 40, 400)
    assert last_population(path, shard="2/4") == Population("part", 10, 100)
    assert last_population(path, shard="1/4") is None


def test_population_ignores_runs_over_other_organizations(path):
    two, one = ["a" * 24, "b" * 24], ["a" * 24]
    write_run(path, "both", totals=seen(40, 400), started={"organizations": two})
    write_run(path, "one", totals=seen(10, 100), started={"organizations": one})
    run_ids = [last_population(path, organizations=frozenset(ids)).run_id for ids in (two, one)]
    assert run_ids == ["both", "one"]
    assert last_population(path, organizations=frozenset(["c" * 24])) is None
    assert last_population(path).run_id == "one"


def test_population_uses_runs_with_unknown_organizations(path):
    write_run(path, "older", totals=seen(10, 100))
    assert last_population(path, organizations=frozenset(["c" * 24])).run_id == "older"


def test_population_ignores_runs_against_another_base_url(path):
    ours, theirs = "https://a.example.com", "https://b.example.com"
    write_run(path, "ours", totals=seen(40, 400), started={"base_url": ours})
    write_run(path, "theirs", totals=seen(10, 100), started={"base_url": theirs})
    run_ids = [last_population(path, base_url=url).run_id for url in (ours, theirs)]
    assert run_ids == ["ours", "theirs"]
    assert last_population(path, base_url="https://c.example.com") is None
    assert last_population(path).run_id == "theirs"


def test_population_uses_runs_with_an_unknown_base_url(path):
    write_run(path, "older", totals=seen(10, 100))
    assert last_population(path, base_url="https://c.example.com").run_id == "older"


@pytest.mark.parametrize("wrong", [{"projects_seen": "5"}, {"invitations_seen": None}])
def test_population_ignores_runs_whose_counts_are_not_numbers(path, wrong):
    write_run(path, "good", totals=seen(10, 100))
    write_run(path, "odd", totals={**seen(5, 50), **wrong})
    assert last_population(path) == Population("good", 10, 100)


# Deletion counts ------------------------------------------------------------------------------


def test_only_outcomes_deleted_are_counted(path):
    username = "person-1@example.com"
    three_deletions = [intent(1), outcome(1)] * 3
    others = [intent(1), outcome(1, "already_gone"), intent(1), outcome(1, "failed")]
    write_events(path, "r", [STARTED, *three_deletions, *others])
    history = DeletionHistory(path)
    assert history.count(username, PROJECT) == 3
    assert history.count("PERSON-1@Example.com", PROJECT) == 3
    assert history.count("person-2@example.com", PROJECT) == 0
    assert history.count(username, "f" * 24) == 0


def test_other_events_with_outcome_deleted_are_not_counted(path):
    write_events(path, "r", [("restore", fields_of(invitation(1)) | {"outcome": "deleted"})])
    assert DeletionHistory(path).count("person-1@example.com", PROJECT) == 0


def test_deletions_of_several_files_are_summed_per_user(tmp_path):
    write_run(tmp_path / "1", "one", numbers=range(1, 50))
    write_run(tmp_path / "2", "two", numbers=range(25, 75))
    history = DeletionHistory(tmp_path / "1", tmp_path / "2")
    counts = [history.count(f"person-{number}@example.com", PROJECT) for number in range(80)]
    assert counts == [0] + [1] * 24 + [2] * 25 + [1] * 25 + [0] * 5
    assert DeletionHistory().count("person-1@example.com", PROJECT) == 0


def test_deletion_of_an_organization_invitation_counts_for_the_organization(path):
    fields = {"outcome": "deleted", "username": "a@example.com", "project_id": None}
    write_events(path, "r", [("outcome", fields | {"org_id": "b" * 24})])
    assert DeletionHistory(path).count("a@example.com", "b" * 24) == 1


def test_deletions_of_a_username_with_a_lone_surrogate_are_counted(path):
    write_events(path, "r", [outcome(1, username="a\udc80")])
    assert DeletionHistory(path).count("a\udc80", PROJECT) == 1


def test_outcomes_without_a_username_or_project_are_not_counted(path):
    without_username = {"outcome": "deleted", "username": None, "project_id": PROJECT}
    without_project = {"outcome": "deleted", "username": "a@example.com", "project_id": None}
    write_events(path, "r", [("outcome", without_username), ("outcome", without_project)])
    assert DeletionHistory(path).count("None", PROJECT) == 0
    assert DeletionHistory(path).count("a@example.com", "None") == 0
