"""A cluster of one container: the Job of a CronJob under `podman kube play`.

Run as a program it replaces kubectl, with the commands of the operators' README.
"""

import os
import re
import sys
from pathlib import Path

import yaml
from deploy.containers import run
from deploy.manifests import KUBERNETES, built, documents

NAMESPACE = "invite-sweeper"
POD = "by-hand-pod"
CONTAINER = f"{POD}-invite-sweeper"
CLAIM = ("PersistentVolumeClaim", "invite-sweeper-audit")
READ_BY_ALL = 0o444


def playable(text, base_url, secret):
    """Return the Job of `kubectl create job --from=cronjob/… by-hand`, and what it mounts.

    Changed are Atlas's address, and one mode: podman 5.4 does not support fsGroup, which allows
    the group to read the Secret.
    """
    found = documents(text)
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "by-hand"},
        "spec": found["CronJob", "invite-sweeper"]["spec"]["jobTemplate"]["spec"],
    }
    pod = job["spec"]["template"]["spec"]
    (box,) = pod["containers"]
    box["env"].append({"name": "MONGODB_ATLAS_BASE_URL", "value": base_url})
    (volume,) = (v["secret"] for v in pod["volumes"] if "secret" in v)
    volume["defaultMode"] = READ_BY_ALL
    policy = found["ConfigMap", "invite-sweeper-policy"]
    claim = documents((KUBERNETES / "audit-claim.yaml").read_text(encoding="utf-8"))[CLAIM]
    return [policy, secret, claim, job]


def remove_pod(containers):
    """Remove the pod at once; `kube down` would wait for its pause container."""
    containers.podman("pod", "rm", "--force", "--time=0", POD)


def secret_of(paths):
    """Return the Secret with the credentials in files."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "invite-sweeper-atlas"},
        "stringData": {path.name: path.read_text(encoding="utf-8") for path in paths},
    }


def kubectl(arguments, state):
    """Carry out a command of the README; `state` is the folder of what was applied."""
    if arguments[0] == "-n":
        assert arguments[1] == NAMESPACE
        arguments = arguments[2:]
    match arguments:
        case ["apply", "-f", path]:
            named = {"namespace": ("Namespace", NAMESPACE), "audit-claim": CLAIM}
            assert named[Path(path).stem] in documents(Path(path).read_text(encoding="utf-8"))
        case ["apply", "-k", folder]:
            (state / "manifests.yaml").write_text(built(folder), encoding="utf-8")
        case ["create", "secret", "generic", "invite-sweeper-atlas", *files]:
            paths = [Path(re.fullmatch("--from-file=(.*)", file)[1]) for file in files]
            (state / "secret.yaml").write_text(yaml.safe_dump(secret_of(paths)), encoding="utf-8")
        case ["create", "job", "--from=cronjob/invite-sweeper", "by-hand"]:
            text = (state / "manifests.yaml").read_text(encoding="utf-8")
            secret = yaml.safe_load((state / "secret.yaml").read_text(encoding="utf-8"))
            parts = playable(text, os.environ["MONGODB_ATLAS_BASE_URL"], secret)
            (state / "play.yaml").write_text(yaml.safe_dump_all(parts), encoding="utf-8")
            run("podman", "kube", "play", "--network=host", "--tls-verify=false",
                state / "play.yaml")  # fmt: skip
        case ["logs", "-f", "job/by-hand"]:
            assert run("podman", "wait", CONTAINER).stdout == "0\n"
            sys.stdout.write(run("podman", "logs", CONTAINER).stdout)
        case _:
            raise AssertionError(arguments)


if __name__ == "__main__":
    kubectl(sys.argv[1:], Path(os.environ["CLUSTER"]))
