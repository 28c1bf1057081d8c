"""The crontab and its log rotation, as text."""

import re

import pytest
from deploy.manifests import DEPLOY

CRONTAB = (DEPLOY / "cron/invite-sweeper.crontab").read_text()
LOGROTATE = (DEPLOY / "cron/invite-sweeper.logrotate").read_text()


def entries():
    return [line for line in CRONTAB.splitlines() if line and not line.startswith("#")]


def test_there_is_one_job_and_it_runs_once_a_day_off_the_hour():
    jobs = [line for line in entries() if not re.match(r"[A-Z_]+=", line)]

    assert len(jobs) == 1
    minute, hour, *rest = jobs[0].split()[:5]
    assert 0 < int(minute) < 60
    assert 0 <= int(hour) < 24
    assert rest == ["*", "*", "*"]


def test_the_job_runs_as_a_user_of_its_own_and_names_the_program_in_full():
    job = entries()[-1].split()

    assert job[5] == "invite-sweeper"
    assert job[6].startswith("/")


def test_no_percent_sign_is_left_for_cron_to_turn_into_a_newline():
    assert not [line for line in entries() if "%" in line]


def test_credentials_are_named_as_files_and_never_as_values():
    names = [line.split("=")[0] for line in entries() if "ATLAS" in line]

    assert names
    assert all(name.endswith("_FILE") for name in names)


def test_somebody_is_mailed():
    assert re.search(r"^MAILTO=\S+$", CRONTAB, re.MULTILINE)


def test_the_file_ends_with_a_newline_or_cron_ignores_its_last_line():
    assert CRONTAB.endswith("\n")


@pytest.mark.parametrize("directive", ["nocopytruncate", "nocreate", "nocompress", "dateext"])
def test_rotation_leaves_whole_plain_files_that_sort_by_date(directive):
    assert re.search(rf"^\s+{directive}$", LOGROTATE, re.MULTILINE)


def test_rotation_covers_the_log_that_the_crontab_names():
    folder = re.search(r"^(/\S+)/\*\.jsonl \{", LOGROTATE, re.MULTILINE).group(1)
    log = re.search(r"--audit-log (\S+)", CRONTAB).group(1)

    assert log.startswith(f"{folder}/")
    assert log.endswith(".jsonl")
