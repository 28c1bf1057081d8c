"""Each setting renders alike with Helm and with kustomize, and matches Kubernetes' schemas."""

from dataclasses import dataclass, field

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

GATEWAY_RULE = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
    "ports": [{"protocol": "TCP", "port": 9091}],
}
PROXY_RULE = {
    "to": [{"ipBlock": {"cidr": "192.0.2.10/32"}}],
    "ports": [{"protocol": "TCP", "port": 3128}],
}
PROXY = {"url": "http://proxy.example.com:3128", "noProxy": ".svc,.cluster.local"}
NAMED = [{"name": "PROD", "secretName": "invite-sweeper-prod", "kind": "service-account"}]
PUSHED = {"metrics": {"pushgateway": "http://pushgateway.monitoring.svc:9091"}}
TEXTFILE = {"metrics": {"textfile": {"claimName": "invite-sweeper-metrics"}}}
CHECKPOINT = {"checkpoint": {"claimName": "invite-sweeper-checkpoint"}}


@dataclass(frozen=True)
class Setting:
    """Values of the chart, and the components and patches of kustomize that do the same."""

    name: str
    values: dict
    components: tuple = ()
    patches: list = field(default_factory=list)


def patch(kind, name, change):
    target = {"apiVersion": {"CronJob": "batch/v1"}.get(kind, "v1"), "kind": kind}
    meta = {"metadata": {"name": name, "namespace": "invite-sweeper"}}
    return [{"patch": yaml.safe_dump(target | meta | change)}]


def egress(*rules):
    return {"networkPolicy": {"egress": list(rules)}}


SETTINGS = [
    Setting("defaults", {}),
    Setting("armed", {"mode": "sweep"}, ("armed",)),
    Setting("API key", {"credentials": {"kind": "api-key"}}, ("api-key",)),
    Setting("named credentials", {"credentials": {"named": NAMED}}, ("named-credentials",)),
    Setting(
        "signing key", {"signingKey": {"secretName": "invite-sweeper-signing"}}, ("signing-key",)
    ),
    Setting("checkpoint", CHECKPOINT, ("checkpoint",)),
    Setting("pushgateway", PUSHED | egress(GATEWAY_RULE), ("pushgateway",)),
    Setting("textfile", TEXTFILE, ("textfile",)),
    Setting("alerts", {"prometheusRule": {"enabled": True}}, ("alerts",)),
    Setting("proxy", {"proxy": PROXY} | egress(PROXY_RULE), ("proxy",)),
    Setting("no NetworkPolicy", {"networkPolicy": {"enabled": False}}, ("no-network-policy",)),
    Setting("existing claim", {"audit": {"existingClaim": "company-audit"}}, ("existing-claim",)),
    Setting(
        "schedule and time zone",
        {"schedule": "5 4 * * *", "timeZone": "America/New_York"},
        patches=patch(
            "CronJob",
            "invite-sweeper",
            {"spec": {"schedule": "5 4 * * *", "timeZone": "America/New_York"}},
        ),
    ),
    Setting(
        "all components together",
        {
            "mode": "sweep",
            "audit": {"existingClaim": "company-audit"},
            "credentials": {"kind": "api-key", "named": NAMED},
            "signingKey": {"secretName": "invite-sweeper-signing"},
            "metrics": PUSHED["metrics"] | TEXTFILE["metrics"],
            "prometheusRule": {"enabled": True},
            "proxy": PROXY,
        }
        | CHECKPOINT
        | egress(GATEWAY_RULE, PROXY_RULE),
        (
            *("armed", "existing-claim", "api-key", "named-credentials", "signing-key"),
            *("checkpoint", "pushgateway", "textfile", "alerts", "proxy"),
        ),
    ),
]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_setting_renders_alike_with_helm_and_kustomize(setting, tmp_path):
    chart = comparable(rendered(setting.values, tmp_path))
    overlay = comparable(overlaid(setting.components, tmp_path, patches=setting.patches))

    assert chart == overlay
    if setting.name != "defaults":
        assert chart != comparable(built(KUBERNETES / "base"))


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


def test_existing_claim_of_the_chart_creates_none(tmp_path):
    found = documents(rendered({"audit": {"existingClaim": "company-audit"}}, tmp_path))

    assert "PersistentVolumeClaim" not in {kind for kind, _ in found}


def test_customized_overlay_and_example_values_render_alike(tmp_path):
    chart = comparable(rendered({}, tmp_path, CHART / "examples/customized.yaml"))

    assert chart == comparable(built(KUBERNETES / "overlays/customized"))


def test_customized_example_changes_every_value_without_a_component():
    """A new value needs an example, or a component in SETTINGS."""
    changed = set(yaml.safe_load((CHART / "examples/customized.yaml").read_text(encoding="utf-8")))
    changed |= {key for setting in SETTINGS for key in setting.values}
    every = set(yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8")))

    # Those of Helm alone have tests of their own.
    assert every - changed == {
        "deadlineMinutes", "retries", "shards", "policy", "policyConfigMap", "approvedPlan",
        "dashboard", "suspend", "startingDeadlineSeconds", "extraVolumes", "extraVolumeMounts",
        "initContainers", "extraObjects", "podSecurityContext", "securityContext",
    }  # fmt: skip


def test_every_component_is_in_the_table():
    folders = {path.name for path in (KUBERNETES / "components").iterdir()}

    assert folders == {name for setting in SETTINGS for name in setting.components}


@pytest.mark.slow
@pytest.mark.needs("kubernetes-validate")
def test_every_manifest_matches_the_schemas_of_the_newest_three_versions(tmp_path):
    texts = [rendered(setting.values, tmp_path) for setting in SETTINGS]
    texts += [overlaid(each.components, tmp_path, patches=each.patches) for each in SETTINGS]
    texts += [rendered({}, tmp_path, CHART / "examples/customized.yaml")]
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


def test_private_authority_is_mounted_and_named(tmp_path):
    values = {
        "extraVolumes": [{"name": "authority", "configMap": {"name": "company-authority"}}],
        "extraVolumeMounts": [{"name": "authority", "mountPath": "/etc/company", "readOnly": True}],
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/company/ca.pem"}],
    }
    job = cronjob(rendered(values, tmp_path))

    assert pod_spec(job)["volumes"][-1] == values["extraVolumes"][0]
    assert container(job)["volumeMounts"][-1] == values["extraVolumeMounts"][0]
    assert container(job)["env"][-1] == values["extraEnv"][0]


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
    values = {"mode": "sweep", "approvedPlan": {"secretName": "tonight"}}
    job = cronjob(rendered(values, tmp_path))
    args = container(job)["args"]
    (mount,) = (m for m in container(job)["volumeMounts"] if m["name"] == "plan")
    (volume,) = (v for v in pod_spec(job)["volumes"] if v["name"] == "plan")

    assert f"--plan={mount['mountPath']}/plan.jsonl" in args
    assert f"--require-approval={mount['mountPath']}/approver.pub" in args
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


def test_dashboard_is_that_of_monitoring_and_notes_warn_of_the_placeholder(tmp_path):
    text = rendered({"dashboard": {"enabled": True}}, tmp_path)
    dashboard = documents(text)["ConfigMap", "invite-sweeper-dashboard"]

    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    source = (DEPLOY / "monitoring/dashboard.json").read_text(encoding="utf-8")
    assert dashboard["data"]["invite-sweeper.json"] == source
    notes = (CHART / "templates/NOTES.txt").read_text(encoding="utf-8")
    assert 'contains "000000000000000000000000"' in notes


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


def test_alerts_of_chart_and_component_are_those_of_monitoring():
    source = (DEPLOY / "monitoring/alerts.yaml").read_text(encoding="utf-8")
    (rule,) = documents(
        (KUBERNETES / "components/alerts/prometheus-rule.yaml").read_text(encoding="utf-8")
    ).values()

    for name in ("alerts.yaml", "dashboard.json"):
        assert (CHART / "files" / name).resolve() == DEPLOY / "monitoring" / name
    assert rule["spec"] == yaml.safe_load(source)
