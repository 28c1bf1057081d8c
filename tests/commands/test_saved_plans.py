"""`plan --out` and `sweep --plan` delete at most what was reviewed, once."""

import hashlib
import os
import random
import stat
import subprocess
from datetime import datetime, timedelta

import orjson
import pytest
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from running import desk_in

from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.simulator import faults
from invite_sweeper.sweep import saved_plan
from invite_sweeper.sweep.saved_plan import is_valid_signature, parse_plan

DAYS = timedelta(days=1)


@pytest.fixture
def desk(tmp_path):
    with desk_in(tmp_path) as found:
        yield found


def stock(desk, count=3):
    project = desk.sim.add_project("Project")
    ids = [
        desk.sim.invite(project, f"p{n}@example.com", age=20 * DAYS + n * timedelta(hours=1))
        for n in range(count)
    ]
    return project, ids


def saved(desk):
    done = desk.plan("--out", "plan.jsonl")
    assert done.code == 0, done.err
    return desk.folder / "plan.jsonl"


def by_plan(desk, *arguments, **changes):
    return desk.sweep("--plan", "plan.jsonl", *arguments, **changes)


def test_plan_is_private_and_sweep_by_it_deletes_just_what_it_lists(desk):
    project, ids = stock(desk)
    path = saved(desk)
    assert path.stat().st_mode & 0o777 == 0o600
    late = desk.sim.invite(project, "late@example.com", age=20 * DAYS)
    done = by_plan(desk)
    assert done.code == 0
    assert sorted(desk.sim.deleted) == sorted(ids)
    assert desk.sim.invitations(project) == (late,)
    assert done.summary["kept_by_reason"] == {"not_in_plan": 1}
    assert desk.lines("run_started")[-1]["plan_sha256"]


def test_planned_invitations_gone_or_accepted_since_are_skipped_and_reported(desk):
    project, ids = stock(desk)
    saved(desk)
    desk.sim.accept(project, ids[0])
    done = by_plan(desk)
    assert (done.code, sorted(desk.sim.deleted)) == (0, sorted(ids[1:]))
    assert said_unseen(1) in done.summary["warnings"]


def said_unseen(count):
    were = "was" if count == 1 else "were"
    return (
        f"{count} of the plan's invitations {were} not seen: gone, or in a list that was not read."
    )


def test_planned_invitations_of_an_unreadable_project_are_not_reported_as_gone(desk):
    project, ids = stock(desk)
    other = desk.sim.add_project("Other")
    desk.sim.invite(other, "o@example.com", age=20 * DAYS)
    saved(desk)
    desk.sim.limit_access(project)
    done = by_plan(desk)
    assert (done.code, len(desk.sim.deleted)) == (4, 1)
    assert said_unseen(len(ids)) in done.summary["warnings"]


def test_plan_of_another_policy_is_refused_if_the_policy_is_found_at_the_default_path(desk):
    stock(desk)
    saved(desk)
    desk.keys["keep"] = [{"name": "board", "usernames": ["p1@*"]}]
    (desk.folder / "config").mkdir()
    desk.write_policy()
    (desk.folder / "config" / "policy.yaml").write_bytes((desk.folder / "policy.yaml").read_bytes())
    done = desk.run("sweep", "--plan", "plan.jsonl", "--output", "json")
    assert (done.code, desk.deletes()) == (3, 0)
    assert "another policy" in done.err


def test_plan_of_another_policy_is_refused_if_the_policy_is_named(desk):
    stock(desk)
    saved(desk)
    desk.keys["rules"] = [{"name": "forgotten", "older_than": "13d"}]
    done = by_plan(desk)
    assert (done.code, desk.deletes()) == (3, 0)
    assert "another policy" in done.err


def test_plan_that_was_applied_is_refused(desk):
    stock(desk)
    saved(desk)
    assert by_plan(desk).code == 0
    before = desk.deletes()
    again = by_plan(desk)
    assert (again.code, desk.deletes()) == (3, before)
    assert "already been applied" in again.err


def test_dry_run_of_a_plan_does_not_use_it_up(desk):
    _, ids = stock(desk)
    saved(desk)
    assert by_plan(desk, "--dry-run").code == 0
    assert desk.deletes() == 0
    assert by_plan(desk).code == 0
    assert sorted(desk.sim.deleted) == sorted(ids)


def test_plan_of_a_plan_is_its_dry_run_and_deletes_nothing_even_with_yes(desk):
    stock(desk)
    saved(desk)
    late = desk.sim.add_project("Late")
    desk.sim.invite(late, "late@example.com", age=20 * DAYS)
    done = desk.plan("--plan", "plan.jsonl", "--yes", "--detailed-exitcode")
    assert (done.code, desk.deletes()) == (10, 0), done.err
    assert (done.summary["mode"], done.summary["stale"]) == ("dry-run", 3)
    assert done.summary["kept_by_reason"] == {"not_in_plan": 1}


def test_plan_of_another_organization_is_refused(desk):
    stock(desk)
    saved(desk)
    desk.keys["organizations"].append("0123456789abcdef01234567")
    done = desk.run("sweep", "--policy", "policy.yaml", "--plan", "plan.jsonl")
    assert (done.code, desk.deletes()) == (3, 0)
    assert "other organizations" in done.err


def test_plan_of_another_host_is_refused(desk):
    stock(desk)
    saved(desk)
    done = by_plan(desk, "--base-url", desk.base_url.replace("127.0.0.1", "localhost"))
    assert (done.code, desk.deletes()) == (3, 0)
    assert "localhost" in done.err


def test_plan_that_is_too_old_is_refused(desk):
    stock(desk)
    saved(desk)
    done = by_plan(desk, "--plan-max-age", "1s")
    assert done.code in {0, 3}
    path = desk.folder / "plan.jsonl"
    path.write_bytes(aged(path.read_bytes(), hours=25))
    done = by_plan(desk)
    assert (done.code, desk.deletes() <= 3) == (3, True)


def aged(data, *, hours):
    """Return the same plan as if it had been made that long ago."""
    *body, _ = data.splitlines(keepends=True)
    header = orjson.loads(body[0])
    header["now"] = (datetime.fromisoformat(header["now"]) - timedelta(hours=hours)).isoformat()
    body[0] = orjson.dumps(header) + b"\n"
    return b"".join(
        [*body, orjson.dumps({"sha256": hashlib.sha256(b"".join(body)).hexdigest()}), b"\n"]
    )


def test_plan_over_24_hours_old_is_refused_by_default(desk):
    stock(desk)
    path = saved(desk)
    path.write_bytes(aged(path.read_bytes(), hours=24.1))
    done = by_plan(desk)
    assert (done.code, desk.deletes()) == (3, 0)
    assert "ago" in done.err
    assert by_plan(desk, "--plan-max-age", "2d").code == 0


def test_refused_run_saves_no_plan(desk):
    stock(desk)
    desk.keys["limits"]["max_deletions"] = 2
    assert desk.plan("--out", "plan.jsonl").code == 3
    assert not (desk.folder / "plan.jsonl").exists()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("missing/plan.jsonl", ("plan",)),
        ("missing/plan.jsonl", ("sweep", "--dry-run")),
        ("missing/plan.jsonl", ("sweep", "--yes")),
        ("policy.yaml/plan.jsonl", ("plan",)),
        ("folder", ("plan",)),
        (".", ("plan",)),
        ("n" * 250, ("plan",)),
    ],
    ids=["plan", "dry run", "sweep", "in a file", "a folder", "this folder", "too long a name"],
)
def test_unwritable_plan_path_ends_with_2_before_atlas_is_called(desk, place, words):
    stock(desk)
    (desk.folder / "folder").mkdir()
    done = desk.run(*words, "--policy", "policy.yaml", "--output", "json", "--out", place)
    assert (done.code, done.out, desk.sim.requests) == (2, "", ())
    assert f"The plan {place} cannot be saved" in done.err
    assert "Atlas was not called." in done.err
    assert [path.name for path in sorted(desk.folder.iterdir())] == [
        "audit",
        "folder",
        "policy.yaml",
    ]


def test_check_of_the_plan_path_leaves_no_file_and_keeps_an_existing_plan(tmp_path):
    earlier = tmp_path / "plan.jsonl"
    earlier.write_text("an earlier plan")
    saved_plan.check_writable(earlier)
    saved_plan.check_writable(tmp_path / "another.jsonl")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [
        ("plan.jsonl", "an earlier plan")
    ]


def test_plan_to_a_pipe_is_refused_before_atlas_is_called_and_the_pipe_stays(desk):
    stock(desk)
    pipe = desk.folder / "pipe"
    os.mkfifo(pipe)
    done = desk.plan("--out", "pipe")
    assert (done.code, done.out, desk.sim.requests) == (2, "", ())
    assert "The plan pipe cannot be saved: it is not a regular file" in done.err
    assert pipe.is_fifo()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices, and can break them")
def test_plan_to_a_device_is_refused_and_the_device_stays(tmp_path):
    null = tmp_path / "null"
    os.mknod(null, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    with pytest.raises(UsageError, match="not a regular file"):
        saved_plan.check_writable(null)
    assert null.is_char_device()


@pytest.mark.parametrize("there", [True, False], ids=["to a file", "to none yet"])
def test_plan_to_a_link_is_saved_at_its_target_and_the_link_stays(desk, there):
    _, ids = stock(desk)
    link, behind = desk.folder / "plan.jsonl", desk.folder / "audit" / "of-tonight.jsonl"
    behind.parent.mkdir()
    if there:
        behind.write_text('{"plan":"invite-sweeper plan 1"}\n')
    link.symlink_to(behind)
    saved(desk)
    assert link.is_symlink()
    assert not behind.is_symlink()
    assert by_plan(desk).code == 0
    assert sorted(desk.sim.deleted) == sorted(ids)


@pytest.mark.parametrize("words", [("plan",), ("sweep", "--yes")], ids=str)
def test_plan_that_cannot_be_saved_after_listing_ends_with_3(desk, words):
    project, _ = stock(desk)
    taken = desk.folder / "plan.jsonl"
    desk.sim.faults.add(
        faults.effect(before=lambda _: taken.mkdir(exist_ok=True)), path=f"*{project}/invites"
    )
    done = desk.run(*words, "--policy", "policy.yaml", "--output", "json", "--out", "plan.jsonl")
    assert (done.code, done.summary["exit_code"], desk.deletes()) == (3, 3, 0)
    assert "The plan plan.jsonl was not saved" in done.err
    assert "Nothing was deleted." in done.err
    assert "Atlas was not called" not in done.err
    assert not list(desk.folder.glob(".plan*"))


def test_missing_plan_is_wrong_usage(desk):
    stock(desk)
    done = by_plan(desk)
    assert done.code == 2
    assert "plan.jsonl cannot be read" in done.err
    assert "Use a plan that was saved with: invite-sweeper plan --out FILE" in done.err


def tampered(data, dice):
    """Return a tampered plan: a changed field, an added id or a cut, some with a new digest."""
    *body, last = data.splitlines(keepends=True)
    rows = [orjson.loads(line) for line in body]
    victim = dice.choice(rows[1:])
    way = dice.choice(["field", "add", "header", "reseal-field", "reseal-add", "cut"])
    if way == "cut":
        return data[: dice.randrange(len(data) - 1)]
    if way.endswith("field"):
        name = dice.choice(["invitation_id", "project_id", "username", "created_at"])
        victim[name] = f"{dice.getrandbits(96):024x}"
    elif way.endswith("add"):
        rows.append({**victim, "invitation_id": f"{dice.getrandbits(96):024x}"})
    else:
        rows[0]["policy_sha256"] = f"{dice.getrandbits(256):064x}"
    body = [orjson.dumps(row) + b"\n" for row in rows]
    if way.startswith("reseal"):
        last = orjson.dumps({"sha256": hashlib.sha256(b"".join(body)).hexdigest()}) + b"\n"
    return b"".join([*body, last])


def test_two_hundred_tampered_plans_read_as_nothing_beyond_the_true_one(desk):
    stock(desk, 5)
    true = parse_plan(saved(desk).read_bytes().splitlines(keepends=True))
    data = (desk.folder / "plan.jsonl").read_bytes()
    dice = random.Random(7)
    refused = 0
    for _ in range(200):
        changed = tampered(data, dice)
        try:
            plan = parse_plan(changed.splitlines(keepends=True))
        except GuardRefused:
            refused += 1
            continue
        assert plan.digest != true.digest
    assert refused > 100


@pytest.mark.slow
def test_tampered_and_resealed_plans_delete_nothing_beyond_what_is_stale(desk):
    project, ids = stock(desk, 4)
    young = desk.sim.invite(project, "young@example.com", age=2 * DAYS)
    data = saved(desk).read_bytes()
    dice = random.Random(11)
    for _ in range(6):
        (desk.folder / "plan.jsonl").write_bytes(tampered(data, dice))
        assert by_plan(desk).code in {0, 3}
    assert young in desk.sim.invitations(project)
    assert set(desk.sim.deleted) <= set(ids)


# --- approval ------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path):
    for name in ("boss", "mallory"):
        private = Ed25519PrivateKey.generate()
        (tmp_path / f"{name}.pem").write_bytes(
            private.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
        )
        (tmp_path / f"{name}.pub").write_bytes(
            private.public_key().public_bytes(s.Encoding.OpenSSH, s.PublicFormat.OpenSSH)
        )
    return tmp_path


def test_plan_signed_by_its_approver_is_applied(desk, keys):
    _, ids = stock(desk)
    saved(desk)
    approved = desk.run("plan", "approve", "plan.jsonl", "--key", "boss.pem")
    assert (approved.code, "plan.jsonl.sig" in approved.out) == (0, True)
    assert by_plan(desk, "--require-approval", "boss.pub").code == 0
    assert sorted(desk.sim.deleted) == sorted(ids)


@pytest.mark.parametrize("how", ["none", "other key", "other plan", "garbage", "edited after"])
def test_plan_without_its_approver_s_signature_is_refused(desk, keys, how):
    stock(desk)
    path = saved(desk)
    if how != "none":
        key = "mallory.pem" if how == "other key" else "boss.pem"
        assert desk.run("plan", "approve", "plan.jsonl", "--key", key).code == 0
    if how == "other plan":
        desk.plan("--out", "plan.jsonl")
    if how == "garbage":
        (desk.folder / "plan.jsonl.sig").write_bytes(b"\xff\xfe not base64")
    if how == "edited after":
        path.write_bytes(aged(path.read_bytes(), hours=1))
    done = by_plan(desk, "--require-approval", "boss.pub")
    assert (done.code, desk.deletes()) == (3, 0)
    assert "is not approved with the key boss.pub" in done.err


def test_two_hundred_resealed_plans_without_the_key_are_all_refused(desk, keys):
    stock(desk, 5)
    data = saved(desk).read_bytes()
    assert desk.run("plan", "approve", "plan.jsonl", "--key", "boss.pem").code == 0
    signature = (desk.folder / "plan.jsonl.sig").read_text().strip()
    key = desk.folder / "boss.pub"
    assert is_valid_signature(parse_plan(data.splitlines(keepends=True)).digest, signature, key)
    dice = random.Random(3)
    for _ in range(200):
        try:
            plan = parse_plan(tampered(data, dice).splitlines(keepends=True))
        except GuardRefused:
            continue
        assert not is_valid_signature(plan.digest, signature, key)


@pytest.mark.parametrize("key", ["missing.pub", "boss.pem", "policy.yaml"])
def test_invalid_key_is_wrong_usage(desk, keys, key):
    stock(desk)
    saved(desk)
    assert desk.run("plan", "approve", "plan.jsonl", "--key", "boss.pem").code == 0
    done = by_plan(desk, "--require-approval", key)
    assert (done.code, desk.deletes()) == (2, 0)
    assert "PRIVATE" not in done.err


@pytest.mark.parametrize("key", ["missing.pem", "boss.pub", "policy.yaml"])
def test_key_that_cannot_sign_is_wrong_usage_and_approves_nothing(desk, keys, key):
    stock(desk)
    saved(desk)
    done = desk.run("plan", "approve", "plan.jsonl", "--key", key)
    assert done.code == 2
    assert not (desk.folder / "plan.jsonl.sig").exists()


def test_approval_that_cannot_be_written_is_wrong_usage(desk, keys):
    stock(desk)
    saved(desk)
    (desk.folder / "plan.jsonl.sig").mkdir()
    done = desk.run("plan", "approve", "plan.jsonl", "--key", "boss.pem")
    assert done.code == 2
    assert "plan.jsonl.sig cannot be written" in done.err


def test_approval_works_with_ssh_keys(desk, tmp_path):
    stock(desk)
    saved(desk)
    made = (
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "ssh")],
            check=False,
        )
        if __import__("shutil").which("ssh-keygen")
        else None
    )
    if made is None:
        pytest.skip("this machine lacks ssh-keygen")
    assert desk.run("plan", "approve", "plan.jsonl", "--key", "ssh").code == 0
    assert by_plan(desk, "--require-approval", "ssh.pub").code == 0


def test_require_approval_without_a_plan_is_wrong_usage(desk):
    stock(desk)
    done = desk.sweep("--require-approval", "boss.pub")
    assert (done.code, desk.deletes()) == (2, 0)


def test_plan_max_age_without_a_plan_is_wrong_usage_even_with_the_default(desk):
    stock(desk)
    done = desk.sweep("--plan-max-age", "24h")
    assert (done.code, done.out, desk.sim.requests) == (2, "", ())
    assert "--plan-max-age needs a plan." in done.err
