"""`demo`: a dry run and two sweeps of all four lists, without an account."""

import os
import re
import shlex
from pathlib import Path

from forked import Fork
from running import end

from invite_sweeper.cli.demo import INVITED_IN_WEB

REPOSITORY = Path(__file__).parents[2]


def test_demo_deletes_who_was_invited_in_the_web_interface_then_nothing_and_leaves_no_file(
    tmp_path,
):
    done = end(Fork(["demo"], tmp_path, {**os.environ, "TMPDIR": str(tmp_path)}))
    out = done.out
    assert done.code == 0, done.err
    assert out.startswith("This Atlas is simulated")
    steps = re.split(r"─+ \d  .* ─+\n", out)
    assert len(steps) == 4
    assert [INVITED_IN_WEB in step for step in steps] == [True, True, True, False]
    (row,) = [line for line in steps[2].splitlines() if INVITED_IN_WEB in line]
    cells = re.split(" {2,}", row.strip())
    assert cells[2] == "Example Industries"
    assert cells[-3:] == ["forgotten", "deleted", "org_users, users"]
    assert "nothing stale" in steps[3]
    assert list(tmp_path.iterdir()) == []

    hints = re.findall(r"^  (\S.*)", out.partition("To try next")[2], flags=re.MULTILINE)
    (simulate, *_), (init, policy) = (shlex.split(each)[1:] for each in hints)
    assert (simulate, init) == ("simulate", "init")
    assert not (REPOSITORY / policy).exists()  # a clone has config/policy.yaml, its default
