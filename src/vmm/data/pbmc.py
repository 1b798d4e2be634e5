"""Reader of the PBMC data set of scVI: two 10x runs with the labels of Lopez et al. (2018).

The labels come as a pickle. It is read in memory once, these bytes are checked against the
published sum, and only then are they unpickled, by an unpickler that knows arrays and data frames
and refuses everything else.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from vmm.data.download import Checksum
from vmm.data.raw import Files, RawCells
from vmm.data.supplied import reading
from vmm.errors import InputError

METADATA = "pbmc_metadata.pickle"
GENES = "gene_info_pbmc.csv"
RUNS = ("pbmc8k", "pbmc4k")

NUMPY_NAMES = {"_reconstruct", "ndarray", "dtype", "scalar"}
PANDAS_NAMES = {
    "DataFrame", "Series", "BlockManager", "SingleBlockManager", "_new_Index", "Index",
    "Int64Index", "Float64Index", "RangeIndex", "_unpickle_block", "new_block",
}  # fmt: skip
PLAIN_NAMES = {
    ("builtins", "slice"), ("__builtin__", "slice"),
    ("builtins", "object"), ("__builtin__", "object"),
    ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"),
    ("_codecs", "encode"),
}  # fmt: skip


def archive(run: str) -> str:
    """Name of the archive of a run."""
    return f"{run}_filtered_gene_bc_matrices.tar.gz"


def read_pbmc(files: Files, config: Mapping[str, Any]) -> RawCells:
    """Put the runs and the labels together as scvi-tools' ``pbmc_dataset`` does.

    Genes are those of the gene list that both runs express. Cells are those with a label, in the
    order of the labels. Barcodes that occur in both runs stand for the second run's cell, as there.

    Parameters
    ----------
    files
        The two archives, the gene list and the pickle.
    config
        Not used.

    Returns
    -------
    RawCells
        With the columns ``batch`` (the run) and ``cell_type``.
    """
    import pandas as pd

    runs = [read_10x_archive(files[archive(run)].path) for run in RUNS]
    labels = read_labels(files[METADATA].path, files[METADATA].checksum)
    wanted = pd.read_csv(files[GENES].path)["ENSG"].astype(str).tolist()
    positions = [_expressed(counts, genes) for counts, genes, _ in runs]
    genes = [gene for gene in dict.fromkeys(wanted) if all(gene in p for p in positions)]
    barcodes = np.concatenate([cells for _, _, cells in runs])
    row_of = {barcode: row for row, barcode in enumerate(barcodes.tolist())}
    found = [barcode for barcode in labels if barcode in row_of]
    if not genes or not found:
        raise InputError(
            f"{files[METADATA].path} and the 10x archives have no cells or genes in common."
        )
    rows = np.array([row_of[barcode] for barcode in found])
    columns = [np.array([position[gene] for gene in genes]) for position in positions]
    stacked = sp.vstack([run[0][:, c] for run, c in zip(runs, columns, strict=True)], format="csr")
    run_of_row = np.repeat(RUNS, [run[0].shape[0] for run in runs])[rows]
    both = len(barcodes) - len(row_of)
    notes = []
    if lost := len(labels) - len(found):
        notes.append(f"{lost:,} of {len(labels):,} labelled barcodes are in neither run.")
    if both:
        notes.append(
            f"{both:,} barcodes occur in both runs; as in scvi-tools they are read as the second "
            f"run's cell, so that up to so many cells have another cell's label."
        )
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(run_of_row, categories=RUNS),
            "cell_type": [labels[barcode] for barcode in found],
        },
        index=found,
    )
    where = "the 10x archives of pbmc"
    return RawCells(stacked[rows], obs, genes, where, str(files[METADATA].path), notes=notes)


def _expressed(counts: sp.csr_matrix, genes: list[str]) -> dict[str, int]:
    """Columns of the genes with any count, by name; of a repeated name, the first."""
    totals = np.asarray(counts.sum(axis=0)).ravel()
    position: dict[str, int] = {}
    for column, gene in enumerate(genes):
        if totals[column] > 0:
            position.setdefault(gene, column)
    return position


def read_10x_archive(path: Path) -> tuple[sp.csr_matrix, list[str], np.ndarray]:
    """Read the matrix of a 10x ``.tar.gz`` without unpacking it to disk.

    Returns
    -------
    counts : scipy.sparse.csr_matrix
        Cells × genes; cells without counts are left out.
    genes : list of str
        Gene identifiers (first column of ``genes.tsv`` or ``features.tsv``).
    cells : numpy.ndarray
        Barcodes.

    Raises
    ------
    InputError
        If the archive is damaged or holds no such matrix.
    """
    from scipy.io import mmread

    with reading(path, "is truncated or damaged"), tarfile.open(path, "r:gz") as tar:
        matrix = sp.csr_matrix(mmread(io.BytesIO(_member(tar, path, "matrix.mtx"))).T)
        genes = _first_column(_member(tar, path, "genes.tsv", "features.tsv"))
        cells = _first_column(_member(tar, path, "barcodes.tsv"))
    if matrix.shape != (len(cells), len(genes)):
        raise InputError(
            f"{path} is damaged: the matrix is {matrix.shape[0]} cells × {matrix.shape[1]} genes, "
            f"but there are {len(cells)} barcodes and {len(genes)} genes."
        )
    filled = np.asarray(matrix.sum(axis=1)).ravel() > 0
    return matrix[filled], genes, np.asarray(cells)[filled]


def _member(tar: tarfile.TarFile, path: Path, *names: str) -> bytes:
    """Content of the archive's file with one of these names, in whatever folder."""
    for member in tar:
        name = Path(member.name).name
        if member.isfile() and name.removesuffix(".gz") in names:
            content = tar.extractfile(member).read()  # type: ignore[union-attr]
            return gzip.decompress(content) if name.endswith(".gz") else content
    raise InputError(f"{path} has no {' or '.join(names)} in it; it is not a 10x matrix archive.")


def _first_column(text: bytes) -> list[str]:
    return [line.split("\t")[0] for line in text.decode().splitlines() if line]


def read_labels(path: Path, checksum: Checksum | None) -> dict[str, str]:
    """Read the cell types of the barcodes, in their order.

    Parameters
    ----------
    path
        The pickle.
    checksum
        What its bytes must hash to; without one nothing is unpickled.

    Raises
    ------
    InputError
        If the bytes do not match the checksum, or hold anything but arrays and data frames.
    """
    if checksum is None:
        raise InputError(
            f"{path} is a pickle, which can run code, and has no checksum: not opened."
        )
    content = path.read_bytes()
    found = hashlib.new(checksum.algorithm, content, usedforsecurity=False).hexdigest()
    if found != checksum.digest:
        raise InputError(
            f"{path} has the wrong checksum ({checksum.algorithm} {found}, it must be "
            f"{checksum.digest}) and was not opened: it is a pickle, which can run code."
        )
    with reading(path, "does not hold scVI's PBMC metadata"):
        metadata = _restricted(content)
        barcodes = metadata["barcodes"].index.astype(str)
        types = [str(name) for name in metadata["list_clusters"]]
        clusters = np.asarray(metadata["clusters"]).ravel()
        return {b: types[int(c)] for b, c in zip(barcodes, clusters, strict=True)}


def _restricted(content: bytes) -> Any:
    """Unpickle arrays and data frames, from versions of pandas back to 0.20, and nothing else."""
    from pandas.compat.pickle_compat import Unpickler

    class Restricted(Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            package = module.split(".")[0]
            allowed = (
                (package == "numpy" and name in NUMPY_NAMES)
                or (package == "pandas" and name in PANDAS_NAMES)
                or (module, name) in PLAIN_NAMES
            )
            if not allowed:
                raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")
            return super().find_class(module, name)

    try:
        return Restricted(io.BytesIO(content)).load()
    except UnicodeDecodeError:  # written by Python 2
        return Restricted(io.BytesIO(content), encoding="latin-1").load()
