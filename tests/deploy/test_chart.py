"""The chart renders what its values say, or refuses them for a stated reason."""

import json
import re

import pytest
from deploy.containers import run
from deploy.manifests import (
    CHART,
    DEPLOY,
    KUBERNETES,
    NAME,
    documents,
    load,
    night_of,
    render,
    rendered,
    side_by_side,
)
from deploy.pods import OPTIONS, check

from invite_sweeper.policy import parse_policy

pytestmark = pytest.mark.needs("helm")

LINE = "x\nkind: Secret"
PASSWORD = "http://user:password@gateway:9091"
PORTS = [{"port": 443}]
ACCOUNT = {"name": "EU_1", "secretName": "a", "kind": "api-key"}
FOR_A_REASON = [
    ("modus", "sweep", "additional properties 'modus' not allowed"),
    ("shards", 3, "at '/audit/accessMode': value must be 'ReadWriteMany'"),
    ("credentials", {"secretName": ""}, "at '/credentials/secretName': minLength"),
    ("job.args", ["audit", "verify"], "at '/job/name': minLength"),
    ("credentials", {"kind": "none"}, "at '/extraEnv': no items match contains schema"),
    ("podLabels", {LINE: "a"}, "invalid propertyName 'x\\nkind"),
    ("jobAnnotations", {LINE: "c"}, "invalid propertyName 'x\\nkind"),
]
"""A value, and the reason of the chart, which names neither the value nor one alone."""
WRONG = {
    "image.tag": ("latest",),
    "terminationGracePeriodSeconds": (20,),
    "credentials.named": ([ACCOUNT | {"name": "prod"}],),
    "metrics.pushgateway": (PASSWORD,),
    "proxy.url": (PASSWORD,),
    "networkPolicy.egress": ([{"ports": PORTS}], [{"to": [{}], "ports": PORTS}]),
    "extraArgs": (["sweep"], [f"--verbose{LINE}"]),
    "extraEnv": (
        [{"name": "A", "value": "\x0c"}],
        [{"name": "INVITE_SWEEPER_COMMAND", "value": "sweep"}],
        [{"name": "MONGODB_ATLAS_CLIENT_SECRET", "value": "secret"}],
        [{"name": "MONGODB_ATLAS_PRIVATE_API_KEY_PROD", "value": "secret"}],
    ),
    "policy": ("a: 1\n\u2028kind: Secret\n",),
}
"""Values that the chart refuses, naming them."""
RIGHT = {
    "mode": ("sweep",),
    "commonLabels": ({"example.com/team": "platform"},),
    "image.digest": (f"sha256:{'a' * 64}",),
    "audit": ({"existingClaim": "company-audit"},),
    "retries": (0, 6),
    "deadlineMinutes": (1, 300),
    "credentials": (
        {"kind": "api-key"},
        {"kind": "none", "named": [ACCOUNT]},
        {"secretName": "", "named": [ACCOUNT]},
    ),
    "job": ({"name": "verify-1", "args": ["audit", "verify"]},),
    "metrics.textfile": ({"claimName": "metrics"}, {"hostPath": "/var/lib/node-exporter"}),
    "networkPolicy.enabled": (False,),
    "podLabels": ({"app.kubernetes.io/name": "other"},),
    "policyConfigMap": ("company-policy",),
}
"""Values that change what `check` compares; examples/customized.yaml has others."""
REFUSED = [
    *FOR_A_REASON,
    *((path, each, f"at '/{path.replace('.', '/')}") for path in WRONG for each in WRONG[path]),
]
ACCEPTED = [(path, each) for path in RIGHT for each in RIGHT[path]]
HARMLESS = {
    *("-o", "-q", "-v", "output", "quiet", "verbose", "log-format"),
    *("base-url", "project", "dry-run", "detailed-exitcode", "reason"),
}
"""The options of a sweep that may be in `extraArgs`: the others are the chart's or a guard's."""


def values_of(path, value):
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def refusals(values, folder):
    """Return what the schema says about refused values, by their name."""
    told = side_by_side(values, folder).stderr
    assert "values don't meet the specifications of the schema" in told
    parts = re.split(r"^(\w+):$", told, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_wrong_value_is_refused_by_its_name(tmp_path):
    values = {f"c{n}": values_of(*each[:2]) for n, each in enumerate(REFUSED)}
    told = refusals(values, tmp_path)
    accepted = [each for n, each in enumerate(REFUSED) if each[2] not in told.get(f"c{n}", "")]

    assert accepted == []


def test_extra_arguments_are_the_options_of_a_sweep_that_switch_off_no_guard(tmp_path):
    options = {f"o{n}": each for n, each in enumerate(sorted(OPTIONS))}
    given = {key: f"{'' if name[0] == '-' else '--'}{name}" for key, name in options.items()}
    values = {key: {"extraArgs": [option]} for key, option in given.items()}
    allowed = values.keys() - refusals(values, tmp_path).keys()

    assert {options[key] for key in allowed} == HARMLESS


def texts(values, path=""):
    """Yield the dotted path of each text in values."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from texts(value, f"{path}{name}.")
        elif isinstance(value, str):
            yield f"{path}{name}"


def test_text_with_a_line_break_is_refused_or_stays_one_string(tmp_path):
    paths = {f"t{n}": each for n, each in enumerate(texts(load(CHART / "values.yaml")))}
    values = {key: values_of(path, LINE) for key, path in paths.items()}
    free = values.keys() - refusals(values, tmp_path).keys()
    (tmp_path / "free").mkdir()
    found = charts(side_by_side({key: values[key] for key in free}, tmp_path / "free").stdout)

    assert {paths[key] for key in free} == {
        "policy", "podSecurityContext.fsGroupChangePolicy", "podSecurityContext.seccompProfile.type"
    }  # fmt: skip
    assert found.keys() == free
    assert {kind for each in found.values() for kind, _ in each} == {
        "CronJob", "ConfigMap", "NetworkPolicy", "PersistentVolumeClaim", "ServiceAccount"
    }  # fmt: skip


def charts(text):
    found = {}
    for alias, part in re.findall(
        r"^# Source: parent/charts/(\w+)/\S+\n(.*?)(?=^---|\Z)", text, re.MULTILINE | re.DOTALL
    ):
        found[alias] = f"{found.get(alias, '')}---\n{part}"
    return {alias: documents(part) for alias, part in found.items()}


def test_values_render_pods_that_agree_and_policies_that_select_them_alone(tmp_path):
    values = {f"v{n}": values_of(*each) for n, each in enumerate(ACCEPTED)}
    rendering = side_by_side(values, tmp_path)
    assert rendering.returncode == 0, rendering.stderr
    found = charts(rendering.stdout)

    assert found.keys() == values.keys()
    pods = {
        alias: night_of(manifests).job["template"]["metadata"]["labels"].items()
        for alias, manifests in found.items()
    }
    for alias, manifests in found.items():
        check(f"{NAME}-{alias}", manifests, values[alias])
        for (kind, _), policy in manifests.items():
            if kind == "NetworkPolicy":
                selector = policy["spec"]["podSelector"]["matchLabels"].items()
                assert [each for each, labels in pods.items() if selector <= labels] == [alias]


@pytest.mark.parametrize(
    ("release", "override", "name"),
    [
        ("invite-sweeper", "", "invite-sweeper"),
        ("a" * 40, "", f"{'a' * 40}-invite-sweep"),
        ("eu", "other", "other"),
    ],
)
def test_objects_have_the_name_of_the_release_and_of_the_chart(release, override, name, tmp_path):
    set_name = f"--set=fullnameOverride={override}"
    text = run("helm", "template", release, CHART, "--namespace=shared", set_name).stdout
    (job,) = (each for (kind, each) in documents(text) if kind == "CronJob")

    assert job == name[:52]
    assert night_of(text).environment["INVITE_SWEEPER_INSTANCE"] == f"shared/{job}"


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\r\nkind: Secret\r\n",
        "  indented\nkind: Secret\n\n\n",
        "{{ .Release.Name }}\n\ttab: 'x' # \U0001f510",
    ],
    ids=ascii,
)
def test_free_text_stays_as_it_is(text, tmp_path):
    environment = [{"name": "A", "value": text}]
    values = {"policy": text, "extraEnv": environment, "podAnnotations": {"a": text}}
    found = documents(rendered(values, tmp_path))
    night = night_of(found)

    assert found["ConfigMap", f"{NAME}-policy"]["data"] == {"policy.yaml": text}
    assert night.environment["A"] == text
    assert night.job["template"]["metadata"]["annotations"] == {"a": text}


def test_claim_survives_uninstalling_argo_cd_and_flux(tmp_path):
    values = {"size": "5Gi", "storageClassName": "fast"}
    values["claim"] = {"annotations": {"a": "b", "helm.sh/resource-policy": "delete"}}
    found = documents(rendered({"audit": values}, tmp_path))
    claim = found["PersistentVolumeClaim", f"{NAME}-audit"]
    other = load(KUBERNETES / "audit-claim.yaml")
    kept = other["metadata"]["annotations"]

    assert kept == {
        "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    }
    assert claim["metadata"]["annotations"] == kept | {"helm.sh/resource-policy": "keep", "a": "b"}
    size = {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}
    assert claim["spec"] == other["spec"] | size


def test_alerts_know_the_schedule_and_the_release_and_are_silent_while_it_is_suspended(tmp_path):
    weekdays = {"prometheusRule": {"enabled": True, "hoursWithoutSuccess": 74}}
    rule = documents(rendered(weekdays, tmp_path))["PrometheusRule", NAME]
    shipped = load(CHART / "files/alerts.yaml")
    text = repr(shipped).replace("26 * 3600", "74 * 3600").replace("26h", "74h")

    assert repr(rule["spec"]) == text.replace('=~".+"', f'="{NAME}/{NAME}"') != text
    assert "PrometheusRule" not in rendered(weekdays | {"suspend": True}, tmp_path)


def test_each_release_has_a_dashboard_of_its_own(tmp_path):
    source = json.loads((CHART / "files/dashboard.json").read_text(encoding="utf-8"))
    uids = set()
    for given, instance in (("", f"{NAME}/{NAME}"), ("eu", "eu")):
        values = {"dashboard": {"enabled": True}, "metrics": {"instance": given}}
        config = documents(rendered(values, tmp_path))["ConfigMap", f"{NAME}-dashboard"]
        dashboard = json.loads(config["data"][f"{NAME}-{NAME}.json"])
        uids.add(dashboard["uid"])
        (chosen,) = (v for v in dashboard["templating"]["list"] if v["name"] == "instance")
        assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert dashboard["title"] == f"invite_sweeper {instance}"
        assert chosen["current"] == {"text": instance, "value": instance}
        assert dashboard["panels"] == source["panels"]
    assert len(uids) == 2


def test_command_of_the_values_wins_also_without_the_schema(tmp_path):
    """Kubernetes takes the last of two variables of one name."""
    given = {"extraEnv": [{"name": "INVITE_SWEEPER_COMMAND", "value": "sweep"}]}
    refused = render(given, tmp_path, "--skip-schema-validation", check=False)
    allowed = {"extraEnv": [{"name": "A", "value": "b"}]}
    (*_, last) = night_of(rendered(allowed, tmp_path)).box["env"]

    assert "INVITE_SWEEPER_COMMAND is that of the chart: set mode" in refused.stderr
    assert last["name"] == "INVITE_SWEEPER_COMMAND"


VAULT = "vault.hashicorp.com/agent-"
TEMPLATE = '{{- with secret "%s" -}}{{ index .Data.data "%s" }}{{- end -}}'


def test_agent_of_vault_writes_what_the_program_reads_and_has_a_token_that_it_cannot(tmp_path):
    values = load(CHART / "examples/vault.yaml")
    annotations = values["podAnnotations"]
    night = night_of(rendered(values, tmp_path))
    (token,) = (each for each in night.pod["volumes"] if "projected" in each)
    files = {name: path for name, path in night.environment.items() if name.endswith("_FILE")}
    for path in files.values():
        key = path.removeprefix("/vault/secrets/")
        secret = annotations[f"{VAULT}inject-secret-{key}"]
        assert annotations[f"{VAULT}inject-template-{key}"] == TEMPLATE % (secret, key)

    assert files.keys() == {f"MONGODB_ATLAS_{each}_FILE" for each in ("CLIENT_ID", "CLIENT_SECRET")}
    assert annotations[f"{VAULT}service-account-token-volume-name"] == token["name"]
    assert token["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "vault"
    assert token["name"] not in {each["name"] for each in night.box["volumeMounts"]}
    assert night.pod["automountServiceAccountToken"] is False
    assert not [each for each in night.pod["volumes"] if "secret" in each]


def test_examples_for_operators_name_what_the_pod_mounts(tmp_path):
    secret = load(KUBERNETES / "examples/external-secret.yaml")["spec"]
    source = load(KUBERNETES / "examples/argo-cd-helm.yaml")["spec"]["source"]
    values = source["helm"]["valuesObject"]
    found = documents(rendered(values, tmp_path))
    night = night_of(found)
    (volume,) = (each for each in night.pod["volumes"] if "secret" in each)
    files = {path.rpartition("/")[2] for n, path in night.environment.items() if "_FILE" in n}
    policy = found["ConfigMap", f"{NAME}-policy"]["data"]["policy.yaml"]

    check(NAME, found, {"mode": values["mode"], "image": {"digest": ":dev"}})
    assert secret["target"]["name"] == volume["secret"]["secretName"]
    assert secret["target"]["deletionPolicy"] == "Retain"
    assert {each["secretKey"] for each in secret["data"]} == files
    assert DEPLOY.parent / source["path"] == CHART
    assert parse_policy(policy.encode(), "policy.yaml").limits.max_deletions == 25


def test_job_is_another_one_exactly_where_its_pod_is(tmp_path):
    """Kubernetes refuses a change of the pod of a Job, such as one left in the values."""
    values = {"job": {"name": "verify", "args": ["audit", "verify"]}}
    names = []
    for changed in ({}, {"schedule": "1 1 * * *"}, {"image": {"tag": "b"}}):
        found = documents(rendered(values | changed, tmp_path))
        names += [name for kind, name in found if kind == "Job"]

    assert names[0] == names[1] != names[2]
    assert len(names) == 3


OWN = ("policyConfigMap=company-policy", "image.repository=registry.example.com/a")
PROXY = "proxy.url=http://192.0.2.10:3128"
RULE = '[{"to": [{"ipBlock": {"cidr": "192.0.2.10/32"}}], "ports": [{"port": 3128}]}]'


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ((), ["the policy names the placeholder", 'the image "invite-sweeper" names no registry']),
        ((*OWN, "metrics.pushgateway=https://gateway.example.com"), []),
        (
            (*OWN, "metrics.pushgateway=http://gateway.monitoring.svc:9091"),
            ["not the Pushgateway, gateway.monitoring.svc:9091", "name: monitoring}}}]", "9091}]"],
        ),
        (
            (*OWN, PROXY),
            ["and not the proxy, 192.0.2.10:3128", "cidr: 192.0.2.10/32}}]", "port: 3128}]"],
        ),
        ((*OWN, PROXY, f"networkPolicy.egress={RULE}"), []),
    ],
)
def test_notes_warn_of_placeholders_and_of_what_the_network_policy_does_not_allow(values, warnings):
    given = [f"--set{'-json' if '=[' in value else ''}={value}" for value in values]
    done = run("helm", "install", NAME, CHART, "--dry-run=client", *given)
    notes = done.stdout.partition("\nNOTES:\n")[2]

    assert "lists stale invitations" in notes
    assert notes.count("WARNING: ") == sum(" " in each for each in warnings if "}" not in each)
    assert [each for each in warnings if each not in notes] == []
