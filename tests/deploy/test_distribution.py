"""The sdist and the wheel as published, and their bill of materials."""

import json
import re
import shutil
import sys
import tarfile
import tomllib
import zipfile

import pytest
import yaml
from deploy.containers import fetch_wheels, run
from deploy.manifests import ROOT
from deploy.workflows import Runner

import invite_sweeper

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
VERSION = invite_sweeper.__version__
ENTRY = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?P<marker> ;[^\\]*)? \\$", re.MULTILINE)


def canonical(name):
    """Return a project's normalized name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked():
    """Return the locked versions by name."""
    return {canonical(found["name"]): found["version"] for found in ENTRY.finditer(LOCK)}


def test_lock_has_no_registry_address_and_a_hash_for_every_entry():
    entries = re.split(r"\n(?=\w)", LOCK.strip())

    assert "://" not in LOCK
    assert len(entries) == len(locked()) > 10
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries)


def test_lock_contains_all_dependencies():
    dependencies = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["speed"]
    names = {canonical(re.match(r"[\w.-]+", each).group()) for each in dependencies}

    assert [name for name in names if name not in locked()] == []


@pytest.mark.slow
def test_lock_has_wheels_for_the_image_on_arm64(tmp_path):
    wheels = [path.name for path in fetch_wheels(tmp_path, "aarch64").iterdir()]

    assert len(wheels) > 10
    assert any("aarch64" in name for name in wheels)
    assert not any("x86_64" in name for name in wheels)


def test_release_names_the_repository_in_the_package(tmp_path):
    """A package index shows the README without the files that it links to."""
    (tmp_path / "deploy/helm").mkdir(parents=True)
    for name in ("README.md", "pyproject.toml", "deploy/helm/Chart.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    runner = Runner(ROOT / ".github/workflows/build.yml", "build", tmp_path, {"VERSION": "v1.2.3"})
    url = "https://git.example.com/platform/invite-sweeper"
    done = runner.run("Name the repository in the package", URL=url)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)]+)\)", page)

    assert [each for each in targets if not each.startswith(("https://", "#"))] == []
    assert f"]({url}/blob/v1.2.3/deploy/README.md#what-an-auditor-gets)" in page
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["urls"]["Source"] == url
    assert project["authors"]
    chart = yaml.safe_load((tmp_path / "deploy/helm/Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["home"], chart["sources"]) == (url, [url])
    assert (ROOT / chart["icon"].removeprefix(f"{url}/raw/v1.2.3/")).exists()


@pytest.mark.parametrize("module", ["invite_sweeper", "invite_sweeper.cli"])
def test_windows_gets_one_sentence(module):
    script = f"import sys; sys.platform = 'win32'; import {module}"
    done = run(sys.executable, "-c", script, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "invite-sweeper does not run on Windows: use it in WSL or in a container.\n"
    )


def test_every_import_is_declared_and_every_dependency_imported():
    done = run(sys.executable, "-m", "deptry", "--no-ansi", ".", cwd=ROOT, check=False)

    assert done.returncode == 0, done.stderr


def test_tools_of_the_gate_are_pinned_and_run_no_script_of_a_package():
    groups = PYPROJECT["dependency-groups"]
    tools = PROJECT["optional-dependencies"]["dev"] + groups["deploy-checks"]
    scripts = "".join(
        (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
        for name in (".ci/run", "tests/deploy/install-tools.sh")
    )
    installs = [
        re.sub(r"--prefix \S+", "", arguments)
        for arguments in re.findall(r"npm install(.*)", scripts)
    ]
    packages = [word for each in installs for word in re.findall(r" ((?![-{])\S*\w\S*)", each)]

    assert [each for each in tools if "==" not in each] == ["invite-sweeper[speed]"]
    assert len(installs) == 2
    assert [each for each in installs if "--ignore-scripts" not in each] == []
    assert [each for each in packages if not re.search(r"@\d+\.\d+\.\d+\}?$", each)] == []


COMPILE = re.compile(r"^ *uv pip compile (.*) -o (\S+)$", re.MULTILINE)


@pytest.mark.needs("uv")
@pytest.mark.parametrize(
    ("group", "lock"),
    [
        (None, "requirements.lock"),
        *((g, f".github/{g}.lock") for g in ("release", "publish", "audit")),
    ],
)
def test_lock_is_what_the_command_of_contributing_makes(group, lock, tmp_path):
    """It keeps the versions that still fit, so only a change of pyproject.toml is a difference."""
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    commands = {path.replace("$group", str(group)): words for words, path in COMPILE.findall(page)}
    options = commands[lock].replace("$group", str(group)).split()
    made = tmp_path / "made.lock"
    shutil.copy(ROOT / lock, made)
    run("uv", "--system-certs", "pip", "compile", "--quiet", *options, "-o", made, cwd=ROOT)

    # Not the hashes: files of the same version may be added to the index later.
    assert versions(made) == versions(ROOT / lock)


def versions(lock):
    """Return the entries of a lock without their hashes."""
    return re.findall(r"^\w.*", lock.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.needs("pyproject-build")
def test_wheel_contains_only_the_package_its_types_and_licence(dist):
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    info = f"invite_sweeper-{VERSION}.dist-info"

    assert wheel.name == f"invite_sweeper-{VERSION}-py3-none-any.whl"
    assert {"invite_sweeper/py.typed", f"{info}/licenses/LICENSE"} <= names
    assert {"invite_sweeper/samples/policy.yaml", "invite_sweeper/help/policy.md"} <= names
    assert {name.split("/")[0] for name in names} == {"invite_sweeper", info}
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "invite_sweeper").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == sources


@pytest.mark.slow
@pytest.mark.needs("pyproject-build")
def test_sdist_contains_tests_lock_and_deployment_files(dist):
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"requirements.lock", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert {"deploy/docker/Dockerfile", "deploy/helm/Chart.yaml", "config/policy.yaml"} <= names
    assert {"tests/deploy/conftest.py", ".ci/run", ".pre-commit-hooks.yaml"} <= names
    assert {".github/workflows/release.yml", ".github/release.lock"} <= names
    tracked = run("git", "ls-files", "-z", cwd=ROOT, check=False).stdout.split("\0")
    # Empty in an sdist. Its tests pass there because it has every file of the repository.
    assert [name for name in tracked if name and name not in names] == []
    assert not [name for name in names if "__pycache__" in name or name.startswith(".git/")]


@pytest.mark.slow
@pytest.mark.needs("pyproject-build")
def test_wheel_installed_from_the_lock_runs_the_demo(dist, tmp_path):
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    pip = (tmp_path / "venv/bin/python", "-m", "pip", "install", "--quiet", "--no-deps")
    run(*pip, "--require-hashes", "--requirement", ROOT / "requirements.lock")
    run(*pip, "--no-index", wheel)

    program = tmp_path / "venv/bin/invite-sweeper"
    assert VERSION in run(program, "--version", cwd=tmp_path).stdout
    shown = run(program, "demo", cwd=tmp_path)
    assert "would be deleted" in shown.stdout


@pytest.mark.needs("cyclonedx-py")
def test_bill_of_materials_lists_every_locked_package_with_hashes(tmp_path):
    path = tmp_path / "sbom.cdx.json"
    run(
        "cyclonedx-py", "requirements", "--pyproject=pyproject.toml", "--output-reproducible",
        "--output-format=JSON", f"--output-file={path}", "requirements.lock", cwd=ROOT,
    )  # fmt: skip
    bill = json.loads(path.read_text(encoding="utf-8"))

    assert bill["bomFormat"] == "CycloneDX"
    assert bill["metadata"]["component"]["name"] == PROJECT["name"]
    listed = {canonical(c["name"]): c for c in bill["components"]}
    assert {name: c["version"] for name, c in listed.items()} == locked()
    assert all(c["externalReferences"][0]["hashes"] for c in listed.values())
