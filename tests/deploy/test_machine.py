"""A plain Debian: the pages are followed, and cron and systemd run what they install.

systemd runs the shipped units with the restrictions that the kernel supports.
"""

import email
import re

import pytest
from company_network import ATLAS, company_network
from deploy.containers import accepts, fetch_wheels
from deploy.machine import HOME, STATE, started
from deploy.mailing import KEY, TAKEN, announcement, post
from deploy.manifests import DEPLOY
from readmes import ARCHIVE, MAIL, OPERATORS, section
from running import wait_until

from invite_sweeper.endings import ExitCode

CRONTAB = (DEPLOY / "cron/invite-sweeper.crontab").read_text(encoding="utf-8")
NIGHTLY = re.compile(r"^17 3 (?=\* \* \* invite-sweeper )", re.MULTILINE)
SENDMAIL = "#!/bin/sh\ncat >/tmp/sending && mv /tmp/sending /tmp/sent\n"
SERVICE = (DEPLOY / "systemd/invite-sweeper.service").read_text(encoding="utf-8")
EXEC_START = re.compile(r"^ExecStart=.*?[^\\]\n", re.MULTILINE | re.DOTALL)
UNIT = "/etc/systemd/system/invite-sweeper.service"
# The container cannot create user namespaces; all other settings of the unit are in force.
TEST_CONFIG = "[Service]\nPrivateUsers=no\nEnvironment=MONGODB_ATLAS_BASE_URL={}\n"
PROBE = r"""#!/bin/sh
attempt() { if "$@" >/dev/null 2>&1; then echo "yes: $*"; else echo "no: $*"; fi; }
attempt touch /etc/written
attempt touch /opt/invite-sweeper/written
attempt touch /var/lib/invite-sweeper/written
attempt cat /etc/shadow
attempt ls /proc/1/cmdline
attempt date --set 2020-01-01
attempt unshare --mount true
attempt hostname other
attempt cat "$CREDENTIALS_DIRECTORY/client-secret"
grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr '\t' ' '
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
    with started(containers, tmp_path_factory.mktemp("machine")) as up:
        up.write("/usr/sbin/sendmail", SENDMAIL, mode="0755")
        yield up


def test_mail_of_cron_goes_to_root_and_lists_stale_invitations(machine):
    """The test changes the schedule to every minute, and Atlas's address."""
    every_minute, times = NIGHTLY.subn("* * ", CRONTAB)
    address = f"MONGODB_ATLAS_BASE_URL={machine.stage.base_url}\n"
    machine.write("/etc/cron.d/invite-sweeper", address + every_minute)
    sent = wait_until(lambda: machine.run("cat", "/tmp/sent", check=False).stdout, within_s=100)
    machine.run("rm", "/etc/cron.d/invite-sweeper")
    mail = email.message_from_string(sent)
    text = mail.get_payload(decode=True).decode()

    assert times == 1
    assert ">" not in every_minute  # cron mails what goes wrong, too
    assert mail["To"] == "root"
    assert "would be deleted" in text
    assert {*re.findall(r"old\d@example\.com", text)} == {f"old{n}@example.com" for n in range(3)}
    machine.stage.assert_untouched()


@pytest.fixture(scope="module")
def followed(machine):
    """The section of the README, followed on a machine that is prepared as for cron."""
    machine.write(f"{UNIT}.d/test.conf", TEST_CONFIG.format(machine.stage.base_url))
    machine.run("rm", "--recursive", STATE)
    return machine.follow(section(OPERATORS, "systemd"))


def test_commands_of_the_readme_run_a_dry_run_and_enable_the_timer(followed, machine):
    assert "would be deleted" in followed
    machine.stage.assert_untouched()
    listed = machine.run("systemctl", "list-timers", "--no-pager", "invite-sweeper.timer").stdout
    assert re.search(r"03:(1[7-9]|[2-4]\d):\d\d .*invite-sweeper\.service", listed)


def start(machine, unit_text):
    """Install the service, run it once, and return its exit code and log."""
    machine.write(UNIT, unit_text)
    machine.run("systemctl", "daemon-reload")
    machine.run("journalctl", "--rotate", "--vacuum-time=1s", check=False)
    machine.run("systemctl", "reset-failed", "invite-sweeper.service", check=False)
    machine.run("systemctl", "start", "invite-sweeper.service", check=False)
    shown = machine.run("systemctl", "show", "--property=ExecMainStatus", "invite-sweeper.service")
    log = machine.run("journalctl", "--unit=invite-sweeper.service", "--output=cat")
    machine.run("systemctl", "stop", "invite-sweeper.service")
    return int(shown.stdout.strip().partition("=")[2]), log.stdout


def test_shipped_service_lists_and_with_one_word_changed_it_sweeps(followed, machine):
    code, log = start(machine, SERVICE)
    assert code == ExitCode.DONE, log
    assert "would be deleted" in log
    machine.stage.assert_untouched()

    code, log = start(machine, re.sub(r"^    plan ", "    sweep ", SERVICE, flags=re.MULTILINE))
    assert code == ExitCode.DONE, log
    machine.stage.assert_swept_once()
    machine.fetch_audit_directory()
    assert machine.stage.assert_sound() == 3
    listed = machine.run("stat", "-c", "%U %a", f"{STATE}/audit", f"{STATE}/audit/HEAD").stdout
    assert listed.splitlines() == ["invite-sweeper 700", "invite-sweeper 600"]


def test_service_can_access_only_its_folder_and_credentials(followed, machine):
    machine.write("/usr/local/bin/probe", PROBE, mode="0755")
    code, log = start(machine, EXEC_START.sub("ExecStart=probe\n", SERVICE))

    assert code == 0, log
    allowed = set(re.findall(r"^yes: (.*)$", log, re.MULTILINE))
    assert allowed == {
        "touch /var/lib/invite-sweeper/written",
        "cat /run/credentials/invite-sweeper.service/client-secret",
    }
    assert log.count("no: ") == 7
    assert re.search(r"^CapBnd: 0+$", log, re.MULTILINE)
    assert re.search(r"^NoNewPrivs: 1$", log, re.MULTILINE)
    assert re.search(r"^Seccomp: 2$", log, re.MULTILINE)


def test_archive_of_the_page_has_every_run_and_a_timer(followed, machine):
    machine.follow(section(ARCHIVE, "The archive"))
    unit = "invite-sweeper-archive.service"
    machine.write(f"/etc/systemd/system/{unit}.d/test.conf", "[Service]\nPrivateUsers=no\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", unit)
    log = machine.run("journalctl", f"--unit={unit}", "--output=cat").stdout
    kept = machine.run("sh", "-c", f"ls {STATE}/audit | grep -c jsonl").stdout
    archive = "/srv/invite-sweeper-archive"
    assert machine.run("sh", "-c", f"ls {archive} | grep -c 'jsonl.gz$'").stdout == kept, log
    verify = ("/opt/invite-sweeper/bin/invite-sweeper", "audit", "verify", archive)
    assert machine.run("runuser", "-u", "invite-sweeper", "--", *verify).stdout.startswith("Sound")
    timer = machine.run("systemctl", "list-timers", "--no-pager", "invite-sweeper-archive.timer")
    assert re.search(r"0[56]:(4[7-9]|5\d|[01]\d):\d\d ", timer.stdout)


def test_webhook_of_the_page_mails_an_inviter(followed, machine, containers, smtp):
    smtp.start()
    fetch_wheels(containers.folder / "wheels", DEPLOY / "mail-inviters/requirements.lock")
    for name, text in (("hook-key", KEY), ("smtp-password", "pw")):
        machine.write(f"{HOME}/{name}", text)
    # The mail server of the test has no users.
    unit = "mail-inviters.service"
    more = f"Environment=SMTP_PORT={smtp.port}\nPrivateUsers=no\n"
    machine.write(f"/etc/systemd/system/{unit}.d/test.conf", f"[Service]\n{more}")
    machine.follow(section(MAIL, "systemd"))
    # What the nightly service reads, and none but root.
    receivers = "/etc/invite-sweeper/receivers.env"
    assert f"MAIL_INVITERS_KEY={KEY}\n" in machine.run("cat", receivers).stdout
    assert machine.run("stat", "-c", "%a", receivers).stdout == "400\n"
    settings = "/etc/invite-sweeper/mail-inviters.env"
    machine.run("sed", "-i", "s/smtp.example.com/127.0.0.1/; /SMTP_USERNAME/d", settings)
    machine.run("systemctl", "restart", unit)
    wait_until(lambda: accepts(8025))
    answer = post("http://127.0.0.1:8025/", announcement())
    machine.run("systemctl", "disable", "--now", unit)  # ends once the mail is sent
    log = machine.run("journalctl", f"--unit={unit}", "--output=cat").stdout

    assert answer == TAKEN, log
    assert smtp.handler.take().keys() == {"ada@example.com"}
    assert machine.run("wc", "-l", "/var/lib/mail-inviters/mailed").stdout.startswith("1 ")


def test_metrics_are_written_as_the_guide_says_and_another_user_reads_them(followed, machine):
    lines = section(OPERATORS, "What to monitor").text.splitlines()
    (bullet,) = (line for line in lines if line.startswith("- **Metrics**"))
    make, link, setting = re.findall(r"`((?:install -d|ln -s|ReadWritePaths=)[^`]+)`", bullet)
    option = f"--metrics-file {link.split()[2]}"
    machine.run("sh", "-c", f"mkdir -p /var/lib/prometheus/node-exporter && {make} && {link}")
    unit = SERVICE.replace("    plan \\\n", f"    plan \\\n    {option} \\\n")
    code, log = start(machine, unit.replace("[Service]\n", f"[Service]\n{setting}\n"))

    assert code == ExitCode.DONE, log
    path = "/var/lib/prometheus/node-exporter/invite-sweeper.prom"
    shown = machine.run("runuser", "-u", "nobody", "--", "cat", path).stdout
    assert '\ninvite_sweeper_last_run_exit_code{instance="policy"} 0.0\n' in shown
    assert machine.run("stat", "-L", "-c", "%U %a", path).stdout == "invite-sweeper 644\n"


def test_service_reaches_atlas_through_the_proxy_of_the_guide(followed, machine, tmp_path):
    (shown,) = section(OPERATORS, "Proxy and private CA").blocks("ini")
    with company_network(machine.stage.sim, tmp_path) as network:
        machine.write("/etc/invite-sweeper/ca.pem", network.authority.read_text("utf-8"))
        text = shown.replace("http://proxy.example.com:3128", network.proxy)
        text = text.replace("NO_PROXY=.example.com", "NO_PROXY=.example.org")
        base_url = network.environment["MONGODB_ATLAS_BASE_URL"]
        text += f"Environment=MONGODB_ATLAS_BASE_URL={base_url}\n"
        machine.write(f"{UNIT}.d/z.conf", text)
        code, log = start(machine, SERVICE)
        machine.run("rm", f"{UNIT}.d/z.conf")

    assert code == ExitCode.DONE, log
    assert set(network.asked) == {f"CONNECT {ATLAS}:443"}


def test_secret_is_encrypted_as_the_guide_says_and_the_plain_file_is_gone(followed, machine):
    text = section(OPERATORS, "systemd").text
    encrypt, setting = re.findall(r"`(systemd-creds [^`]+|LoadCredentialEncrypted=[^`]+)`", text)
    machine.run("sh", "-ec", f"cd /etc/invite-sweeper; {encrypt}; mv client-secret /root/plain")
    machine.write(f"{UNIT}.d/encrypted.conf", f"[Service]\n{setting}\n")
    code, log = start(machine, SERVICE)
    machine.run("mv", "/root/plain", "/etc/invite-sweeper/client-secret")
    machine.run("rm", f"{UNIT}.d/encrypted.conf")

    assert code == ExitCode.DONE, log


def test_wrong_credentials_are_not_retried(followed, machine):
    machine.write("/etc/invite-sweeper/client-secret", "mdb_sa_sk_wrong", mode="0400")
    code, log = start(machine, SERVICE)

    assert code == ExitCode.CREDENTIALS, log
    assert "mdb_sa_sk_wrong" not in log
    assert "Scheduled restart job" not in log
