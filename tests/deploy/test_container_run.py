"""The image runs read-only, without capabilities, in 128 MiB, against a simulated Atlas."""

import json
import time

import pytest
from deploy.containers import HARDENED, IMAGE, until
from deploy.stage import staged

from invite_sweeper.errors import ExitCode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.deploy_tools("root", "podman", "buildah", "runc", "mmdebstrap", "pyproject-build"),
]

LOG = "invite-sweeper.jsonl"
ARGUMENTS = (f"--audit-log=/var/lib/invite-sweeper/{LOG}", "--output=json")
GRACE_S = 10


def command(stage, verb, *before):
    return (
        *HARDENED, "--memory=128m", "--memory-swap=128m", "--network=host", *before, *stage.mounts,
        IMAGE, verb, *ARGUMENTS,
    )  # fmt: skip


def run(containers, stage, verb):
    """Run a command and return the exit code and the summary."""
    done = containers.podman("run", "--rm", "--pull=never", *command(stage, verb), check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


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
        process = containers.start(*command(stage, "sweep", "--name=stopped"))
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
