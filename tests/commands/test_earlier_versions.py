"""The logs of earlier versions are verified, shown and continued.

`logs/` has what 0.2.0 wrote, and what the development before 0.3.0 wrote, with fields and outcomes
that are gone: a dry run, and a sweep of four people of whom one had accepted.
"""

import csv
import shutil
from pathlib import Path

import pytest

LOGS = Path(__file__).parent / "logs"


@pytest.fixture(params=["0.2.0", "before-0.3.0"])
def cli(cli, request):
    shutil.copytree(LOGS / request.param, cli.audit_dir)
    cli.audit_dir.chmod(0o700)
    for path in cli.audit_dir.iterdir():
        path.chmod(0o600)
    return cli


def test_log_of_an_earlier_version_is_sound_and_a_sweep_continues_it(cli):
    cli.stock(stale=2)
    assert cli.run("audit", "verify").code == 0
    done = cli.sweep()
    assert (done.code, done.summary["number"], done.summary["deleted"]) == (0, 3, 2)
    assert cli.run("audit", "verify").code == 0


def test_log_of_an_earlier_version_is_shown_as_it_was_written_and_reported(cli):
    shown = cli.run("audit", "show", "2", "--output", "csv")
    rows = list(csv.DictReader(shown.out.splitlines()))
    outcomes = {row["username"]: row["outcome"] for row in rows if row["outcome"]}
    assert outcomes["person-3@example.com"] == "accepted_during"
    assert outcomes["person-1@example.com"] == "deleted"
    assert "accepted during" in cli.run("audit", "show", "2").out
    assert "accepted during" in cli.run("audit", "show", "--username", "person-3@*").out
    assert cli.run("audit", "show").out.count(" UTC  ") == 2
    period = ("--since", "2026-11-25", "--until", "2026-11-26", "--format", "md")
    assert "accepted during" in cli.run("report", *period).out
