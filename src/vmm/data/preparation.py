"""From a data set's configuration to its ``.npz`` and the ``.json`` that describes it."""

from __future__ import annotations

import logging
import os
import urllib.parse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vmm.data import checks, images, select
from vmm.data.cells import read_h5ad
from vmm.data.containers import CellData, ImageData, content_sha256
from vmm.data.download import Checksum, Fetched, RemoteFile, digest, fetch, is_url
from vmm.data.raw import Files, RawCells, RawImages
from vmm.data.registry import SOURCES, Source
from vmm.data.supplied import supplied
from vmm.errors import InputError
from vmm.io import write_json

log = logging.getLogger(__name__)

Config = Mapping[str, Any]
SUFFIX = {"cells": ".h5ad", "images": ".npz"}


@dataclass
class Selection:
    """How many cells and genes each step of the preparation left."""

    cells_read: int
    genes_read: int
    highly_variable_genes: int | None = None
    cells_dropped: int = 0
    genes_dropped: int = 0
    notes: list[str] = field(default_factory=list)


def prepare(
    name: str,
    config: Config,
    mirror: str | os.PathLike | None,
    cache_dir: str | os.PathLike,
    out_npz: str | os.PathLike,
    out_json: str | os.PathLike,
    sources: Mapping[str, Source] = SOURCES,
) -> CellData | ImageData:
    """Fetch, check and prepare a data set, and write it with its description.

    The data come from a built-in source (``source:``, by default the one that has the data set's
    name), from the user's file (``path:``) or from a URL (``url:`` and ``sha256:``).

    Cells: counts are checked; ``n_top_genes`` highly variable genes are chosen, ranked within
    batches; then genes and cells with fewer than 3 counts are dropped. Images: ``n_subset`` takes a
    random part first.

    Parameters
    ----------
    name
        The data set's name in the configuration.
    config
        Its configuration. Read here: ``kind``, ``source``, ``path``, ``url``, ``sha256``,
        ``matrix``, ``cells``, ``batch_key``, ``label_key``, ``layer``, ``n_top_genes``,
        ``n_subset``. Other keys are the models'.
    mirror
        Directory or URL that replaces every remote file by ``<mirror>/<data set>/<file name>``.
    cache_dir
        Where downloads are kept.
    out_npz, out_json
        What to write.
    sources
        Built-in data sets.

    Returns
    -------
    CellData or ImageData
        What was written.

    Raises
    ------
    InputError
        If anything about the configuration or the data is wrong.
    """
    config = {key: value for key, value in config.items() if value is not None}
    mirror = None if mirror is None else os.fspath(mirror)
    source_name, source = resolve(name, config, sources)
    supplied = {"path", "matrix"} & config.keys()
    if source.user_supplied and mirror and not is_url(mirror) and not supplied:
        config["path"] = str(Path(mirror) / source_name)
    files = {
        file.name: _obtain(file, source_name, mirror, cache_dir, config) for file in source.files
    }
    raw = _named(name, lambda: source.read(files, config))
    built = _named(name, lambda: _build(raw, name, source, config))
    data, facts, notes = built
    description = {
        "name": name,
        "kind": data.kind,
        "source": source_name,
        "title": source.title,
        "licence": source.licence,
        "citation": source.citation,
        "homepage": source.homepage,
        **facts,
        "content_sha256": content_sha256(data),
        "files": [dict(file.record) for file in files.values()],
        "notes": [*source.notes, *notes],
    }
    data.save(out_npz)
    write_json(out_json, description)
    log.info("%s: %s", name, summary(data))
    return data


def resolve(name: str, config: Config, sources: Mapping[str, Source]) -> tuple[str, Source]:
    """Find where a data set comes from.

    Returns
    -------
    name : str
        Of the source: a folder of the mirror and of the cache.
    source : Source
        The built-in one, or one made for the user's file.

    Raises
    ------
    InputError
        If the configuration names no source, an unknown one, or more than one.
    """
    own = [key for key in ("path", "url") if key in config]
    if "source" in config:
        source_name = config["source"]
        if source_name not in sources:
            raise InputError(
                f"data set {name!r}: there is no source {source_name!r}; built in are "
                f"{checks.listing(sources)}, your own file goes by `path:` or `url:`."
            )
    else:
        source_name = name
    built_in = sources.get(source_name)
    if built_in is not None and (not own or built_in.user_supplied):
        _same_kind(name, config, built_in)
        return source_name, built_in
    if "source" in config and own:
        raise InputError(
            f"data set {name!r}: `source: {source_name}` and `{own[0]}:` exclude each other; "
            f"remove one."
        )
    if len(own) != 1:
        given = "both" if own else "neither"
        raise InputError(
            f"data set {name!r} has {given} of `path:` and `url:`, and is not built in (built in "
            f"are {checks.listing(sources)}); give exactly one."
        )
    return name, _own_source(name, config)


def _same_kind(name: str, config: Config, source: Source) -> None:
    if config.get("kind", source.kind) != source.kind:
        raise InputError(
            f"data set {name!r} has `kind: {config['kind']}`, but its source holds {source.kind}."
        )


def _own_source(name: str, config: Config) -> Source:
    """Make a source of the user's file."""
    kind = config.get("kind")
    if kind not in SUFFIX:
        raise InputError(f"data set {name!r}: `kind:` must be cells or images, not {kind!r}.")
    urls: tuple[str, ...] = ()
    if "url" in config:
        if "sha256" not in config:
            raise InputError(
                f"data set {name!r}: `url:` needs `sha256:`, the checksum of the file."
            )
        part = Path(urllib.parse.urlsplit(config["url"]).path).name
        file_name = part if part.endswith(SUFFIX[kind]) else name + SUFFIX[kind]
        urls = (config["url"],)
    else:
        file_name = Path(config["path"]).name
    checksum = Checksum("sha256", str(config["sha256"]).lower()) if "sha256" in config else None
    return Source(
        kind=kind,
        title=f"{name}, supplied by the user",
        read=_read_own_h5ad if kind == "cells" else images.read_npz,
        files=(RemoteFile(file_name, urls, checksum),),
        licence="the owner's",
        citation="the owner's",
        homepage="",
    )


def _read_own_h5ad(files: Files, config: Config) -> RawCells:
    (file,) = files.values()
    return read_h5ad(file.path, config.get("layer"))


def _obtain(
    file: RemoteFile,
    dataset: str,
    mirror: str | None,
    cache_dir: str | os.PathLike,
    config: Config,
) -> Fetched:
    """Fetch a remote file, or find the user's."""
    if file.urls:
        return fetch(file, dataset, mirror, Path(cache_dir))
    path = supplied(config["path"], f"`path:` of the data set {dataset!r} must name a file")
    found = digest(path, "sha256")
    if file.checksum is not None and found != file.checksum.digest:
        raise InputError(
            f"{path} has the wrong checksum (sha256 {found}; `sha256:` says "
            f"{file.checksum.digest})."
        )
    verified = "no published checksum" if file.checksum is None else f"sha256 {found}"
    record = {"name": path.name, "url": "", "fetched_from": "path", "sha256": found}
    return Fetched(path, file.checksum, {**record, "verified": verified})


def _named(name: str, step: Any) -> Any:
    """Run a step; a complaint about the data says which data set it is about."""
    try:
        return step()
    except InputError as error:
        raise InputError(f"data set {name!r}: {error}") from error


def _build(
    raw: RawCells | RawImages, name: str, source: Source, config: Config
) -> tuple[CellData | ImageData, dict[str, Any], list[str]]:
    if isinstance(raw, RawImages):
        image_data, notes = build_images(raw, name, config.get("n_subset"))
        return image_data, image_facts(image_data), notes
    label_key = config.get("label_key", source.label_key)
    if label_key is None:
        raise InputError(
            f"no `label_key:` is given: the column of {raw.file} with the cell types is needed to "
            f"compare methods (its columns are {checks.listing(raw.obs.columns)})."
        )
    cell_data, selection = build_cells(
        raw,
        name,
        batch_key=config.get("batch_key", source.batch_key),
        label_key=label_key,
        n_top_genes=config.get("n_top_genes", source.n_top_genes),
    )
    facts = cell_facts(cell_data)
    facts["selection"] = asdict(selection)
    notes = facts["selection"].pop("notes")
    return cell_data, facts, notes


def build_cells(
    raw: RawCells, name: str, batch_key: str | None, label_key: str, n_top_genes: int | None = None
) -> tuple[CellData, Selection]:
    """Check cells, choose genes, drop what has too few counts.

    Parameters
    ----------
    raw
        Counts and the table of cells.
    name
        Name of the data set.
    batch_key, label_key
        Columns with the batches (None: one batch) and the cell types.
    n_top_genes
        Number of highly variable genes; None: all genes.

    Returns
    -------
    data : CellData
    selection : Selection
        What was chosen and dropped, and notes.

    Raises
    ------
    InputError
        If the data are not fit for use.
    """
    if len(raw.obs) == 0:
        raise InputError(f"{raw.where} is empty (0 cells × {len(raw.genes)} genes).")
    labels, label_names = checks.column(raw.obs, label_key, "label_key", raw.file)
    checks.several_types(label_names, label_key, raw.file)
    if batch_key is None:
        batch, batch_names = np.zeros(len(labels), dtype=np.int64), ["all"]
    elif batch_key == label_key:
        raise InputError(
            f"`batch_key:` and `label_key:` both name the column {label_key!r} of {raw.file}; "
            f"batches must be something else than cell types."
        )
    else:
        batch, batch_names = checks.column(raw.obs, batch_key, "batch_key", raw.file)
    cells, cell_notes = checks.unique_names(list(raw.obs.index), "cell")
    genes, gene_notes = checks.unique_names(list(raw.genes), "gene")
    counts = checks.counts(raw.counts, raw.where, cells, genes, raw.hint)
    selection = Selection(
        cells_read=counts.shape[0],
        genes_read=counts.shape[1],
        notes=[*raw.notes, *cell_notes, *gene_notes],
    )
    if n_top_genes is not None:
        _check_n_top_genes(n_top_genes)
        chosen, notes = select.highly_variable(counts, batch, n_top_genes, raw.file)
        counts, genes = counts[:, chosen], genes[chosen]
        selection.highly_variable_genes = int(chosen.sum())
        selection.notes += notes
    keep_cells, keep_genes = select.with_enough_counts(counts)
    selection.cells_dropped = int((~keep_cells).sum())
    selection.genes_dropped = int((~keep_genes).sum())
    counts = counts[keep_cells][:, keep_genes]
    checks.enough(counts, raw.where)
    batch, batch_names = _recode(batch[keep_cells], batch_names)
    labels, label_names = _recode(labels[keep_cells], label_names)
    checks.several_types(label_names, label_key, raw.file)
    selection.notes += checks.singletons(batch, batch_names, "batch")
    selection.notes += checks.singletons(labels, label_names, "cell type")
    counts.sort_indices()
    data = CellData(
        name, counts, batch, batch_names, labels, label_names, genes[keep_genes], cells[keep_cells]
    )
    return data, selection


def _check_n_top_genes(value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 2:
        raise InputError(f"`n_top_genes: {value}` must be a whole number of at least 2, or null.")


def _recode(codes: np.ndarray, names: list[str]) -> tuple[np.ndarray, list[str]]:
    """Drop the names that no longer occur."""
    present, recoded = np.unique(codes, return_inverse=True)
    return recoded.astype(np.int64), [names[code] for code in present]


def build_images(
    raw: RawImages, name: str, n_subset: int | None = None
) -> tuple[ImageData, list[str]]:
    """Take a part of the images if asked to, and return them with the notes."""
    if n_subset is not None:
        raw = images.subset(raw, n_subset)
    valid = None if raw.n_train is None else np.arange(raw.n_train, len(raw.x), dtype=np.int64)
    data = ImageData(name, raw.x, raw.labels, raw.label_names, raw.image_shape, valid)
    return data, raw.notes


def cell_facts(data: CellData) -> dict[str, Any]:
    """Numbers about cells, counted from the data."""
    totals = np.asarray(data.counts.sum(axis=1)).ravel()
    return {
        "n_cells": data.n_cells,
        "n_genes": data.n_genes,
        "n_batches": data.n_batches,
        "n_types": data.n_types,
        "batches": _sizes(data.batch, data.batch_names),
        "cell_types": _sizes(data.labels, data.label_names),
        "counts": {
            "total": int(totals.sum()),
            "median_per_cell": float(np.median(totals)),
            "largest": int(data.counts.data.max()),
            "fraction_zero": 1 - data.counts.nnz / (data.n_cells * data.n_genes),
        },
    }


def image_facts(data: ImageData) -> dict[str, Any]:
    """Numbers about images, counted from the data."""
    return {
        "n_images": len(data),
        "n_valid": None if data.valid is None else len(data.valid),
        "image_shape": list(data.image_shape),
        "pixels": str(data.x.dtype),
        "n_types": data.n_types,
        "classes": _sizes(data.labels, data.label_names),
    }


def _sizes(codes: np.ndarray, names: list[str]) -> dict[str, int]:
    sizes = np.bincount(codes, minlength=len(names))
    return {name: int(size) for name, size in zip(names, sizes, strict=True)}


def summary(data: CellData | ImageData) -> str:
    """Describe a data set in a line."""
    if isinstance(data, ImageData):
        return f"{len(data):,} images of {data.n_types} classes"
    return (
        f"{data.n_cells:,} cells × {data.n_genes:,} genes, {data.n_batches} batches, "
        f"{data.n_types} cell types"
    )
