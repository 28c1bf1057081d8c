"""Run one command and write which functions of the package it enters: `traced.py RESULT ARGUMENT…`.

RESULT gets a JSON object of lists of `[file, function]`: `command` has every function entered,
`delete` those from the first look at the queues to the end of the executor, when the outcome is in
the audit log. A function is a `def`, a `lambda`, a comprehension or a generator expression. It is
entered where it begins: a coroutine that is woken up, as that of the command is when the executor
ends, is not entered again.
"""

import dis
import inspect
import json
import sys
from pathlib import Path
from types import FrameType

import invite_sweeper

PACKAGE = f"{Path(invite_sweeper.__file__).parent}/"
FIRST, AFTER = "ProjectQueues.take", "Executor.swept"
"""Where the part of the deletions begins, and what the sweep enters after it."""
RESUME = dis.opmap["RESUME"]
entered: dict[str, set[tuple[str, str]]] = {"command": set(), "delete": set()}
parts = ["command"]


def note(frame: FrameType, event: str, _argument: object) -> None:
    code = frame.f_code
    if event != "call" or not code.co_flags & inspect.CO_OPTIMIZED:
        return
    if not code.co_filename.startswith(PACKAGE):
        return
    opcode, where = code.co_code[frame.f_lasti : frame.f_lasti + 2]
    if opcode == RESUME and where & 3:  # after a `yield` or an `await`
        return
    if code.co_qualname == FIRST:
        parts[1:] = ["delete"]
    elif code.co_qualname == AFTER:
        parts[1:] = []
    for part in parts:
        entered[part].add((code.co_filename.removeprefix(PACKAGE), code.co_qualname))


if __name__ == "__main__":
    result, *arguments = sys.argv[1:]
    sys.argv[:] = ["invite-sweeper", *arguments]
    sys.setprofile(note)
    from invite_sweeper.cli import main

    try:
        main()
    finally:
        sys.setprofile(None)
        found = {part: sorted(names) for part, names in entered.items()}
        Path(result).write_text(json.dumps(found), "utf-8")
