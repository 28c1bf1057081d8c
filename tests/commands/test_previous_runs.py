"""What an earlier run left: open intents, a population, a policy; and damage that refuses."""

import json
import signal
from datetime import timedelta

import pytest
from audit.written_logs import fields_of, write_events, write_run
from builders import ORG, OTHER_ORG, invitation, object_id
from running import desk_in, wait_until

from invite_sweeper.simulator import faults
from invite_sweeper.sweep.previous_runs import PreviousRuns

DAYS = timedelta(days=1)
HERE, ELSEWHERE = "https://here.example.com", "https://elsewhere.example.com"


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as found:
        yield found


def stock(desk, projects=2, stale=3, young=0):
    ids = []
    for number in range(projects):
        project = desk.sim.add_project(f"Project {number} {len(desk.sim.requests)}")
        ids.append(project)
        for n in range(stale):
            desk.sim.invite(project, f"s{n}@example.com", age=20 * DAYS)
        for n in range(young):
            desk.sim.invite(project, f"y{n}@example.com", age=2 * DAYS)
    return ids


def verified(desk):
    return desk.run("audit", "verify", "audit/invite-sweeper.jsonl", "--output", "json")


def all_announced_are_sent(desk):
    """A group of intents is on disk before the first of its DELETEs goes out."""
    return desk.deletes() >= 3 and desk.deletes() == len(desk.lines("intent"))


def killed_in_flight(desk, *, late):
    """Kill a sweep while all its DELETEs hang, before or after Atlas executes them."""
    desk.sim.faults.add(faults.hang(late=late), method="DELETE", times=999)
    process = desk.start("sweep", "--policy", "policy.yaml")
    wait_until(lambda: all_announced_are_sent(desk))
    process.kill()
    process.communicate()
    desk.sim.faults.clear()


@pytest.mark.parametrize("late", [True, False], ids=["carried out", "not carried out"])
def test_next_sweep_resolves_the_intents_of_a_killed_one_before_its_own(desk, late):
    stock(desk)
    killed_in_flight(desk, late=late)
    assert verified(desk).code == 3
    opened = len(desk.lines("intent"))
    done = desk.sweep()
    assert (done.code, done.summary["recovered"]) == (0, opened)
    recovered = [line for line in desk.lines("outcome") if line.get("recovered")]
    assert [line["outcome"] for line in recovered] == [
        "already_gone" if late else "failed"
    ] * opened
    assert {line["recovers"] for line in recovered} == {desk.lines("run_started")[0]["run_id"]}
    events = [line["event"] for line in desk.lines() if line["run_id"] == done.summary["run_id"]]
    assert events[: opened + 1] == ["run_started", *["outcome"] * opened]
    assert desk.sim.invitation_count() == 0
    assert verified(desk).code == 0


def test_dry_run_leaves_open_intents_for_the_next_sweep(desk):
    stock(desk)
    killed_in_flight(desk, late=True)
    assert desk.plan().code == 0
    assert not [line for line in desk.lines("outcome") if line.get("recovered")]
    assert desk.sweep().summary["recovered"] > 0


def test_open_intent_of_an_unreadable_project_stays_open_and_is_reported(desk):
    (project, _) = stock(desk)
    killed_in_flight(desk, late=True)
    desk.sim.limit_access(project)
    done = desk.sweep()
    assert done.code == 4
    assert any("unresolved" in sentence for sentence in done.summary["warnings"])
    desk.sim.restore_access(project)
    assert desk.sweep().code == 0
    assert verified(desk).code == 0


def test_signal_twice_ends_at_once_with_the_intents_on_disk(desk):
    stock(desk)
    desk.sim.faults.add(faults.hang(late=True), method="DELETE", times=999)
    process = desk.start("sweep", "--policy", "policy.yaml", "--output", "json")
    wait_until(lambda: all_announced_are_sent(desk))
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    while b"stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 8
    summary = json.loads(out)
    assert summary["unknown"] == len(desk.lines("intent")) > 0
    assert verified(desk).code == 0


@pytest.mark.parametrize("org_id", [ORG, OTHER_ORG])
@pytest.mark.parametrize("base_url", [HERE, ELSEWHERE, None])
def test_open_intents_are_those_of_our_organizations_at_our_base_url_or_an_unknown_one(
    tmp_path, org_id, base_url
):
    log = tmp_path / "log.jsonl"
    url_field = {} if base_url is None else {"base_url": base_url}
    one = fields_of(invitation(1, org_id=org_id))
    write_events(log, "killed", [("run_started", {"mode": "sweep", **url_field}), ("intent", one)])
    found = PreviousRuns([log]).open_intents(frozenset([ORG]), HERE)
    ours = org_id == ORG and base_url != ELSEWHERE
    assert [each.invitation.id for each in found] == [object_id(1)] * ours


def test_open_intents_of_another_organization_stay_open_for_a_run_over_it(desk):
    stock(desk)
    killed_in_flight(desk, late=False)
    opened = len(desk.lines("intent"))
    organizations = desk.keys["organizations"]
    desk.sim.add_organization(OTHER_ORG, "Other Industries")
    desk.sim.add_project("Elsewhere", OTHER_ORG)
    desk.keys["organizations"] = [OTHER_ORG]
    theirs = desk.sim.add_token(OTHER_ORG)
    done = desk.sweep(MONGODB_ATLAS_ACCESS_TOKEN=theirs.secret)
    assert (done.code, done.summary["warnings"], desk.lines("outcome")) == (0, [], [])
    desk.keys["organizations"] = organizations
    assert desk.sweep().summary["recovered"] == opened


def test_open_intents_of_another_base_url_stay_open_for_a_run_against_it(desk):
    stock(desk)
    killed_in_flight(desk, late=False)
    opened = len(desk.lines("intent"))
    with desk_in(desk.folder) as other:
        other.sim.add_project("Empty")
        done = other.sweep()
    assert (done.code, done.summary["recovered"], desk.lines("outcome")) == (0, 0, [])
    settled = desk.sweep()
    assert (settled.code, settled.summary["recovered"]) == (0, opened)
    recovered = [line["outcome"] for line in desk.lines("outcome") if line.get("recovered")]
    assert recovered == ["failed"] * opened
    assert verified(desk).code == 0


# --- population ----------------------------------------------------------------------------


def test_population_of_another_base_url_is_not_compared_with_this_one(desk):
    stock(desk, projects=20, stale=0, young=1)
    assert desk.sweep().code == 0
    with desk_in(desk.folder) as other:
        stock(other, projects=1, stale=1)
        done = other.sweep()
        assert (done.code, done.summary["deleted"]) == (0, 1), done.err
    assert desk.sweep().code == 0


def test_drop_in_projects_is_refused_with_both_numbers(desk):
    ids = stock(desk, projects=20, stale=0, young=1)
    assert desk.sweep().code == 0
    for project in ids[:8]:
        desk.sim.remove_project(project)
    stock(desk, projects=1, stale=1)
    done = desk.sweep()
    assert (done.code, desk.deletes()) == (3, 0)
    assert "13 projects were found, but the last complete run left 20" in done.err
    assert desk.sweep("--accept-population").code == 0
    assert desk.sweep().code == 0


def test_own_deletions_are_not_a_drop_in_population(desk):
    stock(desk, projects=2, stale=10, young=1)
    assert desk.sweep().summary["deleted"] == 20
    assert desk.sweep().code == 0


def test_refused_run_is_not_compared_with_later_runs(desk):
    ids = stock(desk, projects=20, stale=0, young=1)
    assert desk.sweep().code == 0
    for project in ids[:8]:
        desk.sim.remove_project(project)
    assert desk.sweep().code == 3
    assert desk.sweep().code == 3


# --- plans ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "done"),
    [(0, True), (4, True), (3, False), (6, False), (7, False), (8, False), (10, False)],
)
def test_plan_is_used_up_by_a_sweep_that_ended_with_0_or_4_and_by_no_other(tmp_path, code, done):
    log = tmp_path / "log.jsonl"
    write_run(log, started={"plan_sha256": "a" * 64}, totals={"exit_code": code})
    assert PreviousRuns([log]).was_applied("a" * 64) is done
    assert PreviousRuns([log]).was_applied("b" * 64) is False


def test_plan_is_not_used_up_by_a_dry_run_or_by_a_sweep_without_an_end(tmp_path):
    log = tmp_path / "log.jsonl"
    write_run(log, "dry", mode="dry-run", started={"plan_sha256": "a" * 64})
    write_events(log, "killed", [("run_started", {"mode": "sweep", "plan_sha256": "a" * 64})])
    assert PreviousRuns([log]).was_applied("a" * 64) is False


def test_plan_whose_sweep_ended_with_4_is_refused_the_next_time(desk):
    stock(desk, projects=1)
    assert desk.plan("--out", "plan.jsonl").code == 0
    desk.sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), method="DELETE", times=1)
    first = desk.sweep("--plan", "plan.jsonl")
    assert (first.code, first.summary["deleted"], first.summary["failed"]) == (4, 2, 1)
    before = desk.deletes()
    again = desk.sweep("--plan", "plan.jsonl")
    assert (again.code, desk.deletes()) == (3, before)
    assert "already been applied" in again.err


# --- bounces -------------------------------------------------------------------------------


def test_invitation_that_comes_back_is_marked_and_kept_at_max_bounces(desk):
    desk.keys["limits"]["max_bounces"] = 2
    project = desk.sim.add_project("Terraform")
    for bounced in range(2):
        desk.sim.invite(project, "Back@Example.com", age=20 * DAYS)
        assert desk.sweep().summary["deleted"] == 1
        assert desk.lines("planned")[-1].get("bounced", 0) == bounced
    desk.sim.invite(project, "back@example.com", age=20 * DAYS)
    done = desk.sweep()
    assert (done.code, done.summary["kept_by_reason"]) == (0, {"bounced": 1})


# --- damage --------------------------------------------------------------------------------


def test_damaged_log_refuses_the_next_sweep(desk):
    stock(desk)
    assert desk.sweep().code == 0
    data = bytearray(desk.log_path.read_bytes())
    at = data.index(b'"event":"outcome"')
    data[at + 3] ^= 1
    desk.log_path.write_bytes(data)
    stock(desk)
    before = desk.deletes()
    done = desk.sweep()
    assert verified(desk).code == 3
    assert (done.code, desk.deletes()) in {(3, before), (7, before)}


@pytest.mark.parametrize("event", ["run_started", "intent", "outcome", "run_finished"])
def test_unreadable_record_that_a_run_depends_on_refuses_it(desk, event):
    stock(desk)
    assert [desk.sweep().code for _ in range(2)] == [0, 0]
    whole = b'"event":"%b",' % event.encode()
    desk.log_path.write_bytes(desk.log_path.read_bytes().replace(whole, whole[:-1], 1))
    stock(desk)
    before = desk.deletes()
    done = desk.sweep()
    assert (done.code, desk.deletes()) == (3, before)
    assert "The audit log is damaged at " in done.err or "lines were cut off or changed" in done.err


def test_log_with_a_line_removed_refuses_the_next_sweep(desk):
    stock(desk)
    assert desk.sweep().code == 0
    lines = desk.log_path.read_bytes().splitlines(keepends=True)
    desk.log_path.write_bytes(b"".join(lines[:1] + lines[2:]))
    stock(desk)
    before = desk.deletes()
    done = desk.sweep()
    assert (done.code, desk.deletes()) == (3, before)
    assert "is shorter than what was written" in done.err


@pytest.mark.parametrize("how", ["edited", "swapped"])
def test_change_that_leaves_each_line_readable_stops_no_run_and_is_found_by_verify(desk, how):
    stock(desk)
    assert desk.sweep().code == 0
    lines = desk.log_path.read_bytes().splitlines(keepends=True)
    if how == "edited":
        lines[1] = lines[1].replace(b"@example.com", b"@example.net")
    else:
        lines[1], lines[2] = lines[2], lines[1]
    desk.log_path.write_bytes(b"".join(lines))
    assert desk.sweep().code == 0
    assert verified(desk).code == 3


def test_torn_last_line_is_moved_to_a_file_and_reported(desk):
    stock(desk)
    assert desk.sweep().code == 0
    with desk.log_path.open("ab") as file:
        file.write(b'{"ts":"2026-11-25T01:0')
    assert verified(desk).code == 0
    done = desk.sweep()
    assert done.code == 0
    assert "torn last line was moved to a file" in done.err
    assert (desk.folder / "audit" / "invite-sweeper.jsonl.torn-1").read_bytes() == (
        b'{"ts":"2026-11-25T01:0'
    )
    assert verified(desk).code == 0
