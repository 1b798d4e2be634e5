"""A working copy of the pipeline for tests that run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from working_copy import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Return a fresh working copy."""
    return Project(tmp_path / "project")
