"""Cells of one modality of a MuData file, with what others counted in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.data.anndata_parts import names_in, read_parts
from vmm.data.blocks import in_memory
from vmm.data.features import RawFeatures
from vmm.data.messages import listing
from vmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from vmm.data.raw import RawCells

RNA = "rna"
"""What a modality of several is called if nobody says which one is meant."""


def read_modality(
    file: Any,
    path: Path,
    layer: str | None,
    columns: Collection[str] | None,
    modality: str,
    beside: Mapping[str, str],
) -> RawCells:
    """Read the counts and cells of a modality, and those of others for the same cells.

    Columns of the file's own table of cells are there too, unless the modality has one of the same
    name. Cells of which others have none are left out, and a note says so.

    Messages call the file `path`. The modality "" is the only one, or that of RNA. Others are
    `beside`, by the keys that name them: of them too `layer` is read, if they have it, else their
    ``X``. All else as for :func:`vmm.data.h5ad.read_h5ad`.
    """
    there = list(file["mod"])
    if not modality:
        modality = usual_modality(there, beside)
        if modality not in there:
            raise InputError(
                f"{path} has the modalities {listing(there)}; name the one with the counts by "
                "`modality:`."
            )
    for key, name in {"modality": modality, **beside}.items():
        if name not in there:
            raise InputError(
                f"{path} has no modality {name!r} for `{key}:`; its modalities are "
                f"{listing(there)}."
            )
        if key != "modality" and name == modality:
            raise InputError(
                f"`modality:` and `{key}:` both name the modality {modality!r} of {path}; the "
                f"counts of genes are in another than the {key}."
            )
    raw = read_parts(file["mod"][modality], path, layer, columns, called=_called(modality, path))
    raw.modality, raw.obs = modality, _with_common(raw.obs, file, path, columns)
    for key, name in beside.items():
        _add(raw, key, file["mod"][name], path, _called(name, path), layer)
    return raw


def _called(modality: str, path: Path) -> str:
    return f"modality {modality!r} of {path}"


def usual_modality(there: Collection[str], beside: Mapping[str, str]) -> str:
    """Return what is read where nobody says: the only modality that is not `beside`, else RNA."""
    others = [name for name in there if name not in beside.values()]
    return others[0] if len(others) == 1 else RNA


def _with_common(
    obs: pd.DataFrame, file: Any, path: Path, columns: Collection[str] | None
) -> pd.DataFrame:
    """Return a table of cells with the columns that the file has for all modalities."""
    from anndata.io import read_elem

    if "obs" not in file:
        return obs
    common = read_elem(file["obs"])
    lacking = [key for key in common.columns if key not in obs.columns]
    if columns is not None:
        lacking = [key for key in lacking if key in columns]
    if not lacking:
        return obs
    if not common.index.is_unique:
        raise InputError(
            f"{path} has cells of the same name, so that the column {lacking[0]!r} of its obs "
            "cannot be told of which cell it is; make names unique."
        )
    return obs.join(common[lacking])


def _add(raw: RawCells, key: str, group: Any, path: Path, where: str, layer: str | None) -> None:
    """Give cells what else was counted, and keep only those cells that have any counted."""
    import pandas as pd

    own = layer if layer is not None and layer in group.get("layers", {}) else None
    measured = read_parts(group, path, own, (), called=where)
    cells = pd.Index(names_in(group["obs"]))
    if not cells.is_unique:
        raise InputError(f"{where} has cells of the same name; make them unique.")
    place = cells.get_indexer(raw.obs.index)
    keep = np.flatnonzero(place >= 0)
    if not len(keep):
        raise InputError(
            f"{where} has none of the cells that the counts are of (such as {raw.obs.index[0]!r}, "
            f"not {cells[0]!r}); the names of cells must be the same."
        )
    if len(keep) < len(place):
        raw.notes.append(
            f"Cells without counts of {key} were left out: {len(place) - len(keep):,} of "
            f"{len(place):,}."
        )
        raw.obs, raw.counts = raw.obs.iloc[keep], in_memory(raw.counts)[keep]
        for other, of in raw.beside.items():
            raw.beside[other] = of._replace(counts=of.counts[keep])
    counts = in_memory(measured.counts)[place[keep]]
    raw.beside[key] = RawFeatures(counts, measured.genes, measured.where)
