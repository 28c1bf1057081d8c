"""The image, built from the Dockerfile on a base like the official one."""

import json
import re

import pytest
from deploy.containers import BASE, HARDENED, IMAGE
from deploy.manifests import DEPLOY

import invite_sweeper

DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text(encoding="utf-8")
MIB = 1024 * 1024

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "podman", "buildah", "runc", "mmdebstrap", "pyproject-build"),
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
    "modules": [m for m in ("pip", "ensurepip", "setuptools") if importlib.util.find_spec(m)],
    "user": [os.getuid(), os.getgid()],
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "writable": writable,
}))
"""
WITHOUT_BYTECODE = """
from pathlib import Path
compiled = lambda source: source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
sources = Path("/opt/invite-sweeper/lib").rglob("*.py")
print([str(source) for source in sources if not compiled(source).exists()])
"""


def python(containers, code):
    done = containers.podman(
        "run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--network=none",
        "--entrypoint=python", IMAGE, "-c", code,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture(scope="module")
def inspected(containers, image):
    return json.loads(containers.podman("image", "inspect", image).stdout)[0]


def test_image_runs_unprivileged_on_a_read_only_root_without_installers(containers, image):
    found = json.loads(python(containers, INSPECT_CONTAINER))

    assert found.pop("commands") in ([], ["apt-get"])  # of the base image; needs root
    assert found == {"modules": [], "user": [10001, 10001], "capabilities": 0, "writable": False}


def test_image_includes_the_report(containers, image):
    needed = "import jinja2; print('all')"
    assert python(containers, needed) == "all"


def test_version_in_the_image_is_that_of_the_program(containers, image):
    done = containers.podman(
        "run", "--rm", "--pull=never", *HARDENED, "--network=none", IMAGE, "--version"
    )

    assert done.stdout.split()[-1] == invite_sweeper.__version__


def test_image_adds_less_than_120_mib_to_its_base(containers, inspected):
    base = json.loads(containers.podman("image", "inspect", BASE).stdout)[0]

    added = inspected["Size"] - base["Size"]
    assert 0 < added < 120 * MIB


def test_every_module_has_bytecode(containers, image):
    assert python(containers, WITHOUT_BYTECODE) == "[]"


def test_image_has_labels_a_stop_signal_and_a_dry_run_as_command(inspected):
    config, labels = inspected["Config"], inspected["Labels"]

    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["invite-sweeper"]
    assert config["Cmd"] == ["plan"]
    assert labels["org.opencontainers.image.version"] == invite_sweeper.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_image_installs_only_wheels_of_the_lock_with_hashes():
    (install,) = re.findall(r"install [^&]*requirements\.lock", DOCKERFILE)

    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(install.split())


def test_base_of_both_stages_is_one_argument_with_a_digest():
    (base,) = re.findall(r"^ARG BASE=(.*)$", DOCKERFILE, re.MULTILINE)

    assert re.fullmatch(r"python:3\.13-slim@sha256:[0-9a-f]{64}", base)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert DOCKERFILE.count("@sha256:") == 1
