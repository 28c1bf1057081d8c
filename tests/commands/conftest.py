"""The program as a process, with a simulated Atlas."""

from collections.abc import Iterator

import pytest
from builders import ORG, OTHER_ORG
from forked import SHORT_WAITS
from receiving import receiving
from running import CliRunner, cli_in


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    """Wait as short in this process as in a fork."""
    for name, wait in SHORT_WAITS.items():
        monkeypatch.setattr(f"invite_sweeper.{name}", wait)


@pytest.fixture
def cli(tmp_path) -> Iterator[CliRunner]:
    with cli_in(tmp_path) as found:
        yield found


@pytest.fixture
def several(cli):
    """Two organizations with a project each; ALPHA and BETA name their credentials."""
    cli.use_organizations({"ALPHA": ORG, "BETA": OTHER_ORG})
    cli.stock(org_id=ORG)
    cli.stock(org_id=OTHER_ORG)
    return cli


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server
