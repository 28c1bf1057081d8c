"""An event loop over real sockets that skips the time until its next timer."""

import asyncio
import selectors


class JumpingSelector(selectors.DefaultSelector):
    """A selector that polls its sockets and skips the time until the next timer.

    Work takes no time, so that a slow machine changes nothing.
    """

    now_s = 0.0
    poll_s = 0.005

    def select(self, timeout=None):
        ready = super().select(self.poll_s if timeout is None or timeout > 0 else 0)
        if not ready and timeout is not None:
            self.now_s += max(timeout, 0.0)
        return ready


def jumping_loop():
    selector = JumpingSelector()
    loop = asyncio.SelectorEventLoop(selector)
    loop.time = lambda: selector.now_s
    return loop


def run_skipping_idle_time(scenario):
    """Run a coroutine function; return its result and the seconds that passed."""
    with asyncio.Runner(loop_factory=jumping_loop) as runner:
        loop = runner.get_loop()
        start_s = loop.time()
        return runner.run(scenario()), loop.time() - start_s
