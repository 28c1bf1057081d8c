"""The population guard over several nights: what a sweep is compared with, and what may set it."""

import gzip
from datetime import timedelta

import faults
import pytest
from builders import policy_bytes

DAYS = timedelta(days=1)
USERS = "*/groups/*/users"
ACCEPT = "--accept-population"


def add_projects(cli, count=20, young=1, start=0):
    ids = []
    for number in range(start, start + count):
        ids.append(cli.sim.add_project(f"Project {number}"))
        for n in range(young):
            cli.sim.invite(ids[-1], f"y{number}-{n}@example.com", age=2 * DAYS)
    return ids


def add_stale(cli, project, *names):
    for name in names or ("stale",):
        cli.sim.invite(project, f"{name}@example.com", age=20 * DAYS)


def remove(cli, projects):
    for project in projects:
        cli.sim.remove_project(project)


def run_with(cli, command, *arguments, **changes):
    """Run with another policy file beside the nightly one."""
    path = cli.folder / "other.yaml"
    path.write_bytes(policy_bytes({**cli.keys, **changes}))
    return cli.run(command, "--policy", path.name, "--output", "json", *arguments)


def rotate(cli, change):
    """Compress the log as logrotate does, and return the new file."""
    path = cli.log_path.with_name(cli.log_path.name + ".1.gz")
    path.write_bytes(change(gzip.compress(cli.log_path.read_bytes())))
    cli.log_path.unlink()
    return path


def refused(cli, *arguments):
    """Return the error of a sweep that must be refused and delete nothing."""
    before = cli.deletes()
    done = cli.sweep(*arguments)
    assert (done.code, cli.deletes()) == (3, before), done.err
    return done.err


# Who sets what a sweep is compared with -----------------------------------------------------


NARROW = {"projects": {"include": ["Project 1"]}}


@pytest.mark.parametrize("command", ["plan", "sweep"])
@pytest.mark.parametrize("arguments", [(), (ACCEPT,)], ids=["", "accepted"])
def test_run_of_a_narrow_policy_does_not_replace_what_the_nightly_sweep_is_compared_with(
    cli, command, arguments
):
    ids = add_projects(cli)
    assert cli.sweep().code == 0
    assert run_with(cli, command, *arguments, **NARROW).code == 0
    remove(cli, ids[10:])
    add_stale(cli, ids[0])
    assert "10 projects were found, but the last complete run left 20" in refused(cli)


@pytest.mark.parametrize(
    "change",
    [
        {"rules": [{"name": "other", "older_than": "13d"}]},
        {"projects": {"exclude": ["Project 19"]}},
        {"sources": ["invites", "users"]},
    ],
    ids=["rules", "projects", "sources"],
)
def test_changed_policy_is_still_compared(cli, change):
    ids = add_projects(cli)
    assert cli.sweep().code == 0
    cli.keys |= change
    remove(cli, ids[:8])
    add_stale(cli, ids[8])
    assert "12 " in refused(cli)


def test_narrower_policy_is_not_a_drop(cli):
    add_projects(cli)
    assert cli.sweep().code == 0
    cli.keys |= NARROW
    assert cli.sweep().code == 0


# Sources ------------------------------------------------------------------------------------


def two_sources(cli):
    cli.keys["sources"] = ["invites", "users"]
    ids = add_projects(cli, count=4, young=5)
    for number, project in enumerate(ids):
        add_users(cli, project, [f"u{number}-{n}" for n in range(5)])
    return ids


def add_users(cli, project, names):
    return [
        cli.sim.add_user(
            f"{name}@example.com", age=2 * DAYS, group_roles={project: ["GROUP_OWNER"]}
        )
        for name in names
    ]


def retire_users(cli):
    cli.sim.faults.add(faults.fail_with(410, "VERSION_GONE"), method="GET", path=USERS, times=None)


def test_retired_source_is_waived_alone_and_the_other_is_compared(cli):
    ids = two_sources(cli)
    assert cli.sweep().code == 0
    retire_users(cli)
    assert cli.sweep().code == 4
    remove(cli, ids[:2])
    add_stale(cli, ids[3])
    error = refused(cli)
    assert "11 invitations were found, but the last complete run left 20" in error


# Rotated and compressed history -------------------------------------------------------------


def test_compressed_log_that_cannot_be_read_refuses_every_run(cli):
    ids = add_projects(cli, count=1)
    assert cli.sweep().code == 0
    rotated = rotate(cli, change=lambda data: data[:-9])
    add_stale(cli, ids[0])
    for run in (cli.sweep, cli.plan):
        done = run(ACCEPT)
        assert (done.code, cli.deletes()) == (3, 0)
        assert f"{rotated.name} cannot be read" in done.err
        assert "Restore the file" in done.err
    rotated.unlink()
    assert cli.sweep().summary["deleted"] == 1


# Projects that are gone ---------------------------------------------------------------------


def gone(cli, project):
    cli.sim.faults.add(
        faults.fail_with(404, "GROUP_NOT_FOUND"),
        method="GET",
        path=f"*/groups/{project}/*",
        times=None,
    )


def test_project_that_is_gone_is_counted_and_is_not_a_failure(cli):
    ids = add_projects(cli, count=3)
    add_stale(cli, ids[0])
    gone(cli, ids[1])
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 1)
    assert (done.summary["projects_gone"], done.summary["projects_unreadable"]) == (1, 0)
    assert (cli.lines("run_finished")[-1]["projects_gone"]) == 1
    shown = cli.run("sweep", "--policy", "policy.yaml")
    assert (shown.code, "1 of them deleted since it was listed" in shown.out) == (0, True)


@pytest.mark.parametrize(("count", "code"), [(6, 0), (7, 3)])
def test_many_projects_gone_at_once_are_a_drop_in_the_first_run_already(cli, count, code):
    ids = add_projects(cli)
    add_stale(cli, ids[-1])
    for project in ids[:count]:
        gone(cli, project)
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (code, 1 if code == 0 else 0), done.err
    assert ("13 projects were left of the 20 that were just listed" in done.err) is (code == 3)
    if code:
        assert cli.sweep(ACCEPT).summary["deleted"] == 1


# Nights on which some lists cannot be read ----------------------------------------------------


def hide(cli, projects):
    """Let these lists, and no other, be refused because a role is missing."""
    cli.sim.faults.clear()
    for project in projects:
        cli.sim.faults.add(
            faults.role_missing(), method="GET", path=f"*/groups/{project}/invites", times=None
        )


def test_nights_with_unread_lists_do_not_lower_what_a_run_is_compared_with(cli):
    projects = add_projects(cli, young=5)
    assert cli.sweep().code == 0
    for count in (5, 8):
        hide(cli, projects[:count])
        assert cli.sweep().code == 4
        (*_, last) = cli.lines("run_finished")
        assert last["remaining"]["invitations"] == {"invites": 100}
    hide(cli, [])
    for project in projects[:11]:
        cli.sim.groups[project].invites.clear()
    assert "45 invitations were found, but the last complete run left 100" in refused(cli)


def test_drop_beside_an_unread_list_is_refused(cli):
    projects = add_projects(cli, young=5)
    assert cli.sweep().code == 0
    hide(cli, projects[:5])
    for project in projects[5:12]:
        cli.sim.groups[project].invites.clear()
    assert "65 invitations were found, but the last complete run left 100" in refused(cli)


def test_deletions_of_a_night_with_an_unread_list_lower_what_the_next_is_compared_with(cli):
    projects = add_projects(cli, young=5)
    assert cli.sweep().code == 0
    add_stale(cli, projects[9], *"abc")
    hide(cli, projects[:1])
    assert (cli.sweep().code, cli.deletes()) == (4, 3)
    (*_, last) = cli.lines("run_finished")
    assert last["remaining"]["invitations"] == {"invites": 100}
    assert last["remaining"]["lists"][f"invites {projects[9]}"] == 5


def test_first_night_with_an_unread_list_sets_no_count_of_its_source(cli):
    projects = add_projects(cli, young=5)
    hide(cli, projects[:3])
    assert cli.sweep().code == 4
    (last,) = cli.lines("run_finished")
    assert last["plan_complete"] is False
    assert (last["remaining"]["invitations"], last["remaining"]["projects"]) == ({}, 20)
