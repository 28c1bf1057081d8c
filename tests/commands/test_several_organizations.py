"""Several organizations with separate credentials: one run each, one result in all."""

import json
import re
import shlex
from datetime import timedelta

import pytest
from running import cli_in

from invite_sweeper.simulator.seed import ORG_ID

OTHER = "0123456789abcdef01234567"
DAYS = timedelta(days=1)


@pytest.fixture
def cli(tmp_path):
    """Two organizations of two projects; ALPHA and BETA name their credentials."""
    with cli_in(tmp_path) as found:
        found.sim.add_organization(OTHER, "Elsewhere")
        for org_id in (ORG_ID, OTHER):
            for number in range(2):
                project = found.sim.add_project(f"{org_id[:4]} {number}", org_id)
                found.projects.append(project)
                found.sim.invite(project, "old@example.com", age=20 * DAYS)
        found.keys["organizations"] = [
            {"id": ORG_ID, "credentials": "ALPHA"},
            {"id": OTHER, "credentials": "BETA"},
        ]
        beta = found.sim.add_token(OTHER)
        found.changes = {
            "MONGODB_ATLAS_ACCESS_TOKEN": None,
            "MONGODB_ATLAS_ACCESS_TOKEN_ALPHA": found.account.secret,
            "MONGODB_ATLAS_ACCESS_TOKEN_BETA": beta.secret,
        }
        yield found


def test_each_organization_is_swept_and_reported_with_its_own_credential(cli):
    done = cli.sweep(**cli.changes)
    assert done.code == 0, done.err
    summary = done.summary
    assert (summary["deleted"], summary["projects_seen"]) == (4, 4)
    assert [each["id"] for each in summary["organizations"]] == [ORG_ID, OTHER]
    assert [each["deleted"] for each in summary["organizations"]] == [2, 2]
    first, second = cli.lines("run_started")
    assert [first["organizations"], second["organizations"]] == [[ORG_ID], [OTHER]]
    assert first["group_id"] == second["group_id"] == first["run_id"] == summary["run_id"]
    assert [each["run_id"] for each in summary["organizations"]] == [
        first["run_id"],
        second["run_id"],
    ]
    assert cli.run("audit", "verify", "audit/invite-sweeper.jsonl").code == 0


def test_one_that_fails_does_not_stop_the_other_and_ends_with_4(cli):
    done = cli.sweep(**cli.changes | {"MONGODB_ATLAS_ACCESS_TOKEN_ALPHA": "wrong"})
    assert done.code == 4
    assert done.summary["exit_code"] == 4
    assert done.summary["deleted"] == 2
    assert cli.sim.invitations(cli.projects[0]) != ()
    assert cli.sim.invitations(cli.projects[2]) == ()


def test_runs_that_end_with_one_code_end_with_that_code(cli):
    cli.keys["limits"]["max_deletions"] = 0
    assert cli.sweep(**cli.changes).code == 3


def test_missing_credentials_of_one_are_wrong_usage_before_atlas_is_called(cli):
    done = cli.sweep(**cli.changes | {"MONGODB_ATLAS_ACCESS_TOKEN_BETA": None})
    assert (done.code, list(cli.sim.requests)) == (2, [])
    assert "MONGODB_ATLAS_CLIENT_ID_BETA" in done.err


def test_text_reports_each_organization(cli):
    done = cli.run("sweep", "--policy", "policy.yaml", **cli.changes)
    assert done.code == 0
    for project in range(2):
        assert f"{ORG_ID[:4]} {project}" in done.out
        assert f"{OTHER[:4]} {project}" in done.out


def test_text_has_the_error_of_one_and_the_result_of_the_other(cli):
    wrong = cli.changes | {"MONGODB_ATLAS_ACCESS_TOKEN_ALPHA": "wrong"}
    done = cli.run("sweep", "--policy", "policy.yaml", **wrong)
    assert done.code == 4
    assert done.errors
    assert f"{OTHER[:4]} 0" in done.out
    assert f"{ORG_ID[:4]} 0" not in done.out


@pytest.mark.parametrize("output", ["json", "text"])
def test_log_that_cannot_be_opened_ends_all_with_7_without_a_result(cli, output):
    (cli.folder / "log.jsonl").mkdir()
    log = ("--audit-log", "log.jsonl")
    done = cli.run("sweep", "--policy", "policy.yaml", "--output", output, *log, **cli.changes)
    assert (done.code, done.has_result, cli.deletes()) == (7, False, 0)
    assert len(done.errors) == 1


def test_closed_pipe_changes_nothing_in_the_runs(cli):
    process = cli.start("sweep", "--policy", "policy.yaml", "--output", "json", **cli.changes)
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert (process.returncode, len(cli.sim.deleted)) == (0, 4), err
    assert b"Traceback" not in err


def test_several_organizations_of_one_credential_are_one_run(cli):
    both = cli.sim.add_token(ORG_ID, OTHER)
    cli.keys["organizations"] = [ORG_ID, OTHER]
    done = cli.sweep(MONGODB_ATLAS_ACCESS_TOKEN=both.secret)
    assert (done.code, done.summary["deleted"], len(cli.lines("run_started"))) == (0, 4, 1)
    counts = [(each["id"], each["deleted"]) for each in done.summary["organizations"]]
    assert counts == [(ORG_ID, 2), (OTHER, 2)]


def test_population_of_one_organization_is_not_compared_with_another(cli):
    for number in range(20):
        project = cli.sim.add_project(f"more {number}")
        cli.sim.invite(project, "young@example.com", age=1 * DAYS)
    assert cli.sweep(**cli.changes).code == 0
    assert cli.sweep(**cli.changes).code == 0


def test_invisible_organization_is_reported_beside_one_that_is_swept(cli):
    cli.keys["organizations"] = [ORG_ID, OTHER]
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 2)
    (warning,) = done.warnings
    assert warning.startswith(f"No project of organization {OTHER} is visible")
    assert warning in done.err


def test_show_all_lists_the_records_of_all_organizations(cli):
    for project in cli.projects[1:3]:
        for number in range(40):
            cli.sim.invite(project, f"p{number}@example.com", age=30 * DAYS)
    done = cli.run("plan", "--policy", "policy.yaml", **cli.changes)
    cli.plan(**cli.changes)  # a later command, perhaps in the same second
    (shown,) = re.findall(r"^Show all: .*? (audit show .*)$", done.out, re.MULTILINE)
    assert "--group" in shown
    rows = cli.run(*shlex.split(shown), "--output", "json").out.splitlines()
    found = [json.loads(row)["org_id"] for row in rows]
    assert (found.count(ORG_ID), found.count(OTHER)) == (42, 42)


def test_organizations_that_no_credential_sees_are_neither_counted_nor_called_clean(cli):
    absent = ["f" * 24, "e" * 24]
    cli.keys["organizations"] += [{"id": each, "credentials": "ALPHA"} for each in absent]
    done = cli.run("plan", "--policy", "policy.yaml", **cli.changes, COLUMNS="200")
    assert "4 projects of 4 organizations, 2 of them not visible" in done.out
    for each in absent:
        assert re.search(rf"{each} +Dry run: not visible with these credentials", done.out)
        (warning,) = [line for line in done.err.splitlines() if f"organization {each}" in line]
        assert "MONGODB_ATLAS_ACCESS_TOKEN_ALPHA" in warning
    visible = [each["visible"] for each in cli.plan(**cli.changes).summary["organizations"]]
    assert visible.count(False) == 2
