"""A cluster of one container: Jobs under `podman kube play`.

Run as a program it replaces kubectl, with the commands of the operators' README.
"""

import json
import os
import sys
from pathlib import Path

import yaml
from deploy.containers import run
from deploy.manifests import KUBERNETES, built, documents
from environment import TOOLS

NAMESPACE = "invite-sweeper"
CLAIM = ("PersistentVolumeClaim", "invite-sweeper-audit")
READ_BY_ALL = 0o444


def container_of(job):
    """Return the name of the container of a Job."""
    return f"{job}-pod-invite-sweeper"


def remove_pods(containers):
    """Remove the pods at once; `kube down` would wait for their pause containers."""
    containers.podman("pod", "rm", "--all", "--force", "--time=0")


def job_of(text, name):
    """Return the Job of `kubectl create job --from=cronjob/… NAME`."""
    spec = documents(text)["CronJob", "invite-sweeper"]["spec"]["jobTemplate"]["spec"]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}


def playable(job, text, base_url, secret):
    """Return a Job and what it mounts, of the manifests that were applied.

    Changed are Atlas's address, and one mode: podman 5.4 does not support fsGroup, which allows
    the group to read the Secret.
    """
    found = documents(text)
    pod = job["spec"]["template"]["spec"]
    (box,) = pod["containers"]
    box["env"].append({"name": "MONGODB_ATLAS_BASE_URL", "value": base_url})
    (volume,) = (v["secret"] for v in pod["volumes"] if "secret" in v)
    volume["defaultMode"] = READ_BY_ALL
    maps = [each for (kind, _), each in found.items() if kind == "ConfigMap"]
    claim = documents((KUBERNETES / "audit-claim.yaml").read_text(encoding="utf-8"))[CLAIM]
    return [*maps, secret, claim, job]


def play(job, state):
    """Run a Job with the manifests and the Secret of the folder `state`."""
    text = (state / "manifests.yaml").read_text(encoding="utf-8")
    secret = yaml.safe_load((state / "secret.yaml").read_text(encoding="utf-8"))
    parts = playable(job, text, os.environ["MONGODB_ATLAS_BASE_URL"], secret)
    (state / "play.yaml").write_text(yaml.safe_dump_all(parts), encoding="utf-8")
    run("podman", "kube", "play", "--network=host", "--tls-verify=false", state / "play.yaml")


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
        case ["create", *what]:
            create(what, state)
        case ["patch", "--local", *_]:  # needs no cluster
            os.execv(TOOLS / "kubectl", ["kubectl", *arguments])
        case ["logs", "-f", job]:
            container = container_of(job.removeprefix("job/"))
            code = run("podman", "wait", container).stdout
            shown = run("podman", "logs", container)
            assert code == "0\n", shown.stdout + shown.stderr
            sys.stdout.write(shown.stdout)
        case _:
            raise AssertionError(arguments)


def create(arguments, state):
    """Carry out `kubectl create`."""
    manifests = state / "manifests.yaml"
    match arguments:
        case ["secret", "generic", *_]:  # needs no cluster, either
            made = (TOOLS / "kubectl", "create", *arguments, "--dry-run=client", "-o", "yaml")
            (state / "secret.yaml").write_text(run(*made).stdout, encoding="utf-8")
        case ["job", "--from=cronjob/invite-sweeper", name]:
            play(job_of(manifests.read_text(encoding="utf-8"), name), state)
        case ["job", name, "--from=cronjob/invite-sweeper", "--dry-run=client", "-o", "json"]:
            json.dump(job_of(manifests.read_text(encoding="utf-8"), name), sys.stdout)
        case ["-f", "-"]:
            play(json.load(sys.stdin), state)
        case _:
            raise AssertionError(arguments)


if __name__ == "__main__":
    kubectl(sys.argv[1:], Path(os.environ["CLUSTER"]))
