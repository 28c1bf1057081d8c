"""Ends what takes too long, by one timer for all: each may take as long as any other.

A timer that is set for every request and taken back with its answer costs a fifteenth of it.
"""

import asyncio

_LOOKS = 20
_LOOK_EVERY_S = 1.0


class Watch:
    """Watches one task at a time, from `Overdue.watch` to `Overdue.let_go`.

    Attributes:
        task: Whom; None where nobody is watched.
        ends_s: When it has taken too long, on the loop's clock.
    """

    __slots__ = ("_before", "called_in", "ends_s", "task")

    def __init__(self) -> None:
        self.task: asyncio.Task[object] | None = None
        self._before = 0
        self.ends_s = 0.0
        self.called_in = False

    def begin(self, task: "asyncio.Task[object]", ends_s: float) -> None:
        """Watch a task."""
        self.task = task
        self._before = task.cancelling()
        self.ends_s = ends_s
        self.called_in = False

    def call_in(self) -> None:
        """Cancel the task where it waits; what it is in the midst of ends."""
        if self.task is not None:
            self.called_in = True
            self.task.cancel()

    def was_it(self) -> bool:
        """Tell, in an `except CancelledError`, whether this cancelled the task and nobody else.

        Then the cancellation is over, and the task goes on.
        """
        task = self.task
        return self.called_in and task is not None and task.uncancel() <= self._before


class Overdue:
    """Watches tasks, and cancels each that goes on for too long.

    Args:
        after_s: How long that is; it is found out up to a second later, or a twentieth.
    """

    def __init__(self, after_s: float) -> None:
        self._after_s = after_s
        self._every_s = min(_LOOK_EVERY_S, after_s / _LOOKS)
        self._open: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, one: Watch) -> None:
        """Watch the task that this is called from, by a watch that is idle."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - whoever awaits is in one
        loop = task.get_loop()
        one.begin(task, loop.time() + self._after_s)
        self._open.add(one)
        if self._timer is None:
            self._timer = loop.call_later(self._every_s, self._look, loop)

    def let_go(self, one: Watch) -> None:
        """Watch it no longer."""
        one.task = None
        self._open.discard(one)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for one in self._open:
            if one.ends_s <= now_s and not one.called_in:
                one.call_in()
        again = loop.call_later(self._every_s, self._look, loop) if self._open else None
        self._timer = again
