"""The text of the crontab and of its log rotation."""

import re

import pytest
from deploy.manifests import DEPLOY

CRONTAB = (DEPLOY / "cron/invite-sweeper.crontab").read_text(encoding="utf-8")
LOGROTATE = (DEPLOY / "cron/invite-sweeper.logrotate").read_text(encoding="utf-8")


def entries():
    return [line for line in CRONTAB.splitlines() if line and not line.startswith("#")]


def test_crontab_has_one_job_once_a_day_not_on_the_hour():
    jobs = [line for line in entries() if not re.match(r"[A-Z_]+=", line)]

    assert len(jobs) == 1
    minute, hour, *rest = jobs[0].split()[:5]
    assert 0 < int(minute) < 60
    assert 0 <= int(hour) < 24
    assert rest == ["*", "*", "*"]


def test_job_runs_as_its_own_user_and_names_the_program_by_absolute_path():
    job = entries()[-1].split()

    assert job[5] == "invite-sweeper"
    assert job[6].startswith("/")


def test_crontab_has_no_percent_sign_which_cron_replaces_by_a_newline():
    assert not [line for line in entries() if "%" in line]


def test_credentials_are_named_as_files_and_never_as_values():
    names = [line.split("=")[0] for line in entries() if "ATLAS" in line]

    assert names
    assert all(name.endswith("_FILE") for name in names)


def test_mail_has_a_recipient():
    assert re.search(r"^MAILTO=\S+$", CRONTAB, re.MULTILINE)


def test_crontab_ends_with_a_newline_because_cron_ignores_a_last_line_without():
    assert CRONTAB.endswith("\n")


@pytest.mark.parametrize(
    "directive", ["nocopytruncate", "nocreate", "compress", "delaycompress", "dateext"]
)
def test_rotation_keeps_complete_files_named_by_date_and_compresses_all_but_the_newest(directive):
    assert re.search(rf"^\s+{directive}$", LOGROTATE, re.MULTILINE)


def test_rotation_covers_the_log_that_the_crontab_names():
    folder = re.search(r"^(/\S+)/\*\.jsonl \{", LOGROTATE, re.MULTILINE).group(1)
    log = re.search(r"--audit-log (\S+)", CRONTAB).group(1)

    assert log.startswith(f"{folder}/")
    assert log.endswith(".jsonl")
