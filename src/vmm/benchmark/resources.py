"""What memory jobs on cells ask for: it grows with the cells and genes of their data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from vmm.benchmark.methods.records import METHODS
from vmm.data.anndata_parts import opened
from vmm.data.supplied import is_zarr
from vmm.errors import InputError
from vmm.io import read_json

ROOM = 1.5
"""What is asked for, as a multiple of what was measured."""


class Size(NamedTuple):
    """Cells and genes of a data set."""

    cells: int
    genes: int


class Need(NamedTuple):
    """What a job took where it was measured.

    Attributes
    ----------
    gb : float
        Of libraries, compiled programs and what does not grow.
    per_count : float
        Bytes for each cell × gene, where 5 % of the counts are not zero.
    per_cell : float
        Bytes for each cell.
    per_pair : float
        Bytes for each cell × cell.
    """

    gb: float
    per_count: float
    per_cell: float = 0.0
    per_pair: float = 0.0


UNKNOWN, UNPREPARED = Size(50_000, 2_000), Size(50_000, 30_000)
"""Taken for a data set that is not here yet: after its genes were selected, and before."""

NEEDS = {
    "prepare": Need(0.4, 1.5),
    "split": Need(0.4, 0.5),
    "train": Need(0.5, 3.0),
    "baselines": Need(0.5, 1.2, 1_500),
    "evaluate_clustering": Need(0.85, 0.5),
    "evaluate_integration": Need(1.9, 0.9),
    "mde": Need(2.6, 0.5),
    "figure_mde": Need(2.6, 0.5),
}
"""Lines through 100 000, 500 000 and 1 000 000 cells × 2 000 genes, 16 bits a count; what compares
cells is of 50 000 (``make bench``, ``atlas_*``)."""

NEEDS_OF_METHODS = {"scanorama": Need(0.5, 1.2, 0, 2.0)}
"""Of methods without training that need more than the others; measured with 5 000 to 60 000 cells
in 20 batches."""


def memory_mb(work: str, size: Size, methods: Iterable[str] = ()) -> int:
    """Return the memory that a job should ask for, in MB.

    Parameters
    ----------
    work : str
        A key of :data:`NEEDS`.
    size : Size
    methods : iterable of str
        For "baselines", what embeds the cells; what is not tried with so many needs nothing.
    """
    needs = [NEEDS[work]]
    if work == "baselines":
        tried = [name for name in methods if METHODS["cells"][name].takes(size.cells)]
        needs += [NEEDS_OF_METHODS[name] for name in tried if name in NEEDS_OF_METHODS]
    return round(ROOM * max(_mb(need, size) for need in needs))


def _mb(need: Need, size: Size) -> float:
    grown = need.per_count * size.genes + need.per_cell + need.per_pair * size.cells
    return 1000 * need.gb + grown * size.cells / 1e6


def size_of(work: str, description: str | PathLike, settings: Mapping[str, Any]) -> Size:
    """Return the size of a set of cells: as prepared, else of the user's file, else a guess.

    Preparing reads all genes, the rest has those that were selected.

    Parameters
    ----------
    work : str
        A key of :data:`NEEDS`.
    description : path
        ``data/<data set>.json``, which need not be there yet.
    settings : mapping
        The data set's part of the configuration.
    """
    shape = _shape_in(settings.get("path"), settings.get("layer"), settings.get("modality"))
    if work == "prepare":
        return shape or UNPREPARED
    if Path(description).is_file():
        with suppress(InputError):  # what is damaged is made again, before it is needed
            known = read_json(description, "n_cells", "n_genes")
            return Size(known["n_cells"], known["n_genes"] + known.get("n_peaks", 0))
    if shape is None:
        return UNKNOWN
    return Size(shape.cells, min(shape.genes, settings.get("n_top_genes") or shape.genes))


def _shape_in(path: str | None, layer: str | None, modality: str | None) -> Size | None:
    """Return cells and genes of a file without reading its counts; None if it has no such."""
    import h5py

    if path is None or not (is_zarr(path) or (Path(path).is_file() and h5py.is_hdf5(path))):
        return None
    try:
        with opened(Path(path), locking=False) as file:
            places = [f"layers/{layer}", "raw/X"] if layer else ["X"]
            counts = file["mod"][modality or "rna"] if "mod" in file else file
            found = next(counts[place] for place in places if place in counts)
            shape = found.attrs.get("shape", getattr(found, "shape", None))
            return Size(int(shape[0]), int(shape[1]))
    except (OSError, StopIteration, TypeError, IndexError, KeyError):
        return None
