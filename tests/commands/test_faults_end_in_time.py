"""A run ends soon after its deadline, and after a signal, also where something hangs.

The program allows itself the deadline, `grace` and 5 s, here 1 s. A test allows a minute, so that a
slow machine fails none; what hangs here would keep a run for longer, most of it for ever. The cases
of each test run at the same time: a run that waits needs no processor.
"""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import faults
import pytest
from forked import Fork
from running import cli_in, full_pipe, wait_until

pytestmark = pytest.mark.slow

LIMIT_S = 60
PREPARE = """
from invite_sweeper import last_resort
from invite_sweeper.cli import streams
last_resort._MARGIN_S = 1.0
streams.PATIENCE_S = 10.0  # as it is: the deadline ends what waits for a reader
"""
MAIN = "import runpy; runpy.run_module('invite_sweeper', run_name='__main__')"


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
            prepare = self.cli.folder / "prepare.py"
            prepare.write_text(PREPARE, encoding="utf-8")
            return Fork(arguments, self.cli.folder, environment, prepare=prepare, **self.streams)
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        words = [*self.prefix, sys.executable, "-c", PREPARE + MAIN, *arguments]
        return subprocess.Popen(words, cwd=self.cli.folder, env=environment, **streams)


# --- faults ------------------------------------------------------------------------------------


def atlas(fault, path="*", method="*"):
    def prepare(case):
        case.cli.sim.faults.add(fault, method=method, path=path, times=None)

    return prepare


def unread(*names, copy=False, arguments=()):
    def prepare(case):
        for name in names:
            _, case.streams[name] = case.stack.enter_context(full_pipe())
        case.arguments += arguments
        case.cli.keys["audit"] = {"stdout": copy}

    return prepare


def slow_reader(case):
    """Let the reader of the copy make room for one write now and then."""
    reading, case.streams["stdout"] = case.stack.enter_context(full_pipe())
    stopped = threading.Event()
    case.cli.keys["audit"] = {"stdout": True}

    def read():
        while not stopped.wait(1.0):
            os.read(reading, 4096)

    reader = threading.Thread(target=read)
    reader.start()
    case.stack.callback(reader.join)
    case.stack.callback(stopped.set)


def gateway(fault):
    def prepare(case):
        case.cli.sim.faults.add(fault, path="/metrics/*", times=None)
        case.arguments += ["--pushgateway", case.cli.base_url]

    return prepare


def channels(case, url):
    """Notify every kind of channel at one address."""
    kinds = ("ping", "slack", "teams", "webhook")
    case.cli.keys["notify"] = [{"kind": kind, "url_env": f"TELL_{kind.upper()}"} for kind in kinds]
    case.cli.keys["notify"][-1]["secret_env"] = "TELL_WEBHOOK"
    case.environment |= {f"TELL_{kind.upper()}": url for kind in kinds}


def notifications(fault):
    def prepare(case):
        case.cli.sim.faults.add(fault, path="/x", times=None)
        channels(case, f"{case.cli.base_url}/x")

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
        else:
            case.arguments += ["--pushgateway", "http://gateway.example.com:9091"]
            channels(case, "https://hooks.example.com/x")

    return prepare


HANG = faults.hang()
DRIP = faults.drip(2.0)
CASES: dict[str, Callable[[Case], None]] = {
    "Atlas: hang, projects": atlas(HANG, "*/groups"),
    "Atlas: hang, DELETE": atlas(HANG, method="DELETE"),
    "Atlas: drip, lists": atlas(DRIP, "*/invites"),
    "Atlas: drip, token": atlas(DRIP, "*/oauth/*"),
    "Atlas: 503, lists": atlas(faults.fail_with(503, retry_after="3600"), "*/invites"),
    "stderr unread": unread("stderr", arguments=("-v",)),
    "copy and stderr unread": unread("stdout", "stderr", copy=True),
    "copy of the log read slowly": slow_reader,
    "gateway drips": gateway(DRIP),
    "notifications: receiver hangs": notifications(HANG),
}
NAME_SERVER_CASES = {
    f"silent name server, {who}": silent_name_server(who) for who in ("Atlas", "receivers")
}
SIGNALLED = [
    "Atlas: drip, lists",
    "Atlas: hang, DELETE",
    "copy and stderr unread",
    "gateway drips",
    "notifications: receiver hangs",
]


# --- running -----------------------------------------------------------------------------------


def run_case(folder, prepare, deadline, number):
    """Run one case, with a signal if `number` is set; return what is wrong, or ""."""
    folder.mkdir()
    with ExitStack() as stack, cli_in(folder, kind="service-account") as cli:
        cli.stock(stale=3)
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
    assert wrong(tmp_path, NAME_SERVER_CASES, "1s") == {}


def test_no_run_outlives_a_signal(tmp_path):
    cases = {name: CASES[name] for name in SIGNALLED}
    assert wrong(tmp_path, cases, "10m", signal.SIGTERM) == {}
