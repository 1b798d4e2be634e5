from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse as sp
from web import Server, serving

from vmm.data.containers import CellData


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as running:
        yield running


@pytest.fixture
def cells() -> CellData:
    """Four cells × three genes, two batches, two types."""
    return CellData(
        name="tiny",
        counts=sp.csr_matrix(
            np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0], [0, 5, 6]], dtype=np.int32)
        ),
        batch=np.array([0, 1, 0, 1]),
        batch_names=["first", "second"],
        labels=np.array([1, 0, 0, 1]),
        label_names=["B", "T"],
        genes=np.array(["ACTB", "CD3E", "MS4A1"]),
        cells=np.array(["c0", "c1", "c2", "c3"]),
    )
