"""How far scores of a stratified sample are from those of all cells.

    python docs/evidence/sample_error.py FILE.h5ad SIZE [SIZE …]

The file has counts in X and columns `batch` and `cell_type`. Principal components, alone and
corrected by Harmony, are of all cells; five samples of each size are scored, and all cells. Rows go
to ``docs/evidence/results/sample_error.csv``, beside those of other files.
"""

import sys
from pathlib import Path

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
    """Return by data, metric and size how far samples are from all cells.

    The mean of the difference, the largest, and the largest of Harmony's lead over PCA.
    """
    long = table.melt(KEYS, var_name="metric", value_name="score").dropna()
    wide = long.pivot(index=["data", "metric", "cells", "sample"], columns="embedding")["score"]
    wide["lead"] = wide["Harmony"] - wide["PCA"]
    wide = wide.reset_index()
    is_whole = wide["cells"] == wide.groupby("data")["cells"].transform("max")
    sampled = wide[~is_whole].set_index(["data", "metric", "cells", "sample"])
    gap = sampled - wide[is_whole].drop(columns=["cells", "sample"]).set_index(["data", "metric"])
    by_size = gap.groupby(level=["data", "metric", "cells"])
    both = ["PCA", "Harmony"]
    return pd.DataFrame(
        {
            "mean": by_size[both].mean().mean(1),
            "largest": gap[both].abs().groupby(level=[0, 1, 2]).max().max(1),
            "largest of the lead": by_size["lead"].agg(lambda gap: gap.abs().max()),
        }
    ).unstack("cells")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]])
