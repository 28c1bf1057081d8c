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
def log(cli, request):
    """Return the audit directory of a policy, with the log of an earlier version."""
    folder = cli.folder / "audit"
    shutil.copytree(LOGS / request.param, folder)
    folder.chmod(0o700)
    for path in folder.iterdir():
        path.chmod(0o600)
    return folder


def test_log_of_an_earlier_version_is_sound_and_a_sweep_continues_it(cli, log):
    cli.stock(projects=1, stale=2)
    assert cli.run("audit", "verify", str(log)).code == 0
    done = cli.sweep()
    assert (done.code, done.summary["number"], done.summary["deleted"]) == (0, 3, 2)
    assert cli.run("audit", "verify", str(log)).code == 0


def test_outcome_that_is_gone_is_shown_as_it_was_written(cli, log):
    shown = cli.run("audit", "show", "2", "--audit-dir", str(log), "--output", "csv")
    rows = list(csv.DictReader(shown.out.splitlines()))
    outcomes = {row["username"]: row["outcome"] for row in rows if row["outcome"]}
    assert outcomes["person-3@example.com"] == "accepted_during"
    assert outcomes["person-1@example.com"] == "deleted"
    table = cli.run("audit", "show", "2", "--audit-dir", str(log))
    assert (table.code, "accepted_during" in table.out.replace(" ", "_")) == (0, True)


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "show"),
        ("audit", "show", "--username", "person-3@*"),
        ("report", "--since", "2026-11-25", "--until", "2026-11-25"),
    ],
)
def test_runs_of_an_earlier_version_are_listed_found_and_reported(cli, log, words):
    *command, last = words
    options = ("--audit-dir", str(log)) if "report" not in words else (str(log),)
    done = cli.run(*command, last, *options)
    assert (done.code, "Traceback" in done.err) == (0, False), done.err
    assert done.out
