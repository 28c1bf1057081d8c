"""One plan, one hash and one sweep over 1, 3 and 51 organizations with a credential each."""

import re
from datetime import timedelta

import pytest
from running import cli_in

DAYS = timedelta(days=1)


def org_id(name):
    """Return the id of the organization with the credentials of this name, such as `O2`."""
    return f"{int(name[1:]) + 1:024x}"


def add_organizations(cli, count):
    """Add organizations with two projects each and a stale invitation in each project.

    `cli.ids` are the ids of the invitations, by the name of the credentials.
    """
    cli.ids = {f"O{number}": set() for number in range(count)}
    for name in cli.ids:
        cli.sim.add_organization(org_id(name), f"Example {name}")
        for side in ("left", "right"):
            project = cli.sim.add_project(f"{name} {side}", org_id(name))
            cli.projects.append(project)
            person = f"{name}-{side}@example.com"
            cli.ids[name].add(cli.sim.invite(project, person, age=20 * DAYS))
    cli.use_organizations({name: org_id(name) for name in cli.ids})


@pytest.fixture(params=[1, 3])
def cli(cli, request):
    add_organizations(cli, request.param)
    return cli


def read(cli):
    """Return what the second person reads, and the SHA-256 that it ends with."""
    shown = cli.run("audit", "show", "1", "--policy", "policy.yaml", COLUMNS="200").out
    return shown, re.search(r"^SHA-256  ([0-9a-f]{64})\n\Z", shown, re.MULTILINE)[1]


def apply(cli, sha256, **changes):
    return cli.sweep("--plan", "1", "--plan-sha256", sha256, **changes)


def all_ids(cli):
    return set.union(*cli.ids.values())


def check_applied_once(cli):
    """Check that a second person sees all of the plan, and that it is applied, once."""
    assert cli.plan().code == 0
    late = cli.sim.invite(cli.projects[0], "late@example.com", age=20 * DAYS)
    shown, sha256 = read(cli)
    for name in cli.ids:
        if len(cli.ids) > 1:
            assert re.search(rf"^Example {name} \({org_id(name)}\)  2$", shown, re.MULTILINE)
        for side in ("left", "right"):
            row = rf"^ *{name} {side}  1\n +\d+\.\d d +{name}-{side}@example\.com"
            assert re.search(row, shown, re.MULTILINE), shown
    done = apply(cli, sha256)
    assert done.code == 0, done.err
    assert sorted(cli.sim.deleted) == sorted(all_ids(cli))
    assert cli.sim.invitations(cli.projects[0]) == (late,)
    assert cli.lines("run_started")[-1]["plan_sha256"] == sha256
    deleted = cli.deletes()
    assert (apply(cli, sha256).code, cli.deletes()) == (3, deleted)


def test_one_plan_is_read_by_a_second_person_and_applied_in_all_organizations_once(cli):
    check_applied_once(cli)


def test_plan_over_51_organizations_is_read_and_applied_once(tmp_path):
    with cli_in(tmp_path) as many:
        add_organizations(many, 51)
        check_applied_once(many)


def test_plan_that_the_second_person_did_not_read_deletes_nothing(cli):
    cli.plan()
    _, sha256 = read(cli)
    cli.sim.invite(cli.projects[0], "late@example.com", age=20 * DAYS)
    cli.plan()
    done = cli.sweep("--plan", "2", "--plan-sha256", sha256)
    assert (done.code, done.summary["reasons"], cli.deletes()) == (3, ["plan"], 0)


def test_organization_whose_credential_fails_after_the_plan_is_left_out_and_said(cli):
    cli.plan()
    gone = list(cli.ids)[-1]
    done = cli.sweep("--plan", "1", **{f"MONGODB_ATLAS_ACCESS_TOKEN_{gone}": "wrong"})
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
    done = cli.plan(**{f"MONGODB_ATLAS_ACCESS_TOKEN_{gone}": "wrong"})
    if len(cli.ids) == 1:
        assert (done.code, cli.lines("planned")) == (5, [])
        assert (cli.sweep("--plan", "1").code, cli.deletes()) == (3, 0)
        return
    assert done.code == 4
    planned = {line["org_id"] for line in cli.lines("planned")}
    assert planned == set(map(org_id, cli.ids)) - {org_id(gone)}
    assert cli.sweep("--plan", "1").code == 0
    assert set(cli.sim.deleted) == all_ids(cli) - cli.ids[gone]


def test_organization_that_is_renamed_after_the_plan_is_applied_with_its_new_name(cli):
    cli.plan()
    cli.sim.add_organization(org_id("O0"), "Renamed")
    done = cli.sweep("--plan", "1")
    assert (done.code, set(cli.sim.deleted)) == (0, all_ids(cli))
    names = {each["id"]: each["name"] for each in done.summary["organizations"]}
    assert names[org_id("O0")] == "Renamed"


@pytest.mark.parametrize("over", [0, 1])
def test_limit_that_only_all_organizations_together_reach_refuses_the_plan(cli, over):
    count = len(all_ids(cli))
    cli.keys["limits"]["max_deletions"] = count - over
    done = cli.plan()
    assert done.code == 3 * over
    if over:
        together = f"In {len(cli.ids)} organizations together: " if len(cli.ids) > 1 else ""
        expected = f"{together}{count} stale invitations are over max_deletions: {count - 1}."
        assert done.summary["error"]["message"] == expected
        assert (cli.sweep().code, cli.sweep("--plan", "1").code, cli.deletes()) == (3, 3, 0)


def test_limit_of_a_project_names_project_and_organization_with_their_ids(cli):
    name = list(cli.ids)[-1]
    cli.sim.invite(cli.projects[-1], "one-more@example.com", age=20 * DAYS)
    cli.keys["limits"]["max_deletions_per_project"] = 1
    message = cli.plan().summary["error"]["message"]
    of = f" of Example {name} ({org_id(name)})" if len(cli.ids) > 1 else ""
    project = f"project {name} right ({cli.projects[-1]}){of}"
    assert f"2 stale invitations in {project} are over max_deletions_per_project: 1." in message
