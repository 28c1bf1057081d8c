"""The examples for External Secrets and Argo CD match the operators' schemas and our files."""

import json

import pytest
import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY, KUBERNETES, documents, pod_spec
from deploy.rendering import CHART, rendered

from invite_sweeper.policy import parse_policy

EXAMPLES = KUBERNETES / "examples"
pytestmark = pytest.mark.needs("helm", "kustomize")


def example(name):
    return yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))


def check(resources):
    """Validate resources with the operators' schemas and return the process."""
    return run("check-custom-resources", input=json.dumps(resources), check=False)


@pytest.mark.needs("check-custom-resources")
def test_examples_match_the_schemas_of_their_operators(tmp_path):
    resources = [example(path.name) for path in sorted(EXAMPLES.iterdir())]
    rules = documents(rendered({"prometheusRule": {"enabled": True}}, tmp_path))
    resources.append(rules["PrometheusRule", "invite-sweeper"])

    done = check(resources)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("valid: ") == len(resources) == 5


@pytest.mark.needs("check-custom-resources")
def test_schemas_reject_a_misspelt_field():
    resource = example("external-secret.yaml")
    entry = resource["spec"]["data"][0]
    entry["remoteref"] = entry.pop("remoteRef")

    done = check([resource])
    assert done.returncode == 1
    assert "must have required property remoteRef" in done.stdout


def test_external_secret_writes_the_secret_and_keys_that_the_pod_mounts(tmp_path):
    spec = example("external-secret.yaml")["spec"]
    job = documents(rendered({}, tmp_path))["CronJob", "invite-sweeper"]
    (volume,) = (v for v in pod_spec(job)["volumes"] if "secret" in v)
    (box,) = pod_spec(job)["containers"]

    assert spec["target"]["name"] == volume["secret"]["secretName"]
    assert spec["target"]["deletionPolicy"] == "Retain"
    mounted = {entry["value"].rpartition("/")[2] for entry in box["env"]}
    assert {entry["secretKey"] for entry in spec["data"]} == mounted


def test_argo_cd_renders_the_chart_as_a_dry_run_with_a_valid_policy(tmp_path):
    source = example("argo-cd-helm.yaml")["spec"]["source"]
    values = source["helm"]["valuesObject"]
    manifests = documents(rendered(values, tmp_path))
    (box,) = pod_spec(manifests["CronJob", "invite-sweeper"])["containers"]

    assert DEPLOY.parent / source["path"] == CHART
    assert box["args"][0] == "plan"
    policy = manifests["ConfigMap", "invite-sweeper-policy"]["data"]["policy.yaml"]
    assert parse_policy(policy.encode(), "policy.yaml").limits.max_deletions == 25
