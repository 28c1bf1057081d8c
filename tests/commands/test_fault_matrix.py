"""Faults of Atlas: one of each kind, with exit code, audit records and the state of the server.

The whole matrix is in `tests/api/test_fault_matrix.py`.
"""

from datetime import timedelta

import faults
import pytest

DAYS = timedelta(days=1)
ONE_DELETE = {"method": "DELETE", "path": "*/invites/*"}


@pytest.fixture
def cli(cli):
    for number in range(2):
        project = cli.sim.add_project(f"Project {number}")
        cli.projects.append(project)
        for n in range(2):
            cli.sim.invite(project, f"p{n}@example.com", age=20 * DAYS)
    cli.keys["execution"] = {"attempts": 3}
    return cli


def outcomes(cli):
    return sorted(line["outcome"] for line in cli.lines("outcome"))


# --- faults of a DELETE --------------------------------------------------------------------


def test_temporary_fault_is_retried_and_the_deletion_counted_once(cli):
    cli.sim.faults.add(faults.html(502), **ONE_DELETE)
    done = cli.sweep()
    assert (done.code, outcomes(cli)) == (0, ["deleted"] * 4)
    assert done.summary["retries"] == 1
    assert sorted(line["attempts"] for line in cli.lines("outcome")) == [1, 1, 1, 2]
    assert cli.sim.invitation_count() == 0
    assert cli.sim.request_log.deletes_after_confirmation == []


def test_deletion_executed_without_a_response_is_already_gone_on_retry(cli):
    cli.sim.faults.add(faults.reset(late=True), **ONE_DELETE)
    done = cli.sweep()
    assert (done.code, outcomes(cli)) == (0, ["already_gone", *["deleted"] * 3])
    (gone,) = [line for line in cli.lines("outcome") if line["outcome"] == "already_gone"]
    assert (gone["attempts"], gone["http_status"]) == (2, 404)
    assert cli.sim.invitation_count() == 0


def test_permanent_fault_fails_that_deletion_after_all_attempts_and_ends_with_4(cli):
    one = cli.sim.invitations(cli.projects[0])[0]
    cli.sim.faults.add(faults.fail_with(500), method="DELETE", path=f"*{one}", times=99)
    done = cli.sweep()
    assert (done.code, outcomes(cli)) == (4, [*["deleted"] * 3, "failed"])
    (failed,) = [line for line in cli.lines("outcome") if line["outcome"] == "failed"]
    assert (failed["invitation_id"], failed["attempts"], failed["http_status"]) == (one, 3, 500)
    assert cli.sim.invitation_count() == 1
    assert cli.deletes() == 3 + 3


RUN_ENDING = {
    "403 access list": (faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), 5),
    "406": (faults.fail_with(406, "INVALID_VERSION_DATE"), 6),
}


@pytest.mark.parametrize(("fault", "code"), RUN_ENDING.values(), ids=RUN_ENDING.keys())
def test_fatal_response_ends_the_sweep_and_the_rest_is_skipped(cli, fault, code):
    cli.keys["execution"]["concurrency"] = 1
    cli.keys["limits"]["canary"] = 0
    cli.sim.faults.add(fault, method="DELETE", path="*", nth=2, times=99)
    done = cli.sweep()
    assert done.code == code, done.err
    result = outcomes(cli)
    assert len(result) == 4
    assert result.count("skipped") >= 1
    assert result.count("deleted") == len(cli.sim.deleted)
    assert cli.lines()[-1]["exit_code"] == code
    assert "Nothing was deleted." not in done.err


# --- faults of a listing -------------------------------------------------------------------


def test_incomplete_list_makes_the_project_unreadable(cli):
    project = cli.projects[0]
    cli.sim.faults.add(faults.truncated(), path=f"*{project}/invites", times=99)
    done = cli.sweep()
    assert (done.code, outcomes(cli)) == (4, ["deleted"] * 2)
    (lost,) = cli.lines("project_unreadable")
    assert lost["project_id"] == project
    assert len(cli.sim.invitations(project)) == 2


def test_hanging_response_is_cut_off_by_the_deadline(cli):
    cli.sim.faults.add(faults.hang(), method="DELETE", path="*", times=99)
    cli.keys["execution"] |= {"grace": "1s"}
    done = cli.sweep("--deadline", "3s")
    assert (done.code, outcomes(cli)) == (8, ["unknown"] * 4)
    assert cli.sim.invitation_count() == 4
