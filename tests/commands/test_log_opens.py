"""How often one sweep opens the files of its audit log."""

import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest
from builders import object_id
from running import cli_in

OLD = timedelta(days=20)
COUNT_OPENS = """
import sys
from pathlib import Path

opened = open(sys.argv.pop(1), "a")
last = None

def hook(event, arguments):
    global last
    if event != "open":
        return
    path, mode, _flags = arguments
    if "invite-sweeper.jsonl" in str(path) and (mode is not None or last != str(path)):
        print(Path(path).name, file=opened, flush=True)
    last = str(path) if mode is not None else None  # an `opener` opens the same file

sys.addaudithook(hook)
from invite_sweeper.cli import main

main()
"""


@pytest.mark.parametrize("rotated", [False, True])
def test_sweep_opens_each_file_of_its_log_at_most_three_times(tmp_path, rotated):
    with cli_in(tmp_path) as cli:
        cli.keys["rules"] = [{"name": "forgotten", "older_than": "14d"}]
        cli.sim.add_project("Sandbox", project_id=object_id(0xA))
        for night in range(3):
            cli.sim.invite(object_id(0xA), f"user-{night}@example.com", age=OLD)
            assert cli.sweep().code == 0
            if rotated and night == 1:
                cli.log_path.rename(cli.log_path.with_name(f"{cli.log_path.name}.1"))
        cli.sim.invite(object_id(0xA), "new@example.com", age=OLD)
        arguments = ["opens.txt", "sweep", "--policy", "policy.yaml", "--yes"]
        subprocess.run(
            [sys.executable, "-c", COUNT_OPENS, *arguments],
            cwd=cli.folder,
            env=cli.environment,
            check=True,
            capture_output=True,
        )
        log = cli.log_path.name
        opens = Counter((cli.folder / "opens.txt").read_text(encoding="utf-8").split())
        assert len(cli.lines("intent")) == (2 if rotated else 4)
        assert opens[log] <= 3 + rotated, opens  # the ends of several files show their order
        assert opens[f"{log}.1"] <= 3, opens
