"""A run ends soon after its deadline, and after a signal, also where something hangs.

A test allows a minute, so that a slow machine fails none; what hangs here would keep a run for
longer, most of it for ever. The cases of each test run at the same time: a run that waits needs no
processor.
"""

import fcntl
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import faults
import pytest
from forked import Fork
from running import cli_in, full_pipe, wait_until

pytestmark = pytest.mark.slow


def start(cli, *words, **streams):
    cli.write_policy()
    words = ("sweep", "--yes", "-v", *words)
    return Fork(words, cli.folder, cli.environment_with({}), **streams)


def deletes_hang(cli, _stack):
    cli.sim.faults.add(faults.hang(), method="DELETE", times=None)
    return start(cli)


def lists_drip(cli, _stack):
    cli.sim.faults.add(faults.drip(2.0), path="*/invites", times=None)
    return start(cli)


def notify(cli, base_url):
    kinds = {each: f"WEBHOOK_{each.upper()}" for each in ("ping", "slack", "teams", "webhook")}
    cli.keys["notify"] = [{"kind": kind, "url_env": name} for kind, name in kinds.items()]
    cli.keys["notify"][-1]["secret_env"] = "WEBHOOK_PING"
    cli.changes |= dict.fromkeys(kinds.values(), f"{base_url}/x")


def receivers_hang(cli, _stack):
    """Let each kind of channel, and then the gateway, take a message and not answer."""
    for path in ("/x", "/metrics/*"):
        cli.sim.faults.add(faults.hang(), path=path, times=None)
    notify(cli, cli.base_url)
    return start(cli, "--pushgateway", cli.base_url)


def outputs_are_unread(cli, stack):
    cli.keys["audit"] = {"stdout": True}
    streams = {name: stack.enter_context(full_pipe())[1] for name in ("stdout", "stderr")}
    return start(cli, **streams)


def name_server_is_silent(cli, stack):
    """Let a name server that never answers be asked for the names of Atlas and the receivers."""
    server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind(("127.66.66.66", 53))
    config = cli.folder / "resolv.conf"
    config.write_text("nameserver 127.66.66.66\n", "utf-8")  # 5 s and two attempts, as usual
    bind = f'mount --bind {config} /etc/resolv.conf && exec "$@"'
    cli.base_url = "https://atlas.example.com"
    notify(cli, "https://hooks.example.com")
    cli.write_policy()
    words = ("sweep", "--pushgateway", "http://gateway.example.com")
    program = (sys.executable, "-m", "invite_sweeper", *words)
    return subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", bind, "sh", *program],
        cwd=cli.folder,
        env=cli.environment_with({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


CASES = (deletes_hang, lists_drip, receivers_hang, outputs_are_unread)


def run_case(folder, begin, deadline, number):
    """Run one case, with a signal if `number` is set; return its exit code."""
    folder.mkdir()
    with ExitStack() as stack, cli_in(folder, kind="service-account") as cli:
        cli.stock(stale=3)
        cli.keys["execution"] = {"deadline": deadline, "grace": "1s"}
        process = begin(cli, stack)
        stack.callback(process.kill)
        lock = cli.audit_dir / "lock"
        # The run begins when it takes the lock: starting Python may take seconds meanwhile.
        wait_until(lambda: lock.exists() or process.poll() is not None)
        if number is not None:
            process.send_signal(number)
        code = process.wait(60)
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return code


def codes(tmp_path, cases, deadline, number=None):
    with ThreadPoolExecutor(len(cases)) as threads:
        running = [
            threads.submit(run_case, tmp_path / each.__name__, each, deadline, number)
            for each in cases
        ]
        return {each.result() for each in running}


def test_no_run_outlives_its_deadline(tmp_path):
    assert codes(tmp_path, CASES, "2s") <= {0, 4, 6, 8}


@pytest.mark.needs("root", "mount")  # another resolv.conf
def test_no_run_waits_for_a_name_server_that_does_not_answer(tmp_path):
    assert codes(tmp_path, (name_server_is_silent,), "1s") == {8}


@pytest.mark.needs("root", "mount")
def test_a_signal_ends_a_run_whose_name_server_does_not_answer(tmp_path):
    """Within a minute: the process waits for the resolver of the system, 10 s as a rule."""
    assert codes(tmp_path, (name_server_is_silent,), "10m", signal.SIGTERM) == {8}


def test_no_run_outlives_a_signal(tmp_path):
    assert codes(tmp_path, CASES, "10m", signal.SIGTERM) <= {0, 4, 8}
