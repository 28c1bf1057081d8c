"""The quarantine of a changed policy: which setting counts, what is shown, and how to accept."""

import json
import re

import pytest
from builders import policy_bytes


@pytest.fixture
def cli(cli):
    cli.keys["limits"]["quarantine"] = True
    return cli


def current_sha256(cli):
    return cli.lines("run_started")[-1]["policy_sha256"]


def accept(cli, *arguments):
    """Sweep with the hash that the program prints; without one it would be wrong usage."""
    done = cli.sweep()
    assert done.code == 3
    sha256 = re.search(r"--accept-policy ([0-9a-f]{64})", done.err)[1]
    assert sha256 == current_sha256(cli)
    return cli.sweep("--accept-policy", sha256, *arguments)


def warnings(done):
    ended = "Atlas has announced the end of each list"
    return "\n".join(each for each in done.warnings if not each.startswith(ended))


AGGRESSIVE = [{"name": "all", "older_than": "1d"}]


# Which setting counts -----------------------------------------------------------------------


def test_first_sweep_in_an_empty_log_is_quarantined_until_it_is_accepted(cli):
    cli.stock(1, 2, 1)
    done = cli.sweep()
    assert (done.code, done.summary["mode"], cli.deletes()) == (3, "dry-run", 0)
    assert "No sweep has accepted a policy in this audit log yet (quarantine)." in done.err
    assert "2 invitations would be deleted by this policy." in done.err
    assert cli.sweep().code == 3
    assert accept(cli).summary["deleted"] == 2
    assert cli.sweep().code == 0


def test_dry_runs_and_refused_sweeps_do_not_accept_the_first_policy(cli):
    cli.stock()
    assert cli.plan().code == 0
    assert cli.sweep("--dry-run", "--accept-policy", current_sha256(cli)).code == 0
    assert cli.sweep("--accept-policy", "0" * 64).code == 3
    assert (cli.sweep().code, cli.deletes()) == (3, 0)


def test_changed_policy_is_quarantined_until_it_is_accepted(cli):
    cli.stock(1, 2, 2)
    assert accept(cli).code == 0
    cli.keys["rules"] = AGGRESSIVE
    done = cli.sweep()
    assert (done.code, done.summary["mode"], cli.deletes()) == (3, "dry-run", 2)
    assert "adds 2 stale invitations and removes 0" in done.err
    assert warnings(done).count("The new policy would also delete Project 0: young") == 2
    other = cli.sweep("--accept-policy", "0" * 64)
    assert (other.code, "--accept-policy names another policy." in other.err) == (3, True)
    assert accept(cli).summary["deleted"] == 2
    assert cli.sweep().code == 0


@pytest.mark.parametrize("off", [False, None], ids=["false", "left out"])
def test_changed_policy_that_also_drops_quarantine_is_quarantined(cli, off):
    cli.stock(young=2)
    assert accept(cli).code == 0
    cli.keys["rules"] = AGGRESSIVE
    if off is None:
        del cli.keys["limits"]["quarantine"]
    else:
        cli.keys["limits"]["quarantine"] = off
    for _night in range(2):
        done = cli.sweep()
        assert (done.code, cli.deletes()) == (3, 1)
        assert "It removes quarantine, which the last accepted policy set" in done.err
        assert "changes limits.quarantine from true to false" in warnings(done)
    assert accept(cli).summary["deleted"] == 2
    cli.keys["rules"] = [{"name": "all", "older_than": "12h"}]
    assert cli.sweep().code == 0


def test_policy_without_quarantine_after_one_without_is_swept(cli):
    cli.keys["limits"]["quarantine"] = False
    cli.stock(young=1)
    assert cli.sweep().code == 0
    cli.keys["rules"] = AGGRESSIVE
    assert cli.sweep().summary["deleted"] == 1


def test_policy_that_begins_to_set_quarantine_is_quarantined(cli):
    cli.keys["limits"]["quarantine"] = False
    cli.stock()
    assert cli.sweep().code == 0
    cli.keys["limits"]["quarantine"] = True
    cli.stock()
    assert (cli.sweep().code, cli.deletes()) == (3, 1)
    assert accept(cli).summary["deleted"] == 1


# What is shown ------------------------------------------------------------------------------


@pytest.mark.parametrize("dropped", [False, True], ids=["set", "dropped"])
def test_dry_run_shows_the_difference_and_the_hash_and_ends_with_0(cli, dropped):
    cli.stock(young=2)
    assert accept(cli).code == 0
    cli.keys["rules"] = AGGRESSIVE
    if dropped:
        del cli.keys["limits"]["quarantine"]
    done = cli.plan("--out", "plan.jsonl")
    assert (done.code, (cli.folder / "plan.jsonl").exists()) == (0, True)
    text = warnings(done)
    assert text.count("The new policy would also delete") == 2
    assert "A sweep would be refused: The policy has changed since the last sweep" in text
    assert f"--accept-policy {current_sha256(cli)}" in text
    accepted = cli.sweep("--dry-run", "--accept-policy", current_sha256(cli))
    assert (accepted.code, warnings(accepted)) == (0, "")


def test_result_has_the_difference_in_numbers_and_the_command_that_accepts(cli):
    cli.stock()
    first = cli.plan()
    assert first.summary["policy_change"] == {
        "policy_sha256": current_sha256(cli),
        "accepted_sha256": None,
        "compared": False,
        "added": 1,
        "removed": 0,
        "sentences": [],
    }
    assert accept(cli).code == 0
    accepted = current_sha256(cli)
    cli.stock(1, 3, 2)
    cli.keys["rules"] = [{"name": "young", "older_than": "1d", "usernames": ["young*"]}]
    for run in (cli.plan, cli.sweep):
        found = run().summary["policy_change"]
        assert (found["added"], found["removed"], found["compared"]) == (2, 3, True)
        assert found["policy_sha256"] == current_sha256(cli)
        assert found["accepted_sha256"] == accepted
        assert len(found["sentences"]) == 5
        assert cli.lines("run_finished")[-1]["policy_change"] == found
    text = cli.run("plan", "--policy", "policy.yaml", "--shard", "1/2", COLUMNS="150").out
    assert "changed since the last sweep: 2 more stale, 3 no longer stale" in text
    command = text.split("Accept it and sweep: ")[1].splitlines()[0]
    assert command == (
        f"invite-sweeper sweep --policy policy.yaml --accept-policy {current_sha256(cli)}"
        f" --base-url {cli.base_url} --shard 1/2"
    )
    assert cli.run(*command.split()[1:], "--yes").code == 0
    assert cli.deletes() == 3
    assert cli.plan().summary["policy_change"] is None
    assert "Accept it" not in cli.run("plan", "--policy", "policy.yaml").out


def test_quiet_run_does_not_print_the_command_on_standard_output(cli):
    cli.stock()
    assert cli.run("sweep", "--policy", "policy.yaml", "-q").out == ""


# The copy of the last accepted policy -------------------------------------------------------


@pytest.mark.parametrize(
    ("is_there", "reason"), [(False, "there is not a copy of it at"), (True, "was changed")]
)
def test_copy_that_cannot_be_read_refuses_and_says_so(cli, is_there, reason):
    cli.stock()
    assert accept(cli).code == 0
    (copy,) = (cli.folder / "audit").glob("policy-*.yaml")
    copy.write_bytes(copy.read_bytes() + b"\n") if is_there else copy.unlink()
    cli.stock(stale=2)
    cli.keys["rules"] = [{"name": "forgotten", "older_than": "13d"}]
    done = cli.sweep()
    assert (done.code, cli.deletes()) == (3, 1)
    assert "The last accepted policy cannot be compared: " in done.err
    assert reason in done.err
    assert "2 invitations would be deleted by this policy." in done.err
    assert accept(cli).summary["deleted"] == 2


def test_policy_copy_that_cannot_be_written_ends_with_7_and_sweeps_nothing(cli):
    cli.stock()
    assert cli.sweep("--dry-run").code == 0
    sha256 = current_sha256(cli)
    lock = next((cli.folder / "audit").rglob("*.lock"))
    lock.with_name(f"policy-{sha256[:16]}.yaml").mkdir()
    done = cli.sweep("--accept-policy", sha256)
    assert (done.code, cli.deletes()) == (7, 0)
    assert "copy" in done.err


# Wrong usage --------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("sweep", "--yes"), ("plan",)], ids=" ".join)
@pytest.mark.parametrize("nights", [0, 1])
def test_accepting_a_policy_without_any_quarantine_is_wrong_usage(cli, words, nights):
    del cli.keys["limits"]["quarantine"]
    cli.stock()
    for _night in range(nights):
        assert cli.sweep().code == 0
    before = len(cli.sim.requests)
    done = cli.run(*words, "--policy", "policy.yaml", "--accept-policy", "0" * 64)
    assert (done.code, done.out, len(cli.sim.requests)) == (2, "", before)
    assert "`--accept-policy` was given, but the policy sets no quarantine." in done.err


def test_accepting_is_not_wrong_usage_where_only_the_last_accepted_policy_sets_quarantine(cli):
    cli.stock()
    assert accept(cli).code == 0
    del cli.keys["limits"]["quarantine"]
    path = cli.folder / "policy.yaml"
    path.write_bytes(policy_bytes(cli.keys))
    cli.stock()
    assert accept(cli).summary["deleted"] == 1
    assert json.loads(cli.log_path.read_bytes().splitlines()[0])["quarantine"] is True
