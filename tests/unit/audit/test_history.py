"""Earlier runs read back from logs: runs, open intents, population, deletion counts."""

from datetime import date
from itertools import islice

import pytest
from audit.written_logs import answer, fields_of, write_events, write_run
from builders import ORG, invitation
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from invite_sweeper.audit import LinePosition, PlanScope, RunRecord, read_events, read_history
from invite_sweeper.audit.checkpoint import Checkpoint, sign
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.models import Population, Source
from invite_sweeper.notes import key_ids

STARTED = ("run_started", {"mode": "sweep"})
FINISHED = ("run_finished", {"exit_code": 0})
RESTORED = ("run_finished", {"wanted": 1, "exit_code": 0})
URL = "https://a.example.com"
NOTE = sign(
    Checkpoint("log.jsonl", 2, 99, "ab" * 32, "1"), Ed25519PrivateKey.from_private_bytes(bytes(32))
)


def intent(number=1, rule="forgotten", **changes):
    return ("intent", fields_of(invitation(number, **changes), rule))


def outcome(number=1, kind="deleted", more=None, **changes):
    return ("outcome", fields_of(invitation(number, **changes)) | answer(kind) | (more or {}))


# Names of organizations -----------------------------------------------------------------------


def names(path, run_id, value):
    write_events(path, run_id, [STARTED, ("run_finished", {"organization_names": value})])


def test_name_of_an_organization_is_the_last_one_recorded(path):
    names(path, "one", {"a": "Acme", "b": "Beta"})
    names(path, "two", {"a": "Acme Industries"})
    write_events(path, "earlier version", [STARTED, FINISHED])
    write_events(path, "killed", [STARTED])
    assert read_history([path]).organization_names() == {"a": "Acme Industries", "b": "Beta"}


def test_active_members_of_a_dry_run_count_only_where_no_sweep_has_read_them(path):
    for mode, members in [
        ("sweep", {"a": 10, "c": 3}),
        ("sweep", {"a": 9}),
        ("dry-run", {"a": 1, "b": 4}),
        ("dry-run", {"b": 5}),
    ]:
        started = ("run_started", {"mode": mode})
        write_events(path, f"{mode}-{members}", [started, ("run_finished", {"members": members})])
    write_events(path, "restore", [("run_started", {"mode": "restore"}), RESTORED])
    history = read_history([path])
    assert history.members("https://cloud.mongodb.com") == {"a": 9, "b": 5, "c": 3}
    assert history.members("https://cloud.mongodbgov.com") == {}


def test_end_of_a_list_is_the_last_one_recorded_against_the_same_base_url(path):
    for run_id, base_url, sunsets in [
        ("1", URL, {"invites": "2027-07-01", "users": "2030-01-01"}),
        ("2", URL, {"invites": "2027-09-01"}),
        ("3", "https://b.example.com", {"invites": "2028-01-01"}),
        ("4", URL, {"list_of_a_later_version": "2028-01-01"}),
        ("5", URL, {"invites": "soon"}),
    ]:
        started = ("run_started", {"base_url": base_url})
        write_events(path, run_id, [started, ("run_finished", {"sunsets": sunsets})])
    started = ("run_started", {"mode": "restore", "base_url": URL})
    write_events(path, "6", [started, RESTORED])
    assert read_history([path]).sunsets(URL) == {
        Source.INVITES: date(2027, 9, 1),
        Source.USERS: date(2030, 1, 1),
    }


def test_key_is_that_of_the_newest_run_that_is_signed(path):
    assert read_history([]).key_id is None
    for run_id, env, note in (("1", "KEY", NOTE), ("2", None, NOTE.partition("\n\n")[0])):
        started = ("run_started", {"signing_key_env": env})
        write_events(path, run_id, [started, FINISHED, ("checkpoint", {"note": note})])
    history = read_history([path])
    assert (history.key_id, history.signing_key_env) == (key_ids(NOTE)[0], "KEY")


# Runs -----------------------------------------------------------------------------------------


def test_no_runs_in_no_files_and_an_empty_file(path):
    path.touch()
    assert read_history([]).runs == read_history([path]).runs == []
    with pytest.raises(UsageError):
        read_history([path.with_name("missing")])


def test_run_is_read_from_its_first_and_last_line(path):
    write_run(path, "one", mode="dry-run", started={"policy_sha256": "d" * 64})
    write_run(path, "two", totals={"exit_code": 4})
    first, second = read_history([path]).runs
    assert (first.run_id, first.mode, first.finished) == ("one", "dry-run", True)
    assert (first.policy_sha256, first.exit_code) == ("d" * 64, 0)
    assert first.start.tool_version == "1.0.0"
    assert first.end.invitations_seen == 3
    assert (second.run_id, second.mode, second.exit_code) == ("two", "sweep", 4)


def test_unfinished_runs_are_included_in_order(path):
    write_events(path, "killed-1", [STARTED])
    write_events(path, "killed-2", [STARTED])
    write_run(path, "whole")
    write_events(path, "killed-3", [STARTED])
    runs = read_history([path]).runs
    assert [run.run_id for run in runs] == ["killed-1", "killed-2", "whole", "killed-3"]
    assert [run.finished for run in runs] == [False, False, True, False]
    assert runs[0].exit_code is None


def test_run_may_span_two_files_or_lack_its_first_line(tmp_path):
    write_events(tmp_path / "1", "run", [STARTED])
    write_events(tmp_path / "2", "run", [FINISHED])
    (whole,) = read_history([tmp_path / "1", tmp_path / "2"]).runs
    assert (whole.finished, whole.mode) == (True, "sweep")
    (half,) = read_history([tmp_path / "2"]).runs
    assert (half.finished, half.mode, half.policy_sha256) == (True, None, None)
    assert half == RunRecord("run", end=half.end, finished_at=half.finished_at)
    write_events(tmp_path / "3", "rest", [("project_unreadable", {}), FINISHED])
    (rest,) = read_history([tmp_path / "3"]).runs
    assert (rest.run_id, rest.mode) == ("rest", None)


# Open intents ---------------------------------------------------------------------------------


def open_numbers(*paths) -> list[tuple[str, int]]:
    found = read_history(paths).open_intents()
    return [(each.run_id, int(each.invitation.id, 16)) for each in found]


def test_finished_run_leaves_no_open_intent(path):
    write_run(path)
    assert read_history([path]).open_intents() == ()


def test_open_intent_contains_its_invitation_rule_run_and_mode(path):
    write_events(path, "killed", [STARTED, intent(1), intent(2, rule="other"), outcome(1)])
    history = read_history([path])
    (found,) = history.open_intents()
    assert (found.invitation, found.rule) == (invitation(2), "other")
    assert (found.run_id, found.mode) == ("killed", "sweep")
    assert history.open_requests() == {"killed": 1}
    assert history.run("killed").mode == "sweep"
    assert history.run("another") is None


def test_open_intents_of_several_runs_are_found_with_their_modes(path):
    write_events(path, "one", [("run_started", {"mode": "restore"}), intent(1)])
    write_events(path, "two", [STARTED, intent(2), intent(1)])
    write_run(path, "three")
    found = read_history([path]).open_intents()
    assert [(each.run_id, each.mode) for each in found] == [
        ("one", "restore"),
        ("two", "sweep"),
        ("two", "sweep"),
    ]
    assert open_numbers(path) == [("one", 1), ("two", 2), ("two", 1)]


def test_open_intents_have_their_own_run_s_base_url(path):
    for run_id in ("one", "two"):
        start = ("run_started", {"mode": "sweep", "base_url": f"https://{run_id}.example.com"})
        write_events(path, run_id, [start, intent(1), intent(2), outcome(2)])
    write_run(path, "three", started={"base_url": "https://three.example.com"})
    assert [(each.run_id, each.base_url) for each in read_history([path]).open_intents()] == [
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
    assert len(read_history([path]).open_intents()) == 1


def test_open_intent_of_a_run_without_first_line_has_no_mode(path):
    write_events(path, "half", [intent(1)])
    (alone,) = read_history([path]).open_intents()
    write_run(path, "next")
    (followed,) = read_history([path]).open_intents()
    assert (alone.run_id, alone.mode) == (followed.run_id, followed.mode) == ("half", None)


def test_intent_in_a_rotated_file_is_resolved_in_the_next(tmp_path):
    write_events(tmp_path / "1", "one", [STARTED, intent(1), intent(2)])
    write_events(tmp_path / "2", "two", [outcome(2, more={"recovers": "one"}), FINISHED])
    assert open_numbers(tmp_path / "1", tmp_path / "2") == [("one", 1)]
    assert [
        each.mode for each in read_history([tmp_path / "1", tmp_path / "2"]).open_intents()
    ] == ["sweep"]


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
        read_history([path]).open_intents()
    assert failed.value.exit_code == 3
    assert failed.value.hint == (
        "Check it with `audit verify`. Runs go on without the file if it is moved away, "
        "but then without its interrupted deletions, used plans and bounced invitations."
    )


# Policy and population ------------------------------------------------------------------------


def test_last_sweep_is_the_last_finished_one(path):
    path.touch()
    assert read_history([path]).last_sweep() is None
    write_run(path, "1", started={"policy_sha256": "1" * 64})
    write_run(path, "2", started={"policy_sha256": "2" * 64, "quarantine": True})
    write_run(path, "3", started={"policy_sha256": "3" * 64}, mode="dry-run")
    write_events(path, "4", [("run_started", {"mode": "sweep", "policy_sha256": "4" * 64})])
    found = read_history([path]).last_sweep()
    assert (found.run_id, found.policy_sha256, found.start.quarantine) == ("2", "2" * 64, True)


ORG_A, ORG_B = "a" * 24, "b" * 24
SCOPE = "5" * 64
NOTHING = Population()


def left(projects=10, visible=12, **invitations):
    return {"projects": projects, "visible_projects": {ORG_A: visible}, "invitations": invitations}


def write_night(path, run_id, remaining, code=0, mode="sweep", totals=None, **started):
    head = {"scope_sha256": SCOPE, "base_url": URL, **started}
    write_run(
        path,
        run_id,
        mode=mode,
        numbers=(),
        started=head,
        totals={"exit_code": code, "remaining": remaining, **(totals or {})},
    )


def population_of(*paths, **changes):
    options = {
        "scope_sha256": SCOPE,
        "organizations": frozenset([ORG_A]),
        "base_url": URL,
    }
    return read_history(paths).population(**{**options, **changes})


def test_no_population_without_a_complete_run(path):
    path.touch()
    assert population_of(path) == NOTHING
    write_events(path, "killed", [STARTED])
    assert population_of(path) == NOTHING


def test_population_is_what_the_last_complete_sweep_left(path):
    write_night(path, "1", left(9, 10, invites=50))
    write_night(path, "2", left(10, 12, invites=40, users=7))
    assert population_of(path) == Population(10, {ORG_A: 12}, {"invites": 40, "users": 7})


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
    ],
)
def test_population_is_that_of_runs_with_exit_code_0_4_or_10(path, code, counts):
    write_night(path, "good", left(10))
    write_night(path, "later", left(5), code)
    assert population_of(path).projects == (5 if counts else 10)


def test_source_that_a_later_run_did_not_read_keeps_its_count(path):
    write_night(path, "1", left(invites=50, users=20))
    write_night(path, "2", left(invites=49), 4)
    assert population_of(path).invitations == {"invites": 49, "users": 20}


@pytest.mark.parametrize(
    ("totals", "invites"),
    [
        ({"projects_unreadable": 0}, 5),
        ({"projects_unreadable": 1}, 50),
        ({"projects_unreadable": 1, "plan_complete": False}, 5),
    ],
    ids=["all read", "one unreadable, earlier version", "one unreadable"],
)
def test_invitations_of_an_earlier_version_count_only_if_it_read_every_list(path, totals, invites):
    write_night(path, "1", left(10, invites=50))
    write_night(path, "2", left(9, invites=5), 4, totals=totals)
    found = population_of(path)
    assert (found.projects, found.invitations) == (9, {"invites": invites})


def test_counts_by_list_are_those_of_the_last_complete_sweep_before_those_of_a_dry_run(path):
    lists = {"dry-run": {f"invites {ORG_A}": 2}, "sweep": {f"invites {ORG_B}": 3}}
    for mode, counts in lists.items():
        for code, remaining in ((0, counts), (8, {"invites x": 9})):
            write_night(path, f"{mode} {code}", left() | {"lists": remaining}, code, mode)
        assert population_of(path).lists == counts
    write_night(path, "dry", left() | {"lists": {"invites y": 1}}, mode="dry-run")
    write_night(path, "other", left() | {"lists": {"invites z": 1}}, scope_sha256="6" * 64)
    history = read_history([path])
    assert population_of(path).lists == lists["sweep"]
    assert population_of(path, base_url="https://b.example.com").lists == {}
    assert {len(run.end.remaining.lists) for run in history.runs} == {0}


def test_dry_runs_count_until_there_was_a_sweep(path):
    write_night(path, "1", left(30, 31, invites=3), mode="dry-run")
    write_night(path, "2", left(20, 21, invites=2, users=9), mode="dry-run")
    first = population_of(path)
    assert first == Population(20, {ORG_A: 21}, {"invites": 2, "users": 9})
    write_night(path, "3", left(10, 11, invites=1))
    write_night(path, "4", left(1, 1, invites=0, users=0), mode="dry-run")
    later = population_of(path)
    assert later == Population(10, {ORG_A: 11}, {"invites": 1, "users": 0})


def test_restore_leaves_no_population(path):
    write_night(path, "1", left(), mode="restore")
    assert population_of(path) == NOTHING


@pytest.mark.parametrize(
    "other",
    [{"scope_sha256": "6" * 64}, {"scope_sha256": None}],
    ids=["scope", "unknown scope"],
)
@pytest.mark.parametrize("mode", ["sweep", "dry-run"])
def test_of_another_scope_only_the_visible_projects_count(path, other, mode):
    write_night(path, "other", left(10, 12, invites=40), mode=mode, **other)
    assert population_of(path) == Population(0, {ORG_A: 12}, {})


def test_visible_projects_of_the_same_scope_count_before_those_of_another(path):
    write_night(path, "same", left(10, 12))
    write_night(path, "other", left(5, 6), scope_sha256="6" * 64)
    assert population_of(path).visible_projects == {ORG_A: 12}


def test_visible_projects_of_any_sweep_count_before_those_of_a_dry_run(path):
    write_night(path, "other", left(5, 40), scope_sha256="6" * 64)
    write_night(path, "dry", left(10, 12, invites=3), mode="dry-run")
    assert population_of(path) == Population(10, {ORG_A: 40}, {"invites": 3})


def test_population_ignores_other_organizations_and_base_urls(path):
    two = {ORG_A: 1, ORG_B: 2}
    write_night(path, "two", {**left(), "visible_projects": two})
    assert population_of(path).visible_projects == {ORG_A: 1}
    assert population_of(path, organizations=frozenset(two)).visible_projects == two
    assert population_of(path, base_url="https://b.example.com") == NOTHING


# Deletions ------------------------------------------------------------------------------------


def test_only_outcomes_deleted_are_counted(path):
    three_deletions = [intent(1), outcome(1)] * 3
    others = [intent(1), outcome(1, "already_gone"), intent(1), outcome(1, "failed")]
    write_events(path, "r", [STARTED, *three_deletions, *others])
    deletions = read_history([path]).deletions
    assert deletions.count(invitation(1)) == 3
    assert deletions.count(invitation(9, username="PERSON-1@Example.com")) == 3
    for name in (
        "\uff50erson-1@example.com",
        "person-1@example.com.",
        "person-\u200b1@example.com",
    ):
        assert deletions.count(invitation(9, username=name)) == 3
    assert deletions.count(invitation(2)) == 0
    assert deletions.count(invitation(1, project_id="f" * 24)) == 0


@pytest.mark.parametrize(
    ("kind", "gone"),
    [("deleted", True), ("already_gone", True), ("failed", False), ("unknown", False)],
)
def test_user_is_gone_after_a_deletion_or_where_the_invitation_was_gone(path, kind, gone):
    write_events(path, "r", [STARTED, intent(1), outcome(1, kind)])
    history = read_history([path])
    assert history.is_gone(invitation(1).user_key) is gone
    assert not history.is_gone(invitation(2).user_key)


def test_deletions_of_several_files_are_summed_for_each_user(tmp_path):
    write_run(tmp_path / "1", "one", numbers=range(1, 50))
    write_run(tmp_path / "2", "two", numbers=range(30, 70))
    deletions = read_history([tmp_path / "1", tmp_path / "2"]).deletions
    assert [deletions.count(invitation(n)) for n in (1, 29, 30, 49, 50, 69, 70)] == [
        *(1, 1, 2, 2, 1, 1, 0)
    ]


def test_organization_s_invitation_is_counted_apart_from_those_of_projects(path):
    one = invitation(1, source=Source.ORG_INVITES, project_id=ORG, project_name="")
    fields = fields_of(one)
    write_events(path, "r", [STARTED, ("intent", fields), ("outcome", fields | answer())])
    deletions = read_history([path]).deletions
    assert (deletions.count(one), deletions.count(invitation(1))) == (1, 0)


# Runs in numbers ------------------------------------------------------------------------------


def test_planned_lines_and_outcomes_are_counted_for_each_run(path):
    write_events(path, "one", [STARTED, ("planned", {}), intent(1)])
    recovered = outcome(1, "already_gone", {"recovered": True, "recovers": "one"})
    write_events(path, "two", [STARTED, recovered, intent(2), outcome(2), FINISHED])
    one, two = read_history([path]).runs
    assert (one.planned, one.outcomes, one.resolved) == (1, {}, {})
    assert (two.planned, two.outcomes, two.resolved) == (0, {"deleted": 1}, {"already_gone": 1})
    assert one.finished_at == "" != two.finished_at


def test_order_is_that_of_the_lines_not_of_the_clock(path):
    write_run(path, "late", started={"now": "2030-01-01T00:00:00Z", "policy_sha256": "1" * 64})
    write_run(path, "early", started={"now": "2020-01-01T00:00:00Z", "policy_sha256": "2" * 64})
    history = read_history([path])
    assert [run.run_id for run in history.runs] == ["late", "early"]
    assert history.last_sweep().policy_sha256 == "2" * 64


def test_plan_of_each_policy_is_remembered(path):
    for run_id, policy, number in (("1", "a", 1), ("2", "b", 2), ("3", "a", 3)):
        head = ("run_started", {"mode": "dry-run", "policy_sha256": policy * 64, "base_url": URL})
        planned = ("planned", fields_of(invitation(number)))
        write_events(path, run_id, [head, planned, ("run_finished", {"plan_made": True})])
    history = read_history([path])
    found = [history.last_plan(PlanScope(each * 64, frozenset(), URL)) for each in "abc"]
    assert [None if plan is None else plan.run.run_id for plan in found] == ["3", "2", None]
    assert list(found[0].planned) == [hash(invitation(3).key)]


def test_plan_knows_the_lists_that_were_not_read(path):
    unread = [
        ("project_unreadable", {"project_id": ORG_B, "source": "invites", "org_id": ORG_A}),
        ("project_unreadable", {"source": "org_users", "org_id": ORG_A}),
        ("source_retired", {"source": "users"}),
    ]
    head = ("run_started", {"policy_sha256": "a" * 64, "base_url": URL})
    write_events(path, "1", [head, *unread, ("run_finished", {"plan_made": True, "exit_code": 4})])
    plan = read_history([path]).last_plan(PlanScope("a" * 64, frozenset(), URL))
    assert plan.unread == {("invites", ORG_B), ("org_users", ORG_A), "users"}


@pytest.mark.parametrize(
    ("change", "name"), [({"id": "../x"}, "invitation_id"), ({"project_id": ".."}, "project_id")]
)
def test_intent_with_an_id_that_cannot_be_requested_is_refused(path, change, name):
    write_events(path, "one", [STARTED, intent(1, **change)])
    with pytest.raises(GuardRefused) as failed:
        read_history([path]).open_intents()
    assert failed.value.message == f"An intent of run one cannot be read: `{name}` is not an id."
    assert failed.value.hint == "Check the audit log with `audit verify`."
    assert failed.value.reasons == (Reason.EARLIER_RUNS,)


def test_field_of_another_type_is_a_damaged_line(path):
    write_run(path)
    path.write_bytes(path.read_bytes().replace(b'"roles":[', b'"roles":1,"x":[', 1))
    with pytest.raises(GuardRefused, match=f"damaged at {path}:2"):
        read_history([path])
    damaged = []
    (run,) = read_history([path], on_damaged=damaged.append).runs
    assert (damaged, run.planned) == ([LinePosition(path, 2)], 2)


def test_event_of_a_later_version_is_skipped(path):
    write_run(path, "one")
    path.write_bytes(path.read_bytes().replace(b'"event":"planned"', b'"event":"foreseen"'))
    (run,) = read_history([path]).runs
    assert (run.planned, run.outcomes) == (0, {"deleted": 3})


def test_each_line_is_observed_and_the_check_is_called_every_10000_lines(path):
    write_run(path, numbers=range(6000))
    seen, checks = [], []
    read_history([path], check=lambda: checks.append(len(seen)), observe=seen.append)
    assert len(seen) == 18_002
    assert seen[:3] == list(islice(read_events([path]), 3))
    assert checks == [0, 10_000]
