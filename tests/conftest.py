"""What all tests share: one thread, a seeded generator, and the real data if they are there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Undo what libraries do to the number of threads: sums in another order differ."""
    torch.set_num_threads(1)


@pytest.fixture
def generator() -> torch.Generator:
    """Return a seeded generator, so that a test's numbers do not depend on its neighbours."""
    return torch.Generator().manual_seed(20240207)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return `../shared/data` beside the repository; skip where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the real data sets of ../shared/data are not on this machine")
    return folder
