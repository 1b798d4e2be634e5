from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from vmm.data.sources.split_seq import read
from vmm.errors import InputError

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
    raw = read({}, {"path": str(tmp_path)})
    assert raw.counts.toarray().tolist() == MATRIX.toarray().tolist()
    assert raw.obs["polydT"].tolist() == ["0", "1", "0", "1"]
    assert raw.obs.index.tolist() == ["cell_0", "cell_1", "cell_2", "cell_3"]
    assert raw.genes == ["gene_0", "gene_1", "gene_2"]
    assert bool(raw.notes) == matrix.startswith("genes")


def test_split_seq_from_two_files(tmp_path: Path) -> None:
    supply(tmp_path, "counts.npz", "cells.csv")
    config = {"matrix": str(tmp_path / "counts.npz"), "cells": str(tmp_path / "cells.csv")}
    assert read({}, config).counts.sum() == 15
    with pytest.raises(InputError, match=r"the cells file is missing .*name the two files"):
        read({}, {"matrix": config["matrix"]})


def test_names_in_the_table_stay_as_they_are(tmp_path: Path) -> None:
    """None of them is another number, and "None" is a name; what R and pandas leave out is none."""
    supply(tmp_path, "counts.npz", "cells.csv")
    names = ["007", "1e5", "1.0", "None"]
    TABLE.assign(cellchat_clusters=names, polydT=["a", "NA", "", "nan"]).to_csv(
        tmp_path / "cells.csv", index=False
    )
    obs = read({}, {"path": str(tmp_path)}).obs
    assert obs["cellchat_clusters"].tolist() == names
    assert obs["polydT"].isna().tolist() == [False, True, True, True]


def test_a_missing_split_seq_says_what_to_put_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no `path:` is given") as caught:
        read({}, {})
    for needed in (
        "counts_small.npz",
        "cells_meta.tsv.gz",
        "polydT",
        "cellchat_clusters",
        "`path:`",
    ):
        assert needed in str(caught.value)
    with pytest.raises(InputError, match=r"has none of counts_small\.npz"):
        read({}, {"path": str(tmp_path)})
    with pytest.raises(InputError, match=r"`matrix:`\) does not exist"):
        read({}, {"matrix": str(tmp_path / "x.npz")})


def test_split_seq_files_that_do_not_fit(tmp_path: Path) -> None:
    supply(tmp_path, "counts.npz", "cells.csv")
    TABLE[:3].to_csv(tmp_path / "cells.csv", index=False)  # 3 rows: genes × cells, by the numbers
    assert read({}, {"path": str(tmp_path)}).notes
    TABLE[:2].to_csv(tmp_path / "cells.csv", index=False)
    with pytest.raises(InputError, match=r"is 4 × 3, but .* has 2 rows"):
        read({}, {"path": str(tmp_path)})
    (tmp_path / "counts.npz").write_bytes(b"PK\3\4")
    with pytest.raises(InputError, match="cannot be read as a sparse matrix"):
        read({}, {"path": str(tmp_path)})
