"""Render the chart and kustomize, and compare what they render."""

import re
import shutil
from pathlib import Path

import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY, KUBERNETES, built, documents, pod_spec

CHART = DEPLOY / "helm"
NAME = "invite-sweeper"
SCHEMA_FOLDER = re.compile(r"v(\d+)\.(\d+)\.(\d+)-local-strict")


def render(values, folder, *files):
    """Run `helm template` with values, after those of files, and return the process."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    given = [f"--values={each}" for each in (*files, path)]
    return run("helm", "template", NAME, CHART, f"--namespace={NAME}", *given, check=False)


def rendered(values, folder, *files):
    """Return the text that the chart renders to."""
    done = render(values, folder, *files)
    assert done.returncode == 0, done.stderr
    return done.stdout


def overlaid(folder, *parts):
    """Return the text of an overlay beside a copy of `deploy/`; parts are of its kustomization."""
    shutil.copytree(KUBERNETES, folder / "deploy/kubernetes", dirs_exist_ok=True)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["deploy/kubernetes/base"],
    }
    for part in parts:
        for key, items in part.items():
            kustomization[key] = [*kustomization.get(key, []), *items]
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return built(folder)


def comparable(text):
    """Return the manifests without the claim and Helm's labels, lists without an order sorted.

    Helm keeps the claim when it uninstalls; with kustomize it is a file of its own.
    """
    found = documents(text)
    without_labels_of_helm(found)
    for (kind, _), manifest in [*found.items()]:
        if kind == "PersistentVolumeClaim":
            assert manifest["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
            del found[kind, manifest["metadata"]["name"]]
        if kind == "CronJob":
            _sort(pod_spec(manifest))
    return found


LABELS_OF_HELM = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}


def without_labels_of_helm(value):
    """Remove them from every mapping, those of selectors and pods included."""
    if isinstance(value, dict):
        for key in LABELS_OF_HELM & value.keys():
            del value[key]
    parts = value.values() if isinstance(value, dict) else value
    for part in parts if isinstance(value, dict | list) else ():
        without_labels_of_helm(part)


def _sort(pod):
    (box,) = pod["containers"]
    verb, *options = box["args"]
    box["args"] = [verb, *sorted(options)]
    for items in (box["env"], box["volumeMounts"], pod["volumes"]):
        items.sort(key=lambda item: item["name"])


def kubernetes_versions():
    """Return the newest three versions of Kubernetes that kubernetes-validate knows."""
    program = Path(shutil.which("kubernetes-validate")).resolve()
    schemas = program.parent.parent.glob("lib/python3*/site-packages/kubernetes_validate/*/*")
    found = [SCHEMA_FOLDER.fullmatch(path.name) for path in schemas]
    newest = sorted(tuple(map(int, match.groups())) for match in found if match)[-3:]
    return [".".join(map(str, version)) for version in newest]
