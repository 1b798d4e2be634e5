from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
from small_cells import made

from vmm.data.download import Fetched
from vmm.data.sources.lung_atlas import read


def test_lung_atlas_takes_the_layer_and_rounds(tmp_path: Path) -> None:
    adata = made()
    whole = adata.X.toarray()
    corrected = whole.copy()
    corrected[3] += [0.1387753, 0.2072291, 0.3, 0.0936011]
    corrected[4, 0] = 0.25
    whole[4, 0] = 0
    adata.X = adata.X.log1p()
    adata.layers["counts"] = sp.csr_matrix(corrected)
    path = tmp_path / "lung_atlas.h5ad"
    adata.write_h5ad(path)
    raw = read({path.name: Fetched(path)}, {})
    np.testing.assert_array_equal(raw.counts.toarray(), whole)
    n_values = np.count_nonzero(corrected)
    n_lost = 1 + np.count_nonzero((whole[3] == 0) & (corrected[3] > 0))
    (note,) = raw.notes
    assert note.startswith(f"{5 / n_values:.1%} of the {n_values} non-zero counts")
    assert f"rounded; {n_lost} of them to zero" in note


def test_rounding_leaves_whole_counts_and_nan_alone(tmp_path: Path) -> None:
    adata = made()
    path = tmp_path / "lung_atlas.h5ad"
    adata.write_h5ad(path)
    assert read({path.name: Fetched(path)}, {}).notes == []
    adata.layers["counts"].data[0] = np.nan
    adata.write_h5ad(path)
    raw = read({path.name: Fetched(path)}, {})
    assert np.isnan(raw.counts.data).sum() == 1  # for the checks to find
