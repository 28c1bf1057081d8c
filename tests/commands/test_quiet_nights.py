"""Nightly runs with `-q` and the log as text, as in the crontab: cron mails any output."""

import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from running import desk_in

from invite_sweeper.simulator import faults
from invite_sweeper.simulator.seed import ORG_ID

CRONTAB = Path(__file__).parents[2] / "deploy/cron/invite-sweeper.crontab"
OLD = timedelta(days=20)


@pytest.fixture
def desk(tmp_path):
    """A policy with much to remark: patterns and keep entries without a match, a past date."""
    with desk_in(tmp_path) as found:
        found.sim.invite_rate_limit.per_minute = None
        found.projects = [found.sim.add_project("Search")]
        found.keys["projects"] = {"exclude": ["no-such-*"]}
        found.keys["sources"] = ["invites", "users"]
        found.keys["rules"].append({"name": "ancient", "older_than": "40d"})
        found.keys["keep"] = [
            {"name": "unused", "usernames": ["*@nowhere.example"]},
            {"name": "past", "usernames": ["*@past.example"], "until": "2020-01-31"},
        ]
        yield found


def sweep(desk, *options):
    return desk.run("sweep", "--policy", "policy.yaml", "-q", "--log-format", "text", *options)


def test_thirty_clean_nights_print_nothing(desk):
    for night in range(30):
        desk.sim.invite(desk.projects[0], f"p{night}@example.com", age=OLD)
        done = sweep(desk)
        assert (done.code, done.out, done.err) == (0, "", "")
    assert desk.deletes() == 30


def test_the_same_remarks_are_in_the_log_without_quiet_and_in_the_summary(desk):
    desk.sim.invite(desk.projects[0], "p@example.com", age=OLD)
    done = desk.plan()
    for remark in ("no-such-*", "The keep entry 'unused'"):
        assert remark in done.err
        assert any(remark in each for each in done.summary["warnings"])
    assert "`past`" in done.err


def test_night_with_a_failed_deletion_prints_it_as_text(desk):
    for number in range(2):
        desk.sim.invite(desk.projects[0], f"p{number}@example.com", age=(20 + number) * OLD / 20)
    desk.sim.faults.add(faults.fail_with(403, "ACCESS_FORBIDDEN"), method="DELETE", times=1)
    done = sweep(desk)
    assert (done.code, done.out) == (4, "")
    verdict, failure = done.err.splitlines()
    assert "1 deleted, 1 failed in Example Industries" in verdict
    assert ORG_ID in verdict
    assert "@example.com in Search of organization Example Industries" in failure
    assert "may still be invited: failed, 403 ACCESS_FORBIDDEN" in failure
    assert not set(done.err) & {"{", "\x1b"}


def test_refused_night_prints_the_error(desk):
    desk.keys["limits"]["max_deletions"] = 0
    desk.sim.invite(desk.projects[0], "p@example.com", age=OLD)
    done = sweep(desk)
    assert (done.code, done.out) == (3, "")
    assert done.err.startswith("Error: 1 stale invitation is over max_deletions: 0.")


@pytest.mark.parametrize("log_format", ["auto", "json"])
def test_log_is_json_lines_elsewhere_than_on_a_terminal(desk, log_format):
    done = desk.run("plan", "--policy", "policy.yaml", "--log-format", log_format)
    assert done.err.startswith('{"')


def test_shipped_crontab_asks_for_the_log_as_text():
    job = CRONTAB.read_text().splitlines()[-1]
    assert "--log-format text" in shlex.join(shlex.split(job))
