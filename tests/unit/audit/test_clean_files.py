"""Logs that were not manipulated are accepted, whatever was rotated, compressed or killed."""

import os
from random import Random

import pytest
from audit.rotated_logs import rotate, write_finished_run
from builders import NOW

from invite_sweeper.audit import LogPath
from invite_sweeper.audit.verify import verify

FULL = os.environ.get("INVITE_SWEEPER_SOAK") == "full"
CASES = 1000 if FULL else 40


NAMES = [
    ["log.jsonl"],
    ["log.jsonl"],
    ["{date}.jsonl"],
    ["{run_id}.jsonl"],
    ["shard-0.jsonl", "shard-1.jsonl", "shard-2.jsonl"],
]


class WrittenLog:
    """One log that is written, rotated and killed at random."""

    def __init__(self, folder, name, random) -> None:
        self.template = LogPath(str(folder / name))
        self.random = random
        self.plain = "{" not in name
        self.last_hash = ""
        self.runs = 0
        self.killed = []
        self.moved = 0

    @property
    def paths(self):
        return self.template.files()

    async def run(self, *, may_be_killed: bool) -> None:
        self.runs += 1
        run_id = f"{self.template.name.replace('.', '_')}-{self.runs}"
        path = self.template.path_of_run(now=NOW, run_id=run_id)
        kill = self.random.randrange(2) if may_be_killed and self.random.random() < 0.3 else None
        deletions = self.random.choice([0, 1, 2, 3]) if kill is None else 3
        self.last_hash = await write_finished_run(
            path,
            run_id,
            deletions=deletions,
            recovers=self.killed,
            log_path=self.template,
            killed_after=kill,
        )
        self.killed = []
        if kill is not None:
            self.killed = [(run_id, kill)]
            if self.random.random() < 0.5:
                with path.open("ab") as file:
                    file.write(b'{"ts":"2026-11-2')

    def maybe_rotate(self) -> None:
        path = self.template.path_of_run(now=NOW, run_id="x")
        if self.plain and path.exists() and self.random.random() < 0.4:
            rotate(path, compress=self.random.random() < 0.5)
            if self.random.random() < 0.3:
                path.touch(mode=0o600)  # as logrotate's `create`

    def maybe_move_away(self, archive) -> None:
        """Move all files but an unfinished one to another place, as an archive does."""
        if self.random.random() < 0.1 and not self.killed:
            archive.mkdir(exist_ok=True)
            for path in self.paths:
                self.moved += 1
                path.rename(archive / f"{self.moved}-{path.name}")


@pytest.mark.slow
async def test_no_clean_log_is_accused(tmp_path):
    random = Random(20261126)
    for case in range(CASES):
        folder, archive = tmp_path / f"{case}", tmp_path / f"{case}-archive"
        folder.mkdir()
        names = random.choice(NAMES)
        logs = [WrittenLog(folder, name, random) for name in names]
        for _ in range(random.randrange(1, 7)):
            for log in logs:
                await log.run(may_be_killed=True)
                log.maybe_rotate()
                log.maybe_move_away(archive)
        for log in logs:
            await log.run(may_be_killed=False)
        here = [path for log in logs for path in log.paths]
        everything = here + (list(archive.iterdir()) if archive.exists() else [])
        random.shuffle(here)
        random.shuffle(everything)
        for head in (None, logs[0].last_hash):
            result = verify(everything, expect_head=head)
            assert result.error is None, (case, names, result.error)
        result = verify(here)
        assert result.error is None, (case, names, result.error)
        expected = "begins after a file that is not here" if logs[0].moved else "begins with"
        assert any(each.beginning.startswith(expected) for each in result.logs)
