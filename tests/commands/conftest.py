"""The program as a process, with a simulated Atlas."""

from collections.abc import Iterator

import pytest
from receiving import receiving
from running import CliRunner, cli_in


@pytest.fixture
def cli(tmp_path) -> Iterator[CliRunner]:
    with cli_in(tmp_path) as found:
        yield found


@pytest.fixture
def receiver():
    with receiving() as server:
        yield server
