"""Read the files of `deploy/`."""

import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""That of libyaml is ten times faster."""


def built(folder):
    """Return the output of `kustomize build`."""
    done = subprocess.run(
        ["kustomize", "build", str(folder)], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(text):
    """Return the manifests of a YAML stream by kind and name."""
    found = [document for document in yaml.load_all(text, LOADER) if document]
    named = {(d["kind"], d["metadata"]["name"]): d for d in found}
    assert len(named) == len(found), "two manifests of one kind and name"
    return named


def cronjob(text):
    """Return the only CronJob of a YAML stream."""
    (job,) = (d for (kind, _), d in documents(text).items() if kind == "CronJob")
    return job


def pod_spec(job):
    """Return the pod spec of a CronJob."""
    return job["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def container(job):
    """Return the only container of a CronJob."""
    (only,) = pod_spec(job)["containers"]
    return only


def command(text):
    """Return the command that the pods of a YAML stream run: `plan` or `sweep`."""
    name = container(cronjob(text))["env"][0]["valueFrom"]["configMapKeyRef"]["name"]
    return documents(text)["ConfigMap", name]["data"]["command"]


def options(arguments):
    """Return the `--name=value` arguments by name."""
    return dict(a.removeprefix("--").split("=", 1) for a in arguments if a.startswith("--"))
