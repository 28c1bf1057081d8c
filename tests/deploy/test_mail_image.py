"""The image of the webhook that mails inviters, and its container with the pod's settings."""

import os

import pytest
from deploy.containers import HARDENED, fetch_wheels
from deploy.mailing import KEY, TAKEN, TEAM, announcement, post
from deploy.manifests import DEPLOY
from deploy.ports import accepts, reserved_port
from deploy.stage import USER
from readmes import MAIL, section
from running import wait_until

pytestmark = [
    pytest.mark.weekly,
    pytest.mark.needs("root", "podman", "buildah", "runc", "base", "pyproject-build"),
]


@pytest.fixture(scope="module")
def image(containers, terminal):
    """The name of the image that the page's command builds."""
    wheels = containers.folder / "wheels"
    fetch_wheels(wheels, "x86_64", DEPLOY / "mail-inviters/requirements.lock")
    build, _ = section(MAIL, "Kubernetes").commands
    terminal.run(build)
    (registry,) = (ours for theirs, ours in terminal.replaced.items() if "registry" in theirs)
    return f"{registry}/mail-inviters:dev"


@pytest.fixture
def port():
    with reserved_port() as reserved:
        yield reserved


def test_container_mails_an_inviter_without_root_and_writes_only_what_it_mailed(
    containers, image, mailbox, smtp, tmp_path, port
):
    smtp.start()
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "hook-key").write_text(KEY, encoding="utf-8")
    (secrets / "hook-key").chmod(0o440)
    os.chown(secrets / "hook-key", 0, USER)
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, USER, USER)
    settings = {
        "HOOK_KEY_FILE": "/run/secrets/mail-inviters/hook-key",
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": smtp.port,
        "MAIL_FROM": "invite-sweeper@example.com",
        "REPLY_TO": TEAM,
        "STATE_DIRECTORY": "/var/lib/mail-inviters",
    }
    containers.podman(
        "run", "--detach", "--pull=never", "--name=mail-inviters", "--network=host", *HARDENED,
        "--memory=96m", "--memory-swap=96m", f"--volume={secrets}:/run/secrets/mail-inviters:ro",
        f"--volume={state}:/var/lib/mail-inviters",
        *(f"--env={name}={value}" for name, value in settings.items()), f"--env=PORT={port}", image,
    )  # fmt: skip
    try:
        wait_until(lambda: accepts(port))
        assert post(f"http://127.0.0.1:{port}/", announcement()) == TAKEN
        assert post(f"http://127.0.0.1:{port}/", announcement(), key="other") == 401
        containers.podman("stop", "--time=60", "mail-inviters")  # ends once the mail is sent
    finally:
        log = containers.podman("logs", "mail-inviters", check=False)
        containers.podman("rm", "--force", "--time=0", "mail-inviters")
    assert mailbox.take().keys() == {"ada@example.com"}, log.stdout + log.stderr
    assert [path.name for path in state.iterdir()] == ["mailed"]
