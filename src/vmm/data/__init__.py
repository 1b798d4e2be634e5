"""Data sets: where they come from, how they are checked, prepared and split.

``prepare`` makes one ``.npz`` (and a ``.json`` that describes it) of any data set; ``load`` reads
it with numpy and scipy alone, which is what training jobs do. ``SOURCES`` has the records of the
built-in data sets. Each name is imported when it is first asked for: records need no numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmm.lazy import resolve

if TYPE_CHECKING:
    from vmm.data.containers import CellData, ImageData, load
    from vmm.data.preparation import prepare
    from vmm.data.raw import RawCells, RawImages
    from vmm.data.source import Checksum, RemoteFile, Source
    from vmm.data.sources.records import SOURCES
    from vmm.data.splits import make_split

__all__ = [
    "SOURCES",
    "CellData",
    "Checksum",
    "ImageData",
    "RawCells",
    "RawImages",
    "RemoteFile",
    "Source",
    "load",
    "make_split",
    "prepare",
]

MODULES = {
    "containers": ("CellData", "ImageData", "load"),
    "preparation": ("prepare",),
    "raw": ("RawCells", "RawImages"),
    "source": ("Checksum", "RemoteFile", "Source"),
    "sources.records": ("SOURCES",),
    "splits": ("make_split",),
}
"""Where the public names are."""


def __getattr__(name: str) -> Any:
    for module, names in MODULES.items():
        if name in names:
            return resolve(f"{__name__}.{module}:{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
