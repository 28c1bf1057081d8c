"""Whatever hangs, a run ends soon after its deadline, and after a signal.

The program allows itself the deadline, `grace` and 5 s. A test allows a minute, so that a slow
machine fails none; what hangs here would keep a run for longer, most of it for ever. The cases of
each test run at the same time: a run that waits needs no processor.
"""

import fcntl
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import faults
import pytest
from forked import Fork
from running import COMMAND, cli_in, wait_until

pytestmark = pytest.mark.slow

LIMIT_S = 60


@dataclass
class Case:
    """One run with a fault.

    Attributes:
        cli: With the fault.
        prefix: Words before the command.
        streams: Descriptors of stdout and stderr by their name.
    """

    cli: object
    stack: ExitStack
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)
    streams: dict[str, int] = field(default_factory=dict)

    def start(self):
        self.cli.write_policy()
        arguments = ["sweep", "--policy", "policy.yaml", "--yes", *self.arguments]
        environment = {**self.cli.environment, **self.environment}
        if not self.prefix:
            return Fork(arguments, self.cli.folder, environment, **self.streams)
        null = subprocess.DEVNULL
        return subprocess.Popen(
            [*self.prefix, *COMMAND, *arguments],
            cwd=self.cli.folder,
            env=environment,
            stdin=null,
            stdout=null,
            stderr=null,
        )


# --- faults ------------------------------------------------------------------------------------

ATLAS = {
    "hang, projects": (faults.hang(), {"path": "*/groups"}),
    "hang, DELETE": (faults.hang(), {"method": "DELETE"}),
    "hang, token": (faults.hang(), {"path": "*/oauth/*"}),
    "drip, lists": (faults.drip(2.0), {"path": "*/invites"}),
    "drip, token": (faults.drip(2.0), {"path": "*/oauth/*"}),
    "reset, DELETE": (faults.reset(), {"method": "DELETE"}),
    "429 for ever, projects": (
        faults.fail_with(429, "RATE_LIMITED", retry_after="3600"),
        {"path": "*/groups"},
    ),
    "503 for ever, lists": (faults.fail_with(503, retry_after="3600"), {"path": "*/invites"}),
    "slow, DELETE": (faults.delay(3600.0), {"method": "DELETE"}),
}


def atlas(fault, requests):
    def prepare(case):
        case.cli.sim.faults.add(fault, **requests, times=None)

    return prepare


def full_pipe(case):
    """Return the writing end of a pipe that has no room and a reader that does not read."""
    reading, writing = os.pipe()
    case.stack.callback(os.close, reading)
    case.stack.callback(os.close, writing)
    fill(writing)
    return writing


def fill(writing):
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)


def unread(*names, copy=False, arguments=()):
    def prepare(case):
        case.streams = {name: full_pipe(case) for name in names}
        case.arguments += arguments
        if copy:
            case.cli.keys["audit"] = {"stdout": True}

    return prepare


def slow_reader(case):
    """Let the reader of the copy make room for one write now and then."""
    reading, writing = os.pipe()
    stopped = threading.Event()
    case.stack.callback(os.close, writing)
    case.stack.callback(stopped.set)
    case.streams = {"stdout": writing}
    case.cli.keys["audit"] = {"stdout": True}
    fill(writing)

    def read():
        while not stopped.wait(1.0):
            os.read(reading, 4096)
        os.close(reading)

    threading.Thread(target=read, daemon=True).start()


def _hang(connection, stopped):
    stopped.wait()


def _drip(connection, stopped):
    """Send the head of a response byte by byte: each read succeeds."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 100_000:
        if stopped.wait(1.0):
            return
        connection.send(bytes((byte,)))


def receiver(case, behave):
    """Listen on a free port and treat each connection in a thread; return the port."""
    server = socket.create_server(("127.0.0.1", 0))
    stopped = threading.Event()

    def treat(connection):
        with connection:
            try:
                behave(connection, stopped)
            except OSError:
                return

    def accept():
        while not stopped.is_set():
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=treat, args=(connection,), daemon=True).start()

    def close():
        stopped.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()

    case.stack.callback(close)
    threading.Thread(target=accept, daemon=True).start()
    return server.getsockname()[1]


def no_connection(case):
    """Listen with a full backlog, so that connecting takes for ever; return the port."""
    server = socket.create_server(("127.0.0.1", 0), backlog=0)
    case.stack.callback(server.close)
    for _ in range(4):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(server.getsockname())
        case.stack.callback(client.close)
    return server.getsockname()[1]


PORTS = {
    "hangs": lambda case: receiver(case, _hang),
    "drips": lambda case: receiver(case, _drip),
    "does not connect": no_connection,
}


def gateway(way):
    def prepare(case):
        case.arguments += ["--pushgateway", f"http://127.0.0.1:{PORTS[way](case)}"]

    return prepare


def channels(case, url):
    """Notify every kind of channel at one address."""
    case.cli.keys["notify"] = [
        {"kind": "ping", "url_env": "TELL"},
        {"kind": "slack", "url_env": "TELL"},
        {"kind": "webhook", "url_env": "TELL", "secret_env": "TELL"},
    ]
    case.environment["TELL"] = url


def notifications(way):
    def prepare(case):
        channels(case, f"http://127.0.0.1:{PORTS[way](case)}/x")

    return prepare


def silent_name_server(who):
    def prepare(case):
        """Run with a resolver that asks a name server which never answers."""
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.66.66.66", 53))
        case.stack.callback(server.close)
        config = case.cli.folder / "resolv.conf"
        config.write_text(
            "nameserver 127.66.66.66\noptions timeout:30 attempts:5\n", encoding="utf-8"
        )
        bind = f'mount --bind {config} /etc/resolv.conf && exec "$@"'
        case.prefix = ["unshare", "--mount", "sh", "-c", bind, "sh"]
        if who == "Atlas":
            case.cli.base_url = "https://atlas.example.com"
        elif who == "gateway":
            case.arguments += ["--pushgateway", "http://gateway.example.com:9091"]
        else:
            channels(case, "https://hooks.example.com/x")

    return prepare


CASES: dict[str, Callable[[Case], None]] = {
    **{f"Atlas: {name}": atlas(*fault) for name, fault in ATLAS.items()},
    "stdout unread": unread("stdout"),
    "stderr unread": unread("stderr", arguments=("-v",)),
    "copy of the log unread": unread("stdout", copy=True),
    "copy and stderr unread": unread("stdout", "stderr", copy=True),
    "copy of the log read slowly": slow_reader,
    **{f"gateway {way}": gateway(way) for way in PORTS},
    **{f"notifications: receiver {way}": notifications(way) for way in PORTS},
}
NAME_SERVER_CASES = {
    f"silent name server, {who}": silent_name_server(who)
    for who in ("Atlas", "gateway", "notifications")
}
SIGNALLED = [
    "Atlas: hang, projects",
    "Atlas: drip, lists",
    "Atlas: hang, DELETE",
    "stdout unread",
    "stderr unread",
    "copy of the log unread",
    "copy and stderr unread",
    "gateway drips",
    "notifications: receiver hangs",
]


# --- running -----------------------------------------------------------------------------------


def run_case(folder, prepare, deadline, number):
    """Run one case, with a signal if `number` is set; return what is wrong, or ""."""
    folder.mkdir()
    with ExitStack() as stack, cli_in(folder, kind="service-account") as cli:
        project = cli.sim.add_project("Project")
        for n in range(3):
            cli.sim.invite(project, f"p{n}@example.com", age=timedelta(days=20))
        cli.keys["execution"] = {"deadline": deadline, "grace": "1s"}
        case = Case(cli, stack)
        prepare(case)
        lock = cli.audit_dir / "lock"
        process = case.start()
        # The run begins when it takes the lock: starting Python may take seconds meanwhile.
        wait_until(lambda: lock.exists() or process.poll() is not None)
        if number is not None:
            process.send_signal(number)
        try:
            code = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return f"still running after {LIMIT_S} s"
        if code not in {0, 4, 6, 8}:
            return f"exit code {code}"
        return "" if is_free(lock) else "lock held"


def is_free(lock):
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def wrong(tmp_path, cases, deadline, number=None):
    """Run cases at the same time; return those that went wrong, with the reason."""
    with ThreadPoolExecutor(len(cases)) as threads:
        running = {
            name: threads.submit(run_case, tmp_path / str(n), prepare, deadline, number)
            for n, (name, prepare) in enumerate(cases.items())
        }
        return {name: reason for name, each in running.items() if (reason := each.result())}


def test_no_run_outlives_its_deadline(tmp_path):
    assert wrong(tmp_path, CASES, "2s") == {}


@pytest.mark.needs("root", "mount")  # another resolv.conf
def test_no_run_waits_for_a_name_server_that_does_not_answer(tmp_path):
    assert wrong(tmp_path, NAME_SERVER_CASES, "2s") == {}


def test_no_run_outlives_a_signal(tmp_path):
    cases = {name: CASES[name] for name in SIGNALLED}
    assert wrong(tmp_path, cases, "10m", signal.SIGTERM) == {}
