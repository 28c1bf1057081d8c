"""`audit show`: what runs recorded, and how a run is named."""

import csv
import json
import re
from datetime import timedelta

import pytest
from running import cli_in, printed

HOSTILE = "\x1b[2J\x85\u202e\U000e0041@example.com"
ESCAPED = "[U+001B][2J[U+0085][U+202E][U+E0041]@example.com"
OLD = timedelta(days=20)
YOUNG = timedelta(days=2)


@pytest.fixture
def cli(cli):
    add_people(cli)
    return cli


def show(cli, *words):
    return cli.run("audit", "show", *words)


def add_people(cli):
    """Add a person of each list of users or older invitations who is kept, and one who is stale."""
    cli.keys |= {"audit": {"record": "all"}, "sources": ["invites", "users"]}
    project = cli.sim.add_project("Sandbox")
    cli.sim.invite(project, "old@example.com", age=OLD)
    cli.sim.invite(project, f"a{HOSTILE}", age=YOUNG)
    cli.sim.add_user("pending@example.com", age=YOUNG, group_roles={project: ["GROUP_OWNER"]})


def test_json_and_csv_escape_what_a_terminal_obeys_or_does_not_show(cli):
    assert cli.plan().code == 0
    text = show(cli, "1", "-o", "json").out
    assert f"a{HOSTILE}" in [json.loads(line).get("username") for line in text.splitlines()]
    assert r"a\u001b[2J\u0085\u202e\udb40\udc41@example.com" in text
    rows = list(csv.DictReader(show(cli, "1", "-o", "csv").out.splitlines()))
    kept = next(row for row in rows if row["username"] == f"a{ESCAPED}")
    assert (kept["event"], kept["reason"]) == ("kept", "too_young")
    assert next(row for row in rows if row["source"] == "users")["status"] == "PENDING"


# What became of people, in all runs --------------------------------------------------------------


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Plan, delete and restore the same person; another one stays. For tests that only read."""
    with cli_in(tmp_path_factory.mktemp("nights")) as cli:
        add_people(cli)
        assert cli.plan().code == 0
        assert cli.sweep().summary["deleted"] == 1
        assert cli.run("restore").code == 0
        assert cli.sweep().code == 0
        yield cli


def test_a_username_without_a_run_is_the_history_of_the_person_a_line_each_with_its_run(nights):
    done = show(nights, "--username", "OLD@*")
    rows = [re.split(" {2,}", line) for line in done.out.splitlines() if line]
    who = ["old@example.com", "Sandbox · Example Industries"]
    assert [row[3:5] for row in rows[1:]] == [who] * 4
    assert [(row[1], *row[-3:-1]) for row in rows[1:]] == [
        ("dry-run 1", "forgotten", "would be deleted"),
        ("sweep 2", "forgotten", "deleted"),
        ("restore 3", "forgotten", "restored"),
        ("sweep 4", "too young for every rule", "kept"),
    ]
    assert (done.code, done.err, "SHA-256" in done.out) == (0, "", False)


def test_json_and_csv_have_every_line_with_its_run_and_mode(nights):
    expected = [
        (1, "dry-run", "planned"),
        (2, "sweep", "planned"),
        (2, "sweep", "intent"),
        (2, "sweep", "outcome"),
        (3, "restore", "intent"),
        (3, "restore", "outcome"),
        (4, "sweep", "kept"),
    ]
    rows = map(json.loads, show(nights, "--username", "old@*", "-o", "json").out.splitlines())
    assert [(row["run"], row["mode"], row["event"]) for row in rows] == expected
    table = csv.DictReader(show(nights, "--username", "old@*", "-o", "csv").out.splitlines())
    assert [(int(row["run"]), row["mode"], row["event"]) for row in table] == expected


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--username", "zed@*"), 0, "No line of 4 runs matches."),
        (("2", "--outcome", "failed"), 0, "No line of 1 run matches."),
        (("--since", "2026-12-02", "--until", "2026-12-01"), 2, "--since is not before --until"),
    ],
)
def test_a_search_without_a_match_prints_a_sentence(nights, words, code, said):
    done = show(nights, *words)
    assert (done.code, done.out, said in done.err) == (code, "", True)


@pytest.mark.parametrize("name", ["99", "1999-12-31"])
def test_run_that_is_not_there_is_answered_with_the_names_of_a_run_and_how_to_list_them(
    nights, name
):
    done = show(nights, name)
    assert (done.code, f"has no run {name}" in done.err) == (2, True)
    assert "its number, its day, its id or its file, or as last" in " ".join(done.err.split())
    assert nights.run(*printed(done.err, "List the runs with")).out.count(" UTC  ") == 4


def test_run_with_a_long_reason_is_one_line_of_a_file_so_that_grep_finds_all_of_it(cli):
    reason = "OPS-1234 " + "and so on " * 7
    assert cli.sweep("--reason", reason).code == 0
    _, line = show(cli).out.rstrip().splitlines()
    assert f"  {reason.strip()}  " in line


def test_long_plan_shows_20_rows_and_the_command_that_shows_all(cli):
    cli.stock(5, 5)
    done = cli.run("plan")
    person = re.compile(r"^.* d  \S+@\S+  ", re.MULTILINE)
    assert len(person.findall(done.out)) == 20
    whole = cli.run(*printed(done.out, "6 more"))
    assert (whole.code, len(person.findall(whole.out))) == (0, 26 + 2)  # and who is kept


# A run by its number, its day, or as the last one -------------------------------------------------


def day_of(path):
    stamp = path.name.partition("-")[2][:8]
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:]}"


def test_a_number_is_that_of_a_run_also_where_a_file_has_that_name(nights):
    (nights.folder / "1").write_text("a note", "utf-8")
    done = show(nights, "1")
    assert (done.code, "Run        1, " in done.out) == (0, True), done.err


def test_last_is_the_newest_run(nights):
    assert show(nights, "last").out == show(nights, "4").out != ""
    assert show(nights, "last", "--policy").out == show(nights, "4", "--policy").out


def test_a_day_is_all_its_runs_in_their_order(nights):
    days = {day_of(path) for path in nights.run_files()}
    shown = "".join(show(nights, day).out for day in sorted(days))
    if len(days) == 1:  # else midnight was between two of them
        assert shown == show(nights, "1", "2", "3", "4").out
    for name in ("1", "2", "3", "4"):
        assert show(nights, name).out.splitlines()[0] in shown


def test_a_restore_of_a_day_with_several_runs_asks_for_the_number(nights):
    (day, *others) = {day_of(path) for path in nights.run_files()}
    if others:
        pytest.skip("midnight was between two of the runs")
    done = nights.run("restore", day, "--dry-run")
    assert done.code == 2
    assert f"4 runs began on {day}: 1, 2, 3, 4." in done.err


def test_a_restore_of_the_last_run_undoes_it(cli):
    cli.stock()
    assert cli.sweep().code == 0
    done = cli.run("restore", "last", "--dry-run")
    assert (done.code, "Deleted by  run 1" in done.out) == (0, True), done.err
