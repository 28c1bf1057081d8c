"""The version, the sdist as published, and the locks."""

import re
import shutil
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from deploy.containers import run
from deploy.manifests import ROOT
from deploy.workflows import Runner, git
from packaging.version import Version
from readmes import section

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_lock_names_no_registry_and_no_uvloop():
    """Atlas's responses take longer than uvloop saves."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")

    assert "://" not in lock
    assert "\nuvloop" not in lock


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


@pytest.mark.needs("uv")
@pytest.mark.parametrize(
    "lock",
    [
        "requirements.lock",
        "deploy/mail-inviters/requirements.lock",
        pytest.param(".github/release.lock", marks=pytest.mark.weekly),
        pytest.param(".github/publish.lock", marks=pytest.mark.weekly),
        pytest.param(".github/audit.lock", marks=pytest.mark.weekly),
    ],
)
def test_lock_is_what_the_command_of_contributing_makes(lock, tmp_path):
    """It keeps the versions that still fit, so only a change of pyproject.toml is a difference."""
    commands = " ".join(section("CONTRIBUTING.md", "Dependencies").commands)
    typed = commands.replace("$group", Path(lock).stem)
    options = re.search(rf"uv pip compile ((?:(?!uv pip).)*) -o {lock}", typed)[1].split()
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
def test_sdist_contains_tests_lock_and_deployment_files(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    assert {"requirements.lock", "tests/deploy/conftest.py", ".github/release.lock"} <= names
    tracked = run("git", "ls-files", "-z", cwd=ROOT, check=False).stdout.split("\0")
    # Empty in an sdist. Its tests pass there because it has every file of the repository.
    assert [name for name in tracked if name and name not in names] == []
    assert not [name for name in names if "__pycache__" in name or name.startswith(".git/")]


@pytest.mark.needs("git", "hatchling")
def test_version_tells_two_commits_apart_and_is_that_of_a_tag(tmp_path):
    def version():
        return run("hatchling", "version", cwd=tmp_path).stdout.strip()

    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    fallback = PYPROJECT["tool"]["hatch"]["version"]["fallback-version"]
    assert version() == fallback  # a copy without a history
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message=First")
    found = [version()]
    git(tmp_path, "tag", "v1.2.3")
    found.append(version())
    for name in ("Second", "Third"):
        git(tmp_path, "commit", "--quiet", "--allow-empty", f"--message={name}")
        found.append(version())

    plain = [re.sub(r"\+g[0-9a-f]+$", "", each) for each in found]
    assert plain == [fallback.replace("dev0", "dev1"), "1.2.3", "1.2.4.dev1", "1.2.4.dev2"]
    assert [Version(each) for each in found] == sorted(map(Version, found))
    assert "+g" in found[-1]
