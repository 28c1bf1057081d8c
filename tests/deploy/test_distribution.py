"""What is published: the version, the sdist, the locks, and what the workflows do."""

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

from invite_sweeper.cli.help import page

TEXTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / ".github/workflows").glob("*.yml")
}
JOBS = {name: yaml.safe_load(text)["jobs"] for name, text in TEXTS.items()}
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_release_names_the_repository_in_the_package(tmp_path):
    """A package index shows the README without the files that it links to."""
    (tmp_path / "deploy/helm").mkdir(parents=True)
    for name in ("README.md", "pyproject.toml", "deploy/helm/Chart.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    runner = Runner(ROOT / ".github/workflows/build.yml", "build", tmp_path, {"VERSION": "v1.2.3"})
    url = "https://git.example.com/platform/invite-sweeper"
    done = runner.run("Name the repository in the package", URL=url)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"(?:\]\(|src(?:set)?=\")([^)\"]+)", text)

    assert [each for each in targets if not each.startswith(("https://", "#"))] == []
    assert f"]({url}/blob/v1.2.3/deploy/README.md#what-an-auditor-gets)" in text
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

    assert "://" not in made.read_text(encoding="utf-8")  # it names no registry
    # Not the hashes: files of the same version may be added to the index later.
    entries, expected = (
        re.findall(r"^\w.*", path.read_text("utf-8"), re.MULTILINE) for path in (made, ROOT / lock)
    )
    assert entries == expected


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


def test_nothing_is_published_before_the_gate_and_the_build_or_without_the_environment():
    """What is attested names build.yml as its signer; publishing cannot sign as it does."""
    release = JOBS["release.yml"]
    publishing = [job for name, job in release.items() if name.startswith("publish-")]

    assert release["build"]["needs"] == "gate"
    assert release["gate"]["uses"] == "./.github/workflows/gate.yml"
    assert release["build"]["uses"] == "./.github/workflows/build.yml"
    assert len(publishing) == 4
    for job in publishing:
        assert "build" in job["needs"]
        assert job["environment"] == "release"
    assert [name for name, text in TEXTS.items() if "actions/attest@" in text] == ["build.yml"]


def test_names_and_registries_are_variables_that_contributing_lists():
    """The repository names no registry: each address is a variable of GitHub."""
    text = TEXTS["build.yml"] + TEXTS["release.yml"]
    listed = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = [line.split("#")[0] for line in text.splitlines() if "uses:" not in line]
    hosts = re.findall(r"(?<!application/)\b[\w.-]+\.(?:io|com|org|net|dev)\b", "\n".join(lines))
    variables = set(re.findall(r"vars\.(\w+)", text))

    assert hosts == []
    assert variables == set(re.findall(r"^\| `([A-Z_]+)` \|", listed, re.MULTILINE))


def test_every_supported_version_of_python_is_tested():
    project = PYPROJECT["project"]
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    matrix = JOBS["gate.yml"]["python"]["strategy"]["matrix"]["version"]
    platforms = page("deployment").partition("## Platforms")[2]

    assert sorted([*matrix, "3.13"]) == classifiers  # the gate's Debian has 3.13
    assert project["requires-python"] == f">={classifiers[0]}"
    assert [version for version in classifiers if version not in platforms] == []


def test_locks_are_renewed_each_week_with_the_commands_of_contributing():
    steps = {each.get("name"): each.get("run", "") for each in JOBS["weekly.yml"]["locks"]["steps"]}
    given = " ".join(steps["Renew the locks"].split()).replace(" --upgrade", "")
    commands = section("CONTRIBUTING.md", "Dependencies").commands
    compiled = [each for each in commands if each.startswith("uv pip compile")]

    assert compiled
    assert [each for each in compiled if f"tools/bin/{each}" not in given] == []


def test_security_policy_verifies_what_the_build_attests_also_without_access_to_the_internet():
    verify = re.compile(
        r"gh attestation verify (\S+) --repo REPOSITORY"
        r" --signer-workflow REPOSITORY/.github/workflows/build.yml"
    )
    commands = section("SECURITY.md", "Verifying a release").commands
    offline = " --bundle sha256:DIGEST.jsonl --custom-trusted-root trusted_root.jsonl"
    steps = JOBS["build.yml"]["build"]["steps"]
    attested = [step["with"] for step in steps if "actions/attest@" in step.get("uses", "")]

    assert [verify.fullmatch(each)[1].replace("VERSION", "1") for each in commands] == [
        "invite_sweeper-1-py3-none-any.whl", "invite-sweeper-1.tgz", "oci://IMAGE:1",
    ]  # fmt: skip
    assert (
        f"{commands[0]}{offline}"
        in section("SECURITY.md", "Without access to the internet").commands
    )
    assert {each.get("subject-path") or each["subject-digest"] for each in attested} == {
        "dist/*\nchart/*.tgz\n",
        "dist/*",
        "chart/*.tgz",
        "${{ steps.image.outputs.digest }}",
        "${{ steps.chart.outputs.digest }}",
    }
