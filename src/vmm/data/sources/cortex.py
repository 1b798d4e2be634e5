"""Mouse cortex and hippocampus of Zeisel et al. (2015), a table of text."""

from __future__ import annotations

import csv
from itertools import islice

import scipy.sparse as sp

from vmm.data.raw import Config, Files, RawCells
from vmm.errors import InputError

HEADER = {
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
"""What the rows about the cells hold, by their numbers."""

FIRST_GENE = 11


def read(files: Files, config: Config) -> RawCells:
    """Read the mouse cortex and hippocampus of Zeisel et al. (2015).

    Tab-separated text: rows about the cells, a blank one, then a gene a row: name, BackSPIN group,
    counts. Rows about the cells that do not have one value for each cell are left out.
    """
    import pandas as pd

    (path,) = (file.path for file in files.values())
    with path.open(newline="") as file:
        header = list(islice(csv.reader(file, delimiter="\t"), FIRST_GENE))
    try:
        table = pd.read_csv(
            path, sep="\t", header=None, skiprows=FIRST_GENE, index_col=0, na_filter=False
        )
        matrix = table.iloc[:, 1:].to_numpy()
    except (ValueError, pd.errors.EmptyDataError) as error:
        raise InputError(f"{path} is not the cortex file: {str(error).strip()}.") from error
    n_cells = matrix.shape[1]
    obs = {
        name: header[row][2:]
        for row, name in HEADER.items()
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
