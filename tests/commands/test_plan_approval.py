"""`plan approve` shows what it signs and overwrites no file; a refusal says what is wrong."""

import hashlib
import json
import os
import re
import signal
import subprocess
from datetime import datetime, timedelta

import msgspec
import pytest
from builders import write_key_pair
from cryptography.hazmat.primitives import serialization as s
from terminals import terminal_of

from invite_sweeper.simulator.seed import ORG_ID

DAYS = timedelta(days=1)
ASKS = "Type yes or no: "
APPROVE = ("plan", "approve", "plan.jsonl", "--key", "boss.pem")


@pytest.fixture
def cli(cli):
    """A folder with a saved plan of three invitations, and the keys of two people."""
    for name in ("boss", "mallory"):
        write_key_pair(cli.folder, name)
    cli.stock(stale=3)
    assert cli.plan("--out", "plan.jsonl").code == 0
    return cli


def approve(cli, *arguments, code=0):
    done = cli.run(*APPROVE, "--yes", *arguments)
    assert done.code == code, done.err
    return done


def lock(path, passphrase):
    """Encrypt a private key with a passphrase."""
    key = s.load_pem_private_key(path.read_bytes(), None)
    how = s.BestAvailableEncryption(passphrase.encode())
    path.write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, how))


def signature(cli):
    return cli.folder / "plan.jsonl.sig"


def required(cli, key="boss.pub"):
    return cli.sweep("--plan", "plan.jsonl", "--require-approval", key)


def rewrite(cli, change):
    """Change the header of the plan and seal it again, as can be done without the key."""
    path = cli.folder / "plan.jsonl"
    *body, _ = path.read_bytes().splitlines(keepends=True)
    header = msgspec.json.decode(body[0])
    change(header)
    body[0] = msgspec.json.encode(header) + b"\n"
    last = msgspec.json.encode({"sha256": hashlib.sha256(b"".join(body)).hexdigest()}) + b"\n"
    path.write_bytes(b"".join([*body, last]))


def age(cli, hours):
    def change(header):
        created = datetime.fromisoformat(header["now"]) - timedelta(hours=hours)
        header["now"] = created.isoformat()

    rewrite(cli, change)


# --- what is shown, asked and signed -----------------------------------------------------------


def test_approval_shows_the_plan_and_the_sweep_accepts_it(cli):
    done = approve(cli)
    assert f"3 invitations in 1 project of organization Example Industries ({ORG_ID})" in done.out
    assert done.out.count("@example.com") == 3
    assert "Approved with the key SHA256:" in done.out
    assert required(cli).code == 0
    assert len(cli.sim.deleted) == 3
    started = cli.lines("run_started")[-1]
    assert started["plan_approved_by"] in done.out
    assert started["plan_approved_by"].startswith("SHA256:")


@pytest.mark.needs("ssh-keygen")
def test_approval_works_with_ssh_keys(cli):
    key = cli.folder / "ssh"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(command, check=True)
    done = cli.run("plan", "approve", "plan.jsonl", "--key", "ssh", "--yes")
    assert (done.code, required(cli, "ssh.pub").code) == (0, 0)


def test_approval_without_a_terminal_and_without_yes_is_wrong_usage_and_signs_nothing(cli):
    done = cli.run(*APPROVE)
    assert (done.code, done.out, signature(cli).exists()) == (2, "", False)
    assert "The plan was not approved." in done.err
    assert "--yes" in done.err


def test_question_on_a_terminal_shows_the_plan_and_yes_signs(cli):
    with terminal_of(cli, *APPROVE) as terminal:
        shown = terminal.read_until(ASKS)
        assert "p1@example.com" in shown
        assert f"Approve the deletion of 3 invitations in Example Industries ({ORG_ID})?" in shown
        assert not signature(cli).exists()
        terminal.type("yes\n")
        code, _ = terminal.end()
    assert (code, required(cli).code) == (0, 0)


@pytest.mark.parametrize("answer", ["no\n", "y\n", "\n", "yess\n"], ids=repr)
def test_any_answer_but_yes_signs_nothing_and_ends_with_3(cli, answer):
    with terminal_of(cli, *APPROVE) as terminal:
        terminal.read_until(ASKS)
        terminal.type(answer)
        code, text = terminal.end()
    assert (code, signature(cli).exists()) == (3, False)
    assert "The plan was not approved." in text
    assert ("Only the whole word yes confirms." in text) == (answer == "y\n")


@pytest.mark.parametrize(("passphrase", "code"), [("of the boss", 0), ("of another", 2)])
def test_passphrase_of_a_key_is_asked_for_on_a_terminal_and_not_shown(cli, passphrase, code):
    lock(cli.folder / "boss.pem", "of the boss")
    with terminal_of(cli, *APPROVE) as terminal:
        terminal.read_until("Passphrase of boss.pem: ")
        terminal.type(f"{passphrase}\n")
        if code == 0:
            terminal.read_until(ASKS)
            terminal.type("yes\n")
        ended, text = terminal.end()
    assert (ended, signature(cli).exists(), passphrase in text) == (code, code == 0, False)
    assert code or required(cli).code == 0


@pytest.mark.parametrize(("key", "expected"), [("\x03", 8), ("\x04", 3)], ids=["Ctrl-C", "Ctrl-D"])
def test_question_for_the_passphrase_can_be_left(cli, key, expected):
    lock(cli.folder / "boss.pem", "of the boss")
    with terminal_of(cli, *APPROVE) as terminal:
        terminal.read_until("Passphrase of boss.pem: ")
        terminal.type(key)
        code, text = terminal.end()
    assert (code, signature(cli).exists()) == (expected, False)
    assert "Traceback" not in text


def test_key_with_a_passphrase_off_a_terminal_is_wrong_usage_that_says_so(cli):
    lock(cli.folder / "boss.pem", "of the boss")
    done = cli.run(*APPROVE, "--yes")
    assert (done.code, signature(cli).exists()) == (2, False)
    assert "boss.pem has a passphrase" in done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_during_the_question_signs_nothing_and_ends_with_8(cli, number):
    with terminal_of(cli, *APPROVE) as terminal:
        terminal.read_until(ASKS)
        terminal.process.send_signal(number)
        code, text = terminal.end()
    assert (code, signature(cli).exists()) == (8, False)
    assert "The plan was not approved." in text


def test_plan_that_is_exchanged_during_the_question_is_not_what_was_signed(cli):
    with terminal_of(cli, *APPROVE) as terminal:
        terminal.read_until(ASKS)
        rewrite(cli, lambda header: header.update(tool_version="9"))
        terminal.type("yes\n")
        code, _ = terminal.end()
    assert code == 0
    done = required(cli)
    assert (done.code, cli.deletes()) == (3, 0)
    assert "The plan was changed after it was signed." in done.err


def test_approval_calls_no_one(cli):
    before = len(cli.sim.requests)
    approve(cli)
    assert len(cli.sim.requests) == before


# --- plans that are not approved ----------------------------------------------------------------


def test_plan_over_24_hours_old_is_not_approved_unless_the_limit_is_raised(cli):
    age(cli, hours=24.1)
    done = approve(cli, code=3)
    assert "too old" in done.err
    assert "The plan was not approved." in done.err
    assert not signature(cli).exists()
    approve(cli, "--plan-max-age", "2d")


def test_used_plan_is_not_approved_and_the_run_is_named(cli):
    run_id = cli.sweep("--plan", "plan.jsonl").summary["run_id"]
    assert f"already been applied, by run {run_id}" in approve(cli, code=3).err
    assert not signature(cli).exists()


def test_use_is_read_from_the_named_audit_log_and_a_damaged_one_is_refused(cli):
    assert cli.sweep("--plan", "plan.jsonl").code == 0
    (cli.folder / "audit").rename(cli.folder / "moved")
    log = "moved/invite-sweeper.jsonl"
    assert "already been applied" in approve(cli, "--audit-log", log, code=3).err
    (cli.folder / "plan.jsonl.applied").unlink()
    assert "already been applied" in approve(cli, "--audit-log", log, code=3).err
    (cli.folder / log).write_bytes(b"garbage\n" + (cli.folder / log).read_bytes())
    assert "damaged" in approve(cli, "--audit-log", log, code=3).err
    assert not signature(cli).exists()


def test_plan_whose_log_is_elsewhere_is_approved_and_its_use_is_said_to_be_unknown(cli):
    (cli.folder / "audit").rename(cli.folder / "moved")
    assert "used     not known here" in approve(cli).out


@pytest.mark.parametrize("key", ["missing.pem", "boss.pub", "policy.yaml", "/dev/zero"])
def test_key_that_cannot_sign_is_wrong_usage_and_approves_nothing(cli, key):
    done = cli.run("plan", "approve", "plan.jsonl", "--key", key, "--yes")
    assert (done.code, signature(cli).exists()) == (2, False)
    assert "Traceback" not in done.err


# --- where the signature is written -------------------------------------------------------------


def victim(cli):
    path = cli.folder / "home" / "notes.txt"
    path.parent.mkdir()
    path.write_text("the approver's own file", encoding="utf-8")
    return path


PLANTED = {
    "link": lambda sig, target: sig.symlink_to(target),
    "dangling link": lambda sig, target: sig.symlink_to(target.parent / "new.txt"),
    "hard link": lambda sig, target: sig.hardlink_to(target),
    "FIFO": lambda sig, _: os.mkfifo(sig),
    "folder": lambda sig, _: sig.mkdir(),
    "own file": lambda sig, _: sig.write_text("the approver's own file", encoding="utf-8"),
    "empty file": lambda sig, _: sig.write_text("", encoding="utf-8"),
    "device": lambda sig, _: sig.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("how", PLANTED)
def test_planted_signature_path_is_refused_and_changes_no_file(cli, how):
    target = victim(cli)
    PLANTED[how](signature(cli), target)
    before = signature(cli).lstat()
    content = signature(cli).read_bytes() if how.endswith("file") else None
    done = approve(cli, code=2)
    assert "plan.jsonl.sig cannot be written" in done.err
    assert "The plan was not approved." in done.err
    after = signature(cli).lstat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert content is None or signature(cli).read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["notes.txt"]
    assert target.read_text(encoding="utf-8") == "the approver's own file"
    assert sorted(path.name for path in cli.folder.glob(".plan*")) == []


def test_path_that_becomes_a_link_during_the_question_is_refused(cli):
    target = victim(cli)
    with terminal_of(cli, *APPROVE) as terminal:
        terminal.read_until(ASKS)
        signature(cli).symlink_to(target)
        terminal.type("yes\n")
        code, _ = terminal.end()
    assert (code, target.read_text(encoding="utf-8")) == (2, "the approver's own file")


# --- what a sweep says about an approval --------------------------------------------------------


def test_sweep_says_that_there_is_no_signature(cli):
    done = required(cli)
    assert (done.code, cli.deletes()) == (3, 0)
    assert "The plan is not approved with the key boss.pub. The signature" in done.err


def test_sweep_says_that_another_key_signed(cli):
    assert cli.run(*APPROVE[:-1], "mallory.pem", "--yes").code == 0
    done = required(cli)
    assert (done.code, cli.deletes()) == (3, 0)
    assert "It was signed with another key: SHA256:" in done.err


def test_sweep_says_that_the_signature_is_for_another_plan(cli):
    run_id = json.loads((cli.folder / "plan.jsonl").read_bytes().splitlines()[0])["run_id"]
    approve(cli)
    assert cli.plan("--out", "plan.jsonl").code == 0
    done = required(cli)
    assert (done.code, cli.deletes()) == (3, 0)
    assert f"The signature is for another plan: that of run {run_id}." in done.err


def test_forged_approval_that_names_the_required_key_is_refused(cli):
    assert cli.run(*APPROVE[:-1], "mallory.pem", "--yes").code == 0
    own = f"key {(cli.folder / 'boss.pub').read_text(encoding='utf-8').strip()}"
    signature(cli).write_text(
        re.sub(r"(?m)^key .*$", own, signature(cli).read_text(encoding="utf-8")), encoding="utf-8"
    )
    done = required(cli)
    assert (done.code, cli.deletes()) == (3, 0)
    assert "The signature is not valid" in done.err


@pytest.mark.parametrize("key", ["missing.pub", "boss.pem", "policy.yaml", "/dev/zero"])
def test_invalid_public_key_is_wrong_usage(cli, key):
    approve(cli)
    done = required(cli, key)
    assert (done.code, cli.deletes()) == (2, 0)
    assert "PRIVATE" not in done.err


def test_signature_that_is_a_pipe_is_refused_and_does_not_block(cli):
    os.mkfifo(signature(cli))
    done = required(cli)
    assert (done.code, cli.deletes()) == (3, 0)
    assert "plan.jsonl.sig cannot be read: it is not a regular file." in done.err


def test_plan_show_says_whose_signature_it_is(cli):
    approve(cli)

    def show(*arguments):
        return cli.run("plan", "show", "plan.jsonl", "--output", "json", *arguments).summary

    assert show()["signed"] is True
    assert show("--key", "boss.pub")["signed_with"] == show()["signed_with"]
    other = show("--key", "mallory.pub")
    assert (other["signed"], "another key" in other["signature_message"]) == (False, True)
    rewrite(cli, lambda header: header.update(tool_version="9"))
    assert show()["signature_message"] == "The plan was changed after it was signed."
