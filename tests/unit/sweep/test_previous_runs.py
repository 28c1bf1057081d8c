"""What earlier runs left: unreadable history, the accepted policy, and a policy's effect."""

import gzip
import os
from datetime import timedelta
from pathlib import Path

import pytest
from audit.written_logs import fields_of, write_events, write_run
from builders import (
    NOW,
    ORG,
    OTHER_ORG,
    PROJECT,
    invitation,
    object_id,
    policy,
    policy_bytes,
    project,
)

from invite_sweeper.audit import DeletionCounts, LogPath
from invite_sweeper.errors import AuditLogError, GuardRefused
from invite_sweeper.models import Population, Source
from invite_sweeper.policy import parse_policy
from invite_sweeper.sweep.accepted_policy import (
    AcceptedPolicy,
    accepted_policy,
    load_policy_copy,
    policy_copy_path,
    save_policy_copy,
)
from invite_sweeper.sweep.previous_runs import read_previous_runs
from invite_sweeper.sweep.quarantine import PolicyChange
from invite_sweeper.sweep.recovery import resolvable
from invite_sweeper.sweep.scope import RunScope, scope_sha256
from invite_sweeper.sweep.selection import Selector

URL = "https://here.example.com"


@pytest.fixture
def log_path(tmp_path):
    return LogPath(str(tmp_path / "log.jsonl"))


def rotated(log_path, name="1.gz"):
    return Path(f"{log_path.template}.{name}")


# Unreadable history -------------------------------------------------------------------------


HINT = (
    "Restore the file, or decompress it. Moving it away removes its interrupted deletions, used "
    "plans and bounced invitations from what later runs know."
)


def test_history_that_is_cut_off_refuses(log_path):
    write_run(Path(log_path.template), numbers=range(1, 200))
    data = gzip.compress(Path(log_path.template).read_bytes())
    rotated(log_path).write_bytes(data[:-9])
    with pytest.raises(GuardRefused) as caught:
        read_previous_runs(log_path)
    assert caught.value.message == (
        f"The audit log {rotated(log_path)} cannot be read: the compressed file is cut off."
    )
    assert caught.value.hint == "Restore the file from a copy: it is damaged."


def test_reading_is_stopped_by_the_check(log_path):
    write_run(Path(log_path.template))
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
    assert history.deletions.count(invitation(1)) == 0
    assert history.applied_by("a" * 64) is None
    assert accepted_policy(history, log_path) is None


def population_of(history, rules):
    return history.population(
        scope_sha256=scope_sha256(rules), organizations=rules.organization_ids, base_url=URL
    )


@pytest.mark.parametrize("org_id", [ORG, OTHER_ORG])
@pytest.mark.parametrize("base_url", [URL, "https://elsewhere.example.com", None])
def test_open_intents_are_those_of_the_organizations_at_the_base_url_or_an_unknown_one(
    log_path, org_id, base_url
):
    start = [] if base_url is None else [("run_started", {"base_url": base_url})]
    intent = ("intent", fields_of(invitation(1, org_id=org_id)))
    write_events(Path(log_path.template), "killed", [*start, intent])
    intents = read_previous_runs(log_path).open_intents()
    found = resolvable(intents, frozenset([ORG]), URL)
    expected = org_id == ORG and base_url in {URL, None}
    assert [each.invitation.id for each in found] == [object_id(1)] * expected


def test_population_is_that_of_the_policy_s_scope_organizations_and_url(log_path):
    def write(run_id, projects, **started):
        head = {"scope_sha256": scope_sha256(policy()), "base_url": URL, **started}
        left = {"projects": projects, "visible_projects": {ORG: projects, OTHER_ORG: 9}}
        write_run(
            Path(log_path.template), run_id, numbers=(), started=head, totals={"remaining": left}
        )

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
def test_plan_is_used_by_a_sweep_that_ended_with_0_or_4(log_path, code, mode, used):
    head = {"plan_sha256": "a" * 64}
    write_run(Path(log_path.template), mode=mode, started=head, totals={"exit_code": code})
    history = read_previous_runs(log_path)
    assert (history.applied_by("a" * 64) is not None) is used
    assert history.applied_by("b" * 64) is None


# The accepted policy ------------------------------------------------------------------------


def quarantined(**keys):
    return policy(**{"limits": {"quarantine": True}, **keys})


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
    found = quarantined()
    copy = policy_copy_path(log_path, found.sha256)
    copy.mkdir()
    with pytest.raises(AuditLogError) as caught:
        save_policy_copy(log_path, found, b"")
    assert caught.value.message == f"Could not save the policy copy {copy}: Is a directory."


def test_missing_damaged_and_changed_copies_are_reasons(log_path):
    found = quarantined()
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
def test_setting_of_the_log_counts_with_and_without_a_copy(log_path, setting, has_copy):
    found = saved(log_path)
    if not has_copy:
        policy_copy_path(log_path, found.sha256).unlink()
    head = {"policy_sha256": found.sha256, "quarantine": setting}
    write_run(Path(log_path.template), started=head)
    accepted = accepted_policy(read_previous_runs(log_path), log_path)
    assert (accepted.sha256, accepted.quarantine) == (found.sha256, setting)
    assert isinstance(accepted.policy, str) is not has_copy


def test_setting_that_the_log_lacks_is_that_of_the_copy(log_path):
    for setting in (True, False):
        found = saved(log_path, {"limits": {"quarantine": setting}})
        write_run(Path(log_path.template), started={"policy_sha256": found.sha256})
        accepted = accepted_policy(read_previous_runs(log_path), log_path)
        assert accepted == AcceptedPolicy(found.sha256, setting, found)


@pytest.mark.parametrize("there", [True, False])
def test_copy_that_cannot_be_read_counts_as_quarantine_and_a_missing_one_does_not(log_path, there):
    found = quarantined()
    if there:
        policy_copy_path(log_path, found.sha256).write_bytes(b"junk")
    write_run(Path(log_path.template), started={"policy_sha256": found.sha256})
    assert accepted_policy(read_previous_runs(log_path), log_path).quarantine is there


def test_sweep_without_a_policy_hash_has_no_copy(log_path):
    write_run(Path(log_path.template), started={"policy_sha256": None})
    accepted = accepted_policy(read_previous_runs(log_path), log_path)
    assert (accepted.sha256, accepted.quarantine) == (None, False)


# The effect of a changed policy -------------------------------------------------------------


NEW = quarantined(rules=[{"name": "sooner", "older_than": "3d"}])
OLD = quarantined(rules=[{"name": "forgotten", "older_than": "14d"}])


def change_from(old, new=NEW, *invitations, scope=None, **options):
    """Return the change after it has seen the scope and the invitations."""
    accepted = None if old is None else AcceptedPolicy("0" * 64, True, old)
    change = PolicyChange(new, accepted, NOW, **options)
    listed_ids = {each.project_id for each in invitations} - {""}
    projects = tuple(project(id=each, name=f"Project {each[-1]}") for each in listed_ids)
    ids = frozenset(each.id for each in projects)
    change.observe_scope(scope or RunScope(projects, in_scope_ids=ids))
    decide = Selector(new, NOW).decide
    for each in invitations:
        decision = decide(each)
        assert change.observe(decision) is decision
    return change


def aged(days, number=1, **changes):
    return invitation(number, age=timedelta(days=days), **changes)


def counts(change):
    return change.added_count, change.removed_count


def test_invitations_that_only_one_policy_deletes_are_counted_and_named():
    sooner = change_from(OLD, NEW, aged(2), aged(5), aged(20))
    assert (counts(sooner), sooner.added, sooner.removed) == (
        (1, 0),
        ["Sandbox Alpha: person-1@example.com"],
        [],
    )
    later = change_from(NEW, OLD, aged(2), aged(5), aged(20))
    assert (counts(later), later.added, later.removed) == (
        (0, 1),
        [],
        ["Sandbox Alpha: person-1@example.com"],
    )
    assert later.messages() == ("The new policy would keep Sandbox Alpha: person-1@example.com",)


def test_invitation_without_a_username_is_named_with_a_question_mark():
    change = change_from(OLD, NEW, aged(5, username=None))
    assert change.messages() == ("The new policy would also delete Sandbox Alpha: ?",)


@pytest.mark.parametrize("number", [19, 20, 21, 1500])
def test_at_most_20_names_are_shown_and_all_are_counted(number):
    invitations = [aged(5, n) for n in range(number)]
    for change, verb in (
        (change_from(OLD, NEW, *invitations), "also delete"),
        (change_from(NEW, OLD, *invitations), "keep"),
    ):
        assert sum(counts(change)) == number
        messages = change.messages()
        assert messages[:2] == tuple(
            f"The new policy would {verb} Sandbox Alpha: person-{n}@example.com" for n in range(2)
        )
        rest = (f"The new policy would {verb} {number - 20:,} more",) if number > 20 else ()
        assert (len(messages), messages[20:]) == (min(number, 20) + len(rest), rest)


def test_without_the_old_policy_all_stale_invitations_count_as_added():
    for old in (None, "there is not a copy of it at x"):
        assert counts(change_from(old, NEW, aged(2), aged(5), aged(20))) == (2, 0)


def test_invitation_of_a_project_source_or_organization_that_the_old_policy_did_not_read_is_added():
    one = aged(20)
    scope = RunScope(
        (project(id=PROJECT, name="Sandbox Alpha"),), in_scope_ids=frozenset([PROJECT])
    )
    excluding = quarantined(projects={"exclude": ["sandbox *"]})
    assert counts(change_from(excluding, NEW, one, scope=scope)) == (1, 0)
    including = quarantined(projects={"include": ["sandbox *"]})
    assert counts(change_from(including, NEW, one, scope=scope)) == (0, 0)
    assert counts(change_from(quarantined(sources=["users"]), NEW, one)) == (1, 0)
    assert counts(change_from(quarantined(sources=["users", "invites"]), NEW, one)) == (0, 0)
    assert counts(change_from(quarantined(organizations=[OTHER_ORG]), NEW, one)) == (1, 0)


def test_organization_s_invitation_is_compared_with_the_old_scope_of_its_projects():
    linked = project(2, name="Linked")
    one = aged(
        20, source=Source.ORG_INVITES, project_id="", linked_projects=((linked.id, "Linked"),)
    )
    scope = RunScope((linked,), project_names={linked.id: "Linked"}, in_scope_ids={linked.id})
    sources = {"sources": ["org_invites"]}
    new = quarantined(**sources, rules=[{"name": "sooner", "older_than": "3d"}])
    assert counts(change_from(quarantined(**sources), new, one, scope=scope)) == (0, 0)
    excluding = quarantined(**sources, projects={"exclude": ["Linked"]})
    assert counts(change_from(excluding, new, one, scope=scope)) == (1, 0)


def test_projects_that_enter_and_leave_the_scope_are_counted():
    new = policy(projects={"exclude": ["Project 1", "Project 2"]}, limits={"quarantine": True})
    old = policy(projects={"exclude": ["Project 3"]}, limits={"quarantine": True})
    inside = (project(3), project(4))
    scope = RunScope(
        inside,
        excluded=(project(1), project(2)),
        in_scope_ids=frozenset(each.id for each in inside),
    )
    assert change_from(old, new, scope=scope).messages() == (
        "1 project is newly in scope",
        "2 projects are no longer in scope: their invitations stay",
    )
    assert (
        change_from(
            old, old, scope=RunScope((project(4),), in_scope_ids={project(4).id})
        ).messages()
        == ()
    )
    assert change_from(None, new, scope=scope).messages() == ()


def test_changed_limits_and_sources_are_shown():
    old = policy(limits={"quarantine": True, "max_deletions": 7}, sources=["invites", "org_users"])
    new = policy(limits={"max_deletions": 9000}, sources=["users", "org_invites", "invites"])
    assert change_from(old, new).messages() == (
        "The new policy changes limits.max_deletions from 7 to 9000",
        "The new policy changes limits.quarantine from true to false",
        "The new policy also reads org_invites, users",
        "The new policy does not read org_users",
    )
    assert change_from(None, new).messages() == ()


def test_bounces_are_kept_by_each_policy_s_own_max_bounces():
    twice = DeletionCounts([aged(20)] * 2)
    strict = policy(limits={"quarantine": True, "max_bounces": 2})
    assert counts(change_from(strict, NEW, aged(20), deletions=twice)) == (1, 0)
    assert counts(change_from(OLD, NEW, aged(20), deletions=twice)) == (0, 0)


def test_error_of_a_changed_policy_counts_and_has_the_hash_to_accept():
    error = change_from(OLD, NEW, aged(5), aged(6)).as_error()
    assert error.message == (
        "The policy has changed since the last sweep (quarantine). "
        "It adds 2 stale invitations and removes 0."
    )
    assert error.hint == (
        f"Read the plan, then accept the policy with --accept-policy {NEW.sha256}"
    )
    thousands = change_from(NEW, OLD, *(aged(5, n) for n in range(1500))).as_error()
    assert thousands.message.endswith("It adds 0 stale invitations and removes 1,500.")


def test_error_of_the_first_policy_and_of_one_without_a_copy_says_so():
    assert change_from(None, NEW, aged(5)).as_error().message == (
        "No sweep has accepted a policy in this audit log yet (quarantine). "
        "1 invitation would be deleted by this policy."
    )
    assert change_from("its copy x was changed", NEW, aged(5)).as_error().message == (
        "The policy has changed since the last sweep (quarantine). "
        "The last accepted policy cannot be compared: its copy x was changed. "
        "1 invitation would be deleted by this policy."
    )


def test_error_names_a_dropped_quarantine_and_a_wrong_hash():
    dropped = policy(rules=[{"name": "sooner", "older_than": "3d"}])
    assert change_from(OLD, dropped, accepted_option="0" * 64).as_error().message == (
        "The policy has changed since the last sweep (quarantine). "
        "It removes quarantine, which the last accepted policy set: it must be accepted. "
        "It adds 0 stale invitations and removes 0. "
        "--accept-policy names another policy."
    )
