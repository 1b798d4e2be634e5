"""How much less of the variance the batch explains than in the counts.

Büttner et al. (2019), *Nature Methods* 16, 43-49.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.benchmark.metrics.scoring import Undefined

if TYPE_CHECKING:
    from vmm.benchmark.metrics.integration import Cells, Embedding

N_COMPONENTS = 50


def pcr_comparison(embedding: Embedding, cells: Cells) -> float:
    """Return the relative reduction, 0 where there is none.

    Against the raw counts, as in the paper (arXiv:2402.04412, section 5): their first 50 principal
    components, neither normalised nor logarithmised, which is what scib-metrics' ``Benchmarker``
    takes when its ``adata.X`` holds the counts, as in the paper's published code.
    """
    from scib_metrics import pcr_comparison

    before = cells.once(_components)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="PCR comparison score is negative")
        return pcr_comparison(before, embedding.array, cells.batch, categorical=True)


def count_components(counts: Any) -> np.ndarray:
    """Return the first 50 principal components of counts, (N, min(50, N - 1, G - 1)).

    The same as ``scanpy.pp.pca(adata, svd_solver="arpack")`` of the counts, without scanpy.
    """
    from scipy.sparse import issparse
    from sklearn.decomposition import PCA

    matrix = counts.tocsr().astype(np.float32) if issparse(counts) else np.asarray(counts, "f4")
    n_components = min(N_COMPONENTS, min(matrix.shape) - 1)
    pca = PCA(n_components=n_components, svd_solver="arpack", random_state=0)
    return pca.fit_transform(matrix).astype(np.float32)


def _components(cells: Cells) -> np.ndarray:
    if cells.counts.shape[1] < 2:
        raise Undefined("single gene")
    return count_components(cells.counts)
