"""The chart renders what its values say, or refuses them for a stated reason."""

import json
import random
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
from deploy.pods import check
from running import cli_in
from seeds import seeds

from invite_sweeper.endings import ExitCode
from invite_sweeper.policy import parse_policy

pytestmark = pytest.mark.needs("helm")

VAULT_VALUES = load(CHART / "examples/vault.yaml")


LINE = "x\nkind: Secret"
BAD_ACCOUNT = {"name": "prod", "secretName": "a", "kind": "api-key"}
FOR_A_REASON = [
    ("modus", "sweep", "additional properties 'modus' not allowed"),
    ("shards", 3, "at '/audit/accessMode': value must be 'ReadWriteMany'"),
    ("credentials.secret", "x", "additional properties 'secret' not allowed"),
    ("credentials", {"secretName": ""}, "at '/credentials/secretName': minLength"),
    ("job.args", ["audit", "verify"], "at '/job/name': minLength"),
    ("credentials", {"kind": "none"}, "at '/extraEnv': no items match contains schema"),
    ("podLabels", {LINE: "a"}, "invalid propertyName 'x\\nkind"),
    ("jobAnnotations", {f"a: b{LINE}": "c"}, "invalid propertyName 'a: bx\\nkind"),
]
"""A value, and the reason of the chart, which names neither the value nor one alone."""
WRONG = {
    "mode": ("Sweep", f"sweep{LINE}"),
    "fullnameOverride": ("A_b",),
    "image.tag": ("latest", f"1{LINE}", 1.0),
    "image.digest": ("sha256:beef",),
    "image.repository": (f"a{LINE}", "a b", '"quoted"'),
    "schedule": ("@hourly", "17 3 * *", "17 3 * * *\nsuspend: true"),
    "timeZone": (f"Etc/UTC{LINE}", 'UTC" #'),
    "shards": (0, "3"),
    "terminationGracePeriodSeconds": (20,),
    "credentials.secretName": (f"a{LINE}",),
    "credentials.named": ([BAD_ACCOUNT], [BAD_ACCOUNT | {"name": "P_"}]),
    "audit.accessMode": ("ReadWriteOncePod",),
    "metrics.instance": ('"', "a b", f"a{LINE}"),
    "metrics.pushgateway": ("http://user:password@gateway:9091", f"http://gateway{LINE}"),
    "proxy.url": ("http://user:password@proxy:3128", "proxy:3128"),
    "networkPolicy.enabled": ("no",),
    "networkPolicy.egress": (
        [{}], [{"ports": [{"port": 443}]}], [{"to": [{}], "ports": [{"port": 443}]}],
    ),
    "extraArgs": (
        ["sweep"], [f"--verbose{LINE}"], ["--audit-dir=/tmp/other"], ["--policy"], ["--yes"],
        ["--plan-max-age=1000d"],
    ),
    "extraObjects": ([{"kind": "Secret"}],),
    "extraEnv": (
        [{"name": "A B", "value": ""}], [{"name": "A", "value": 1}],
        [{"name": "A", "value": "\x0c"}], [{"name": "A"}],
        [{"name": "INVITE_SWEEPER_COMMAND", "value": "sweep"}],
        [{"name": "MONGODB_ATLAS_CLIENT_SECRET", "value": "secret"}],
        [{"name": "MONGODB_ATLAS_PRIVATE_API_KEY_PROD", "value": "secret"}],
    ),
    "extraEnvFrom": ([{}], [{"secretRef": {"name": "a", "namespace": "b"}}]),
    "podLabels": ({"a": True},),
    "resources.limits": ({"memory": f"1Gi{LINE}"}, {"memory": "1 GB"}),
    "policy": ("", {"version": 1}, "a: 1\n\u2028kind: Secret\n", "a: 1\x85kind: Secret"),
}  # fmt: skip
"""Values that the chart refuses, naming them."""
RIGHT = {
    "mode": ("sweep",),
    "enabled": (True,),
    "commonLabels": ({"example.com/team": "platform"},),
    "image.digest": (f"sha256:{'a' * 64}",),
    "shards": (3,),
    "audit.existingClaim": ("company-audit",),
    "audit.claim": ({"annotations": {"a": "b"}},),
    "retries": (0, 6),
    "deadlineMinutes": (1, 300),
    "suspend": (True,),
    "successfulJobsHistoryLimit": (0,),
    "ttlSecondsAfterFinished": (0, 86400),
    "activeDeadlineSeconds": (43200,),
    "terminationGracePeriodSeconds": (90,),
    "topologySpreadConstraints": (
        [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
    ),
    "credentials": (
        {"kind": "api-key"},
        {"kind": "none", "named": [BAD_ACCOUNT | {"name": "EU_1"}]},
        {"named": [BAD_ACCOUNT | {"name": "EU_1"}]},
        {"secretName": "", "named": [BAD_ACCOUNT | {"name": "US_1"}]},
    ),
    "job": (
        {"name": "verify-1", "args": ["audit", "verify"]},
        {"name": "doctor", "args": ["doctor"]},
    ),
    "metrics.pushgateway": ("http://pushgateway:9091",),
    "metrics.textfile": ({"claimName": "metrics"}, {"hostPath": "/var/lib/node-exporter"}),
    "metrics.instance": ("eu",),
    "prometheusRule.enabled": (True,),
    "dashboard.enabled": (True,),
    "proxy": ({"url": "http://proxy:3128", "noProxy": ".svc"},),
    "networkPolicy.enabled": (False,),
    "serviceAccount": ({"create": False, "name": "company"},),
    "podLabels": ({"app.kubernetes.io/name": "other"},),
    "extraArgs": (["--verbose"],),
    "extraEnv": ([{"name": "MONGODB_ATLAS_CLIENT_SECRET_EU_2_FILE", "value": "/vault/a"}],),
    "podSecurityContext": ({"fsGroup": None, "runAsUser": None},),
    "policyConfigMap": ("company-policy",),
    "initContainers": ([{"name": "wait", "image": "busybox"}],),
    "extraObjects": ([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "more"}}],),
}
REFUSED = [
    *FOR_A_REASON,
    *((path, each, f"at '/{path.replace('.', '/')}") for path in WRONG for each in WRONG[path]),
]
ACCEPTED = [(path, each) for path in RIGHT for each in RIGHT[path]]


def values_of(*pairs):
    """Return nested values of dotted paths."""
    whole = {}
    for path, value in pairs:
        *above, key = path.split(".")
        inner = whole
        for name in above:
            inner = inner.setdefault(name, {})
        inner[key] = value
    return whole


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """What the schema says about each refused value, by the alias of the chart."""
    values = {f"c{n}": values_of(each[:2]) for n, each in enumerate(REFUSED)}
    told = side_by_side(values, tmp_path_factory.mktemp("refused")).stderr
    assert "values don't meet the specifications of the schema" in told
    parts = re.split(r"^(c\d+):$", told, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=lambda n: ascii(REFUSED[n]))
def test_wrong_value_is_refused_by_its_name(refused, number):
    assert REFUSED[number][2] in refused[f"c{number}"]


def combination(seed):
    """Return values of five keys; several pods need a claim that several nodes can mount."""
    pairs = random.Random(seed).sample(ACCEPTED, 5)
    several = any(path == "shards" for path, _ in pairs)
    return values_of(*pairs, *([("audit.accessMode", "ReadWriteMany")] if several else ()))


def charts(text):
    """Return the manifests of each chart of a parent, by its alias."""
    found = {}
    for alias, part in re.findall(
        r"^# Source: parent/charts/(\w+)/\S+\n(.*?)(?=^---|\Z)", text, re.MULTILINE | re.DOTALL
    ):
        found[alias] = f"{found.get(alias, '')}---\n{part}"
    return {alias: documents(part) for alias, part in found.items()}


def test_values_alone_and_combined_render_pods_that_agree_and_policies_that_select_them(tmp_path):
    alone = {f"v{n}": values_of(each) for n, each in enumerate(ACCEPTED) if each[0] != "shards"}
    values = alone | {f"c{seed}": combination(seed) for seed in seeds(30)}
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
        ("eu", "", "eu-invite-sweeper"),
        ("eu-invite-sweeper-2", "", "eu-invite-sweeper-2"),
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
        "---\nkind: Secret\n---\n",
        "  indented\nkind: Secret\n\n\n",
        "{{ .Release.Name }}\n\ttab: 'x'\n",
        "…: \U0001f510 # comment",
    ],
    ids=ascii,
)
def test_free_text_stays_one_string(text, tmp_path):
    values = {
        "policy": text,
        "extraEnv": [{"name": "A", "value": text}],
        "podAnnotations": {"a": text},
        "job": {"name": "once", "args": [text]},
    }
    found = documents(rendered(values, tmp_path))
    night = night_of(found)

    assert len(found) == 7
    assert found["ConfigMap", f"{NAME}-policy"]["data"] == {"policy.yaml": text}
    assert night.environment["A"] == text
    assert night.job["template"]["metadata"]["annotations"] == {"a": text}
    (job,) = (each for (kind, _), each in found.items() if kind == "Job")
    (once,) = job["spec"]["template"]["spec"]["containers"]
    assert once["args"] == [text]


def test_claim_survives_uninstalling_argo_cd_and_flux(tmp_path):
    values = {"audit": {"size": "5Gi", "storageClassName": "fast"}}
    values["audit"]["claim"] = {"annotations": {"a": "b", "helm.sh/resource-policy": "delete"}}
    claim = documents(rendered(values, tmp_path))["PersistentVolumeClaim", f"{NAME}-audit"]
    other = load(KUBERNETES / "audit-claim.yaml")
    kept = {
        "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
        "kustomize.toolkit.fluxcd.io/prune": "disabled",
    }

    assert claim["metadata"]["annotations"] == {
        "helm.sh/resource-policy": "keep", "a": "b", **kept
    }  # fmt: skip
    assert other["metadata"]["annotations"] == kept
    assert claim["spec"] == other["spec"] | {
        "storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}
    }  # fmt: skip


def test_alerts_know_the_schedule_and_the_release_and_are_silent_while_it_is_suspended(tmp_path):
    weekdays = {"prometheusRule": {"enabled": True, "hoursWithoutSuccess": 74}}
    rule = documents(rendered(weekdays, tmp_path))["PrometheusRule", NAME]
    shipped = load(CHART / "files/alerts.yaml")
    text = repr(shipped).replace("26 * 3600", "74 * 3600").replace("26h", "74h")

    assert repr(rule["spec"]) == text.replace('=~".+"', f'="{NAME}/{NAME}"') != text
    assert "PrometheusRule" not in rendered(weekdays | {"suspend": True}, tmp_path)


def test_each_release_has_a_dashboard_of_its_own(tmp_path):
    source = json.loads((CHART / "files/dashboard.json").read_text(encoding="utf-8"))
    found = {}
    files = set()
    for instance in ("", "eu"):
        values = {"dashboard": {"enabled": True}, "metrics": {"instance": instance}}
        config = documents(rendered(values, tmp_path))["ConfigMap", f"{NAME}-dashboard"]
        assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((file, text),) = config["data"].items()
        files.add(file)
        found[instance or f"{NAME}/{NAME}"] = json.loads(text)

    assert files == {f"{NAME}-{NAME}.json"}
    assert len({each["uid"] for each in found.values()}) == 2
    for instance, dashboard in found.items():
        assert dashboard["title"] == f"invite_sweeper {instance}"
        (chosen,) = (v for v in dashboard["templating"]["list"] if v["name"] == "instance")
        assert chosen["current"] == {"text": instance, "value": instance}
        assert dashboard["panels"] == source["panels"]


def test_command_of_the_values_wins_also_without_the_schema(tmp_path):
    """Kubernetes takes the last of two variables of one name."""
    given = {"extraEnv": [{"name": "INVITE_SWEEPER_COMMAND", "value": "sweep"}]}
    refused = render(given, tmp_path, "--skip-schema-validation", check=False)
    allowed = {"extraEnv": [{"name": "A", "value": "b"}]}
    (*_, last) = night_of(rendered(allowed, tmp_path)).box["env"]

    assert "INVITE_SWEEPER_COMMAND is that of the chart: set mode" in refused.stderr
    assert last["name"] == "INVITE_SWEEPER_COMMAND"


VAULT = "vault.hashicorp.com/agent-"
TEMPLATE = re.compile(
    r"""\{\{- with secret "([\w/-]+)" -\}\}\{\{ index \.Data\.data "([\w-]+)" \}\}\{\{- end -\}\}"""
)


def test_agent_of_vault_has_a_token_that_the_program_cannot_read(tmp_path):
    """As the injector's `serviceaccount()` finds it: by its name, at a path of the agent's own."""
    _, _, pod, box = night_of(rendered(VAULT_VALUES, tmp_path))
    (token,) = (each for each in pod["volumes"] if "projected" in each)

    assert (
        VAULT_VALUES["podAnnotations"][f"{VAULT}service-account-token-volume-name"] == token["name"]
    )
    assert token["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "vault"
    assert token["name"] not in {each["name"] for each in box["volumeMounts"]}
    assert pod["automountServiceAccountToken"] is False
    assert not [each for each in pod["volumes"] if "secret" in each]


@pytest.mark.parametrize(
    ("missing", "code"), [("", ExitCode.DONE), ("client-secret", ExitCode.USAGE)]
)
def test_program_reads_what_the_agent_of_vault_writes(missing, code, tmp_path):
    """A key that the secret does not have is `<no value>` in a template, and not a credential."""
    annotations = VAULT_VALUES["podAnnotations"]
    variables = night_of(rendered(VAULT_VALUES, tmp_path)).environment
    files = {name: path for name, path in variables.items() if name.endswith("_FILE")}
    with cli_in(tmp_path, kind="service-account") as cli:
        cli.stock()
        values = cli.account.environment()
        secret = dict(zip(("client-id", "client-secret"), values.values(), strict=True))
        for variable, path in files.items():
            name = path.removeprefix("/vault/secrets/")
            source, key = TEMPLATE.fullmatch(annotations[f"{VAULT}inject-template-{name}"]).groups()
            assert annotations[f"{VAULT}inject-secret-{name}"] == source
            text = "<no value>" if key == missing else secret[key]
            (tmp_path / name).write_text(text, encoding="utf-8")
            cli.changes |= {variable: str(tmp_path / name), variable.removesuffix("_FILE"): None}
        done = cli.plan()

    assert len(files) == 2
    assert done.code == code, done.err
    assert not missing or "CLIENT_SECRET_FILE" in done.summary["error"]["message"]


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
