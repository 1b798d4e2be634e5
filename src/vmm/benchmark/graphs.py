"""Graphs of neighbours in the place of embeddings: as arrays of latent.npz, and read again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix

from vmm.io import damage, read_arrays

PARTS = ("data", "indices", "indptr")


def graph_arrays(graph: csr_matrix) -> dict[str, np.ndarray]:
    """Return a graph (N, N) as arrays."""
    return {f"graph_{part}": getattr(graph, part) for part in PARTS}


def read_embedding(folder: str | Path) -> np.ndarray | csr_matrix:
    """Return the embedding (N, p) in a folder, or the graph (N, N) of a method without any."""
    path = Path(folder) / "latent.npz"
    arrays = read_arrays(path)
    with damage(path):
        if "embedding" in arrays or "graph_indptr" not in arrays:
            return arrays["embedding"]
        data, indices, indptr = (arrays[f"graph_{part}"] for part in PARTS)
        n = len(indptr) - 1
        return csr_matrix((data, indices, indptr), shape=(n, n))
