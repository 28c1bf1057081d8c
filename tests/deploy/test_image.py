"""The image, built from the Dockerfile on a base like the official one."""

import json
import zipfile

import pytest
from deploy.containers import BASE, HARDENED, IMAGE
from deploy.manifests import ROOT

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


def test_image_is_small(containers, image):
    base, found = (
        json.loads(containers.podman("image", "inspect", name).stdout)[0] for name in (BASE, IMAGE)
    )

    assert 0 < found["Size"] - base["Size"] < 120 * MIB


def test_wheel_contains_only_the_package_its_types_and_licence(image, reader):
    (wheel,) = (reader.terminal.folder / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    (info,) = {name.split("/")[0] for name in names} - {"invite_sweeper"}

    assert wheel.name == f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    assert {"invite_sweeper/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert {"invite_sweeper/samples/policy.yaml", "invite_sweeper/help/policy.md"} <= names
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "invite_sweeper").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources | {
        "invite_sweeper/_version.py"
    }


def test_demo_runs_without_network_and_with_a_writable_tmp_only(containers, image):
    done = containers.podman(
        "run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--memory-swap=128m",
        "--network=none", "--tmpfs=/tmp", IMAGE, "demo",
    )  # fmt: skip

    assert "would be deleted" in done.stdout


@pytest.mark.weekly
def test_image_is_the_same_to_the_byte_when_it_is_built_again(image, reader):
    again = "docker build --file deploy/docker/Dockerfile --tag localhost/again ."
    assert reader.terminal.run(again) == image.id
