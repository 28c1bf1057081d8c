"""The signatures of a checkpoint: which notes count as signed by a key, and what a note names."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from invite_sweeper.audit.checkpoint import (
    Checkpoint,
    is_checkpoint,
    key_name,
    parse,
    sign,
)
from invite_sweeper.notes import MAX_NOTE_BYTES, is_signed_by, key_ids

OURS = Ed25519PrivateKey.from_private_bytes(bytes(32))
THEIRS = Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))
CHECKPOINT = Checkpoint("audit.jsonl", 12, 3456, "ab" * 32, "run-1")


def signature(key: Ed25519PrivateKey, checkpoint: Checkpoint = CHECKPOINT) -> str:
    return sign(checkpoint, key).rpartition("\n\n")[2]


def note(*signatures: str) -> str:
    return f"{CHECKPOINT.text}\n{''.join(signatures)}"


FORGED = signature(OURS, CHECKPOINT._replace(lines=13))
"""It has the ID of our key, and was made for another text."""
MALFORMED = {
    "no signature line": "audit.jsonl\n",
    "hyphen in place of the dash": signature(OURS).replace("\u2014", "-"),
    "no Base64": "\u2014 audit.jsonl no*Base64\n",
    "Base64 of a wrong length": "\u2014 audit.jsonl abcde\n",
}


def test_note_is_signed_by_its_key_alone():
    assert is_signed_by(note(signature(OURS)), OURS.public_key()) is True
    assert is_signed_by(note(signature(OURS)), THEIRS.public_key()) is False
    assert is_signed_by(CHECKPOINT.text + "\n", OURS.public_key()) is False


@pytest.mark.parametrize(
    "signatures",
    [(signature(OURS), signature(THEIRS)), (signature(THEIRS), signature(OURS))],
    ids=["ours first", "theirs first"],
)
def test_signature_of_another_key_beside_ours_is_ignored(signatures):
    for key in (OURS, THEIRS):
        assert is_signed_by(note(*signatures), key.public_key())


@pytest.mark.parametrize("wrong", [FORGED, *MALFORMED.values()], ids=["forged", *MALFORMED])
@pytest.mark.parametrize("first", [True, False])
def test_wrong_signature_beside_a_valid_one_makes_a_note_unsigned(wrong, first):
    signatures = (wrong, signature(OURS)) if first else (signature(OURS), wrong)
    assert not is_signed_by(note(*signatures), OURS.public_key())
    assert not is_signed_by(note(wrong), OURS.public_key())


def test_text_of_a_note_ends_at_its_last_empty_line():
    text = "one\n\ntwo\n"
    key_id = base64.b64decode(signature(OURS).split()[2])[:4]
    signed = base64.b64encode(key_id + OURS.sign(text.encode())).decode()
    assert is_signed_by(f"{text}\n\u2014 audit.jsonl {signed}\n", OURS.public_key())


def test_key_ids_are_those_of_well_formed_signatures():
    id_alone = "\u2014 audit.jsonl AAAAAA==\n"
    signatures = (signature(OURS), *MALFORMED.values(), id_alone, signature(THEIRS))
    ours, theirs = (key_ids(note(signature(key))) for key in (OURS, THEIRS))
    assert key_ids(note(*signatures)) == ours + theirs
    assert (len(ours), len(ours[0]), ours == theirs) == (1, 8, False)


def test_signature_line_in_the_text_of_a_note_names_no_key():
    text = f"one\n\n{signature(THEIRS)}\n\n"
    assert key_ids(text + signature(OURS)) == key_ids(note(signature(OURS)))


@pytest.mark.parametrize(
    "other",
    ["", "text", CHECKPOINT.text, f"text\n\n{signature(OURS)}", f"{note()}\n\nmore\n"],
    ids=["empty", "text", "no signatures", "signed text", "two empty lines"],
)
def test_other_text_than_the_note_of_a_checkpoint_is_a_value_error(other):
    with pytest.raises(ValueError, match=r"^not the note of a checkpoint$"):
        parse(other)


def test_note_of_64_kib_is_read_and_a_longer_one_is_not():
    longest = note(signature(OURS)).ljust(MAX_NOTE_BYTES, "x")
    assert parse(longest) == CHECKPOINT
    with pytest.raises(ValueError, match="not the note"):
        parse(longest + "x")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("audit.jsonl", "audit.jsonl"),
        ("my log+1", "my_log_1"),
        ("a\x00b\x1fc\td", "a_b_c_d"),
        ("a!b\x7fX", "a!b\x7fX"),
        ("", "_"),
    ],
)
def test_name_in_a_note_has_no_spaces_plus_or_control_characters(name, expected):
    assert key_name(name) == expected


@pytest.mark.parametrize("hash_", ["AB" * 32, "ff" * 32, "00" * 32])
def test_checkpoint_is_recognized_by_its_first_lines(hash_):
    checkpoint = CHECKPOINT._replace(last_hash=hash_.lower())
    text = sign(checkpoint, OURS)
    assert is_checkpoint(text.encode())
    assert not is_checkpoint(text.encode()[1:].replace(b"bytes", b"lines"))
    assert parse(text) == checkpoint
