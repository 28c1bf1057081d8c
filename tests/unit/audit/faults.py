"""Faults of the operating system: a process that is killed, and a disk that fails."""

import errno
import os
from collections.abc import Callable
from itertools import count

import pytest

STEPS = ("mkdir", "open", "write", "fsync", "ftruncate", "replace", "unlink")
"""The functions of `os` that change what is on disk."""


class Killed(BaseException):
    """The process ended here; no code of it runs afterwards."""


class BreakAt:
    """Lets one step that changes the disk fail, or a process end there.

    Args:
        kills: Nothing happens from the step on; without it, the steps after it work again.
        torn: A write at which the process ends is half done.

    Attributes:
        steps: The steps that were begun.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, step: int, *, kills: bool = False, torn: bool = False
    ) -> None:
        self.steps = 0
        self._step = step
        self._kills = kills
        self._torn = torn
        for name in STEPS:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, function: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **options: object) -> object:
            self.steps += 1
            if self.steps == self._step and self._torn and name == "write":
                function(args[0], bytes(args[1])[: len(args[1]) // 2])
            if self._kills and self.steps >= self._step:
                raise Killed
            if self.steps == self._step:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return function(*args, **options)

        return step


def fail(monkeypatch: pytest.MonkeyPatch, name: str, number: int, *, short: bool = False) -> None:
    """Let a function of `os` raise an error; `short` writes half in the first call."""
    function = getattr(os, name)
    calls = count()

    def failing(*args: object, **_options: object) -> object:
        if next(calls) == 0 and short:
            return function(args[0], bytes(args[1])[: len(args[1]) // 2])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, failing)
