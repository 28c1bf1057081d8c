"""The quarantine of a changed policy: which setting counts, what is shown, and how to accept."""

import json
from datetime import timedelta

import pytest
from builders import policy_bytes
from running import desk_in

DAYS = timedelta(days=1)


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as found:
        found.keys["limits"]["quarantine"] = True
        yield found


def stock(desk, name="Alpha", stale=1, young=0):
    project = desk.sim.add_project(name)
    for n in range(stale):
        desk.sim.invite(project, f"s{n}@example.com", age=20 * DAYS)
    for n in range(young):
        desk.sim.invite(project, f"y{n}@example.com", age=2 * DAYS)
    return project


def current_sha256(desk):
    return desk.lines("run_started")[-1]["policy_sha256"]


def accept(desk, *arguments):
    """Sweep with the hash that the program prints; without one it would be wrong usage."""
    done = desk.sweep()
    assert done.code == 3
    sha256 = done.err.split("--accept-policy ")[1].split()[0]
    assert sha256 == current_sha256(desk)
    return desk.sweep("--accept-policy", sha256, *arguments)


def warnings(done):
    return "\n".join(done.summary["warnings"])


AGGRESSIVE = [{"name": "all", "older_than": "1d"}]


# Which setting counts -----------------------------------------------------------------------


def test_first_sweep_in_an_empty_log_is_quarantined_until_it_is_accepted(desk):
    stock(desk, stale=2, young=1)
    done = desk.sweep()
    assert (done.code, done.summary["mode"], desk.deletes()) == (3, "dry-run", 0)
    assert "No sweep has accepted a policy in this audit log yet (quarantine)." in done.err
    assert "2 invitations would be deleted by this policy." in done.err
    assert desk.sweep().code == 3
    assert accept(desk).summary["deleted"] == 2
    assert desk.sweep().code == 0


def test_dry_runs_and_refused_sweeps_do_not_accept_the_first_policy(desk):
    stock(desk)
    assert desk.plan().code == 0
    assert desk.sweep("--dry-run", "--accept-policy", current_sha256(desk)).code == 0
    assert desk.sweep("--accept-policy", "0" * 64).code == 3
    assert (desk.sweep().code, desk.deletes()) == (3, 0)


def test_changed_policy_is_quarantined_until_it_is_accepted(desk):
    stock(desk, stale=2, young=2)
    assert accept(desk).code == 0
    desk.keys["rules"] = AGGRESSIVE
    done = desk.sweep()
    assert (done.code, done.summary["mode"], desk.deletes()) == (3, "dry-run", 2)
    assert "adds 2 stale invitations and removes 0" in done.err
    assert warnings(done).count("The new policy would also delete Alpha: y") == 2
    other = desk.sweep("--accept-policy", "0" * 64)
    assert (other.code, "--accept-policy names another policy." in other.err) == (3, True)
    assert accept(desk).summary["deleted"] == 2
    assert desk.sweep().code == 0


@pytest.mark.parametrize("off", [False, None], ids=["false", "left out"])
def test_changed_policy_that_also_drops_quarantine_is_quarantined(desk, off):
    stock(desk, young=2)
    assert accept(desk).code == 0
    desk.keys["rules"] = AGGRESSIVE
    if off is None:
        del desk.keys["limits"]["quarantine"]
    else:
        desk.keys["limits"]["quarantine"] = off
    for _night in range(2):
        done = desk.sweep()
        assert (done.code, desk.deletes()) == (3, 1)
        assert "It removes quarantine, which the last accepted policy set" in done.err
        assert "changes limits.quarantine from true to false" in warnings(done)
    assert accept(desk).summary["deleted"] == 2
    desk.keys["rules"] = [{"name": "all", "older_than": "12h"}]
    assert desk.sweep().code == 0


def test_policy_without_quarantine_after_one_without_is_swept(desk):
    desk.keys["limits"]["quarantine"] = False
    stock(desk, young=1)
    assert desk.sweep().code == 0
    desk.keys["rules"] = AGGRESSIVE
    assert desk.sweep().summary["deleted"] == 1


def test_policy_that_begins_to_set_quarantine_is_quarantined(desk):
    desk.keys["limits"]["quarantine"] = False
    stock(desk)
    assert desk.sweep().code == 0
    desk.keys["limits"]["quarantine"] = True
    stock(desk, "Beta")
    assert (desk.sweep().code, desk.deletes()) == (3, 1)
    assert accept(desk).summary["deleted"] == 1


def test_setting_counts_after_the_log_was_rotated_and_the_copy_of_the_policy_was_removed(desk):
    stock(desk, young=1)
    assert accept(desk).code == 0
    desk.log_path.rename(f"{desk.log_path}.1")
    (copy,) = (desk.folder / "audit").glob("policy-*.yaml")
    copy.unlink()
    desk.keys["rules"] = AGGRESSIVE
    del desk.keys["limits"]["quarantine"]
    done = desk.sweep()
    assert (done.code, desk.deletes()) == (3, 1)
    assert "cannot be compared: there is not a copy of it at " in done.err


def test_log_of_an_earlier_version_has_the_setting_in_the_copy_of_the_policy(desk):
    stock(desk, young=1)
    assert accept(desk).code == 0
    desk.log_path.write_bytes(desk.log_path.read_bytes().replace(b',"quarantine":true', b""))
    desk.keys["rules"] = AGGRESSIVE
    del desk.keys["limits"]["quarantine"]
    assert (desk.sweep().code, desk.deletes()) == (3, 1)


@pytest.mark.parametrize("shard", ["1/2", "2/2"])
def test_each_shard_of_a_changed_policy_is_quarantined(desk, shard):
    for n in range(6):
        stock(desk, f"P{n}", stale=1)
    assert accept(desk).code == 0
    desk.keys["rules"] = AGGRESSIVE
    del desk.keys["limits"]["quarantine"]
    assert (desk.sweep("--shard", shard).code, desk.deletes()) == (3, 6)


# What is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize("dropped", [False, True], ids=["set", "dropped"])
def test_dry_run_shows_the_difference_and_the_hash_and_ends_with_0(desk, dropped):
    stock(desk, young=2)
    assert accept(desk).code == 0
    desk.keys["rules"] = AGGRESSIVE
    if dropped:
        del desk.keys["limits"]["quarantine"]
    done = desk.plan("--out", "plan.jsonl")
    assert (done.code, (desk.folder / "plan.jsonl").exists()) == (0, True)
    text = warnings(done)
    assert text.count("The new policy would also delete") == 2
    assert "A sweep would be refused: The policy has changed since the last sweep" in text
    assert f"--accept-policy {current_sha256(desk)}" in text
    accepted = desk.sweep("--dry-run", "--accept-policy", current_sha256(desk))
    assert (accepted.code, warnings(accepted)) == (0, "")


def test_result_has_the_difference_in_numbers_and_the_command_that_accepts(desk):
    stock(desk)
    first = desk.plan()
    assert first.summary["policy_change"] == {
        "policy_sha256": current_sha256(desk),
        "accepted_sha256": None,
        "compared": False,
        "added": 1,
        "removed": 0,
        "sentences": [],
    }
    assert accept(desk).code == 0
    accepted = current_sha256(desk)
    stock(desk, "Beta", stale=3, young=2)
    desk.keys["rules"] = [{"name": "young", "older_than": "1d", "usernames": ["y*"]}]
    for run in (desk.plan, desk.sweep):
        found = run().summary["policy_change"]
        assert (found["added"], found["removed"], found["compared"]) == (2, 3, True)
        assert found["policy_sha256"] == current_sha256(desk)
        assert found["accepted_sha256"] == accepted
        assert len(found["sentences"]) == 5
        assert desk.lines("run_finished")[-1]["policy_change"] == found
    text = desk.run("plan", "--policy", "policy.yaml", "--shard", "1/1", COLUMNS="150").out
    assert "changed since the last sweep: 2 more stale, 3 no longer stale" in text
    command = text.split("Accept it and sweep: ")[1].splitlines()[0]
    assert command == (
        f"invite-sweeper sweep --policy policy.yaml --accept-policy {current_sha256(desk)}"
        f" --base-url {desk.base_url} --shard 1/1"
    )
    assert desk.run(*command.split()[1:], "--yes").code == 0
    assert desk.deletes() == 3
    assert desk.plan().summary["policy_change"] is None
    assert "Accept it" not in desk.run("plan", "--policy", "policy.yaml").out


def test_quiet_run_does_not_print_the_command_on_standard_output(desk):
    stock(desk)
    assert desk.run("sweep", "--policy", "policy.yaml", "-q").out == ""


def test_dry_run_of_an_accepted_policy_shows_nothing(desk):
    stock(desk)
    assert accept(desk).code == 0
    done = desk.plan()
    assert (done.code, warnings(done)) == (0, "")


def test_names_are_bounded_and_counts_are_not(desk):
    stock(desk, stale=0, young=30)
    assert accept(desk).code == 0
    desk.keys["rules"] = AGGRESSIVE
    done = desk.sweep()
    assert "adds 30 stale invitations" in done.err
    assert warnings(done).count("The new policy would also delete Alpha: ") == 20
    assert "The new policy would also delete 10 more" in warnings(done)


def test_quarantine_shows_what_the_new_policy_keeps(desk):
    stock(desk)
    assert accept(desk).code == 0
    stock(desk, "Beta", stale=2)
    desk.keys["keep"] = [{"name": "everyone", "usernames": ["*"]}]
    done = desk.sweep()
    assert (done.code, "adds 0 stale invitations and removes 2" in done.err) == (3, True)
    assert warnings(done).count("The new policy would keep Beta: s") == 2


def test_project_that_is_newly_in_scope_adds_its_stale_invitations(desk):
    desk.keys["projects"] = {"exclude": ["prod-*"]}
    stock(desk)
    stock(desk, "prod-payments", stale=3)
    assert accept(desk).summary["deleted"] == 1
    desk.keys["projects"] = {"exclude": ["Alpha"]}
    done = desk.sweep()
    assert (done.code, "adds 3 stale invitations and removes 0" in done.err) == (3, True)
    assert "1 project is newly in scope" in warnings(done)
    assert "1 project is no longer in scope" in warnings(done)


def test_source_that_is_newly_read_adds_its_stale_invitations(desk):
    project = stock(desk, stale=0)
    for n in range(2):
        desk.sim.add_user(
            f"u{n}@example.com", age=20 * DAYS, group_roles={project: ["GROUP_OWNER"]}
        )
    desk.keys["rules"] = [{"name": "old", "older_than": "14d", "statuses": ["PENDING"]}]
    assert accept(desk).code == 0
    desk.keys["sources"] = ["invites", "users"]
    done = desk.sweep()
    assert (done.code, "adds 2 stale invitations" in done.err) == (3, True)
    assert "The new policy also reads users" in warnings(done)


def test_changed_limits_are_shown(desk):
    desk.keys["limits"]["max_deletions"] = 7
    stock(desk)
    assert accept(desk).code == 0
    desk.keys["limits"] |= {"max_deletions": 9000, "over_limit": "trim"}
    done = desk.sweep()
    assert "changes limits.max_deletions from 7 to 9000" in warnings(done)
    assert "changes limits.over_limit from refuse to trim" in warnings(done)
    assert len(done.summary["warnings"]) == 2


def test_invitations_freed_by_a_higher_max_bounces_are_added(desk):
    desk.keys["limits"]["max_bounces"] = 1
    project = desk.sim.add_project("Terraform")
    desk.sim.invite(project, "back@example.com", age=20 * DAYS)
    assert accept(desk).summary["deleted"] == 1
    desk.sim.invite(project, "back@example.com", age=20 * DAYS)
    assert desk.sweep().summary["kept_by_reason"] == {"bounced": 1}
    desk.keys["limits"]["max_bounces"] = 5
    assert "adds 1 stale invitation and" in desk.sweep().err


def test_change_is_shown_where_a_limit_refuses_too(desk):
    stock(desk, young=3)
    assert accept(desk).code == 0
    desk.keys["rules"] = AGGRESSIVE
    desk.keys["limits"]["max_deletions"] = 2
    done = desk.sweep()
    assert (done.code, "over max_deletions: 2" in done.err) == (3, True)
    assert warnings(done).count("The new policy would also delete") == 3


# The copy of the last accepted policy -------------------------------------------------------


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (None, "there is not a copy of it at"),
        (b"", "is not a valid policy"),
        (b"version: 1", "is not a valid policy"),
        (b"another", "was changed"),
        ("directory", "cannot be read"),
    ],
    ids=["missing", "empty", "invalid", "another", "directory"],
)
@pytest.mark.parametrize("dropped", [False, True], ids=["set", "dropped"])
def test_copy_that_cannot_be_read_refuses_and_says_so(desk, spoilt, reason, dropped):
    stock(desk)
    assert accept(desk).code == 0
    (copy,) = (desk.folder / "audit").glob("policy-*.yaml")
    data = copy.read_bytes()
    copy.unlink()
    if spoilt == "directory":
        copy.mkdir()
    elif spoilt is not None:
        copy.write_bytes(data + b"\n" if spoilt == b"another" else spoilt)
    stock(desk, "Beta", stale=2)
    desk.keys["rules"] = [{"name": "forgotten", "older_than": "13d"}]
    if dropped:
        del desk.keys["limits"]["quarantine"]
    done = desk.sweep()
    assert (done.code, desk.deletes()) == (3, 1)
    assert "The last accepted policy cannot be compared: " in done.err
    assert reason in done.err
    assert "2 invitations would be deleted by this policy." in done.err
    assert accept(desk).summary["deleted"] == 2


def test_policy_copy_that_cannot_be_written_ends_with_7_and_sweeps_nothing(desk):
    stock(desk)
    assert desk.sweep("--dry-run").code == 0
    sha256 = current_sha256(desk)
    lock = next((desk.folder / "audit").rglob("*.lock"))
    lock.with_name(f"policy-{sha256[:16]}.yaml").mkdir()
    done = desk.sweep("--accept-policy", sha256)
    assert (done.code, desk.deletes()) == (7, 0)
    assert "copy" in done.err


# Wrong usage --------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("sweep", "--yes"), ("plan",)], ids=" ".join)
@pytest.mark.parametrize("nights", [0, 1])
def test_accepting_a_policy_without_any_quarantine_is_wrong_usage(desk, words, nights):
    del desk.keys["limits"]["quarantine"]
    stock(desk)
    for _night in range(nights):
        assert desk.sweep().code == 0
    before = len(desk.sim.requests)
    done = desk.run(*words, "--policy", "policy.yaml", "--accept-policy", "0" * 64)
    assert (done.code, done.out, len(desk.sim.requests)) == (2, "", before)
    assert "`--accept-policy` was given, but the policy sets no quarantine." in done.err


def test_accepting_is_not_wrong_usage_where_only_the_last_accepted_policy_sets_quarantine(desk):
    stock(desk)
    assert accept(desk).code == 0
    del desk.keys["limits"]["quarantine"]
    path = desk.folder / "policy.yaml"
    path.write_bytes(policy_bytes(desk.keys))
    stock(desk, "Beta")
    assert accept(desk).summary["deleted"] == 1
    assert json.loads(desk.log_path.read_bytes().splitlines()[0])["quarantine"] is True
