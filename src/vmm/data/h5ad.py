"""Cells in AnnData's files and objects; of MuData's files, those of a modality."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from vmm.data.anndata_parts import features_in, from_anndata, is_table, opened, read_parts
from vmm.data.h5mu import read_modality
from vmm.data.messages import as_text, listing
from vmm.data.raw import Config, Files, RawCells
from vmm.data.source import BESIDE
from vmm.data.supplied import is_zarr, reading, supplied
from vmm.errors import InputError


def read(files: Files, config: Config) -> RawCells:
    """Read the user's own file, what the configuration names of it."""
    (file,) = files.values()
    return read_h5ad(
        file.path,
        config.get("layer"),
        named_columns(config),
        config.get("modality", ""),
        {key: config[key] for key in BESIDE if key in config},
    )


def named_columns(config: Config) -> list[str]:
    """Return the columns of ``obs`` that a configuration names, by keys that end in "_key(s)"."""
    named = [value for key, value in config.items() if key.endswith(("_key", "_keys")) and value]
    return [key for value in named for key in ([value] if isinstance(value, str) else value)]


def read_h5ad(
    path: str | Path,
    layer: str | None = None,
    columns: Collection[str] | None = None,
    modality: str = "",
    beside: Mapping[str, str] | None = None,
) -> RawCells:
    """Read one matrix, the table of cells and the names of genes, and nothing else of a file.

    So files are read of which other parts are damaged, or in a form that this version of anndata
    does not know.

    Parameters
    ----------
    path
        The ``.h5ad`` or ``.h5mu`` file, or a zarr store of anndata.
    layer
        Layer with the counts; None: ``X``; ``"raw"``: ``raw.X`` (unless a layer has that name).
    columns
        Columns of ``obs`` that are needed; others that cannot be read are left out. None: all.
    modality
        Of a MuData file, the modality with the counts; "": the only one, or ``rna``.
    beside
        Where else is what was counted in the same cells, by keys of
        :data:`vmm.data.source.BESIDE`: a key of ``obsm``, in a MuData file a modality.

    Raises
    ------
    InputError
        If the file is missing or is not an AnnData file, or has no such layer or modality, or
        nothing of what is to be beside.
    """
    import anndata
    import h5py

    path = supplied(path, "`path:` must name an .h5ad file")
    zarr = is_zarr(path)
    if not zarr and not h5py.is_hdf5(path):
        raise InputError(f"{path} is not an .h5ad file (it is not HDF5 at all).")
    with reading(path, "cannot be read, it is truncated or damaged"):
        with opened(path) as file:
            if is_mudata(file):
                return read_modality(file, path, layer, columns, modality, beside or {})
            if "matrix" in file and "obs" not in file:
                raise InputError(
                    f"{path} is not an .h5ad file, but one of Cell Ranger; convert it: "
                    f"scanpy.read_10x_h5({str(path)!r}).write_h5ad('my.h5ad')."
                )
            if modality:
                raise InputError(
                    f"{path} is not a MuData file, so it has no modality {modality!r}; leave "
                    "`modality:` out."
                )
            if missing := [key for key in ("obs", "var") if key not in file]:
                what = "a zarr store of anndata" if zarr else "an .h5ad file"
                raise InputError(f"{path} is not {what} (no {listing(missing)} in it).")
            if is_table(file["obs"]):
                return read_parts(file, path, layer, columns, beside)
        whole = anndata.read_zarr(path) if zarr else anndata.read_h5ad(path)
        raw = from_anndata(whole, layer, str(path))
        raw.beside = features_in(whole.obsm, beside or {}, str(path))
        return raw


def is_mudata(file: Any) -> bool:
    """Return whether a file is MuData's."""
    return "mod" in file and as_text(file.attrs.get("encoding-type", "MuData")) == "MuData"
