"""`restore` as a process: what is restored, what is not, and how it is reported."""

import json
import re
from datetime import timedelta

import faults
import pytest
from commands.terminals import terminal_of
from running import wait_until

from invite_sweeper.models import Source

DAYS = timedelta(days=1)


@pytest.fixture
def cli(cli):
    cli.sim.set_bucket("invitations_ip")
    return cli


ROLES = ["GROUP_READ_ONLY", "GROUP_DATA_ACCESS_READ_ONLY"]


def swept(cli):
    (project,) = cli.stock(stale=0, young=1)
    for number in range(3):
        name = f"person-{number}@example.com"
        cli.sim.invite(project, name, age=20 * DAYS, roles=ROLES)
    assert cli.sweep().code == 0
    return project


def restore(cli, *arguments, code=0):
    done = cli.run("restore", *arguments, "--output", "json")
    assert done.code == code, done.err
    return done.summary


def verify(cli):
    return cli.run("audit", "verify").code


def posts(cli):
    return cli.sim.received["POST"]


def invited(cli, project):
    group = cli.sim.groups[project]
    return {each.username: json.loads(each.document)["roles"] for each in group.invites.values()}


def test_dry_run_shows_who_would_be_invited_and_writes_and_sends_nothing(cli):
    swept(cli)
    shown = cli.run("restore", "--dry-run").out
    assert re.search("person-1@example.com .*forgotten", shown)  # by this rule it was deleted
    assert "3 people would be invited again" in shown
    assert (posts(cli), len(cli.run_files())) == (0, 1)


@pytest.mark.parametrize("command", ["restore", "audit show"])
def test_second_username_is_wrong_usage_and_not_ignored(cli, command):
    done = cli.run(*command.split(), "--username", "ada@*", "--username", "bob@*")
    assert (done.code, cli.sim.requests) == (2, [])
    assert "Give it once" in done.err


def test_a_mistyped_address_invites_no_person_and_names_the_runs_that_were_searched(cli):
    swept(cli)
    assert (cli.plan().code, cli.sweep().code) == (0, 0)
    mistyped = "persn-1*"
    for words in ((), ("--dry-run",), ("1",)):
        done = cli.run("restore", *words, "--username", mistyped)
        assert (done.code, done.out) == (4, "")
        (error,) = done.errors
        searched = "run 1 was searched." if words == ("1",) else "runs 1 to 3 of "
        assert error.startswith(f"No sweep deleted a person named {mistyped!r}: {searched}")
    assert (len(cli.run_files()), posts(cli)) == (3, 0)


def test_a_file_from_elsewhere_is_wrong_usage_and_a_path_in_the_directory_is_its_run(cli):
    project = swept(cli)
    forged = cli.folder / "a\x1b[31mb\nDry run: 9 people" / cli.log_path.name
    forged.parent.mkdir()
    forged.write_bytes(cli.log_path.read_bytes())
    sent = len(cli.sim.requests)
    done = cli.run("restore", str(forged), "--log-format", "text")
    assert (done.code, done.out, len(cli.sim.requests)) == (2, "", sent)
    assert "is not a file of the audit directory" in done.err
    assert not re.search("\x1b|\nDry run", done.err)
    assert len(cli.run_files()) == 1
    link = cli.folder / "link"
    link.symlink_to(cli.audit_dir)
    restore(cli, str(link / cli.log_path.name))
    assert "person-0@example.com" in invited(cli, project)


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
    process = cli.fork("restore")
    wait_until(lambda: len(invited(cli, project)) == 3)
    process.kill()
    process.communicate(timeout=60)
    cli.sim.faults.rules.clear()
    assert verify(cli) == 3
    shown = " ".join(cli.run("audit", "show").out.split())
    assert "restore Restore: unfinished" in shown
    assert "sent without an outcome" in shown
    result = restore(cli)
    assert (result["restored"], result["already_there"]) == (1, 2)
    assert len(cli.sim.invitations(project)) == 4
    assert verify(cli) == 0
    for words in (("verify",), ("show", "2")):
        assert "recovered by run 3" in cli.run("audit", *words).out


@pytest.mark.parametrize("has_acted", [True, False], ids=["acted", "lost"])
@pytest.mark.parametrize("source", Source)
def test_person_of_a_killed_restore_is_invited_once_whether_or_not_atlas_had_acted(
    cli, source, has_acted
):
    cli.keys["sources"] = [source.value]
    project = cli.sim.add_project("Search")
    if source is Source.INVITES:
        cli.sim.invite(project, "ada@example.com", age=20 * DAYS)
    else:
        in_project = {project: ["GROUP_OWNER"]} if source is Source.USERS else {}
        cli.sim.add_user("ada@example.com", age=20 * DAYS, group_roles=in_project)

    def people():
        in_group = [each.username for each in cli.sim.groups[project].invites.values()]
        users = [
            each.username
            for each in cli.sim.invited_users()
            if source is not Source.USERS or each.group_roles.get(project)
        ]
        return in_group + users

    assert cli.sweep().summary["deleted"] == 1
    before = people()
    cli.sim.faults.add(faults.hang(late=has_acted), method="POST", times=None)
    process = cli.fork("restore")
    wait_until(lambda: posts(cli) == 1)
    wait_until(lambda: not has_acted or people() != before)
    process.kill()
    process.communicate(timeout=60)
    cli.sim.faults.rules.clear()
    # The first one reads who is there; the second one has nothing to do.
    for number, restored in enumerate((not has_acted, False)):
        result = restore(cli, *(("1",) if number else ()))
        assert (result["restored"], result["already_there"]) == (restored, not restored)
        assert (people().count("ada@example.com"), posts(cli)) == (1, 1 + (not has_acted))
    assert verify(cli) == 0


@pytest.mark.parametrize(("answer", "code"), [("yes\n", 0), ("no\n", 3)])
def test_question_lists_the_users_and_only_yes_invites_them(cli, answer, code):
    swept(cli)
    with terminal_of(cli, "restore") as terminal:
        shown = terminal.read_until("Type yes or no: ")
        assert "person-1@example.com" in shown
        assert "Invite 3 people again?" in shown
        assert posts(cli) == 0
        terminal.type(answer)
        ended, text = terminal.end()
    assert (ended, posts(cli)) == (code, 3 if code == 0 else 0)
    after = text.rpartition("again?")[2]
    assert "AGE  INVITED" not in after  # the list was shown above the question
    assert code == 0 or "Cancelled. No one was invited." in text


def test_user_that_atlas_adds_at_once_is_active_loud_and_ends_with_4(cli):
    cli.keys["sources"] = ["org_users"]
    cli.sim.add_project("Search")
    for name in ("ada", "bo"):
        cli.sim.add_user(f"{name}@example.com", age=20 * DAYS)
    assert cli.sweep().summary["deleted"] == 2
    # A federated organization: Atlas documentation, invitations (read 2026-11).
    join = faults.altered(lambda body: body.replace(b'"PENDING"', b'"ACTIVE"'))
    cli.sim.faults.add(join, method="POST", path="*/users", times=None)
    done = cli.run("restore", "--quiet")
    assert (done.code, done.out) == (4, "")
    assert "2 active memberships at once" in done.err
    logged = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    active = {(line["user"], line["place"]) for line in logged if line["event"] == "active"}
    place = "Example Industries"
    assert active == {("ada@example.com", place), ("bo@example.com", place)}
    assert "--outcome active" in done.err
    assert {line["outcome"] for line in cli.lines("outcome")} == {"deleted", "active"}
    assert verify(cli) == 0
