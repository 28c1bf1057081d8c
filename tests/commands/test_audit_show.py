"""`audit show`: what a run recorded, with names that other people chose."""

import csv
import json
from datetime import timedelta

import faults
import pytest
from running import wait_until
from terminals import terminal_of

HOSTILE = "\x1b[2J\x85\u202e@example.com"
ESCAPED = "[U+001B][2J[U+0085][U+202E]@example.com"
OLD, YOUNG = timedelta(days=20), timedelta(days=2)


@pytest.fixture
def cli(cli):
    """A person of each list of users or older invitations who is kept, and one who is stale."""
    cli.keys |= {"audit": {"record": "all"}, "sources": ["invites", "users"]}
    project = cli.sim.add_project("Sandbox")
    cli.sim.invite(project, "old@example.com", age=OLD)
    cli.sim.invite(project, f"a{HOSTILE}", age=YOUNG)
    cli.sim.add_user("pending@example.com", age=YOUNG, group_roles={project: ["GROUP_OWNER"]})
    return cli


def test_a_kept_line_has_the_status_where_the_list_has_one(cli):
    assert cli.plan().code == 0
    statuses = {line["source"]: line.get("status") for line in cli.lines("kept")}
    assert statuses == {"invites": None, "users": "PENDING"}
    assert all("status" not in line for line in cli.lines("planned"))


def test_text_of_a_run_shows_what_it_recorded_as_kept(cli):
    assert cli.plan().code == 0
    shown = cli.run("audit", "show", "1", "--audit-dir", "audit").out
    table, _, plan = shown.partition("old@example.com")
    assert "Kept invitations  2" in table
    assert table.count("too young for every rule") == 2
    assert f"a{ESCAPED}" in table
    assert "pending@example.com" in table
    assert "1 stale" in plan or "Stale" in plan


def test_csv_escapes_what_clears_or_reverses_a_screen(cli):
    assert cli.plan().code == 0
    words = ("audit", "show", "1", "--audit-dir", "audit", "-o", "csv")
    piped = cli.run(*words).out
    with terminal_of(cli, *words) as screen:
        code, shown = screen.end()
    assert code == 0
    for text in (piped, shown):
        assert f"a{ESCAPED}" in text
        assert not {"\x1b", "\x85", "\u202e"} & set(text)
    rows = list(csv.DictReader(piped.splitlines()))
    kept = next(row for row in rows if row["username"] == f"a{ESCAPED}")
    assert (kept["event"], kept["reason"]) == ("kept", "too_young")
    assert next(row for row in rows if row["source"] == "users")["status"] == "PENDING"


def test_deletions_of_a_killed_run_are_among_the_deleted_and_recovered_counts_them(cli):
    cli.keys["limits"] = {"canary": 3, "max_share": 1.0}
    cli.stock(stale=6)
    cli.sim.faults.add(faults.hang(late=True), method="DELETE", times=99)
    process = cli.fork("sweep", "--policy", "policy.yaml")
    wait_until(lambda: len(cli.sim.deleted) == 3)
    process.kill()
    process.communicate()
    cli.sim.faults.clear()
    done = cli.sweep()
    assert (done.code, done.summary["recovered"], len(cli.sim.deleted)) == (0, 3, 7), done.err
    query = ("audit", "show", "--audit-dir", "audit", "--outcome", "deleted")
    lines = [json.loads(line) for line in cli.run(*query, "-o", "json").out.splitlines()]
    assert sorted(line["invitation_id"] for line in lines) == sorted(cli.sim.deleted)
    assert sum("recovers" in line for line in lines) == 3
