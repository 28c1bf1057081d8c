"""The chart renders to the manifests of kustomize and rejects unknown values."""

import pytest
import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY, KUBERNETES, built, changed_lines, documents

import invite_sweeper

CHART = DEPLOY / "helm"
KEPT = {"helm.sh/resource-policy": "keep"}


@pytest.fixture
def template(tmp_path):
    """Return a function that renders the chart with values."""

    def render(**values):
        (tmp_path / "values.yaml").write_text(yaml.safe_dump(values))
        command = ("helm", "template", "invite-sweeper", CHART, "--namespace=invite-sweeper")
        return run(*command, f"--values={tmp_path}/values.yaml", check=False)

    return render


def without_helm_annotations(manifests):
    claim = manifests["PersistentVolumeClaim", "invite-sweeper-audit"]
    assert claim["metadata"].pop("annotations") == KEPT
    return manifests


pytestmark = pytest.mark.deploy_tools("helm")


@pytest.mark.deploy_tools("kustomize")
@pytest.mark.parametrize(
    ("values", "overlay"),
    [({}, "dry-run"), ({"mode": "sweep"}, "sweep"), ({"shards": 3}, "sharded")],
    ids=["dry-run", "sweep", "sharded"],
)
def test_chart_renders_to_the_manifests_of_the_overlay(template, values, overlay):
    rendered = documents(template(**values).stdout)

    expected = documents(built(KUBERNETES / "overlays" / overlay))
    assert without_helm_annotations(rendered) == expected


def test_mode_is_the_only_line_that_arms_it(template):
    shipped = (CHART / "values.yaml").read_text()
    armed = yaml.safe_load(shipped) | {"mode": "sweep"}

    assert "\nmode: dry-run\n" in shipped
    assert changed_lines(template().stdout, template(**armed).stdout) == (["- plan"], ["- sweep"])


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "Sweep"},
        {"mode": "wet"},
        {"modus": "sweep"},
        {"image": {"tag": "latest"}},
        {"image": {"digest": "sha256:beef"}},
        {"shards": 0},
        {"retries": -1},
        {"deadlineMinutes": "60"},
        {"deadlineMinutes": 301},
        {"credentials": {"secret": "x"}},
        {"policy": ""},
    ],
    ids=str,
)
def test_invalid_value_is_rejected(template, values):
    done = template(**values)

    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


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

    assert f"image: invite-sweeper@{digest}\n" in template(image={"digest": digest}).stdout


def test_helm_lint_accepts_the_chart():
    run("helm", "lint", "--strict", CHART)


def test_chart_has_the_version_of_the_program():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert chart["version"] == chart["appVersion"] == invite_sweeper.__version__
    assert values["image"]["tag"] == invite_sweeper.__version__
