"""`demo`: a dry run and two sweeps of all four lists, without an account."""

import json
import os
import re
import shlex
from pathlib import Path

from forked import Fork
from running import end

from invite_sweeper.cli.demo import INVITED_IN_WEB

REPOSITORY = Path(__file__).parents[2]


def test_demo_finds_and_deletes_who_was_invited_in_the_web_interface_and_then_nothing(tmp_path):
    done = end(Fork(["demo"], tmp_path, dict(os.environ)))
    out = done.out
    assert done.code == 0, done.err
    assert out.startswith("This Atlas is simulated")
    steps = re.split(r"─+ \d  .* ─+\n", out)
    assert len(steps) == 4
    assert [INVITED_IN_WEB in step for step in steps] == [True, True, True, False]
    assert "nothing stale" in steps[3]
    (policy,) = set(re.findall(r"(\S+/policy\.yaml)", out))
    files = sorted((Path(policy).parent / "audit").glob("*.jsonl"))
    assert len(files) == 3
    lines = [json.loads(line) for file in files for line in file.read_text("utf-8").splitlines()]
    outcomes = {
        (line["source"], line["outcome"])
        for line in lines
        if line["event"] == "outcome" and line["username"] == INVITED_IN_WEB
    }
    assert outcomes == {("org_users", "deleted")}
    hints = [shlex.split(line)[1:] for line in steps[3].partition("To try next")[2].splitlines()]
    *offline, init = filter(None, hints)
    assert [end(Fork(words, tmp_path, dict(os.environ))).code for words in offline] == [0, 0, 0]
    assert init[0] == "init"
    assert not (REPOSITORY / init[1]).exists()  # a clone has config/policy.yaml, its default
    swept = {line["source"] for line in lines if line.get("outcome") == "deleted"}
    assert swept >= {"invites", "org_users"}
