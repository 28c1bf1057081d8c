"""The log of a test."""

from pathlib import Path

import pytest

from invite_sweeper.audit import LogPath


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "log.jsonl"


@pytest.fixture
def log_path(path) -> LogPath:
    return LogPath(str(path))
