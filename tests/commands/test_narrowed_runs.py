"""`--project` narrows a run to some projects of the policy's scope, and never widens it."""

from datetime import timedelta

import pytest
from builders import ORG, OTHER_ORG, object_id
from running import printed

OLD = timedelta(days=20)
ALL = ["invites", "users", "org_users", "org_invites"]


@pytest.fixture
def cli(cli):
    """Stale people in two projects, one in both, one in none, and one in an excluded project."""
    cli.keys |= {"sources": ALL, "projects": {"exclude": ["prod-*"]}}
    one = cli.sim.add_project("One", project_id=object_id(0xA))
    two, prod = map(cli.sim.add_project, ("Two", "prod-1"))
    owner = ["GROUP_OWNER"]
    for name, projects in {"one": [one], "two": [two], "both": [one, two], "none": []}.items():
        roles = dict.fromkeys(projects, owner)
        cli.sim.add_user(f"{name}@example.com", age=OLD, group_roles=roles)
    for project in (one, two, prod):
        cli.sim.invite(project, "invited@example.com", age=OLD)
    return cli


def deleted(cli):
    fields = ("username", "source", "project_name")
    return {tuple(line[field] for field in fields) for line in cli.lines("intent")}


@pytest.mark.parametrize("named", ["oNe", object_id(0xA)])
def test_only_what_is_wholly_in_that_project_goes_and_the_run_has_its_name(cli, named):
    done = cli.sweep("--project", named)
    assert done.code == 0, done.err
    # Of who is in both, the role in that project; the organization's invitation stays.
    assert deleted(cli) == {
        ("invited@example.com", "invites", "One"),
        ("one@example.com", "org_users", None),
        ("both@example.com", "users", "One"),
    }
    (start,) = cli.lines("run_started")
    assert start["projects"] == [named]
    assert done.summary["projects"] == [named]


@pytest.mark.parametrize("name", ["prod-1", "On*"])
def test_project_that_the_policy_does_not_have_is_refused_and_no_list_is_said_to_be_unread(
    cli, name
):
    cli.use_organizations({"ALPHA": ORG, "BETA": OTHER_ORG})
    cli.sim.add_project("Three", OTHER_ORG)
    done = cli.run("sweep", "--project", "One", "--project", name)
    assert (done.code, cli.deletes()) == (3, 0)
    assert done.errors == [f"No project in the policy's scope is named {name!r}."]
    assert done.out.count("Refused: no plan was made") == 2
    assert "not all read" not in done.out


def test_plan_of_a_project_is_applied_to_it_and_not_with_another_one(cli):
    assert cli.plan("--project", "One", "--out", "plan.jsonl").code == 0
    both = cli.sweep("--plan", "plan.jsonl", "--project", "Two")
    assert (both.code, cli.deletes()) == (2, 0)
    done = cli.sweep("--plan", "plan.jsonl")
    assert (done.code, len(deleted(cli))) == (0, 3), done.err
    assert done.summary["projects"] == ["One"]


def test_hint_of_a_refused_plan_makes_a_new_one_of_the_same_projects(cli):
    assert cli.plan("--project", "One", "--out", "plan.jsonl").code == 0
    cli.keys["keep"] = [{"name": "board", "usernames": ["*@board.example.com"]}]
    refused = cli.sweep("--plan", "plan.jsonl")
    assert (refused.code, cli.deletes()) == (3, 0)
    command = printed(refused.summary["error"]["hint"], "Create a new plan with")
    again = cli.run(*command, "-o", "json")
    assert (again.code, again.summary["projects"]) == (0, ["One"])


def test_announcements_of_what_a_narrowed_run_does_not_read_hold(cli):
    cli.keys["notice"] = {"wait": "7d"}
    assert cli.sweep().summary["announced"] == 6
    done = cli.sweep("--project", "One")
    assert (done.code, cli.lines("announcement_ended")) == (0, [])
    assert cli.sweep().summary["waiting"] == 6
