"""The steps of the release workflow, run against a registry on this machine."""

import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
from sysconfig import get_path

import pytest
import yaml
from deploy.add_dependencies import main as add_dependencies
from deploy.containers import IMAGE, run
from deploy.list_chart import main as list_chart
from deploy.manifests import DEPLOY, ROOT, night_of, packaged
from deploy.walk import served_registry
from deploy.workflows import Runner
from environment import find_command

WORKFLOWS = ROOT / ".github/workflows"
RELEASE = "1.2.3"
TITLE = "org.opencontainers.image.title"
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LOGIN = {"USERNAME": "someone", "PASSWORD": "something"}

BILLS = ("bill-of-materials-amd64", "bill-of-materials-arm64")
CHART_BUNDLES = ("bill-of-materials", "provenance")

pytestmark = pytest.mark.needs("helm", "oras", "docker-registry")


@pytest.fixture
def registry(tmp_path):
    """The address of an empty registry without passwords."""
    with served_registry(tmp_path) as address:
        yield address


def publish(runner, part, digest, folder):
    """Run the steps that push a part and attach its attestations."""
    bundles = {"chart": CHART_BUNDLES, "image": ["provenance", *BILLS]}[part]
    (folder / "attestations" / part).mkdir(parents=True)
    for name in bundles:
        (folder / "attestations" / part / f"{name}.json").write_text("{}", encoding="utf-8")
    assert runner.run("Log in", **LOGIN).returncode == 0
    for name in (f"Push the {part} that was tested", "Attach the attestations of the build"):
        done = runner.run(name, DIGEST=digest)
        assert done.returncode == 0, done.stderr


def attestations(repository, folder):
    """Return the names of the bundles that are attached to the release."""
    home = os.environ | {"HOME": str(folder)}
    command = ("oras", "discover", "--format=json", f"{repository}:{RELEASE}")
    found = json.loads(run(*command, env=home).stdout)
    names = []
    for each in found.get("referrers", found.get("manifests", [])):
        assert each["artifactType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
        manifest = json.loads(
            run("oras", "manifest", "fetch", f"{repository}@{each['digest']}", env=home).stdout
        )
        names += [layer["annotations"][TITLE] for layer in manifest["layers"]]
    return sorted(names)


@pytest.fixture
def job(tmp_path):
    """Return a function that creates the runner of a job."""

    def create(name, **variables):
        environment = {"VERSION": f"v{RELEASE}"} | variables
        file = WORKFLOWS / ("build.yml" if name == "build" else "release.yml")
        return Runner(file, name, tmp_path, environment)

    return create


def test_chart_is_built_tested_pushed_and_installable(job, registry, tmp_path):
    image = f"{registry}/team/program"
    chart = f"{registry}/team/charts/invite-sweeper"
    shutil.copytree(DEPLOY / "helm", tmp_path / "deploy/helm")
    for folder, name, program in (
        ("tools", "helm", find_command("helm")),
        ("fresh", "python", sys.executable),
    ):
        (tmp_path / folder / "bin").mkdir(parents=True)
        (tmp_path / folder / "bin" / name).symlink_to(program)
    build = job("build", IMAGE=image)
    digest = f"sha256:{'a' * 64}"
    for name in ("Build the chart", "Test the chart"):
        done = build.run(name, DIGEST=digest)
        assert done.returncode == 0, done.stderr
    publish(job("publish-chart", CHART=chart), "chart", build.outputs()["digest"], tmp_path)

    assert attestations(chart, tmp_path) == [f"{name}.json" for name in CHART_BUNDLES]
    oci = (f"oci://{chart}", f"--version={RELEASE}", "--plain-http")
    text = run("helm", "template", "invite-sweeper", *oci, cwd=tmp_path).stdout
    assert night_of(text).box["image"] == f"{image}@{digest}"
    shown = yaml.safe_load(run("helm", "show", "chart", *oci, cwd=tmp_path).stdout)
    assert shown["name"] == "invite-sweeper"


def test_notes_of_a_release_are_its_section_of_the_changelog(job, tmp_path):
    (tmp_path / "bill").mkdir()
    shutil.copy(ROOT / "CHANGELOG.md", tmp_path)
    name = "Write the notes of the release"
    newest, *_ = re.findall(
        r"^## \[(.*)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    done = job("build", VERSION=f"v{newest}").run(name)
    notes = (tmp_path / "bill/notes.md").read_text(encoding="utf-8")

    assert done.returncode == 0, done.stderr
    assert len(notes.strip()) > 100
    assert "## [" not in notes
    assert job("build", VERSION="v9.9.9").run(name).returncode != 0


def test_bill_gets_licences_of_classifiers_hashes_of_the_lock_and_dependencies(tmp_path):
    names = ["Jinja2", "markdown-it-py", "mdurl", "MarkupSafe"]
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", LOCK, re.MULTILINE))
    versions = {name: locked[name.lower()] for name in names}
    needs = {"Jinja2": ["MarkupSafe>=2.0", "Babel ; extra == 'i18n'"]}
    bill = {
        "components": [
            {"name": n, "version": v, "bom-ref": f"pkg?package-id={n}"} for n, v in versions.items()
        ]
    }
    scan = {
        "artifacts": [
            {"id": n, "name": n, "type": "python", "metadata": {"requiresDist": needs.get(n)}}
            for n in names
        ]
    }
    for name, content in (("bill", bill), ("scan", scan)):
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    add_dependencies(
        tmp_path / "bill", tmp_path / "scan", ROOT / "requirements.lock", get_path("purelib")
    )
    made = json.loads((tmp_path / "bill").read_text(encoding="utf-8"))
    parts = {each["name"]: each for each in made["components"]}

    found = {name: each["licenses"] for name, each in parts.items() if "licenses" in each}
    assert {name: each[0]["license"]["id"] for name, each in found.items()} == {
        "Jinja2": "BSD-3-Clause", "markdown-it-py": "MIT", "mdurl": "MIT",
    }  # fmt: skip
    (first, *_) = parts["mdurl"]["externalReferences"]
    assert first["hashes"][0]["content"] in LOCK
    assert made["dependencies"] == [
        {"ref": "pkg?package-id=Jinja2", "dependsOn": ["pkg?package-id=MarkupSafe"]}
    ]


def test_bill_of_the_chart_has_its_files_with_hashes_and_its_image(tmp_path):
    package = packaged(tmp_path)
    digest = f"sha256:{'a' * 64}"
    list_chart(package, digest, tmp_path / "bill")
    bill = json.loads((tmp_path / "bill").read_text(encoding="utf-8"))
    parts = {each["bom-ref"]: each for each in bill["components"]}
    image = parts.pop("image")
    (hashed,) = bill["metadata"]["component"]["hashes"]

    with tarfile.open(package) as archive:
        files = {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}
    assert {name: each["hashes"][0]["content"] for name, each in parts.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    assert hashed["content"] == hashlib.sha256(package.read_bytes()).hexdigest()
    assert image["purl"] == f"pkg:oci/invite-sweeper@sha256%3A{'a' * 64}"
    assert bill["dependencies"] == [{"ref": "chart", "dependsOn": ["image", *sorted(files)]}]


@pytest.mark.weekly
@pytest.mark.needs("root", "podman", "buildah", "runc", "base", "pyproject-build", "syft")
def test_image_is_listed_with_licences_and_dependencies_and_pushed_as_it_was_built(
    job, registry, containers, image, tmp_path
):
    archive = tmp_path / "image.tar"
    containers.podman("save", "--quiet", "--format=oci-archive", f"--output={archive}", IMAGE)
    (tmp_path / "tools/bin").mkdir(parents=True)
    (tmp_path / "tools/bin/syft").symlink_to(find_command("syft"))
    (tmp_path / "tools/bin/python").symlink_to(sys.executable)
    scripts = ("tests/deploy/add_dependencies.py", "tests/deploy/list_chart.py")
    for name in (".github/publish.lock", *scripts, "requirements.lock"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "fresh").symlink_to(sys.prefix)
    build = job("build", **containers.environment)
    (tmp_path / "chart").mkdir()
    package = packaged(tmp_path / "chart")
    package.rename(tmp_path / f"chart/invite-sweeper-{RELEASE}.tgz")
    done = build.run("Write the bills of materials", ARCHITECTURES="amd64", DIGEST="sha256:0")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bill/invite-sweeper-chart.cdx.json").exists()
    assert (tmp_path / "bill/invite-sweeper-package.cdx.json").exists()
    path = tmp_path / "bill/invite-sweeper-amd64.cdx.json"
    bill = json.loads(path.read_text(encoding="utf-8"))
    parts = {each["name"]: each for each in bill["components"] if "version" in each}
    edges = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}

    for name, kind, needs in (("aiohttp", "pkg:pypi/", "yarl"), ("perl-base", "pkg:deb/", "")):
        assert parts[name]["purl"].startswith(kind)
        assert parts[name]["licenses"], name
        assert not needs or parts[needs]["bom-ref"] in edges[parts[name]["bom-ref"]]

    locked = re.findall(r"^([\w.-]+)==", LOCK, re.MULTILINE)
    assert [each for each in locked if not parts[each].get("licenses")] == []
    assert [each for each in locked if not parts[each].get("externalReferences")] == []

    with tarfile.open(archive) as opened:
        (entry,) = json.load(opened.extractfile("index.json"))["manifests"]
    repository = f"{registry}/team/invite-sweeper"
    publish(job("publish-image", IMAGE=repository), "image", entry["digest"], tmp_path)

    assert attestations(repository, tmp_path) == [
        *(f"{name}.json" for name in BILLS), "provenance.json"
    ]  # fmt: skip
    home = os.environ | {"HOME": str(tmp_path)}
    found = run("oras", "resolve", f"{repository}:{RELEASE}", env=home).stdout.strip()
    assert found == entry["digest"]
