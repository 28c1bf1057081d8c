"""Linters of the files in `deploy/`; each exception has a reason in the file."""

import json
import re

import pytest
from deploy.containers import run
from deploy.manifests import DEPLOY, KUBERNETES, built

OVERLAYS = ["dry-run", "sweep", "sharded"]


@pytest.mark.needs("hadolint")
def test_hadolint_accepts_the_dockerfile():
    done = run("hadolint", "--no-color", DEPLOY / "docker/Dockerfile", check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.needs("kustomize", "kubernetes-validate")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_match_the_schema_of_kubernetes(overlay, tmp_path):
    path = tmp_path / "manifests.yaml"
    path.write_text(built(KUBERNETES / "overlays" / overlay), encoding="utf-8")

    done = run("kubernetes-validate", "--strict", path, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("passed for resource") == 4


@pytest.mark.needs("kustomize", "kubernetes-validate")
def test_schema_check_rejects_a_misspelt_field(tmp_path):
    path = tmp_path / "manifests.yaml"
    path.write_text(
        built(KUBERNETES / "base").replace("backoffLimit:", "backofLimit:"), encoding="utf-8"
    )

    assert run("kubernetes-validate", "--strict", path, check=False).returncode != 0


@pytest.mark.slow
@pytest.mark.needs("checkov")
def test_checkov_finds_only_documented_exceptions():
    done = run(
        "checkov", "--quiet", "--compact", "--skip-download", "--output=json",
        "--framework=kubernetes", "--framework=dockerfile", "--directory", DEPLOY,
        check=False,
    )  # fmt: skip
    reports = json.loads(done.stdout)

    assert {r["check_type"] for r in reports} == {"kubernetes", "dockerfile"}
    assert [c["check_id"] for r in reports for c in r["results"]["failed_checks"]] == []
    assert all(r["summary"]["passed"] > 10 for r in reports)


def test_each_exception_has_a_reason_of_at_least_five_words():
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    skips = [
        line for f in files for line in re.findall(r"CKV\w+[:=].*", f.read_text(encoding="utf-8"))
    ]

    assert skips
    assert all(len(re.split(r"[:=]", skip, maxsplit=1)[1].split()) >= 5 for skip in skips)
