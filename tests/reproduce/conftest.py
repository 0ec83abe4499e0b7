"""A recorded sweep, made once a module, and copies of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from in_process_sweep import record_sweep

from orchestrator.sweep.folder import SweepFolder


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> SweepFolder:
    return record_sweep(tmp_path_factory.mktemp("storage"))


@pytest.fixture
def sweep(recorded: SweepFolder, tmp_path: Path) -> SweepFolder:
    """A copy that a test may change."""
    shutil.copytree(recorded.path, tmp_path / "small")
    return SweepFolder(tmp_path / "small")
