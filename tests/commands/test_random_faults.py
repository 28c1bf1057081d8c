"""Many deletions under random faults: each ends as it should, and none is asked for too often.

`INVITE_SWEEPER_SOAK=full` takes 10,000 deletions in 1,000 projects, answers that take 50 ms, and
the default number of attempts.
"""

import os
from datetime import timedelta

import faults
import pytest

from invite_sweeper.policy import Execution

FULL = os.environ.get("INVITE_SWEEPER_SOAK") == "full"
PROJECTS = 1000 if FULL else 50
LATENCY_S = 0.05 if FULL else 0.005
# By chance, 5 attempts all fail in one of a million deletions: rare enough for an occasional
# long run, too often for a gate that runs many times a day.
ATTEMPTS = Execution().attempts if FULL else 8


@pytest.fixture
def cli(cli):
    for number in range(PROJECTS):
        project = cli.sim.add_project(f"Project {number}")
        for n in range(10):
            cli.sim.invite(project, f"p{n}@example.com", age=timedelta(days=20))
    cli.sim.faults.add_random(faults.fail_with(500), 0.05)
    cli.sim.faults.add_random(faults.reset(), 0.005)
    cli.sim.faults.add_random(faults.reset(late=True), 0.01)
    cli.sim.faults.set_latency(LATENCY_S)
    cli.keys["execution"] = {"concurrency": 50, "attempts": ATTEMPTS}
    return cli


@pytest.mark.slow
def test_concurrent_deletions_under_random_faults_all_end_and_none_is_sent_twice(cli):
    done = cli.sweep()
    assert done.code == 0, done.err
    lines = cli.lines("outcome")
    last_lines = {line["invitation_id"]: line for line in lines}
    ended = {id_: line["outcome"] for id_, line in last_lines.items()}

    assert cli.sim.invitation_count() == 0
    assert len(lines) == len(last_lines) == len(set(cli.sim.deleted)) == PROJECTS * 10
    assert cli.sim.request_log.deletes_after_confirmation == []
    assert max(line["attempts"] for line in lines) <= ATTEMPTS
    assert sum(line["attempts"] for line in lines) == cli.deletes()

    # Responses lost after the deletion: the next attempt finds the invitation gone.
    confirmed = cli.sim.request_log.confirmed
    lost = set(cli.sim.deleted) - confirmed
    assert lost
    assert {id_: ended[id_] for id_ in confirmed} == dict.fromkeys(confirmed, "deleted")
    assert {id_: ended[id_] for id_ in lost} == dict.fromkeys(lost, "already_gone")
    assert {last_lines[id_]["http_status"] for id_ in lost} == {404}
    assert min(last_lines[id_]["attempts"] for id_ in lost) >= 2
