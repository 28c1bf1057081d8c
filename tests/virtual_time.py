"""An event loop that skips the time until its next timer, and a clock that advances in `sleep`."""

import asyncio
import selectors


class JumpingSelector(selectors.DefaultSelector):
    """A selector that polls its sockets and skips the time until the next timer.

    Work takes no time, so that a slow machine changes nothing.

    Args:
        poll_s: Time to wait for the sockets before a skip; 0 without sockets.
    """

    def __init__(self, poll_s=0.005):
        super().__init__()
        self.poll_s = poll_s
        self.now_s = 1000.0

    def select(self, timeout=None):
        if timeout is None and not self.poll_s:
            raise RuntimeError("deadlock: no task can continue")
        ready = super().select(self.poll_s if timeout is None or timeout > 0 else 0)
        if not ready and timeout is not None:
            self.now_s += max(timeout, 0.0)
        return ready


def run_skipping_idle_time(scenario, poll_s=0.005):
    """Run a coroutine function; return its result and the seconds that passed."""

    def jumping_loop():
        selector = JumpingSelector(poll_s)
        loop = asyncio.SelectorEventLoop(selector)
        loop.time = lambda: selector.now_s
        loop._clock_resolution = 1e-9
        return loop

    with asyncio.Runner(loop_factory=jumping_loop) as runner:
        loop = runner.get_loop()
        start_s = loop.time()
        return runner.run(scenario()), loop.time() - start_s


class FakeTime:
    """A monotonic clock that advances only in `sleep`; `slept` has the seconds of each."""

    def __init__(self):
        self.now_s = 1000.0
        self.slept = []

    def monotonic(self):
        return self.now_s

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)
