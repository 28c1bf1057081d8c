"""Ends what takes too long, by one timer for all: each may take as long as any other.

A timer that is set for every request and taken back with its answer costs a fifteenth of it.
"""

import asyncio

_LOOKS = 20
_LOOK_EVERY_S = 1.0


class Watch:
    """One that is watched, from `Overdue.watch` to `Overdue.let_go`.

    Attributes:
        ends_s: When it has taken too long, on the loop's clock.
    """

    __slots__ = ("_before", "_task", "called_in", "ends_s")

    def __init__(self, task: "asyncio.Task[object]", ends_s: float) -> None:
        self._task = task
        self._before = task.cancelling()
        self.ends_s = ends_s
        self.called_in = False

    def call_in(self) -> None:
        """Cancel the task where it waits; what it is in the midst of ends."""
        self.called_in = True
        self._task.cancel()

    def was_it(self) -> bool:
        """Tell, in an `except CancelledError`, whether this cancelled the task and nobody else.

        Then the cancellation is over, and the task goes on.
        """
        return self.called_in and self._task.uncancel() <= self._before


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

    def watch(self) -> Watch:
        """Watch the task that this is called from."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - whoever awaits is in one
        loop = task.get_loop()
        one = Watch(task, loop.time() + self._after_s)
        self._open.add(one)
        if self._timer is None:
            self._timer = loop.call_later(self._every_s, self._look, loop)
        return one

    def let_go(self, one: Watch) -> None:
        """Watch it no longer."""
        self._open.discard(one)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for one in self._open:
            if one.ends_s <= now_s and not one.called_in:
                one.call_in()
        again = loop.call_later(self._every_s, self._look, loop) if self._open else None
        self._timer = again
