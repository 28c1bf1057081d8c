"""Faults of Atlas with the exit code, the audit records and the state of the server after it."""

from datetime import timedelta

import faults
import pytest
from running import cli_in

DAYS = timedelta(days=1)
INVITES = "*/invites"
ONE_DELETE = {"method": "DELETE", "path": "*/invites/*"}


@pytest.fixture
def cli(tmp_path):
    with cli_in(tmp_path) as found:
        for number in range(2):
            project = found.sim.add_project(f"Project {number}")
            found.projects.append(project)
            for n in range(2):
                found.sim.invite(project, f"p{n}@example.com", age=20 * DAYS)
        found.keys["execution"] = {"attempts": 3}
        yield found


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


@pytest.mark.parametrize(
    "fault",
    [faults.fail_with(500), faults.reset(), faults.truncated(), faults.malformed()],
    ids=["500", "reset", "truncated", "malformed"],
)
def test_listing_that_fails_once_is_read_again(cli, fault):
    cli.sim.faults.add(fault, path=INVITES)
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 4)


@pytest.mark.parametrize(
    "fault", [faults.challenge(), faults.role_missing()], ids=["generic", "role"]
)
def test_401_to_the_first_call_ends_with_5(cli, fault):
    cli.sim.faults.add(fault, path="*/groups", times=None)
    done = cli.sweep()
    assert (done.code, done.summary["projects_seen"], cli.deletes()) == (5, 0, 0)


def test_credentials_revoked_during_the_sweep_fail_the_canary_and_end_with_4(cli):
    for n in range(20):
        cli.sim.invite(cli.projects[0], f"more{n}@example.com", age=20 * DAYS)
    cli.sim.faults.add(faults.challenge(), method="DELETE", path="*", times=None)
    done = cli.sweep()
    assert (done.code, done.summary["failed"], done.summary["skipped"]) == (4, 5, 19)
    assert cli.deletes() == 10


def test_list_of_projects_without_a_response_ends_with_6_and_no_result(cli):
    cli.sim.faults.add(faults.reset(), path="*/groups", times=99)
    done = cli.sweep()
    assert (done.code, done.summary["projects_seen"], cli.deletes()) == (6, 0, 0)


def test_html_page_as_list_of_projects_ends_with_6(cli):
    cli.sim.faults.add(faults.html(503), path="*/groups", times=99)
    done = cli.sweep()
    assert (done.code, done.summary["exit_code"], cli.deletes()) == (6, 6, 0)


def test_invalid_list_of_projects_ends_with_6_and_has_a_result(cli):
    cli.sim.faults.add(faults.malformed(), path="*/groups", times=99)
    done = cli.sweep()
    assert (done.code, done.summary["exit_code"], cli.deletes()) == (6, 6, 0)


def test_second_page_that_cannot_be_read_ends_with_6_and_nothing_is_deleted(cli):
    for number in range(600):
        cli.sim.add_project(f"More {number}")
    cli.sim.faults.add(faults.fail_with(500), path="*/groups", nth=2, times=99)
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (6, 0)


def test_list_of_projects_that_repeats_a_page_for_ever_ends_the_run_with_6(cli):
    cli.sim.paging.endless = True
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (6, 0)
    assert "page 2 has no new entry and names a next page" in done.err


@pytest.mark.parametrize("status", [500, 410, 406, 302])
def test_fatal_first_response_has_a_result(cli, status):
    cli.sim.faults.add(faults.fail_with(status), path="*/groups", times=None)
    done = cli.sweep()
    assert (done.code, done.summary["exit_code"], done.summary["deleted"]) == (6, 6, 0)


def test_token_that_expires_during_a_run_is_renewed(tmp_path):
    with cli_in(tmp_path, kind="service-account") as cli:
        project = cli.sim.add_project("Project")
        for n in range(6):
            cli.sim.invite(project, f"p{n}@example.com", age=20 * DAYS)
        end = faults.effect(before=lambda _: cli.sim.oauth.expire())
        cli.sim.faults.add(end, **ONE_DELETE)
        done = cli.sweep()
        assert (done.code, done.summary["deleted"]) == (0, 6)
        assert cli.sim.oauth.issued == 2
        assert not cli.sim.oauth.live_token_count(cli.account)


def test_token_that_is_refused_ends_with_5(tmp_path):
    with cli_in(tmp_path, kind="service-account") as cli:
        cli.sim.add_project("Project")
        done = cli.sweep(MONGODB_ATLAS_CLIENT_SECRET="mdb_sa_sk_wrong")
        assert (done.code, done.summary["projects_seen"]) == (5, 0)


def test_hanging_response_is_cut_off_by_the_deadline(cli):
    cli.sim.faults.add(faults.hang(), method="DELETE", path="*", times=99)
    cli.keys["execution"] |= {"grace": "1s"}
    done = cli.sweep("--deadline", "3s")
    assert (done.code, outcomes(cli)) == (8, ["unknown"] * 4)
    assert cli.sim.invitation_count() == 4
