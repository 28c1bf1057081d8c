"""`explain` as a process: it shows why an invitation is stale or kept and changes nothing."""

import json
from datetime import timedelta

import faults
import pytest

from invite_sweeper.simulator import MISSING

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    cli.keys["rules"] = [
        {"name": "forgotten", "older_than": "14d"},
        {"name": "outsiders", "older_than": "3d", "usernames": ["*@mail.example.org"]},
    ]
    cli.keys["keep"] = [
        {"name": "board", "usernames": ["*@board.example.com"], "reason": "they travel"},
        {"name": "lapsed", "usernames": ["*"], "until": "2020-01-31"},
    ]
    return cli


def ask(cli, term, *arguments, code=0, **changes):
    done = cli.run(
        "explain", term, "--policy", "policy.yaml", "--output", "json", *arguments, **changes
    )
    assert done.code == code, done.err
    return json.loads(done.out)


def entry(explained, kind, name):
    return next(each for each in explained[kind] if each["name"] == name)


def test_stale_invitation_is_explained_rule_by_rule_and_key_by_key(cli):
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "Ada@example.com", age=20 * DAYS)
    (explained,) = ask(cli, "ada@EXAMPLE.com")["found"]
    assert explained["decision"]["stale"] is True
    assert explained["decision"]["rule"] == "forgotten"
    forgotten = entry(explained, "rules", "forgotten")
    assert forgotten["matched"] is True
    older = forgotten["keys"][0]
    assert (older["key"], older["expected"], older["actual"], older["matched"]) == (
        "older_than",
        "14 days",
        "20 days",
        True,
    )
    outsiders = entry(explained, "rules", "outsiders")
    assert outsiders["matched"] is False
    assert {key["key"]: key["matched"] for key in outsiders["keys"]}["usernames"] is False
    assert entry(explained, "keep", "board")["matched"] is False


def test_kept_invitation_names_the_entry_and_its_reason(cli):
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada@board.example.com", age=20 * DAYS)
    (explained,) = ask(cli, "*@board.example.com")["found"]
    assert explained["decision"]["kept"] == "keep:board"
    assert entry(explained, "keep", "board")["note"] == "they travel"
    assert entry(explained, "rules", "forgotten")["matched"] is True


def test_term_may_be_an_id_in_any_project(cli):
    for name in ("Alpha", "Beta"):
        project = cli.sim.add_project(name)
        cli.sim.invite(project, f"{name}@example.com", age=DAYS)
        last = cli.sim.invite(project, "other@example.com", age=2 * DAYS)
    explained = ask(cli, last.upper())
    assert [each["invitation_id"] for each in explained["found"]] == [last]
    assert explained["found"][0]["decision"]["kept"] == "too_young"
    assert (explained["projects"], explained["invitations"]) == (2, 4)


def test_nothing_found_shows_what_was_searched_and_what_is_excluded(cli):
    cli.keys["projects"] = {"exclude": ["prod-*"]}
    cli.sim.add_project("Search")
    hidden = cli.sim.add_project("prod-billing")
    cli.sim.invite(hidden, "ada@example.com", age=20 * DAYS)
    done = cli.run("explain", "ada@example.com", "--policy", "policy.yaml")
    assert done.code == 0
    assert "Nothing found for 'ada@example.com'" in done.out
    assert "0 invitations in 1 project (invites)" in done.out
    assert "prod-billing" in done.out


def test_project_that_cannot_be_read_ends_with_4_and_is_named(cli):
    cli.sim.add_project("Search")
    shut = cli.sim.add_project("Vault")
    cli.sim.faults.add(faults.role_missing(), path=f"*/{shut}/invites", times=10)
    explained = ask(cli, "ada@example.com", code=4)
    assert [each["project_name"] for each in explained["unreadable"]] == ["Vault"]


def test_project_deleted_during_the_search_is_not_an_error(cli):
    gone = cli.sim.add_project("Vault")
    cli.sim.faults.add(faults.fail_with(404, "GROUP_NOT_FOUND"), path=f"*/{gone}/invites")
    explained = ask(cli, "ada@example.com")
    assert (explained["found"], explained["unreadable"]) == ([], [])


def test_text_shows_the_policy_s_decision_and_what_cannot_be_evaluated(cli):
    cli.keys["limits"]["max_bounces"] = 1
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada@example.com", age=20 * DAYS)
    assert cli.sweep().code == 0
    cli.sim.invite(project, "ada@example.com", age=20 * DAYS)
    done = cli.run("explain", "ada@example.com", "--policy", "policy.yaml")
    assert "By the policy alone: stale" in done.out
    cli.sim.invite(project, "eve@example.com", createdAt=MISSING)
    done = cli.run("explain", "eve@example.com", "--policy", "policy.yaml")
    assert "cannot be evaluated" in done.out


def test_invitation_that_bounced_too_often_is_kept_for_that_reason(cli):
    cli.keys["limits"]["max_bounces"] = 1
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada@example.com", age=20 * DAYS)
    assert cli.sweep().code == 0
    cli.sim.invite(project, "ADA@example.com", age=20 * DAYS)
    (explained,) = ask(cli, "ada@example.com")["found"]
    assert (explained["by_policy"]["stale"], explained["decision"]["kept"]) == (True, "bounced")
    assert explained["decision"]["bounced"] == 1


def other_policy(cli):
    cli.keys["keep"] = []


def used(cli):
    assert cli.sweep("--plan", "plan.jsonl").code == 0


def edited(cli):
    plan = cli.folder / "plan.jsonl"
    plan.write_bytes(plan.read_bytes().replace(b"ada@", b"adb@"))


@pytest.mark.parametrize("change", [other_policy, used, edited])
def test_plan_that_a_sweep_would_refuse_is_refused(cli, change):
    cli.sim.invite(cli.sim.add_project("Search"), "ada@example.com", age=20 * DAYS)
    assert cli.plan("--out", "plan.jsonl").code == 0
    change(cli)
    done = cli.run("explain", "*", "--policy", str(cli.write_policy()), "--plan", "plan.jsonl")
    swept = cli.sweep("--plan", "plan.jsonl")
    assert (done.code, swept.code) == (3, 3), done.err
    assert done.errors == swept.errors != []


def test_saved_plan_that_does_not_list_it_keeps_it(cli):
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada@example.com", age=20 * DAYS)
    assert cli.plan("--out", "plan.jsonl").code == 0
    cli.sim.invite(project, "bo@example.com", age=20 * DAYS)
    explained = ask(cli, "*@example.com", "--plan", "plan.jsonl")["found"]
    assert {each["username"]: each["decision"]["kept"] for each in explained} == {
        "ada@example.com": None,
        "bo@example.com": "not_in_plan",
    }


def test_explain_sends_no_delete_and_writes_no_file(cli):
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada@example.com", age=20 * DAYS)
    ask(cli, "ada@example.com")
    assert {asked.method for asked in cli.sim.requests} == {"GET"}
    assert [path.name for path in cli.folder.iterdir()] == ["policy.yaml"]


def test_text_shows_no_control_character_of_a_name(cli):
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada\x1b[2K@example.com", age=20 * DAYS)
    done = cli.run("explain", "ada*", "--policy", "policy.yaml")
    assert done.code == 0
    assert "\x1b" not in done.out
    assert "Decision: stale by rule `forgotten`" in done.out


def test_refused_credentials_end_with_5_and_nothing_on_stdout(cli):
    cli.sim.add_project("Search")
    done = cli.run("explain", "ada", "--policy", "policy.yaml", MONGODB_ATLAS_ACCESS_TOKEN="wrong")
    assert (done.code, done.out) == (5, "")


def test_clock_more_than_5_minutes_off_ends_with_3_since_ages_would_be_wrong(cli):
    cli.sim.add_project("Search")
    cli.sim.date_offset = timedelta(minutes=6)
    done = cli.run("explain", "ada", "--policy", "policy.yaml")
    assert (done.code, done.out) == (3, "")


def test_every_list_of_the_policy_is_searched_and_each_invitation_shown_once(cli):
    cli.keys["sources"] = ["invites", "users", "org_users"]
    project = cli.sim.add_project("Search")
    cli.sim.invite(project, "ada@example.com", age=20 * DAYS)
    roles = {project: ("GROUP_READ_ONLY",)}
    cli.sim.add_user("ada@example.com", age=20 * DAYS, group_roles=roles)
    explained = ask(cli, "ada@example.com")
    assert explained["sources"] == ["invites", "users", "org_users"]
    found = {each["source"]: each for each in explained["found"]}
    assert {source: one["decision"]["rule"] for source, one in found.items()} == {
        "invites": "forgotten",
        "org_users": "forgotten",
    }
    (other,) = found["org_users"]["entries"]
    assert (other["source"], other["project_id"]) == ("users", project)
    assert "entries" not in found["invites"]


def test_retired_list_ends_with_4_and_the_others_are_searched(cli):
    cli.keys["sources"] = ["invites", "users"]
    cli.sim.versions.retired.add(("invites", "*"))
    project = cli.sim.add_project("Search")
    cli.sim.add_user("ada@example.com", group_roles={project: ("GROUP_OWNER",)})
    explained = ask(cli, "ada@example.com", code=4)
    assert [each["source"] for each in explained["found"]] == ["users"]
    assert [each["source"] for each in explained["unreadable"]] == ["invites"]
