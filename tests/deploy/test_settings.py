"""Each setting renders alike with Helm and with kustomize, and matches Kubernetes' schemas."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY, KUBERNETES, built, container, cronjob, documents, pod_spec
from deploy.rendering import (
    CHART,
    comparable,
    kubernetes_versions,
    overlaid,
    render,
    rendered,
    without_labels_of_helm,
)

pytestmark = pytest.mark.needs("helm", "kustomize")

PAGE = (KUBERNETES / "settings.md").read_text(encoding="utf-8")
PARTS = {
    section.partition("\n")[0]: yaml.safe_load(
        section.partition("```yaml\n")[2].partition("\n```")[0]
    )
    for section in PAGE.split("\n## ")[1:]
}
"""The parts of a kustomization by their headings."""

ONE_NODE = "ReadWriteOnce"
GATEWAY_RULE = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    "ports": [{"protocol": "TCP", "port": 9091}],
}
PROXY_RULE = {
    "to": [{"ipBlock": {"cidr": "192.0.2.10/32"}}],
    "ports": [{"protocol": "TCP", "port": 3128}],
}
CUSTOMIZED = yaml.safe_load((CHART / "examples/customized.yaml").read_text(encoding="utf-8"))
AUTHORITY = {
    "extraVolumes": [{"name": "company-ca", "configMap": {"name": "company-ca"}}],
    "extraVolumeMounts": [{"name": "company-ca", "mountPath": "/etc/company-ca", "readOnly": True}],
    "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/company-ca/ca.pem"}],
}
VALUES = {
    "API key": {"credentials": {"kind": "api-key"}},
    "Named credentials": {
        "credentials": {
            "named": [
                {"name": "PROD", "secretName": "invite-sweeper-prod", "kind": "service-account"}
            ]
        }
    },
    "Existing claim": {"audit": {"existingClaim": "company-audit"}},
    "Pushgateway": {
        "metrics": {"pushgateway": "http://pushgateway.monitoring.svc:9091"},
        "networkPolicy": {"egress": [GATEWAY_RULE]},
    },
    "Textfile": {"metrics": {"textfile": {"claimName": "invite-sweeper-metrics"}}},
    "Proxy": {
        "proxy": {"url": "http://proxy.example.com:3128", "noProxy": ".svc,.cluster.local"},
        "networkPolicy": {"egress": [PROXY_RULE]},
    },
    "Alerts": {"prometheusRule": {"enabled": True}},
    "Private CA": AUTHORITY,
    "No NetworkPolicy": {"networkPolicy": {"enabled": False}},
    "What clusters differ in": CUSTOMIZED,
}
"""The values of the chart that do the same as each part."""


def merged(*values):
    """Return one mapping of several, lists appended."""
    whole = {}
    for each in values:
        for key, value in each.items():
            match whole.get(key), value:
                case dict() as old, dict():
                    whole[key] = merged(old, value)
                case list() as old, list():
                    whole[key] = [*old, *value]
                case _:
                    whole[key] = value
    return whole


@pytest.mark.parametrize("title", VALUES)
def test_part_of_the_page_renders_as_the_values_of_the_chart(title, tmp_path):
    chart = comparable(rendered(VALUES[title], tmp_path))

    assert chart == comparable(overlaid(tmp_path, PARTS[title]))
    assert chart != comparable(built(KUBERNETES / "base"))


def test_all_parts_of_the_page_together_render_as_their_values(tmp_path):
    together = [title for title in VALUES if title != "No NetworkPolicy"]
    chart = rendered(merged(*(VALUES[title] for title in together)), tmp_path)

    overlay = overlaid(tmp_path, *(PARTS[title] for title in together))
    assert comparable(chart) == comparable(overlay)


def test_every_part_of_the_page_is_tried():
    assert PARTS.keys() == VALUES.keys()
    assert PAGE.count("```yaml\n") == len(PARTS)


@pytest.mark.parametrize(
    ("audit", "change"),
    [
        ({}, {}),
        ({"storageClassName": "fast"}, {"storageClassName": "fast"}),
        ({"size": "5Gi"}, {"resources": {"requests": {"storage": "5Gi"}}}),
        ({"accessMode": "ReadWriteMany"}, {"accessModes": ["ReadWriteMany"]}),
    ],
    ids=["defaults", "class", "size", "several nodes"],
)
def test_claim_of_the_chart_is_that_of_kustomize_and_stays_when_uninstalled(
    audit, change, tmp_path
):
    (claim,) = documents((KUBERNETES / "audit-claim.yaml").read_text(encoding="utf-8")).values()
    found = documents(rendered({"audit": audit}, tmp_path))[
        "PersistentVolumeClaim", "invite-sweeper-audit"
    ]

    without_labels_of_helm(found)
    assert found["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
    claim["spec"] |= change
    assert found == claim


def discovered(version, *kinds):
    """Return what a cluster says about the kinds of an API version."""
    names = [{"kind": kind, "name": f"{kind.lower()}s"} for kind in kinds]
    resources = [each | {"namespaced": True, "verbs": ["get"]} for each in names]
    return {"groupVersion": version, "resources": resources}


CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "metadata": {
        "name": "invite-sweeper-audit",
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {
            "meta.helm.sh/release-name": "invite-sweeper",
            "meta.helm.sh/release-namespace": "invite-sweeper",
        },
    },
    "spec": {"accessModes": [ONE_NODE]},
}
GROUPS = {"batch": "CronJob", "networking.k8s.io": "NetworkPolicy"}
ANSWERS = {
    "/version": {"gitVersion": "v1.33.0"},
    "/api": {"versions": ["v1"]},
    "/api/v1": discovered("v1", CLAIM["kind"], "ConfigMap", "ServiceAccount"),
    "/apis": {
        "groups": [
            {"name": group, "versions": [{"groupVersion": f"{group}/v1", "version": "v1"}]}
            for group in GROUPS
        ]
    },
    **{f"/apis/{group}/v1": discovered(f"{group}/v1", kind) for group, kind in GROUPS.items()},
    "/api/v1/namespaces/invite-sweeper/persistentvolumeclaims/invite-sweeper-audit": CLAIM,
}


class ApiServer(BaseHTTPRequestHandler):
    """A cluster that has only the claim of an installed chart."""

    def do_GET(self):
        answer = ANSWERS.get(self.path.partition("?")[0])
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *args):
        """Write nothing to stderr."""


@pytest.fixture
def cluster():
    """The address of the cluster."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ApiServer) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_other_access_mode_of_an_installed_claim_is_refused_with_a_sentence(cluster):
    """`lookup` asks the cluster, which `helm upgrade` does, too."""
    command = (
        "helm", "template", "invite-sweeper", CHART, "--namespace=invite-sweeper",
        "--dry-run=server", "--disable-openapi-validation", f"--kube-apiserver={cluster}",
    )  # fmt: skip
    kept = run(*command, f"--set=audit.accessMode={ONE_NODE}")
    refused = run(*command, "--set=audit.accessMode=ReadWriteMany", check=False)
    other = run(*command, "--set=audit.accessMode=ReadWriteMany,audit.existingClaim=other")

    assert "kind: PersistentVolumeClaim" in kept.stdout
    assert refused.returncode != 0
    assert (
        "The claim invite-sweeper-audit has the access mode ReadWriteOnce, which Kubernetes cannot "
        "change. Keep audit.accessMode, or copy the log to a claim of another name and set "
        "audit.existingClaim."
    ) in refused.stderr
    assert "kind: PersistentVolumeClaim" not in other.stdout


def test_existing_claim_of_the_chart_creates_none(tmp_path):
    found = documents(rendered({"audit": {"existingClaim": "company-audit"}}, tmp_path))

    assert "PersistentVolumeClaim" not in {kind for kind, _ in found}


def test_every_value_of_the_chart_has_a_part_of_the_page_or_a_test():
    changed = {key for values in VALUES.values() for key in values}
    every = set(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))

    # Those of Helm alone, and the modes of the overlays, have tests of their own.
    assert every - changed == {
        "mode", "deadlineMinutes", "retries", "shards", "policy", "policyConfigMap",
        "approvedPlan", "dashboard", "suspend", "startingDeadlineSeconds", "initContainers",
        "extraObjects", "podSecurityContext", "securityContext",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.needs("kubernetes-validate")
def test_every_manifest_matches_the_schemas_of_the_newest_three_versions(tmp_path):
    texts = [rendered(values, tmp_path) for values in ({}, *VALUES.values())]
    texts += [overlaid(tmp_path, part) for part in PARTS.values()]
    texts += [built(path) for path in sorted((KUBERNETES / "overlays").iterdir())]
    texts += [
        (KUBERNETES / name).read_text(encoding="utf-8")
        for name in ("namespace.yaml", "audit-claim.yaml")
    ]
    manifests = [each for text in texts for each in documents(text).values()]
    native = {yaml.safe_dump(m) for m in manifests if m["kind"] != "PrometheusRule"}
    path = tmp_path / "all.yaml"
    path.write_text("---\n".join(sorted(native)), encoding="utf-8")
    versions = kubernetes_versions()

    assert len(versions) == 3
    assert len(native) > 25
    for version in versions:
        done = run("kubernetes-validate", "--strict", "-k", version, path, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert (done.stdout + done.stderr).count("passed for resource") == len(native)


def test_labels_of_values_do_not_replace_the_label_of_the_network_policy(tmp_path):
    text = rendered({"podLabels": {"app.kubernetes.io/name": "other"}}, tmp_path)
    labels = cronjob(text)["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    selected = documents(text)["NetworkPolicy", "invite-sweeper"]["spec"]["podSelector"]

    assert labels == selected["matchLabels"]
    assert labels["app.kubernetes.io/name"] == "invite-sweeper"


def rendered_as(release, values, folder):
    """Return the manifests of a release of another name."""
    path = folder / "values.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    command = ("helm", "template", release, CHART, "--namespace=shared", f"--values={path}")
    return documents(run(*command).stdout)


def test_two_releases_in_one_namespace_select_only_their_own_pods(tmp_path):
    pods, selectors, names = [], [], set()
    for release in ("eu", "us"):
        found = rendered_as(release, {}, tmp_path)
        job = found["CronJob", release]
        pods.append(job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"])
        selectors.append(found["NetworkPolicy", release]["spec"]["podSelector"]["matchLabels"])
        assert not names & set(found)
        names |= set(found)

    selects = [[s.items() <= pod.items() for s in selectors] for pod in pods]
    assert selects == [[True, False], [False, True]]


def test_every_manifest_has_the_labels_that_helm_recommends(tmp_path):
    text = rendered({"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}, tmp_path)

    for manifest in documents(text).values():
        labels = manifest["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == "invite-sweeper"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["helm.sh/chart"].startswith("invite-sweeper-")
        assert labels["app.kubernetes.io/version"]


def test_name_of_a_long_release_is_cut_to_what_a_cronjob_may_have(tmp_path):
    (name,) = (n for kind, n in rendered_as("a" * 51 + "-b", {}, tmp_path) if kind == "CronJob")

    assert name == "a" * 51


def test_files_of_vault_replace_the_secret(tmp_path):
    path = "/vault/secrets/client-secret"
    values = {
        "credentials": {"kind": "none"},
        "podAnnotations": {"vault.hashicorp.com/agent-inject": "true"},
        "extraEnv": [{"name": "MONGODB_ATLAS_CLIENT_SECRET_FILE", "value": path}],
    }
    job = cronjob(rendered(values, tmp_path))

    assert container(job)["env"] == values["extraEnv"]
    assert not [v for v in pod_spec(job)["volumes"] if "secret" in v]


def test_user_of_openshift_is_not_set(tmp_path):
    arbitrary = dict.fromkeys(("fsGroup", "runAsGroup", "runAsUser"))
    job = cronjob(rendered({"podSecurityContext": arbitrary}, tmp_path))

    assert not arbitrary.keys() & pod_spec(job)["securityContext"].keys()
    assert pod_spec(job)["securityContext"]["runAsNonRoot"] is True


def test_approved_plan_is_swept_and_nothing_else(tmp_path):
    values = {"mode": "sweep", "approvedPlan": {"secretName": "tonight", "sha256": "a" * 64}}
    job = cronjob(rendered(values, tmp_path))
    args = container(job)["args"]
    (mount,) = (m for m in container(job)["volumeMounts"] if m["name"] == "plan")
    (volume,) = (v for v in pod_spec(job)["volumes"] if v["name"] == "plan")

    assert f"--plan={mount['mountPath']}/plan.jsonl" in args
    assert f"--plan-sha256={'a' * 64}" in args
    assert (mount["readOnly"], volume["secret"]["secretName"]) == (True, "tonight")
    refused = render(values | {"mode": "dry-run"}, tmp_path)
    assert "approvedPlan is carried out by a sweep: set mode: sweep." in refused.stderr


def test_existing_configmap_service_account_and_suspended_schedule(tmp_path):
    values = {
        "policyConfigMap": "company-policy",
        "serviceAccount": {"create": False, "name": "company"},
        "suspend": True,
        "startingDeadlineSeconds": 600,
        "initContainers": [{"name": "wait", "image": "busybox"}],
        "extraObjects": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "more"}}],
    }
    text = rendered(values, tmp_path)
    job, found = cronjob(text), documents(text)

    assert {"ConfigMap", "ServiceAccount"}.isdisjoint(kind for kind, _ in found)
    assert pod_spec(job)["volumes"][0]["configMap"] == {"name": "company-policy"}
    assert pod_spec(job)["serviceAccountName"] == "company"
    assert (job["spec"]["suspend"], job["spec"]["startingDeadlineSeconds"]) == (True, 600)
    assert pod_spec(job)["initContainers"] == values["initContainers"]
    assert found["Secret", "more"] == values["extraObjects"][0]


def test_dashboard_is_that_of_monitoring(tmp_path):
    text = rendered({"dashboard": {"enabled": True}}, tmp_path)
    dashboard = documents(text)["ConfigMap", "invite-sweeper-dashboard"]

    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    source = (DEPLOY / "monitoring/dashboard.json").read_text(encoding="utf-8")
    assert dashboard["data"]["invite-sweeper.json"] == source


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ((), ["the policy names the placeholder", 'the image "invite-sweeper" names no registry']),
        (("policyConfigMap=company-policy", "image.repository=registry.example.com/a"), []),
    ],
    ids=["placeholders", "own policy and image"],
)
def test_notes_warn_of_placeholders(values, warnings, cluster):
    done = run(
        "helm", "install", "invite-sweeper", CHART, "--namespace=invite-sweeper",
        "--dry-run=server", "--disable-openapi-validation", f"--kube-apiserver={cluster}",
        *(f"--set={value}" for value in values),
    )  # fmt: skip
    notes = done.stdout.partition("\nNOTES:\n")[2]

    assert "lists stale invitations" in notes
    assert notes.count("WARNING: ") == len(warnings)
    assert [each for each in warnings if each not in notes] == []


def test_named_credentials_alone_mount_no_secret_without_a_name(tmp_path):
    named = [{"name": "EU_1", "secretName": "eu", "kind": "api-key"}]
    job = cronjob(rendered({"credentials": {"secretName": "", "named": named}}, tmp_path))

    assert [entry["name"] for entry in container(job)["env"]] == [
        "MONGODB_ATLAS_PUBLIC_API_KEY_EU_1_FILE",
        "MONGODB_ATLAS_PRIVATE_API_KEY_EU_1_FILE",
    ]
    secrets = [v["secret"]["secretName"] for v in pod_spec(job)["volumes"] if "secret" in v]
    assert secrets == ["eu"]


def test_host_path_mounts_a_directory_that_must_exist(tmp_path):
    path = "/var/lib/node-exporter"
    job = cronjob(rendered({"metrics": {"textfile": {"hostPath": path}}}, tmp_path))
    (volume,) = (v for v in pod_spec(job)["volumes"] if v["name"] == "metrics")

    assert volume["hostPath"] == {"path": path, "type": "Directory"}


def test_alerts_of_chart_and_example_are_those_of_monitoring():
    source = (DEPLOY / "monitoring/alerts.yaml").read_text(encoding="utf-8")
    (rule,) = documents(
        (KUBERNETES / "examples/prometheus-rule.yaml").read_text(encoding="utf-8")
    ).values()

    for name in ("alerts.yaml", "dashboard.json"):
        assert (CHART / "files" / name).resolve() == DEPLOY / "monitoring" / name
    assert rule["spec"] == yaml.safe_load(source)
