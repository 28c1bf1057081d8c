"""A run is named by its number, its day, or as the last one; lines also by their organization."""

import json

import pytest
from running import cli_in


def show(cli, *words):
    return cli.run("audit", "show", *words, "--audit-dir", "audit")


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Make three runs: a plan, a sweep and a plan."""
    with cli_in(tmp_path_factory.mktemp("nights")) as cli:
        cli.stock()
        assert cli.plan().code == 0
        assert cli.sweep().code == 0
        assert cli.plan().code == 0
        yield cli


def day_of(path):
    stamp = path.name.partition("-")[2][:8]
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}"


def test_last_is_the_newest_run(nights):
    assert show(nights, "last").out == show(nights, "3").out != ""
    assert show(nights, "last", "--policy").out == show(nights, "3", "--policy").out


def test_a_day_is_all_its_runs_in_their_order(nights):
    days = {day_of(path) for path in nights.run_files()}
    shown = "".join(show(nights, day).out for day in sorted(days))
    if len(days) == 1:  # else midnight was between two of them
        assert shown == show(nights, "1", "2", "3").out
    for name in ("1", "2", "3"):
        assert show(nights, name).out.splitlines()[0] in shown


def test_a_day_without_a_run_is_refused_with_the_names_that_a_run_has(nights):
    done = show(nights, "1999-12-31")
    assert (done.code, done.out) == (2, "")
    assert "has no run 1999-12-31" in done.err
    assert "its number, its day, its id or its file, or as last" in " ".join(done.err.split())


def test_a_restore_of_a_day_with_several_runs_asks_for_the_number(nights):
    (day, *others) = {day_of(path) for path in nights.run_files()}
    if others:
        pytest.skip("midnight was between two of the runs")
    done = nights.run("restore", day, "--dry-run", "--policy", "policy.yaml")
    assert done.code == 2
    assert f"3 runs began on {day}: 1, 2, 3." in done.err


def test_a_restore_of_the_last_run_undoes_it(cli):
    cli.stock()
    assert cli.sweep().code == 0
    done = cli.run("restore", "last", "--dry-run", "--policy", "policy.yaml")
    assert (done.code, "Deleted by  run 1" in done.out) == (0, True), done.err


def test_organization_narrows_what_is_shown_in_each_format(several):
    assert several.sweep().code == 0
    lines = [json.loads(line) for line in show(several, "-o", "json").out.splitlines()]
    orgs = sorted({line["org_id"] for line in lines if "org_id" in line})
    assert len(orgs) > 1
    for org in orgs:
        done = show(several, "--organization", org, "-o", "json")
        found = [json.loads(line) for line in done.out.splitlines()]
        assert {line["org_id"] for line in found} == {org}
        assert len(found) == sum(line.get("org_id") == org for line in lines)
        rows = show(several, "1", "--organization", org, "-o", "csv").out.splitlines()
        assert len(rows) == len(found) + 1
    done = show(several, "--organization", "a" * 24)
    assert (done.code, done.out, "No line of 1 run matches." in done.err) == (0, "", True)
