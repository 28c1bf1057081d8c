"""What other people's checks say of the files; each exception is argued in the file itself."""

import json
import re

import pytest
from deploy.containers import run
from deploy.manifests import DEPLOY, KUBERNETES, built

OVERLAYS = ["dry-run", "sweep", "sharded"]


@pytest.mark.deploy_tools("hadolint")
def test_hadolint_has_nothing_to_say_of_the_dockerfile():
    done = run("hadolint", "--no-color", DEPLOY / "docker/Dockerfile", check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.deploy_tools("kustomize", "kubernetes-validate")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_manifests_have_the_structure_of_the_newest_kubernetes(overlay, tmp_path):
    path = tmp_path / "manifests.yaml"
    path.write_text(built(KUBERNETES / "overlays" / overlay))

    done = run("kubernetes-validate", "--strict", path, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout + done.stderr).count("passed for resource") == 5


@pytest.mark.deploy_tools("kustomize", "kubernetes-validate")
def test_a_misspelt_field_would_not_pass_that_check(tmp_path):
    path = tmp_path / "manifests.yaml"
    path.write_text(built(KUBERNETES / "base").replace("backoffLimit:", "backofLimit:"))

    assert run("kubernetes-validate", "--strict", path, check=False).returncode != 0


@pytest.mark.slow
@pytest.mark.deploy_tools("checkov")
def test_checkov_finds_nothing_but_the_exceptions_argued_in_place():
    done = run(
        "checkov", "--quiet", "--compact", "--skip-download", "--output=json",
        "--framework=kubernetes", "--framework=dockerfile", "--directory", DEPLOY,
        check=False,
    )  # fmt: skip
    reports = json.loads(done.stdout)

    assert {r["check_type"] for r in reports} == {"kubernetes", "dockerfile"}
    assert [c["check_id"] for r in reports for c in r["results"]["failed_checks"]] == []
    assert all(r["summary"]["passed"] > 10 for r in reports)


def test_each_exception_gives_its_reason():
    files = [path for path in DEPLOY.rglob("*") if path.is_file()]
    skips = [line for f in files for line in re.findall(r"CKV\w+[:=].*", f.read_text())]

    assert skips
    assert all(len(re.split(r"[:=]", skip, maxsplit=1)[1].split()) >= 5 for skip in skips)
