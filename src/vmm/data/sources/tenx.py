"""Archives of count matrices as 10x Genomics publishes them."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from vmm.data.supplied import reading
from vmm.errors import InputError


def read_archive(path: Path) -> tuple[sp.csr_matrix, list[str], np.ndarray]:
    """Read the matrix of a 10x ``.tar.gz`` without unpacking it to disk.

    Returned are counts (cells × genes, without cells that have none), gene identifiers (the first
    column of ``genes.tsv`` or ``features.tsv``) and barcodes.
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
