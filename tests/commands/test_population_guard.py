"""The population guard over several nights: what a sweep is compared with."""

from datetime import timedelta

import faults
import pytest

DAYS = timedelta(days=1)
ACCEPT = "--accept-population"


def add_stale(cli, project, *names):
    for name in names or ("stale",):
        cli.sim.invite(project, f"{name}@example.com", age=20 * DAYS)


def remove(cli, projects):
    for project in projects:
        cli.sim.remove_project(project)


def refused(cli):
    """Return the error of a sweep that must be refused and delete nothing."""
    before = cli.deletes()
    done = cli.sweep()
    assert (done.code, done.summary["reasons"][0]) == (3, "max_population_drop"), done.err
    assert cli.deletes() == before
    return done.err


def test_drop_in_projects_is_refused_with_both_numbers_until_it_is_accepted(cli):
    ids = cli.stock(20, 0, 1)
    assert cli.sweep().code == 0
    cli.keys["rules"] = [{"name": "other", "older_than": "13d"}]
    remove(cli, ids[:8])
    add_stale(cli, ids[8])
    assert "12 projects were found, but the last complete run left 20" in refused(cli)
    assert cli.sweep(ACCEPT).summary["deleted"] == 1
    assert cli.sweep().code == 0


# Projects that are gone ---------------------------------------------------------------------


def gone(cli, project):
    fault = faults.fail_with(404, "GROUP_NOT_FOUND")
    cli.sim.faults.add(fault, method="GET", path=f"*/groups/{project}/*", times=None)


def test_project_that_is_gone_is_counted_and_is_not_a_failure(cli):
    ids = cli.stock(3, 0, 1)
    add_stale(cli, ids[0])
    gone(cli, ids[1])
    done = cli.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 1)
    assert (done.summary["projects_gone"], done.summary["projects_unreadable"]) == (1, 0)
    shown = cli.run("sweep", "--policy", "policy.yaml")
    assert (shown.code, "1 project deleted since it was listed" in shown.out) == (0, True)


@pytest.mark.parametrize(("count", "code"), [(6, 0), (7, 3)])
def test_many_projects_gone_at_once_are_a_drop_in_the_first_run_already(cli, count, code):
    ids = cli.stock(20, 0, 1)
    add_stale(cli, ids[-1])
    for project in ids[:count]:
        gone(cli, project)
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (code, 1 if code == 0 else 0), done.err
    assert ("13 projects were left of the 20 that were just listed" in done.err) is (code == 3)
    if code:
        assert cli.sweep(ACCEPT).summary["deleted"] == 1
