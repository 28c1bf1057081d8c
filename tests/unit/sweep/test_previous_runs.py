"""Reading the log of earlier runs: what is known, and a log that cannot be read."""

import gzip
import os
from pathlib import Path

import pytest
from audit.written_logs import write_run
from builders import (
    ORG,
    OTHER_ORG,
    invitation,
    policy,
)

from invite_sweeper.errors import GuardRefused
from invite_sweeper.models import Population, Source
from invite_sweeper.sweep.previous_runs import read_previous_runs
from invite_sweeper.sweep.scope import scope_sha256

URL = "https://here.example.com"


def rotated(log_path, name="1.gz"):
    return Path(f"{log_path.template}.{name}")


HINT = (
    "Restore the file, or decompress it. Moving it away removes its interrupted deletions, used "
    "plans and bounced invitations from what later runs know."
)


def test_history_that_is_cut_off_refuses(path, log_path):
    write_run(path, numbers=range(1, 200))
    data = gzip.compress(path.read_bytes())
    rotated(log_path).write_bytes(data[:-9])
    with pytest.raises(GuardRefused) as caught:
        read_previous_runs(log_path)
    assert caught.value.message == (
        f"The audit log {rotated(log_path)} cannot be read: the compressed file is cut off."
    )
    assert caught.value.hint == "Restore the file from a copy: it is damaged."


def test_reading_is_stopped_by_the_check(path, log_path):
    write_run(path)
    with pytest.raises(RuntimeError):
        read_previous_runs(log_path, check=stop)


def stop():
    raise RuntimeError


@pytest.mark.parametrize("content", [b"junk", b"junk\n", b"[]\n", b"\x1f\x8b junk"])
@pytest.mark.parametrize("name", ["1", "2.gz"])
def test_rotated_file_that_is_not_an_audit_log_refuses(log_path, content, name):
    rotated(log_path, name).write_bytes(gzip.compress(content) if name == "2.gz" else content)
    with pytest.raises(GuardRefused, match=r"is damaged at|file is cut off"):
        read_previous_runs(log_path)


def test_directory_that_cannot_be_read_refuses(log_path, monkeypatch):
    def fail(_self):
        raise PermissionError(13, "Permission denied", "audit")

    monkeypatch.setattr(Path, "iterdir", fail)
    with pytest.raises(GuardRefused) as caught:
        read_previous_runs(log_path)
    assert caught.value.message == (
        "Earlier runs cannot be read. The directory audit cannot be read: Permission denied."
    )


def test_file_without_permission_refuses(log_path, monkeypatch):
    rotated(log_path, "1").touch()

    def fail(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(GuardRefused, match=r"log.jsonl.1 cannot be read: Permission denied\."):
        read_previous_runs(log_path)


def test_no_history_is_not_unreadable(log_path):
    history = read_previous_runs(log_path)
    assert (history.runs, history.open_intents()) == ([], ())
    assert population_of(history, policy()) == Population()
    assert history.deletions.count(invitation(1, source=Source.INVITES)) == 0
    assert history.applied_by("a" * 64) is None


def population_of(history, rules):
    return history.population(
        scope_sha256=scope_sha256(rules), organizations=rules.organization_ids, base_url=URL
    )


def test_population_is_that_of_the_policy_s_scope_organizations_and_url(path, log_path):
    def write(run_id, projects, **started):
        head = {"scope_sha256": scope_sha256(policy()), "base_url": URL, **started}
        left = {"projects": projects, "visible_projects": {ORG: projects, OTHER_ORG: 9}}
        write_run(path, run_id, numbers=(), started=head, totals={"remaining": left})

    write("1", 11)
    write("3", 13, base_url="https://elsewhere.example.com")
    write("4", 14, scope_sha256="0" * 64)
    history = read_previous_runs(log_path)
    assert population_of(history, policy()) == Population(11, {ORG: 11})
    other_rules = policy(rules=[{"name": "other", "older_than": "1d"}])
    assert population_of(history, other_rules) == Population(11, {ORG: 11})
    narrow = policy(projects={"include": ["a"]})
    assert population_of(history, narrow) == Population(0, {ORG: 14})


@pytest.mark.parametrize(
    ("code", "mode", "used"),
    [
        (0, "sweep", True),
        (4, "sweep", True),
        *((code, "sweep", False) for code in (3, 6, 7, 8, 10)),
        (0, "dry-run", False),
    ],
)
def test_plan_is_used_by_a_sweep_that_ended_with_0_or_4(path, log_path, code, mode, used):
    head = {"plan_sha256": "a" * 64}
    write_run(path, mode=mode, started=head, totals={"exit_code": code})
    history = read_previous_runs(log_path)
    assert (history.applied_by("a" * 64) is not None) is used
    assert history.applied_by("b" * 64) is None


def test_plan_that_one_command_did_not_finish_is_used_by_the_one_that_did(path, log_path):
    for run_id, code in (("stopped", 8), ("done", 0), ("again", 0)):
        head = {"plan_sha256": "a" * 64, "group_id": f"group {run_id}"}
        write_run(path, run_id, started=head, totals={"exit_code": code})
    assert read_previous_runs(log_path).applied_by("a" * 64).run_id == "done"
