"""Data sets: where they come from, how they are checked, prepared and split.

``prepare`` makes one ``.npz`` (and a ``.json`` that describes it) of any data set; ``load`` reads
it with numpy and scipy alone, which is what training jobs do. ``SOURCES`` has the records of the
built-in data sets. Each name is imported when it is first asked for: records need no numpy.
"""

from __future__ import annotations

from vmm.lazy import exports

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "CellData": "vmm.data.containers:CellData",
        "Checksum": "vmm.data.source:Checksum",
        "ImageData": "vmm.data.containers:ImageData",
        "RawCells": "vmm.data.raw:RawCells",
        "RawImages": "vmm.data.raw:RawImages",
        "RemoteFile": "vmm.data.source:RemoteFile",
        "SOURCES": "vmm.data.sources.records:SOURCES",
        "Source": "vmm.data.source:Source",
        "load": "vmm.data.containers:load",
        "make_split": "vmm.data.splits:make_split",
        "prepare": "vmm.data.preparation:prepare",
    },
)
