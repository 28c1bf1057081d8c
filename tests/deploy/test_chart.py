"""The chart renders what its values say, as kustomize does, or refuses them for a stated reason."""

import random
import re

import pytest
import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY, KUBERNETES, built, command, container, documents, pod_spec
from deploy.rendering import CHART, NAME, comparable, overlaid, packaged, rendered, side_by_side
from running import cli_in
from seeds import seeds

from invite_sweeper.cli.sweep import plan
from invite_sweeper.endings import ExitCode
from invite_sweeper.policy import parse_policy

pytestmark = pytest.mark.needs("helm", "kustomize")

CUSTOMIZED = yaml.safe_load((CHART / "examples/customized.yaml").read_text(encoding="utf-8"))
VAULT_VALUES = yaml.safe_load((CHART / "examples/vault.yaml").read_text(encoding="utf-8"))
SHARDED = {"shards": 3, "audit": {"accessMode": "ReadWriteMany"}}
ARBITRARY = {"podSecurityContext": dict.fromkeys(("fsGroup", "runAsGroup", "runAsUser"))}


@pytest.mark.parametrize(
    ("values", "component"),
    [({}, None), ({"mode": "sweep"}, "armed"), (SHARDED, "sharded"), (ARBITRARY, "openshift")],
    ids=str,
)
def test_chart_renders_to_the_manifests_of_kustomize(values, component, tmp_path):
    components = [component] if component else []

    assert comparable(rendered(values, tmp_path)) == comparable(overlaid(tmp_path, *components))


def test_customized_values_render_as_the_customized_overlay(tmp_path):
    overlay = built(KUBERNETES / "examples/customized")

    assert comparable(rendered(CUSTOMIZED, tmp_path)) == comparable(overlay)


def test_chart_has_no_links_and_renders_alike_for_helm_argo_cd_and_flux(tmp_path):
    """Argo CD renders a folder with its own options, Flux packages it first."""
    values = CUSTOMIZED | {"prometheusRule": {"enabled": True}, "dashboard": {"enabled": True}}
    text = rendered(values, tmp_path)
    argo_cd = ("--kube-version=1.33", "--include-crds", "--api-versions=batch/v1")

    assert [path for path in CHART.rglob("*") if path.is_symlink()] == []
    assert rendered(values, tmp_path, chart=packaged(tmp_path)) == text
    assert rendered(values, tmp_path, *argo_cd) == text


LINE = "x\nkind: Secret"
BAD_ACCOUNT = {"name": "prod", "secretName": "a", "kind": "api-key"}
SEVERAL = ("shards", 3)
FOR_A_REASON = [
    ("modus", "sweep", "additional properties 'modus' not allowed"),
    (*SEVERAL, "at '/audit/accessMode': value must be 'ReadWriteMany'"),
    ("credentials.secret", "x", "additional properties 'secret' not allowed"),
    ("credentials", {"secretName": ""}, "at '/credentials/secretName': minLength"),
    ("job.args", ["audit", "verify"], "at '/job/name': minLength"),
    ("podLabels", {LINE: "a"}, "invalid propertyName 'x\\nkind"),
    ("jobAnnotations", {f"a: b{LINE}": "c"}, "invalid propertyName 'a: bx\\nkind"),
]
"""A value, and the reason of the chart, which names neither the value nor one alone."""
WRONG = {
    "mode": ("Sweep", f"sweep{LINE}"),
    "enabled": (False,),
    "fullnameOverride": ("A_b",),
    "commonLabels": ({"a": LINE},),
    "image.tag": ("latest", f"1{LINE}", 1.0),
    "image.digest": ("sha256:beef",),
    "image.repository": (f"a{LINE}", "a b", '"quoted"'),
    "imagePullSecrets": (["registry"],),
    "schedule": ("@hourly", "17 3 * *", "17 3 * * *\nsuspend: true"),
    "timeZone": (f"Etc/UTC{LINE}", 'UTC" #'),
    "shards": (0, "3"),
    "retries": (-1,),
    "deadlineMinutes": ("60", 301),
    "suspend": ("yes",),
    "startingDeadlineSeconds": (86400,),
    "credentials.secretName": (f"a{LINE}",),
    "credentials.named": ([BAD_ACCOUNT], [BAD_ACCOUNT | {"name": "P_"}]),
    "audit.size": (f"2Gi{LINE}",),
    "audit.accessMode": ("ReadWriteOncePod",),
    "audit.storageClassName": ("{{ .Release.Name }}",),
    "audit.existingClaim": ("A B",),
    "audit.claim": ({"annotations": {"a": 1}},),
    "job.args": ([1],),
    "job.name": ("A",),
    "metrics.pushgateway": ("http://user:password@gateway:9091", f"http://gateway{LINE}"),
    "metrics.textfile.hostPath": ("/var/../etc", "relative"),
    "metrics.textfile": ({"hostPath": "/var", "claimName": "a"},),
    "proxy.url": ("http://user:password@proxy:3128", "proxy:3128"),
    "networkPolicy.enabled": ("no",),
    "networkPolicy.egress": (
        [{}], [{"ports": [{"port": 443}]}], [{"to": [{}], "ports": [{"port": 443}]}],
    ),
    "extraArgs": (
        ["sweep"], [f"--verbose{LINE}"], ["--audit-dir=/tmp/other"], ["--policy"], ["--yes"],
        ["--accept-population"], ["--plan-max-age=1000d"],
    ),
    "extraVolumes": ([{"emptyDir": {}}],),
    "extraObjects": ([{"kind": "Secret"}],),
    "extraEnv": (
        [{"name": "A B", "value": ""}], [{"name": "A", "value": 1}],
        [{"name": "A", "value": "\x0c"}], [{"name": "A"}],
        [{"name": "MONGODB_ATLAS_CLIENT_SECRET", "value": "secret"}],
        [{"name": "MONGODB_ATLAS_PRIVATE_API_KEY_PROD", "value": "secret"}],
    ),
    "extraEnvFrom": ([{}], [{"secretRef": {"name": "a", "namespace": "b"}}]),
    "serviceAccount.labels": ({"a": LINE},),
    "podLabels": ({"a": True},),
    "podAnnotations": ({"a": 1}, {"a": "\u2029kind: Secret"}),
    "prometheusRule.labels": ({"a": LINE},),
    "prometheusRule.hoursWithoutSuccess": (0,),
    "nodeSelector": ({"a": [1]},),
    "tolerations": ([{"operator": "Always"}],),
    "affinity": ({"nodeAfinity": {}},),
    "priorityClassName": (f"a{LINE}",),
    "resources.limits": ({"memory": f"1Gi{LINE}"}, {"memory": "1 GB"}),
    "policy": ("", {"version": 1}, "a: 1\n\u2028kind: Secret\n", "a: 1\x85kind: Secret"),
}  # fmt: skip
"""Values that the chart refuses, naming them."""
RIGHT = {
    "mode": ("sweep",),
    "commonLabels": ({"example.com/team": "platform"},),
    "image.digest": (f"sha256:{'a' * 64}",),
    "shards": (SEVERAL[1],),
    "audit.accessMode": ("ReadWriteMany",),
    "audit.existingClaim": ("company-audit",),
    "audit.claim": ({"annotations": {"a": "b"}},),
    "retries": (0, 6),
    "deadlineMinutes": (1, 300),
    "suspend": (True,),
    "credentials.kind": ("api-key", "none"),
    "credentials": ({"secretName": "", "named": [BAD_ACCOUNT | {"name": "US_1"}]},),
    "credentials.named": ([BAD_ACCOUNT | {"name": "EU_1"}],),
    "job": (
        {"name": "verify-1", "args": ["audit", "verify"]},
        {"name": "population", "args": ["sweep", "--accept-population"]},
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
    "podSecurityContext": (ARBITRARY["podSecurityContext"],),
    "policyConfigMap": ("company-policy",),
    "initContainers": ([{"name": "wait", "image": "busybox"}],),
    "extraObjects": ([{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "more"}}],),
}
REFUSED = [*FOR_A_REASON, *((path, each) for path in WRONG for each in WRONG[path])]
ACCEPTED = [(path, each) for path in RIGHT for each in RIGHT[path]]


def values_of(*pairs):
    """Return nested values of dotted paths."""
    whole = {}
    for path, value, *_ in pairs:
        *above, key = path.split(".")
        inner = whole
        for name in above:
            inner = inner.setdefault(name, {})
        inner[key] = value
    return whole


def reason(path, _value, text=None):
    return text or f"at '/{path.replace('.', '/')}"


def refusals(process):
    """Return what the schema refuses, by the alias of the chart."""
    assert "values don't meet the specifications of the schema" in process.stderr
    parts = re.split(r"^(c\d+):$", process.stderr, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """What the chart says about each refused value."""
    values = {f"c{n}": values_of(each) for n, each in enumerate(REFUSED)}
    return refusals(side_by_side(values, tmp_path_factory.mktemp("refused")))


@pytest.mark.parametrize("number", range(len(REFUSED)), ids=lambda n: ascii(REFUSED[n]))
def test_wrong_value_is_refused_by_its_name(refused, number):
    assert reason(*REFUSED[number]) in refused[f"c{number}"]


def combinations(count):
    """Yield a seed, the values of a combination, and the reasons for which it is refused."""
    for seed in seeds(count):
        rng, pairs = random.Random(seed), {}
        wrong = [each for each in REFUSED if each[:2] != SEVERAL]
        wrong = rng.choices(wrong, k=rng.random() < 1 / 3)
        for pair in rng.sample(ACCEPTED, 5) + wrong:
            if not any(_overlap(pair[0], other) for other in pairs):
                pairs[pair[0]] = pair
        reasons = [reason(*pair) for pair in pairs.values() if pair in REFUSED]
        shared = {"audit.accessMode", "audit.existingClaim"} & pairs.keys()
        if SEVERAL in pairs.values() and not shared:
            reasons.append("at '/audit'")
        yield seed, values_of(*pairs.values()), reasons


def _overlap(path, other):
    return f"{path}.".startswith(f"{other}.") or f"{other}.".startswith(f"{path}.")


def charts(text):
    """Return the manifests of each chart of a parent, by its alias."""
    found = {}
    for alias, part in re.findall(
        r"^# Source: parent/charts/(\w+)/\S+\n(.*?)(?=^---|\Z)", text, re.MULTILINE | re.DOTALL
    ):
        found[alias] = f"{found.get(alias, '')}---\n{part}"
    return {alias: documents(part) for alias, part in found.items()}


def test_combinations_of_values_render_or_are_refused_for_the_intended_reason(tmp_path):
    cases = {f"c{seed}": (values, reasons) for seed, values, reasons in combinations(90)}
    right = {alias: values for alias, (values, reasons) in cases.items() if not reasons}
    wrong = {alias: values for alias, (values, reasons) in cases.items() if reasons}
    for name in ("right", "wrong"):
        (tmp_path / name).mkdir()
    rendering = side_by_side(right, tmp_path / "right")
    assert rendering.returncode == 0, rendering.stderr
    told = refusals(side_by_side(wrong, tmp_path / "wrong"))
    found = charts(rendering.stdout)

    assert len(right) > 40 > len(wrong) > 10
    assert told.keys() == wrong.keys()
    for alias, text in told.items():
        assert [each for each in cases[alias][1] if each not in text] == [], alias
    assert found.keys() == right.keys()
    for alias, manifests in found.items():
        check_chart(f"{NAME}-{alias}", manifests, right[alias])
    check_apart(found)


OPTIONS = {name for parameter in plan.params for name in parameter.opts}


def check_chart(name, manifests, values):
    """Raise AssertionError unless the manifests of one chart agree with each other."""
    job = manifests["CronJob", name]
    spec, pod, box = job["spec"]["jobTemplate"]["spec"], pod_spec(job), container(job)
    run_s, pod_s = values.get("deadlineMinutes", 60) * 60, pod["activeDeadlineSeconds"]
    volumes = [each["name"] for each in pod["volumes"]]
    names = [each["name"] for each in box["env"]]

    assert run_s + 80 <= pod_s
    assert 2 * pod_s < spec["activeDeadlineSeconds"]
    assert job["spec"]["startingDeadlineSeconds"] + spec["activeDeadlineSeconds"] < 86_400
    assert [each["name"] for each in box["volumeMounts"]] == volumes
    assert len({*volumes}) == len(volumes)
    assert len({*names}) == len(names)
    assert {word.partition("=")[0] for word in box["args"][1:]} <= OPTIONS
    assert box["args"][0] == "$(COMMAND)"
    expected = "sweep" if values.get("mode") == "sweep" else "plan"
    assert manifests["ConfigMap", f"{name}-command"]["data"] == {"command": expected}
    claim = {each["name"]: each for each in pod["volumes"]}["audit"]["persistentVolumeClaim"]
    assert (("PersistentVolumeClaim", claim["claimName"]) in manifests) == (
        "existingClaim" not in values.get("audit", {})
    )
    check_said(name, job, values)
    own = [each for key, each in manifests.items() if key != ("Secret", "more")]
    assert {each["metadata"]["namespace"] for each in own} == {NAME}
    common = values.get("commonLabels", {}).items()
    assert all(common <= each["metadata"]["labels"].items() for each in own)
    for kind, other in manifests:
        if kind == "Job":  # the nightly pod, with another command
            template = manifests[kind, other]["spec"]["template"]["spec"]
            (single,) = template["containers"]
            assert single["args"] == values["job"]["args"]
            assert template | {"containers": [single | {"args": box["args"]}]} == pod


def check_said(name, job, values):
    """Raise AssertionError unless the CronJob is as its values say."""
    spec, pod, box = job["spec"]["jobTemplate"]["spec"], pod_spec(job), container(job)
    volumes = {each["name"]: each for each in pod["volumes"]}
    account = values.get("credentials", {})
    files = {each["name"] for each in box["env"] if each["name"].endswith("_FILE")}
    prefix = {"service-account": "CLIENT_ID", "api-key": "PUBLIC_API_KEY", "none": ""}
    kind = prefix[account.get("kind", "service-account")] if account.get("secretName", "x") else ""
    named = [f"PUBLIC_API_KEY_{each['name']}" for each in account.get("named", [])]

    for part in filter(None, (kind, *named)):
        assert f"MONGODB_ATLAS_{part}_FILE" in files
    assert ("credentials" in volumes) == bool(kind)
    assert job["spec"].get("suspend", False) == values.get("suspend", False)
    retries = "backoffLimitPerIndex" if values.get("shards") else "backoffLimit"
    assert spec[retries] == values.get("retries", 4)
    assert pod.get("initContainers") == values.get("initContainers")
    assert pod["serviceAccountName"] == values.get("serviceAccount", {}).get("name", name)
    policy = values.get("policyConfigMap", f"{name}-policy")
    assert volumes["policy"]["configMap"] == {"name": policy}
    textfile = values.get("metrics", {}).get("textfile", {})
    if "hostPath" in textfile:
        assert volumes["metrics"]["hostPath"]["type"] == "Directory"
    assert any(each.startswith("--metrics-file=") for each in box["args"]) == bool(textfile)
    assert box["image"].endswith(values.get("image", {}).get("digest", ":dev"))


def check_apart(found):
    """Raise AssertionError unless each NetworkPolicy selects the pods of its own chart alone."""
    pods = {
        alias: job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"].items()
        for alias, manifests in found.items()
        for (kind, _), job in manifests.items()
        if kind == "CronJob"
    }
    for alias, manifests in found.items():
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
    variables = {
        each["name"]: each.get("value")
        for each in container(documents(text)["CronJob", job])["env"]
    }

    assert job == name[:52]
    assert variables["INVITE_SWEEPER_INSTANCE"] == f"shared/{job}"


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
    job = found["CronJob", NAME]

    assert len(found) == 7
    assert found["ConfigMap", f"{NAME}-policy"]["data"] == {"policy.yaml": text}
    assert container(job)["env"][-1] == {"name": "A", "value": text}
    metadata = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]
    assert metadata["annotations"] == {"a": text}
    (once,) = found["Job", f"{NAME}-once"]["spec"]["template"]["spec"]["containers"]
    assert once["args"] == [text]


def test_claim_survives_uninstalling_argo_cd_and_flux(tmp_path):
    values = {"audit": {"size": "5Gi", "storageClassName": "fast"}}
    values["audit"]["claim"] = {"annotations": {"a": "b", "helm.sh/resource-policy": "delete"}}
    claim = documents(rendered(values, tmp_path))["PersistentVolumeClaim", f"{NAME}-audit"]
    (other,) = documents((KUBERNETES / "audit-claim.yaml").read_text(encoding="utf-8")).values()
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


def test_parent_leaves_out_what_its_condition_disables(tmp_path):
    (tmp_path / "parent/charts").mkdir(parents=True)
    packaged(tmp_path / "parent/charts")
    dependency = {"name": NAME, "version": "0.0.0-dev", "condition": f"{NAME}.enabled"}
    described = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    (tmp_path / "parent/Chart.yaml").write_text(
        yaml.safe_dump(described | {"dependencies": [dependency]}), encoding="utf-8"
    )
    shown = {
        enabled: rendered({NAME: {"enabled": enabled}}, tmp_path, chart=tmp_path / "parent")
        for enabled in (True, False)
    }

    assert "kind: CronJob" in shown[True]
    assert shown[False].strip() == ""


def test_alerts_know_the_schedule_and_are_silent_while_it_is_suspended(tmp_path):
    weekdays = {"prometheusRule": {"enabled": True, "hoursWithoutSuccess": 74}}
    rule = documents(rendered(weekdays, tmp_path))["PrometheusRule", NAME]
    shipped = yaml.safe_load((CHART / "files/alerts.yaml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(shipped).replace("26 * 3600", "74 * 3600").replace("26h", "74h")

    assert rule["spec"] == yaml.safe_load(text) != shipped
    assert "PrometheusRule" not in rendered(weekdays | {"suspend": True}, tmp_path)


def test_dashboard_is_that_of_the_files(tmp_path):
    found = documents(rendered({"dashboard": {"enabled": True}}, tmp_path))
    dashboard = found["ConfigMap", f"{NAME}-dashboard"]

    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    source = (CHART / "files/dashboard.json").read_text(encoding="utf-8")
    assert dashboard["data"]["invite-sweeper.json"] == source


VAULT = "vault.hashicorp.com/agent-"
TEMPLATE = re.compile(
    r"""\{\{- with secret "([\w/-]+)" -\}\}\{\{ index \.Data\.data "([\w-]+)" \}\}\{\{- end -\}\}"""
)


def test_agent_of_vault_has_a_token_that_the_program_cannot_read(tmp_path):
    """As the injector's `serviceaccount()` finds it: by its name, at a path of the agent's own."""
    pod = pod_spec(documents(rendered(VAULT_VALUES, tmp_path))["CronJob", NAME])
    (token,) = (each for each in pod["volumes"] if "projected" in each)

    assert (
        VAULT_VALUES["podAnnotations"][f"{VAULT}service-account-token-volume-name"] == token["name"]
    )
    assert token["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "vault"
    assert token["name"] not in {each["name"] for each in pod["containers"][0]["volumeMounts"]}
    assert pod["automountServiceAccountToken"] is False
    assert not [each for each in pod["volumes"] if "secret" in each]


@pytest.mark.parametrize(
    ("missing", "code"), [("", ExitCode.DONE), ("client-secret", ExitCode.USAGE)]
)
def test_program_reads_what_the_agent_of_vault_writes(missing, code, tmp_path):
    """A key that the secret does not have is `<no value>` in a template, and not a credential."""
    annotations = VAULT_VALUES["podAnnotations"]
    box = container(documents(rendered(VAULT_VALUES, tmp_path))["CronJob", NAME])
    files = {e["name"]: e["value"] for e in box["env"] if e["name"].endswith("_FILE")}
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
    def example(name):
        return yaml.safe_load((KUBERNETES / "examples" / name).read_text(encoding="utf-8"))

    secret = example("external-secret.yaml")["spec"]
    source = example("argo-cd-helm.yaml")["spec"]["source"]
    text = rendered(source["helm"]["valuesObject"], tmp_path)
    job = documents(text)["CronJob", NAME]
    (volume,) = (each for each in pod_spec(job)["volumes"] if "secret" in each)
    files = [e["value"] for e in container(job)["env"] if e["name"].endswith("_FILE")]
    policy = documents(text)["ConfigMap", f"{NAME}-policy"]["data"]["policy.yaml"]

    assert secret["target"]["name"] == volume["secret"]["secretName"]
    assert secret["target"]["deletionPolicy"] == "Retain"
    assert {each["secretKey"] for each in secret["data"]} == {f.rpartition("/")[2] for f in files}
    assert DEPLOY.parent / source["path"] == CHART
    assert command(text) == "plan"
    assert parse_policy(policy.encode(), "policy.yaml").limits.max_deletions == 25
