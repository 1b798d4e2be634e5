"""Where a configured data set comes from: a built-in source, the user's file, or an address."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmm.data.download import is_url
from vmm.data.messages import listing
from vmm.data.source import Checksum, RemoteFile, Source
from vmm.data.supplied import lack
from vmm.errors import InputError
from vmm.lazy import resolve

SUFFIX = {"cells": ".h5ad", "images": ".npz"}
READERS = {"cells": "vmm.data.h5ad:read", "images": "vmm.data.npz:read"}
"""What reads the user's own file."""


def find(
    name: str, config: Mapping[str, Any], sources: Mapping[str, Source] | None = None
) -> Source:
    """Find where a data set comes from.

    Parameters
    ----------
    name
        The data set's name in the configuration.
    config
        Its configuration, without keys whose value is None.
    sources
        Records by name; by default those of the built-in data sets.

    Returns
    -------
    Source
        A built-in one, or one made for the user's file, which has the data set's name.

    Raises
    ------
    InputError
        If the configuration names no source, an unknown one, or more than one.
    """
    if sources is None:
        sources = resolve("vmm.data.sources.records:SOURCES")
    own = [key for key in ("path", "url") if key in config]
    source_name = config.get("source", name)
    built_in = sources.get(source_name)
    if built_in is None and "source" in config:
        raise InputError(
            f"data set {name!r}: there is no source {source_name!r}; built in are "
            f"{listing(sources)}, your own file goes by `path:` or `url:`."
        )
    if built_in is not None and (not own or built_in.user_supplied):
        if config.get("kind", built_in.kind) != built_in.kind:
            raise InputError(
                f"data set {name!r} has `kind: {config['kind']}`, but its source holds "
                f"{built_in.kind}."
            )
        return built_in
    if "source" in config and own:
        raise InputError(
            f"data set {name!r}: `source: {source_name}` and `{own[0]}:` exclude each other; "
            f"remove one."
        )
    if len(own) != 1:
        given = "both" if own else "neither"
        raise InputError(
            f"data set {name!r} has {given} of `path:` and `url:`, and is not built in (built in "
            f"are {listing(sources)}); give exactly one."
        )
    return _own_source(name, config)


def located(source: Source, config: Mapping[str, Any], mirror: str | None) -> dict[str, Any]:
    """Return a data set's configuration with the folder of the mirror where the user's copy lies.

    `config` is without keys whose value is None; `mirror` is a directory, a URL, or None.
    """
    unnamed = source.user_supplied and not {"path", "matrix"} & config.keys()
    if unnamed and mirror and not is_url(mirror):
        return {**config, "path": str(Path(mirror) / source.name)}
    return dict(config)


def local_files(source: Source, config: Mapping[str, Any], mirror: str | None) -> list[Path]:
    """Return the files on this machine that a data set is made from, but for downloads.

    A file that is not there is left out: that is told when it is read. So are a mirror's files
    with a published checksum, which can have one content only.

    Parameters
    ----------
    source, config, mirror
        As for :func:`located`.
    """
    config = located(source, config, mirror)
    if source.user_supplied:
        module = source.reader.partition(":")[0]
        paths = [Path(path) for path in resolve(f"{module}:supplied_files")(config).values()]
    else:
        paths = [Path(config["path"])] if "path" in config else []
    if mirror and not is_url(mirror):
        unsummed = [file for file in source.files if file.urls and file.checksum is None]
        names = [name for file in unsummed for name in (file.name, *file.mirror_names)]
        paths += [Path(mirror) / source.name / name for name in names]
    return [path.expanduser() for path in paths if not lack(path)]


def _own_source(name: str, config: Mapping[str, Any]) -> Source:
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
        name=name,
        label=name,
        kind=kind,
        title=f"{name}, supplied by the user",
        reader=READERS[kind],
        files=(RemoteFile(file_name, urls, checksum),),
        licence="the owner's",
        citation="the owner's",
        homepage="",
    )
