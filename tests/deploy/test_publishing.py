"""The steps of the release workflow, run against a registry on this machine."""

import hashlib
import json
import os
import re
import shutil
import sys
import tarfile

import pytest
import yaml
from deploy.containers import IMAGE, run
from deploy.manifests import DEPLOY, ROOT, night_of, packaged
from deploy.walk import served_registry
from deploy.workflows import Runner
from environment import find_command

WORKFLOWS = ROOT / ".github/workflows"
RELEASE = "1.2.3"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOGIN = {"USERNAME": "someone", "PASSWORD": "something"}

BUNDLES = {
    "chart": ("bill-of-materials", "provenance"),
    "image": ("bill-of-materials-amd64", "bill-of-materials-arm64", "provenance"),
}

pytestmark = pytest.mark.needs("helm", "oras", "docker-registry")


@pytest.fixture
def registry(tmp_path):
    """The address of an empty registry without passwords."""
    with served_registry(tmp_path) as address:
        yield address


def publish(part, digest, folder, **variables):
    runner = job(f"publish-{part}", folder, **variables)
    (folder / "attestations" / part).mkdir(parents=True)
    for name in BUNDLES[part]:
        (folder / "attestations" / part / f"{name}.json").write_text("{}", encoding="utf-8")
    assert runner.run("Log in", **LOGIN).returncode == 0
    for name in (f"Push the {part} that was tested", "Attach the attestations of the build"):
        done = runner.run(name, DIGEST=digest)
        assert done.returncode == 0, done.stderr


def attached(repository, folder):
    command = ("oras", "discover", "--format=json", f"{repository}:{RELEASE}")
    found = json.loads(run(*command, env=os.environ | {"HOME": str(folder)}).stdout)
    return [each["artifactType"] for each in found.get("referrers", found.get("manifests", []))]


def job(name, folder, **variables):
    file = WORKFLOWS / ("build.yml" if name == "build" else "release.yml")
    return Runner(file, name, folder, {"VERSION": f"v{RELEASE}"} | variables)


def test_chart_is_built_tested_pushed_and_installable(registry, tmp_path):
    image = f"{registry}/team/program"
    chart = f"{registry}/team/charts/invite-sweeper"
    shutil.copytree(DEPLOY / "helm", tmp_path / "deploy/helm")
    (tmp_path / "tools/bin").mkdir(parents=True)
    (tmp_path / "tools/bin/helm").symlink_to(find_command("helm"))
    (tmp_path / "fresh").symlink_to(sys.prefix)
    build = job("build", tmp_path, IMAGE=image)
    digest = f"sha256:{'a' * 64}"
    for name in ("Build the chart", "Test the chart"):
        done = build.run(name, DIGEST=digest)
        assert done.returncode == 0, done.stderr
    publish("chart", build.outputs()["digest"], tmp_path, CHART=chart)

    assert attached(chart, tmp_path) == [BUNDLE] * len(BUNDLES["chart"])
    oci = (f"oci://{chart}", f"--version={RELEASE}", "--plain-http")
    text = run("helm", "template", "invite-sweeper", *oci, cwd=tmp_path).stdout
    assert night_of(text).box["image"] == f"{image}@{digest}"
    shown = yaml.safe_load(run("helm", "show", "chart", *oci, cwd=tmp_path).stdout)
    assert shown["name"] == "invite-sweeper"


def test_notes_of_a_release_are_its_section_of_the_changelog(tmp_path):
    (tmp_path / "bill").mkdir()
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    name = "Write the notes of the release"
    newest, *_ = re.findall(
        r"^## \[(.*)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    done = job("build", tmp_path, VERSION=f"v{newest}").run(name)
    notes = (tmp_path / "bill/notes.md").read_text(encoding="utf-8")

    assert done.returncode == 0, done.stderr
    assert len(notes.strip()) > 100
    assert "## [" not in notes
    assert job("build", tmp_path, VERSION="v9.9.9").run(name).returncode != 0


@pytest.mark.weekly
@pytest.mark.needs("root", "podman", "buildah", "runc", "base", "pyproject-build", "syft")
def test_image_is_listed_with_licences_and_dependencies_and_pushed_as_it_was_built(
    registry, containers, image, tmp_path
):
    archive = tmp_path / "image.tar"
    containers.podman("save", "--quiet", "--format=oci-archive", f"--output={archive}", IMAGE)
    (tmp_path / "tools/bin").mkdir(parents=True)
    (tmp_path / "tools/bin/syft").symlink_to(find_command("syft"))
    (tmp_path / "tools/bin/python").symlink_to(sys.executable)
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    shutil.copy(ROOT / "requirements.lock", tmp_path)
    (tmp_path / "fresh").symlink_to(sys.prefix)
    build = job("build", tmp_path, **containers.environment)
    (tmp_path / "chart").mkdir()
    package = packaged(tmp_path / "chart")
    package.rename(tmp_path / f"chart/invite-sweeper-{RELEASE}.tgz")
    done = build.run("Write the bills of materials", ARCHITECTURES="amd64", DIGEST="sha256:0")
    assert done.returncode == 0, done.stderr
    bill, of_chart, of_package = (
        json.loads((tmp_path / f"bill/invite-sweeper-{name}.cdx.json").read_text("utf-8"))
        for name in ("amd64", "chart", "package")
    )
    parts = {each["name"]: each for each in bill["components"] if "version" in each}
    edges = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}

    assert parts["aiohttp"]["purl"].startswith("pkg:pypi/")
    assert parts["perl-base"]["purl"].startswith("pkg:deb/")
    assert parts["perl-base"]["licenses"]
    assert parts["yarl"]["bom-ref"] in edges[parts["aiohttp"]["bom-ref"]]
    locked = re.findall(r"^([\w.-]+)==", LOCK, re.MULTILINE)
    assert [each for each in locked if not parts[each].get("licenses")] == []
    assert [each for each in locked if not parts[each].get("externalReferences")] == []
    (reference, *_) = parts["yarl"]["externalReferences"]
    assert reference["hashes"][0]["content"] in LOCK
    assert {*locked} <= {each["name"] for each in of_package["components"]}
    (hashed,) = of_chart["metadata"]["component"]["hashes"]
    chart = (tmp_path / f"chart/invite-sweeper-{RELEASE}.tgz").read_bytes()
    assert hashed["content"] == hashlib.sha256(chart).hexdigest()
    assert "pkg:oci/invite-sweeper@sha256%3A0" in {e.get("purl") for e in of_chart["components"]}

    with tarfile.open(archive) as opened:
        (entry,) = json.load(opened.extractfile("index.json"))["manifests"]
    repository = f"{registry}/team/invite-sweeper"
    publish("image", entry["digest"], tmp_path, IMAGE=repository)

    assert attached(repository, tmp_path) == [BUNDLE] * len(BUNDLES["image"])
    home = os.environ | {"HOME": str(tmp_path)}
    found = run("oras", "resolve", f"{repository}:{RELEASE}", env=home).stdout.strip()
    assert found == entry["digest"]
