"""From nothing to a nightly job: the README files, followed in a plain Debian with Python."""

import pytest

pytestmark = [
    pytest.mark.weekly,
    pytest.mark.needs("root", "podman", "runc", "mmdebstrap", "pyproject-build"),
]


def test_readme_leads_to_a_first_dry_run_in_6_commands_and_5_minutes(fresh):
    assert len(fresh.readme.commands) <= 6
    assert fresh.readme.minutes("first dry run") < 5
    demo, dry_run = fresh.readme.output.rsplit("Dry run", 1)
    assert "This Atlas is simulated" in demo
    assert "46 invitations would be deleted" in dry_run


def test_cron_is_reached_in_15_minutes_of_reading_and_typing(fresh):
    assert (fresh.readme + fresh.cron).minutes("cron") < 15
    assert "would be deleted" in fresh.cron.output
