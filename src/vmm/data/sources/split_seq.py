"""SPLiT-seq of Shabestari et al. (2022): a sparse matrix and a table of cells of the user's."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import scipy.sparse as sp

from vmm.data.checks import as_csr
from vmm.data.messages import listing
from vmm.data.raw import Config, Files, RawCells
from vmm.data.supplied import lack, reading
from vmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

USUAL = {
    "matrix": (
        "counts_small.npz", "counts.npz", "matrix.npz",
        "counts.mtx", "counts.mtx.gz", "matrix.mtx", "matrix.mtx.gz",
    ),
    "cells": (
        "cells_meta.tsv.gz", "cells_meta.tsv", "cells_meta.csv",
        "cells.csv", "cells.csv.gz", "cells.tsv", "cells.tsv.gz",
    ),
}  # fmt: skip
"""Names by which a folder (`path:`) may have the file that a key names; the first there counts."""

NO_VALUE = ["", "NA", "nan", "NaN"]
"""What pandas and R write where there is none."""

HELP = (
    "put the count matrix (cells × genes, as counts_small.npz of scipy.sparse, or matrix.mtx) and "
    "the cell table (cells_meta.tsv.gz or cells.csv, with a column for `batch_key:`, by default "
    "polydT, and one for `label_key:`, by default cellchat_clusters) into one folder and name it "
    "by `path:`, or name the two files by `matrix:` and `cells:`. The data of Shabestari et al. "
    "(2022) have no public file with both library preparations: ask the authors."
)


def read(files: Files, config: Config) -> RawCells:
    """Read a sparse matrix and a cell table that the user supplies.

    ``matrix:`` and ``cells:`` name the files, or ``path:`` a folder that has them by one of their
    usual names. The matrix is cells × genes (``.npz`` of scipy.sparse, or ``.mtx``); the other way
    round is recognised by the number of cells. It brings no gene names: genes are numbered.
    """
    matrix_path, cells_path = _user_file(config, "matrix"), _user_file(config, "cells")
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
    _read_numbers(obs, config)
    obs.index = [f"cell_{i}" for i in range(len(obs))]
    genes = [f"gene_{i}" for i in range(matrix.shape[1])]
    return RawCells(matrix, obs, genes, str(matrix_path), str(cells_path), notes=notes)


def supplied_files(config: Config) -> dict[str, Path]:
    """Return the user's files by the keys that name them, one that `path:` lacks left out."""
    found = {key: Path(config[key]) for key in USUAL if config.get(key)}
    if config.get("path"):
        for key, names in USUAL.items():
            usual = [Path(config["path"], name) for name in names]
            there = [path for path in usual if not lack(path)]
            found |= {key: there[0]} if there and key not in found else {}
    return found


def _user_file(config: Config, key: str) -> Path:
    path = supplied_files(config).get(key)
    if path is not None:
        if problem := lack(path):
            raise InputError(f"{path} (`{key}:`) {problem}; {HELP}")
        return path.expanduser()
    folder = Path(config["path"]).expanduser() if config.get("path") else None
    names = USUAL[key]
    found = "no `path:` is given" if folder is None else f"{folder} has none of {listing(names)}"
    raise InputError(f"the {key} file is missing ({found}); {HELP}")


def _read_matrix(path: Path) -> sp.csr_matrix:
    from scipy.io import mmread

    form = "(.npz written by scipy.sparse.save_npz, or Matrix Market .mtx)"
    with reading(path, f"cannot be read as a sparse matrix {form}"):
        return as_csr(sp.load_npz(path) if path.suffix == ".npz" else mmread(path), str(path))


def _read_numbers(obs: pd.DataFrame, config: Config) -> None:
    """Make numbers of the columns that are to be some, where they are."""
    import pandas as pd

    for key in [*config.get("continuous_covariate_keys", ()), config.get("size_factor_key")]:
        if key in obs:
            with suppress(ValueError):
                obs[key] = pd.to_numeric(obs[key])


def _read_table(path: Path) -> pd.DataFrame:
    import pandas as pd

    separator = "\t" if ".tsv" in path.name else ","
    with reading(path, "cannot be read as a table of cells"):
        # As text: a cluster may be called 007 or 1e5.
        return pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, na_values=NO_VALUE
        )
