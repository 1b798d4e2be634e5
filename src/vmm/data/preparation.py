"""From a data set's configuration to its ``.npz`` and the ``.json`` that describes it.

What belongs to one data set or one kind is named by its record and imported when it is needed:
nothing of another data set is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from vmm.data.containers import CellData, ImageData, content_sha256
from vmm.data.download import Fetched, fetch, take
from vmm.data.origin import find, located
from vmm.data.raw import Config
from vmm.data.source import Source
from vmm.errors import InputError
from vmm.io import write_json
from vmm.lazy import resolve

log = logging.getLogger(__name__)


def prepare(
    name: str,
    config: Config,
    mirror: str | os.PathLike | None,
    cache_dir: str | os.PathLike,
    out_npz: str | os.PathLike,
    out_json: str | os.PathLike,
    sources: Mapping[str, Source] | None = None,
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
        ``matrix``, ``cells``, ``batch_key``, ``label_key``, ``categorical_covariate_keys``,
        ``continuous_covariate_keys``, ``size_factor_key``, ``layer``, ``modality``,
        ``proteins``, ``peaks``, ``intensities``, ``n_top_genes``, ``n_subset``. Other keys are
        the models'.
    mirror
        Directory or URL that replaces every remote file by ``<mirror>/<data set>/<file name>``.
    cache_dir
        Where downloads are kept.
    out_npz, out_json
        What to write.
    sources
        Records by name; by default those of the built-in data sets.

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
    source = find(name, config, sources)
    config = located(source, config, mirror)
    files = obtain(source, config, mirror, cache_dir)
    reader, builder = map(resolve, source.steps)
    try:
        data, facts, notes = builder(reader(files, config), name, source, config)
    except InputError as error:
        raise InputError(f"data set {name!r}: {error}") from error
    description = {
        "name": name,
        "kind": data.kind,
        "source": source.name,
        **{key: getattr(source, key) for key in ("title", "licence", "citation", "homepage")},
        **facts,
        "content_sha256": content_sha256(data),
        "files": [dict(file.record) for file in files.values()],
        "notes": [*source.notes, *notes],
    }
    data.save(out_npz)
    write_json(out_json, description)
    log.info("%s: %s", name, data)
    return data


def obtain(
    source: Source, config: Config, mirror: str | None, cache_dir: str | os.PathLike
) -> dict[str, Fetched]:
    """Return the verified files of a data set by their names, in the order of its record.

    A file without an address is the one at ``path`` of `config`; all else as in :func:`prepare`.
    """
    return {
        file.name: fetch(file, source.name, mirror, Path(cache_dir))
        if file.urls
        else take(file, source.name, config["path"])
        for file in source.files
    }
