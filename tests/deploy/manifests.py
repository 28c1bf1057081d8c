"""The files of `deploy/`, as the tests read them."""

import difflib
import re
import subprocess
from datetime import timedelta
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def built(folder):
    """What kustomize makes of a folder, as text."""
    done = subprocess.run(
        ["kustomize", "build", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents(text):
    """The manifests of a YAML stream, by kind and name."""
    found = [document for document in yaml.safe_load_all(text) if document]
    named = {(d["kind"], d["metadata"]["name"]): d for d in found}
    assert len(named) == len(found), "two manifests of one kind and name"
    return named


def cronjob(text):
    """The one CronJob of a YAML stream."""
    (job,) = (d for (kind, _), d in documents(text).items() if kind == "CronJob")
    return job


def pod_spec(job):
    """The pod of a CronJob."""
    return job["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def container(job):
    """The one container of a CronJob."""
    (only,) = pod_spec(job)["containers"]
    return only


def options(arguments):
    """The `--name=value` arguments, by name."""
    return dict(a.removeprefix("--").split("=", 1) for a in arguments if a.startswith("--"))


def seconds(duration):
    """A duration of the command line in seconds: `1h` is 3600."""
    number, unit = re.fullmatch(r"(\d+)([smhdw])", duration).groups()
    return int(timedelta(seconds=int(number) * UNITS_S[unit]).total_seconds())


def changed_lines(before, after):
    """The lines that differ, as pairs of the old and the new one."""
    changes = [
        line
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=0)
        if line[0] in "+-" and not line.startswith(("+++", "---"))
    ]
    old = [line[1:].strip() for line in changes if line[0] == "-"]
    new = [line[1:].strip() for line in changes if line[0] == "+"]
    return old, new
