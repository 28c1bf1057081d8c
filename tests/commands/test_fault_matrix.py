"""Faults of Atlas with the exit code, the audit records and the state of the server after it."""

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

PASSING = {
    "500 JSON": faults.fail_with(500),
    "502 HTML": faults.html(502),
    "503 HTML": faults.html(503),
    "504": faults.fail_with(504),
    "405 in upgrade": faults.upgrade(),
    "reset before": faults.reset(),
    "401 passing": faults.challenge(),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_temporary_fault_is_retried_and_the_deletion_counted_once(cli, fault):
    cli.sim.faults.add(fault, **ONE_DELETE)
    done = cli.sweep()
    assert (done.code, outcomes(cli)) == (0, ["deleted"] * 4)
    assert done.summary["retries"] == 1
    assert sorted(line["attempts"] for line in cli.lines("outcome")) == [1, 1, 1, 2]
    assert cli.sim.invitation_count() == 0
    assert cli.sim.request_log.deletes_after_confirmation == []


@pytest.mark.parametrize(
    "late", [faults.reset(late=True), faults.fail_with(500, late=True)], ids=["reset", "500"]
)
def test_deletion_executed_without_a_response_is_already_gone_on_retry(cli, late):
    cli.sim.faults.add(late, **ONE_DELETE)
    done = cli.sweep()
    assert (done.code, outcomes(cli)) == (0, ["already_gone", *["deleted"] * 3])
    (gone,) = [line for line in cli.lines("outcome") if line["outcome"] == "already_gone"]
    assert (gone["attempts"], gone["http_status"]) == (2, 404)
    assert cli.sim.invitation_count() == 0


LASTING = {
    "500 JSON": (faults.fail_with(500), 3, 500),
    "502 HTML": (faults.html(502), 3, 502),
    "405 in upgrade": (faults.upgrade(), 3, 405),
    "reset": (faults.reset(), 3, None),
    "other 400": (faults.fail_with(400, "CANNOT_DELETE_ORG_INVITATION"), 1, 400),
    "403 of one project": (faults.fail_with(403, "ACCESS_FORBIDDEN"), 1, 403),
    "redirect": (faults.redirect("https://elsewhere.example.com/"), 1, 302),
    "401 role": (faults.role_missing(), 2, 401),
    "401 generic": (faults.challenge(), 2, 401),
    "401 empty": (faults.empty(401), 2, 401),
}


@pytest.mark.parametrize(("fault", "tries", "status"), LASTING.values(), ids=LASTING.keys())
def test_permanent_fault_fails_that_deletion_after_all_attempts_and_ends_with_4(
    cli, fault, tries, status
):
    one = cli.sim.invitations(cli.projects[0])[0]
    cli.sim.faults.add(fault, method="DELETE", path=f"*{one}", times=99)
    done = cli.sweep()
    assert (done.code, outcomes(cli)) == (4, [*["deleted"] * 3, "failed"])
    (failed,) = [line for line in cli.lines("outcome") if line["outcome"] == "failed"]
    assert (failed["invitation_id"], failed["attempts"], failed["http_status"]) == (
        one,
        tries,
        status,
    )
    assert cli.sim.invitation_count() == 1
    assert cli.deletes() == 3 + tries


@pytest.mark.parametrize("status", [404, 400], ids=["404", "400 INVALID_INVITATION_ID"])
def test_invitation_that_is_already_gone_is_not_a_failure(cli, status):
    cli.sim.gone_status = status
    project = cli.projects[0]
    one = cli.sim.invitations(project)[0]
    vanish = faults.effect(before=lambda _: cli.sim.accept(project, one))
    cli.sim.faults.add(vanish, method="DELETE", path=f"*{one}")
    done = cli.sweep()
    assert (done.code, outcomes(cli)) == (0, ["already_gone", *["deleted"] * 3])
    (gone,) = [line for line in cli.lines("outcome") if line["outcome"] == "already_gone"]
    assert gone["http_status"] == status


RUN_ENDING = {
    "403 access list": (faults.fail_with(403, "IP_ADDRESS_NOT_ON_ACCESS_LIST"), 5),
    "406": (faults.fail_with(406, "INVALID_VERSION_DATE"), 6),
    "410": (faults.fail_with(410, "VERSION_GONE"), 6),
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

UNREADABLE = {
    "500": (faults.fail_with(500), 500),
    "502 HTML": (faults.html(502), 502),
    "malformed": (faults.malformed(), 200),
    "truncated": (faults.truncated(), None),
    "401 role": (faults.role_missing(), 401),
    "401 generic": (faults.challenge(), 401),
    "401 empty": (faults.empty(401), 401),
    "403": (faults.fail_with(403, "ACCESS_FORBIDDEN"), 403),
    "redirect": (faults.redirect("https://elsewhere.example.com/"), 302),
}


@pytest.mark.parametrize(("fault", "status"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_incomplete_list_makes_the_project_unreadable(cli, fault, status):
    project = cli.projects[0]
    cli.sim.faults.add(fault, path=f"*{project}/invites", times=99)
    done = cli.sweep()
    assert (done.code, outcomes(cli)) == (4, ["deleted"] * 2)
    (lost,) = cli.lines("project_unreadable")
    assert (lost["project_id"], lost["http_status"]) == (project, status)
    assert len(cli.sim.invitations(project)) == 2


def test_hanging_response_is_cut_off_by_the_deadline(cli):
    cli.sim.faults.add(faults.hang(), method="DELETE", path="*", times=99)
    cli.keys["execution"] |= {"grace": "1s"}
    done = cli.sweep("--deadline", "3s")
    assert (done.code, outcomes(cli)) == (8, ["unknown"] * 4)
    assert cli.sim.invitation_count() == 4
