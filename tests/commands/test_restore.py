"""`restore` as a process: what is restored, what is not, and how it is reported."""

import json
import signal
from datetime import timedelta

import faults
import pytest
from running import wait_until
from terminals import terminal_of

from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)
LOG = "audit/invite-sweeper.jsonl"


@pytest.fixture
def cli(cli):
    cli.sim.invite_rate_limit.per_minute = None
    return cli


def swept(cli, users=3, projects=1):
    """Sweep a number of users from each project and return the project ids."""
    ids = [cli.sim.add_project(f"Project {number}") for number in range(projects)]
    for project in ids:
        for number in range(users):
            cli.sim.invite(
                project,
                f"person-{number}@example.com",
                age=(20 + number) * DAYS,
                roles=("GROUP_READ_ONLY", "GROUP_DATA_ACCESS_READ_ONLY"),
            )
        cli.sim.invite(project, "young@example.com", age=DAYS)
    assert cli.sweep().code == 0
    return ids


def restore(cli, *arguments, code=0, yes=True, **changes):
    question = ("--yes",) if yes else ()
    done = cli.run("restore", LOG, "--output", "json", *question, *arguments, **changes)
    assert done.code == code, done.err
    return json.loads(done.out)


def restored_lines(cli):
    """Return the records of the last run."""
    last = cli.lines()[-1]["run_id"]
    return [line for line in cli.lines() if line["run_id"] == last]


def invited(cli, project):
    group = cli.sim.groups[project]
    return {each.username: json.loads(each.document)["roles"] for each in group.invites.values()}


@pytest.mark.parametrize("sources", [["org_users", "users"], ["org_invites", "users"]])
def test_person_comes_back_by_one_invitation_with_the_roles_of_every_entry(cli, sources):
    cli.keys["sources"] = sources
    one, two = (cli.sim.add_project(f"Project {number}") for number in (1, 2))
    roles = {one: ("GROUP_OWNER",), two: ("GROUP_READ_ONLY", "GROUP_CLUSTER_MANAGER")}
    user = {"org_roles": ("ORG_GROUP_CREATOR",), "group_roles": roles, "age": 20 * DAYS}
    cli.sim.add_user("ada@example.com", **user)
    users = cli.sim.organizations[ORG_ID].users
    assert cli.sweep().summary["deleted"] == 1
    assert not users
    result = restore(cli)
    assert (result["wanted"], result["restored"]) == (1, 1)
    (back,) = users.values()
    assert set(back.org_roles) == {"ORG_GROUP_CREATOR"}
    found = {key: set(each) for key, each in back.group_roles.items()}
    assert found == {key: set(each) for key, each in roles.items()}


def test_restore_brings_back_exactly_what_the_run_deleted_with_its_roles(cli):
    (project,) = swept(cli)
    result = restore(cli)
    assert (result["wanted"], result["restored"], result["already_there"]) == (3, 3, 0)
    assert invited(cli, project) == {
        "young@example.com": ["GROUP_READ_ONLY"],
        **{
            f"person-{n}@example.com": ["GROUP_READ_ONLY", "GROUP_DATA_ACCESS_READ_ONLY"]
            for n in range(3)
        },
    }


def test_restore_twice_brings_back_nothing_more(cli):
    swept(cli)
    restore(cli)
    before = cli.sim.request_log.received["POST"]
    result = restore(cli)
    assert (result["restored"], result["already_there"]) == (0, 3)
    assert cli.sim.request_log.received["POST"] == before
    assert cli.sim.invitation_count() == 4


def test_dry_run_shows_who_would_be_invited_and_sends_no_post(cli):
    swept(cli)
    result = restore(cli, "--dry-run", yes=False)
    assert {each["outcome"] for each in result["invitations"]} == {"would_restore"}
    assert (result["to_restore"], result["restored"]) == (3, 0)
    assert cli.sim.request_log.received["POST"] == 0
    assert cli.run("audit", "verify", LOG).code == 0


def test_without_a_terminal_no_question_is_asked_and_all_are_restored(cli):
    (project,) = swept(cli)
    assert restore(cli, yes=False)["restored"] == 3
    assert len(invited(cli, project)) == 4


def test_log_without_a_deletion_ends_with_0_and_a_message(cli):
    cli.sim.invite(cli.sim.add_project("Project"), "young@example.com", age=DAYS)
    assert cli.sweep().code == 0
    before = len(cli.sim.requests)
    done = cli.run("restore", LOG)
    assert (done.code, done.err.count("Error")) == (0, 0)
    assert "Nothing to restore" in done.out
    result = restore(cli)
    assert (result["wanted"], result["restored"], result["exit_code"]) == (0, 0, 0)
    assert len(cli.sim.requests) == before
    assert cli.run("audit", "verify", LOG).code == 0


def test_damaged_log_is_refused_and_no_one_is_invited(cli):
    swept(cli)
    cli.log_path.write_bytes(cli.log_path.read_bytes().replace(b"person-1@", b"mallory@"))
    before = len(cli.sim.requests)
    done = cli.run("restore", LOG, "--yes", "--output", "json")
    assert (done.code, done.summary["exit_code"]) == (3, 3)
    assert "damaged" in done.summary["error"]["message"]
    assert done.summary["error"]["consequence"] == "No one was invited."
    assert "damaged" in done.err
    assert len(cli.sim.requests) == before


def test_refused_credentials_end_with_5_and_are_in_the_log(cli):
    swept(cli)
    done = cli.run("restore", LOG, "--yes", "--output", "json", MONGODB_ATLAS_ACCESS_TOKEN="wrong")
    assert (done.code, done.summary["exit_code"], done.summary["restored"]) == (5, 5, 0)
    assert set(done.summary["error"]) == {"message", "consequence", "hint"}
    assert restored_lines(cli)[-1]["exit_code"] == 5
    assert cli.run("audit", "verify", LOG).code == 0


def test_signal_ends_with_8_and_the_same_command_continues(cli):
    (project,) = swept(cli)
    cli.sim.faults.add(faults.delay(2.0), method="POST", times=None)
    process = cli.fork("restore", LOG, "--yes", "--output", "json")
    wait_until(lambda: cli.sim.request_log.received["POST"] >= 1)
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    result = json.loads(out)
    assert process.returncode == 8
    assert result["restored"] + result["skipped"] == 3
    assert result["skipped"] >= 1
    assert cli.run("audit", "verify", LOG).code == 0
    cli.sim.faults.clear()
    again = restore(cli)
    assert again["restored"] == result["skipped"]
    assert len(invited(cli, project)) == 4


def test_signal_while_reading_the_lists_ends_with_8_and_invites_no_one(cli):
    swept(cli)
    before = cli.sim.request_log.received["GET"]
    cli.sim.faults.add(faults.hang(), path="*/users", times=None)
    process = cli.fork("restore", LOG, "--yes", "--output", "json")
    wait_until(lambda: cli.sim.request_log.received["GET"] > before)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, cli.sim.request_log.received["POST"]) == (8, 0)
    assert json.loads(out)["error"]["consequence"] == "No one was invited."
    assert b"No one was invited." in err
    assert cli.run("audit", "verify", LOG).code == 0


def test_deadline_during_the_rate_limit_ends_with_8(cli):
    swept(cli, users=2)
    cli.sim.invite_rate_limit.per_minute = 1
    result = restore(cli, "--deadline", "3s", code=8)
    assert result["restored"] == 1
    assert cli.run("audit", "verify", LOG).code == 0


def test_same_command_continues_a_killed_restore(cli):
    (project,) = swept(cli)
    cli.sim.faults.add(faults.delay(2.0), method="POST", times=None)
    process = cli.fork("restore", LOG, "--yes")
    wait_until(lambda: cli.sim.request_log.received["POST"] >= 2)
    process.kill()
    process.communicate(timeout=60)
    cli.sim.faults.clear()
    assert cli.run("audit", "verify", LOG).code == 3
    restore(cli)
    assert len(invited(cli, project)) == len(cli.sim.invitations(project)) == 4
    assert cli.run("audit", "verify", LOG).code == 0


def test_another_run_that_holds_the_lock_ends_with_9(cli):
    swept(cli)
    cli.sim.faults.set_latency(1.0)
    first = cli.fork("restore", LOG, "--yes")
    before = cli.sim.request_log.received["GET"]
    wait_until(lambda: cli.sim.request_log.received["GET"] > before)
    second = cli.run("restore", LOG, "--yes")
    assert second.code == 9
    cli.sim.faults.clear()
    first.communicate(timeout=60)


def test_quiet_successful_restore_prints_nothing(cli):
    (project,) = swept(cli)
    done = cli.run("restore", LOG, "--yes", "--quiet")
    assert (done.code, done.out, done.err) == (0, "", "")
    assert len(cli.sim.invitations(project)) == 4


def test_log_of_another_atlas_is_refused(cli):
    swept(cli)
    done = cli.run("restore", LOG, "--yes", "--base-url", "http://127.0.0.1:9")
    assert (done.code, done.out) == (3, "")


# --- the question ----------------------------------------------------------------------------

ASKS = "Type yes or no: "


def test_question_lists_the_users_and_yes_invites_them(cli):
    swept(cli)
    with terminal_of(cli, "restore", LOG) as terminal:
        shown = terminal.read_until(ASKS)
        assert "person-1@example.com" in shown
        assert "Re-invite 3 users?" in shown
        assert f"({ORG_ID})" in shown.split("Re-invite 3 users?")[0]
        assert "at once as active members" in shown
        assert cli.sim.request_log.received["POST"] == 0
        terminal.type("yes\n")
        code, _ = terminal.end()
    assert (code, cli.sim.invitation_count()) == (0, 4)


def test_any_answer_but_yes_invites_no_one_and_ends_with_3(cli):
    swept(cli)
    with terminal_of(cli, "restore", LOG) as terminal:
        terminal.read_until(ASKS)
        before = len(terminal.text)
        terminal.type("no\n")
        code, text = terminal.end()
    assert (code, cli.sim.request_log.received["POST"]) == (3, 0)
    assert "person-1@example.com" not in text[before:]
    assert "Cancelled. " in text[before:]
    assert cli.run("audit", "verify", LOG).code == 0


def test_signal_during_the_question_ends_with_8(cli):
    swept(cli)
    with terminal_of(cli, "restore", LOG) as terminal:
        terminal.read_until(ASKS)
        terminal.process.send_signal(signal.SIGTERM)
        code, text = terminal.end()
    assert (code, cli.sim.request_log.received["POST"]) == (8, 0)
    assert "No one was invited." in text


# --- the newer lists -------------------------------------------------------------------------


def person(cli, name, **changes):
    """Return a user of the simulated Atlas by name, or None."""
    found = [cli.sim.user(each) for each in cli.sim.users()]
    return next((user for user in found if user.username == name), None)


@pytest.fixture
def crowd(cli):
    """A policy for users, and a project."""
    cli.keys["rules"] = [
        {"name": "waiting", "older_than": "14d", "statuses": ["PENDING", "INVITATION_EXPIRED"]}
    ]
    return cli, cli.sim.add_project("Search")


@pytest.mark.parametrize("source", ["org_users", "org_invites"])
def test_organization_s_invitation_comes_back_with_its_projects_and_teams(crowd, source):
    cli, project = crowd
    cli.keys["sources"] = [source]
    team = "0123456789abcdef01234567"
    cli.sim.add_user(
        "ada@example.com",
        age=20 * DAYS,
        org_roles=("ORG_MEMBER", "ORG_BILLING_READ_ONLY"),
        group_roles={project: ("GROUP_OWNER", "GROUP_READ_ONLY")},
        team_ids=(team,),
    )
    assert cli.sweep().summary["deleted"] == 1
    assert person(cli, "ada@example.com") is None
    assert restore(cli)["restored"] == 1
    ada = person(cli, "ada@example.com")
    assert ada.status == "PENDING"
    assert ada.org_roles == ("ORG_MEMBER", "ORG_BILLING_READ_ONLY")
    assert ada.group_roles == {project: ("GROUP_OWNER", "GROUP_READ_ONLY")}
    assert ada.team_ids == (team,)
    assert restore(cli)["already_there"] == 1
    assert cli.run("audit", "verify", LOG).code == 0


def test_member_who_accepted_while_the_deletion_was_in_flight_is_a_member_again(crowd):
    """The user had been an active member when the DELETE arrived, so being one again is right."""
    cli, project = crowd
    cli.keys["sources"] = ["users"]
    roles = {project: ("GROUP_OWNER",)}
    ada = cli.sim.add_user("ada@example.com", age=20 * DAYS, group_roles=roles)
    accepts = faults.effect(before=lambda _visit: cli.sim.set_status(ada, "ACTIVE"))
    cli.sim.faults.add(accepts, method="DELETE")
    assert cli.sweep().code == 4
    (outcome,) = cli.lines("outcome")
    assert outcome["outcome"] == "accepted_during"
    result = restore(cli)
    assert (result["active"], result["restored"]) == (1, 0)
    assert person(cli, "ada@example.com").group_roles == roles


# --- federated organizations -------------------------------------------------------------------


@pytest.fixture
def federated(crowd):
    """An organization whose users become active at once; a sweep deleted two pending ones."""
    cli, _ = crowd
    cli.keys["sources"] = ["org_users"]
    for name in ("ada", "bo"):
        cli.sim.add_user(f"{name}@example.com", age=20 * DAYS)
    assert cli.sweep().summary["deleted"] == 2
    cli.sim.organizations[ORG_ID].federated = True
    return cli


def test_user_that_atlas_adds_at_once_is_active_counted_apart_and_ends_with_4(federated):
    result = restore(federated, code=4)
    assert (result["active"], result["restored"], result["exit_code"]) == (2, 0, 4)
    assert {each["outcome"] for each in result["invitations"]} == {"active"}
    outcomes = [line for line in restored_lines(federated) if line["event"] == "outcome"]
    assert {line["outcome"] for line in outcomes} == {"active"}
    assert restored_lines(federated)[-1]["active"] == 2
    assert person(federated, "ada@example.com").status == "ACTIVE"
    assert federated.run("audit", "verify", LOG).code == 0


def test_active_user_is_an_error_on_stderr_even_with_quiet(federated):
    done = federated.run("restore", LOG, "--yes", "--quiet")
    assert (done.code, done.out) == (4, "")
    assert done.err.count('"level": "error"') == 2
    assert "ada@example.com is an active member now" in done.err


def test_text_says_how_many_are_active_and_what_to_do(federated):
    done = federated.run("restore", LOG, "--yes")
    assert "Done: 2 active" in done.out
    assert "2 users are active now, without an acceptance." in done.out
    run_id = restored_lines(federated)[-1]["run_id"]
    show = f"invite-sweeper audit show {LOG} --run {run_id} --outcome active"
    assert "What to do: Check that each of them should have access" in done.out
    assert show in done.out
    assert show in federated.run("report", LOG, "--format", "md").out


def test_json_has_the_advice_with_the_command(federated):
    found = restore(federated, code=4)
    assert found["error"] is None
    (advice,) = found["advice"]
    assert f"--run {found['run_id']} --outcome active" in advice


def test_dry_run_says_that_users_can_become_active_at_once(federated):
    done = federated.run("restore", LOG, "--dry-run")
    assert done.code == 0
    assert "at once as active members" in done.out


# --- where to ----------------------------------------------------------------------------------


def test_project_that_moved_to_another_organization_gets_no_invitation(cli):
    moved, _ = swept(cli, projects=2)
    other = "6" * 24
    cli.sim.add_organization(other, "Elsewhere")
    cli.sim.groups[moved].org_id = other
    cli.account.org_ids = (ORG_ID, other)
    result = restore(cli, code=4)
    assert (result["failed"], result["restored"]) == (3, 3)
    failed = [each for each in result["invitations"] if each["outcome"] == "failed"]
    assert {each["reason"] for each in failed} == {
        f"Project {moved} belongs to organization {other} now."
    }


def test_restore_with_other_credentials_names_those_of_the_run(cli):
    swept(cli, projects=2)
    actor = cli.lines("run_started")[-1]["actor"]
    for project in cli.sim.groups:
        cli.sim.faults.add(faults.role_missing(), path=f"*/groups/{project}/*", times=9)
    done = cli.run("restore", LOG, "--yes", "--output", "json")
    assert (done.code, done.summary["failed"]) == (5, 0)
    assert f"used those of {actor}" in done.summary["error"]["message"]
    assert "--credentials NAME" in done.summary["error"]["hint"]


# --- how many ----------------------------------------------------------------------------------


def test_26_users_are_refused_by_default_before_the_first_post(cli):
    swept(cli, users=26)
    result = restore(cli, code=3)
    assert (result["to_restore"], result["exit_code"]) == (26, 3)
    assert cli.sim.request_log.received["POST"] == 0
    assert "--max 26" in result["error"]["hint"]


def test_dry_run_over_the_limit_shows_the_users_and_says_that_it_is_refused(cli):
    swept(cli)
    done = cli.run("restore", LOG, "--dry-run", "--max", "2")
    assert (done.code, done.out.count("person-")) == (3, 3)
    assert "3 users would be invited, and the limit is 2" in done.err


# --- after a kill ------------------------------------------------------------------------------


def kill_a_sweep(cli, *, settle):
    """Kill a sweep whose DELETE was done; with `settle`, the next sweep records what is left."""
    project = cli.sim.add_project("Sandbox")
    cli.sim.invite(project, "ada@example.com", age=20 * DAYS)
    cli.sim.faults.add(faults.hang(late=True), method="DELETE", times=99)
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: cli.sim.deleted)
    process.kill()
    process.communicate()
    cli.sim.faults.clear()
    if settle:
        assert cli.sweep().code == 0
        (outcome,) = cli.lines("outcome")
        assert (outcome["outcome"], outcome["recovered"]) == ("already_gone", True)
    return project, cli.lines("run_started")[0]["run_id"]


@pytest.mark.parametrize("settle", [True, False], ids=["settled", "not settled"])
@pytest.mark.parametrize("named", [True, False], ids=["by run", "without a run"])
def test_user_whose_deletion_was_done_before_a_kill_is_listed_and_restored_on_request(
    cli, settle, named
):
    project, run_id = kill_a_sweep(cli, settle=settle)
    words = ("--run", run_id) if named else ()
    result = restore(cli, *words)
    assert (result["restored"], result["uncertain"]) == (0, 1)
    (listed,) = result["uncertain_invitations"]
    assert (listed["username"], listed["deleted_by_run"]) == ("ada@example.com", run_id)
    assert listed["known"].startswith("The run was killed")
    assert cli.sim.request_log.received["POST"] == 0

    shown = cli.run("restore", LOG, *words, "--yes")
    assert shown.code == 0
    assert "ada@example.com" in shown.out
    assert "--include-recovered" in shown.out

    assert restore(cli, *words, "--include-recovered")["restored"] == 1
    assert "ada@example.com" in invited(cli, project)
    again = restore(cli, *words)
    assert (again["uncertain"], again["uncertain_invitations"]) == (0, [])


# --- what it says ------------------------------------------------------------------------------


def test_heading_names_the_run_the_organization_and_the_host(cli):
    swept(cli, users=1)
    run_id = cli.lines()[0]["run_id"]
    where = f"of run {run_id} in organization Example Industries ({ORG_ID}) at {cli.base_url}"
    dry = cli.run("restore", LOG, "--dry-run").out.splitlines()[0]
    assert dry.rstrip("/") == f"Dry run of a restore {where}".rstrip("/")
    real = cli.run("restore", LOG, "--yes").out.splitlines()[0]
    assert real.rstrip("/") == f"Restore {where}".rstrip("/")


def test_json_names_the_organization_the_run_and_the_host(cli):
    swept(cli, users=1)
    result = restore(cli)
    assert result["organizations"] == [{"id": ORG_ID, "name": "Example Industries"}]
    assert restored_lines(cli)[-1]["organization_names"] == {ORG_ID: "Example Industries"}
    assert result["deleted_by_run"] == cli.lines()[0]["run_id"]
    assert result["error"] is None
    assert restored_lines(cli)[0]["organizations"] == [ORG_ID]
