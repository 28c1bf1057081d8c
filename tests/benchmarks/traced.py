"""Run one command in this process and write which functions of the package it enters.

`python traced.py RESULT ARGUMENT…` runs `invite-sweeper ARGUMENT…` under `sys.setprofile` and
`threading.setprofile`. The JSON object in the file RESULT has two lists of `[file, function]`:

- `command`: every function entered, from the import of the command line to its end.
- `delete`: those entered from the executor's first look at its queues to the end of the
  executor, when the outcome is in the audit log. With a plan of one deletion these are the
  functions of one DELETE. The coroutines that wait for the executor are not counted.

A function is a code object with optimized locals: `def`, `lambda`, comprehension or generator
expression. The bodies of modules and classes do not count, nor do methods that a library
generates, because those have no file in the package.
"""

import inspect
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType


class Trace:
    """Collect the functions that are entered below one folder.

    Attributes:
        command: All of them.
        delete: Those of the executor, from its first look at the queues.
    """

    def __init__(self, package: Path) -> None:
        self._prefix = f"{package}{os.sep}"
        self._first: CodeType | None = None
        self._waiting: set[FrameType] = set()
        self._in_executor = False
        self.command: set[CodeType] = set()
        self.delete: set[CodeType] = set()

    def start(self) -> None:
        """Trace this thread and those that start later."""
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)

    def stop(self) -> None:
        """Stop tracing this thread."""
        sys.setprofile(None)

    def follow(self, executor: type, queues: type) -> None:
        """Collect separately what runs from `queues.next` to the end of `executor.run`."""
        self._first = queues.next.__code__
        run = executor.run

        async def followed(*arguments: object) -> None:
            self._waiting = set(_callers())
            self._in_executor = True
            try:
                await run(*arguments)
            finally:
                self._in_executor = False

        executor.run = followed

    def names(self, codes: set[CodeType]) -> list[tuple[str, str]]:
        """Return file and qualified name of each function, sorted."""
        return sorted((c.co_filename.removeprefix(self._prefix), c.co_qualname) for c in codes)

    def _on_event(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "call" or not code.co_flags & inspect.CO_OPTIMIZED:
            return
        if not code.co_filename.startswith(self._prefix):
            return
        self.command.add(code)
        is_open = self._in_executor and (self.delete or code is self._first)
        if is_open and frame not in self._waiting:
            self.delete.add(code)


def _callers() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def main(result: Path, arguments: list[str]) -> None:
    """Trace the command and exit as it does."""
    import invite_sweeper

    trace = Trace(Path(invite_sweeper.__file__).parent)
    sys.argv[:] = ["invite-sweeper", *arguments]
    trace.start()
    from invite_sweeper.cli import main as run_command
    from invite_sweeper.sweep.executor import ProjectQueues, SweepExecutor

    trace.follow(SweepExecutor, ProjectQueues)
    try:
        run_command()
    finally:
        trace.stop()
        entered = {
            "command": trace.names(trace.command),
            "delete": trace.names(trace.delete),
        }
        result.write_text(json.dumps(entered), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
