"""The audit directory of a test, on a disk that is not waited for."""

import os
from pathlib import Path

import pytest

from invite_sweeper.audit import AuditDirectory


@pytest.fixture(autouse=True)
def _no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for no disk: tested is what files contain, not that they survive a crash."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def directory(tmp_path: Path) -> AuditDirectory:
    return AuditDirectory(tmp_path / "audit")
