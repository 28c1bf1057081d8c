"""The collector is on, and looks through no part of the program while it is put together."""

import subprocess
import sys

import pytest

_LOOKS = """
import gc, sys
from invite_sweeper.cli import main
looks = []
gc.callbacks.append(lambda phase, info: looks.append(phase))
try:
    main()
except SystemExit:
    print(len(looks), gc.isenabled(), gc.get_freeze_count() > 10_000, file=sys.stderr)
"""
_IN_A_RUN = """
import gc
from invite_sweeper.cli.loop import event_loop

async def work():
    print(gc.isenabled(), gc.get_threshold()[0], gc.get_freeze_count() > 10_000)
    return 0

gc.set_threshold(200_000)
event_loop(work())
"""


_TURNS = """
import sys
from invite_sweeper.cli.loop import event_loop

async def work():
    print(f"{sys.getswitchinterval():.4f}")
    return 0

event_loop(work())
"""


def told(script: str, *arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        timeout=60,
        check=True,
        text=True,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [("--version",), ("sweep", "--help"), ("schema",), ("sweep", "--policy", "there-is-none")],
    ids=" ".join,
)
def test_no_look_falls_into_the_start_and_what_is_left_at_the_end_is_let_be(words):
    _, err = told(_LOOKS, *words)
    assert err.splitlines()[-1] == "0 True True"


def test_run_looks_at_its_own_objects_alone_and_after_every_10000():
    assert told(_IN_A_RUN) == ("True 10000 True\n", "")


def test_run_lets_threads_take_turns_every_half_millisecond():
    assert told(_TURNS) == ("0.0005\n", "")
