"""The population guard over several nights: what a sweep is compared with, and what may set it."""

import gzip
from datetime import timedelta

import pytest
from builders import OTHER_ORG, policy_bytes
from running import desk_in

from invite_sweeper.simulator import faults
from invite_sweeper.sweep.scope import Shard

DAYS = timedelta(days=1)
USERS = "*/groups/*/users"
ACCEPT = "--accept-population"


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as found:
        yield found


def add_projects(desk, count=20, young=1, start=0):
    ids = []
    for number in range(start, start + count):
        ids.append(desk.sim.add_project(f"Project {number}"))
        for n in range(young):
            desk.sim.invite(ids[-1], f"y{number}-{n}@example.com", age=2 * DAYS)
    return ids


def add_stale(desk, project, *names):
    for name in names or ("stale",):
        desk.sim.invite(project, f"{name}@example.com", age=20 * DAYS)


def remove(desk, projects):
    for project in projects:
        desk.sim.remove_project(project)


def run_with(desk, command, *arguments, **changes):
    """Run with another policy file beside the nightly one."""
    path = desk.folder / "other.yaml"
    path.write_bytes(policy_bytes({**desk.keys, **changes}))
    return desk.run(command, "--policy", path.name, "--output", "json", *arguments)


def rotate(desk, name=".1.gz", change=lambda data: data):
    """Compress the log as logrotate does, and return the new file."""
    path = desk.log_path.with_name(desk.log_path.name + name)
    data = desk.log_path.read_bytes()
    path.write_bytes(change(gzip.compress(data) if name.endswith(".gz") else data))
    desk.log_path.unlink()
    return path


def refused(desk, *arguments):
    """Return the error of a sweep that must be refused and delete nothing."""
    before = desk.deletes()
    done = desk.sweep(*arguments)
    assert (done.code, desk.deletes()) == (3, before), done.err
    return done.err


# Who sets what a sweep is compared with -----------------------------------------------------


NARROW = {"projects": {"include": ["Project 1"]}}


@pytest.mark.parametrize("command", ["plan", "sweep"])
@pytest.mark.parametrize("arguments", [(), (ACCEPT,)], ids=["", "accepted"])
def test_run_of_a_narrow_policy_does_not_replace_what_the_nightly_sweep_is_compared_with(
    desk, command, arguments
):
    ids = add_projects(desk)
    assert desk.sweep().code == 0
    assert run_with(desk, command, *arguments, **NARROW).code == 0
    remove(desk, ids[10:])
    add_stale(desk, ids[0])
    assert "10 projects were found, but the last complete run left 20" in refused(desk)


def test_accepted_dry_run_of_the_same_policy_does_not_replace_what_sweeps_are_compared_with(desk):
    ids = add_projects(desk)
    assert desk.sweep().code == 0
    remove(desk, ids[10:])
    assert desk.plan().code == 3
    assert desk.plan(ACCEPT).code == 0
    add_stale(desk, ids[0])
    assert "left 20" in refused(desk)
    assert desk.sweep(ACCEPT).summary["deleted"] == 1
    assert desk.sweep().code == 0


def test_dry_runs_are_what_the_first_sweep_is_compared_with(desk):
    ids = add_projects(desk)
    assert desk.plan().code == 0
    remove(desk, ids[10:])
    add_stale(desk, ids[0])
    assert "left 20" in refused(desk)
    assert desk.plan(ACCEPT).code == 0
    assert desk.sweep().summary["deleted"] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"rules": [{"name": "other", "older_than": "13d"}]},
        {"projects": {"exclude": ["Project 19"]}},
        {"sources": ["invites", "users"]},
    ],
    ids=["rules", "projects", "sources"],
)
def test_changed_policy_is_still_compared(desk, change):
    ids = add_projects(desk)
    assert desk.sweep().code == 0
    desk.keys |= change
    remove(desk, ids[:8])
    add_stale(desk, ids[8])
    assert "12 " in refused(desk)


def test_changed_rules_alone_do_not_stop_the_comparison_of_invitations(desk):
    ids = add_projects(desk, count=2, young=10)
    assert desk.sweep().code == 0
    desk.keys["rules"] = [{"name": "other", "older_than": "13d"}]
    remove(desk, ids[:1])
    add_stale(desk, ids[1])
    assert "11 invitations were found, but the last complete run left 20" in refused(desk)


def test_narrower_policy_is_not_a_drop(desk):
    add_projects(desk)
    assert desk.sweep().code == 0
    desk.keys |= NARROW
    assert desk.sweep().code == 0


def test_shard_is_compared_with_itself_and_not_with_other_shards(desk):
    ids = add_projects(desk, count=60)
    for shard in ("1/2", "2/2"):
        assert desk.sweep("--shard", shard).code == 0
    first = [each for each in ids if Shard.parse("1/2").includes(each)]
    remove(desk, first[: len(first) // 2])
    assert f"left {len(first)}" in refused(desk, "--shard", "1/2")
    assert desk.sweep("--shard", "2/2").code == 0


@pytest.mark.parametrize("shard", ["1/3", None])
def test_new_number_of_shards_is_compared_by_visible_projects(desk, shard):
    ids = add_projects(desk, count=40)
    assert desk.sweep("--shard", "1/2").code == 0
    remove(desk, ids[:20])
    arguments = ("--shard", shard) if shard else ()
    assert "20 visible projects were found, but the last complete run left 40" in refused(
        desk, *arguments
    )


def test_organization_that_is_added_is_not_compared_and_the_other_is(desk):
    ids = add_projects(desk)
    assert desk.sweep().code == 0
    desk.sim.add_organization(OTHER_ORG, "Other")
    desk.keys["organizations"] = [*desk.keys["organizations"], OTHER_ORG]
    remove(desk, ids[:8])
    assert "12 visible projects were found" in refused(desk)
    assert desk.sweep(ACCEPT).code == 0


# Sources ------------------------------------------------------------------------------------


def two_sources(desk):
    desk.keys["sources"] = ["invites", "users"]
    ids = add_projects(desk, count=4, young=5)
    for number, project in enumerate(ids):
        add_users(desk, project, [f"u{number}-{n}" for n in range(5)])
    return ids


def add_users(desk, project, names):
    return [
        desk.sim.add_user(
            f"{name}@example.com", age=2 * DAYS, group_roles={project: ["GROUP_OWNER"]}
        )
        for name in names
    ]


def users_accept(desk):
    for user_id in desk.sim.users():
        desk.sim.set_status(user_id, "ACTIVE")


def retire_users(desk):
    desk.sim.faults.add(faults.fail_with(410, "VERSION_GONE"), method="GET", path=USERS, times=None)


def test_retired_source_is_waived_alone_and_the_other_is_compared(desk):
    ids = two_sources(desk)
    assert desk.sweep().code == 0
    retire_users(desk)
    assert desk.sweep().code == 4
    remove(desk, ids[:2])
    add_stale(desk, ids[3])
    error = refused(desk)
    assert "11 invitations were found, but the last complete run left 20" in error


def test_source_that_was_retired_for_one_night_keeps_its_count(desk):
    ids = two_sources(desk)
    assert desk.sweep().code == 0
    retire_users(desk)
    assert desk.sweep().code == 4
    desk.sim.faults.clear()
    users_accept(desk)
    add_stale(desk, ids[0])
    assert "21 invitations were found, but the last complete run left 40" in refused(desk)


def test_empty_source_does_not_hide_behind_a_large_one(desk):
    desk.keys["sources"] = ["invites", "users"]
    ids = add_projects(desk, count=4, young=30)
    add_users(desk, ids[0], [f"u{n}" for n in range(12)])
    assert desk.sweep().code == 0
    users_accept(desk)
    add_stale(desk, ids[0])
    assert "0 invitations in the list users were found" in refused(desk)


# Rotated and compressed history -------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [".1", ".1.gz", ".2.gz", "-20261125.gz", "-20261125-1764000000.gz", "-2026-11-25.gz"]
)
def test_rotated_log_is_read_however_logrotate_names_it(desk, name):
    ids = add_projects(desk)
    assert desk.sweep().code == 0
    rotate(desk, name)
    remove(desk, ids[:8])
    add_stale(desk, ids[8])
    assert "12 projects were found, but the last complete run left 20" in refused(desk)


def test_newest_of_several_compressed_logs_counts(desk):
    ids = add_projects(desk)
    assert desk.sweep().code == 0
    rotate(desk, ".2.gz")
    remove(desk, ids[:8])
    assert desk.sweep(ACCEPT).code == 0
    rotate(desk, ".1.gz")
    assert desk.sweep().code == 0
    remove(desk, ids[8:15])
    assert "5 projects were found, but the last complete run left 12" in refused(desk)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        (".1.gz", lambda data: data[:-9], "is cut off"),
        (".1.gz", lambda data: data[:1], "Not a gzipped file"),
        (".1.gz", lambda _data: b"", "is cut off"),
        (".1.gz", gzip.decompress, "Not a gzipped file"),
        (".1.gz", lambda data: data[:-8] + bytes(8), "CRC check failed"),
        (".1.gz", lambda data: data[:40] + bytes(60) + data[100:], "cannot be read"),
        (".1.xz", lambda data: data, ".xz is not supported"),
        (".1.zst", lambda data: data, ".zst is not supported"),
    ],
    ids=["cut", "one byte", "empty", "not gzip", "checksum", "data", "xz", "zst"],
)
@pytest.mark.parametrize("command", ["sweep", "plan"])
def test_compressed_log_that_cannot_be_read_refuses_every_run(desk, name, change, reason, command):
    ids = add_projects(desk, count=1)
    assert desk.sweep().code == 0
    rotated = rotate(desk, name, change)
    add_stale(desk, ids[0])
    done = desk.run(command, "--policy", "policy.yaml", ACCEPT)
    assert (done.code, desk.deletes()) == (3, 0)
    assert reason in done.err
    assert rotated.name in done.err
    assert "cannot be read" in done.err
    assert "Restore the file" in done.err
    rotated.unlink()
    assert desk.sweep().summary["deleted"] == 1


def test_whole_gzip_of_an_empty_log_is_not_an_error(desk):
    ids = add_projects(desk, count=1)
    assert desk.sweep().code == 0
    desk.log_path.with_name(desk.log_path.name + ".1.gz").write_bytes(gzip.compress(b""))
    add_stale(desk, ids[0])
    assert desk.sweep().summary["deleted"] == 1


def test_invitation_that_bounced_in_a_compressed_log_is_kept(desk):
    (project,) = add_projects(desk, count=1)
    desk.keys["limits"]["max_bounces"] = 2
    for name in (".2.gz", ".1.gz"):
        add_stale(desk, project, "back")
        assert desk.sweep().summary["deleted"] == 1
        rotate(desk, name)
    add_stale(desk, project, "back")
    assert desk.sweep().summary["kept_by_reason"]["bounced"] == 1


# Projects that are gone ---------------------------------------------------------------------


def gone(desk, project):
    desk.sim.faults.add(
        faults.fail_with(404, "GROUP_NOT_FOUND"),
        method="GET",
        path=f"*/groups/{project}/*",
        times=None,
    )


def test_project_that_is_gone_is_counted_and_is_not_a_failure(desk):
    ids = add_projects(desk, count=3)
    add_stale(desk, ids[0])
    gone(desk, ids[1])
    done = desk.sweep()
    assert (done.code, done.summary["deleted"]) == (0, 1)
    assert (done.summary["projects_gone"], done.summary["projects_unreadable"]) == (1, 0)
    assert (desk.lines("run_finished")[-1]["projects_gone"]) == 1
    shown = desk.run("sweep", "--policy", "policy.yaml")
    assert (shown.code, "1 of them deleted since it was listed" in shown.out) == (0, True)


def test_project_that_is_gone_in_two_lists_counts_once(desk):
    desk.keys["sources"] = ["invites", "users"]
    ids = add_projects(desk, count=3)
    gone(desk, ids[1])
    assert desk.sweep().summary["projects_gone"] == 1


@pytest.mark.parametrize("code", ["RESOURCE_NOT_FOUND", "", "INVITATION_NOT_FOUND"])
def test_any_other_404_makes_a_project_unreadable(desk, code):
    ids = add_projects(desk, count=3)
    desk.sim.faults.add(
        faults.fail_with(404, code), method="GET", path=f"*/groups/{ids[1]}/*", times=None
    )
    done = desk.sweep()
    assert (done.code, done.summary["projects_gone"]) == (4, 0)
    assert done.summary["projects_unreadable"] == 1


@pytest.mark.parametrize(("count", "code"), [(6, 0), (7, 3)])
def test_many_projects_gone_at_once_are_a_drop_in_the_first_run_already(desk, count, code):
    ids = add_projects(desk)
    add_stale(desk, ids[-1])
    for project in ids[:count]:
        gone(desk, project)
    done = desk.sweep()
    assert (done.code, desk.deletes()) == (code, 1 if code == 0 else 0), done.err
    assert ("13 projects were left of the 20 that were just listed" in done.err) is (code == 3)
    if code:
        assert desk.sweep(ACCEPT).summary["deleted"] == 1


def test_projects_gone_count_as_a_drop_since_the_last_sweep(desk):
    ids = add_projects(desk)
    assert desk.sweep().code == 0
    remove(desk, ids[:4])
    for project in ids[4:7]:
        gone(desk, project)
    assert "13 projects were found, but the last complete run left 20" in refused(desk)
