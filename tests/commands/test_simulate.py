"""`simulate` as a process: its output suffices to sweep it, and it ends as requested."""

import os
import shlex
import signal
import socket
import subprocess

import pytest
from builders import policy_bytes
from running import COMMAND, wait_until

from invite_sweeper.simulator.seed import ORG_ID

SMALL = ("--projects", "3", "--invitations", "4")


@pytest.fixture
def simulate(tmp_path):
    """Start `simulate`; return the process and its environment file."""
    running = []

    def start(*arguments):
        exports = tmp_path / "exports.sh"
        process = subprocess.Popen(
            [*COMMAND, "simulate", *SMALL, "--env-file", str(exports), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        wait_until(
            lambda: (
                process.poll() is not None
                or (exports.exists() and exports.read_text(encoding="utf-8"))
            )
        )
        pairs = [
            shlex.split(line)[1].split("=", 1)
            for line in exports.read_text(encoding="utf-8").splitlines()
        ]
        return process, dict(pairs)

    yield start
    for process in running:
        process.terminate()
        process.communicate(timeout=60)


def sweep(folder, exported):
    keys = {
        "version": 1,
        "organizations": [ORG_ID],
        "rules": [{"name": "all", "older_than": "1h"}],
        "limits": {"max_share": 1.0},
    }
    (folder / "policy.yaml").write_bytes(policy_bytes(keys))
    ours = {k: v for k, v in os.environ.items() if not k.startswith("MONGODB_ATLAS_")}
    return subprocess.run(
        [*COMMAND, "sweep", "--policy", "policy.yaml"],
        cwd=folder,
        env={**ours, **exported},
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("service-account", signal.SIGINT),
        ("api-key", signal.SIGTERM),
        ("token", signal.SIGHUP),
    ],
)
def test_sweep_with_its_exports_succeeds_and_a_signal_ends_it_with_0(
    simulate, tmp_path, kind, number
):
    process, exported = simulate("--credentials", kind)
    done = sweep(tmp_path, exported)
    assert done.returncode == 0, done.stderr
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"")
    assert b"It has 12 invitations in 3 projects." in out
    assert ORG_ID.encode() in out


def test_sweep_succeeds_despite_the_simulated_faults(simulate, tmp_path):
    faults = ("--error-rate", "0.1", "--reset-rate", "0.05", "--latency-ms", "2", "--no-limits")
    _, exported = simulate(*faults, "--seed", "7")
    done = sweep(tmp_path, exported)
    assert done.returncode == 0, done.stderr


def test_it_ends_with_0_after_its_duration_and_prints_its_exports():
    done = ended("--duration", "0.2")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\nexport MONGODB_ATLAS_BASE_URL=") == 1


def ended(*arguments):
    command = [*COMMAND, "simulate", *SMALL, *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=60)


def test_port_in_use_ends_with_2_and_a_hint():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = ended("--port", port)
    assert done.returncode == 2
    assert f"Cannot listen on 127.0.0.1:{port}".encode() in done.stderr
    assert b"--port" in done.stderr


def test_unknown_kind_of_credentials_ends_with_2():
    done = ended("--credentials", "password")
    assert done.returncode == 2
    assert b"'service-account', 'api-key', 'token'" in done.stderr
