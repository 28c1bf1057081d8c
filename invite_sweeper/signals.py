"""The signals that end a program.

Imports no event loop: `--version` handles signals, too.
"""

import signal
from collections.abc import Callable
from types import FrameType


def install_handlers(handle: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Handle the signals that end a program; a SIGHUP that is ignored, as under nohup, stays so."""
    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGTERM, handle)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handle)
