"""How far scores of a stratified sample are from those of all cells.

    python docs/evidence/sample_error.py FILE.h5ad SIZE [SIZE …]

The file has counts in X and columns `batch` and `cell_type`. Principal components, alone and
corrected by Harmony, are of all cells; five samples of each size are scored, and all cells. Rows go
to ``docs/evidence/results/sample_error.csv``, beside those of other files.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from vmm.benchmark.baselines.harmony import harmony
from vmm.benchmark.baselines.pca import principal_components
from vmm.benchmark.metrics.clustering import assignment_scores
from vmm.benchmark.metrics.integration import integration_scores
from vmm.benchmark.metrics.leiden import leiden_clusters
from vmm.data.cells import build_cells
from vmm.data.h5ad import read_h5ad
from vmm.data.stratified import stratified_sample

OUT = Path(__file__).parent / "results" / "sample_error.csv"
SAMPLES = 5
KEYS = ["data", "embedding", "cells", "sample"]


def main(path: Path, sizes: list[int]) -> None:
    """Score all cells and their samples, and add the rows to the table."""
    data, _ = build_cells(read_h5ad(path), path.stem, "batch", "cell_type")
    components = principal_components(data)
    embeddings = {"PCA": components, "Harmony": harmony(components, data)}
    drawn = [(data.n_cells, 0), *((size, sample) for size in sizes for sample in range(SAMPLES))]
    found = []
    for size, sample in drawn:
        rows = stratified_sample(size, data.batch, data.labels, seed=sample)
        batch, labels = data.batch[rows], data.labels[rows]
        own = {name: array[rows] for name, array in embeddings.items()}
        for name, scores in integration_scores(own, data.counts[rows], batch, labels).items():
            clusters = assignment_scores(labels, leiden_clusters(own[name]))
            values = scores | {f"Leiden: {metric}": score for metric, score in clusters.items()}
            numbers = {metric: value for metric, (value, _) in values.items() if value is not None}
            found.append(dict(zip(KEYS, (path.stem, name, size, sample), strict=True)) | numbers)
        print(f"{path.stem}: {size:,} cells, sample {sample}", flush=True)
    table = pd.DataFrame(found)
    if OUT.exists():
        before = pd.read_csv(OUT)
        table = pd.concat([before[before["data"] != path.stem], table])
    table.to_csv(OUT, index=False, float_format="%.5f")
    print(differences(table).to_markdown(floatfmt=".3f"))


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Return by data, size and metric: mean and largest difference from all cells."""
    long = table.melt(KEYS, var_name="metric", value_name="score").dropna()
    whole = long.groupby(["data", "embedding", "metric"])["cells"].transform("max")
    keys = ["data", "embedding", "metric"]
    of_all = long[long["cells"] == whole].set_index(keys)["score"]
    sampled = long[long["cells"] < whole]
    gap = (
        sampled["score"].to_numpy() - of_all.loc[pd.MultiIndex.from_frame(sampled[keys])].to_numpy()
    )
    sampled = sampled.assign(mean=gap, largest=np.abs(gap))
    return (
        sampled.groupby(["data", "metric", "cells"])
        .agg({"mean": "mean", "largest": "max"})
        .unstack("cells")
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]])
