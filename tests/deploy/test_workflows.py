"""What the workflows and the documents say of each other; `.ci/lint` lints the workflows."""

import re
import tomllib

import yaml
from deploy.manifests import ROOT
from readmes import section

from invite_sweeper.cli.help import page

TEXTS = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / ".github/workflows").glob("*.yml")
}
JOBS = {name: yaml.safe_load(text)["jobs"] for name, text in TEXTS.items()}


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
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    classifiers = re.findall(r"Python :: (3\.\d+)", "\n".join(project["project"]["classifiers"]))
    matrix = JOBS["gate.yml"]["python"]["strategy"]["matrix"]["version"]
    platforms = page("deployment").partition("## Platforms")[2]

    assert sorted([*matrix, "3.13"]) == classifiers  # the gate's Debian has 3.13
    assert project["project"]["requires-python"] == f">={classifiers[0]}"
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
