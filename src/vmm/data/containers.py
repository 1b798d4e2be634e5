"""Prepared data sets in memory and on disk. Imports numpy and scipy.sparse only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from vmm.data.covariates import Covariates
from vmm.data.features import Features
from vmm.data.source import BESIDE
from vmm.errors import InputError
from vmm.io import UNREADABLE, atomic, read_arrays

if TYPE_CHECKING:
    import anndata
    import mudata

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class CellData:
    """Counts of N cells × G genes with their batches and cell types.

    Parameters
    ----------
    name
        Name of the data set.
    counts
        N × G, non-negative whole numbers (int32), or intensities of proteins (float32), without
        stored zeros.
    batch, labels
        (N,) int64 codes into `batch_names` and `label_names`; a label of -1 is none.
    batch_names, label_names
        What the codes stand for. Every code occurs at least once.
    genes, cells
        (G,) and (N,) strings, each without repetition.
    covariates
        What else is known of the cells.
    proteins, peaks
        Of the same cells, if they were counted too.
    """

    name: str
    counts: sp.csr_matrix
    batch: np.ndarray
    batch_names: list[str]
    labels: np.ndarray
    label_names: list[str]
    genes: np.ndarray
    cells: np.ndarray
    covariates: Covariates = field(default_factory=Covariates)
    proteins: Features | None = None
    peaks: Features | None = None

    kind = "cells"

    def __post_init__(self) -> None:
        n_cells, n_genes = self.counts.shape
        lengths = (len(self.batch), len(self.labels), len(self.cells), len(self.genes))
        if lengths != (n_cells, n_cells, n_cells, n_genes):
            raise ValueError(f"counts are {n_cells} × {n_genes}, the rest has lengths {lengths}")

    @property
    def n_cells(self) -> int:
        """Number of cells N."""
        return self.counts.shape[0]

    @property
    def n_genes(self) -> int:
        """Number of genes G."""
        return self.counts.shape[1]

    @property
    def n_batches(self) -> int:
        """Number of batches B."""
        return len(self.batch_names)

    @property
    def n_types(self) -> int:
        """Number of cell types."""
        return len(self.label_names)

    @property
    def intensities(self) -> bool:
        """Whether the values are intensities of proteins, and no counts."""
        return self.counts.dtype.kind == "f"

    def __len__(self) -> int:
        return self.n_cells

    def __str__(self) -> str:
        return (
            f"{self.n_cells:,} cells × {self.n_genes:,} genes, {self.n_batches} batches, "
            f"{self.n_types} cell types"
        )

    def arrays(self) -> Arrays:
        """All content as arrays that need no pickle, in the layout of the ``.npz``."""
        kind = np.float32 if self.intensities else np.int32
        return {
            "counts_data": self.counts.data.astype(kind, copy=False),
            "counts_indices": self.counts.indices,
            "counts_indptr": self.counts.indptr,
            "counts_shape": np.asarray(self.counts.shape, dtype=np.int64),
            "batch": self.batch.astype(np.int64, copy=False),
            "batch_names": np.asarray(self.batch_names, dtype=str),
            "labels": self.labels.astype(np.int64, copy=False),
            "label_names": np.asarray(self.label_names, dtype=str),
            "genes": np.asarray(self.genes, dtype=str),
            "cells": np.asarray(self.cells, dtype=str),
            **self.covariates.arrays(),
            **self._beside(),
        }

    def _beside(self) -> Arrays:
        found: Arrays = {}
        for key, what in BESIDE.items():
            if (features := getattr(self, key)) is not None:
                found |= features.arrays(what)
        return found

    def save(self, path: str | os.PathLike) -> None:
        """Write a ``.npz``, whole or not at all."""
        _save(path, self.kind, self.name, self.arrays())

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, np.ndarray]) -> CellData:
        """Build the data set that `arrays` describes."""
        parts = tuple(arrays[f"counts_{part}"] for part in ("data", "indices", "indptr"))
        shape = tuple(int(size) for size in arrays["counts_shape"])
        return cls(
            name=name,
            counts=sp.csr_matrix(parts, shape=shape),
            batch=arrays["batch"],
            batch_names=arrays["batch_names"].tolist(),
            labels=arrays["labels"],
            label_names=arrays["label_names"].tolist(),
            genes=arrays["genes"],
            cells=arrays["cells"],
            covariates=Covariates.from_arrays(arrays),
            **{key: Features.from_arrays(arrays, what) for key, what in BESIDE.items()},
        )

    def to_anndata(self) -> anndata.AnnData:
        """Convert to AnnData: ``X`` and ``layers["counts"]`` are the counts (float32 CSR).

        ``obs`` has the categorical columns ``batch`` and ``cell_type``, and those of the covariates
        (:meth:`vmm.data.covariates.Covariates.columns`). ``obsm["protein"]`` is a table of the
        proteins, where there are any.
        """
        import anndata
        import pandas as pd

        obs = pd.DataFrame(
            {
                "batch": pd.Categorical.from_codes(self.batch, self.batch_names),
                "cell_type": pd.Categorical.from_codes(self.labels, self.label_names),
                **self.covariates.columns(),
            },
            index=pd.Index(self.cells.astype(object)),
        )
        var = pd.DataFrame(index=pd.Index(self.genes.astype(object)))
        counts = self.counts.astype(np.float32)
        adata = anndata.AnnData(X=counts, obs=obs, var=var, layers={"counts": counts.copy()})
        if self.proteins is not None:
            names = pd.Index(self.proteins.names.astype(object))
            values = self.proteins.counts.toarray()
            adata.obsm["protein"] = pd.DataFrame(values, adata.obs_names, names)
        return adata

    def to_mudata(self) -> mudata.MuData:
        """Convert to MuData: ``rna`` as :meth:`to_anndata` has it, and ``atac`` with the peaks.

        The table of cells is that of the whole.
        """
        import anndata
        import mudata
        import pandas as pd

        rna = self.to_anndata()
        assert self.peaks is not None
        names = pd.DataFrame(index=pd.Index(self.peaks.names.astype(object)))
        atac = anndata.AnnData(self.peaks.counts.astype(np.float32), rna.obs[[]], names)
        obs, rna.obs = rna.obs, rna.obs[[]]
        both = mudata.MuData({"rna": rna, "atac": atac})
        both.obs = obs
        return both


@dataclass(frozen=True, eq=False)
class ImageData:
    """N images of D pixels with their classes.

    Parameters
    ----------
    name
        Name of the data set.
    x
        N × D; uint8 (0 to 255), or float32 in [-1, 1].
    labels
        (N,) int64 codes into `label_names`.
    label_names
        Names of the classes.
    image_shape
        (height, width), with height · width = D.
    valid
        Rows that are the fixed validation set, ascending; None: split by trial.
    """

    name: str
    x: np.ndarray
    labels: np.ndarray
    label_names: list[str]
    image_shape: tuple[int, int]
    valid: np.ndarray | None = None

    kind = "images"

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.x.shape != (len(self.labels), int(np.prod(self.image_shape))):
            raise ValueError(
                f"x is {self.x.shape}, but there are {len(self.labels)} labels and images of "
                f"{self.image_shape} pixels"
            )

    @property
    def n_types(self) -> int:
        """Number of classes."""
        return len(self.label_names)

    def __len__(self) -> int:
        return len(self.x)

    def __str__(self) -> str:
        return f"{len(self):,} images of {self.n_types} classes"

    def scaled(self) -> np.ndarray:
        """Pixels as float32 in [-1, 1], N × D."""
        if self.x.dtype == np.uint8:
            return self.x.astype(np.float32) / np.float32(127.5) - np.float32(1)
        return self.x.astype(np.float32, copy=False)

    def arrays(self) -> Arrays:
        """All content as arrays that need no pickle, in the layout of the ``.npz``."""
        arrays = {
            "x": self.x,
            "labels": self.labels.astype(np.int64, copy=False),
            "label_names": np.asarray(self.label_names, dtype=str),
            "image_shape": np.asarray(self.image_shape, dtype=np.int64),
        }
        if self.valid is not None:
            arrays["valid"] = self.valid.astype(np.int64, copy=False)
        return arrays

    def save(self, path: str | os.PathLike) -> None:
        """Write a ``.npz``, whole or not at all."""
        _save(path, self.kind, self.name, self.arrays())

    @classmethod
    def from_arrays(cls, name: str, arrays: Mapping[str, np.ndarray]) -> ImageData:
        """Build the data set that `arrays` describes."""
        height, width = (int(size) for size in arrays["image_shape"])
        return cls(
            name=name,
            x=arrays["x"],
            labels=arrays["labels"],
            label_names=arrays["label_names"].tolist(),
            image_shape=(height, width),
            valid=arrays.get("valid"),
        )


KINDS: dict[str, type[CellData] | type[ImageData]] = {"cells": CellData, "images": ImageData}


MAPPED = ("counts_data", "counts_indices")
"""The arrays that grow with cells × genes."""


def load(path: str | os.PathLike, mapped: bool = False) -> CellData | ImageData:
    """Read a prepared data set of either kind. Nothing in the file is ever unpickled.

    Parameters
    ----------
    path
        The ``.npz``.
    mapped
        Whether counts stay in the file, which must then not be touched, and are read when they are
        looked at: for a training, that puts them where it draws from them.

    Raises
    ------
    InputError
        If the file is missing or is not a prepared data set.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist; prepare the data set first.")
    try:
        arrays = read_arrays(path, mapped=MAPPED if mapped else ())
        kind, name = str(arrays.pop("kind")), str(arrays.pop("name"))
        return KINDS[kind].from_arrays(name, arrays)
    except UNREADABLE as error:
        raise InputError(
            f"{path} is not a prepared data set (an .npz written by vmm.data.prepare): "
            f"{error.__cause__ or error}; remove it and start again, then it is made anew."
        ) from error


def content_sha256(data: CellData | ImageData) -> str:
    """Checksum of what a data set holds: of its arrays' names, types, shapes and values."""
    digest = hashlib.sha256()
    content: bytes | memoryview
    for key, array in sorted(data.arrays().items()):
        if array.dtype.kind == "U":
            kind, content = "text", "\0".join(array.tolist()).encode()
        else:
            little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
            kind, content = little_endian.dtype.str, np.ascontiguousarray(little_endian).data
        digest.update(f"{key}:{kind}:{array.shape}:".encode())
        digest.update(content)
    return digest.hexdigest()


def _save(path: str | os.PathLike, kind: str, name: str, arrays: Arrays) -> None:
    if Path(path).suffix != ".npz":
        raise InputError(f"{path} must end in .npz.")
    header: dict[str, Any] = {"kind": np.asarray(kind), "name": np.asarray(name)}
    with atomic(path) as temporary:
        np.savez(temporary, allow_pickle=False, **header, **arrays)
