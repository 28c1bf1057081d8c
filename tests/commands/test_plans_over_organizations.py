"""One plan, one hash and one sweep over 1, 3 and 51 organizations with a credential each."""

import hashlib
import json
import re
from datetime import timedelta

import pytest

DAYS = timedelta(days=1)
PLAN = ("--policy", "policy.yaml", "--out", "plan.jsonl")


def org_id(name):
    """Return the id of the organization with the credentials of this name, such as `O2`."""
    return f"{int(name[1:]) + 1:024x}"


@pytest.fixture(params=[1, 3, 51])
def cli(cli, request):
    """Organizations with two projects each and a stale invitation in each project.

    `cli.ids` are the ids of the invitations, by the name of the credentials.
    """
    cli.ids = {f"O{number}": set() for number in range(request.param)}
    for name in cli.ids:
        cli.sim.add_organization(org_id(name), f"Example {name}")
        for side in ("left", "right"):
            project = cli.sim.add_project(f"{name} {side}", org_id(name))
            cli.projects.append(project)
            person = f"{name}-{side}@example.com"
            cli.ids[name].add(cli.sim.invite(project, person, age=20 * DAYS))
    cli.use_organizations({name: org_id(name) for name in cli.ids})
    return cli


def save(cli):
    done = cli.run("plan", *PLAN)
    assert done.code == 0, done.err
    return cli.folder / "plan.jsonl"


def read(cli):
    """Return what the second person reads; its last line has the hash."""
    done = cli.run("plan", "show", "plan.jsonl", "-v")
    assert done.code == 0, done.err
    return done


def apply(cli, *, sha256=None, **changes):
    sha256 = sha256 or hashlib.sha256((cli.folder / "plan.jsonl").read_bytes()).hexdigest()
    return cli.sweep("--plan", "plan.jsonl", "--plan-sha256", sha256, **changes)


def all_ids(cli):
    return set.union(*cli.ids.values())


def test_one_plan_is_applied_in_all_organizations_and_used_once(cli):
    save(cli)
    late = cli.sim.invite(cli.projects[0], "late@example.com", age=20 * DAYS)
    shown = read(cli).out
    for name in cli.ids:
        assert f"Example {name} ({org_id(name)})" in shown
        assert f"{name}-left@example.com" in shown
    done = apply(cli)
    assert done.code == 0, done.err
    assert sorted(cli.sim.deleted) == sorted(all_ids(cli))
    assert cli.sim.invitations(cli.projects[0]) == (late,)
    started = cli.lines("run_started")[-len(cli.ids) :]
    assert [each["mode"] for each in started] == ["sweep"] * len(cli.ids)
    assert len({each["plan_sha256"] for each in started}) == 1
    deleted = cli.deletes()
    assert (apply(cli).code, cli.deletes()) == (3, deleted)


def test_second_person_sees_each_organization_with_its_projects_and_people_below(cli):
    save(cli)
    shown = read(cli).out
    indent = "  " if len(cli.ids) > 1 else ""
    for name in cli.ids:
        if indent:
            assert re.search(rf"^Example {name} \({org_id(name)}\)  2$", shown, re.MULTILINE)
        for side in ("left", "right"):
            row = rf"^{indent}{name} {side}  1\n{indent}  +\d+\.\d d +{name}-{side}@example\.com"
            assert re.search(row, shown, re.MULTILINE), shown


@pytest.mark.parametrize("how", ["edited", "cut", "an organization cut", "a digest made anew"])
def test_plan_that_was_edited_or_cut_deletes_nothing_in_any_organization(cli, how):
    path, sha256 = save(cli), None
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "edited":
        lines = [line.replace(b"O0-left@example.com", b"O0-west@example.com") for line in lines]
    elif how == "cut":
        del lines[1]
    elif how == "an organization cut":
        del lines[1:3]
    else:  # the row of a person who was not shown to the second person
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        cli.sim.invite(cli.projects[0], "late@example.com", age=20 * DAYS)
        path = save(cli)
        lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines))
    assert (apply(cli, sha256=sha256).code, cli.deletes()) == (3, 0)


def test_organization_whose_credential_fails_after_the_plan_is_left_out_and_said(cli):
    save(cli)
    gone = list(cli.ids)[-1]
    done = apply(cli, **{f"MONGODB_ATLAS_ACCESS_TOKEN_{gone}": "wrong"})
    others = len(cli.ids) > 1
    assert done.code == (4 if others else 5)
    assert set(cli.sim.deleted) == all_ids(cli) - cli.ids[gone]
    by_name = {each["name"]: each for each in done.summary["organizations"]}
    assert [each["exit_code"] for each in done.summary["organizations"]].count(5) == 1
    assert by_name[f"Example {gone}"]["exit_code"] == 5  # the name is known from the log
    assert by_name[f"Example {gone}"]["deleted"] == 0
    assert f"MONGODB_ATLAS_ACCESS_TOKEN_{gone}" in done.err
    assert not others or f"Organization Example {gone} ({org_id(gone)}): " in done.errors[0]


def test_organization_whose_credential_fails_at_the_plan_is_not_in_it(cli):
    gone = "O0"
    wrong = {f"MONGODB_ATLAS_ACCESS_TOKEN_{gone}": "wrong"}
    done = cli.run("plan", *PLAN, "--output", "json", **wrong)
    if len(cli.ids) == 1:
        assert (done.code, (cli.folder / "plan.jsonl").exists()) == (5, False)
        return
    assert done.code == 4
    rows = (cli.folder / "plan.jsonl").read_text(encoding="utf-8").splitlines()[1:-1]
    assert {json.loads(row)["org_id"] for row in rows} == set(map(org_id, cli.ids)) - {org_id(gone)}
    assert cli.sweep("--plan", "plan.jsonl").code == 0
    assert set(cli.sim.deleted) == all_ids(cli) - cli.ids[gone]


def test_organization_that_is_renamed_after_the_plan_is_applied_with_its_new_name(cli):
    save(cli)
    cli.sim.add_organization(org_id("O0"), "Renamed")
    done = apply(cli)
    assert (done.code, set(cli.sim.deleted)) == (0, all_ids(cli))
    names = {each["id"]: each["name"] for each in done.summary["organizations"]}
    assert names[org_id("O0")] == "Renamed"


@pytest.mark.parametrize("over", [0, 1])
def test_limit_that_only_all_organizations_together_reach_refuses_the_plan(cli, over):
    count = len(all_ids(cli))
    cli.keys["limits"]["max_deletions"] = count - over
    done = cli.run("plan", *PLAN, "--output", "json")
    error, saved = done.summary["error"], (cli.folder / "plan.jsonl").exists()
    assert (saved, error is None) == (not over, not over)
    if error is not None:
        together = f"In {len(cli.ids)} organizations together: " if len(cli.ids) > 1 else ""
        expected = f"{together}{count} stale invitations are over max_deletions: {count - 1}."
        assert error["message"] == expected
        assert (cli.sweep().code, cli.deletes()) == (3, 0)


def test_limit_of_a_project_names_project_and_organization_with_their_ids(cli):
    name = list(cli.ids)[-1]
    cli.sim.invite(cli.projects[-1], "one-more@example.com", age=20 * DAYS)
    cli.keys["limits"]["max_deletions_per_project"] = 1
    message = cli.plan().summary["error"]["message"]
    of = f" of Example {name} ({org_id(name)})" if len(cli.ids) > 1 else ""
    project = f"project {name} right ({cli.projects[-1]}){of}"
    assert f"2 stale invitations in {project} are over max_deletions_per_project: 1." in message
