"""`list`: every pending invitation in scope, a row each, and from which day on it may go."""

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta

import faults
import pytest
from running import printed

from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    project = cli.sim.add_project("Search")
    for name, age in (("old", 20), ("older", 25), ("young", 10), ("new", 0)):
        cli.sim.invite(project, f"{name}@example.com", age=age * DAYS)
    cli.sim.invite(project, "chair@board.example.com", age=40 * DAYS)
    cli.keys["keep"] = [{"name": "board", "usernames": ["*@board.example.com"]}]
    return cli


def list_on_one_day(cli, *words, **changes):
    """Return the result of `list`, and the day on which it began and ended."""
    today = datetime.now(UTC).date()
    done = cli.run("list", *words, **changes)
    if datetime.now(UTC).date() > today:
        return list_on_one_day(cli, *words, **changes)
    return done, today


def listed(cli, *words):
    """Return the name, the decision and in how many days each invitation goes."""
    done, today = list_on_one_day(cli, "-o", "json", *words)
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in done.out.splitlines()]
    return [
        (
            row["username"].partition("@")[0],
            row["rule"] or row["reason"],
            row["goes_at"] and (datetime.fromisoformat(row["goes_at"]).date() - today).days,
        )
        for row in rows
    ]


def test_each_invitation_has_its_decision_and_is_sorted_by_the_day_on_which_it_goes(cli):
    assert listed(cli) == [
        ("old", "forgotten", 0),
        ("older", "forgotten", 0),
        ("young", "too_young", 4),
        ("new", "too_young", 14),
        ("chair", "keep:board", None),
    ]


def test_the_wait_of_notice_counts_from_the_sweep_that_announces(cli):
    cli.keys["notice"] = {"wait": "7d"}
    early = int(datetime.now(UTC).hour < 1)  # the wait is over an hour early
    found = listed(cli, "--stale")
    assert found == [("old", "forgotten", 7 - early), ("older", "forgotten", 7 - early)]
    assert [day for *_, day in listed(cli, "--kept")] == [11 - early, 21 - early, None]
    assert cli.sweep().code == 0  # announces what is stale
    done = cli.run("list", "-o", "json", "--username", "old*")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert {(row["decision"], row["rule"]) for row in rows} == {("stale", "forgotten")}
    assert all(row["announced_at"] for row in rows)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("--stale", "--kept"), {"old", "older", "young", "new", "chair"}),
        (("--username", "OLD*", "--username", "new@*"), {"old", "older", "new"}),
        (("--inviter", "nobody-*"), set()),
        (("--inviter", ""), set()),  # a variable that is not set
        (("--organization", ORG_ID, "--kept"), {"young", "new", "chair"}),
    ],
)
def test_filters_leave_what_matches_all_of_them(cli, words, names):
    assert {name for name, *_ in listed(cli, *words)} == names


def test_csv_and_json_lines_have_the_same_fields(cli):
    as_json = cli.run("list", "-o", "json").out.splitlines()
    as_csv = list(csv.reader(io.StringIO(cli.run("list", "-o", "csv").out)))
    assert as_csv[0] == list(json.loads(as_json[0]))
    assert [row[as_csv[0].index("goes_at")] for row in as_csv[1:]] == [
        json.loads(line)["goes_at"] or "" for line in as_json
    ]


def test_text_shows_a_person_on_one_line_that_is_whole_in_a_pipe_of_any_width(cli):
    done, today = list_on_one_day(cli, COLUMNS="80")
    assert done.code == 0
    first = done.out.splitlines()
    header, row = (re.split(" {2,}", line.strip()) for line in first[:2])
    names = "GOES AGE PERSON WHERE ROLES INVITER REASON STATUS OUTCOME LIST"
    assert header == names.split()
    assert row[:5] == [
        str(today),
        "20.0 d",
        "old@example.com",
        "Search · Example Industries",
        "read only",
    ]
    assert row[6:] == ["forgotten", "pending", "stale", "invites"]
    assert first[-1] == "5 invitations: 2 stale, 3 kept. The limits may make a day later."


def test_an_organization_that_the_policy_does_not_have_is_wrong_usage(cli):
    done = cli.run("list", "--organization", "f" * 24)
    assert (done.code, f"has no organization {'f' * 24}" in done.err) == (2, True)
    hint = json.loads(done.err.splitlines()[-1])["hint"]
    assert ORG_ID in hint
    assert cli.run(*printed(hint, "All of them")).code == 0


def test_a_list_that_cannot_be_read_is_4_and_named(cli):
    cli.sim.faults.add(faults.fail_with(403), path="*/invites", times=None)
    cli.keys["sources"] = ["invites", "org_users"]
    done = cli.run("list")
    assert done.code == 4
    assert "Search" in done.err


def test_filter_for_a_person_names_the_projects_that_the_policy_excludes(cli):
    cli.keys["projects"] = {"exclude": ["prod-*"]}
    cli.sim.invite(cli.sim.add_project("prod-billing"), "ada@example.com", age=20 * DAYS)
    done = cli.run("list", "--username", "ada@*")
    assert (done.code, done.out) == (0, "No invitation matches.\n")
    assert "Not searched, as the policy excludes them: prod-billing" in done.err
    assert "Not searched" not in cli.run("list").err


def test_it_writes_nothing_and_sends_only_gets(cli):
    assert listed(cli)
    assert {name.name for name in cli.folder.iterdir()} == {"policy.yaml"}
    sent = {request.method for request in cli.sim.requests if "/oauth/" not in request.path}
    assert sent == {"GET"}
