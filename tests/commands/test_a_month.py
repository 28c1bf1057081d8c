"""A month of three organizations, and what people ask after it, each by its first command.

A killed night, a week without network, nights that no cron started, a full disk, a rotated
secret, an exception that ended, notice, a restore. The processes and the simulated Atlas have
one moved clock.
"""

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import faults
import pytest
from forked import Fork
from observed import ObservedAtlas
from receiving import receiving
from running import cli_in, end, wait_until

FIRST = datetime(2026, 11, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)
ORGS = {"NORTH": "a" * 24, "EAST": "b" * 24, "SOUTH": "c" * 24}
KILLED, NOT_STARTED, CHANGED, OUTAGE = 5, {8, 9}, 11, range(12, 19)
FULL, ROTATED, RESTORED, LAST = 22, 24, 26, 29
"""What happened in which night, counted from 0."""
LOG = "--audit-dir audit"
POLICY = "--policy policy.yaml"
CLOCK = """
import importlib, os, pkgutil, resource
from datetime import datetime

from invite_sweeper import cli

NOW = datetime.fromisoformat(os.environ["INVITE_SWEEPER_NIGHT"])

class Moved(datetime):
    @classmethod
    def now(cls, zone):
        return NOW.astimezone(zone)

for each in pkgutil.iter_modules(cli.__path__):
    module = importlib.import_module(f"invite_sweeper.cli.{each.name}")
    if hasattr(module, "datetime"):
        module.datetime = Moved

if "INVITE_SWEEPER_FULL" in os.environ:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
"""


class Month:
    """The nights of a month, and what its operators type."""

    def __init__(self, cli, clock, team):
        self.cli = cli
        self.team = team
        self.messages = {}
        self.sim = cli.sim
        self.clock = clock
        (cli.folder / "clock.py").write_text(CLOCK, encoding="utf-8")
        cli.use_organizations(ORGS, kind="service-account")
        cli.changes["SLACK_URL"] = team.url
        self.projects = {
            name: [self.sim.add_project(f"{name} {place}", org) for place in ("sandbox", "prod")]
            for name, org in ORGS.items()
        }
        cli.keys |= {
            "sources": ["invites", "users", "org_users", "org_invites"],
            "projects": {"exclude": ["*prod"]},
            "keep": [
                {"name": "board", "usernames": ["*@board.example.com"], "reason": "they travel"},
                {"name": "fair", "usernames": ["fair-*"], "until": "2026-11-20"},
            ],
            "limits": {"max_deletions": 4, "over_limit": "trim"},
            "execution": {"attempts": 2},
            "audit": {"directory": "audit", "record": "all"},
            "notice": {"wait": "3d"},
            "notify": [{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}],
        }
        for name in ORGS:
            for number in range(5):
                self.invite(name, f"old{number}.{name.lower()}@example.com", 15 + number)
        self.invite("EAST", "chair@board.example.com", 25)
        self.invite("EAST", "fair-1@example.com", 16)
        self.invite("NORTH", "ada@example.com", 19, project="prod")
        self.invite("SOUTH", "young@example.com", 0)

    def invite(self, name, username, days, project="sandbox"):
        place = self.projects[name][project == "prod"]
        self.sim.add_user(
            username, ORGS[name], age=days * DAY, group_roles={place: ["GROUP_OWNER"]}
        )

    def start(self, *words, **changes):
        self.cli.write_policy()
        changes["INVITE_SWEEPER_NIGHT"] = self.clock.now.isoformat()
        return Fork(
            words,
            self.cli.folder,
            self.cli.environment_with(changes),
            prepare=self.cli.folder / "clock.py",
        )

    def ask(self, line, **changes):
        """Return what a command line prints."""
        return end(self.start(*shlex.split(line), **changes))

    def night(self, number):
        """Run the sweep of a night, after which one more person is nearly stale."""
        self.clock.now = FIRST + number * DAY
        self.sim.expire_invitations()
        if number == ROTATED:
            self.rotate("EAST")
        if number == CHANGED:
            self.cli.keys["keep"][0]["reason"] = "directors"
        if number in NOT_STARTED:
            return None
        sweep = f"sweep {POLICY} -q"
        if number == KILLED:
            self.sim.faults.add(faults.hang(), method="DELETE", times=None)
            before = self.sim.deletes_received
            process = self.start(*sweep.split())
            wait_until(lambda: self.sim.deletes_received > before)
            process.kill()
            process.wait()
            self.sim.faults.clear()
            code = 137
        elif number in OUTAGE:
            code = self.ask(sweep, MONGODB_ATLAS_BASE_URL="http://127.0.0.1:9").code
        elif number == FULL:
            code = self.ask(sweep, INVITE_SWEEPER_FULL="1").code
        else:
            code = self.ask(sweep).code
        self.messages[number] = [json.loads(body)["text"] for _, _, body in self.team.requests]
        self.team.requests.clear()
        if number == ROTATED:
            self.cli.changes |= self.rotated
        if number == RESTORED:
            restore = f"restore {POLICY} --username old0.north@example.com --yes"
            assert self.ask(f"{restore} --reason OPS-7").code == 0
            back = self.sim.organizations[ORGS["NORTH"]].find_user("old0.north@example.com")
            self.sim.set_status(back.id, "ACTIVE")
        self.invite("NORTH", f"night{number}@example.com", 13)
        return code

    def rotate(self, name):
        """Replace the secret of an organization; the environment has the earlier one."""
        account = self.sim.add_service_account(ORGS[name])
        old = self.cli.changes[f"MONGODB_ATLAS_CLIENT_ID_{name}"]
        del self.sim.accounts[old]
        variables = account.environment().items()
        self.rotated = {f"{key}_{name}": value for key, value in variables}


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    clock = type("Clock", (), {"now": FIRST})()
    atlas = ObservedAtlas(lambda: clock.now)
    with receiving() as team, cli_in(tmp_path_factory.mktemp("month"), atlas) as cli:
        found = Month(cli, clock, team)
        found.codes = {}
        for number in range(LAST + 1):
            found.codes[number] = found.night(number)
        yield found


class Question(NamedTuple):
    """What an operator asks.

    Attributes:
        command: Words after the program's name.
        answer: What the output says, each as a pattern.
        code: The exit code.
    """

    asked: str
    command: str
    answer: tuple[str, ...]
    code: int = 0


QUESTIONS = (
    Question(
        "Did it run each night?",
        f"audit show {LOG}",
        (
            "Of the 30 nights from 2026-11-01 to 2026-11-30: 18 done, 7 failed",
            "2026-11-13 to 2026-11-19: Atlas is not reachable",
            "1 partly done (2026-11-25: credentials refused)",
            "2 without a run (2026-11-09 to 2026-11-10)",
        ),
    ),
    Question(
        "Which run was killed, and what became of it?",
        f"audit show {LOG}",
        ("6  2026-11-06 02:00 UTC  sweep     Recovered", "recovered by run 7"),
    ),
    Question(
        "What became of the request in flight when it was killed?",
        f"audit show --username old1.north@example.com {LOG}",
        (
            "deletion sent, no outcome",
            "failed (sent by run 6): still there: the earlier run did not delete it",
            "7 .* deleted by rule forgotten",
        ),
    ),
    Question(
        "Why did the night of the 15th do nothing?",
        f"audit show 2026-11-15 {LOG}",
        (
            "connection refused",
            "Nothing was deleted there",
            "Check the base URL, the proxy, and whether this network can reach Atlas",
        ),
    ),
    Question(
        "Which organization failed on the 25th, and what do I do?",
        f"audit show 2026-11-25 {LOG}",
        (
            "1 of 3 organizations failed",
            "East Industries .* Failed: Could not get an access token",
            "MONGODB_ATLAS_CLIENT_SECRET_EAST",
        ),
    ),
    Question(
        "What was deleted in the first week?",
        f"audit show --outcome deleted --until 2026-11-07 {LOG}",
        ("old4.north@example.com", "old1.south@example.com"),
    ),
    Question(
        "What became of this person?",
        f"audit show --username old0.north@example.com {LOG}",
        ("1 .* announced", "8 .* deleted by rule forgotten", "26 .* restored"),
    ),
    Question(
        "Who was there and stayed, for the auditor?",
        f"audit show 28 --event kept {LOG}",
        (
            "ada@example.com",
            "linked to a project outside the policy's scope, or to an unknown one (NORTH prod)",
            "chair@board.example.com",
        ),
    ),
    Question(
        "Which exception has ended?",
        f"doctor -q {POLICY}",
        ("The keep entry `fair` ended on 2026-11-20",),
        4,
    ),
    Question(
        "Which limit held things up on the 5th?",
        f"audit show 2026-11-05 {LOG}",
        (r"4 due, \d+ waits? for .* notice, \d+ later \(max_deletions",),
    ),
    Question(
        "Is the log as it was written?",
        "audit verify audit",
        ("^Sound ", "Run 6: recovered by run 7"),
    ),
)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: each.asked)
def test_the_first_command_answers(month, question):
    done = month.ask(question.command)
    shown = done.out + done.err
    assert done.code == question.code, shown
    words = " ".join(shown.split())
    for part in question.answer:
        assert re.search(part, shown, re.MULTILINE) or part in words, (part, shown)


def test_the_page_has_each_night_with_how_it_ended(month):
    assert month.ask("report audit --out nights.md").code == 0
    page = (month.cli.folder / "nights.md").read_text("utf-8")
    words = " ".join(page.split())
    assert "18 done, 7 failed (2026-11-13 to 2026-11-19: Atlas is not reachable)" in words
    assert "41 deleted" in words
    nights = re.findall(r"^(2026-11-\d\d)  ", page, re.MULTILINE)
    assert len(set(nights)) == 30
    assert month.ask("report audit --out nights.html").code == 0
    html = (month.cli.folder / "nights.html").read_text("utf-8")
    assert "directors" in html
    assert "or to an unknown one (NORTH prod)" in html


def test_nothing_was_deleted_twice_and_what_had_to_stay_is_there(month):
    left = {
        user.username
        for organization in month.sim.organizations.values()
        for user in organization.users.values()
    }
    stay = {"chair@board.example.com", "ada@example.com", "old0.north@example.com"}
    assert stay <= left
    assert not {name for name in left if name.startswith("old")} - stay
    assert len(month.sim.deleted) == len(set(month.sim.deleted))


def test_codes_of_the_nights_are_those_of_what_happened(month):
    special = {KILLED: 137, FULL: 7, ROTATED: 4, **dict.fromkeys(OUTAGE, 6)}
    for number, code in month.codes.items():
        assert code == (None if number in NOT_STARTED else special.get(number, 0)), number


def test_team_learned_of_each_bad_night_what_happened_and_what_to_do(month):
    for number in OUTAGE:
        (text,) = month.messages[number]
        assert "Failed: nothing was deleted" in text
        assert "Check the base URL, the proxy, and whether this network can reach Atlas" in text
    (full,) = month.messages[FULL]
    assert "Nothing was deleted." in full
    assert "Free disk space" in full
    (rotated,) = month.messages[ROTATED]
    assert "1 of 3 organizations failed" in rotated
    assert "MONGODB_ATLAS_CLIENT_SECRET_EAST" in rotated
    for number in range(OUTAGE[0]):
        assert not month.messages.get(number), number
    assert "The keep entry 'fair' ends on 2026-11-20, today" in month.messages[19][0]
