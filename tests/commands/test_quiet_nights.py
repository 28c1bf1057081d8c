"""Nights with `-q`, as cron runs them: it mails any output."""

from datetime import timedelta

import pytest

from invite_sweeper.models import Source
from invite_sweeper.simulator import Size
from invite_sweeper.simulator.scenarios import SCENARIOS

NIGHT = timedelta(days=1)
OLD = 20 * NIGHT


@pytest.fixture
def cli(cli):
    """A policy with much to remark: patterns and keep entries without a match, a past date."""
    cli.keys |= {"projects": {"exclude": ["no-such-*"]}, "sources": [*map(str, Source)]}
    cli.keys["rules"].append({"name": "ancient", "older_than": "40d"})
    unused = {"name": "unused", "usernames": ["*@nowhere.example"]}
    cli.keys["keep"] = [unused, {**unused, "name": "past", "until": "2020-01-31"}]
    return cli


def test_clean_nights_send_no_mail(cli):
    SCENARIOS["demo"].prepare(cli.sim, Size(projects=2, invitations=4))
    project = next(iter(cli.sim.groups))
    for number in range(3):
        for age in (NIGHT, OLD):
            cli.sim.invite(project, f"p{number}@example.com", age=age)
            roles = {project: ["GROUP_OWNER"]}
            cli.sim.add_user(f"u{number}-{age.days}@example.com", age=age, group_roles=roles)
        done = cli.run("sweep", "-q")
        assert (done.code, done.out) == (0, "")
        # The first night says that no earlier run is known: after a move, a log may be elsewhere.
        begins = f"No earlier run is known: a new log begins in {cli.audit_dir}."
        assert (begins in done.err) == (number == 0)
        assert number == 0 or not done.err
    assert len(cli.lines("run_finished")) == 3
    assert cli.deletes() >= 6
