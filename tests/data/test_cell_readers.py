from __future__ import annotations

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from vmm.data.cells import from_anndata, read_cortex, read_h5ad, read_lung_atlas, read_split_seq
from vmm.data.download import Fetched
from vmm.errors import InputError


def made(n_cells: int = 6, n_genes: int = 4) -> anndata.AnnData:
    random = np.random.default_rng(0)
    counts = sp.csr_matrix(random.poisson(2, size=(n_cells, n_genes)).astype(np.float32))
    obs = pd.DataFrame(
        {"batch": ["a", "b"] * (n_cells // 2), "cell_type": ["T", "B", "B"] * (n_cells // 3)},
        index=[f"c{i}" for i in range(n_cells)],
    )
    adata = anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=list("WXYZ")[:n_genes]))
    adata.layers["counts"] = counts.copy()
    return adata


def dense(matrix) -> np.ndarray:
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    adata = made()
    counts = adata.X.toarray()
    adata.X = adata.X.log1p()
    adata.raw = anndata.AnnData(
        sp.csr_matrix(counts[:, ::-1] + 1), obs=adata.obs, var=pd.DataFrame(index=list("ZYXW"))
    )
    path = tmp_path / "my.h5ad"
    adata.write_h5ad(path)
    for layer, expected, genes, where in (
        (None, np.log1p(counts), "WXYZ", "X of "),
        ("counts", counts, "WXYZ", "layer 'counts' of "),
        ("raw", counts[:, ::-1] + 1, "ZYXW", "raw.X of "),
    ):
        for raw in (read_h5ad(path, layer), from_anndata(adata, layer, str(path))):
            np.testing.assert_allclose(dense(raw.counts), expected)
            assert "".join(raw.genes) == genes and raw.where == where + str(path)
            assert raw.obs["cell_type"].tolist() == ["T", "B", "B", "T", "B", "B"]
    assert read_h5ad(path).hint.endswith("`layer:` (there are counts, raw)")
    with pytest.raises(
        InputError, match="no layer 'cuonts' for `layer:`; its layers are counts, or"
    ):
        read_h5ad(path, "cuonts")


def test_files_by_old_writers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.h5ad"
    made().write_h5ad(path)
    with h5py.File(path, "r+") as file:
        for name in ("obs", "layers", "layers/counts"):
            for key in ("encoding-type", "encoding-version"):
                file[name].attrs.pop(key, None)
        file["layers/counts"].attrs["h5sparse_format"] = "csr"
        file["layers/counts"].attrs["h5sparse_shape"] = (6, 4)
        file["layers/counts"].attrs.pop("shape")
    with pytest.warns(anndata.OldFormatWarning):
        raw = read_h5ad(path, "counts")
    np.testing.assert_array_equal(dense(raw.counts), made().X.toarray())
    assert raw.obs["batch"].tolist() == ["a", "b"] * 3


def test_a_backed_object_and_a_view_are_read(tmp_path: Path) -> None:
    path = tmp_path / "my.h5ad"
    made().write_h5ad(path)
    backed = anndata.read_h5ad(path, backed="r")
    np.testing.assert_array_equal(
        from_anndata(backed).counts.to_memory().toarray(), made().X.toarray()
    )
    view = from_anndata(made()[::2, :2])
    assert view.genes == ["W", "X"] and view.counts.shape == (3, 2)


def test_files_that_are_not_anndata(tmp_path: Path) -> None:
    path = tmp_path / "my.h5ad"
    with pytest.raises(InputError, match="does not exist"):
        read_h5ad(path)
    with pytest.raises(InputError, match="is not a file"):
        read_h5ad(tmp_path)
    path.write_text("gene,count\n")
    with pytest.raises(InputError, match="not HDF5 at all"):
        read_h5ad(path)
    with h5py.File(path, "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="no obs, var in it"):
        read_h5ad(path)
    made(60).write_h5ad(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_h5ad(path)
    adata = made()
    adata.X = None
    adata.write_h5ad(path)
    with pytest.raises(InputError, match=r"has no X; name the layer .* \(there are counts\)"):
        read_h5ad(path)


@pytest.mark.parametrize(
    ("name", "shape", "n_batches", "n_types"),
    [
        ("pbmc_3tech_symphony", (1500, 1764), 3, 9),
        ("kang_ctrl_8donors", (12261, 1287), 8, 8),
        ("pbmc8k4k_scvi_390genes", (2545, 390), 2, 9),
        ("pbmc4k_scvi_labels", (1977, 4060), 1, 9),
        ("zeisel_3005x200", (3005, 200), 1, 7),
        ("mixology_3protocols_3lines", (1345, 889), 3, 3),
    ],
)
def test_the_real_files(
    shared_data: Path, name: str, shape: tuple, n_batches: int, n_types: int
) -> None:
    path = shared_data / "cells" / f"{name}.h5ad"
    raw = read_h5ad(path)
    assert raw.counts.shape == shape == (len(raw.obs), len(raw.genes))
    assert raw.obs["batch"].nunique() == n_batches and raw.obs["cell_type"].nunique() == n_types
    with h5py.File(path) as file:
        assert raw.counts.sum(dtype=np.int64) == file["X/data"][:].sum(dtype=np.int64) > 0


# Lung atlas: log-normalised X, a layer with corrected counts -----------------------------------


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
    raw = read_lung_atlas({path.name: Fetched(path)}, {})
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
    assert read_lung_atlas({path.name: Fetched(path)}, {}).notes == []
    adata.layers["counts"].data[0] = np.nan
    adata.write_h5ad(path)
    raw = read_lung_atlas({path.name: Fetched(path)}, {})
    assert np.isnan(raw.counts.data).sum() == 1  # for the checks to find


# Cortex ----------------------------------------------------------------------------------------


def test_the_miniature_cortex_file(shared_data: Path) -> None:
    path = shared_data / "mirror" / "cortex" / "expression_mRNA_17-Aug-2014.txt"
    raw = read_cortex({path.name: Fetched(path)}, {})
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert raw.counts.shape == (62, 63)
    assert raw.genes[:2] == ["THY1", "MBP"]
    assert raw.obs["level1class"].tolist() == lines[8][2:]
    for column in (0, 30, 62):
        expected = [int(value) for value in lines[11 + column][2:]]
        assert raw.counts[:, column].toarray().ravel().tolist() == expected
    assert "tissue" not in raw.obs  # 3005 values for 62 cells


def cortex_text(n_cells: int = 3) -> str:
    rows = [
        ["", name, *["1"] * n_cells]
        for name in ("tissue", "group #", "total", "well", "sex", "age", "diameter")
    ]
    rows.append(["", "cell_id", *[f"177_{i}" for i in range(n_cells)]])
    rows.append(["", "level1class", *["astro", "neuron", "neuron"][:n_cells]])
    rows.append(["", "level2class", *["Astro1", "Int1", "Int2"][:n_cells]])
    rows.append([])
    rows.append(["Tspan12", "1", *"012"[:n_cells]])
    rows.append(["NaN", "1", *"300"[:n_cells]])  # a gene may be called so
    return "\n".join("\t".join(row) for row in rows) + "\n"


def test_cortex_rows_become_columns(tmp_path: Path) -> None:
    path = tmp_path / "cortex.txt"
    path.write_text(cortex_text())
    raw = read_cortex({path.name: Fetched(path)}, {})
    assert raw.counts.toarray().tolist() == [[0, 3], [1, 0], [2, 0]]
    assert raw.genes == ["Tspan12", "NaN"]
    assert raw.obs.index.tolist() == ["177_0", "177_1", "177_2"]
    assert raw.obs["level2class"].tolist() == ["Astro1", "Int1", "Int2"]
    assert raw.obs["tissue"].tolist() == ["1", "1", "1"]


def test_broken_cortex_files(tmp_path: Path) -> None:
    path = tmp_path / "cortex.txt"
    text = cortex_text()
    for content, problem in (
        ("", "not the cortex file"),
        (text[: text.index("Tspan12")], "not the cortex file"),
        (text.replace("neuron\tneuron", "neuron"), "row 8 .level1class. should have"),
        (text.replace("0\t1\t2", "0\t1\tx"), "not whole numbers"),
        (text.replace("0\t1\t2", "0\t1"), "Expected 4 fields in line 13, saw 5"),
        (text[:-3], "truncated or damaged"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=problem):
            read_cortex({path.name: Fetched(path)}, {})


# SPLiT-seq: the user's matrix and table ---------------------------------------------------------


MATRIX = sp.csr_matrix(np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0], [0, 0, 5]]))
TABLE = pd.DataFrame({"polydT": [0, 1, 0, 1], "cellchat_clusters": ["DG", "CA1", "DG", "CA3"]})


def supply(folder: Path, matrix: str, table: str) -> None:
    folder.mkdir(exist_ok=True)
    if matrix.endswith(".npz"):
        sp.save_npz(folder / matrix, MATRIX)
    else:
        scipy.io.mmwrite(folder / "plain.mtx", MATRIX.T if "genes" in matrix else MATRIX)
        (folder / "plain.mtx").rename(folder / matrix.replace("genes_", ""))
    TABLE.to_csv(folder / table, sep="\t" if ".tsv" in table else ",", index=False)


@pytest.mark.parametrize(
    ("matrix", "table"),
    [
        ("counts_small.npz", "cells_meta.tsv.gz"),  # as the paper's authors name them
        ("matrix.mtx", "cells.csv"),
        ("genes_matrix.mtx", "cells.tsv"),  # genes × cells
    ],
)
def test_split_seq_from_a_folder(tmp_path: Path, matrix: str, table: str) -> None:
    supply(tmp_path, matrix, table)
    raw = read_split_seq({}, {"path": str(tmp_path)})
    assert raw.counts.toarray().tolist() == MATRIX.toarray().tolist()
    assert raw.obs["polydT"].tolist() == [0, 1, 0, 1]
    assert raw.obs.index.tolist() == ["cell_0", "cell_1", "cell_2", "cell_3"]
    assert raw.genes == ["gene_0", "gene_1", "gene_2"]
    assert bool(raw.notes) == matrix.startswith("genes")


def test_split_seq_from_two_files(tmp_path: Path) -> None:
    supply(tmp_path, "counts.npz", "cells.csv")
    config = {"matrix": str(tmp_path / "counts.npz"), "cells": str(tmp_path / "cells.csv")}
    assert read_split_seq({}, config).counts.sum() == 15
    with pytest.raises(InputError, match=r"the cells file is missing .*name the two files"):
        read_split_seq({}, {"matrix": config["matrix"]})


def test_a_missing_split_seq_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no `path:` is given") as caught:
        read_split_seq({}, {})
    for needed in (
        "counts_small.npz",
        "cells_meta.tsv.gz",
        "polydT",
        "cellchat_clusters",
        "`path:`",
    ):
        assert needed in str(caught.value)
    with pytest.raises(InputError, match=r"has none of counts_small\.npz"):
        read_split_seq({}, {"path": str(tmp_path)})
    with pytest.raises(InputError, match=r"`matrix:`\) does not exist"):
        read_split_seq({}, {"matrix": str(tmp_path / "x.npz")})


def test_split_seq_files_that_do_not_fit(tmp_path: Path) -> None:
    supply(tmp_path, "counts.npz", "cells.csv")
    TABLE[:3].to_csv(tmp_path / "cells.csv", index=False)  # 3 rows: genes × cells, by the numbers
    assert read_split_seq({}, {"path": str(tmp_path)}).notes
    TABLE[:2].to_csv(tmp_path / "cells.csv", index=False)
    with pytest.raises(InputError, match=r"is 4 × 3, but .* has 2 rows"):
        read_split_seq({}, {"path": str(tmp_path)})
    (tmp_path / "counts.npz").write_bytes(b"PK\3\4")
    with pytest.raises(InputError, match="cannot be read as a sparse matrix"):
        read_split_seq({}, {"path": str(tmp_path)})
