"""The image, built from the Dockerfile on a base like the official one."""

import json
import re

import pytest
from deploy.containers import BASE, HARDENED, IMAGE
from deploy.manifests import DEPLOY

import invite_sweeper

DOCKERFILE = (DEPLOY / "docker/Dockerfile").read_text()
MIB = 1024 * 1024

pytestmark = [
    pytest.mark.slow,
    pytest.mark.deploy_tools("root", "podman", "buildah", "runc", "mmdebstrap", "pyproject-build"),
]

HOW_LONG_S = """
import subprocess, sys, time
before = time.perf_counter()
done = subprocess.run(["invite-sweeper", "--version"], capture_output=True, text=True, check=True)
print(time.perf_counter() - before, done.stdout.strip())
"""
WHAT_IS_THERE = """
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


def test_it_starts_as_nobody_on_a_read_only_root_and_has_nothing_to_install_with(containers, image):
    there = json.loads(python(containers, WHAT_IS_THERE))

    assert there.pop("commands") in ([], ["apt-get"])  # the base's own; it needs root
    assert there == {"modules": [], "user": [10001, 10001], "capabilities": 0, "writable": False}


def test_metrics_report_and_approval_come_with_it(containers, image):
    needed = "import cryptography, jinja2, prometheus_client; print('all')"
    assert python(containers, needed) == "all"


def test_the_version_is_told_in_under_a_second(containers, image):
    seconds, *said = python(containers, HOW_LONG_S).split()

    assert float(seconds) < 1.0
    assert invite_sweeper.__version__ in said


def test_it_adds_less_than_120_mib_to_its_base(containers, inspected):
    base = json.loads(containers.podman("image", "inspect", BASE).stdout)[0]

    added = inspected["Size"] - base["Size"]
    assert 0 < added < 120 * MIB


def test_two_builds_give_one_digest(containers, context, image):
    assert containers.build(context, tag="localhost/again:1") == image


def test_every_module_has_its_bytecode(containers, image):
    assert python(containers, WITHOUT_BYTECODE) == "[]"


def test_it_says_what_it_is_how_to_stop_it_and_that_it_is_a_dry_run(inspected):
    config, labels = inspected["Config"], inspected["Labels"]

    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["invite-sweeper"]
    assert config["Cmd"] == ["plan"]
    assert labels["org.opencontainers.image.version"] == invite_sweeper.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_wheels_come_from_the_lock_with_their_hashes_alone():
    (install,) = re.findall(r"install [^&]*requirements\.lock", DOCKERFILE)

    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(install.split())
