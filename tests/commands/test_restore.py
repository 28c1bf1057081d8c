"""`restore` as a process: what is restored, what is not, and how it is reported."""

import json
from datetime import timedelta

import faults
import pytest
from buckets import set_bucket
from running import wait_until
from terminals import terminal_of

from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)
POLICY = ("--policy", "policy.yaml")


@pytest.fixture
def cli(cli):
    set_bucket(cli.sim, "invitations_ip", capacity=1000, refill=1000)
    return cli


def swept(cli, users=3):
    """Sweep users from a project and return its id."""
    project = cli.sim.add_project("Project")
    for number in range(users):
        cli.sim.invite(
            project,
            f"person-{number}@example.com",
            age=(20 + number) * DAYS,
            roles=("GROUP_READ_ONLY", "GROUP_DATA_ACCESS_READ_ONLY"),
        )
    cli.sim.invite(project, "young@example.com", age=DAYS)
    assert cli.sweep().code == 0
    return project


def restore(cli, *arguments, code=0, **changes):
    done = cli.run("restore", *arguments, *POLICY, "--output", "json", **changes)
    assert done.code == code, done.err
    return done.summary


def verify(cli):
    return cli.run("audit", "verify", "audit").code


def posts(cli):
    return cli.sim.request_log.received["POST"]


def invited(cli, project):
    group = cli.sim.groups[project]
    return {each.username: json.loads(each.document)["roles"] for each in group.invites.values()}


def test_restore_brings_back_exactly_what_the_last_sweep_deleted_once(cli):
    project = swept(cli)
    roles = ["GROUP_READ_ONLY", "GROUP_DATA_ACCESS_READ_ONLY"]
    result = restore(cli)
    assert (result["mode"], result["restored"], result["already_there"]) == ("restore", 3, 0)
    assert result["restores"] == cli.lines()[0]["run_id"]
    people = {f"person-{n}@example.com": roles for n in range(3)}
    assert invited(cli, project) == {"young@example.com": ["GROUP_READ_ONLY"], **people}
    again = restore(cli)
    assert (again["restored"], again["already_there"], posts(cli)) == (0, 3, 3)
    assert verify(cli) == 0


def test_dry_run_shows_who_would_be_invited_and_writes_and_sends_nothing(cli):
    swept(cli)
    files = cli.run_files()
    result = restore(cli, "--dry-run")
    assert len(result["to_invite"]) == 3
    assert (posts(cli), cli.run_files()) == (0, files)
    shown = cli.run("restore", *POLICY, "--dry-run").out
    assert "person-1@example.com" in shown
    assert "3 people would be invited again" in shown


def test_sweep_without_a_deletion_restores_no_one_and_ends_with_0(cli):
    cli.sim.invite(cli.sim.add_project("Project"), "young@example.com", age=DAYS)
    assert cli.sweep().code == 0
    done = cli.run("restore", *POLICY)
    assert (done.code, "no one was invited" in done.out, posts(cli)) == (0, True, 0)


def test_run_of_another_atlas_is_refused_and_one_that_there_is_not_wrong_usage(cli):
    swept(cli)
    error = restore(cli, "--base-url", "http://127.0.0.1:9", code=3)["error"]
    assert error["hint"] == "Set --base-url to the URL of that run."
    assert error["consequence"] == "No one was invited."
    assert "has no run 77" in restore(cli, "77", code=2)["error"]["message"]


# Kills and the terminal ----------------------------------------------------------------------


def test_same_command_continues_a_killed_restore_and_invites_no_one_twice(cli):
    project = swept(cli)
    cli.sim.faults.add(faults.hang(late=True), method="POST", nth=2, times=None)
    process = cli.fork("restore", *POLICY)
    wait_until(lambda: len(invited(cli, project)) == 3)
    process.kill()
    process.communicate(timeout=60)
    cli.sim.faults.clear()
    assert verify(cli) == 3
    result = restore(cli)
    assert (result["restored"], result["already_there"]) == (1, 2)
    assert len(cli.sim.invitations(project)) == 4


ASKS = "Type yes or no: "


@pytest.mark.parametrize(("answer", "code"), [("yes\n", 0), ("no\n", 3)])
def test_question_lists_the_users_and_only_yes_invites_them(cli, answer, code):
    swept(cli)
    with terminal_of(cli, "restore", *POLICY) as terminal:
        shown = terminal.read_until(ASKS)
        assert "person-1@example.com" in shown
        assert "Invite 3 people again?" in shown
        assert posts(cli) == 0
        terminal.type(answer)
        ended, text = terminal.end()
    assert (ended, posts(cli)) == (code, 3 if code == 0 else 0)
    assert code == 0 or "Cancelled. No one was invited." in text


def test_user_that_atlas_adds_at_once_is_active_loud_and_ends_with_4(cli):
    cli.keys["sources"] = ["org_users"]
    cli.sim.add_project("Search")
    for name in ("ada", "bo"):
        cli.sim.add_user(f"{name}@example.com", age=20 * DAYS)
    assert cli.sweep().summary["deleted"] == 2
    cli.sim.organizations[ORG_ID].federated = True
    done = cli.run("restore", *POLICY, "--quiet")
    assert (done.code, done.out) == (4, "")
    assert "2 became active members at once" in done.err
    assert "ada@example.com" in done.err
    assert "--outcome active" in done.err
    assert {line["outcome"] for line in cli.lines("outcome")} == {"deleted", "active"}
    assert verify(cli) == 0


def test_a_killed_restore_is_settled_by_the_next_one_and_told_alike_everywhere(cli):
    swept(cli)
    restore(cli)
    path = cli.log_path
    lines = path.read_bytes().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if b'"event":"intent"' in line)
    path.write_bytes(b"".join(lines[: first + 1]))
    head = json.loads((cli.audit_dir / "HEAD").read_bytes())
    head |= {"ended": False, "last_hash": json.loads(lines[0])["prev"]}
    (cli.audit_dir / "HEAD").write_text(json.dumps(head))
    done = cli.run("audit", "verify", "audit")
    assert (done.code, "1 invitation has no outcome" in done.out) == (3, True)
    shown = cli.run("audit", "show", "--audit-dir", "audit").out
    assert "1 invitation sent without an outcome" in " ".join(shown.split())
    restore(cli, "1")
    (line,) = (line for line in cli.lines("outcome") if line.get("recovers"))
    assert line["outcome"] == "already_there"
    done = cli.run("audit", "verify", "audit")
    assert done.code == 0
    for words in (
        ("audit", "verify", "audit"),
        ("audit", "show", "--audit-dir", "audit"),
        ("audit", "show", "2", "--audit-dir", "audit"),
    ):
        assert "recovered by run 3" in cli.run(*words).out
