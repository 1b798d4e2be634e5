"""AnnData, in a file or in memory: one matrix, the table of cells, the names of genes, proteins."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm import memory
from vmm.data import checks
from vmm.data.blocks import Stored, bounds_of
from vmm.data.columns import ByColumns, rows_at_once
from vmm.data.features import RawFeatures
from vmm.data.messages import as_text, listing
from vmm.data.raw import RawCells
from vmm.data.source import BESIDE
from vmm.data.supplied import is_zarr
from vmm.errors import InputError

if TYPE_CHECKING:
    import anndata
    import h5py
    import pandas as pd

LARGE = 1 << 28
"""Bytes from which on a matrix is read in blocks: those in memory."""

COPIES = 2
"""What reading a matrix by columns at once takes beside itself and the counts, in its bytes."""


@contextmanager
def opened(path: Path, locking: bool | None = None) -> Iterator[Any]:
    """Open a file, by h5py with this `locking`, or a zarr store for reading: the group it is."""
    if is_zarr(path):
        import zarr

        yield zarr.open_group(path, mode="r")
        return
    import h5py

    with h5py.File(path, "r", locking=locking) as file:
        yield file


def is_table(group: Any) -> bool:
    """Return whether a part of a file is a table as anndata writes it since version 0.7."""
    return as_text(group.attrs.get("encoding-type", "")) == "dataframe"


def read_parts(
    file: Any,
    path: Path,
    layer: str | None,
    columns: Collection[str] | None,
    beside: Mapping[str, str] | None = None,
    called: str = "",
) -> RawCells:
    """Read what is needed of an AnnData that is a group of the file at `path`.

    Messages call it `called`, by default the file. All else as :func:`vmm.data.h5ad.read_h5ad`,
    with what is `beside` in ``obsm``.
    """
    from anndata.io import read_elem

    called = called or str(path)
    layers = list(file["layers"]) if "layers" in file else []
    location, where = _located(layer, layers, "X" in file, "raw/X" in file, called)
    matrices = {name: file["layers"][name] for name in layers}
    for name, key in ((None, "X"), ("raw", "raw/X")):
        if key in file:
            matrices.setdefault(name, file[key])
    obsm = file["obsm"] if "obsm" in file else {}  # noqa: SIM401 (not all groups have `get`)
    return RawCells(
        counts=_stored(file, location, path, where) or read_elem(file[location]),
        obs=_read_cells(file["obs"], columns),
        genes=names_in(file["raw/var" if location == "raw/X" else "var"]),
        where=where,
        file=called,
        hint=_hint(layer, matrices),
        beside=features_in(obsm, beside or {}, called),
        layers=layers,
    )


def features_in(
    obsm: Mapping[str, Any], beside: Mapping[str, str], where: str
) -> dict[str, RawFeatures]:
    """Return what is under keys of ``obsm``, in a file or in memory, by the keys that name it.

    A table has names; of a matrix without any its columns are numbered.
    """
    found = {}
    for option, key in beside.items():
        if key not in obsm:
            raise InputError(
                f"{where} has no obsm {key!r} for `{option}:`; in its obsm there is "
                f"{listing(obsm)}."
            )
        found[option] = _features(obsm, key, BESIDE[option], where)
    return found


def _features(obsm: Mapping[str, Any], key: str, what: str, where: str) -> RawFeatures:
    from anndata.io import read_elem

    found = obsm[key]
    if hasattr(found, "attrs") and not hasattr(found, "columns"):  # in a file
        found = read_elem(found)
    place = f"obsm {key!r} of {where}"
    if hasattr(found, "columns"):
        return RawFeatures(found.to_numpy(), list(map(as_text, found.columns)), place)
    return RawFeatures(found, [f"{what} {i + 1}" for i in range(found.shape[-1])], place)


def _stored(file: Any, location: str, path: Path, where: str) -> Stored | None:
    """Return a matrix that stays in its file, being large; None of one that is read at once.

    To go through the rows of columns they are sorted on disk: where memory has no room for all.
    """
    from anndata.io import sparse_dataset

    part = file[location]
    place = f"{file.name}/{location}".lstrip("/")
    kind = as_text(part.attrs.get("encoding-type", ""))
    by_columns = kind == "csc_matrix"
    if kind == "csr_matrix" or by_columns:
        ends = np.asarray(part["indptr"][:], dtype=np.int64)
        size = ends[-1] * sum(part[key].dtype.itemsize for key in ("data", "indices"))
        if size < LARGE or (by_columns and memory.fits(COPIES * size)):
            return None
        (n, m), readable = map(int, part.attrs["shape"]), sparse_dataset
    elif kind == "array" and len(part.shape) == 2:
        if part.size * part.dtype.itemsize < LARGE:
            return None
        (n, m), readable = part.shape, lambda array: array
        ends = np.arange(n + 1) * m
    else:
        return None

    @contextmanager
    def matrix() -> Iterator[Any]:
        with opened(path) as whole:
            yield readable(whole[place])

    if by_columns:
        return ByColumns((n, m), rows_at_once(n, int(ends[-1])), matrix, where, ends)
    return Stored((n, m), bounds_of(ends), matrix)


def _read_cells(group: h5py.Group, needed: Collection[str] | None) -> pd.DataFrame:
    """Read the table of cells, if need be without columns that cannot be read."""
    import pandas as pd
    from anndata.io import read_elem

    try:
        return read_elem(group)
    except Exception:
        if needed is None or "_index" not in group.attrs or "column-order" not in group.attrs:
            raise
    index = read_elem(group[as_text(group.attrs["_index"])])
    columns = {}
    for name in map(as_text, group.attrs["column-order"]):
        try:
            columns[name] = pd.Series(read_elem(group[name]), index=index)
        except Exception:
            if name in needed:
                raise
    return pd.DataFrame(columns, index=index)


def names_in(group: Any) -> list[str]:
    """Read the index of a table, and no column."""
    from anndata.io import read_elem

    if not is_table(group):
        return read_elem(group).index.astype(str).tolist()
    return [as_text(name) for name in read_elem(group[as_text(group.attrs["_index"])])]


def from_anndata(
    adata: anndata.AnnData, layer: str | None = None, file: str = "the AnnData object"
) -> RawCells:
    """Take the counts and tables of an AnnData object: in memory, backed, or a view.

    It is left alone. `layer` is as for :func:`vmm.data.h5ad.read_h5ad`, `file` what messages call
    it.
    """
    layers = [name for name in adata.layers if name is not None]
    place, where = _located(layer, layers, adata.X is not None, adata.raw is not None, file)
    matrices = {name: adata.layers[name] for name in layers}
    if adata.X is not None:
        matrices[None] = adata.X
    if adata.raw is not None:
        matrices.setdefault("raw", adata.raw.X)
    genes = (adata.raw if place == "raw/X" else adata).var_names.astype(str).tolist()
    hint = _hint(layer, matrices)
    return RawCells(matrices[layer], adata.obs, genes, where, file, hint, layers=layers)


def _located(
    layer: str | None, layers: list[str], has_x: bool, has_raw: bool, called: str
) -> tuple[str, str]:
    """Return where the matrix that `layer` names is in a file, and what messages call it."""
    if layer is None and has_x:
        return "X", f"X of {called}"
    if layer is None:
        there = listing(layers)
        raise InputError(
            f"{called} has no X; name the layer with counts by `layer:` (there are {there})."
        )
    if layer in layers:
        return f"layers/{layer}", f"layer {layer!r} of {called}"
    if layer == "raw" and has_raw:
        return "raw/X", f"raw.X of {called}"
    raw = ", or `layer: raw` for raw.X" if has_raw else ""
    there = f"its layers are {listing(layers)}" if layers else "it has none; leave it out to take X"
    raise InputError(f"{called} has no layer {layer!r} for `layer:`; {there}{raw}.")


def _hint(layer: str | None, matrices: Mapping[str | None, Any]) -> str:
    """Say which other matrix (None: X) would do as counts, the end of a sentence."""
    others = {name: matrix for name, matrix in matrices.items() if name != layer}
    fit = [name for name, matrix in others.items() if checks.seem_counts(matrix)]
    named = [f"`layer: {name}`" for name in fit if name is not None]
    if named:
        return f"; give {' or '.join(named)}, which ha{'ve' if named[1:] else 's'} whole numbers"
    if fit:
        return "; leave `layer:` out: X has whole numbers"
    if others:
        some = listing("X" if name is None else name for name in others)
        return f"; give raw counts (of what else there is, {some}, none has whole numbers)"
    return "; give raw counts (there is no other layer)"
