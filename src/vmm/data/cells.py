"""Readers of single-cell data: AnnData files, the mouse cortex, matrix and cell table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from vmm.data.checks import as_csr, listing
from vmm.data.raw import Files, RawCells
from vmm.data.supplied import lack, reading, supplied
from vmm.errors import InputError

if TYPE_CHECKING:
    import anndata
    import h5py

Config = Mapping[str, Any]


def read_h5ad(path: str | Path, layer: str | None = None) -> RawCells:
    """Read one matrix and the tables of an ``.h5ad`` file, and nothing else of it.

    Parameters
    ----------
    path
        The file.
    layer
        Layer with the counts; None: ``X``; ``"raw"``: ``raw.X`` (unless a layer has that name).

    Raises
    ------
    InputError
        If the file is missing or is not an AnnData file, or has no such layer.
    """
    import anndata
    import h5py

    path = supplied(path, "`path:` must name an .h5ad file")
    if not h5py.is_hdf5(path):
        raise InputError(f"{path} is not an .h5ad file (it is not HDF5 at all).")
    with reading(path, "cannot be read, it is truncated or damaged"):
        with h5py.File(path, "r") as file:
            if missing := [key for key in ("obs", "var") if key not in file]:
                raise InputError(f"{path} is not an .h5ad file (no {listing(missing)} in it).")
            if file["obs"].attrs.get("encoding-type") == "dataframe":
                return _read_parts(file, path, layer)
        return from_anndata(anndata.read_h5ad(path), layer, str(path))


def _read_parts(file: h5py.File, path: Path, layer: str | None) -> RawCells:
    from anndata.io import read_elem

    layers = list(file["layers"]) if "layers" in file else []
    if layer is None:
        location, where = "X", f"X of {path}"
    elif layer in layers:
        location, where = f"layers/{layer}", f"layer {layer!r} of {path}"
    elif layer == "raw" and "raw/X" in file:
        location, where = "raw/X", f"raw.X of {path}"
    else:
        raise InputError(_no_layer(layer, layers, "raw/X" in file, str(path)))
    if location not in file:
        raise InputError(
            f"{path} has no X; name the layer with counts by `layer:` "
            f"(there are {listing(layers)})."
        )
    var = read_elem(file["raw/var" if location == "raw/X" else "var"])
    return RawCells(
        counts=read_elem(file[location]),
        obs=read_elem(file["obs"]),
        genes=var.index.astype(str).tolist(),
        where=where,
        file=str(path),
        hint=_hint(layer, layers, "raw/X" in file),
    )


def from_anndata(
    adata: anndata.AnnData, layer: str | None = None, file: str = "the AnnData object"
) -> RawCells:
    """Take the counts and tables of an AnnData object: in memory, backed, or a view.

    Parameters
    ----------
    adata
        The object; it is left alone.
    layer
        As for `read_h5ad`.
    file
        What to call the object in messages.

    Raises
    ------
    InputError
        If it has no such layer.
    """
    layers = [name for name in adata.layers if name is not None]
    genes, where = adata.var_names, f"X of {file}"
    if layer is None:
        matrix = adata.X
        if matrix is None:
            raise InputError(
                f"{file} has no X; name the layer with counts by `layer:` "
                f"(there are {listing(layers)})."
            )
    elif layer in layers:
        matrix, where = adata.layers[layer], f"layer {layer!r} of {file}"
    elif layer == "raw" and adata.raw is not None:
        matrix, genes, where = adata.raw.X, adata.raw.var_names, f"raw.X of {file}"
    else:
        raise InputError(_no_layer(layer, layers, adata.raw is not None, file))
    hint = _hint(layer, layers, adata.raw is not None)
    return RawCells(matrix, adata.obs, genes.astype(str).tolist(), where, file, hint)


def _no_layer(layer: str, layers: list[str], has_raw: bool, file: str) -> str:
    raw = ", or `layer: raw` for raw.X" if has_raw else ""
    return f"{file} has no layer {layer!r} for `layer:`; its layers are {listing(layers)}{raw}."


def _hint(layer: str | None, layers: list[str], has_raw: bool) -> str:
    others = [name for name in [*layers, *(["raw"] if has_raw else [])] if name != layer]
    there = f" (there are {listing(others)})" if others else ""
    return f"; give the layer with raw counts with `layer:`{there}"


def read_lung_atlas(files: Files, config: Config) -> RawCells:
    """Read the lung atlas of the scIB benchmark, whose counts need rounding.

    Its ``X`` is log-normalised. The layer ``counts`` has counts, but those of the 10x batches were
    corrected for ambient RNA and are not whole numbers [1]_; they are rounded, as the correction's
    author advises [2]_.

    References
    ----------
    .. [1] https://github.com/scverse/scvi-tutorials/issues/66
    .. [2] https://github.com/constantAmateur/SoupX/issues/63
    """
    raw = read_h5ad(files["lung_atlas.h5ad"].path, config.get("layer") or "counts")
    return rounded(raw, "corrected for ambient RNA by the authors")


def rounded(raw: RawCells, why: str) -> RawCells:
    """Round the counts to whole numbers, and say so in the notes."""
    csr = as_csr(raw.counts, raw.where)
    whole = np.rint(csr.data)
    changed = np.isfinite(csr.data) & (whole != csr.data)
    if changed.any():
        lost = int((changed & (whole == 0)).sum())
        raw.notes.append(
            f"{changed.mean():.1%} of the {csr.nnz:,} non-zero counts were not whole numbers "
            f"({why}) and were rounded; {lost:,} of them to zero."
        )
        csr.data = np.where(changed, whole, csr.data)
    raw.counts = csr
    return raw


CORTEX_HEADER = {
    0: "tissue",
    1: "group",
    2: "total_mRNA",
    3: "well",
    4: "sex",
    5: "age",
    6: "diameter",
    7: "cell_id",
    8: "level1class",
    9: "level2class",
}
CORTEX_FIRST_GENE = 11


def read_cortex(files: Files, config: Config) -> RawCells:
    """Read the mouse cortex and hippocampus of Zeisel et al. (2015).

    Tab-separated text: rows about the cells, a blank one, then a gene a row: name, BackSPIN group,
    counts. Rows about the cells that do not have one value for each cell are left out.

    Raises
    ------
    InputError
        If the file is not of this form.
    """
    import pandas as pd

    (source,) = files.values()
    path = source.path
    with path.open(newline="") as file:
        header = list(islice(csv.reader(file, delimiter="\t"), CORTEX_FIRST_GENE))
    try:
        table = pd.read_csv(
            path, sep="\t", header=None, skiprows=CORTEX_FIRST_GENE, index_col=0, na_filter=False
        )
        matrix = table.iloc[:, 1:].to_numpy()
    except (ValueError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} is not the cortex file: {str(error).strip()}.") from error
    n_cells = matrix.shape[1]
    obs = {
        name: header[row][2:]
        for row, name in CORTEX_HEADER.items()
        if len(header) > row and len(header[row]) == n_cells + 2
    }
    if "level1class" not in obs:
        raise InputError(
            f"{path} is not the cortex file, or is truncated: its row 8 (level1class) should have "
            f"a value for each of the {n_cells} cells."
        )
    cells = obs.pop("cell_id", None) or [f"cell_{i}" for i in range(n_cells)]
    if matrix.dtype.kind not in "iu":
        raise InputError(
            f"{path} is truncated or damaged: some counts are missing or not whole numbers."
        )
    return RawCells(
        counts=sp.csr_matrix(matrix.T),
        obs=pd.DataFrame(obs, index=cells),
        genes=[str(gene) for gene in table.index],
        where=str(path),
        file=str(path),
    )


SPLIT_SEQ_MATRICES = (
    "counts_small.npz", "counts.npz", "matrix.npz",
    "counts.mtx", "counts.mtx.gz", "matrix.mtx", "matrix.mtx.gz",
)  # fmt: skip
SPLIT_SEQ_TABLES = (
    "cells_meta.tsv.gz", "cells_meta.tsv", "cells_meta.csv",
    "cells.csv", "cells.csv.gz", "cells.tsv", "cells.tsv.gz",
)  # fmt: skip


def read_split_seq(files: Files, config: Config) -> RawCells:
    """Read a sparse matrix and a cell table that the user supplies.

    ``matrix:`` and ``cells:`` name the files, or ``path:`` a folder that has them by one of their
    usual names. The matrix is cells × genes (``.npz`` of scipy.sparse, or ``.mtx``); the other way
    round is recognised by the number of cells. It brings no gene names: genes are numbered.

    Raises
    ------
    InputError
        If a file is missing or cannot be read, or if the two do not belong together.
    """
    matrix_path = _user_file(config, "matrix", SPLIT_SEQ_MATRICES)
    cells_path = _user_file(config, "cells", SPLIT_SEQ_TABLES)
    matrix, obs = _read_matrix(matrix_path), _read_table(cells_path)
    notes = []
    if matrix.shape[0] != len(obs) and matrix.shape[1] == len(obs):
        matrix = matrix.T
        notes.append(f"{matrix_path.name} is genes × cells and was transposed.")
    if matrix.shape[0] != len(obs):
        raise InputError(
            f"{matrix_path} is {matrix.shape[0]} × {matrix.shape[1]}, but {cells_path} has "
            f"{len(obs)} rows; there must be one row for each cell, in the same order."
        )
    obs.index = [f"cell_{i}" for i in range(len(obs))]
    genes = [f"gene_{i}" for i in range(matrix.shape[1])]
    return RawCells(matrix, obs, genes, str(matrix_path), str(cells_path), notes=notes)


def _user_file(config: Config, key: str, names: tuple[str, ...]) -> Path:
    if config.get(key):
        if problem := lack(config[key]):
            raise InputError(f"{config[key]} (`{key}:`) {problem}; {SPLIT_SEQ_HELP}")
        return Path(config[key]).expanduser()
    folder = Path(config["path"]).expanduser() if config.get("path") else None
    if folder is not None:
        for name in names:
            if (folder / name).is_file():
                return folder / name
    found = "no `path:` is given" if folder is None else f"{folder} has none of {listing(names)}"
    raise InputError(f"the {key} file is missing ({found}); {SPLIT_SEQ_HELP}")


SPLIT_SEQ_HELP = (
    "put the count matrix (cells × genes, as counts_small.npz of scipy.sparse, or matrix.mtx) and "
    "the cell table (cells_meta.tsv.gz or cells.csv, with a column for `batch_key:`, by default "
    "polydT, and one for `label_key:`, by default cellchat_clusters) into one folder and name it "
    "by `path:`, or name the two files by `matrix:` and `cells:`. The data of Shabestari et al. "
    "(2022) have no public file with both library preparations: ask the authors."
)


def _read_matrix(path: Path) -> sp.csr_matrix:
    from scipy.io import mmread

    form = "(.npz written by scipy.sparse.save_npz, or Matrix Market .mtx)"
    with reading(path, f"cannot be read as a sparse matrix {form}"):
        return as_csr(sp.load_npz(path) if path.suffix == ".npz" else mmread(path), str(path))


def _read_table(path: Path) -> Any:
    import pandas as pd

    separator = "\t" if ".tsv" in path.name else ","
    with reading(path, "cannot be read as a table of cells"):
        return pd.read_csv(path, sep=separator)
