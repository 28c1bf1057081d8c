"""Run one command and write which functions of the package it enters: `traced.py RESULT ARGUMENT…`.

RESULT gets a JSON object of lists of `[file, function]`: `command` has every function entered,
`delete` those from the first look at the queues to the end of the executor, when the outcome is in
the audit log. A function is a `def`, a `lambda`, a comprehension or a generator expression. It is
entered where it begins: a coroutine that is woken up, as that of the command is when the executor
ends, is not entered again.

`stack` has the functions that wait for the executor when it begins its first DELETE, from `main`
on, and `holders` the classes whose objects lead, attribute by attribute, from the arguments of
these functions to the text `REASON` of the command line.
"""

import dis
import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType

import invite_sweeper

PACKAGE = f"{Path(invite_sweeper.__file__).parent}/"
FIRST, AFTER = "ProjectQueues.take", "Executor.swept"
"""Where the part of the deletions begins, and what the sweep enters after it."""
EXECUTOR, REASON = "Executor.run", "carried from argv"
RESUME = dis.opmap["RESUME"]
entered: dict[str, set[CodeType]] = {"command": set(), "delete": set()}
parts = ["command"]
stack: list[tuple[str, str]] = []
holders: list[str] = []


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
    elif code.co_qualname == EXECUTOR and not stack:
        known: dict[int, bool] = {}
        for waiting in own_frames(frame.f_back):
            function = waiting.f_code
            stack.insert(0, name_of(function))
            for name in function.co_varnames[: function.co_argcount + function.co_kwonlyargcount]:
                leads_to_reason(waiting.f_locals[name], known, holders)
    for part in parts:
        entered[part].add(code)


def own_frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of the package on the stack, the innermost first."""
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            yield frame
        frame = frame.f_back


def leads_to_reason(value: object, known: dict[int, bool], holders: list[str]) -> bool:
    """Return whether an object is or leads to `REASON`; list each class of the package that does.

    Args:
        known: The answers so far, by the id of the object.
    """
    kind = type(value)
    is_own = kind.__module__.startswith(invite_sweeper.__name__)
    if isinstance(value, str):
        return value == REASON
    if not is_own and not isinstance(value, list | tuple):
        return False
    if id(value) not in known:
        known[id(value)] = False  # of a circle
        names = [*getattr(value, "__dict__", ()), *getattr(kind, "__slots__", ())]
        names += getattr(kind, "__struct_fields__", ())
        parts = [getattr(value, name, None) for name in names]
        parts += value if isinstance(value, list | tuple) else ()
        leads = [leads_to_reason(part, known, holders) for part in parts]
        known[id(value)] = any(leads)
        if known[id(value)] and is_own and kind.__name__ not in holders:
            holders.append(kind.__name__)
    return known[id(value)]


def name_of(code: CodeType) -> tuple[str, str]:
    return code.co_filename.removeprefix(PACKAGE), code.co_qualname


if __name__ == "__main__":
    result, *arguments = sys.argv[1:]
    sys.argv[:] = ["invite-sweeper", *arguments]
    sys.setprofile(note)
    from invite_sweeper.cli import main

    try:
        main()
    finally:
        sys.setprofile(None)
        found = {part: sorted(map(name_of, codes)) for part, codes in entered.items()}
        Path(result).write_text(json.dumps({**found, "stack": stack, "holders": holders}), "utf-8")
