"""Read the files of `deploy/`, and render the chart and kustomize."""

import shutil
from typing import NamedTuple

import yaml
from deploy.containers import run
from environment import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
CHART = DEPLOY / "helm"
NAME = "invite-sweeper"

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""That of libyaml is ten times faster."""


def load(path):
    return yaml.load(path.read_text(encoding="utf-8"), LOADER)


def documents(text):
    found = [document for document in yaml.load_all(text, LOADER) if document]
    named = {(d["kind"], d["metadata"]["name"]): d for d in found}
    assert len(named) == len(found), "two manifests of one kind and name"
    return named


class Night(NamedTuple):
    """The only CronJob of some manifests: its spec, and those of its Job, pod and container."""

    cron: dict
    job: dict
    pod: dict
    box: dict

    @property
    def environment(self):
        """The values of the variables by name; None for one that is read elsewhere."""
        return {each["name"]: each.get("value") for each in self.box["env"]}

    @property
    def options(self):
        parts = (each.removeprefix("--").partition("=") for each in self.box["args"][1:])
        return {name: value for name, _, value in parts}


def night_of(manifests):
    found = documents(manifests) if isinstance(manifests, str) else manifests
    (cron,) = (each["spec"] for (kind, _), each in found.items() if kind == "CronJob")
    job = cron["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (box,) = pod["containers"]
    return Night(cron, job, pod, box)


def resolved(environment, pod, manifests):
    """Return the variables with the instance that Kubernetes makes of the pod's own fields."""
    (namespace,) = {
        each["metadata"]["namespace"] for (kind, _), each in manifests.items() if kind == "CronJob"
    }
    fields = {"metadata.namespace": namespace, "spec.serviceAccountName": pod["serviceAccountName"]}
    values = {
        each["name"]: fields[each["valueFrom"]["fieldRef"]["fieldPath"]]
        for each in environment
        if "fieldRef" in each.get("valueFrom", {})
    }
    others = [each for each in environment if each["name"] not in values]
    for name, value in values.items():
        for each in others:
            if "value" in each:
                each["value"] = each["value"].replace(f"$({name})", value)
    return others


def built(folder):
    return run("kustomize", "build", folder).stdout


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


def render(values, folder, *options, chart=CHART, check=True):
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = ("helm", "template", NAME, chart, f"--namespace={NAME}", f"--values={path}")
    return run(*command, *options, check=check)


def rendered(values, folder):
    return render(values, folder).stdout


def packaged(folder):
    run("helm", "package", CHART, f"--destination={folder}")
    (package,) = folder.glob("*.tgz")
    return package


def side_by_side(values, folder):
    """Render a chart that depends on the packaged one once for each name of values.

    Return the process, so that one process renders or refuses all of them.
    """
    chart = folder / "parent"
    (chart / "charts").mkdir(parents=True)
    version = packaged(chart / "charts").stem.removeprefix(f"{NAME}-")
    dependency = {"name": NAME, "version": version}
    described = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    described["dependencies"] = [dependency | {"alias": alias} for alias in values]
    (chart / "Chart.yaml").write_text(yaml.safe_dump(described), encoding="utf-8")
    return render(values, folder, chart=chart, check=False)
