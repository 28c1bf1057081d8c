"""The image, and its sweeps: read-only, without capabilities, in 128 MiB."""

import json
import os
import zipfile

import pytest
from benchmarks.figures import LARGEST
from benchmarks.measuring import fresh_atlas, wide_policy
from benchmarks.nights import write_nights
from builders import policy_bytes
from company_network import ATLAS, company_network
from deploy.containers import BASE, HARDENED, IMAGE
from deploy.manifests import KUBERNETES, ROOT, load
from deploy.stage import USER, staged
from running import wait_until

from invite_sweeper.endings import ExitCode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "podman", "buildah", "runc", "base", "pyproject-build"),
]

ARBITRARY = 1_000_650_000
"""A user without a name or a home folder, as OpenShift chooses them."""


RUN = ("run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--memory-swap=128m")
"""With the limits of the pod."""
MIB = 1024 * 1024

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


def test_image_runs_unprivileged_on_a_read_only_root_without_installers(containers, image):
    python = ("--network=none", "--entrypoint=python", IMAGE, "-c", INSPECT_CONTAINER)
    found = json.loads(containers.podman(*RUN, *python).stdout)

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


def test_wheel_contains_only_the_package_its_types_and_licence(image, terminal):
    (wheel,) = (terminal.folder / "dist").glob("*.whl")
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
    done = containers.podman(*RUN, "--network=none", "--tmpfs=/tmp", IMAGE, "demo")

    assert "would be deleted" in done.stdout


@pytest.mark.weekly
def test_image_is_the_same_to_the_byte_when_it_is_built_again(containers, image, terminal):
    again = terminal.run("docker build --file deploy/docker/Dockerfile --tag localhost/again .")
    assert again in containers.podman("inspect", "--format={{.Id}}", IMAGE).stdout


def command(stage, verb, *before):
    return (*RUN, "--network=host", *stage.mounts, *before, IMAGE, verb, "--output=json")


def run(containers, stage, verb, *before):
    """Run a command and return the exit code and the summary."""
    done = containers.podman(*command(stage, verb, *before), check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_sigterm_stops_a_sweep_and_the_next_run_deletes_the_rest(containers, image, tmp_path):
    with staged(tmp_path, projects=20, stale=30, latency_s=0.2) as stage:
        process = containers.start(*command(stage, "sweep", "--name=stopped"))
        wait_until(lambda: stage.sim.deletes_received >= 50)
        containers.podman("kill", "--signal=TERM", "stopped")
        out, err = process.communicate(timeout=60)

        assert process.returncode == ExitCode.INTERRUPTED, err
        stopped = json.loads(out)
        assert 0 < stopped["deleted"] == len(stage.sim.deleted) < 600
        stage.assert_sound()

        stage.sim.faults.clear()
        code, rest = run(containers, stage, "sweep")
        assert code == ExitCode.DONE
        assert stopped["deleted"] + rest["deleted"] == 600
        stage.assert_swept_once()
        assert stage.assert_sound() == 2


@pytest.mark.weekly
def test_largest_estate_that_atlas_allows_is_swept_in_the_memory_of_the_pod(
    containers, image, tmp_path
):
    policy = tmp_path / "policy.yaml"
    audit = tmp_path / "audit"
    deleted = {}
    policy.write_bytes(policy_bytes(wide_policy(LARGEST)))
    audit.mkdir()
    os.chown(audit, USER, USER)
    with fresh_atlas(LARGEST) as atlas:
        variables = [f"--env={name}={value}" for name, value in atlas.environment.items()]
        for night in ("sweep", "plan"):  # the second one reads the log of the first
            done = containers.podman(
                *RUN, "--network=host", *variables,
                f"--volume={policy}:/etc/invite-sweeper/policy.yaml:ro",
                f"--volume={audit}:/var/lib/invite-sweeper",
                IMAGE, night, "--output=json", "-q", check=False,
            )  # fmt: skip
            deleted[night] = json.loads(done.stdout)["deleted"] if done.stdout else done

    assert deleted == {"sweep": LARGEST.invitations, "plan": 0}
    assert LARGEST.invitations > 25_000


@pytest.mark.parametrize("deletions", [40, pytest.param(1_000, marks=pytest.mark.weekly)])
def test_year_of_nights_is_read_in_the_memory_of_the_pod(containers, image, tmp_path, deletions):
    night_job = load(KUBERNETES / "base/cronjob.yaml")["spec"]["jobTemplate"]["spec"]
    (box,) = night_job["template"]["spec"]["containers"]
    limit = box["resources"]["limits"]["memory"].removesuffix("i").lower()
    with staged(tmp_path, projects=2, stale=3) as stage:
        write_nights(stage.audit / "audit", 365, deletions)
        for path in (stage.audit / "audit", *(stage.audit / "audit").iterdir()):
            os.chown(path, USER, USER)
        before = (*RUN, f"--memory={limit}", f"--memory-swap={limit}", "--network=host")
        shown = {
            name: containers.podman(*before, *stage.mounts, IMAGE, *words, check=False)
            for name, words in {
                "doctor": ["doctor"],
                "sweep": ["sweep", "--output=json"],
                "list": ["audit", "show"],
                "run": ["audit", "show", "365", "--output=csv"],
            }.items()
        }

        codes = {name: done.returncode for name, done in shown.items()}
        # doctor warns of the policy's one list, which Atlas will retire.
        assert codes == {"doctor": ExitCode.PARTIAL, "sweep": 0, "list": 0, "run": 0}, shown
        assert "a sweep would run" in shown["doctor"].stdout
        assert json.loads(shown["sweep"].stdout)["deleted"] == 6
        assert shown["run"].stdout.count("\n") > deletions
        stage.assert_swept_once()
        assert stage.assert_sound() == 366


@pytest.mark.weekly
def test_arbitrary_user_sweeps_behind_a_proxy_with_a_private_authority(containers, image, tmp_path):
    """No name of this network resolves, so what is deleted was deleted through the proxy."""
    with (
        staged(tmp_path, projects=2, stale=3, owner=ARBITRARY) as stage,
        company_network(stage.sim, tmp_path / "policy") as network,
    ):
        mounted = network.environment | {"SSL_CERT_FILE": "/etc/invite-sweeper/ca.pem"}
        variables = [f"--env={name}={value}" for name, value in mounted.items()]
        user = f"--user={ARBITRARY}:{ARBITRARY}"
        code, swept = run(containers, stage, "sweep", user, *variables)

        assert (code, swept["deleted"]) == (ExitCode.DONE, 6)
        stage.assert_swept_once()
        stage.assert_sound()
        assert set(network.asked) == {f"CONNECT {ATLAS}:443"}
