"""The text of the crontab."""

import re

from deploy.manifests import DEPLOY

CRONTAB = (DEPLOY / "cron/invite-sweeper.crontab").read_text(encoding="utf-8")
*SETTINGS, JOB = (line for line in CRONTAB.splitlines() if line and not line.startswith("#"))


def test_crontab_has_settings_and_one_job_a_night_not_on_the_hour():
    minute, hour, *rest = JOB.split()[:5]
    names = [re.fullmatch(r"([A-Z_]+)=\S+", line)[1] for line in SETTINGS]

    assert 0 < int(minute) < 60
    assert 0 <= int(hour) < 24
    assert rest == ["*", "*", "*"]
    assert "MAILTO" in names
    assert [n for n in names if "ATLAS" in n and not n.endswith("_FILE")] == []
    # cron replaces a percent sign by a newline, and ignores a last line without one.
    assert "%" not in JOB
    assert CRONTAB.endswith("\n")


def test_job_runs_as_its_own_user_in_the_folder_that_the_page_creates():
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    directory = re.search(r"--audit-dir (\S+)", JOB).group(1)

    assert JOB.split()[5] == "invite-sweeper"
    assert JOB.split()[6].startswith("/")
    assert f" {directory.rpartition('/')[0]}\n" in page
