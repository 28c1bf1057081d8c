"""cron itself runs the shipped crontab; what it mails, and how the log is rotated."""

import re

import pytest
from deploy.containers import until
from deploy.machine import LOG, SENDMAIL, started
from deploy.manifests import DEPLOY
from deploy.stage import staged

from invite_sweeper.errors import ExitCode

CRONTAB = (DEPLOY / "cron/invite-sweeper.crontab").read_text()
NIGHTLY = re.compile(r"^17 3 (?=\* \* \* invite-sweeper )", re.MULTILINE)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.deploy_tools("root", "podman", "buildah", "runc", "mmdebstrap", "python:build"),
]


@pytest.fixture
def machine(containers, image, tmp_path):
    """A machine with mail and cron as they are, and nothing scheduled yet."""
    with (
        staged(tmp_path, projects=2, stale=3, owner=0) as stage,
        started(containers, image, stage) as up,
    ):
        up.write("/usr/sbin/sendmail", SENDMAIL, mode="0755")
        up.run(
            "install", "-d", "-m", "0700", "-o", "invite-sweeper", "-g", "invite-sweeper",
            "/var/lib/invite-sweeper",
        )  # fmt: skip
        up.ship("cron/invite-sweeper.logrotate", "/etc/logrotate.d/invite-sweeper")
        yield up


def schedule(machine, crontab):
    """Install the crontab: every minute instead of every night, and Atlas's address."""
    every_minute, times = NIGHTLY.subn("* * ", crontab)
    assert times == 1
    address = f"MONGODB_ATLAS_BASE_URL={machine.stage.base_url}\n"
    machine.write("/etc/cron.d/invite-sweeper", address + every_minute)


def mails(machine, *, count=1):
    """The mails that cron sent, once there are so many; a minute begins within a minute."""
    sent = until(
        lambda: (
            text if (text := machine.read("/tmp/sent")).count("--end of mail--") >= count
            else None
        ),
        within_s=90,
        step_s=0.5,
    )  # fmt: skip
    return sent.split("--end of mail--\n")[:-1]


def test_cron_runs_the_crontab_mails_the_list_and_the_log_survives_rotation(machine):
    schedule(machine, CRONTAB)
    mail = mails(machine)[0]

    assert "To: " in mail
    assert "root" in mail.splitlines()[0] + mail.splitlines()[2]
    assert "Dry run: nothing was deleted" in mail
    assert mail.count("@example.com") >= 6
    machine.stage.assert_untouched()
    assert machine.run("stat", "-c", "%U %a", LOG).stdout.split() == ["invite-sweeper", "600"]

    machine.run("rm", "/etc/cron.d/invite-sweeper")
    rotated = rotate(machine)
    sweep_by_hand(machine)
    machine.stage.assert_swept_once()
    machine.fetch(rotated, "invite-sweeper.jsonl")
    assert machine.stage.assert_sound(rotated, "invite-sweeper.jsonl").runs == 2


def rotate(machine):
    """Let logrotate take the log, as it would when the month is over; the new name."""
    machine.run("logrotate", "--force", "/etc/logrotate.d/invite-sweeper")
    names = machine.run("ls", "/var/lib/invite-sweeper").stdout.split()
    (rotated,) = (name for name in names if re.fullmatch(r"invite-sweeper\.jsonl-\d{8}", name))
    assert "invite-sweeper.jsonl" not in names
    return rotated


def sweep_by_hand(machine):
    """Run the crontab's own command, armed, as its user and with its variables."""
    line = next(line for line in CRONTAB.splitlines() if NIGHTLY.match(line))
    command = line.split(maxsplit=6)[6].replace(" plan ", " sweep ")
    variables = [v for v in re.findall(r"^[A-Z_]+=\S+$", CRONTAB, re.MULTILINE) if "MAIL" not in v]
    variables.append(f"MONGODB_ATLAS_BASE_URL={machine.stage.base_url}")
    machine.run(
        "runuser", "-u", "invite-sweeper", "--", "env", "-i", *variables, "sh", "-c", command
    )


def test_a_run_that_fails_is_mailed_with_what_to_mend_and_a_log_in_use_is_not_rotated(machine):
    schedule(machine, CRONTAB.replace("policy.yaml", "polcy.yaml"))
    mail = mails(machine)[0]

    assert "/etc/invite-sweeper/polcy.yaml" in mail
    assert "Atlas was not called" in mail
    assert machine.stage.sim.requests == ()

    machine.run("rm", "/etc/cron.d/invite-sweeper")
    sweep_by_hand(machine)
    held = f"flock {LOG}.lock logrotate --force /etc/logrotate.d/invite-sweeper"
    assert machine.run("sh", "-c", held, check=False).returncode != ExitCode.DONE
    assert machine.audit_lines()
