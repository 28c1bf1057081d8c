"""The chart rejects values that would be wrong or inject YAML, and derives what must agree."""

import pytest
import yaml
from deploy.chart_readme import with_table
from deploy.containers import run
from deploy.manifests import KUBERNETES, built, changed_lines, container, cronjob, documents
from deploy.rendering import CHART, comparable, render

import invite_sweeper


@pytest.fixture
def template(tmp_path):
    """Return a function that renders the chart with values."""
    return lambda **values: render(values, tmp_path)


pytestmark = pytest.mark.needs("helm")
SHARDED = {"shards": 3, "audit": {"accessMode": "ReadWriteMany"}}


@pytest.mark.needs("kustomize")
@pytest.mark.parametrize(
    ("values", "overlay"),
    [({}, "dry-run"), ({"mode": "sweep"}, "sweep"), (SHARDED, "sharded")],
    ids=["dry-run", "sweep", "sharded"],
)
def test_chart_renders_to_the_manifests_of_the_overlay(template, values, overlay):
    expected = comparable(built(KUBERNETES / "overlays" / overlay))

    assert comparable(template(**values).stdout) == expected


def test_mode_is_the_only_line_that_arms_it(template):
    shipped = (CHART / "values.yaml").read_text(encoding="utf-8")
    armed = yaml.safe_load(shipped) | {"mode": "sweep"}

    assert "\nmode: dry-run\n" in shipped
    assert changed_lines(template().stdout, template(**armed).stdout) == (["- plan"], ["- sweep"])


LINE = "x\nkind: Secret"
INVALID = [
    {"mode": "Sweep"},
    {"mode": "wet"},
    {"modus": "sweep"},
    {"mode": f"sweep{LINE}"},
    {"image": {"tag": "latest"}},
    {"image": {"tag": f"1{LINE}"}},
    {"image": {"tag": 1.0}},
    {"image": {"digest": "sha256:beef"}},
    {"image": {"repository": f"a{LINE}"}},
    {"image": {"repository": "a b"}},
    {"image": {"repository": '"quoted"'}},
    {"imagePullSecrets": ["registry"]},
    {"schedule": "@hourly"},
    {"schedule": "17 3 * *"},
    {"schedule": "17 3 * * *\nsuspend: true"},
    {"timeZone": f"Etc/UTC{LINE}"},
    {"timeZone": 'UTC" #'},
    {"shards": 0},
    {"shards": "3"},
    {"retries": -1},
    {"deadlineMinutes": "60"},
    {"deadlineMinutes": 301},
    {"credentials": {"secret": "x"}},
    {"credentials": {"secretName": ""}},
    {"credentials": {"secretName": f"a{LINE}"}},
    {"credentials": {"named": [{"name": "prod", "secretName": "a", "kind": "api-key"}]}},
    {"credentials": {"named": [{"name": "P_", "secretName": "a", "kind": "api-key"}]}},
    {"audit": {"size": f"2Gi{LINE}"}},
    {"audit": {"accessMode": "ReadWriteOncePod"}},
    {"audit": {"storageClassName": "{{ .Release.Name }}"}},
    {"audit": {"existingClaim": "A B"}},
    {"approvedPlan": {"secretName": "a", "sha256": "abc"}},
    {"metrics": {"pushgateway": "http://user:password@gateway:9091"}},
    {"metrics": {"pushgateway": f"http://gateway{LINE}"}},
    {"metrics": {"textfile": {"hostPath": "/var/../etc"}}},
    {"metrics": {"textfile": {"hostPath": "relative"}}},
    {"metrics": {"textfile": {"hostPath": "/var", "claimName": "a"}}},
    {"proxy": {"url": "http://user:password@proxy:3128"}},
    {"proxy": {"url": "proxy:3128"}},
    {"networkPolicy": {"enabled": "no"}},
    {"networkPolicy": {"egress": [{}]}},
    {"networkPolicy": {"egress": [{"ports": [{"port": 443}]}]}},
    {"networkPolicy": {"egress": [{"to": [{}], "ports": [{"port": 443}]}]}},
    {"extraArgs": ["sweep"]},
    {"extraArgs": [f"--verbose{LINE}"]},
    {"extraArgs": [f"--base-url={LINE}"]},
    {"extraArgs": ["--audit-dir=/tmp/other"]},
    {"extraArgs": ["--policy"]},
    {"extraArgs": ["--yes"]},
    {"extraArgs": ["--accept-population"]},
    {"extraArgs": ["--plan-max-age=1000d"]},
    {"extraVolumes": [{"emptyDir": {}}]},
    {"extraObjects": [{"kind": "Secret"}]},
    {"credentials": {"secretName": "", "kind": "service-account"}},
    {"suspend": "yes"},
    {"startingDeadlineSeconds": 86400},
    {"extraEnv": [{"name": "A B", "value": ""}]},
    {"extraEnv": [{"name": "A", "value": 1}]},
    {"extraEnv": [{"name": "A"}]},
    {"extraEnv": [{"name": "MONGODB_ATLAS_CLIENT_SECRET", "value": "secret"}]},
    {"extraEnv": [{"name": "MONGODB_ATLAS_PRIVATE_API_KEY_PROD", "value": "secret"}]},
    {"extraEnvFrom": [{}]},
    {"extraEnvFrom": [{"secretRef": {"name": "a", "namespace": "b"}}]},
    {"serviceAccount": {"labels": {"a": LINE}}},
    {"podLabels": {LINE: "a"}},
    {"podLabels": {"a": True}},
    {"jobAnnotations": {f"a: b{LINE}": "c"}},
    {"podAnnotations": {"a": 1}},
    {"prometheusRule": {"enabled": True, "labels": {"a": LINE}}},
    {"nodeSelector": {"a": [1]}},
    {"tolerations": [{"operator": "Always"}]},
    {"affinity": {"nodeAfinity": {}}},
    {"priorityClassName": f"a{LINE}"},
    {"resources": {"limits": {"memory": f"1Gi{LINE}"}}},
    {"resources": {"limits": {"memory": "1 GB"}}},
    {"policy": ""},
    {"policy": {"version": 1}},
    {"policy": "a: 1\n\u2028kind: Secret\n"},
    {"policy": "a: 1\x85kind: Secret"},
    {"podAnnotations": {"a": "\u2029kind: Secret"}},
    {"extraEnv": [{"name": "A", "value": "\x0c"}]},
]


@pytest.mark.parametrize("values", INVALID, ids=ascii)
def test_invalid_value_is_rejected(template, values):
    done = template(**values)

    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


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
def test_free_text_stays_one_string(template, text):
    values = {
        "policy": text,
        "extraEnv": [{"name": "A", "value": text}],
        "podAnnotations": {"a": text},
    }
    done = template(**values)
    assert done.returncode == 0, done.stderr
    found = documents(done.stdout)

    assert len(found) == 5
    assert found["ConfigMap", "invite-sweeper-policy"]["data"] == {"policy.yaml": text}
    job = found["CronJob", "invite-sweeper"]
    assert container(job)["env"][-1] == {"name": "A", "value": text}
    metadata = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]
    assert metadata["annotations"] == {"a": text}


@pytest.mark.parametrize("name", ["MONGODB_ATLAS_CLIENT_SECRET_FILE", "MONGODB_ATLAS_CLIENT_ID"])
def test_variable_without_a_secret_may_have_a_value(template, name):
    assert template(extraEnv=[{"name": name, "value": "x"}]).returncode == 0


def test_secret_variable_may_come_from_a_secret(template):
    source = {"secretKeyRef": {"name": "atlas", "key": "token"}}
    done = template(extraEnv=[{"name": "MONGODB_ATLAS_ACCESS_TOKEN", "valueFrom": source}])

    assert container(cronjob(done.stdout))["env"][-1]["valueFrom"] == source


@pytest.mark.parametrize("minutes", [1, 60, 300])
@pytest.mark.parametrize("retries", [0, 2])
def test_deadlines_are_derived_from_one_value(template, minutes, retries):
    rendered = documents(template(deadlineMinutes=minutes, retries=retries).stdout)
    job = rendered["CronJob", "invite-sweeper"]["spec"]
    spec = job["jobTemplate"]["spec"]
    pod_s = spec["template"]["spec"]["activeDeadlineSeconds"]

    assert minutes * 60 + 20 + 60 <= pod_s
    assert pod_s * (retries + 1) <= spec["activeDeadlineSeconds"]
    assert job["startingDeadlineSeconds"] + spec["activeDeadlineSeconds"] < 86_400


def test_api_key_is_mounted_as_two_files(template):
    rendered = documents(template(credentials={"kind": "api-key"}).stdout)
    pod = rendered["CronJob", "invite-sweeper"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]

    assert [entry["name"] for entry in pod["containers"][0]["env"]] == [
        "MONGODB_ATLAS_PUBLIC_API_KEY_FILE",
        "MONGODB_ATLAS_PRIVATE_API_KEY_FILE",
    ]


def test_digest_replaces_the_tag(template):
    digest = f"sha256:{'a' * 64}"

    job = cronjob(template(image={"digest": digest}).stdout)
    assert container(job)["image"] == f"invite-sweeper@{digest}"


def test_readme_of_the_chart_has_the_values_and_their_comments():
    """`PYTHONPATH=tests .venv/bin/python -m deploy.chart_readme` writes it."""
    page = (CHART / "README.md").read_text(encoding="utf-8")

    assert page == with_table(page)
    assert page.count("\n| `") > 40
    assert "| `mode` | `dry-run` | dry-run only lists what would be deleted." in page


def test_helm_lint_accepts_the_chart():
    run("helm", "lint", "--strict", CHART)


def test_chart_has_the_version_of_the_program():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

    # A chart needs a semantic version: 0.2.0-dev.0 is 0.2.0.dev0 of Python.
    assert chart["version"].replace("-dev.", ".dev") == invite_sweeper.__version__
    assert chart["appVersion"] == invite_sweeper.__version__
    assert values["image"]["tag"] == invite_sweeper.__version__
