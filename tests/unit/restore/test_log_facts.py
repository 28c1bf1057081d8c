"""What a log says about how to restore from it."""

import pytest
from audit.written_logs import event, opened
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from invite_sweeper.audit.checkpoint import Checkpoint, sign
from invite_sweeper.errors import UsageError
from invite_sweeper.notes import key_ids
from invite_sweeper.restore import read_log_facts


async def facts_of(path, *, signed=True, **fields):
    """Return the facts of a log with one run, and the id of the key that signed it."""
    log = opened(path)
    log.write(event("run_started", mode="sweep", **fields))
    note = sign(Checkpoint("log.jsonl", 1, 1, "0" * 64, "run-1"), Ed25519PrivateKey.generate())
    if signed:
        log.write(event("checkpoint", note=note))
    await log.close()
    return read_log_facts([path]), key_ids(note)[0]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


async def test_variable_of_the_option_comes_before_the_recorded_one(path):
    facts, _ = await facts_of(path, signing_key_env="RECORDED")
    assert facts.signing_variable(None, "log") == "RECORDED"
    assert facts.signing_variable("OPTION", "log") == "OPTION"


async def test_signed_log_without_a_recorded_variable_names_the_option_and_the_key(path):
    facts, key_id = await facts_of(path)
    with pytest.raises(UsageError) as found:
        facts.signing_variable(None, "audit/log.jsonl")
    assert f"The runs of audit/log.jsonl are signed with the key {key_id}" in str(found.value)
    assert "--signing-key-env" in found.value.hint
    assert facts.signing_variable("OPTION", "log") == "OPTION"


async def test_log_without_signatures_needs_no_variable(path):
    facts, _ = await facts_of(path, signed=False)
    assert facts.signing_variable(None, "log") is None


async def test_credentials_and_actor_are_those_of_the_run(path):
    facts, _ = await facts_of(path, credentials="SANDBOX", actor="mdb_sa_id_1")
    (run_id,) = facts.starts
    assert (facts.credentials_of(run_id), facts.actor_of(run_id)) == ("SANDBOX", "mdb_sa_id_1")
    assert (facts.credentials_of("other"), facts.actor_of(None)) == ("", None)
