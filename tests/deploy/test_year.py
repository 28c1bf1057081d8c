"""A year of two installations, by a moved clock: only the alerts of its events are raised."""

import re
import shutil
from datetime import UTC, datetime, timedelta

import faults
import pytest
from deploy.test_alerts import ALERTS, fired_at
from forked import Fork
from running import cli_in, end, wait_until

from invite_sweeper.endings import ExitCode

pytestmark = [pytest.mark.weekly, pytest.mark.slow, pytest.mark.needs("promtool")]

NIGHTS = 365
DAY = timedelta(days=1)
LOST = 100
KILLED = 200
SECRET_ENDS = 160
ROTATED = 150
"""Nights on which the volume of eu is lost and its pod killed, the secret of us ends and is new."""
EXPECTED = {
    *((night, "AuditLogLost", "eu") for night in range(LOST, LOST + 3)),
    (KILLED, "NoSuccess", "eu"),
    *((night, "CredentialsExpire", "us") for night in range(SECRET_ENDS - 14, ROTATED)),
}
"""The nights at whose noon an alert fires, and of which installation."""
MOVED_CLOCK = """
import importlib, os, pkgutil
from datetime import datetime, timedelta

from invite_sweeper import cli

class Moved:
    @staticmethod
    def now(zone):
        return datetime.now(zone) + timedelta(days=int(os.environ["INVITE_SWEEPER_NIGHT"]))

for each in pkgutil.iter_modules(cli.__path__):
    module = importlib.import_module(f"invite_sweeper.cli.{each.name}")
    if hasattr(module, "datetime"):
        module.datetime = Moved
"""
"""For the modules that read the clock. With faketime each run would take seconds."""


class Installation:
    """One policy with its audit directory, credentials and the metrics of each night."""

    def __init__(self, name, cli):
        self.name = name
        self.cli = cli
        self.shown = []
        (cli.folder / "clock.py").write_text(MOVED_CLOCK, encoding="utf-8")
        cli.keys |= {"sources": ["users", "org_users"], "limits": {"max_deletions": 100}}
        cli.changes["INVITE_SWEEPER_INSTANCE"] = name
        cli.stock(stale=0)
        self.use_secret(NIGHTS + 30)
        for days in range(14):
            self.invite(f"before-{days}", days * DAY)

    def invite(self, name, age=timedelta(0)):
        self.cli.sim.add_user(f"{name}@example.com", age=age)

    def use_secret(self, night):
        """Use a new secret, which ends on that night; an earlier account is gone."""
        sim = self.cli.sim
        self.cli.account = sim.add_service_account()
        first_night = sim.clock() - sim.date_offset
        self.cli.account.secrets_expire_at = (first_night + night * DAY,)

    def begin(self, night):
        """Start the sweep of a night, after one more person was invited."""
        cli = self.cli
        cli.sim.date_offset = night * DAY
        cli.sim.expire_invitations()
        self.invite(f"night-{night}")
        cli.changes["INVITE_SWEEPER_NIGHT"] = str(night)
        cli.write_policy()
        words = ("sweep", "--policy", "policy.yaml", "-q", "--metrics-file", "run.prom")
        environment = cli.environment_with({})
        return Fork(words, cli.folder, environment, prepare=cli.folder / "clock.py")

    def end(self, process):
        """Wait for the sweep, and keep the metrics that are shown until the next one."""
        done = end(process)
        assert done.code == ExitCode.DONE, done
        self.show()

    def kill(self, process):
        """Kill the sweep while its DELETE has no answer: no metrics are written."""
        cli = self.cli
        wait_until(lambda: is_deleting(cli.log_path.read_bytes()))
        process.kill()
        process.wait()
        cli.sim.faults.rules.clear()
        self.show()

    def show(self):
        text = (self.cli.folder / "run.prom").read_text(encoding="utf-8")
        lines = re.findall(r"^(invite_sweeper_\S+\{.*\}) (\S+)$", text, re.MULTILINE)
        self.shown.append({name: float(value) for name, value in lines})


def is_deleting(lines):
    return b'"event":"intent"' in lines and b'"event":"run_finished"' not in lines


def series(installations, start):
    """Yield the metrics as promtool's series, half-hourly, with times from its clock's 0."""
    for each in installations:
        for name in set().union(*each.shown):
            values = [night.get(name) for night in each.shown]
            if "_timestamp_seconds" in name:
                values = [None if v is None else v - start.timestamp() for v in values]
            parts = ("_x48" if v is None else f"{v:.0f}x47" for v in values)
            yield {"series": name, "values": " ".join(parts)}


def fired(installations, start, folder):
    """Return the alerts that fire at noon after each night."""
    rules = []
    for each in installations:
        rules.append(folder / f"{each.name}.yaml")
        text = ALERTS.read_text(encoding="utf-8")
        own = text.replace('instance=~".+"', f'instance="{each.name}"')
        rules[-1].write_text(own, encoding="utf-8")
    noons = [night * 1440 + 720 for night in range(NIGHTS)]
    samples = [*series(installations, start)]
    found = fired_at(noons, samples, folder, every="1h", interval="30m", rules=rules)
    return {(minutes // 1440, name, labels["instance"]) for name, minutes, labels in found}


def test_year_of_two_installations_raises_the_alerts_of_its_events_and_no_other(tmp_path):
    for name in ("eu", "us"):
        (tmp_path / name).mkdir()
    with (
        cli_in(tmp_path / "eu", kind="service-account") as of_eu,
        cli_in(tmp_path / "us", kind="service-account") as of_us,
    ):
        start = datetime.now(UTC)
        eu = Installation("eu", of_eu)
        us = Installation("us", of_us)
        us.use_secret(SECRET_ENDS)
        for night in range(NIGHTS):
            if night == LOST:
                shutil.rmtree(eu.cli.audit_dir)
            if night == ROTATED:
                us.use_secret(NIGHTS + 60)
            if night == KILLED:
                eu.cli.sim.faults.add(faults.delay(60), method="DELETE", times=None)
            processes = eu.begin(night), us.begin(night)
            (eu.kill if night == KILLED else eu.end)(processes[0])
            us.end(processes[1])
        deleted = [each.cli.sim.deletes_received for each in (eu, us)]

    assert min(deleted) > NIGHTS - 20
    assert fired((eu, us), start, tmp_path) == EXPECTED
