"""The workflows have minimal permissions and run the gate; `.ci/lint` lints them."""

import re
import tomllib

import pytest
import yaml
from deploy.manifests import DEPLOY, ROOT
from readmes import section

from invite_sweeper.cli.reference import page

WORKFLOWS = ROOT / ".github/workflows"
TEXTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (*WORKFLOWS.glob("*.yml"), DEPLOY / "github/policy.yml")
}
JOBS = {name: yaml.safe_load(text)["jobs"] for name, text in TEXTS.items()}


PUBLISHING = {
    "publish-package": {"id-token": "write"},
    "publish-image": {"packages": "write"},
    "publish-chart": {"packages": "write"},
    "publish-release": {"contents": "write"},
}
READ = {"contents": "read"}
ATTEST = {"contents": "read", "id-token": "write", "attestations": "write"}
PERMISSIONS = {
    "build.yml": {"build": ATTEST},
    "gate.yml": {"gate": READ, "python": READ},
    "policy.yml": {"validate": READ, "plan": READ | {"pull-requests": "write"}},
    "release.yml": {"gate": READ, "build": ATTEST, **PUBLISHING},
    "weekly.yml": {"gate": READ, "vulnerabilities": READ},
}


@pytest.mark.parametrize("name", TEXTS)
def test_only_jobs_have_permissions_and_those_that_they_need(name):
    assert yaml.safe_load(TEXTS[name])["permissions"] == {}
    assert {job: each["permissions"] for job, each in JOBS[name].items()} == PERMISSIONS[name]


def test_publishing_needs_gate_build_and_environment_and_only_the_build_attests():
    """What is attested names build.yml as its signer; publishing cannot sign as it does."""
    release = JOBS["release.yml"]

    assert release["build"]["needs"] == "gate"
    assert release["gate"]["uses"] == "./.github/workflows/gate.yml"
    assert release["build"]["uses"] == "./.github/workflows/build.yml"
    for name in PUBLISHING:
        assert "build" in release[name]["needs"]
        assert release[name]["environment"] == "release"
    assert [name for name, text in TEXTS.items() if "actions/attest@" in text] == ["build.yml"]


SHELL = {"bundle=application/vnd.dev.sigstore.bundle.v0.3+json", "cd", "for", "done"}
PINNED_PROGRAMS = {"gh", "oras", "tools/bin/pip", "tools/bin/python", "tools/bin/uv"}


@pytest.mark.parametrize("name", PUBLISHING)
def test_publishing_job_runs_nothing_that_is_not_pinned(name):
    """No checkout, and only tools of pinned actions or installed with hashes."""
    job = JOBS["release.yml"][name]
    scripts = "\n".join(step.get("run", "") for step in job["steps"])
    lines = scripts.replace("\\\n", " ").splitlines()
    programs = {line.split()[0] for line in lines if line.strip()}

    assert "checkout" not in str(job)
    assert programs <= PINNED_PROGRAMS | {"python", "mkdir", "tar", "test", *SHELL}


def test_every_installation_of_a_release_has_hashes_and_every_image_a_digest():
    text = TEXTS["build.yml"] + TEXTS["release.yml"] + TEXTS["weekly.yml"]
    installs = [line for line in text.splitlines() if "pip install" in line]
    images = re.findall(r"\b(?:docker|moby|tonistiigi)/[\w-]+:\S+", text)

    assert [x for x in installs if "--require-hashes" not in x and "--no-index" not in x] == []
    assert len(images) == 2
    assert [image for image in images if not re.search(r"@sha256:[0-9a-f]{64}$", image)] == []


def test_the_only_stored_secret_is_a_password_of_the_registry_in_the_environment():
    jobs = {name: job for file in PERMISSIONS for name, job in JOBS[file].items()}
    users = {name: set(re.findall(r"secrets\.(\w+)", str(job))) for name, job in jobs.items()}
    atlas = {"MONGODB_ATLAS_CLIENT_ID", "MONGODB_ATLAS_CLIENT_SECRET"}

    assert {name: found for name, found in users.items() if found} == {
        "publish-image": {"REGISTRY_PASSWORD"},
        "publish-chart": {"REGISTRY_PASSWORD"},
        "plan": atlas,
    }


def test_names_and_registries_are_variables_that_contributing_lists():
    """The repository names no registry: each address is a variable of GitHub."""
    text = TEXTS["build.yml"] + TEXTS["release.yml"]
    listed = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = [line.split("#")[0] for line in text.splitlines() if "uses:" not in line]
    hosts = re.findall(r"(?<!application/)\b[\w.-]+\.(?:io|com|org|net|dev)\b", "\n".join(lines))
    variables = set(re.findall(r"vars\.(\w+)", text))

    assert hosts == []
    assert variables == set(re.findall(r"^\| `([A-Z_]+)` \|", listed, re.MULTILINE))


def test_every_supported_version_of_python_is_tested_and_the_newest_one_enforces_coverage():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(project["project"]["classifiers"]))
    python = JOBS["gate.yml"]["python"]
    matrix = python["strategy"]["matrix"]["version"]
    platforms = page("deployment").partition("## Platforms")[2]

    assert JOBS["gate.yml"]["gate"]["steps"][-1]["run"] == ".ci/run"  # on Debian, with 3.13
    assert sorted([*matrix, "3.13"]) == classifiers
    assert project["project"]["requires-python"] == f">={classifiers[0]}"
    assert [version for version in classifiers if version not in platforms] == []
    assert f"matrix.version == '{matrix[-1]}' && '--cov'" in python["steps"][-1]["run"]
    assert project["tool"]["coverage"]["report"]["fail_under"] >= 95


def test_security_policy_verifies_what_the_build_attests():
    verify = re.compile(
        r"gh attestation verify (\S+) --repo REPOSITORY"
        r" --signer-workflow REPOSITORY/.github/workflows/build.yml"
    )
    commands = section("SECURITY.md", "Verifying a release").commands
    steps = JOBS["build.yml"]["build"]["steps"]
    attested = [step["with"] for step in steps if "actions/attest@" in step.get("uses", "")]

    assert [verify.fullmatch(each)[1].replace("VERSION", "1") for each in commands] == [
        "invite_sweeper-1-py3-none-any.whl", "invite-sweeper-1.tgz", "oci://IMAGE:1",
    ]  # fmt: skip
    assert {each.get("subject-path") or each["subject-digest"] for each in attested} == {
        "dist/*\nchart/*.tgz\n",
        "${{ steps.image.outputs.digest }}",
        "${{ steps.chart.outputs.digest }}",
    }
