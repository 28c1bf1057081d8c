"""From nothing to a nightly job: the README files, followed in a plain Debian with Python."""

import pytest

pytestmark = [
    pytest.mark.weekly,
    pytest.mark.needs("root", "podman", "runc", "base", "pyproject-build"),
]


def test_first_command_of_the_readme_installs_the_program_and_shows_the_demo(fresh):
    assert "This Atlas is simulated" in fresh.demo
    assert "would be deleted" in fresh.demo


def test_operators_readme_leads_to_a_dry_run_as_the_user_of_cron(fresh):
    assert "would be deleted" in fresh.cron
