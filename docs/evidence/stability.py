"""What `cluster_stability` costs against one training: CPU time, one thread, taking turns.

    python docs/evidence/stability.py FILE.h5ad EPOCHS REPETITIONS

The file has counts in X and a column `batch`. Early stopping is off, so that all trainings are
equally long; both include validation, and the stack its comparison of partitions.
"""

import sys
import time
import warnings

import anndata
import numpy as np

import vmm

N_SEEDS = 10


def measured(function, *args, **kwargs) -> float:
    """Return the CPU seconds of a call."""
    start = time.process_time()
    function(*args, **kwargs)
    return time.process_time() - start


def main() -> None:
    """Print medians and their ratio."""
    warnings.simplefilter("ignore")
    path, epochs, repetitions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    adata = anndata.read_h5ad(path)
    vmm.SCVI.setup_anndata(adata, batch_key="batch")
    options = {"max_epochs": epochs, "early_stopping": False, "enable_progress_bar": False}
    one, ten = [], []
    for repetition in range(repetitions + 1):  # the first of each warms up
        model = vmm.SCVI(adata, seed=repetition)
        one.append(measured(model.train, **options))
        ten.append(measured(model.cluster_stability, N_SEEDS, enable_progress_bar=False))
        print(f"one {one[-1]:.2f} s, {N_SEEDS} more {ten[-1]:.2f} s", flush=True)
    ratios = np.divide(ten, one)[1:]
    print(f"ratio {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})")


if __name__ == "__main__":
    main()
