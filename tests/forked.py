"""Runs the program in a process forked from one that has imported it: most of a run is imports.

The file is also the program of that other process, the server. A fork executes
`python -m invite_sweeper` as a new process does, up to the last flush of its streams. What takes
effect while Python starts or imports modules, such as `PYTHONUTF8` or `TZ`, is the server's.
"""

import atexit
import fcntl
import functools
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from multiprocessing import connection
from pathlib import Path

from environment import clean, on_real_clock
from tenacity import wait_random

_ENVIRONMENT = clean(os.environ)
_READ_AT_RUN_TIME = (
    *("COLUMNS", "INVITE_SWEEPER_", "JOB_COMPLETION_INDEX", "MONGODB_ATLAS_", "NO_COLOR", "TERM"),
    *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "https_proxy", "no_proxy"),
    *("CHAT_URL", "HOOK", "KEY", "LOCAL_URL", "PING_URL", "SLACK_URL"),  # in policies of tests
    *("TEAMS_URL", "WEBHOOK_"),
    "PYTEST_CURRENT_TEST",
)
"""How the names of variables begin that take effect in a fork."""
SHORT_WAITS = {
    "atlas.client._UNREACHABLE": wait_random(0, 0.05),
    "atlas.client._BACKOFF": wait_random(0, 0.05),
    "atlas.limits.MIN_RETRY_AFTER_S": 0.04,
    "atlas.limits.BACKOFF_STEPS_S": (0.4, 0.8, 1.6),
    "cli.streams.PATIENCE_S": 0.4,
}
"""Constants of the program and their values in a fork: retries keep their number."""
_EXIT_CODES: list[int] = []
"""Of the program, in a fork that it has ended by `sys.exit`."""
_STARTING = threading.Lock()
_MAX_REQUEST_BYTES = 150_000


class Fork:
    """A process of the program, with the methods of a `subprocess.Popen`.

    Args:
        stdin: The descriptor of a terminal, which becomes the controlling one; None for no input.
        stdout: A descriptor; None for a file that `communicate` returns. So is `stderr`.
        prepare: A file of Python to execute in the process before the program.
        server: From `server_on_real_clock`; None for that of this process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: dict[str, str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        prepare: Path | None = None,
        server: socket.socket | None = None,
    ) -> None:
        self.returncode: int | None = None
        self._texts: list[bytes] = []
        before = None if prepare is None else str(prepare)
        request = json.dumps(
            [arguments, str(folder), environment, before, stdin is not None]
        ).encode()
        with ExitStack() as stack:
            out = stack.enter_context(tempfile.TemporaryFile())
            err = stack.enter_context(tempfile.TemporaryFile())
            self._outputs = out, err
            null = stack.enter_context(Path(os.devnull).open("rb"))
            streams = [
                file.fileno() if given is None else given
                for given, file in ((stdin, null), (stdout, out), (stderr, err))
            ]
            self._status, status = map(stack.enter_context, socket.socketpair())
            with status:
                with _STARTING:
                    chosen = server or _server()
                socket.send_fds(chosen, [request], [*streams, status.fileno()])
            self._numbers = stack.enter_context(self._status.makefile("r", encoding="ascii"))
            self.pid = int(self._numbers.readline())
            self._open = stack.pop_all()

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not connection.wait([self._status], timeout):
                raise subprocess.TimeoutExpired("invite-sweeper", timeout)
            with self._open:
                self.returncode = int(self._numbers.readline())
                for file in self._outputs:
                    file.seek(0)
                    self._texts.append(file.read())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        self.wait(timeout)
        out, err = self._texts
        return out, err

    def send_signal(self, number: int) -> None:
        """Send a signal to the process if it runs."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def is_possible(environment: Mapping[str, str]) -> bool:
    """Return whether a fork with this environment is like a new process."""
    differing = environment.items() ^ _ENVIRONMENT.items()
    return all(name.startswith(_READ_AT_RUN_TIME) for name, _ in differing)


@functools.cache
def _server() -> socket.socket:
    return _start_server(_ENVIRONMENT)


@functools.cache
def server_on_real_clock() -> socket.socket | None:
    """Return a server without `faketime`; None where that of this process has none."""
    real = on_real_clock(_ENVIRONMENT)
    return None if real == _ENVIRONMENT else _start_server(real)


def _start_server(environment: Mapping[str, str]) -> socket.socket:
    """Start a server with an environment; return the channel for requests.

    It ends with this process.
    """
    channel, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with end:
        command = [sys.executable, __file__, str(end.fileno())]
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[end.fileno()],
        )

    def stop() -> None:
        channel.close()
        process.wait()

    atexit.register(stop)
    return channel


# In the server ---------------------------------------------------------------------------------


def _serve(channel: socket.socket) -> tuple[bytes, list[int]]:
    """Fork for each request, and return it in the fork; the server exits with its client."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    selector = selectors.DefaultSelector()
    selector.register(channel, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.data is not None:  # a fork has ended
                pid, status_fd = key.data
                selector.unregister(key.fd)
                os.close(key.fd)
                _, status = os.waitpid(pid, 0)
                os.write(status_fd, b"%d\n" % os.waitstatus_to_exitcode(status))
                os.close(status_fd)
                continue
            request, fds, _, _ = socket.recv_fds(channel, _MAX_REQUEST_BYTES, 4)
            if not request:
                os._exit(0)
            *streams, status_fd = fds
            pid = os.fork()
            if pid == 0:
                forks = [key for key in selector.get_map().values() if key.data is not None]
                _close(status_fd, *(fd for key in forks for fd in (key.fd, key.data[1])))
                selector.close()
                channel.close()
                return request, streams
            os.write(status_fd, b"%d\n" % pid)
            selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status_fd))
            _close(*streams)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def _run(request: bytes, streams: list[int]) -> None:
    """Become the program, which has no open files but the standard streams.

    Each descriptor of the server was closed by its owner, or the garbage collector would close it
    later, and with it a file of the program.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    arguments, folder, environment, prepare, on_terminal = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    if on_terminal:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for name, wait in SHORT_WAITS.items():
        module, _, constant = name.rpartition(".")
        found = importlib.import_module(f"invite_sweeper.{module}")
        assert hasattr(found, constant), name
        setattr(found, constant, wait)
    if prepare is not None:
        runpy.run_path(prepare, run_name="__main__")
    sys.path[0] = folder
    sys.argv = ["invite_sweeper", *arguments]
    try:
        runpy.run_module("invite_sweeper", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        _EXIT_CODES.append(int(end.code or 0))
        raise


def _leave() -> None:
    """End after all that Python does at exit but to free each object, which takes longest."""
    with suppress(OSError):  # which Python then reports, with an exit code of its own
        sys.stdout.flush()
        sys.stderr.flush()
        for code in _EXIT_CODES:  # none after an exception
            os._exit(code)


if __name__ == "__main__":
    atexit.register(_leave)  # the first one is called last
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # as `main` does before it imports
    _main = importlib.import_module("invite_sweeper.cli.main")
    for _command in _main.COMMANDS:
        _main.app.get_command(None, _command)
    gc.freeze()
    _run(*_serve(socket.socket(fileno=int(sys.argv[1]))))
