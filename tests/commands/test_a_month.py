"""Nineteen nights of three organizations, and what people ask then, each by its first command.

A killed night, days without network, a night that no cron started, a full disk, a rotated secret,
an exception that ended, notice, a restore. The processes and the simulated Atlas have one moved
clock.
"""

import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import faults
import pytest
from forked import Fork
from observed import ObservedAtlas
from receiving import receiving
from running import cli_in, end, wait_until

FIRST = datetime(2026, 11, 1, 2, tzinfo=UTC)
DAY = timedelta(days=1)
ORGS = {"NORTH": "a" * 24, "EAST": "b" * 24, "SOUTH": "c" * 24}
KILLED, NOT_STARTED, OUTAGE = 4, 6, range(8, 11)
FULL, ROTATED, RESTORED, LAST = 13, 14, 16, 18
"""What happened in which night, counted from 0."""
MOVED_CLOCK = Path(__file__).with_name("moved_clock.py")
FULL_DISK = """
import resource
if "INVITE_SWEEPER_FULL" in os.environ:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
"""


class Month:
    def __init__(self, cli, clock, team):
        self.cli = cli
        self.team = team
        self.messages = {}
        self.clock = clock
        self.sim = cli.sim
        (cli.folder / "clock.py").write_text(MOVED_CLOCK.read_text("utf-8") + FULL_DISK)
        cli.use_organizations(ORGS, kind="service-account")
        cli.changes["SLACK_URL"] = team.url
        self.projects = {
            (name, place): self.sim.add_project(f"{name} {place}", org)
            for name, org in ORGS.items()
            for place in ("sandbox", "prod")
        }
        cli.keys |= {
            "sources": ["invites", "users", "org_users", "org_invites"],
            "projects": {"exclude": ["*prod"]},
            "keep": [
                {"name": "board", "usernames": ["*@board.example.com"], "reason": "they travel"},
                {"name": "fair", "usernames": ["fair-*"], "until": "2026-11-12"},
            ],
            "limits": {"max_deletions": 4, "over_limit": "trim"},
            "execution": {"attempts": 2},
            "audit": {"record": "all"},
            "notice": {"wait": "3d"},
            "notify": [{"kind": "slack", "url_env": "SLACK_URL", "when": "failures"}],
        }
        for name in ORGS:
            for number in range(5):
                self.invite(name, f"old{number}.{name.lower()}@example.com", 15 + number)
        self.invite("EAST", "chair@board.example.com", 25)
        self.invite("EAST", "fair-1@example.com", 16)
        self.invite("NORTH", "ada@example.com", 19, place="prod")
        self.codes = [self.night(number) for number in range(LAST + 1)]

    def invite(self, name, username, days, place="sandbox"):
        roles = {self.projects[name, place]: ["GROUP_OWNER"]}
        self.sim.add_user(username, ORGS[name], age=days * DAY, group_roles=roles)

    def start(self, line, **changes):
        cli = self.cli
        cli.write_policy()
        environment = cli.environment_with(changes | {"INVITE_SWEEPER_NIGHT": str(self.clock.now)})
        return Fork(shlex.split(line), cli.folder, environment, prepare=cli.folder / "clock.py")

    def ask(self, line, **changes):
        return end(self.start(line, **changes))

    def night(self, number):
        """Return the exit code of a night's sweep, after which one more person is nearly stale."""
        self.clock.now = FIRST + number * DAY
        self.sim.expire_invitations()
        if number == NOT_STARTED:
            return None
        if number == KILLED:
            code = self.kill()
        elif number == ROTATED:
            old = self.cli.changes.copy()
            self.rotate("EAST")
            code = self.ask("sweep -q", **old).code
        else:
            offline = {"MONGODB_ATLAS_BASE_URL": "http://127.0.0.1:9"}
            changes = {FULL: {"INVITE_SWEEPER_FULL": "1"}, **dict.fromkeys(OUTAGE, offline)}
            code = self.ask("sweep -q", **changes.get(number, {})).code
        self.messages[number] = [json.loads(body)["text"] for _, _, body in self.team.requests]
        self.team.requests.clear()
        if number == RESTORED:
            assert self.ask("restore --username old0.north@example.com --reason OPS-7").code == 0
            back = self.sim.organizations[ORGS["NORTH"]].find_user("old0.north@example.com")
            self.sim.set_status(back.id, "ACTIVE")
        self.invite("NORTH", f"night{number}@example.com", 13)
        return code

    def kill(self):
        """Kill a sweep at its first DELETE, which has no answer."""
        self.sim.faults.add(faults.hang(), method="DELETE", times=None)
        before = self.sim.deletes_received
        process = self.start("sweep -q")
        wait_until(lambda: self.sim.deletes_received > before)
        process.kill()
        self.sim.faults.rules.clear()
        return process.wait()

    def rotate(self, name):
        variables = self.sim.add_service_account(ORGS[name]).environment().items()
        del self.sim.accounts[self.cli.changes[f"MONGODB_ATLAS_CLIENT_ID_{name}"]]
        self.cli.changes |= {f"{key}_{name}": value for key, value in variables}


@pytest.fixture(scope="module")
def month(tmp_path_factory):
    clock = SimpleNamespace(now=FIRST)
    atlas = ObservedAtlas(lambda: clock.now)
    with receiving() as team, cli_in(tmp_path_factory.mktemp("month"), atlas) as cli:
        yield Month(cli, clock, team)


CHECK = "Check the base URL, the proxy, and whether this network can reach Atlas"
QUESTIONS = {
    "Did it run each night, and what became of the killed run?": (
        "audit show",
        "Of the 19 nights from 2026-11-01 to 2026-11-19: 12 done, 3 failed (2026-11-09 to ",
        "1 partly done (2026-11-15: credentials refused)",
        "1 cut off (2026-11-14: killed, or its log could not be written, as on a full disk)",
        "1 without a run (2026-11-07)",
        "Cut off: killed, or its log could not be written, as on a full disk; nothing was sent",
        "Recovered: 1 failed, recovered by run 6",
    ),
    "What became of the request in flight when it was killed?": (
        "audit show --username old2.north@example.com",
        "no outcome, then failed, found by run 6",
        "unknown, then failed, sent by run 5",
        "2026-11-06 02:00 UTC  sweep 6  -  ",
    ),
    "Why did the night of the 10th do nothing?": (
        "audit show 2026-11-10",
        "connection refused",
        "Nothing was deleted there",
        CHECK,
    ),
    "Which organization failed on the 15th, and what do I do?": (
        "audit show 2026-11-15",
        "1 of 3 organizations failed",
        "East Industries (bbbbbbbbbbbbbbbbbbbbbbbb)   Failed: Could not get an access token",
        "MONGODB_ATLAS_CLIENT_SECRET_EAST",
    ),
    "What was deleted in the first week?": (
        "audit show --outcome deleted --until 2026-11-06",
        "old4.north@example.com",
        "old3.south@example.com",
    ),
    "What became of this person?": (
        "audit show --username old0.north@example.com",
        "2026-11-01 02:00 UTC  sweep 1  ",
        "2026-11-12 02:00 UTC  sweep 11  ",
        "2026-11-17 02:00 UTC  restore 17  ",
    ),
    "Who was there and stayed, for the auditor?": (
        "audit show last --event kept",
        "ada@example.com",
        "linked to a project outside the policy's scope, or to an unknown one (NORTH prod)",
        "chair@board.example.com",
    ),
    "Which exception has ended?": ("doctor -q", "The keep entry `fair` ended on 2026-11-12"),
    "Which limit held things up on the 4th?": (
        "audit show 2026-11-04",
        "4 due, 3 wait for their notice, 11 later (max_deletions",
    ),
    "Is the log as it was written?": (
        "audit verify",
        "Sound  ",
        "Run 5: recovered by run 6",
        "Cut off    Run 13: ",
    ),
}
"""The command that an operator types, and what its output says."""


@pytest.mark.parametrize("asked", QUESTIONS)
def test_the_first_command_answers(month, asked):
    command, *answers = QUESTIONS[asked]
    done = month.ask(command)
    assert done.code == (4 if "doctor" in command else 0), done
    assert [each for each in answers if each not in done.out] == [], done.out


def test_nothing_was_deleted_twice_and_what_had_to_stay_is_there(month):
    people = [each.users.values() for each in month.sim.organizations.values()]
    left = {user.username for users in people for user in users}
    stay = {"chair@board.example.com", "ada@example.com", "old0.north@example.com"}
    assert stay <= left
    assert not {name for name in left if name.startswith("old")} - stay
    assert len(month.sim.deleted) == len(set(month.sim.deleted))


def test_codes_of_the_nights_are_those_of_what_happened(month):
    special = {KILLED: -9, NOT_STARTED: None, FULL: 7, ROTATED: 4, **dict.fromkeys(OUTAGE, 6)}
    assert month.codes == [special.get(number, 0) for number in range(LAST + 1)]


def test_team_learned_of_each_bad_night_what_happened_and_what_to_do(month):
    for number in OUTAGE:
        (text,) = month.messages[number]
        assert "Failed: nothing was deleted" in text
        assert CHECK in text
    (full,) = month.messages[FULL]
    assert "Nothing was deleted." in full
    assert "Free disk space" in full
    assert not any(month.messages[number] for number in range(KILLED + 1))
    assert "The keep entry 'fair' ends on 2026-11-12, today" in month.messages[11][0]
