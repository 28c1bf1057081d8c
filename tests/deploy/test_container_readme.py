"""The READMEs' commands for docker, kubectl and helm, in their order.

podman is docker and, with `kube play`, the cluster; a registry on this machine is the operator's.
"""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from deploy.cluster import remove_pod
from deploy.containers import BASE, run
from deploy.fresh import Followed
from deploy.registry import served_registry
from deploy.stage import staged
from environment import find_command
from readmes import OPERATORS, section

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs(
        *("root", "podman", "buildah", "runc", "mmdebstrap", "catatonit", "docker-registry"),
        *("kustomize", "helm", "pyproject-build"),
    ),
]

TESTS = Path(__file__).resolve().parents[1]
STAND_INS = {
    "docker": """\
case $1 in
build) shift; exec buildah build --quiet --no-cache --layers=false --isolation=chroot \\
    --pull-never --timestamp=0 $BUILD_OPTIONS "$@" ;;
push) podman push --quiet --tls-verify=false --digestfile="$CLUSTER/digest" "$2"
    echo "digest: $(cat "$CLUSTER/digest")" ;;
run) shift; exec podman run --pull=never --network=host --env=MONGODB_ATLAS_BASE_URL "$@" ;;
*) exec podman "$@" ;;
esac
""",
    "kubectl": f"""PYTHONPATH={TESTS} exec {sys.executable} -m deploy.cluster "$@"\n""",
    "helm": """\
[ "$1" = install ] && shift
exec $HELM template "$@" >"$CLUSTER/manifests.yaml"
""",
}


@dataclass
class Terminal:
    """A copy of the repository, in which the commands of a README run with the stand-ins.

    Attributes:
        replaced: What a reader replaces in the commands.
    """

    folder: Path
    environment: dict
    replaced: dict

    def run(self, *commands):
        script = "\n".join(commands)
        for theirs, ours in self.replaced.items():
            script = script.replace(theirs, ours)
        bash = ("bash", "-euo", "pipefail", "-c", script)
        done = run(*bash, cwd=self.folder, env=self.environment)
        return " ".join(done.stdout.split())

    def follow(self, found, *pause):
        """Run the commands of a section; `pause` has one to wait for and what to do after it."""
        outputs = []
        for command in found.commands:
            outputs.append(self.run(command))
            if pause and pause[0] in command:
                pause[1](outputs[-1])
        return Followed((found,), tuple(found.commands), " ".join(outputs))


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    with staged(tmp_path_factory.mktemp("stage"), projects=2, stale=3) as found:
        yield found


@pytest.fixture(scope="module")
def terminal(containers, checkout, stage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("terminal")
    for name, text in STAND_INS.items():
        path = folder / "commands" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
        path.chmod(0o755)
    home = folder / "invite_sweeper"
    shutil.copytree(checkout, home)
    for name in ("client-id", "client-secret"):
        shutil.copy(stage.folder / "secrets" / name, home)
    environment = containers.environment | {
        "PATH": f"{folder}/commands:{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": f"{containers.folder}/wheels",
        "BUILD_OPTIONS": " ".join((*containers.wheels, f"--build-arg=BASE={BASE}")),
        "CLUSTER": str(folder),
        "HELM": find_command("helm"),
        "MONGODB_ATLAS_BASE_URL": stage.base_url,
        "MONGODB_ATLAS_CLIENT_ID": (home / "client-id").read_text(encoding="utf-8"),
        "MONGODB_ATLAS_CLIENT_SECRET": (home / "client-secret").read_text(encoding="utf-8"),
    }
    run(sys.executable, "-m", "venv", home / ".venv")
    with served_registry(folder) as address:
        # podman accepts one network: that of this machine, for the simulated Atlas.
        yield Terminal(home, environment, {"registry.example.com": address, "--network none": ""})


@pytest.fixture(scope="module")
def built(terminal):
    """The operators' section that builds the image and runs it."""
    return terminal.follow(section(OPERATORS, "The image"))


@pytest.fixture
def cluster(terminal, containers):
    """Remove what runs in the cluster at the end."""
    yield
    remove_pod(containers)
    containers.podman("kube", "down", "--force", terminal.folder.parent / "play.yaml")


def test_image_built_by_the_readme_is_the_same_to_the_byte(image, built):
    assert re.search(r"\b[0-9a-f]{64}\b", built.output)[0] == image


def test_policy_dry_run_and_report_are_made_in_a_container(built, terminal, stage):
    assert (terminal.folder / "policy.yaml").exists()
    assert "would be deleted" in built.output
    page = (terminal.folder / "report.html").read_text(encoding="utf-8").replace("<wbr>", "")
    assert "old0@example.com" in page
    stage.assert_untouched()


@pytest.fixture(scope="module")
def before(fresh, built):
    """What a reader does before Kubernetes."""
    prerequisites = section(OPERATORS, "Prerequisites in Atlas")
    commands = tuple(prerequisites.commands)  # the cron test runs them
    return fresh.readme + built + Followed((prerequisites,), commands, "")


def test_kustomize_is_reached_in_15_minutes(before, terminal, stage, cluster):
    found = section(OPERATORS, "Kubernetes")
    (shown, *_) = found.blocks("yaml")

    def write_overlay(pushed):
        digest = re.search(r"sha256:[0-9a-f]{64}", pushed)[0]
        text = shown.replace("sha256:…", digest)
        for theirs, ours in terminal.replaced.items():
            text = text.replace(theirs, ours)
        (terminal.folder / "kustomization.yaml").write_text(text, encoding="utf-8")

    followed = terminal.follow(found, "docker push", write_overlay)

    assert "would be deleted" in followed.output
    stage.assert_untouched()
    assert (before + followed).minutes("kustomize") < 15


def test_helm_is_reached_in_15_minutes(before, terminal, stage, cluster):
    followed = terminal.follow(section(OPERATORS, "Helm"))
    kubernetes = section(OPERATORS, "Kubernetes")
    shared = Followed((kubernetes,), tuple(kubernetes.commands[:4]), "")

    assert "would be deleted" in followed.output
    stage.assert_untouched()
    assert (before + shared + followed).minutes("Helm") < 15
