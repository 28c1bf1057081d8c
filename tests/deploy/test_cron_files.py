"""The text of the crontab."""

import re

from deploy.manifests import DEPLOY

CRONTAB = (DEPLOY / "cron/invite-sweeper.crontab").read_text(encoding="utf-8")


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


def test_audit_directory_is_below_the_folder_that_the_page_creates():
    directory = re.search(r"--audit-dir (\S+)", CRONTAB).group(1)
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")

    assert f" {directory.rpartition('/')[0]}\n" in page
