"""The policy that the last sweep accepted, and its copy beside the log."""

import pytest
from audit.written_logs import write_run
from builders import (
    ORG,
    policy,
    policy_bytes,
)

from invite_sweeper.errors import AuditLogError
from invite_sweeper.policy import parse_policy
from invite_sweeper.sweep.accepted_policy import (
    AcceptedPolicy,
    accepted_policy,
    load_policy_copy,
    policy_copy_path,
    save_policy_copy,
)
from invite_sweeper.sweep.previous_runs import read_previous_runs


def saved(log_path, keys=None):
    """Save a copy of a policy, and return the policy."""
    data = policy_bytes(
        {
            "version": 1,
            "organizations": [ORG],
            "rules": [{"name": "forgotten", "older_than": "14d"}],
            "limits": {"quarantine": True},
            **(keys or {}),
        }
    )
    found = parse_policy(data, "policy.yaml")
    save_policy_copy(log_path, found, data)
    return found


def test_policy_copy_is_read_back(log_path):
    found = saved(log_path)
    assert load_policy_copy(log_path, found.sha256) == found
    copy = policy_copy_path(log_path, found.sha256)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert copy.name == f"policy-{found.sha256[:16]}.yaml"
    assert copy.parent == log_path.lock_path.parent


def test_policy_copy_replaces_a_longer_one(log_path):
    found = saved(log_path)
    copy = policy_copy_path(log_path, found.sha256)
    copy.write_bytes(copy.read_bytes() * 2)
    saved(log_path)
    assert load_policy_copy(log_path, found.sha256) == found


def test_policy_copy_that_cannot_be_written_is_an_error_of_the_log(log_path):
    found = policy(limits={"quarantine": True})
    copy = policy_copy_path(log_path, found.sha256)
    copy.mkdir()
    with pytest.raises(AuditLogError) as caught:
        save_policy_copy(log_path, found, b"")
    assert caught.value.message == f"Could not save the policy copy {copy}: Is a directory."


def test_missing_damaged_and_changed_copies_are_reasons(log_path):
    found = policy(limits={"quarantine": True})
    copy = policy_copy_path(log_path, found.sha256)

    def reason():
        return load_policy_copy(log_path, found.sha256)

    assert reason() == f"there is not a copy of it at {copy}"
    copy.write_bytes(b"version: 1")
    assert reason() == f"its copy {copy} is not a valid policy"
    copy.write_bytes(policy_bytes(POLICY_KEYS))
    assert reason() == f"its copy {copy} was changed"
    copy.unlink()
    copy.mkdir()
    assert reason() == f"its copy {copy} cannot be read (Is a directory)"


POLICY_KEYS = {
    "version": 1,
    "organizations": [ORG],
    "rules": [{"name": "changed", "older_than": "1d"}],
}


@pytest.mark.parametrize("setting", [True, False])
@pytest.mark.parametrize("has_copy", [True, False])
def test_setting_of_the_log_counts_with_and_without_a_copy(path, log_path, setting, has_copy):
    found = saved(log_path)
    if not has_copy:
        policy_copy_path(log_path, found.sha256).unlink()
    head = {"policy_sha256": found.sha256, "quarantine": setting}
    write_run(path, started=head)
    accepted = accepted_policy(read_previous_runs(log_path), log_path)
    assert (accepted.sha256, accepted.quarantine) == (found.sha256, setting)
    assert isinstance(accepted.policy, str) is not has_copy


def test_setting_that_the_log_lacks_is_that_of_the_copy(path, log_path):
    for setting in (True, False):
        found = saved(log_path, {"limits": {"quarantine": setting}})
        write_run(path, started={"policy_sha256": found.sha256})
        accepted = accepted_policy(read_previous_runs(log_path), log_path)
        assert accepted == AcceptedPolicy(found.sha256, setting, found)


@pytest.mark.parametrize("there", [True, False])
def test_copy_that_cannot_be_read_counts_as_quarantine_and_a_missing_one_does_not(
    path, log_path, there
):
    found = policy(limits={"quarantine": True})
    if there:
        policy_copy_path(log_path, found.sha256).write_bytes(b"junk")
    write_run(path, started={"policy_sha256": found.sha256})
    assert accepted_policy(read_previous_runs(log_path), log_path).quarantine is there


def test_sweep_without_a_policy_hash_has_no_copy(path, log_path):
    write_run(path, started={"policy_sha256": None})
    accepted = accepted_policy(read_previous_runs(log_path), log_path)
    assert (accepted.sha256, accepted.quarantine) == (None, False)
