"""Cell types of the PBMC data set of scVI, which come as a pickle.

It is read in memory once, these bytes are checked against the published sum, and only then are they
unpickled, by an unpickler that knows arrays and data frames and refuses everything else.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from vmm.data.source import Checksum
from vmm.data.supplied import reading
from vmm.errors import InputError

NUMPY_NAMES = {"_reconstruct", "ndarray", "dtype", "scalar"}
PANDAS_NAMES = {
    "DataFrame", "Series", "BlockManager", "SingleBlockManager", "_new_Index", "Index",
    "Int64Index", "Float64Index", "RangeIndex", "_unpickle_block", "new_block",
    "__pyx_unpickle_NDArrayBacked", "StringArray", "StringDtype", "ArrowStringArray",
}  # fmt: skip
PLAIN_NAMES = {
    ("builtins", "slice"), ("__builtin__", "slice"),
    ("builtins", "object"), ("__builtin__", "object"),
    ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"),
    ("_codecs", "encode"),
}  # fmt: skip


def read_labels(path: Path, checksum: Checksum | None) -> dict[str, str]:
    """Read the cell types of the barcodes, in their order, from a pickle.

    Nothing is unpickled unless its bytes match the checksum, and then nothing but arrays and data
    frames.
    """
    if checksum is None:
        raise InputError(
            f"{path} is a pickle, which can run code, and has no checksum: not opened."
        )
    content = path.read_bytes()
    found = hashlib.new(checksum.algorithm, content, usedforsecurity=False).hexdigest()
    if found != checksum.digest:
        raise InputError(
            f"{path} has the wrong checksum ({checksum.algorithm} {found}, it must be "
            f"{checksum.digest}) and was not opened: it is a pickle, which can run code."
        )
    with reading(path, "does not hold scVI's PBMC metadata"):
        metadata = _restricted(content)
        barcodes = metadata["barcodes"].index.astype(str)
        types = [str(name) for name in metadata["list_clusters"]]
        clusters = np.asarray(metadata["clusters"]).ravel()
        return {b: types[int(c)] for b, c in zip(barcodes, clusters, strict=True)}


def _restricted(content: bytes) -> Any:
    """Unpickle arrays and data frames, from versions of pandas back to 0.20, and nothing else."""
    from pandas.compat.pickle_compat import Unpickler

    class Restricted(Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            package = module.split(".")[0]
            allowed = (
                (package == "numpy" and name in NUMPY_NAMES)
                or (package == "pandas" and name in PANDAS_NAMES)
                or (module, name) in PLAIN_NAMES
            )
            if not allowed:
                raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it")
            return super().find_class(module, name)

    try:
        return Restricted(io.BytesIO(content)).load()
    except UnicodeDecodeError:  # written by Python 2
        return Restricted(io.BytesIO(content), encoding="latin-1").load()
