"""Data sets: where they come from, how they are checked, prepared and split.

``prepare`` makes one ``.npz`` (and a ``.json`` that describes it) of any data set; ``load`` reads
it with numpy and scipy alone, which is what training jobs do.
"""

from vmm.data.containers import CellData, ImageData, load
from vmm.data.preparation import prepare
from vmm.data.splits import make_split

__all__ = ["CellData", "ImageData", "load", "make_split", "prepare"]
