"""Nights of the shipped crontab, armed and with `-q`: cron mails any output."""

import re
import shlex
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from observed import ObservedAtlas
from running import CliRunner, Done, cli_in

from invite_sweeper.simulator import Size
from invite_sweeper.simulator.scenarios import ALL_SOURCES, SCENARIOS

CRONTAB = (Path(__file__).parents[2] / "deploy/cron/invite-sweeper.crontab").read_text(
    encoding="utf-8"
)
PROGRAM = Path(sys.executable).with_name("invite-sweeper")
NIGHT = timedelta(days=1)
OLD = 20 * NIGHT


class CronRunner:
    """A cli with the files that the crontab names, below its own folder."""

    def __init__(self, cli: CliRunner) -> None:
        self.cli, self.sim = cli, cli.sim
        credentials = cli.account.environment()
        self.write("client-id", credentials["MONGODB_ATLAS_CLIENT_ID"])
        self.write("client-secret", credentials["MONGODB_ATLAS_CLIENT_SECRET"])
        text = CRONTAB.replace("/opt/invite-sweeper/bin/invite-sweeper", shlex.quote(str(PROGRAM)))
        for folder in ("/etc/invite-sweeper", "/var/lib/invite-sweeper"):
            text = text.replace(folder, str(cli.folder))
        *lines, job = (line for line in text.splitlines() if line and not line.startswith("#"))
        self.variables = dict(line.split("=", 1) for line in lines)
        # As its comments say: the word plan, and -q.
        self.command, armed = re.subn(r" plan ", " sweep ", job.split(maxsplit=6)[6])
        assert armed == 1
        self.command += " -q"

    def write(self, name: str, text: str) -> None:
        path = self.cli.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)

    def night(self) -> Done:
        """Run the crontab's command with cron's environment: its variables and no others."""
        self.cli.write_policy()
        variables = self.variables | {"MONGODB_ATLAS_BASE_URL": self.cli.base_url}
        done = subprocess.run(
            [self.variables["SHELL"], "-c", self.command],
            cwd="/",
            env=variables | {"HOME": str(self.cli.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def sim():
    return ObservedAtlas()


@pytest.fixture
def cron(tmp_path, sim):
    """A policy with much to remark: patterns and keep entries without a match, a past date."""
    with cli_in(tmp_path, sim, kind="service-account") as found:
        found.keys["projects"] = {"exclude": ["no-such-*"]}
        found.keys["sources"] = list(ALL_SOURCES)
        found.keys["rules"].append({"name": "ancient", "older_than": "40d"})
        found.keys["keep"] = [
            {"name": "unused", "usernames": ["*@nowhere.example"]},
            {"name": "past", "usernames": ["*@past.example"], "until": "2020-01-31"},
        ]
        yield CronRunner(found)


def test_clean_nights_send_no_mail(sim, cron):
    """Every night there are new invitations in each list, and some that are stale."""
    SCENARIOS["lists"].prepare(sim, Size(projects=2, invitations=4))
    project = next(iter(sim.groups))
    for number in range(3):
        for age in (NIGHT, OLD):
            sim.invite(project, f"p{number}@example.com", age=age)
            roles = {project: ["GROUP_OWNER"]}
            sim.add_user(f"u{number}-{age.days}@example.com", age=age, group_roles=roles)
        done = cron.night()
        assert (done.code, done.out, done.err) == (0, "", "")
    assert len(cron.cli.lines("run_finished")) == 3
    assert cron.cli.deletes() >= 6


def test_mail_about_a_refused_night_has_the_limit_and_what_to_do(sim, cron):
    cron.cli.keys["limits"]["max_deletions"] = 0
    sim.invite(sim.add_project("Search"), "p@example.com", age=OLD)
    done = cron.night()
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("Error: 1 stale invitation is over max_deletions: 0.")
    assert "Read the plan, then raise the limit" in done.err
