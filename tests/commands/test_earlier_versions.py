"""The audit directories and the policies of earlier versions are read, and continued.

`logs/` has what these versions wrote into the simulated Atlas's world of that day:

- 0.2.0: a dry run, and a sweep of four people of whom one had accepted, with fields and outcomes
  that are gone;
- 0.3.0: with all four lists and a notice of a day, a dry run, a sweep that announces, one that
  deletes four, a restore of one of them, a sweep that announces dora@example.com, and one that was
  killed while her DELETE had no response; and a policy with every key.
"""

import csv
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from company_network import company_network

LOGS = Path(__file__).parent / "logs"
WHILE_0_2_0 = ("--since", "2026-11-25", "--until", "2026-11-26")
WHILE_0_3_0 = ("--since", "2026-01-20", "--until", "2026-01-26")


@pytest.fixture
def with_log_of(cli):
    def copy(version):
        shutil.copytree(LOGS / version, cli.audit_dir)
        cli.audit_dir.chmod(0o700)
        for path in cli.audit_dir.iterdir():
            path.chmod(0o600)
        return cli

    return copy


def outcomes(cli, run):
    shown = cli.run("audit", "show", run, "--output", "csv")
    rows = csv.DictReader(shown.out.splitlines())
    return {row["username"]: row["outcome"] for row in rows if row["outcome"]}


def test_log_of_0_2_0_is_sound_and_a_sweep_continues_it(with_log_of):
    cli = with_log_of("0.2.0")
    cli.stock(stale=2)
    assert cli.run("audit", "verify").code == 0
    done = cli.sweep()
    assert (done.code, done.summary["number"], done.summary["deleted"]) == (0, 3, 2)
    assert cli.run("audit", "verify").code == 0


def test_log_of_0_2_0_is_shown_as_it_was_written_and_reported(with_log_of):
    cli = with_log_of("0.2.0")
    found = outcomes(cli, "2")
    assert found["person-3@example.com"] == "accepted_during"
    assert found["person-1@example.com"] == "deleted"
    assert "accepted during" in cli.run("audit", "show", "2").out
    assert "accepted during" in cli.run("audit", "show", "--username", "person-3@*").out
    assert cli.run("audit", "show").out.count(" UTC  ") == 2
    assert "accepted during" in cli.run("report", *WHILE_0_2_0, "--format", "md").out


@pytest.fixture
def after_0_3_0(with_log_of):
    """The log of 0.3.0, its policy, and dora@example.com, who is still invited."""
    cli = with_log_of("0.3.0")
    cli.keys = yaml.safe_load(cli.lines("policy")[-1]["text"])
    cli.sim.add_project("Sandbox", project_id="a" * 24)
    cli.sim.add_project("Payments", project_id="b" * 24)
    (planned,) = (line for line in cli.lines("planned") if line["username"] == "dora@example.com")
    (in_invites,) = (e for e in planned["entries"] if e["source"] == "org_invites")
    dora = cli.sim.user(
        cli.sim.add_user(planned["username"], group_roles={"a" * 24: ["GROUP_READ_ONLY"]})
    )
    people = cli.sim.organizations[planned["org_id"]].users
    people[planned["invitation_id"]] = people.pop(dora.id)
    dora.id, dora.invitation_id = planned["invitation_id"], in_invites["invitation_id"]
    dora.created_at = datetime.fromisoformat(planned["created_at"]).astimezone(UTC)
    dora.expires_at = datetime.fromisoformat(planned["expires_at"]).astimezone(UTC)
    cli.sim.expire_invitations()
    with company_network(cli.sim, cli.folder) as network:  # where the URL of Atlas is the same
        cli.changes |= network.environment
        yield cli


def test_sweep_after_0_3_0_recovers_its_killed_run_and_deletes_whom_it_announced(after_0_3_0):
    cli = after_0_3_0
    unfinished = cli.run("audit", "verify")
    assert (unfinished.code, "Unfinished  Run 6" in unfinished.out) == (3, True), unfinished
    done = cli.sweep()
    assert (done.code, done.summary["number"]) == (0, 7), done.err
    assert (done.summary["announced"], done.summary["deleted"]) == (0, 1)
    assert done.summary["invitations"][0]["username"] == "dora@example.com"
    verified = cli.run("audit", "verify")
    assert (verified.code, "Run 6: recovered by run 7" in verified.out) == (0, True), verified


def test_runs_of_0_3_0_are_shown_and_reported(after_0_3_0):
    cli = after_0_3_0
    deleted = dict.fromkeys(
        [f"{name}@example.com" for name in ("ada", "bo", "cy", "eva")], "deleted"
    )
    assert outcomes(cli, "3") == deleted
    assert outcomes(cli, "4") == {"ada@example.com": "restored"}
    assert cli.run("audit", "show").out.count(" UTC  ") == 6
    for words in (
        ("audit", "show", "--username", "ada@*"),
        ("report", *WHILE_0_3_0, "--format", "md"),
        ("report", *WHILE_0_3_0, "--format", "html"),
    ):
        shown = cli.run(*words)
        assert (shown.code, "ada@example.com" in shown.out) == (0, True), (words, shown)
        assert "restored" in shown.out, words


def test_person_whom_0_3_0_deleted_is_restored(after_0_3_0):
    cli = after_0_3_0
    assert cli.sweep().code == 0  # a restore is refused while a run is open
    done = cli.run("restore", "3", "--username", "bo@*")
    assert done.code == 0, done.err
    (organization,) = cli.sim.organizations.values()
    restored = organization.find_user("bo@example.com")
    assert restored.group_roles == {"a" * 24: ("GROUP_READ_ONLY",)}


@pytest.mark.parametrize("policy", ["with every key", "of the log"])
def test_policy_of_0_3_0_is_valid(after_0_3_0, policy):
    path = after_0_3_0.folder / "earlier.yaml"
    if policy == "of the log":
        shown = after_0_3_0.run("audit", "show", "3", "--policy")
        path.write_text(shown.out, "utf-8")
    else:
        shutil.copy(LOGS / "0.3.0-policy.yaml", path)
    done = after_0_3_0.run("validate", path.name)
    assert (done.code, "is a valid policy" in done.out) == (0, True), done
