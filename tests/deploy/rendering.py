"""Render the chart and kustomize, and compare what they render."""

import shutil

import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY, KUBERNETES, built, documents, pod_spec

CHART = DEPLOY / "helm"
NAME = "invite-sweeper"


def render(values, folder, *options, chart=CHART, check=True):
    """Run `helm template` with values and return the process."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = ("helm", "template", NAME, chart, f"--namespace={NAME}", f"--values={path}")
    return run(*command, *options, check=check)


def rendered(values, folder, *options, chart=CHART):
    """Return the text that the chart renders to."""
    return render(values, folder, *options, chart=chart).stdout


def packaged(folder):
    """Return the path of the chart as it is published."""
    run("helm", "package", CHART, f"--destination={folder}")
    (package,) = folder.glob("*.tgz")
    return package


def side_by_side(values, folder):
    """Render a chart that depends on the packaged one once for each name of values.

    Return the process, so that one process renders or refuses all of them.
    """
    chart = folder / "parent"
    (chart / "charts").mkdir(parents=True)
    package = packaged(chart / "charts")
    version = package.stem.removeprefix(f"{NAME}-")
    depends = [{"name": NAME, "version": version, "alias": alias} for alias in values]
    described = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": depends}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    return render(values, folder, chart=chart, check=False)


def overlaid(folder, *components, **parts):
    """Return the text of an overlay beside a copy of `deploy/`, with parts of its kustomization."""
    shutil.copytree(KUBERNETES, folder / "deploy/kubernetes", dirs_exist_ok=True)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["deploy/kubernetes/base"],
        "components": [f"deploy/kubernetes/components/{name}" for name in components],
        **parts,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization), encoding="utf-8")
    return built(folder)


def comparable(text):
    """Return the manifests without the claim and Helm's labels, lists without an order sorted.

    Helm keeps the claim when it uninstalls; with kustomize it is a file of its own.
    """
    found = documents(text)
    without_labels_of_helm(found)
    for (kind, name), manifest in [*found.items()]:
        if kind == "PersistentVolumeClaim":
            del found[kind, name]
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
