"""The images: read-only, without capabilities, in the memory of the pod."""

import json
import os

import pytest
from benchmarks.nights import write_nights
from deploy.containers import HARDENED, IMAGE, accepts, fetch_wheels, reserved_port
from deploy.mailing import KEY, announcement, post
from deploy.manifests import DEPLOY, KUBERNETES, load
from deploy.stage import USER, staged
from readmes import MAIL, section
from running import wait_until

from invite_sweeper.endings import ExitCode

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("root", "podman", "buildah", "runc", "base", "pyproject-build"),
]

ARBITRARY = 1_000_650_000
"""A user without a name or a home folder, as OpenShift chooses them."""
RUN = ("run", "--rm", "--pull=never", *HARDENED, "--memory=128m", "--memory-swap=128m")
"""With the limits of the pod."""

INSPECT = """
import importlib.util, shutil
from pathlib import Path
print([each for each in ("pip", "gcc", "make") if shutil.which(each)])
print([each for each in ("pip", "ensurepip", "setuptools") if importlib.util.find_spec(each)])
print([str(each) for each in Path("/opt/invite-sweeper/lib").rglob("*.py")
       if not (each.parent / "__pycache__" / f"{each.stem}.cpython-313.pyc").exists()])
"""


def test_image_has_a_user_of_its_own_compiled_modules_and_no_installers(containers, image):
    python = ("--network=none", "--entrypoint=python", IMAGE, "-c", INSPECT)
    (made,) = json.loads(containers.podman("image", "inspect", IMAGE).stdout)

    assert made["Config"]["User"] == "10001:10001"
    assert containers.podman(*RUN, *python).stdout == "[]\n" * 3


@pytest.mark.weekly
def test_image_is_the_same_to_the_byte_when_it_is_built_again(containers, image, terminal):
    again = terminal.run("docker build --file deploy/docker/Dockerfile --tag localhost/again .")
    assert again in containers.podman("inspect", "--format={{.Id}}", IMAGE).stdout


@pytest.mark.weekly  # the base of the gate has no flock
def test_image_has_the_commands_of_the_script_of_the_archive(containers, image):
    look = "for each in date flock gzip sha256sum sync; do command -v $each; done"
    found = containers.podman(*RUN, "--network=none", "--entrypoint=sh", IMAGE, "-c", look)
    assert found.stdout.count("\n") == 5


def test_sigterm_stops_a_sweep_whose_requests_in_flight_are_recorded(containers, image, tmp_path):
    with staged(tmp_path, projects=20, stale=30, latency_s=0.2) as stage:
        sweep = ("--network=host", "--name=stopped", *stage.mounts, IMAGE, "sweep", "--output=json")
        containers.podman("run", "--detach", *RUN[2:], *sweep)
        wait_until(lambda: stage.sim.deletes_received >= 50)
        containers.podman("kill", "--signal=TERM", "stopped")
        code = containers.podman("wait", "stopped").stdout
        log = containers.podman("logs", "stopped")

        assert int(code) == ExitCode.INTERRUPTED, log.stderr
        assert 0 < json.loads(log.stdout)["deleted"] == len(stage.sim.deleted) < 600
        assert stage.assert_sound() == 1


@pytest.mark.parametrize(
    ("deletions", "user"),
    [(40, USER), pytest.param(1_000, ARBITRARY, marks=pytest.mark.weekly)],
)
def test_year_of_nights_is_read_in_the_memory_of_the_pod(
    containers, image, tmp_path, deletions, user
):
    night_job = load(KUBERNETES / "base/cronjob.yaml")["spec"]["jobTemplate"]["spec"]
    (box,) = night_job["template"]["spec"]["containers"]
    limit = box["resources"]["limits"]["memory"].removesuffix("i").lower()
    with staged(tmp_path, projects=2, stale=3, owner=user) as stage:
        write_nights(stage.audit / "audit", 365, deletions)
        for path in (stage.audit / "audit", *(stage.audit / "audit").iterdir()):
            os.chown(path, user, user)
        memory = (f"--memory={limit}", f"--memory-swap={limit}")
        before = (*RUN, *memory, f"--user={user}:{user}", "--network=host")
        doctor, sweep, shown = (
            containers.podman(*before, *stage.mounts, IMAGE, *words, check=False)
            for words in (["doctor"], ["sweep", "-ojson"], ["audit", "show", "365", "-ocsv"])
        )

        # doctor warns of the policy's one list, which Atlas will retire.
        assert doctor.returncode == ExitCode.PARTIAL, doctor
        assert "a sweep would run" in doctor.stdout
        assert json.loads(sweep.stdout)["deleted"] == 6
        assert shown.stdout.count("\n") > deletions
        stage.assert_swept_once()
        assert stage.assert_sound() == 366


@pytest.mark.weekly
def test_image_of_the_webhook_listens_and_says_that_no_mail_server_answers(containers, terminal):
    wheels = containers.folder / "wheels"
    fetch_wheels(wheels, DEPLOY / "mail-inviters/requirements.lock")
    build, _ = section(MAIL, "Kubernetes").commands
    terminal.run(build)
    image = f"{terminal.replaced['registry.example.com']}/mail-inviters:dev"
    with reserved_port() as port:
        own = {"HOOK_KEY": KEY, "PORT": port, "SMTP_HOST": "127.0.0.1", "SMTP_PORT": 1}
        own["STATE_DIRECTORY"] = "/state"
        variables = [f"--env={name}={value}" for name, value in own.items()]
        containers.podman(
            "run", "--detach", "--pull=never", "--network=host", *HARDENED, "--memory=96m",
            "--memory-swap=96m", "--tmpfs=/state", *variables, image,
        )  # fmt: skip
        wait_until(lambda: accepts(port))
        assert post(f"http://127.0.0.1:{port}/", announcement()) == 503
