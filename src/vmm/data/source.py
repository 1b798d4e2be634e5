"""What a record of a data set says. Imports nothing: configurations are checked against records."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

BUILDERS = {"cells": "vmm.data.cells:build", "images": "vmm.data.images:build"}
"""What prepares raw data, by their kind.

Each takes what the reader gave, the data set's name, its record and its configuration, and returns
the prepared data, numbers for their description, and notes. Data that are not fit for use raise
:class:`~vmm.errors.InputError`.
"""

BESIDE = {"proteins": "protein", "peaks": "peak"}
"""Keys of a set of cells that say where else something was counted in them, and what one is."""


class Checksum(NamedTuple):
    """What the bytes of a file must hash to."""

    algorithm: str
    digest: str
    decompressed: bool = False
    """Whether the sum is of what the gzip file contains."""


@dataclass(frozen=True)
class RemoteFile:
    """A file that a data set needs.

    Parameters
    ----------
    name
        Its name in the cache and in a mirror (``<mirror>/<data set>/<name>``).
    urls
        Where it can be had, in the order to try.
    checksum
        What it must hash to; None where nobody published a sum.
    mirror_names
        Further names by which a mirror may have it.
    """

    name: str
    urls: tuple[str, ...]
    checksum: Checksum | None = None
    mirror_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a data set comes from and how it is read.

    Parameters
    ----------
    name
        Short name in configurations, rows of metrics and names of files.
    label
        Name in tables and figures.
    kind
        ``cells`` or ``images``.
    title
        What it is, in a line.
    reader
        Function that turns the verified files and the configuration into
        :class:`~vmm.data.raw.RawCells` or :class:`~vmm.data.raw.RawImages`, as
        ``"module:function"``; see :data:`vmm.data.raw.Reader`.
    licence, citation, homepage
        Terms of use, whom to cite, where to read on.
    files
        What must be fetched; empty: ships with a library, or the user supplies it.
    batch_key, label_key
        Default columns; ``batch_key`` None: one batch.
    n_top_genes
        Default number of highly variable genes; None: all.
    user_supplied
        Whether ``path:`` (or ``matrix:`` and ``cells:``) names the user's copy; the reader's module
        then has a function ``supplied_files(config)`` that finds it.
    published
        Whether the paper has results on it.
    notes
        What a reader of the results should know.
    """

    name: str
    label: str
    kind: Literal["cells", "images"]
    title: str
    reader: str
    licence: str
    citation: str
    homepage: str
    files: tuple[RemoteFile, ...] = ()
    batch_key: str | None = None
    label_key: str | None = None
    n_top_genes: int | None = None
    user_supplied: bool = False
    published: bool = False
    notes: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[str, str]:
        """What a preparation calls for this data set and not for every other, by name."""
        return self.reader, BUILDERS[self.kind]

    def prepared_from(self) -> dict[str, Any]:
        """Return the part of the record that the prepared files depend on, as plain values."""
        return {k: v for k, v in asdict(self).items() if k not in ("label", "published")}
