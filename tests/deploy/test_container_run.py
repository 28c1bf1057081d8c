"""The image runs read-only, without capabilities, in 128 MiB, against a simulated Atlas."""

import json
import os
import re
import subprocess
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from deploy.containers import HARDENED, IMAGE, until
from deploy.manifests import DEPLOY
from deploy.stage import USER, staged

from invite_sweeper.errors import ExitCode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.deploy_tools("root", "podman", "buildah", "runc", "mmdebstrap", "pyproject-build"),
]

LOG = "invite-sweeper.jsonl"
ARGUMENTS = (f"--audit-log=/var/lib/invite-sweeper/{LOG}", "--output=json")
GRACE_S = 10


def command(stage, verb, *after, before=()):
    return (
        *HARDENED, "--memory=128m", "--memory-swap=128m", "--network=host", *before, *stage.mounts,
        IMAGE, verb, *ARGUMENTS, *after,
    )  # fmt: skip


def run(containers, stage, verb, *after):
    """Run a command and return the exit code and the summary."""
    done = containers.podman(
        "run", "--rm", "--pull=never", *command(stage, verb, *after), check=False
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def offline(containers, stage, *arguments):
    """Run a command of the image that needs no network, and return the process."""
    return containers.podman(
        "run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--memory-swap=128m",
        "--network=none", *stage.mounts, IMAGE, *arguments, check=False,
    )  # fmt: skip


def write_keys(stage):
    """Write an ed25519 key pair of an approver beside the credentials."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, text in {"approver.pem": private, "approver.pub": public}.items():
        path = stage.folder / "secrets" / name
        path.write_bytes(text)
        path.chmod(0o400)
        os.chown(path, USER, USER)


def test_dry_run_and_sweep_of_2000_with_the_log_on_a_volume(containers, image, tmp_path):
    with staged(tmp_path, projects=20, stale=100) as stage:
        code, planned = run(containers, stage, "plan")
        assert code == ExitCode.DONE
        assert (planned["stale"], planned["deleted"]) == (2000, 0)
        stage.assert_untouched()

        code, swept = run(containers, stage, "sweep")
        assert code == ExitCode.DONE
        assert (swept["stale"], swept["deleted"]) == (2000, 2000)
        stage.assert_swept_once()

        code, again = run(containers, stage, "sweep")
        assert (code, again["stale"], again["deleted"]) == (ExitCode.DONE, 0, 0)
        assert stage.assert_sound(LOG).runs == 3


def test_sigterm_exits_with_8_within_the_grace_period_and_the_next_run_continues(
    containers, image, tmp_path
):
    with staged(tmp_path, projects=20, stale=100, latency_s=0.2) as stage:
        process = containers.start(*command(stage, "sweep", before=["--name=stopped"]))
        until(lambda: stage.sim.deletes_received >= 50, within_s=30)
        started_s = time.monotonic()
        containers.podman("kill", "--signal=TERM", "stopped")
        out, err = process.communicate(timeout=30)
        took_s = time.monotonic() - started_s

        assert process.returncode == ExitCode.INTERRUPTED, err
        assert took_s < GRACE_S + 2
        stopped = json.loads(out)
        assert 0 < stopped["deleted"] < 2000
        stage.assert_sound(LOG)
        assert stopped["deleted"] == len(stage.sim.deleted)

        stage.sim.faults.clear()
        code, rest = run(containers, stage, "sweep")
        assert code == ExitCode.DONE
        assert stopped["deleted"] + rest["deleted"] == 2000
        stage.assert_swept_once()
        stage.assert_sound(LOG)


def test_image_without_arguments_is_a_dry_run(containers, image, tmp_path):
    with staged(tmp_path, projects=2, stale=3) as stage:
        done = containers.podman(
            "run", "--rm", "--pull=never", *HARDENED, "--network=host", *stage.mounts, IMAGE
        )

        assert "nothing was deleted" in done.stdout
        stage.assert_untouched()
        stage.assert_sound(f"audit/{LOG}")


def test_approved_plan_is_swept_reported_and_verified_across_rotated_files(
    containers, image, tmp_path
):
    """Everything that a checkout can do, in the image and with its restrictions."""
    keys, audit = "/run/secrets/invite-sweeper", "/var/lib/invite-sweeper"
    plan = f"{audit}/plan.jsonl"
    required = (f"--plan={plan}", f"--require-approval={keys}/approver.pub")
    with staged(tmp_path, projects=3, stale=4) as stage:
        write_keys(stage)
        code, planned = run(containers, stage, "plan", f"--out={plan}")
        assert (code, planned["stale"]) == (ExitCode.DONE, 12)

        unsigned = command(stage, "sweep", *required)
        refused = containers.podman("run", "--rm", "--pull=never", *unsigned, check=False)
        assert refused.returncode == ExitCode.REFUSED, refused.stderr
        stage.assert_untouched()

        approve = ("plan", "approve", plan, f"--key={keys}/approver.pem")
        if "--yes" in offline(containers, stage, "plan", "approve", "--help").stdout:
            approve += ("--yes",)
        approved = offline(containers, stage, *approve)
        assert approved.returncode == ExitCode.DONE, approved.stderr

        metrics = f"--metrics-file={audit}/sweep.prom"
        code, swept = run(containers, stage, "sweep", *required, metrics)
        assert (code, swept["deleted"]) == (ExitCode.DONE, 12)
        stage.assert_swept_once()
        assert "invite_sweeper_last_run_exit_code 0.0" in (stage.audit / "sweep.prom").read_text()

        (stage.audit / LOG).rename(stage.audit / f"{LOG}.1")
        code, again = run(containers, stage, "sweep")
        assert (code, again["stale"]) == (ExitCode.DONE, 0)

        logs = (f"{audit}/{LOG}.1", f"{audit}/{LOG}")
        verified = offline(containers, stage, "audit", "verify", *logs)
        assert verified.returncode == ExitCode.DONE, verified.stderr
        for form, begin in {"html": "<!doctype html>", "md": "# "}.items():
            report = offline(containers, stage, "report", f"--format={form}", *logs)
            assert report.returncode == ExitCode.DONE, report.stderr
            assert report.stdout.lower().startswith(begin)
            assert "old0@example.com" in report.stdout


def test_demo_runs_without_network_and_with_a_writable_tmp_only(containers, image):
    done = containers.podman(
        "run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--memory-swap=128m",
        "--network=none", "--tmpfs=/tmp", IMAGE, "demo",
    )  # fmt: skip

    assert "nothing was deleted" in done.stdout


DOCKER = """
docker() {
    shift
    podman run --pull=never --network=host --env=MONGODB_ATLAS_BASE_URL "$@"
}
"""


def test_commands_of_the_readme_run_in_the_image(containers, image, tmp_path):
    readme = (DEPLOY / "README.md").read_text()
    (commands,) = re.findall(r"<!-- runs in the image -->\n```sh\n(.*?)```", readme, re.DOTALL)
    commands = commands.replace(" --network none", "")  # podman accepts one network
    folder = tmp_path / "stage"
    folder.mkdir()
    with staged(folder, projects=2, stale=3) as stage:
        environment = containers.environment | {
            "MONGODB_ATLAS_BASE_URL": stage.base_url,
            "MONGODB_ATLAS_CLIENT_ID": (folder / "secrets/client-id").read_text(),
            "MONGODB_ATLAS_CLIENT_SECRET": (folder / "secrets/client-secret").read_text(),
        }
        done = subprocess.run(
            ["bash", "-ec", DOCKER + commands], cwd=tmp_path, env=environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        stage.assert_untouched()

    assert "nothing was deleted" in done.stdout
    assert "old0@example.com" in (tmp_path / "report.html").read_text()
