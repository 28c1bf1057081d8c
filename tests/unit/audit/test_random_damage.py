"""Random damage to a long log: each case must be found and named."""

import os
from random import Random

import pytest
from audit.damages import DAMAGES
from audit.written_logs import answer, fields_of, write_events, write_run
from builders import invitation

from invite_sweeper.audit.verify import verify
from invite_sweeper.models import Source

FULL = os.environ.get("INVITE_SWEEPER_SOAK") == "full"
CASES = 1000 if FULL else 160
CLEAN = 1000 if FULL else 60


@pytest.fixture(scope="module")
def clean_lines(tmp_path_factory) -> list[bytes]:
    """Return 10,000 lines: a dry run, sweeps, a killed run and the run that recovered it."""
    path = tmp_path_factory.mktemp("clean") / "log.jsonl"
    write_run(path, "run-dry", numbers=range(1, 3001), mode="dry-run")
    write_run(path, "run-two", numbers=range(1, 1001))
    killed = fields_of(invitation(7, source=Source.INVITES))
    write_events(path, "run-killed", [("run_started", {"mode": "sweep"}), ("intent", killed)])
    recovered = killed | answer() | {"recovered": True, "recovers": "run-killed"}
    write_events(
        path,
        "run-after",
        [
            ("run_started", {"mode": "sweep"}),
            ("outcome", recovered),
            ("run_finished", {"exit_code": 0}),
        ],
    )
    write_run(path, "run-big", numbers=range(1, 1330))
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == pytest.approx(10_000, abs=50)
    assert verify([path]).error is None
    return lines


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
def test_any_damage_to_a_log_of_10000_lines_is_reported(damage, clean_lines, tmp_path):
    random = Random(damage.__name__)
    path = tmp_path / "log.jsonl"
    clean = b"".join(clean_lines)
    for case in range(CASES // len(DAMAGES)):
        data, kinds = damage(clean_lines, random)
        if data == clean:
            continue
        path.write_bytes(data)
        result = verify([path])
        assert result.exit_code == 3, (damage.__name__, case)
        assert result.error.kind in kinds, (case, result.error)


def test_undamaged_logs_of_any_runs_are_valid(tmp_path):
    random = Random(20261125)
    for case in range(CLEAN):
        path = tmp_path / f"{case}.jsonl"
        for run in range(random.randrange(1, 5)):
            start = random.randrange(1000)
            numbers = range(start, start + random.choice([0, 1, 2, 40]))
            write_run(path, f"run-{run}", numbers=numbers, mode=random.choice(["sweep", "dry-run"]))
        result = verify([path])
        assert result.error is None, (case, result.error)
        assert result.warnings == ()
        path.unlink()
