"""The audit directory of a test."""

from pathlib import Path

import pytest

from invite_sweeper.audit import AuditDirectory


@pytest.fixture
def directory(tmp_path: Path) -> AuditDirectory:
    return AuditDirectory(tmp_path / "audit")
