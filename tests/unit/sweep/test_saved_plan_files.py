"""Saved plans as files: written atomically and privately, and read back whole."""

import os
import stat

import msgspec
import pytest
from builders import NOW, PLAN_CONTEXT, invitation
from msgspec import structs

from invite_sweeper import files
from invite_sweeper.audit.events import Planned
from invite_sweeper.endings import Reason
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.files import check_writable
from invite_sweeper.models import Source
from invite_sweeper.sweep.saved_plan import (
    AppliedPlan,
    applied_path,
    is_plan,
    load,
    read_applied,
    record_applied,
    render_lines,
    save,
)

OUT_HINT = "Name a regular file in a writable directory with free space."
NEW_PLAN_HINT = "Create a new plan with: invite-sweeper plan --policy POLICY --out FILE"


def rows(*numbers):
    return [
        Planned.from_invitation(invitation(n, source=Source.INVITES), NOW, rule="r")
        for n in numbers
    ]


def test_saved_plan_is_loaded_as_it_was(tmp_path):
    path = tmp_path / "plan.jsonl"
    save(path, PLAN_CONTEXT, rows(1, 2))
    saved = load(path)
    assert saved.context == PLAN_CONTEXT
    assert [each.invitation() for each in saved.invitations.values()] == [
        invitation(1, source=Source.INVITES),
        invitation(2, source=Source.INVITES),
    ]
    assert path.read_bytes() == b"".join(render_lines(PLAN_CONTEXT, rows(1, 2)))


def test_plan_is_private_and_the_only_file(tmp_path):
    path = tmp_path / "plan.jsonl"
    before = os.umask(0)
    try:
        save(path, PLAN_CONTEXT, rows(1))
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_partial_file_of_a_killed_run_is_replaced(tmp_path):
    path, partial = tmp_path / "plan.jsonl", tmp_path / ".plan.jsonl.partial"
    partial.write_text("left by a killed run", encoding="utf-8")
    partial.chmod(0o644)
    save(path, PLAN_CONTEXT, rows(1))
    assert len(load(path).invitations) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not partial.exists()


def test_planted_link_at_the_partial_path_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    (tmp_path / ".plan.jsonl.partial").symlink_to(victim)
    save(tmp_path / "plan.jsonl", PLAN_CONTEXT, rows(1))
    assert victim.read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "plan.jsonl").is_symlink()


def test_link_that_appears_while_the_plan_is_written_is_not_followed(tmp_path, monkeypatch):
    victim, partial = tmp_path / "victim", tmp_path / ".plan.jsonl.partial"
    unlink = type(partial).unlink

    def plant(path, missing_ok=False):
        unlink(path, missing_ok=missing_ok)
        if path == partial and not path.is_symlink():
            path.symlink_to(victim)

    monkeypatch.setattr(type(partial), "unlink", plant)
    with pytest.raises(GuardRefused, match="was not saved: File exists"):
        save(tmp_path / "plan.jsonl", PLAN_CONTEXT, rows(1))
    assert not victim.exists()


def test_plan_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    path, synced = tmp_path / "plan.jsonl", []

    def fsync(descriptor):
        synced.append((os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(files.os, "fsync", fsync)
    save(path, PLAN_CONTEXT, rows(1))
    assert synced[0] == (path.stat().st_size, False)
    assert len(synced) == 2  # the directory, with the new name, is synced as well


def test_plan_that_cannot_be_written_leaves_the_earlier_one_and_no_partial_file(
    tmp_path, monkeypatch
):
    path = tmp_path / "plan.jsonl"
    save(path, PLAN_CONTEXT, rows(1))
    before = path.read_bytes()

    def fsync(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", fsync)
    with pytest.raises(GuardRefused) as caught:
        save(path, PLAN_CONTEXT, rows(1, 2))
    assert caught.value.message == f"The plan {path} was not saved: No space left on device."
    assert caught.value.hint == OUT_HINT
    assert caught.value.reasons == (Reason.PLAN,)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_plan_through_a_link_is_saved_at_its_target(tmp_path):
    target, link = tmp_path / "target.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(target)
    check_writable(link, "The plan")
    save(link, PLAN_CONTEXT, rows(1))
    assert link.is_symlink()
    assert len(load(target).invitations) == 1


@pytest.mark.parametrize("place", ["missing/plan.jsonl", "pipe"])
def test_place_where_no_plan_can_be_saved_is_wrong_usage_before_the_run(tmp_path, place):
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / place
    reason = {
        "pipe": "it is not a regular file",
        "missing/plan.jsonl": "No such file or directory",
    }[place]
    with pytest.raises(UsageError) as early:
        check_writable(path, "The plan")
    with pytest.raises(GuardRefused) as late:
        save(path, PLAN_CONTEXT, [])
    assert early.value.message == f"The plan {path} cannot be written: {reason}."
    assert late.value.message == f"The plan {path} was not saved: {reason}."
    assert early.value.hint == late.value.hint == OUT_HINT


def test_check_of_a_writable_place_leaves_no_file(tmp_path):
    check_writable(tmp_path / "plan.jsonl", "The plan")
    assert list(tmp_path.iterdir()) == []


def test_missing_plan_is_wrong_usage(tmp_path):
    with pytest.raises(UsageError) as caught:
        load(tmp_path / "none")
    message = f"The plan {tmp_path / 'none'} cannot be read: No such file or directory."
    assert caught.value.message == message
    assert (
        caught.value.hint
        == "Use a plan that was saved with: invite-sweeper plan --policy POLICY --out FILE"
    )


@pytest.mark.parametrize(("length", "refused"), [((1 << 20) - 1, False), (1 << 20, True)])
def test_line_of_1_mib_is_refused(tmp_path, length, refused):
    path, context = tmp_path / "plan.jsonl", PLAN_CONTEXT
    header = len(next(iter(render_lines(context, []))))
    context = structs.replace(context, tool_version="0.1.0" + "x" * (length - header))
    path.write_bytes(b"".join(render_lines(context, rows(1))))
    if not refused:
        assert len(load(path).invitations) == 1
        return
    with pytest.raises(GuardRefused) as caught:
        load(path)
    assert caught.value.message == "The plan is not valid: a line is longer than 1 MiB."
    assert caught.value.hint == NEW_PLAN_HINT


def test_plan_of_any_format_version_is_recognised_by_its_start():
    assert is_plan(next(iter(render_lines(PLAN_CONTEXT, []))))
    assert is_plan(b'{"plan":"invite-sweeper plan 1","other":1}')
    assert not is_plan(msgspec.json.encode({"plan": "another plan 1"}))
    assert not is_plan(b"")


# The record of a plan's use --------------------------------------------------------------------


def test_use_of_a_plan_is_recorded_beside_it_and_only_for_this_plan(tmp_path):
    path = tmp_path / "plan.jsonl"
    save(path, PLAN_CONTEXT, rows(1))
    applied = AppliedPlan(load(path).digest, "run-1", "/var/log/audit.jsonl")
    assert read_applied(path, load(path)) is None
    applied_path(path).symlink_to(tmp_path / "victim")
    record_applied(path, applied)
    assert not (tmp_path / "victim").exists()
    assert applied_path(path) == tmp_path / "plan.jsonl.applied"
    assert read_applied(path, load(path)) == applied
    save(path, PLAN_CONTEXT, rows(1, 2))
    assert read_applied(path, load(path)) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"\xff", b'{"sha256":1}'])
def test_record_that_cannot_be_read_says_nothing(tmp_path, content):
    path = tmp_path / "plan.jsonl"
    save(path, PLAN_CONTEXT, rows(1))
    applied_path(path).write_bytes(content)
    assert read_applied(path, load(path)) is None


def test_use_in_a_folder_that_cannot_be_written_is_left_to_the_log(tmp_path):
    record_applied(tmp_path / "none" / "plan.jsonl", AppliedPlan("a" * 64, "run-1", "log"))
