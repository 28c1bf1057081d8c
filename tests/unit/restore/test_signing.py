"""The key that signs the end of a restore."""

import pytest
from audit.written_logs import event, opened
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from invite_sweeper.audit import read_history
from invite_sweeper.audit.checkpoint import Checkpoint, sign
from invite_sweeper.errors import UsageError
from invite_sweeper.notes import key_ids
from invite_sweeper.restore.deletions import signing_variable


async def history_of(path, *, signed=True, **fields):
    """Return the history of a log with one run, and the id of the key that signed it."""
    log = opened(path)
    log.write(event("run_started", mode="sweep", **fields))
    note = sign(Checkpoint("log.jsonl", 1, 1, "0" * 64, "run-1"), Ed25519PrivateKey.generate())
    if signed:
        log.write(event("checkpoint", note=note))
    await log.close()
    return read_history([path]), key_ids(note)[0]


async def test_variable_of_the_option_comes_before_the_recorded_one(path):
    history, _ = await history_of(path, signing_key_env="RECORDED")
    assert signing_variable(history, None, "log") == "RECORDED"
    assert signing_variable(history, "OPTION", "log") == "OPTION"


async def test_signed_log_without_a_recorded_variable_names_the_option_and_the_key(path):
    history, key_id = await history_of(path)
    with pytest.raises(UsageError) as found:
        signing_variable(history, None, "audit/log.jsonl")
    assert f"The runs of audit/log.jsonl are signed with the key {key_id}" in str(found.value)
    assert "--signing-key-env" in found.value.hint
    assert signing_variable(history, "OPTION", "log") == "OPTION"


async def test_log_without_signatures_needs_no_variable(path):
    history, _ = await history_of(path, signed=False)
    assert signing_variable(history, None, "log") is None
