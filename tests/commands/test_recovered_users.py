"""Users removed by a killed run: how the next sweep reports them and ends."""

import shlex
from datetime import timedelta

import pytest
from running import desk_in, wait_until

from invite_sweeper.simulator import faults

OLD = timedelta(days=20)


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as made:
        rule = {"name": "stale", "older_than": "14d", "statuses": ["PENDING"]}
        made.keys |= {"rules": [rule], "sources": ["users"]}
        yield made


def killed(desk, *, accepts=None, late=True):
    """Kill a sweep whose DELETE hangs, executed if `late`; the user accepts before it."""
    if accepts is not None:
        accept = faults.effect(before=lambda _: desk.sim.set_status(accepts, "ACTIVE"))
        desk.sim.faults.add(accept, method="DELETE")
    desk.sim.faults.add(faults.hang(late=late), method="DELETE", times=99)
    process = desk.start("sweep", "--policy", "policy.yaml")
    wait_until(lambda: desk.deletes() >= 1)
    if late:
        wait_until(lambda: desk.sim.request_log.removed)
    process.kill()
    process.communicate()
    desk.sim.faults.clear()


def invited(desk, name="ada@example.com"):
    project = desk.sim.add_project("Sandbox")
    return project, desk.sim.add_user(name, age=OLD, group_roles={project: ["GROUP_OWNER"]})


def ends(desk):
    return [(line["outcome"], line["seen_after"]) for line in desk.lines("outcome")]


def verified(desk):
    return desk.run("audit", "verify", str(desk.log_path)).code


def test_member_removed_by_a_killed_run_is_reported_as_error_and_the_next_sweep_ends_with_4(desk):
    _, user = invited(desk, "o'neil@example.com")
    killed(desk, accepts=user)
    done = desk.sweep()

    assert ends(desk) == [("accepted_during", "ACTIVE")]
    assert (done.code, done.summary["exit_code"], done.summary["recovered"]) == (4, 4, 1)
    (sentence,) = [each for each in done.summary["warnings"] if "restore" in each]
    assert shlex.split(sentence.partition("To invite them again: ")[2]) == [
        "invite-sweeper",
        "restore",
        "audit/invite-sweeper.jsonl",
        "--run",
        done.summary["run_id"],
        "--username",
        "o'neil@example.com",
    ]
    (line_found,) = [
        line for line in done.err.splitlines() if "o'neil@example.com accepted" in line
    ]
    assert '"level": "error"' in line_found
    assert verified(desk) == 0
    assert (desk.sweep().code, len(ends(desk))) == (0, 1)


def test_command_in_the_message_restores_the_member(desk):
    project, user = invited(desk)
    killed(desk, accepts=user)
    done = desk.sweep()
    (sentence,) = [each for each in done.summary["warnings"] if "restore" in each]
    _, *words = shlex.split(sentence.partition("To invite them again: ")[2])
    back = desk.run(*words, "--yes")
    assert back.code == 0, back.err
    assert project in desk.sim.user(user).group_roles


def test_member_who_accepted_before_the_removal_is_kept(desk):
    project, user = invited(desk)
    killed(desk, accepts=user, late=False)
    done = desk.sweep()

    assert ends(desk) == [("accepted_before", "ACTIVE")]
    assert (done.code, done.summary["warnings"]) == (0, [])
    assert project in desk.sim.user(user).group_roles


def test_invited_user_removed_by_a_killed_run_is_already_gone(desk):
    invited(desk)
    killed(desk)
    done = desk.sweep()

    assert ends(desk) == [("already_gone", "PENDING")]
    assert (done.code, done.summary["warnings"]) == (0, [])


def test_user_removed_from_the_organization_cannot_be_read_afterwards(desk):
    _, user = invited(desk)
    desk.keys["sources"] = ["org_users"]
    killed(desk, accepts=user)

    assert desk.sweep().code == 0
    assert ends(desk) == [("already_gone", "gone")]


def test_user_that_may_not_be_read_afterwards_is_unknown_and_reported(desk):
    _, user = invited(desk)
    killed(desk, accepts=user)
    desk.sim.faults.add(faults.role_missing(), path="*/orgs/*/users/*", times=None)
    done = desk.sweep()

    assert ends(desk) == [("unknown", None)]
    assert "1 of the removed users could not be checked afterwards" in done.err
    assert verified(desk) == 0


def test_user_that_cannot_be_read_now_is_checked_by_a_later_run(desk):
    _, user = invited(desk)
    killed(desk, accepts=user)
    desk.keys["execution"] = {"attempts": 1}
    desk.sim.faults.add(faults.fail_with(500), path="*/orgs/*/users/*", times=None)
    done = desk.sweep()
    assert (done.summary["recovered"], ends(desk)) == (0, [])
    assert "1 deletion of an earlier run in Sandbox remains unresolved: " in done.err
    assert "The status of the user could not be read: Atlas answered 500" in done.err

    desk.sim.faults.clear()
    assert (desk.sweep().code, ends(desk)) == (4, [("accepted_during", "ACTIVE")])
