"""Intensities of proteins in the place of counts: any numbers, all of which are kept."""

from __future__ import annotations

import json

import anndata
import mudata
import numpy as np
import pytest
import scipy.sparse as sp
from bad_input import cells, job

from vmm.benchmark.baselines.pca import principal_components
from vmm.data import load, prepare

PROTEINS = ["CD3", "CD4", "CD8", "CD19", "CD56"]


def stained(values: np.ndarray | None = None) -> anndata.AnnData:
    """Return forty cells with intensities that are negative in part, and small in all."""
    adata = cells(n_genes=5)
    adata.var_names = PROTEINS
    made = np.random.default_rng(0).normal(0, 1, (40, 5)).astype(np.float32)
    adata.X = made if values is None else values
    return adata


def prepared(folder, adata=None, name="my.h5ad", **settings):
    """Prepare a file as the pipeline does for CYTOVI; return how that ended, and the data."""
    if adata is not None:
        adata.write_h5ad(folder / name)
    config = {"kind": "cells", "path": str(folder / name), "label_key": "cell_type"}
    config |= {"intensities": True} | settings
    results = folder / "out.npz", folder / "out.json"
    ended = job(prepare, "mine", config, None, folder / "downloads", *results)
    return ended, load(results[0]) if ended.status == 0 else None


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_nothing_is_changed_or_dropped(kind, tmp_path):
    """No cell and no protein, whatever its sum; as they were, through the file and out of it."""
    values = stained().X
    values[3], values[:, 2] = -1, 0
    adata = stained(values.copy())
    adata.X = kind(adata.X)
    ended, data = prepared(tmp_path, adata, batch_key="donor")
    assert ended.status == 0, ended.said
    assert data.intensities and data.genes.tolist() == PROTEINS
    assert data.counts.dtype == np.float32 and np.array_equal(data.counts.toarray(), values)
    assert np.array_equal(data.to_anndata().X.toarray(), values)
    described = json.loads((tmp_path / "out.json").read_text())
    assert described["intensities"] == {
        "least": pytest.approx(values.min()), "largest": pytest.approx(values.max())
    }  # fmt: skip
    assert "counts" not in described and described["notes"] == []


def test_of_a_layer_and_of_a_modality(tmp_path):
    adata = stained()
    adata.layers["scaled"] = adata.X / 4
    mudata.MuData({"cyto": adata, "other": cells()}).write_h5mu(tmp_path / "my.h5mu")
    settings = {"name": "my.h5mu", "modality": "cyto", "layer": "scaled"}
    _, data = prepared(tmp_path, **settings)
    np.testing.assert_array_equal(data.counts.toarray(), adata.X / 4)


def test_counts_stay_counts(tmp_path):
    cells().write_h5ad(tmp_path / "my.h5ad")
    _, data = prepared(tmp_path, intensities=False)
    assert not data.intensities and data.counts.dtype == np.int32


def test_values_that_were_not_transformed_are_told(tmp_path):
    ended, data = prepared(tmp_path, stained(np.full((40, 5), 3000.0) + np.arange(5)))
    assert ended.status == 0 and data.counts.max() == 3004
    note = "Intensities in X of {} are up to 3004; CytoVI is made for transformed ones, such as"
    (said,) = json.loads((tmp_path / "out.json").read_text())["notes"]
    assert said.startswith(note.format(tmp_path / "my.h5ad"))


def holes(adata: anndata.AnnData) -> None:
    adata.X[7, 3] = np.nan


def mask(adata: anndata.AnnData) -> None:
    adata.layers["_nan_mask"] = np.ones((40, 5))


def zeros(adata: anndata.AnnData) -> None:
    adata.X[:] = 0


REFUSED = {
    "missing": (
        holes,
        "intensities in X of {path} are missing or infinite (first: nan at cell 7, 'cell7', "
        "protein 'CD19'; 1 in all); the benchmark takes proteins that were measured in all cells; "
        "leave the others out, or use vmm.CYTOVI from Python, which takes `nan_layer`."),
    "a mask of what is missing": (
        mask,
        "{path} has the layer '_nan_mask', so that some are missing: the benchmark takes "),
    "nothing": (zeros, "all intensities in X of {path} are zero."),
}  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_is_refused(change, sentence, tmp_path):
    adata = stained()
    change(adata)
    ended, _ = prepared(tmp_path, adata)
    assert sentence.format(path=tmp_path / "my.h5ad") in ended.said and "\n" not in ended.said
    assert not (tmp_path / "out.npz").exists()


def test_a_single_protein_is_refused(tmp_path):
    ended, _ = prepared(tmp_path, stained()[:, :1].copy())
    assert "is 40 cells × 1 proteins; at least 2 of each are needed." in ended.said


def test_baselines_take_them_as_they_are(tmp_path):
    """Neither scaled to equal totals nor put into logarithms, which negative values have not."""
    _, data = prepared(tmp_path, stained(), batch_key="donor")
    values = data.counts.toarray().astype(float)
    scaled = (values - values.mean(0)) / values.std(0, ddof=1)
    variances = principal_components(data).var(0)
    expected = np.linalg.svd(scaled, compute_uv=False)[: len(variances)] ** 2 / 40
    np.testing.assert_allclose(variances, expected, rtol=1e-3)
