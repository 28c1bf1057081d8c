"""From nothing to a nightly job in a plain Debian: the pages, and cron with its mails."""

import email
import re

import pytest
from deploy.machine import STATE, started
from deploy.manifests import DEPLOY
from running import wait_until

CRONTAB = (DEPLOY / "cron/invite-sweeper.crontab").read_text(encoding="utf-8")
NIGHTLY = re.compile(r"^17 3 (?=\* \* \* invite-sweeper )", re.MULTILINE)
END = "--end of mail--\n"
# Two jobs of one minute may end together.
SENDMAIL = """#!/bin/sh
exec 9>/tmp/sending && flock 9
{ echo "Arguments: $*"; cat; echo; echo "--end of mail--"; } >> /tmp/sent
"""

pytestmark = [
    pytest.mark.weekly,
    pytest.mark.needs("root", "podman", "runc", "base", "pyproject-build"),
]


def test_readme_installs_the_program_and_leads_to_a_dry_run_as_the_user_of_cron(fresh):
    demo, dry_run = fresh

    assert "This Atlas is simulated" in demo
    assert "would be deleted" in demo
    assert "would be deleted" in dry_run


@pytest.fixture(scope="module")
def machine(containers, fresh, tmp_path_factory):
    """A machine with mail and cron, and nothing scheduled."""
    with started(containers, tmp_path_factory.mktemp("cron")) as up:
        up.write("/usr/sbin/sendmail", SENDMAIL, mode="0755")
        yield up


@pytest.fixture(scope="module")
def mails(machine):
    """The mails of the shipped crontab and of one with a misspelt policy.

    The test changes the schedule to every minute, and Atlas's address. Both are in one file, so
    that cron reads them in the same minute.
    """
    faulty = CRONTAB.replace("policy.yaml", "polcy.yaml").replace("sweeper/audit", "sweeper/other")
    every_minute, times = NIGHTLY.subn("* * ", CRONTAB + faulty)
    assert times == 2
    address = f"MONGODB_ATLAS_BASE_URL={machine.stage.base_url}\n"
    machine.write("/etc/cron.d/invite-sweeper", address + every_minute)
    sent = wait_until(lambda: sent_by(machine), within_s=100)
    machine.run("rm", "/etc/cron.d/invite-sweeper")
    return sent


def sent_by(machine):
    """Return both mails, that of the shipped crontab first; None until both were sent."""
    *sent, _ = machine.run("cat", "/tmp/sent", check=False).stdout.split(END)
    if len(sent) < 2:
        return None
    return sorted(map(decoded, sent[:2]), key=lambda mail: "polcy.yaml" in mail)


def decoded(sent):
    """Return the arguments of sendmail, the recipient, the subject and the text of a mail."""
    arguments, _, mail = sent.partition("\n")
    message = email.message_from_string(mail)
    text = message.get_payload(decode=True).decode()
    return f"{arguments}\nTo: {message['To']}\n{message['Subject']}\n{text}"


def test_mail_goes_to_root_and_lists_stale_invitations(mails, machine):
    listed, _ = mails

    assert re.search(r"^To: root$", listed, re.MULTILINE)
    assert "would be deleted" in listed
    assert set(re.findall(r"old\d@example\.com", listed)) == {
        "old0@example.com", "old1@example.com", "old2@example.com",
    }  # fmt: skip
    machine.stage.assert_untouched()


def test_failed_run_is_mailed_with_what_to_fix(mails):
    _, failed = mails

    assert "/etc/invite-sweeper/polcy.yaml" in failed
    assert "Atlas was not called" in failed


def test_files_of_runs_are_readable_only_by_their_user(mails, machine):
    listed = machine.run("stat", "-c", "%U %a", f"{STATE}/audit", f"{STATE}/audit/HEAD").stdout

    assert listed.splitlines() == ["invite-sweeper 700", "invite-sweeper 600"]


def test_armed_command_sweeps_and_compressed_and_new_files_verify_together(mails, machine):
    """The command of the crontab as its user, with its variables."""
    *variables, line = (x for x in CRONTAB.splitlines() if x and not x.startswith(("#", "MAIL")))
    command = line.split(maxsplit=6)[6].replace(" plan ", " sweep ")
    variables.append(f"MONGODB_ATLAS_BASE_URL={machine.stage.base_url}")
    machine.run("sh", "-c", f"gzip {STATE}/audit/*.jsonl")
    machine.run("runuser", "-uinvite-sweeper", "--", "env", "-i", *variables, "sh", "-c", command)
    machine.stage.assert_swept_once()

    machine.fetch_audit_directory()
    assert machine.stage.assert_sound() == 2
