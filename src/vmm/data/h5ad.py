"""Cells in AnnData's files and objects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vmm.data.messages import listing
from vmm.data.raw import Config, Files, RawCells
from vmm.data.supplied import reading, supplied
from vmm.errors import InputError

if TYPE_CHECKING:
    import anndata
    import h5py


def read(files: Files, config: Config) -> RawCells:
    """Read the user's own ``.h5ad``, the layer that the configuration names."""
    (file,) = files.values()
    return read_h5ad(file.path, config.get("layer"))


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
