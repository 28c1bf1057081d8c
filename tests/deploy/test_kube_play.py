"""The Job of the CronJob template, run by podman with its ConfigMap, Secret and volume."""

import json
from pathlib import Path

import pytest
import yaml
from deploy.cluster import CONTAINER, playable, remove_pod, secret_of
from deploy.containers import IMAGE
from deploy.manifests import KUBERNETES, built
from deploy.rendering import rendered
from deploy.stage import shipped_policy, staged

from invite_sweeper.endings import ExitCode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs(
        *("root", "podman", "buildah", "runc", "mmdebstrap", "catatonit", "kustomize"),
        "pyproject-build",
    ),
]


def job_of(text, stage):
    """Return the Job and what it mounts, with the image and the stage's policy and credentials."""
    secret = secret_of(sorted((stage.folder / "secrets").iterdir()))
    policy, *others, job = playable(text, stage.base_url, secret)
    policy["data"]["policy.yaml"] = (stage.folder / "policy/policy.yaml").read_text(
        encoding="utf-8"
    )
    (box,) = job["spec"]["template"]["spec"]["containers"]
    box["image"] = IMAGE
    return [policy, *others, job]


def overlay(name):
    return built(KUBERNETES / "overlays" / name)


@pytest.fixture
def played(containers, image, tmp_path):
    """Return a function that runs manifests: their exit code, output and container."""
    path = tmp_path / "play.yaml"

    def play(text, stage):
        path.write_text(yaml.safe_dump_all(job_of(text, stage)), encoding="utf-8")
        containers.podman("kube", "play", "--network=host", path)
        code = int(containers.podman("wait", CONTAINER).stdout)
        logs = containers.podman("logs", CONTAINER)
        inspected = json.loads(containers.podman("inspect", CONTAINER).stdout)[0]
        remove_pod(containers)
        return code, logs.stdout + logs.stderr, inspected

    yield play
    containers.podman("kube", "down", "--force", path, check=False)


def audit_folder(containers):
    mountpoint = "{{.Mountpoint}}"
    done = containers.podman("volume", "inspect", f"--format={mountpoint}", "invite-sweeper-audit")
    return Path(done.stdout.strip())


def test_dry_run_lists_and_the_armed_overlay_deletes(played, containers, tmp_path):
    with staged(tmp_path, projects=4, stale=20) as stage:
        code, output, _ = played(overlay("dry-run"), stage)
        assert code == ExitCode.DONE, output
        assert "would be deleted" in output
        stage.assert_untouched()

        code, output, _ = played(overlay("sweep"), stage)
        assert code == ExitCode.DONE, output
        stage.assert_swept_once()
        assert stage.assert_sound(audit_folder(containers) / "audit") == 2


@pytest.mark.needs("helm")
def test_chart_lists_and_with_mode_sweep_it_deletes(played, tmp_path):
    folder = tmp_path / "stage"
    folder.mkdir()
    with staged(folder, projects=2, stale=5) as stage:
        code, output, _ = played(rendered({}, tmp_path), stage)
        assert (code, stage.sim.deletes_received) == (ExitCode.DONE, 0), output

        code, output, _ = played(rendered({"mode": "sweep"}, tmp_path), stage)
        assert code == ExitCode.DONE, output
        stage.assert_swept_once()


def test_pod_has_the_restrictions_of_the_manifest(played, tmp_path):
    with staged(tmp_path, projects=1, stale=1) as stage:
        _, _, inspected = played(overlay("dry-run"), stage)
    host = inspected["HostConfig"]

    assert host["ReadonlyRootfs"] is True
    assert inspected["Config"]["User"] == "10001:10001"
    assert not inspected["EffectiveCaps"]
    assert not inspected["BoundingCaps"]
    assert host["Memory"] == 160 * 1024 * 1024
    assert "no-new-privileges" in " ".join(host["SecurityOpt"])


def test_shipped_policy_sees_no_project_and_refuses(played, tmp_path):
    with staged(tmp_path, projects=2, stale=2) as stage:
        (stage.folder / "policy/policy.yaml").write_text(
            shipped_policy().read_text(encoding="utf-8"), encoding="utf-8"
        )
        code, _, _ = played(overlay("sweep"), stage)

        assert code == ExitCode.REFUSED
        stage.assert_untouched()
