"""The screens of a command over three organizations, at 80 and 140 columns, as snapshots.

`UPDATE_SNAPSHOTS=1` writes them; read the difference as the operator would.
"""

import re
from contextlib import contextmanager
from datetime import timedelta

import pytest
from report.snapshots import assert_snapshot, mask
from rich.cells import cell_len
from running import WIDE, cli_in

DAYS = timedelta(days=1)
WIDTHS = (80, 140)
ORGANIZATIONS = {
    "ACME": ("5efda682a3f2ed2e7dd6cde5", "Acme"),
    "NORTH": ("6f1a20c4d39b5e7788a0c1d2", "Northwind Traders Deutschland GmbH"),
    "SOUTH": ("7b2c31d5e4ac6f8899b1d2e3", "Contoso South"),
}
NEVER_WRAPPED = re.compile(
    r"\S+ \[(?:info|warning|error) *\]|Show all: |What to do: |Last hash +|Error: "
    r"|  (?:Nothing|Check|Read|More|Select|Atlas|Show it|Delete) ?|Plan |Approved |Audit |\$ "
    r"|Dry run of a restore |Atlas adds |The same command |This log "
)
VARIES = (
    (r"(?m)^(  policy +).*(?:\n {11}.*)*", r"\1-"),  # the folder's length decides where it wraps
    (r"\b[0-9a-f]{8}51aa7a5e1d([0-9a-f]{6})\b", r"5f00000051aa7a5e1d\1"),  # made from the clock
    (r"\d+ seconds? ago", "2 seconds ago"),
)
HEADING = re.compile(r"( *)\S.*\S  ([\d,]+)")
ROW = re.compile(r" +[\d,]+\.\d d  \S+@")
HIDDEN = re.compile(r"( *)… ([\d,]+) more(?: in [\d,]+ other lists)?")


def fill(cli):
    """Fill three organizations with all four lists, owners, duplicates and a person to keep."""
    sim, cli.changes = cli.sim, dict.fromkeys(cli.account.environment(), None)
    cli.keys |= {
        "sources": ["invites", "users", "org_users", "org_invites"],
        "organizations": [],
        "rules": [
            {"name": "forgotten", "older_than": "14d"},
            {"name": "pending", "older_than": "21d", "statuses": ["PENDING"]},
        ],
        "keep": [{"name": "board", "usernames": ["*@board.example.com"], "reason": "they travel"}],
        "limits": dict(WIDE),
    }
    for number, (name, (org_id, label)) in enumerate(ORGANIZATIONS.items()):
        sim.add_organization(org_id, label)
        small = sim.add_project(f"{label.split()[0]} Website", org_id)
        large = sim.add_project("Data Platform (production, shared by all teams)", org_id)
        for each in range(3 + number):
            age, mail = (20 + 3 * each + number) * DAYS, "contractors.example.com"
            sim.invite(large, f"guest.{each}@{mail}", age=age, inviter="wkzjqvtb")
        sim.invite(large, "lead@example.com", age=16 * DAYS, roles=("GROUP_OWNER",))
        sim.invite(small, f"{name.lower()}@example.com", age=30 * DAYS, inviter="ann@example.com")
        sim.invite(small, "chair@board.example.com", age=90 * DAYS)
        sim.add_user(
            "both.lists@example.com",
            org_id,
            age=25 * DAYS,
            group_roles={small: ["GROUP_OWNER"], large: ["GROUP_READ_ONLY"]},
            inviter="ann@example.com",
        )
        sim.add_user("young@example.com", org_id, age=2 * DAYS)
        account = sim.add_service_account(org_id)
        variables = account.environment().items()
        cli.changes |= {f"{key}_{name}": value for key, value in variables}
        cli.keys["organizations"].append({"id": org_id, "credentials": name})


def plan(cli, run):
    run("plan", "--policy", "policy.yaml", "--out", "plan.jsonl")
    run("plan", "show", "plan.jsonl")


def long_plan(cli, run):
    """A plan of which a part is shown, the same number of rows for each organization."""
    for number, project in enumerate(list(cli.sim.groups)):
        for each in range(12 + number):
            cli.sim.invite(project, f"more.{each}@example.com", age=(40 + each) * DAYS)
    run("plan", "--policy", "policy.yaml", "--out", "plan.jsonl")
    run("plan", "show", "plan.jsonl")


def sweep(cli, run):
    run("sweep", "--policy", "policy.yaml", "--yes")


def refused(cli, run):
    cli.keys["limits"] |= {"max_deletions": 20, "max_deletions_per_project": 5}
    run("sweep", "--policy", "policy.yaml", "--yes", code=3)
    run("sweep", "--policy", "policy.yaml", "-q", code=3)


def one_failed(cli, run):
    run("plan", "--policy", "policy.yaml", "-q")  # so that the log knows the names
    cli.changes["MONGODB_ATLAS_CLIENT_SECRET_NORTH"] = "wrong"
    run("plan", "--policy", "policy.yaml", code=4)
    run("sweep", "--policy", "policy.yaml", "--yes", code=4)
    run("sweep", "--policy", "policy.yaml", "-q", code=4)


def one_not_visible(cli, run):
    cli.keys["organizations"].append({"id": "c" * 24, "credentials": "SOUTH"})
    run("plan", "--policy", "policy.yaml")


def restore(cli, run):
    cli.run("sweep", "--policy", "policy.yaml", "--yes", **cli.changes)
    log = "audit/invite-sweeper.jsonl"
    run("restore", log, "--dry-run", code=2)
    for each in cli.lines("run_started"):
        run("restore", log, "--dry-run", "--run", each["run_id"])


SCREENS = (plan, long_plan, sweep, refused, one_failed, one_not_visible, restore)


@contextmanager
def screens(folder, columns):
    """Yield a simulated Atlas, and a function that runs a command and records its screen."""
    with cli_in(folder) as cli:
        fill(cli)
        shown = []

        def run(*words, code=0):
            logged = () if words[1] == "show" else ("--log-format", "text")
            done = cli.run(*words, *logged, COLUMNS=str(columns), **cli.changes)
            assert done.code == code, done.err
            shown.append(f"$ invite-sweeper {' '.join(words)}\n{done.out}{done.err}")

        yield cli, run, shown


@pytest.mark.parametrize("play", SCREENS)
def test_screen_of_three_organizations(tmp_path, play):
    texts = []
    for columns in WIDTHS:
        folder = tmp_path / str(columns)
        folder.mkdir()
        with screens(folder, columns) as (cli, run, shown):
            play(cli, run)
        text = "\n".join(shown)
        check_lines(text, columns)
        check_headings(text)
        texts.append(f"===== {columns} columns\n\n{text}")
    text = mask("\n".join(texts))
    for pattern, replacement in VARIES:
        text = re.sub(pattern, replacement, text)
    assert_snapshot(f"organizations/{play.__name__}", text)


def check_lines(text, columns):
    """Check that each line fits, and that no line would be the only one not shown."""
    for line in text.splitlines():
        assert cell_len(line) <= columns or NEVER_WRAPPED.match(line), line
        assert line == line.rstrip()
    assert not re.search(r"… 1 more", text)


def check_headings(text):
    """Check that the number in each heading of a plan is that of the rows below it."""
    headings = []  # as [indentation, number in the heading, number of rows found]
    for line in text.splitlines():
        if line.startswith(("Kept  ", "Organizations  ", "Dry run ", "$ ")):
            assert all(claimed == rows for _, claimed, rows in headings), headings
            headings = []
        elif found := HEADING.fullmatch(line):
            indent, count = len(found[1]), int(found[2])
            while headings and headings[-1][0] >= indent:
                _, claimed, rows = headings.pop()
                assert claimed == rows, line
            headings.append([indent, count, 0])
        elif found := HIDDEN.fullmatch(line):
            for each in headings:
                each[2] += int(found[2]) if len(found[1]) > each[0] else 0
        elif ROW.match(line):
            for each in headings:
                each[2] += 1
