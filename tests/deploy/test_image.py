"""The image, built from the Dockerfile on a base like the official one."""

import json
import re

import pytest
from deploy.containers import BASE, HARDENED, IMAGE
from deploy.manifests import DEPLOY

DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text(encoding="utf-8")
MIB = 1024 * 1024

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "podman", "buildah", "runc", "base", "pyproject-build"),
]

INSPECT_CONTAINER = """
import importlib.util, json, os, shutil
from pathlib import Path
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
try:
    Path("/opt/invite-sweeper/written").touch()
    writable = True
except OSError:
    writable = False
print(json.dumps({
    "commands": [c for c in ("pip", "pip3", "gcc", "cc", "make", "apt-get") if shutil.which(c)],
    "modules": [m for m in ("pip", "ensurepip", "setuptools", "uvloop", "jinja2")
                if importlib.util.find_spec(m)],
    "without bytecode": [str(s) for s in Path("/opt/invite-sweeper/lib").rglob("*.py")
                         if not (s.parent / "__pycache__" / f"{s.stem}.cpython-313.pyc").exists()],
    "user": [os.getuid(), os.getgid()],
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "writable": writable,
}))
"""


def python(containers, code):
    done = containers.podman(
        "run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--network=none",
        "--entrypoint=python", IMAGE, "-c", code,
    )  # fmt: skip
    return done.stdout.strip()


def test_image_runs_unprivileged_on_a_read_only_root_without_installers(containers, image):
    found = json.loads(python(containers, INSPECT_CONTAINER))

    assert found.pop("commands") in ([], ["apt-get"])  # of the base image; needs root
    assert found == {
        "modules": ["jinja2"],  # of the report
        "user": [10001, 10001],
        "capabilities": 0,
        "writable": False,
        "without bytecode": [],
    }


def test_image_is_small_has_labels_a_stop_signal_and_a_dry_run_as_command(containers, image):
    base, found = (
        json.loads(containers.podman("image", "inspect", name).stdout)[0] for name in (BASE, IMAGE)
    )
    config, labels = found["Config"], found["Labels"]

    assert 0 < found["Size"] - base["Size"] < 120 * MIB
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["invite-sweeper"]
    assert config["Cmd"] == ["plan"]
    assert labels["org.opencontainers.image.version"] == "dev"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_demo_runs_without_network_and_with_a_writable_tmp_only(containers, image):
    done = containers.podman(
        "run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--memory-swap=128m",
        "--network=none", "--tmpfs=/tmp", IMAGE, "demo",
    )  # fmt: skip

    assert "would be deleted" in done.stdout


@pytest.mark.weekly
def test_image_is_the_same_to_the_byte_when_it_is_built_again(containers, image, reader):
    context = reader.terminal.folder
    assert containers.build(context, tag="localhost/again") == image.id


def test_image_installs_only_wheels_of_the_lock_with_hashes_on_one_pinned_base():
    (install,) = re.findall(r"install [^&]*requirements\.lock", DOCKERFILE)
    first, *others = re.findall(r"^FROM (.*)$", DOCKERFILE, re.MULTILINE)

    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(install.split())
    # Dependabot updates an image that FROM names, and none in an argument.
    assert re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64} AS base", first)
    assert others == ["base AS build", "base"]
