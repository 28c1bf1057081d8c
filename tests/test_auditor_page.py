"""What deploy/README.md promises an auditor: each command works, each answer is true."""

import csv
import hashlib
import json
from collections import Counter
from datetime import timedelta

import pytest
from readmes import OPERATORS, section
from running import cli_in, run_line

from invite_sweeper.audit.chain import line_hash

COMMANDS = section(OPERATORS, "What an auditor gets").commands
BOARD = {
    "name": "board",
    "usernames": ["*@board.example.com"],
    "reason": "they travel",
    "until": "2099-03-31",
}


@pytest.fixture(scope="module")
def cli(tmp_path_factory):
    """A simulated Atlas with stale, young and protected invitations."""
    with cli_in(tmp_path_factory.mktemp("auditor")) as found:
        for number in range(3):
            project = found.sim.add_project(f"Project {number}")
            found.projects.append(project)
            for name, days in (("ada@", 20), ("bo@", 2), ("cyd@board.", 20)):
                address = name.replace("@", f".{number}@") + "example.com"
                found.sim.invite(project, address, age=timedelta(days=days))
        found.keys |= {"keep": [BOARD], "audit": {"record": "all"}}
        found.write_policy()
        found.before = {i for each in found.projects for i in found.sim.invitations(each)}
        yield found


@pytest.fixture(scope="module")
def results(cli):
    """Run each command of the page in its order; return its output by command."""
    found = {}
    for line in COMMANDS:
        words = line
        if " HEX " in words:
            sha256 = hashlib.sha256((cli.folder / "plan.jsonl").read_bytes()).hexdigest()
            words = words.replace(" HEX ", f" {sha256} ")
            assert sha256 in found["invite-sweeper audit show plan.jsonl"].out
        if "LAST_HASH" in words:
            last = cli.log_path.read_bytes().splitlines()[-1]
            words = words.replace("LAST_HASH", line_hash(last))
        found[line] = run_line(words, cli.folder, cli.environment)
    return found


def shown(results, option):
    """Return the lines of the log that the page's command with this option shows."""
    (done,) = (done for line, done in results.items() if option in line)
    return [json.loads(line) for line in done.out.splitlines()]


def test_every_command_of_the_page_works_in_its_order(results):
    assert len(results) >= 7
    failed = {c: (d.code, d.err[-300:]) for c, d in results.items() if d.code}
    assert failed == {}


def test_population_has_one_row_for_each_invitation_with_its_decision(cli, results):
    text = (cli.folder / "population.csv").read_text("utf-8")
    rows = [r for r in csv.DictReader(text.splitlines()) if r["event"] in {"planned", "kept"}]

    assert Counter(row["invitation_id"] for row in rows) == dict.fromkeys(cli.before, 1)
    assert Counter((row["event"], row["rule"] or row["reason"]) for row in rows) == {
        ("planned", "forgotten"): 3,
        ("kept", "too_young"): 3,
        ("kept", "keep:board"): 3,
    }
    for row in rows:
        assert all(row[name] for name in ("username", "roles", "inviter", "created_at"))
        assert row["expires_at"] > row["created_at"]


def test_deletions_exceptions_and_totals_are_those_of_the_run(cli, results):
    *_, finished = shown(results, "--event run_finished")

    assert {line["invitation_id"] for line in shown(results, "--outcome deleted")} == {
        *cli.sim.deleted
    }
    assert (finished["stale"], finished["kept"], finished["deleted"]) == (3, 6, 3)
    assert finished["plan_complete"] is True
    assert finished["kept_by_reason"]["keep:board"] == 3


def test_log_that_ends_with_another_hash_is_refused(cli, results):
    assert cli.run("audit", "verify", "audit", "--expect-head", "0" * 64).code == 3
