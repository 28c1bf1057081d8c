"""The image runs read-only, without capabilities, in 128 MiB, against a simulated Atlas."""

import gzip
import hashlib
import json
import os

import pytest
from deploy.containers import HARDENED, IMAGE, until
from deploy.stage import ORGANIZATION, USER, staged

from invite_sweeper.endings import ExitCode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "podman", "buildah", "runc", "mmdebstrap", "pyproject-build"),
]


def command(stage, verb, *after, before=()):
    return (
        *HARDENED, "--memory=128m", "--memory-swap=128m", "--network=host", *before, *stage.mounts,
        IMAGE, verb, "--output=json", *after,
    )  # fmt: skip


def run(containers, stage, verb, *after, before=()):
    """Run a command and return the exit code and the summary."""
    arguments = command(stage, verb, *after, before=before)
    done = containers.podman("run", "--rm", "--pull=never", *arguments, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def offline(containers, stage, *arguments, before=()):
    """Run a command of the image that needs no network, and return the process."""
    return containers.podman(
        "run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--memory-swap=128m",
        "--network=none", *stage.mounts, *before, IMAGE, *arguments, check=False,
    )  # fmt: skip


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
        assert stage.assert_sound() == 3


def test_sigterm_exits_with_8_and_the_next_run_continues(containers, image, tmp_path):
    with staged(tmp_path, projects=20, stale=100, latency_s=0.2) as stage:
        process = containers.start(*command(stage, "sweep", before=["--name=stopped"]))
        until(lambda: stage.sim.deletes_received >= 50, within_s=60)
        containers.podman("kill", "--signal=TERM", "stopped")
        out, err = process.communicate(timeout=60)

        assert process.returncode == ExitCode.INTERRUPTED, err
        stopped = json.loads(out)
        assert 0 < stopped["deleted"] < 2000
        stage.assert_sound()
        assert stopped["deleted"] == len(stage.sim.deleted)

        stage.sim.faults.clear()
        code, rest = run(containers, stage, "sweep")
        assert code == ExitCode.DONE
        assert stopped["deleted"] + rest["deleted"] == 2000
        stage.assert_swept_once()
        stage.assert_sound()


def test_image_without_arguments_is_a_dry_run(containers, image, tmp_path):
    with staged(tmp_path, projects=2, stale=3) as stage:
        done = containers.podman(
            "run", "--rm", "--pull=never", *HARDENED, "--network=host", *stage.mounts, IMAGE
        )

        assert "would be deleted" in done.stdout
        stage.assert_untouched()
        stage.assert_sound()


def test_sweep_of_a_plan_is_reported_and_verified_across_compressed_files(
    containers, image, tmp_path
):
    """Everything that a checkout can do, in the image and with its restrictions."""
    audit, work = "/var/lib/invite-sweeper", "/work"
    plan = f"{audit}/plan.jsonl"
    (tmp_path / "work").mkdir()
    os.chown(tmp_path / "work", USER, USER)
    with staged(tmp_path, projects=2, stale=4) as stage:
        other = (f"--volume={tmp_path}/work:{work}", f"--workdir={work}")
        init = ("init", "policy.yaml", f"--organization={ORGANIZATION}", "--older-than=14d")
        done = offline(containers, stage, *init, before=other)
        assert done.returncode == ExitCode.DONE, done.stderr
        policy = (tmp_path / "work/policy.yaml").read_text(encoding="utf-8")
        (stage.folder / "policy/policy.yaml").write_text(policy, encoding="utf-8")

        code, planned = run(containers, stage, "plan", f"--out={plan}", before=other)
        assert (code, planned["stale"]) == (ExitCode.DONE, 8)

        sha256 = hashlib.sha256((stage.audit / "plan.jsonl").read_bytes()).hexdigest()
        refused = (f"--plan={plan}", f"--plan-sha256={'0' * 64}")
        code, _ = run(containers, stage, "sweep", *refused, before=other)
        assert code == ExitCode.REFUSED
        stage.assert_untouched()

        required = (f"--plan={plan}", f"--plan-sha256={sha256}")
        metrics = f"--metrics-file={audit}/sweep.prom"
        code, swept = run(containers, stage, "sweep", *required, metrics, before=other)
        assert (code, swept["deleted"]) == (ExitCode.DONE, 8)
        stage.assert_swept_once()
        assert "invite_sweeper_last_run_exit_code 0.0" in (stage.audit / "sweep.prom").read_text(
            encoding="utf-8"
        )

        first = stage.runs[0].path
        first.with_name(f"{first.name}.gz").write_bytes(gzip.compress(first.read_bytes()))
        first.unlink()
        code, again = run(containers, stage, "sweep", before=other)
        assert (code, again["stale"]) == (ExitCode.DONE, 0)

        proof = f"--expect-head={swept['audit_last_hash']}"
        verified = offline(containers, stage, "audit", "verify", proof)
        assert verified.returncode == ExitCode.DONE, verified.stderr
        wrong = f"--expect-head={'0' * 64}"
        forged = offline(containers, stage, "audit", "verify", wrong)
        assert forged.returncode == ExitCode.REFUSED, forged.stdout
        for form, begin in {"html": "<!doctype html>", "md": "# "}.items():
            (name,) = (each.path.name for each in stage.runs if each.run_id == swept["run_id"])
            file = f"{audit}/audit/{name}"
            report = offline(containers, stage, "report", f"--format={form}", file)
            assert report.returncode == ExitCode.DONE, report.stderr
            assert report.stdout.lower().startswith(begin)
            assert "old0@example.com" in report.stdout.replace("<wbr>", "")


def test_demo_runs_without_network_and_with_a_writable_tmp_only(containers, image):
    done = containers.podman(
        "run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--memory-swap=128m",
        "--network=none", "--tmpfs=/tmp", IMAGE, "demo",
    )  # fmt: skip

    assert "would be deleted" in done.stdout
