"""A cluster of one container: Jobs under `podman kube play`.

Run as a program it replaces kubectl, with the commands of the operators' README.
"""

import json
import os
import sys
from pathlib import Path

import yaml
from deploy.containers import run
from deploy.manifests import KUBERNETES, NAME, built, documents, load, night_of, resolved
from environment import TOOLS

READ_BY_ALL = 0o444


def container_of(job):
    return f"{job}-pod-invite-sweeper"


def remove_pods(containers):
    """Remove the pods at once; `kube down` would wait for their pause containers."""
    containers.podman("pod", "rm", "--all", "--force", "--time=0")


def applied(state):
    return documents((state / "manifests.yaml").read_text(encoding="utf-8"))


def job_of(name, state):
    """Return the Job of `kubectl create job --from=cronjob/… NAME`."""
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}}
    return job | {"spec": night_of(applied(state)).job}


def play(job, state):
    """Run a Job with the manifests and the Secret of the folder `state`.

    Changed are Atlas's address, and what podman 5.4 does not support: the fields of the pod in
    variables, and fsGroup, which allows the group to read the Secret.
    """
    pod = job["spec"]["template"]["spec"]
    (box,) = pod["containers"]
    box["env"] = resolved(box["env"], pod, applied(state))
    base_url = os.environ["MONGODB_ATLAS_BASE_URL"]
    box["env"].append({"name": "MONGODB_ATLAS_BASE_URL", "value": base_url})
    (volume,) = (v["secret"] for v in pod["volumes"] if "secret" in v)
    volume["defaultMode"] = READ_BY_ALL
    maps = [each for (kind, _), each in applied(state).items() if kind == "ConfigMap"]
    parts = [*maps, load(state / "secret.yaml"), load(KUBERNETES / "audit-claim.yaml"), job]
    (state / "play.yaml").write_text(yaml.safe_dump_all(parts), encoding="utf-8")
    run("podman", "kube", "play", "--network=host", "--tls-verify=false", state / "play.yaml")


def kubectl(arguments, state):
    """Carry out a command of the README; `state` is the folder of what was applied."""
    if arguments[0] == "-n":
        assert arguments[1] == NAME
        arguments = arguments[2:]
    match arguments:
        case ["apply", "-f", path]:
            kinds = {"namespace": "Namespace", "audit-claim": "PersistentVolumeClaim"}
            assert load(Path(path))["kind"] == kinds[Path(path).stem]
        case ["apply", "-k", folder]:
            (state / "manifests.yaml").write_text(built(folder), encoding="utf-8")
        case ["patch", "--local", *_]:  # needs no cluster
            os.execv(TOOLS / "kubectl", ["kubectl", *arguments])
        case ["create", "secret", "generic", *_]:  # needs no cluster, either
            made = (TOOLS / "kubectl", *arguments, "--dry-run=client", "-o", "yaml")
            (state / "secret.yaml").write_text(run(*made).stdout, encoding="utf-8")
        case ["create", "job", "--from=cronjob/invite-sweeper", name]:
            play(job_of(name, state), state)
        case ["create", "job", name, "--from=cronjob/invite-sweeper", "--dry-run=client", *_]:
            json.dump(job_of(name, state), sys.stdout)
        case ["create", "-f", "-"]:
            play(json.load(sys.stdin), state)
        case ["logs", "-f", job]:
            container = container_of(job.removeprefix("job/"))
            code = run("podman", "wait", container).stdout
            shown = run("podman", "logs", container)
            assert code == "0\n", shown.stdout + shown.stderr
            sys.stdout.write(shown.stdout)
        case _:
            raise AssertionError(arguments)


if __name__ == "__main__":
    kubectl(sys.argv[1:], Path(os.environ["CLUSTER"]))
