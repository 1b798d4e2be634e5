"""Proteins and peaks beside the counts: in ``obsm`` of an AnnData, in a modality of a MuData."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import anndata
import mudata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from bad_input import cells, job

from vmm.data import CellData, load, prepare
from vmm.data.h5ad import read_h5ad

NAMES = ["CD3", "CD19", "CD56"]


def proteins(n: int = 40) -> np.ndarray:
    return 1 + np.random.default_rng(1).poisson(9, (n, 3))


def prepared(path: Path, **settings: Any):
    """Prepare a file as the pipeline does; return how that ended, and the data."""
    config = {"kind": "cells", "path": str(path), "label_key": "cell_type"} | settings
    results = path.parent / "out.npz", path.parent / "out.json"
    ended = job(prepare, "mine", config, None, path.parent / "downloads", *results)
    return ended, load(results[0]) if ended.status == 0 else None


def with_table() -> anndata.AnnData:
    adata = cells()
    adata.obsm["protein"] = pd.DataFrame(proteins(), adata.obs_names, NAMES)
    return adata


def write_mudata(path: Path, prot: anndata.AnnData, rna: anndata.AnnData | None = None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = mudata.MuData({"rna": cells() if rna is None else rna, "prot": prot})
        made.obs["donor"] = [f"d{i % 2}" for i in range(made.n_obs)]
        made.write_h5mu(path)


def measured(n: int = 40) -> anndata.AnnData:
    names = pd.DataFrame(index=[f"cell{i}" for i in range(n)])
    return anndata.AnnData(proteins(n).astype(np.float32), names, pd.DataFrame(index=NAMES))


def assert_of_the_same_cells(data: CellData, counts: np.ndarray | None = None) -> None:
    place = [int(name.removeprefix("cell")) for name in data.cells]
    expected = proteins() if counts is None else counts
    np.testing.assert_array_equal(data.proteins.counts.toarray(), expected[place])


# --------------------------------------------------------------------------------------- taken


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_a_matrix_has_numbers_for_names(kind, tmp_path):
    adata = cells()
    adata.obsm["protein"] = kind(proteins())
    adata.write_h5ad(tmp_path / "my.h5ad")
    ended, data = prepared(tmp_path / "my.h5ad", proteins="protein")
    assert ended.status == 0, ended.said
    assert data.proteins.names.tolist() == ["protein 1", "protein 2", "protein 3"]
    assert_of_the_same_cells(data)


def test_a_table_has_names_and_follows_its_cells(tmp_path):
    """Cells are left out that have too few counts of genes, and a protein that none has."""
    adata = with_table()
    adata.X[5] = 0
    adata.obsm["protein"]["CD8"] = 0
    adata.write_h5ad(tmp_path / "my.h5ad")
    _, data = prepared(tmp_path / "my.h5ad", proteins="protein")
    assert data.n_cells == 39 and "cell5" not in data.cells
    assert data.proteins.names.tolist() == NAMES
    assert_of_the_same_cells(data)
    described = (tmp_path / "out.json").read_text()
    assert '"n_proteins": 3' in described
    assert "Proteins without any count were left out: CD8." in described
    table = data.to_anndata().obsm["protein"]
    assert list(table.columns) == NAMES and list(table.index) == data.cells.tolist()


def test_nobody_reads_them_unasked(tmp_path):
    with_table().write_h5ad(tmp_path / "my.h5ad")
    _, data = prepared(tmp_path / "my.h5ad")
    assert data.proteins is None
    assert "protein" not in data.to_anndata().obsm
    assert "n_proteins" not in (tmp_path / "out.json").read_text()


def test_modalities_are_put_together_by_the_names_of_cells(tmp_path):
    """In another order, with some lacking; columns are the modality's, else the file's own."""
    prot = measured()[::-1][3:].copy()
    prot.layers["counts"] = prot.X.copy()
    prot.X = np.log1p(prot.X)
    rna = cells()
    rna.layers["counts"] = rna.X.copy()
    del rna.obs["donor"]
    write_mudata(tmp_path / "my.h5mu", prot, rna)
    ended, data = prepared(tmp_path / "my.h5mu", proteins="prot", batch_key="donor", layer="counts")
    assert ended.status == 0, ended.said
    assert data.n_cells == 37 and data.n_batches == 2
    assert data.cells.tolist() == [f"cell{i}" for i in range(37)]
    assert_of_the_same_cells(data)
    note = "Cells without counts of proteins were left out: 3 of 40."
    assert note in (tmp_path / "out.json").read_text()


def fragments() -> sp.csr_matrix:
    """Return fragments in five peaks, the last of which no cell has open."""
    counts = np.random.default_rng(2).poisson(0.7, (40, 5)).astype(np.float32)
    counts[:, 4] = 0
    return sp.csr_matrix(counts)


def test_peaks_of_either_kind_of_file(tmp_path):
    """They stay sparse; MULTIVI gets them as a modality, with the table of cells on the whole."""
    adata = cells()
    adata.obsm["atac"] = fragments()
    adata.write_h5ad(tmp_path / "my.h5ad")
    obs = pd.DataFrame(index=adata.obs_names)
    names = pd.DataFrame(index=[f"chr1:{i}" for i in range(5)])
    write_mudata(tmp_path / "my.h5mu", anndata.AnnData(fragments(), obs, names)[2:].copy())
    for name, key, n_cells, first in (
        ("my.h5ad", "atac", 40, "peak 1"), ("my.h5mu", "prot", 38, "chr1:0")
    ):  # fmt: skip
        ended, data = prepared(tmp_path / name, peaks=key, batch_key="donor")
        assert ended.status == 0, ended.said
        assert data.n_cells == n_cells and data.proteins is None
        assert sp.issparse(data.peaks.counts) and data.peaks.names[0] == first
        expected = fragments().toarray()[40 - n_cells :, :4]
        np.testing.assert_array_equal(data.peaks.counts.toarray(), expected)
        both = data.to_mudata()
        np.testing.assert_array_equal(both["atac"].X.toarray(), expected)
        assert both["rna"].X.shape == data.counts.shape
        assert {"batch", "cell_type"} <= {*both.obs}
    described = (tmp_path / "out.json").read_text()
    assert '"n_peaks": 4' in described
    assert "Peaks without any count were left out: chr1:4." in described
    assert "Cells without counts of peaks were left out: 2 of 40." in described


def test_cells_that_have_all(tmp_path):
    """Of the cells that have proteins and those that have peaks, those that have both."""
    made = {"rna": cells(), "adt": measured()[5:].copy(), "atac": cells(n_genes=7)[:-5].copy()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mudata.MuData(made).write_h5mu(tmp_path / "my.h5mu")
    raw = read_h5ad(tmp_path / "my.h5mu", beside={"proteins": "adt", "peaks": "atac"})
    assert list(raw.obs.index) == [f"cell{i}" for i in range(5, 35)]
    np.testing.assert_array_equal(raw.beside["proteins"].counts, proteins()[5:35])
    assert raw.beside["peaks"].counts.shape == (30, 7)


def test_one_modality_alone(tmp_path):
    """By its name; else the only one but for the proteins, or that of RNA."""
    peaks = cells(n_genes=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mudata.MuData({"rna": cells(), "atac": peaks}).write_h5mu(tmp_path / "my.h5mu")
        mudata.MuData({"atac": peaks, "adt": measured()}).write_h5mu(tmp_path / "two.h5mu")
    for name, settings, n_genes in (
        ("my", {}, 12),
        ("my", {"modality": "atac"}, 7),
        ("two", {"proteins": "adt"}, 7),
    ):
        ended, data = prepared(tmp_path / f"{name}.h5mu", **settings)
        assert ended.status == 0, ended.said
        assert data.n_genes == n_genes


# ------------------------------------------------------------------------------------- refused


def fractions(adata: anndata.AnnData) -> None:
    adata.obsm["protein"]["CD19"] = 0.5


def words(adata: anndata.AnnData) -> None:
    adata.obsm["protein"]["CD19"] = "many"


def nothing(adata: anndata.AnnData) -> None:
    adata.obsm["protein"] *= 0


def none(adata: anndata.AnnData) -> None:
    del adata.obsm["protein"]


OF_H5AD = {
    "no proteins": (none, {}, "has no obsm 'protein' for `proteins:`; in its obsm there is none."),
    "another key": (
        lambda adata: None, {"proteins": "adt"},
        "has no obsm 'adt' for `proteins:`; in its obsm there is protein."),
    "fractions": (
        fractions, {},
        "counts in obsm 'protein' of {path} are not integers (first: 0.5 at cell 0, 'cell0', "
        "protein 'CD19'; 40 in all)"),
    "words": (words, {}, "obsm 'protein' of {path} is of type object, not numbers"),
    "nothing": (nothing, {}, "all counts in obsm 'protein' of {path} are zero."),
    "a modality": (
        lambda adata: None, {"modality": "rna"},
        "is not a MuData file, so it has no modality 'rna'; leave `modality:` out."),
}  # fmt: skip


@pytest.mark.parametrize(("change", "settings", "sentence"), OF_H5AD.values(), ids=OF_H5AD.keys())
def test_bad_proteins_are_refused(change, settings, sentence, tmp_path):
    adata, path = with_table(), tmp_path / "my.h5ad"
    change(adata)
    adata.write_h5ad(path)
    ended, _ = prepared(path, **{"proteins": "protein"} | settings)
    assert sentence.format(path=path) in ended.said and "\n" not in ended.said
    assert not (tmp_path / "out.npz").exists()


OF_H5MU = {
    "no such modality": (
        {"modality": "RNA"}, "has no modality 'RNA' for `modality:`; its modalities are "),
    "no such peaks": (
        {"peaks": "atac"}, "has no modality 'atac' for `peaks:`; its modalities are "),
    "no such proteins": (
        {"proteins": "adt"}, "has no modality 'adt' for `proteins:`; its modalities are "),
    "the same twice": (
        {"modality": "prot", "proteins": "prot"},
        "`modality:` and `proteins:` both name the modality 'prot' of "),
    "no such layer": (
        {"layer": "counts"}, "modality 'rna' of {path} has no layer 'counts' for `layer:`"),
    "no such column": (
        {"label_key": "type"}, "modality 'rna' of {path} has no column 'type' for `label_key:`"),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "sentence"), OF_H5MU.values(), ids=OF_H5MU.keys())
def test_bad_modalities_are_refused(settings, sentence, tmp_path):
    path = tmp_path / "my.h5mu"
    write_mudata(path, measured())
    ended, _ = prepared(path, **settings)
    assert sentence.format(path=path) in ended.said and "\n" not in ended.said


def test_proteins_of_other_cells_are_refused(tmp_path):
    prot = measured()
    prot.obs_names = [f"{name}-1" for name in prot.obs_names]
    write_mudata(tmp_path / "my.h5mu", prot)
    ended, _ = prepared(tmp_path / "my.h5mu", proteins="prot")
    assert "has none of the cells that the counts are of (such as 'cell0', not 'cell0-1')" in (
        ended.said
    )


def test_which_modality_has_the_counts_must_be_known(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mudata.MuData({"a": cells(), "b": cells(n_genes=5)}).write_h5mu(tmp_path / "my.h5mu")
    ended, _ = prepared(tmp_path / "my.h5mu")
    assert "has the modalities a, b; name the one with the counts by `modality:`." in ended.said


@pytest.mark.parametrize("features", ["peaks", "proteins"])
def test_rna_is_not_taken_for_something_else(features, tmp_path):
    """A model of peaks would be trained on genes, and nothing would tell."""
    write_mudata(tmp_path / "my.h5mu", measured())
    settings = {"features": features, "intensities": features == "proteins"}
    ended, _ = prepared(tmp_path / "my.h5mu", **settings)
    sentence = f"has the modalities prot, rna; name the one with {features} by `modality:`."
    assert sentence in ended.said and "\n" not in ended.said
    ended, data = prepared(tmp_path / "my.h5mu", **settings, modality="prot", label_key="donor")
    assert ended.status == 0 and data.n_genes == 3


def test_peaks_are_called_peaks(tmp_path):
    """In the description, which the page shows, and where something is wrong with them."""
    path = tmp_path / "my.h5ad"
    adata = cells()
    adata.write_h5ad(path)
    ended, _ = prepared(path, features="peaks")
    assert ended.status == 0
    assert json.loads((tmp_path / "out.json").read_text())["features"] == "peaks"
    adata.X[3, 2] = 0.5
    adata.write_h5ad(path)
    ended, _ = prepared(path, features="peaks")
    assert f"(first: 0.5 at cell 3, 'cell3', peak {adata.var_names[2]!r}; 1 in all)" in ended.said


def test_genes_and_something_else_side_by_side_are_told(tmp_path):
    """As in files of 10x that were read with all that was counted."""
    path, adata = tmp_path / "my.h5ad", cells()
    kinds = ["Gene Expression"] * 9 + ["Antibody Capture"] * 3
    for values, told in ((kinds, True), (["Gene Expression"] * 12, False)):
        adata.var["feature_types"] = pd.Categorical(values)
        adata.write_h5ad(path)
        ended, data = prepared(path)
        assert ended.status == 0 and data.n_genes == 12
        notes = json.loads((tmp_path / "out.json").read_text())["notes"]
        sentence = (
            f"The columns of X of {path} are Gene Expression (9) and Antibody Capture (3), by "
            "var['feature_types'], and all are used as if they were of one kind; if that is not "
            "meant, give one of them: adata[:, adata.var['feature_types'] == 'Gene Expression']."
        )
        assert notes == ([sentence] if told else [])


def test_columns_of_another_modality_are_named(tmp_path):
    """Where the modality with the counts has no labels: those there are, and how to have them."""
    path = tmp_path / "my.h5mu"
    write_mudata(path, measured())
    ended, _ = prepared(path, modality="prot")
    assert (
        f"modality 'prot' of {path} has no column 'cell_type', but modality 'rna' has; copy it: "
        "mdata['prot'].obs['cell_type'] = mdata['rna'].obs['cell_type']."
    ) in ended.said and "\n" not in ended.said
    ended, _ = prepared(path, modality="prot", label_key="type")
    assert "has no column 'type' for `label_key:`; its columns are donor." in ended.said


def test_the_real_set(shared_data):
    path = shared_data / "cells" / "citeseq_mimitou_393.h5ad"
    found = read_h5ad(path, beside={"proteins": "protein"}).beside["proteins"]
    assert found.counts.shape == (393, 49)
    assert re.search("CD45RA", " ".join(found.names))
