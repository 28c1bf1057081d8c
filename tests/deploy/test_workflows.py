"""The workflows use pinned actions, minimal permissions and the gate."""

import re
import shutil
import tomllib

import pytest
import yaml
from deploy.containers import run
from deploy.manifests import DEPLOY, ROOT
from deploy.workflows import Runner
from packaging.requirements import Requirement

from invite_sweeper.cli.help import Topic, page

WORKFLOWS = ROOT / ".github/workflows"
PINNED = re.compile(r"[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def workflow(name):
    return yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))


def uses():
    """Return the external action of each step, with its comment."""
    paths = [*WORKFLOWS.glob("*.yml"), DEPLOY / "github/policy.yml"]
    lines = [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    found = [re.sub(r"^[\s-]*uses: ", "", line) for line in lines if "uses: " in line]
    return [each for each in found if not each.startswith("./")]


def test_every_action_is_pinned_by_hash_with_its_version_in_a_comment():
    assert len(uses()) >= 6
    assert [each for each in uses() if not PINNED.fullmatch(each)] == []


def test_every_action_is_pinned_to_one_hash():
    pins = {each.split(" ")[0] for each in uses()}

    assert len(pins) == len({pin.split("@")[0] for pin in pins})


@pytest.mark.parametrize("name", ["build.yml", "gate.yml", "release.yml", "weekly.yml"])
def test_only_jobs_have_permissions(name):
    assert workflow(name)["permissions"] == {}
    assert all("permissions" in job for job in workflow(name)["jobs"].values())


PUBLISHING = {
    "publish-package": {"id-token": "write"},
    "publish-image": {"packages": "write"},
    "publish-chart": {"packages": "write"},
    "publish-release": {"contents": "write"},
}


def test_only_publishing_jobs_may_publish_and_they_need_the_gate():
    jobs = workflow("release.yml")["jobs"]

    assert {n: j["permissions"] for n, j in jobs.items() if "environment" in j} == PUBLISHING
    assert {j["environment"] for j in jobs.values() if "environment" in j} == {"release"}
    assert "packages" not in jobs["build"]["permissions"]
    assert jobs["build"]["needs"] == "gate"
    assert all("build" in jobs[name]["needs"] for name in PUBLISHING)
    assert jobs["gate"]["uses"] == "./.github/workflows/gate.yml"
    assert jobs["build"]["uses"] == "./.github/workflows/build.yml"


def test_only_the_workflow_that_builds_attests():
    """What is attested names this workflow as its signer; publishing cannot sign as it does."""
    names = [path.name for path in WORKFLOWS.glob("*.yml")]
    assert [name for name in names if "actions/attest@" in str(workflow(name))] == ["build.yml"]
    (steps,) = (job["steps"] for job in workflow("build.yml")["jobs"].values())
    attested = [step["with"] for step in steps if "actions/attest@" in step.get("uses", "")]

    assert workflow("build.yml")["jobs"]["build"]["permissions"] == {
        "contents": "read", "id-token": "write", "attestations": "write"
    }  # fmt: skip
    assert {each.get("subject-path") or each["subject-digest"] for each in attested} == {
        "dist/*\nchart/*.tgz\n",
        "${{ steps.image.outputs.digest }}",
        "${{ steps.chart.outputs.digest }}",
    }


@pytest.mark.parametrize("name", PUBLISHING)
def test_publishing_job_runs_nothing_that_is_not_pinned(name):
    """No checkout, and only tools of pinned actions or installed with hashes."""
    job = workflow("release.yml")["jobs"][name]
    scripts = "\n".join(step.get("run", "") for step in job["steps"])
    lines = scripts.replace("\\\n", " ").splitlines()
    programs = {line.split()[0] for line in lines if line.strip()}

    assert "checkout" not in str(job)
    assert programs <= PINNED_PROGRAMS | {"python", "mkdir", "tar", "test", *SHELL}
    assert scripts.count("pip install") == scripts.count("--require-hashes")


SHELL = {"bundle=application/vnd.dev.sigstore.bundle.v0.3+json", "cd", "for", "done"}
PINNED_PROGRAMS = {"gh", "oras", "tools/bin/pip", "tools/bin/python", "tools/bin/uv"}


def test_every_installation_of_the_release_has_hashes_and_every_image_a_digest():
    text = "".join(
        (WORKFLOWS / name).read_text(encoding="utf-8") for name in ("build.yml", "release.yml")
    )
    installs = [line for line in text.splitlines() if "pip install" in line]
    images = re.findall(r"\b(?:docker|moby|tonistiigi)/[\w-]+:\S+", text)

    assert [x for x in installs if "--require-hashes" not in x and "--no-index" not in x] == []
    assert len(images) == 3
    assert [image for image in images if not re.search(r"@sha256:[0-9a-f]{64}$", image)] == []


@pytest.mark.parametrize("name", ["release", "publish", "audit"])
def test_locked_tools_satisfy_the_group_and_have_hashes(name):
    lock = (ROOT / f".github/{name}.lock").read_text(encoding="utf-8")
    group = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))[
        "dependency-groups"
    ][name]
    locked = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.MULTILINE))

    assert "://" not in lock
    assert lock.count("--hash=sha256:") >= len(locked) > len(group)
    for each in map(Requirement, group):
        assert each.specifier.contains(locked[each.name]), each


def test_names_and_registries_are_variables_in_one_place():
    """The repository names no registry: each address is a variable of GitHub."""
    text = "".join(
        (WORKFLOWS / name).read_text(encoding="utf-8") for name in ("build.yml", "release.yml")
    )
    variables = set(re.findall(r"vars\.(\w+)", text))
    lines = [line.split("#")[0] for line in text.splitlines() if "uses:" not in line]
    hosts = re.findall(r"(?<!application/)\b[\w.-]+\.(?:io|com|org|net|dev)\b", "\n".join(lines))

    assert variables == {
        *("PACKAGE_INDEX_URL", "IMAGE_REPOSITORY", "CHART_REPOSITORY", "REGISTRY_USERNAME"),
        "RELEASE_NOTES",
    }
    for name in variables:
        assert f"`{name}`" in (DEPLOY / "README.md").read_text(encoding="utf-8")
    assert hosts == []


def test_gate_workflow_runs_ci_run_and_the_tests_with_further_versions_of_python():
    jobs = workflow("gate.yml")["jobs"]

    assert jobs.keys() == {"gate", "python"}
    assert jobs["gate"]["steps"][-1]["run"] == ".ci/run"
    assert jobs["python"]["steps"][-1]["run"].startswith(".venv/bin/pytest ")


def test_gate_workflow_enforces_the_coverage_with_the_newest_python():
    matrix = workflow("gate.yml")["jobs"]["python"]
    newest = matrix["strategy"]["matrix"]["version"][-1]
    coverage = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "coverage"
    ]

    assert f"matrix.version == '{newest}' && '--cov'" in matrix["steps"][-1]["run"]
    assert coverage["report"]["fail_under"] >= 95


def test_every_supported_version_of_python_is_tested_and_named_by_the_documentation():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    matrix = workflow("gate.yml")["jobs"]["python"]["strategy"]["matrix"]["version"]
    platforms = page(Topic.DEPLOYMENT).partition("## Platforms")[2]

    # .ci/run is run on Debian, with 3.13.
    assert sorted([*matrix, "3.13"]) == classifiers
    assert project["requires-python"] == f">={classifiers[0]}"
    assert [version for version in classifiers if version not in platforms] == []


def test_the_only_stored_secret_is_a_password_of_the_registry_in_the_environment():
    jobs = {n: j for p in WORKFLOWS.glob("*.yml") for n, j in workflow(p.name)["jobs"].items()}
    users = {name: set(re.findall(r"secrets\.(\w+)", str(job))) for name, job in jobs.items()}

    assert {name: found for name, found in users.items() if found} == {
        "publish-image": {"REGISTRY_PASSWORD"},
        "publish-chart": {"REGISTRY_PASSWORD"},
    }


@pytest.mark.needs("zizmor")
def test_zizmor_finds_only_documented_exceptions():
    files = (WORKFLOWS, DEPLOY / "github/policy.yml")
    done = run("zizmor", "--offline", "--quiet", "--no-progress", *files, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.needs("actionlint", "shellcheck")
def test_actionlint_accepts_the_workflows_and_shellcheck_their_steps(tmp_path):
    files = [*WORKFLOWS.glob("*.yml"), DEPLOY / "github/policy.yml"]
    done = run("actionlint", "-no-color", *files, check=False)
    assert (done.returncode, done.stdout) == (0, "")

    wrong = tmp_path / "wrong.yml"
    text = (WORKFLOWS / "gate.yml").read_text(encoding="utf-8")
    wrong.write_text(
        text.replace("run: .ci/run", "run: cd $HOME/${{ matrix.absent }}"), encoding="utf-8"
    )
    found = run("actionlint", "-no-color", wrong, check=False).stdout
    assert 'property "absent" is not defined' in found
    assert "SC2086" in found


@pytest.mark.needs("shellcheck")
def test_shellcheck_accepts_the_scripts():
    scripts = (".ci/run", "tests/deploy/install-tools.sh")
    done = run("shellcheck", "--severity=warning", *(ROOT / name for name in scripts), check=False)

    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.needs("check-jsonschema")
def test_workflows_match_the_schema_of_github(tmp_path):
    files = [*WORKFLOWS.glob("*.yml"), DEPLOY / "github/policy.yml"]
    command = ("check-jsonschema", "--builtin-schema=vendor.github-workflows")
    assert run(*command, *files, check=False).returncode == 0

    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        files[0].read_text(encoding="utf-8").replace("runs-on:", "run-on:"), encoding="utf-8"
    )
    assert run(*command, wrong, check=False).returncode == 1


def test_security_policy_verifies_what_the_release_attests():
    page = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    commands = re.findall(r"^gh attestation verify (\S+) .*$", page, re.MULTILINE)

    assert [name.replace("VERSION", "1") for name in commands] == [
        "invite_sweeper-1-py3-none-any.whl", "invite-sweeper-1.tgz", "oci://IMAGE:1",
    ]  # fmt: skip
    assert page.count("--signer-workflow REPOSITORY/.github/workflows/build.yml") == len(commands)


def test_notes_of_a_release_are_its_section_of_the_changelog(tmp_path):
    (tmp_path / "bill").mkdir()
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    name = "Write the notes of the release"
    done = Runner(WORKFLOWS / "build.yml", "build", tmp_path, {"VERSION": "v0.1.0"}).run(name)
    notes = (tmp_path / "bill/notes.md").read_text(encoding="utf-8")

    assert done.returncode == 0, done.stderr
    assert notes.strip().startswith("### Added")
    assert "## [" not in notes
    missing = Runner(WORKFLOWS / "build.yml", "build", tmp_path, {"VERSION": "v9.9.9"}).run(name)
    assert missing.returncode != 0


def test_weekly_workflow_runs_the_gate_and_scans_the_lock_and_the_image():
    jobs = workflow("weekly.yml")["jobs"]
    text = str(jobs["vulnerabilities"])

    assert jobs["gate"]["uses"] == "./.github/workflows/gate.yml"
    assert "pip-audit" in text
    assert "requirements.lock" in text
    assert "anchore/scan-action@" in text


def test_dependency_updates_cover_actions_image_and_packages():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))[
        "updates"
    ]

    assert {u["package-ecosystem"] for u in updates} == {"github-actions", "docker", "pip"}
    assert {u["schedule"]["interval"] for u in updates} == {"weekly"}
