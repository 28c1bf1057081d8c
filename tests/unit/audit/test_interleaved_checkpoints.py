"""Signed runs side by side: each end is proven by its own checkpoint, and no other takes its place.

The forger of these tests recomputes the chain and the seals after each change, so that only the
signatures can show it.
"""

import json
from hashlib import sha256

import pytest
from audit.rotated_logs import KEY, KEYS, OTHER_KEY, OTHER_KEYS, rotate
from audit.written_logs import answer, event, fields_of, lines_of, opened
from builders import ORG, OTHER_ORG, invitation
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from invite_sweeper.audit import LogPath
from invite_sweeper.audit.chain import add_checksum
from invite_sweeper.audit.checkpoint import parse, sign
from invite_sweeper.audit.damage import Damage, VerificationError
from invite_sweeper.audit.reader import LinePosition
from invite_sweeper.audit.verify import Evidence, verify
from invite_sweeper.models import Source

SIGNED = Evidence(public_keys=KEYS)
THIRD_KEY = Ed25519PrivateKey.from_private_bytes(bytes([3] * 32))


class SignedRun:
    """A run in small steps, so that steps of other runs can be in between."""

    def __init__(self, log, org_id=ORG, group=None):
        self.log, self.org_id = log, org_id
        fields = {"mode": "sweep", "organizations": [org_id]}
        self.fields = fields | ({"group_id": group} if group else {})

    async def steps(self, deletions=2):
        self.log.write(event("run_started", **self.fields))
        yield
        for number in range(deletions):
            fields = fields_of(invitation(number, org_id=self.org_id, source=Source.INVITES))
            self.log.write(event("intent", **fields))
            await self.log.sync()
            yield
            self.log.write(event("outcome", **fields, **answer()))
            yield
        self.log.write(event("run_finished", exit_code=0, deleted=deletions))


async def run_interleaved(*runs):
    """Take one step of each run in turn until all have ended."""
    pending = [run.steps() for run in runs]
    while pending:
        for each in tuple(pending):
            try:
                await anext(each)
            except StopAsyncIteration:
                pending.remove(each)


def notes_of(path):
    records = map(json.loads, lines_of(path))
    return [record["note"] for record in records if record["event"] == "checkpoint"]


def rewrite(path, notes):
    """Put other notes into the checkpoint lines, and recompute chain and seals."""
    remaining, prev, data = list(notes), None, b""
    for line in lines_of(path):
        record = json.loads(line)
        record["prev"] = prev or record["prev"]
        if record["event"] == "checkpoint":
            record["note"] = remaining.pop(0)
        sealed = record.pop("seal", None) is not None
        text = json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode()
        rewritten = add_checksum(text) if sealed else text
        prev = sha256(rewritten).hexdigest()
        data += rewritten + b"\n"
    path.write_bytes(data)


@pytest.fixture
async def shards(tmp_path):
    """Two logs, written at the same time by one signed run each, twice."""
    paths = [tmp_path / f"shard-{index}.jsonl" for index in (1, 2)]
    for night in range(2):
        logs = [opened(path, f"{path.stem}-{night}", signing_key=KEY) for path in paths]
        await run_interleaved(*map(SignedRun, logs))
        for log in logs:
            await log.close()
    return paths


@pytest.fixture
async def one_log(tmp_path):
    """One log with three signed runs: one after the other, then a group of two."""
    path = tmp_path / "log.jsonl"
    log = opened(path, "first", signing_key=KEY)
    await run_interleaved(SignedRun(log))
    await log.close()
    log = opened(path, "a", signing_key=KEY)
    other = log.for_run("b")
    await run_interleaved(SignedRun(log, group="a"), SignedRun(other, OTHER_ORG, group="a"))
    await log.close()
    return path


async def test_shards_with_logs_of_their_own_are_accepted_together_and_alone(shards):
    for files in (shards, shards[:1], shards[1:]):
        status = verify(files, evidence=SIGNED)
        assert (status.error, len(status.signed_runs["ours"])) == (None, 2 * len(files))
        assert all(log.end.startswith("signed up to run") for log in status.logs)


async def test_checkpoint_of_each_shard_names_its_own_log_and_proves_no_other(shards):
    notes = [notes_of(path) for path in shards]
    origins = {parse(note).origin for each in notes for note in each}
    assert len(origins) == 2
    for path, (_, last) in zip(shards, notes, strict=True):
        assert verify([path], evidence=SIGNED._replace(note=last)).error is None
    other = SIGNED._replace(note=notes[1][1])
    assert verify(shards[:1], evidence=other).error is not None


async def test_checkpoints_swapped_between_two_shards_are_found(shards):
    notes = [notes_of(path) for path in shards]
    for path, swapped in zip(shards, reversed(notes), strict=True):
        rewrite(path, swapped)
    for files in (shards, shards[:1], shards[1:]):
        assert verify(files, evidence=SIGNED).error is not None
        assert verify(files).error is not None


async def test_runs_one_after_the_other_and_side_by_side_are_accepted_in_one_log(one_log):
    status = verify([one_log], evidence=SIGNED)
    assert (status.error, status.signed_runs, status.runs) == (
        None,
        {"ours": ["first", "a", "b"]},
        3,
    )
    assert [parse(note).run_id for note in notes_of(one_log)] == ["first", "a", "b"]


async def test_rewrite_of_the_same_notes_changes_nothing(one_log):
    before = one_log.read_bytes()
    rewrite(one_log, notes_of(one_log))
    assert one_log.read_bytes() == before


@pytest.mark.parametrize("order", [(1, 0, 2), (0, 2, 1), (2, 1, 0), (0, 1, 1), (0, 0, 2)])
async def test_swapped_or_repeated_checkpoint_in_one_log_is_found(one_log, order):
    notes = notes_of(one_log)
    rewrite(one_log, [notes[number] for number in order])
    assert verify([one_log], evidence=SIGNED).error is not None
    assert verify([one_log]).error is not None


async def test_swapped_checkpoint_is_found_after_a_rotation_too(one_log):
    notes = notes_of(one_log)
    rewrite(one_log, [notes[0], notes[2], notes[1]])
    rotate(one_log)
    assert verify(LogPath(str(one_log)).files(), evidence=SIGNED).error is not None


async def test_checkpoint_signed_with_another_key_is_found(tmp_path, one_log):
    path = tmp_path / "other" / "log.jsonl"
    path.parent.mkdir()
    log = opened(path, "first", signing_key=OTHER_KEY)
    await run_interleaved(SignedRun(log))
    await log.close()
    foreign, own = notes_of(path), notes_of(one_log)
    rewrite(one_log, [foreign[0], *own[1:]])
    error = verify([one_log], evidence=SIGNED).error
    assert error is not None
    assert "first" in error.runs


@pytest.fixture
async def two_runs(tmp_path):
    """One log with two signed runs, and the line of each checkpoint."""
    path = tmp_path / "log.jsonl"
    for run_id in ("first", "second"):
        log = opened(path, run_id, signing_key=KEY)
        await run_interleaved(SignedRun(log))
        await log.close()
    places = [
        number for number, line in enumerate(lines_of(path), 1) if b'"event":"checkpoint"' in line
    ]
    return path, places


async def test_error_about_a_checkpoint_names_its_line_its_run_and_what_is_wrong(two_runs):
    path, (first, second) = two_runs
    notes = notes_of(path)

    rewrite(path, [notes[1], notes[1]])
    assert verify([path]).error == VerificationError(
        LinePosition(path, first),
        Damage.CHANGED,
        "The checkpoint is not the one of the line before.",
        ("first",),
    )
    rewrite(path, [notes[0], "not a note"])
    assert verify([path]).error == VerificationError(
        LinePosition(path, second), Damage.CHANGED, "The line was changed.", ("second",)
    )


async def test_checkpoint_that_another_key_signed_is_unsigned_for_the_public_key_alone(two_runs):
    path, (first, _) = two_runs
    other = Evidence(public_keys=OTHER_KEYS)
    assert verify([path], evidence=other).error == VerificationError(
        LinePosition(path, first),
        Damage.UNSIGNED,
        "The checkpoint of run first is not signed with the public key.",
        ("first",),
    )
    several = Evidence(public_keys={**OTHER_KEYS, "third": THIRD_KEY.public_key()})
    message = verify([path], evidence=several).error.message
    assert message.endswith(" is not signed with one of the public keys.")
    without, signed = verify([path]), verify([path], evidence=SIGNED)
    assert (without.error, without.signed_runs) == (None, {"": ["first", "second"]})
    assert (signed.error, signed.signed_runs) == (None, {"ours": ["first", "second"]})


@pytest.mark.parametrize("place", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize(
    ("last_hash", "run_id", "more_lines"),
    [("ab" * 32, None, 0), (None, "other", 0), (None, None, -1), (None, None, 1)],
    ids=["hash", "run", "one line fewer", "one line more"],
)
async def test_checkpoint_of_another_line_run_or_length_is_found_without_a_key(
    two_runs, place, last_hash, run_id, more_lines
):
    path, places = two_runs
    notes = notes_of(path)
    noted = parse(notes[place])
    forged = noted._replace(
        last_hash=last_hash or noted.last_hash,
        run_id=run_id or noted.run_id,
        lines=noted.lines + more_lines,
    )
    notes[place] = sign(forged, OTHER_KEY)
    rewrite(path, notes)
    error = verify([path]).error
    assert (error.position.line, error.kind) == (places[place], Damage.CHANGED)


@pytest.mark.parametrize("note", [None, 5, ["a"], ""])
async def test_checkpoint_whose_note_is_not_text_is_found(two_runs, note):
    path, (first, _) = two_runs
    rewrite(path, [note, note])
    assert verify([path]).error == VerificationError(
        LinePosition(path, first), Damage.CHANGED, "The line was changed.", ("first",)
    )


@pytest.fixture
def rest(two_runs):
    """A file that begins with the checkpoint of the run in the file before, which is not here."""
    path, (first, _) = two_runs
    rest = path.with_name("rest.jsonl")
    rest.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[first - 1 :]))
    assert verify([rest]).error is None
    return rest


async def test_checkpoint_with_the_number_of_a_run_s_first_line_is_reported(rest):
    rest.write_bytes(rest.read_bytes().replace(b'"seq":7,', b'"seq":1,', 1))
    rewrite(rest, notes_of(rest))
    assert verify([rest]).error.position.line == 1


async def test_error_about_a_checkpoint_that_begins_a_file_names_its_run(rest):
    other = Evidence(public_keys=OTHER_KEYS)
    error = verify([rest], evidence=other, continuation=True).error
    assert (error.position.line, error.kind, error.runs) == (1, Damage.UNSIGNED, ("first",))
    rewrite(rest, notes_of(rest)[::-1])
    error = verify([rest]).error
    assert (error.position.line, error.kind, error.runs) == (1, Damage.CHANGED, ("first",))


async def test_copy_of_a_checkpoint_after_it_is_reported_as_inserted(two_runs):
    path, (first, second) = two_runs
    lines = path.read_bytes().splitlines(keepends=True)
    for at in (first, second):
        path.write_bytes(b"".join([*lines[:at], lines[at - 1], *lines[at:]]))
        error = verify([path]).error
        assert (error.position.line, error.kind) == (at + 1, Damage.INSERTED)
