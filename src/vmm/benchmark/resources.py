"""What memory and time jobs on cells ask for: both grow with the cells and genes of the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from vmm.benchmark.methods.records import METHODS
from vmm.data.anndata_parts import opened
from vmm.data.h5mu import usual_modality
from vmm.data.source import BESIDE
from vmm.data.supplied import is_zarr
from vmm.errors import InputError
from vmm.io import read_json

ROOM = 1.5
"""What is asked for, as a multiple of what was measured."""


class Size(NamedTuple):
    """Cells of a data set, and genes with all else that was counted in them."""

    cells: int
    features: int


class Need(NamedTuple):
    """What a job took where it was measured.

    `gb` are of libraries, compiled programs and what does not grow. The others are bytes: for each
    cell × gene, where 5 % of the counts are not zero, each cell, and each cell × cell.
    """

    gb: float
    per_count: float
    per_cell: float = 0.0
    per_pair: float = 0.0


SMALLEST_BATCH = 128
"""Taken where tuning chooses."""

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


class Pace(NamedTuple):
    """The CPU time of a job where it was measured, in seconds, for each cell × gene and each cell.

    `per_compared` and `per_pair` are for each cell of those that are compared, and each pair of
    them. `minutes` are asked for at least: what suits small data on a slow machine, and a download.
    """

    minutes: int
    per_count: float = 0.0
    per_cell: float = 0.0
    per_compared: float = 0.0
    per_pair: float = 0.0


PACES = {
    "prepare": Pace(120, per_count=8.3e-9),
    "train": Pace(240, per_count=5.0e-8, per_cell=3.0e-5),
    "baselines": Pace(240, per_cell=7.7e-5),
    "evaluate_clustering": Pace(60, per_cell=2.6e-5),
    "evaluate_integration": Pace(720, per_cell=2.0e-5, per_pair=2.3e-8),
    "mde": Pace(240, per_compared=8.0e-4),
}
PACES |= {"tune": PACES["train"], "evaluate_tuning": PACES["evaluate_integration"]}
"""Of 1 000 000 cells × 2 000 genes (``atlas_*``); of silhouettes, neighbours and MDE with 20 000
cells. A training: an epoch of the VMM in batches of 128, a line through ``scvi_epoch_*``."""

SLOWER = 4.0
"""What is asked for, as a multiple of what was measured on an idle machine."""

STEPS = 10_000
"""After about so many steps a training has its best epoch: on zeisel_200genes, of 3 005 cells, that
was epoch 382, 9 200 steps."""


def epochs(max_epochs: int, patience: int | None, batch_size: int | None, cells: int) -> int:
    """Return how many epochs a training may be expected to take, until it is out of patience.

    One that takes more is stopped, and goes on with more time.
    """
    if patience is None:
        return max_epochs
    return min(max_epochs, patience + math.ceil(STEPS * (batch_size or SMALLEST_BATCH) / cells))


def runtime_minutes(work: str, size: Size, times: int = 1, compared: int | None = None) -> int:
    """Return the time that a job should ask for, in minutes.

    Parameters
    ----------
    work : str
        A key of :data:`PACES`.
    size : Size
    times : int
        Epochs of all its trainings, embeddings that it makes or scores.
    compared : int, optional
        Most cells that are compared; None: all.
    """
    pace, n = PACES[work], min(size.cells, compared or size.cells)
    of_all = (pace.per_count * size.features + pace.per_cell) * size.cells
    seconds = of_all + (pace.per_compared + pace.per_pair * n) * n
    return max(pace.minutes, math.ceil(SLOWER * times * seconds / 60))


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
    grown = need.per_count * size.features + need.per_cell + need.per_pair * size.cells
    return 1000 * need.gb + grown * size.cells / 1e6


def size_of(work: str, description: str | PathLike, settings: Mapping[str, Any]) -> Size:
    """Return the size of a set of cells: as prepared, else of the user's file, else a guess.

    Preparing reads all genes, the rest has those that were selected.

    Parameters
    ----------
    work : str
        What the job does.
    description : path
        ``data/<data set>.json``, which need not be there yet.
    settings : mapping
        The data set's part of the configuration.
    """
    shape, more = _shape_in(settings) or (None, 0)
    if work == "prepare":
        return Size(shape.cells, shape.features + more) if shape else UNPREPARED
    if Path(description).is_file():
        with suppress(InputError):  # what is damaged is made again, before it is needed
            known = read_json(description, "n_cells", "n_genes")
            counted = sum(known.get(f"n_{key}", 0) for key in BESIDE)
            return Size(known["n_cells"], known["n_genes"] + counted)
    if shape is None:
        return UNKNOWN
    genes = min(shape.features, settings.get("n_top_genes") or shape.features)
    return Size(shape.cells, genes + more)


def cells_in(settings: Mapping[str, Any]) -> int | None:
    """Return the number of cells in the user's file; None if there is none, or it cannot be told.

    Parameters
    ----------
    settings : mapping
        The data set's part of the configuration.
    """
    found = _shape_in(settings)
    return found[0].cells if found else None


def _shape_in(settings: Mapping[str, Any]) -> tuple[Size, int] | None:
    """Return cells and genes of a file, and how much is beside them; None if it has no such."""
    import h5py

    if settings.get("path") is None:
        return None
    path, layer = Path(settings["path"]).expanduser(), settings.get("layer")
    beside = {key: settings[key] for key in BESIDE if settings.get(key)}
    if not (is_zarr(path) or (path.is_file() and h5py.is_hdf5(path))):
        return None
    try:
        with opened(path, locking=False) as file:
            places = [f"layers/{layer}", "raw/X"] if layer else ["X"]
            counts, others = file, [f"obsm/{name}" for name in beside.values()]
            if "mod" in file:
                modality = settings.get("modality") or usual_modality(list(file["mod"]), beside)
                counts = file["mod"][modality]
                others = [f"mod/{name}/X" for name in beside.values()]
            found = next(counts[place] for place in places if place in counts)
            more = sum(_size(file[place]).features for place in others)
            return _size(found), more
    except (OSError, StopIteration, TypeError, IndexError, KeyError):
        return None


def _size(found: Any) -> Size:
    """Return rows and columns of a matrix or a table in a file."""
    if "column-order" in found.attrs:  # a table: a group with an array a column
        return Size(len(found[found.attrs["_index"]]), len(found.attrs["column-order"]))
    shape = found.attrs.get("shape", getattr(found, "shape", None))
    return Size(int(shape[0]), int(shape[1]))
