"""Podman with a separate storage and configuration, and ports for servers."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from environment import ROOT, on_real_clock, with_tools

BASE = "localhost/python:3.13-slim"
IMAGE = "localhost/invite-sweeper:dev"
HARDENED = (
    "--read-only",
    "--user=10001:10001",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
)

STORAGE = """
[storage]
driver = "overlay"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""
# Separate locks do not disturb another podman on the machine. The default limits of open files
# and processes exceed what a small machine allows.
ENGINE = """
[containers]
default_ulimits = ["nofile=1024:20000", "nproc={processes}:{processes}"]
[engine]
lock_type = "file"
tmp_dir = "{folder}/tmp"
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
PIP = """
[global]
no-index = true
find-links = /wheels
"""
DOWNLOAD = (sys.executable, "-m", "pip", "download", "-q")
WHEELS = (
    *("--require-hashes", "--no-deps", "--only-binary=:all:"),
    *("--python-version=3.13", "--implementation=cp"),
    *("--abi=cp313", "--abi=abi3", "--abi=none", "--platform=any"),
    *(f"--platform=manylinux{each}_x86_64" for each in ("2014", "_2_17", "_2_28")),
)


def run(*command, check=True, **options):
    """Run a command and return the result; an AssertionError shows the output if it fails."""
    options.setdefault("env", with_tools())
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=900,
        **options,
    )
    assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def fetch_wheels(folder, lock=ROOT / "requirements.lock"):
    """Download the wheels of a lock for the image's Python; pip checks their hashes."""
    run(*DOWNLOAD, "-d", folder, *WHEELS, "-r", lock)


@dataclass(frozen=True)
class Containers:
    """Podman and buildah with a separate storage.

    Attributes:
        folder: Contains the storage and the configuration.
    """

    folder: Path

    @property
    def environment(self):
        return on_real_clock(os.environ) | {
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }

    def podman(self, *arguments, **options):
        return run("podman", *arguments, env=self.environment, **options)

    @property
    def wheels(self):
        """The options that let pip install the downloaded wheels in a container."""
        return (
            f"--volume={self.folder}/wheels:/wheels:ro",
            f"--volume={self.folder}/pip.conf:/etc/pip.conf:ro",
        )


@contextlib.contextmanager
def stored(folder, base):
    """Yield podman with the base image and the wheels that build the image; remove all of it."""
    made = Containers(folder)
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    for name, text in (
        ("storage.conf", STORAGE.format(folder=folder)),
        ("containers.conf", ENGINE.format(folder=folder, processes=processes)),
        ("pip.conf", PIP),
    ):
        (folder / name).write_text(text, encoding="utf-8")
    try:
        made.podman("import", "--quiet", base, BASE)
        fetch_wheels(folder / "wheels")
        pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        options = ("--only-binary=:all:", "--python-version=3.13", "-d", folder / "wheels")
        run(*DOWNLOAD, *options, *pyproject["build-system"]["requires"])
        yield made
    finally:
        for what in (("rm", "--time=0"), ("volume", "rm"), ("rmi",)):
            made.podman(*what, "--all", "--force", check=False)
        # podman mounts this folder on itself, and does not always unmount it at the end.
        run("umount", folder / "graph/overlay", check=False)
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def reserved_port():
    """Yield a port on which one server may listen, now or later; no other test gets it meanwhile.

    A port that is only looked up is given to the next program that asks for one. While this socket
    has it and does not listen, a server that sets SO_REUSEADDR, as asyncio does, can listen on it.
    """
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
