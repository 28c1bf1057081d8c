"""What an earlier run left: open intents, a population, a policy; and damage that refuses."""

import json
import signal
from datetime import timedelta

import faults
import pytest
from running import wait_until

DAYS = timedelta(days=1)
HERE, ELSEWHERE = "https://here.example.com", "https://elsewhere.example.com"


def verified(cli):
    return cli.run("audit", "verify", "audit/invite-sweeper.jsonl", "--output", "json")


def all_announced_are_sent(cli):
    """A group of intents is on disk before the first of its DELETEs goes out."""
    return cli.deletes() >= 3 and cli.deletes() == len(cli.lines("intent"))


def killed_in_flight(cli, *, late):
    """Kill a sweep while all its DELETEs hang, before or after Atlas executes them."""
    cli.sim.faults.add(faults.hang(late=late), method="DELETE", times=999)
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: all_announced_are_sent(cli))
    process.kill()
    process.communicate()
    cli.sim.faults.clear()


@pytest.mark.parametrize("late", [True, False], ids=["carried out", "not carried out"])
def test_next_sweep_resolves_the_intents_of_a_killed_one_before_its_own(cli, late):
    cli.stock(2, 3)
    killed_in_flight(cli, late=late)
    assert verified(cli).code == 3
    opened = len(cli.lines("intent"))
    done = cli.sweep()
    assert (done.code, done.summary["recovered"]) == (0, opened)
    recovered = [line for line in cli.lines("outcome") if line.get("recovered")]
    assert [line["outcome"] for line in recovered] == [
        "already_gone" if late else "failed"
    ] * opened
    assert {line["recovers"] for line in recovered} == {cli.lines("run_started")[0]["run_id"]}
    events = [line["event"] for line in cli.lines() if line["run_id"] == done.summary["run_id"]]
    assert events[: opened + 1] == ["run_started", *["outcome"] * opened]
    assert cli.sim.invitation_count() == 0
    assert verified(cli).code == 0


def test_dry_run_leaves_open_intents_for_the_next_sweep(cli):
    cli.stock(2, 3)
    killed_in_flight(cli, late=True)
    assert cli.plan().code == 0
    assert not [line for line in cli.lines("outcome") if line.get("recovered")]
    assert cli.sweep().summary["recovered"] > 0


def test_signal_twice_ends_at_once_with_the_intents_on_disk(cli):
    cli.stock(2, 3)
    cli.sim.faults.add(faults.hang(late=True), method="DELETE", times=999)
    process = cli.start("sweep", "--policy", "policy.yaml", "--output", "json")
    wait_until(lambda: all_announced_are_sent(cli))
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    while b"stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 8
    summary = json.loads(out)
    assert summary["unknown"] == len(cli.lines("intent")) > 0
    assert verified(cli).code == 0


# --- population ----------------------------------------------------------------------------


def test_drop_in_projects_is_refused_with_both_numbers(cli):
    ids = cli.stock(20, 0, 1)
    assert cli.sweep().code == 0
    for project in ids[:8]:
        cli.sim.remove_project(project)
    cli.stock()
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (3, 0)
    assert "13 projects were found, but the last complete run left 20" in done.err
    assert cli.sweep("--accept-population").code == 0
    assert cli.sweep().code == 0


# --- plans ---------------------------------------------------------------------------------


# --- bounces -------------------------------------------------------------------------------


def test_invitation_that_comes_back_is_marked_and_kept_at_max_bounces(cli):
    cli.keys["limits"]["max_bounces"] = 2
    project = cli.sim.add_project("Terraform")
    for bounced in range(2):
        cli.sim.invite(project, "Back@Example.com", age=20 * DAYS)
        assert cli.sweep().summary["deleted"] == 1
        assert cli.lines("planned")[-1].get("bounced", 0) == bounced
    cli.sim.invite(project, "back@example.com", age=20 * DAYS)
    done = cli.sweep()
    assert (done.code, done.summary["kept_by_reason"]) == (0, {"bounced": 1})


# --- damage --------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["run_started", "intent", "outcome", "run_finished"])
def test_unreadable_record_that_a_run_depends_on_refuses_it(cli, event):
    cli.stock(2, 3)
    assert [cli.sweep().code for _ in range(2)] == [0, 0]
    whole = b'"event":"%b",' % event.encode()
    cli.log_path.write_bytes(cli.log_path.read_bytes().replace(whole, whole[:-1], 1))
    cli.stock(2, 3)
    before = cli.deletes()
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (3, before)
    assert "The audit log is damaged at " in done.err or "lines were cut off or changed" in done.err


@pytest.mark.parametrize("how", ["edited", "swapped"])
def test_change_that_leaves_each_line_readable_stops_no_run_and_is_found_by_verify(cli, how):
    cli.stock(2, 3)
    assert cli.sweep().code == 0
    lines = cli.log_path.read_bytes().splitlines(keepends=True)
    if how == "edited":
        lines[1] = lines[1].replace(b"@example.com", b"@example.net")
    else:
        lines[1], lines[2] = lines[2], lines[1]
    cli.log_path.write_bytes(b"".join(lines))
    assert cli.sweep().code == 0
    assert verified(cli).code == 3


def test_torn_last_line_is_moved_to_a_file_and_reported(cli):
    cli.stock(2, 3)
    assert cli.sweep().code == 0
    with cli.log_path.open("ab") as file:
        file.write(b'{"ts":"2026-11-25T01:0')
    assert verified(cli).code == 0
    done = cli.sweep()
    assert done.code == 0
    assert "torn last line was moved to a file" in done.err
    assert (cli.folder / "audit" / "invite-sweeper.jsonl.torn-1").read_bytes() == (
        b'{"ts":"2026-11-25T01:0'
    )
    assert verified(cli).code == 0


@pytest.mark.parametrize("is_empty", [False, True], ids=["gone", "empty"])
def test_log_that_is_gone_or_empty_is_said_by_sweep_explain_and_doctor(cli, is_empty):
    cli.sim.add_project("Project")
    assert cli.sweep().code == 0
    lines = len(cli.lines())
    cli.log_path.unlink()
    if is_empty:
        cli.log_path.touch(mode=0o600)
    words = f"is missing or empty, and its end with it: the log has {lines} lines"
    assert words in cli.run("explain", "nobody@example.com", "--policy", "policy.yaml", "-q").err
    assert words in cli.run("doctor", "--policy", "policy.yaml", "-q").out
    assert words in cli.sweep("-q").err
    assert words not in cli.sweep("-q").err
