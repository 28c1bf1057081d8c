"""A sweep reads the lists again from which it deleted, and reports what it found."""

from datetime import timedelta

import pytest
from running import desk_in

from invite_sweeper.simulator import faults

OLD = timedelta(days=20)
INVITED = {"statuses": ["PENDING", "INVITATION_EXPIRED", "INVITATION_REJECTED"]}
SOURCES = ["invites", "users", "org_users", "org_invites"]


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as made:
        made.keys["rules"] = [{"name": "old", "older_than": "14d", **INVITED}]
        for number in range(2):
            project = made.sim.add_project(f"Project {number}")
            made.projects.append(project)
            for name in ("ada", "bob"):
                made.sim.invite(project, f"{name}{number}@example.com", age=OLD)
                made.sim.add_user(
                    f"{name}{number}@example.com", age=OLD, group_roles={project: ["GROUP_OWNER"]}
                )
        yield made


def counts(summary):
    return tuple(summary[key] for key in ("deleted", "verified", "still_there", "not_verified"))


@pytest.mark.parametrize("source", SOURCES)
def test_deletions_from_every_list_are_verified(desk, source):
    desk.keys["sources"] = [source]
    done = desk.sweep()

    assert done.code == 0, done.err
    assert counts(done.summary) == (4, 4, 0, 0)
    (finished,) = desk.lines("run_finished")
    assert counts(finished) == (4, 4, 0, 0)
    lists = [
        each for each in desk.sim.requests if each.method == "GET" and source[-5:] in each.path
    ]
    after = [each for each in lists if each.path.partition("?")[0].endswith(source[-5:])]
    assert len(after) == 2 * (1 if source.startswith("org_") else 2)


def test_invitation_that_is_still_listed_is_exit_4_and_named(desk):
    desk.sim.faults.add(faults.empty(204), method="DELETE", path=f"*/{desk.projects[0]}/*")
    done = desk.sweep()

    assert done.code == 4, done.err
    assert counts(done.summary) == (4, 3, 1, 0)
    (warning,) = done.summary["warnings"]
    assert "1 invitation that its lists still contain" in warning
    assert "0@example.com (Project 0)" in warning
    assert desk.run("audit", "verify", str(desk.log_path)).code == 0


def test_list_that_cannot_be_read_again_is_not_verified_and_no_failure(desk):
    desk.sim.faults.add(
        faults.role_missing(), method="GET", path=f"*/{desk.projects[0]}/invites", nth=2, times=None
    )
    done = desk.sweep()

    assert done.code == 0, done.err
    assert counts(done.summary) == (4, 2, 0, 2)


def test_deadline_during_the_verification_leaves_the_rest_not_verified(desk):
    desk.sim.faults.add(
        faults.hang(), method="GET", path=f"*/{desk.projects[0]}/invites", nth=2, times=None
    )
    desk.keys["execution"] = {"deadline": "4s"}
    done = desk.sweep()

    assert done.code == 0, done.err
    assert counts(done.summary) == (4, 2, 0, 2)


def test_dry_run_verifies_nothing(desk):
    planned = desk.plan()
    assert counts(planned.summary) == (0, 0, 0, 0)
    assert sum("/invites" in each.path for each in desk.sim.requests) == 2
