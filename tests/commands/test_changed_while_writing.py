"""Another program changes the audit directory while a sweep deletes: 7, and no DELETE after it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import faults
import pytest


def cut_last_line(path):
    lines = path.read_bytes().splitlines(keepends=True)
    with path.open("r+b") as file:
        file.truncate(sum(map(len, lines[:-1])))


def replace_by_copy(path):
    copied = shutil.copy(path, path.with_name("copy"))
    copied.rename(path)


def replace_lock(path):
    path.with_name("new").touch()
    path.with_name("new").rename(path.with_name("lock"))


class Change(NamedTuple):
    """What another program does, the error of the run, and the exit code of the next night."""

    make: Callable[[Path], None]
    message: str
    night_after: int


CHANGES = [
    Change(cut_last_line, "was shortened by another program", night_after=3),
    Change(replace_by_copy, "was moved or deleted", night_after=0),  # the copy is whole
    Change(replace_lock, "was removed or replaced during the run", night_after=0),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.make.__name__)
def test_no_delete_follows_a_change_of_the_directory_in_mid_run_nor_a_night_upon_it(cli, change):
    canary = 3
    cli.stock(stale=30)
    cli.keys["limits"] = {"canary": canary, "max_deletions": 50, "max_deletions_per_project": 50}
    cli.keys["limits"]["max_share"] = 1.0
    effect = faults.effect(before=lambda _request: change.make(cli.log_path))
    cli.sim.faults.add(effect, method="DELETE")
    done = cli.sweep()
    assert (done.code, done.summary["exit_code"]) == (7, 7), done.err
    assert change.message in done.summary["error"]["message"]
    assert cli.deletes() == canary
    assert done.summary["deleted"] == canary == len(cli.sim.deleted)
    night = cli.sweep()
    assert night.code == change.night_after, night.err
    assert cli.deletes() == (canary if night.code else 30)
