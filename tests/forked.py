"""Runs the program in a process forked from one that has imported it, as imports take long."""

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

from running import CliRunner, Done

from invite_sweeper.atlas import retry
from invite_sweeper.cli import main

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    ["__main__", *(f"invite_sweeper.cli.{each}" for each in ("sweep", "plan", "restore", "audit"))]
)


def run_program(
    folder: Path,
    arguments: list[str],
    environment: dict[str, str],
    prepare: Callable[[], None] | None,
) -> None:
    """Run the program in this process, with its output in the files `out` and `err`.

    It retries as often as the program does, but waits 25 times shorter in between.
    """
    retry.BACKOFF_BASE_S = 0.02
    retry._RATE_LIMITED_STEPS_S = (0.04, 0.4, 0.8, 1.6)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, path in ((0, os.devnull), (1, "out"), (2, "err")):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.argv = ["invite-sweeper", *arguments]
    if prepare is not None:
        prepare()
    main()


def start_forked(
    cli: CliRunner,
    *arguments: str,
    prepare: Callable[[], None] | None = None,
    **changes: str | None,
) -> BaseProcess:
    """Start the program like `cli.start`, in a fork that calls `prepare` first."""
    cli.write_policy()
    environment = {k: v for k, v in {**cli.environment, **changes}.items() if v is not None}
    process = PROCESSES.Process(
        target=run_program, args=(cli.folder, list(arguments), environment, prepare)
    )
    process.start()
    return process


def run_forked(
    cli: CliRunner,
    *arguments: str,
    prepare: Callable[[], None] | None = None,
    **changes: str | None,
) -> Done:
    """Run the program like `cli.run`, in a fork that calls `prepare` first."""
    process = start_forked(cli, *arguments, prepare=prepare, **changes)
    process.join(timeout=60)
    assert process.exitcode is not None, "the program did not end"
    out, err = ((cli.folder / name).read_text("utf-8") for name in ("out", "err"))
    return Done(process.exitcode, out, err)
