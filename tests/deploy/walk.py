"""A reader with a copy of the repository, who types the commands of a README.

podman is docker and, with `kube play`, the cluster; a registry on this machine is the operator's.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from deploy.containers import BASE, accepts, reserved_port, run
from environment import find_command
from running import wait_until

TESTS = Path(__file__).resolve().parents[1]
STAND_INS = {
    "docker": """\
case $1 in
build) shift; exec buildah build --quiet --no-cache --layers=false --isolation=chroot \\
    --pull-never --timestamp=0 $BUILD_OPTIONS "$@" ;;
push) podman push --quiet --compression-format=zstd --tls-verify=false \\
        --digestfile="$CLUSTER/digest" "$2"
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

REGISTRY = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: "{folder}"}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{accesslog: {{disabled: true}}, level: error}}
"""


@dataclass
class Terminal:
    """A shell in the copy of the repository, with the stand-ins in its PATH.

    Attributes:
        replaced: What a reader replaces in the commands.
    """

    folder: Path
    environment: dict
    replaced: dict

    def run(self, *commands):
        """Run commands in one shell and return the output as one line."""
        script = "\n".join(commands)
        for theirs, ours in self.replaced.items():
            script = script.replace(theirs, ours)
        bash = ("bash", "-euo", "pipefail", "-c", script)
        done = run(*bash, cwd=self.folder, env=self.environment)
        return " ".join(done.stdout.split())


@contextlib.contextmanager
def opened(containers, checkout, stage, folder):
    """Yield a terminal whose simulated Atlas is that of the stage."""
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
        "BUILD_OPTIONS": " ".join((*containers.wheels, f"--from={BASE}")),
        "CLUSTER": str(folder),
        "HELM": find_command("helm"),
        "MONGODB_ATLAS_BASE_URL": stage.base_url,
        **stage.account,
    }
    (home / ".venv").symlink_to(sys.prefix)  # with its pip
    with served_registry(folder) as address:
        # podman accepts one network: that of this machine, for the simulated Atlas.
        yield Terminal(home, environment, {"registry.example.com": address, "--network none": ""})


@contextlib.contextmanager
def served_registry(folder):
    """Serve an empty registry without passwords during the block; yield its address."""
    path = folder / "registry.yml"
    with reserved_port() as port:
        path.write_text(REGISTRY.format(folder=folder / "registry", port=port), encoding="utf-8")
        command = ["docker-registry", "serve", path]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: accepts(port))
            yield f"localhost:{port}"
            process.terminate()
