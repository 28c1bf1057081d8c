"""Approvals: only a valid signature of this plan's digest by the required key counts."""

import base64
import hashlib
import random

import msgspec
import pytest
from builders import NOW, PLAN_CONTEXT, invitation
from cryptography.hazmat.primitives import serialization as s
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import structs

from invite_sweeper.audit.checkpoint import Checkpoint
from invite_sweeper.audit.checkpoint import sign as sign_checkpoint
from invite_sweeper.audit.events import Planned
from invite_sweeper.errors import GuardRefused, UsageError
from invite_sweeper.keys import fingerprint, read_private_key, read_public_key
from invite_sweeper.models import Source
from invite_sweeper.notes import sign_note
from invite_sweeper.sweep.approval import (
    check_approval,
    check_replaceable,
    require_approval,
    sign,
    signature_path,
    write,
)
from invite_sweeper.sweep.saved_plan import parse_plan, render_lines


def plan(*numbers, **changes):
    rows = (
        Planned.from_invitation(invitation(n, source=Source.INVITES), NOW, rule="r")
        for n in numbers
    )
    return parse_plan(render_lines(structs.replace(PLAN_CONTEXT, **changes), rows))


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    """Return the path of a private key; its public key is beside it as .pub."""
    private = Ed25519PrivateKey.generate()
    path = tmp_path_factory.mktemp("keys") / "boss"
    path.write_bytes(private.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()))
    public = private.public_key()
    path.with_suffix(".pub").write_bytes(
        public.public_bytes(s.Encoding.OpenSSH, s.PublicFormat.OpenSSH)
    )
    path.with_suffix(".pem").write_bytes(
        public.public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    )
    return path


@pytest.fixture
def signed(tmp_path, key):
    """A signed plan: its path; the signature is beside it."""
    path = tmp_path / "plan.jsonl"
    write(signature_path(path), sign(plan(1, 2), key))
    return path


def test_signature_is_beside_the_plan_and_private(signed):
    path = signature_path(signed)
    assert path == signed.with_name("plan.jsonl.sig")
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("suffix", [".pub", ".pem"])
def test_signed_plan_is_approved_with_either_form_of_the_public_key(signed, key, suffix):
    public = key.with_suffix(suffix)
    require_approval(signed, plan(1, 2), public)
    check = check_approval(plan(1, 2), signature_path(signed), public)
    assert (check.key, check.refusal) == (fingerprint(read_public_key(public)), "")
    assert check == check_approval(plan(1, 2), signature_path(signed), None)
    assert fingerprint(sign(plan(1, 2), key).key) == check.key


def test_plan_with_one_invitation_more_or_less_is_not_approved(signed, key):
    for other in (plan(1), plan(1, 2, 3), plan()):
        with pytest.raises(GuardRefused, match="changed after it was signed"):
            require_approval(signed, other, key.with_suffix(".pub"))
        check = check_approval(other, signature_path(signed), None)
        assert (check.key, check.refusal) == (None, "The plan was changed after it was signed.")


def test_refusal_names_the_command_of_the_approver(signed, key):
    with pytest.raises(GuardRefused) as caught:
        require_approval(signed, plan(1, 2, run_id="r2"), key.with_suffix(".pub"))
    assert caught.value.message.endswith("The signature is for another plan: that of run r1.")
    command = f"invite-sweeper plan approve {signed} --key PRIVATE_KEY"
    assert caught.value.hint == f"The approver runs: {command}"


def test_two_hundred_changed_and_resealed_plans_are_all_refused(signed, key):
    rows = (
        Planned.from_invitation(invitation(n, source=Source.INVITES), NOW, rule="r") for n in (1, 2)
    )
    lines = list(render_lines(PLAN_CONTEXT, rows))
    dice = random.Random(3)
    read = 0
    for _ in range(200):
        body = [msgspec.json.decode(line) for line in lines[:-1]]
        victim = dice.choice(body)
        name = dice.choice(sorted(victim))
        victim[name] = f"{dice.getrandbits(96):024x}"
        data = [msgspec.json.encode(each) + b"\n" for each in body]
        digest = hashlib.sha256(b"".join(data)).hexdigest()
        try:
            changed = parse_plan([*data, msgspec.json.encode({"sha256": digest}) + b"\n"])
        except GuardRefused:
            continue
        read += 1
        assert check_approval(changed, signature_path(signed), key.with_suffix(".pub")).refusal
    assert read > 50


def test_other_text_that_the_same_key_signed_is_not_an_approval(tmp_path, key):
    """A key that signs other things, too, must not approve a plan by that."""
    private, path = read_private_key(key), tmp_path / "plan.jsonl.sig"
    digest = plan(1, 2).digest
    for note in (
        sign_checkpoint(Checkpoint("invite-sweeper", 1, 2, digest, "r1"), private),
        sign_note(f"{digest}\n", "invite-sweeper/plan", private),
    ):
        path.write_text(note, encoding="utf-8")
        check = check_approval(plan(1, 2), path, key.with_suffix(".pub"))
        assert check.refusal == f"{path} is not the approval of a plan."
    text = sign(plan(1, 2), key).note.partition("\n\n")[0] + "\n"
    path.write_text(
        sign_note(text, "other", private).replace("other", "invite-sweeper/plan"), encoding="utf-8"
    )
    check = check_approval(plan(1, 2), path, key.with_suffix(".pub"))
    assert check.refusal == "The signature is not valid: its file was changed."


def test_control_character_in_a_run_id_cannot_add_a_line(tmp_path, key):
    path, hostile = tmp_path / "plan.jsonl.sig", plan(1, run_id="r\nkey x\n\n")
    write(path, sign(hostile, key))
    assert check_approval(hostile, path, key.with_suffix(".pub")).refusal == ""


def test_approval_of_an_earlier_version_is_refused_and_may_be_replaced(signed, key):
    path = signature_path(signed)
    path.write_bytes(b'{"approval":"invite-sweeper plan approval 1","run_id":"r1"}\n')
    check = check_approval(plan(1, 2), path, key.with_suffix(".pub"))
    assert check == (None, f"{path} has the format of an earlier version: approve again.")
    write(path, sign(plan(1, 2), key))
    assert check_approval(plan(1, 2), path, None).refusal == ""


@pytest.mark.parametrize("name", ["boss.pub", "nothing"])
def test_file_that_is_not_a_private_key_is_wrong_usage(key, name):
    with pytest.raises(UsageError):
        sign(plan(1), key.with_name(name))


def test_private_key_is_not_accepted_as_the_public_one(signed, key):
    with pytest.raises(UsageError, match=r"is not a public ed25519 key\."):
        require_approval(signed, plan(1, 2), key)


def test_missing_file_and_own_approval_may_be_written_and_a_second_name_may_not(signed, tmp_path):
    check_replaceable(tmp_path / "new.sig")
    check_replaceable(signature_path(signed))
    (tmp_path / "second.sig").hardlink_to(signature_path(signed))
    with pytest.raises(UsageError, match="has several names") as caught:
        check_replaceable(signature_path(signed))
    assert caught.value.consequence == "The plan was not approved."


def test_file_of_another_user_may_not_be_replaced(signed, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 4242)
    with pytest.raises(UsageError, match="belongs to another user"):
        check_replaceable(signature_path(signed))


def test_failed_write_leaves_no_file(tmp_path, key, monkeypatch):
    def fail(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(UsageError, match="No space left on device"):
        write(tmp_path / "plan.jsonl.sig", sign(plan(1), key))
    assert list(tmp_path.iterdir()) == []


# Signatures that cannot be used ----------------------------------------------------------------

HINT = "Move the file away, or copy the plan to a directory that only you can write."


def test_missing_signature_is_named(tmp_path, key):
    path = tmp_path / "none.sig"
    check = check_approval(plan(1), path, key.with_suffix(".pub"))
    assert check == (None, f"The signature {path} does not exist.")


def test_unreadable_signature_is_named_with_its_reason(tmp_path):
    check = check_approval(plan(1), tmp_path, None)
    assert check == (None, f"The signature {tmp_path} cannot be read: Is a directory.")


def test_signature_may_be_a_link_to_a_mounted_file(signed, key, tmp_path):
    link = tmp_path / "link.sig"
    link.symlink_to(signature_path(signed))
    assert check_approval(plan(1, 2), link, key.with_suffix(".pub")).refusal == ""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("invite-sweeper/plan\n", "invite-sweeper/plan2\n"),
        ("key ssh-ed25519 ", "key ssh-ed25519 no"),
        ("\nrun ", "\nmore x\nrun "),
        ("\n\n", "\n"),
    ],
)
def test_file_that_is_not_an_approval_approves_nothing(signed, key, old, new):
    path = signature_path(signed)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    for required in (None, key.with_suffix(".pub")):
        check = check_approval(plan(1, 2), path, required)
        assert check == (None, f"{path} is not the approval of a plan.")


def test_only_the_first_4096_bytes_of_a_signature_are_read(signed):
    path = signature_path(signed)
    path.write_bytes(b" " * 4096 + path.read_bytes())
    assert (
        check_approval(plan(1, 2), path, None).refusal == f"{path} is not the approval of a plan."
    )
    with pytest.raises(UsageError, match="exists and is not an approval"):
        check_replaceable(path)


@pytest.mark.parametrize("added", ["\n", "!", " "])
def test_signature_with_other_characters_in_its_base64_is_not_valid(signed, key, added):
    path = signature_path(signed)
    note = path.read_text(encoding="utf-8")
    path.write_text(f"{note[:-20]}{added}{note[-20:]}", encoding="utf-8")
    check = check_approval(plan(1, 2), path, key.with_suffix(".pub"))
    assert check == (None, "The signature is not valid: its file was changed.")


def test_key_of_another_approver_is_named_by_its_fingerprint(signed, key, tmp_path):
    other = Ed25519PrivateKey.generate().public_key()
    path = tmp_path / "other.pub"
    path.write_bytes(other.public_bytes(s.Encoding.OpenSSH, s.PublicFormat.OpenSSH))
    check = check_approval(plan(1, 2), signature_path(signed), path)
    own = fingerprint(read_public_key(key.with_suffix(".pub")))
    assert check == (None, f"It was signed with another key: {own}.")


def test_fingerprint_is_that_of_ssh_keygen(tmp_path):
    path = tmp_path / "key.pub"
    path.write_text(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f test\n",
        encoding="utf-8",
    )
    found = fingerprint(read_public_key(path))
    data = base64.b64decode(path.read_text(encoding="utf-8").split()[1])
    expected = base64.b64encode(hashlib.sha256(data).digest()).decode()
    assert expected.endswith("=")
    assert found == f"SHA256:{expected[:-1]}"


# Files that may not be replaced ----------------------------------------------------------------


def refusal_of(path, write_it):
    with pytest.raises(UsageError) as caught:
        write_it()
    error = caught.value
    assert (error.hint, error.consequence) == (HINT, "The plan was not approved.")
    return error.message.removeprefix(f"{path} cannot be written: ")


def test_file_that_is_not_an_approval_is_not_replaced(tmp_path, key):
    path = tmp_path / "plan.jsonl.sig"
    path.write_text("mine", encoding="utf-8")
    expected = "the file exists and is not an approval."
    assert refusal_of(path, lambda: check_replaceable(path)) == expected
    assert refusal_of(path, lambda: write(path, sign(plan(1), key))) == expected
    assert path.read_text(encoding="utf-8") == "mine"


def test_link_to_an_own_approval_is_not_replaced(signed, tmp_path):
    link = tmp_path / "link.sig"
    link.symlink_to(signature_path(signed))
    assert refusal_of(link, lambda: check_replaceable(link)) == "it is a symbolic link."


def test_file_with_a_second_name_is_refused_with_that_reason(signed, tmp_path):
    path = signature_path(signed)
    (tmp_path / "second.sig").hardlink_to(path)
    expected = "the file belongs to another user or has several names."
    assert refusal_of(path, lambda: check_replaceable(path)) == expected


def test_missing_folder_is_named(tmp_path, key):
    path = tmp_path / "none" / "plan.jsonl.sig"
    expected = "No such file or directory."
    assert refusal_of(path, lambda: write(path, sign(plan(1), key))) == expected


def test_approval_is_complete_beside_its_place_before_it_has_its_name(tmp_path, key, monkeypatch):
    path, seen = tmp_path / ("p" * 200 + ".sig"), []

    def fsync(descriptor):
        (partial, *_) = tmp_path.iterdir()
        seen.append((partial.name[:102], partial.stat().st_size))

    monkeypatch.setattr("os.fsync", fsync)
    write(path, sign(plan(1), key))
    assert seen[0] == ("." + "p" * 100 + ".", path.stat().st_size)
    assert list(tmp_path.iterdir()) == [path]
