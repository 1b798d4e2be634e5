"""How much of the price in batch mixing is the metric's: batches whose cell types differ.

``python docs/evidence/pcr.py results/evidence_cells_converged`` reads data and embeddings of runs,
finished or not, and writes two tables of ``docs/fidelity.md``.

PCR comparison is 1 − R²(embedding) / R²(counts), R² being the part of the variance that the batch
explains. If batches have different cell types, the batch explains part of the variance *between*
types, the more the better these are kept apart: the types themselves, as an embedding, do not score
1. Within types, R² is the part that the batch explains of what the types leave over.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from collect import CELL_RUNS, OUT, PAGE, markdown, put

from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.metrics.pcr import count_components, explained_within
from vmm.data.containers import CellData, load
from vmm.io import read_arrays
from vmm.paper.labels import dataset_label

METRICS = [
    "iLISI",
    "KBET",
    "Silhouette batch",
    "Graph connectivity",
    "PCR comparison",
    "Batch correction",
]


def shares(x: np.ndarray, data: CellData) -> tuple[float, float]:
    """Return R² of the batch in cells (N, p): of all variance, and of that within types."""
    one_class = np.zeros_like(data.labels)
    return tuple(explained_within(x, data.batch, by) for by in (one_class, data.labels))


def reduction(after: float, before: float) -> float:
    """Return the score: the relative reduction, 0 where there is none."""
    return max(0.0, 1 - after / before)


def lines(run: Path, file: Path) -> list[dict[str, str]]:
    """Return a row for each method of a run on one data set."""
    data = load(file)
    known = data.labels >= 0
    if data.n_batches < 2 or not known.all():
        return []
    before = shares(count_components(data.counts), data)
    pure = shares(np.eye(data.n_types)[data.labels], data)[0]
    label = dataset_label(file.stem)
    found = [{"data set": label, "embedding": "counts' 50 components", **_shown([before])}]
    types = _shown([(pure, np.nan)]) | {"PCR comparison": f"{reduction(pure, before[0]):.3f}"}
    found.append({"data set": label, "embedding": "the types themselves", **types})
    for method in METHODS["cells"].values():
        folders = run.glob(f"models/{file.stem}/{method.name}/*/*/latent.npz")
        parts = [shares(read_arrays(f, "embedding")["embedding"], data) for f in sorted(folders)]
        if parts:
            score = np.array(
                [[reduction(a, b) for a, b in zip(p, before, strict=True)] for p in parts]
            )
            mean = score.mean(0)
            told = {"PCR comparison": f"{mean[0]:.3f}", "PCR within types": f"{mean[1]:.3f}"}
            row = {"data set": label, "embedding": f"{method.label} ({len(parts)})"}
            found.append(row | _shown(parts) | told)
    return found


def _shown(parts: list[tuple[float, float]]) -> dict[str, str]:
    total, within = np.mean(parts, axis=0)
    return {
        "R² of batch": f"{total:.4f}",
        "R² within types": "–" if np.isnan(within) else f"{within:.4f}",
        "PCR comparison": "–",
        "PCR within types": "–",
    }


def prices() -> pd.DataFrame:
    """Return VMM − N(0, I) in each metric of batch correction, of the runs of ``make evidence``."""
    found: dict[str, dict[str, str]] = {}
    for name in CELL_RUNS:
        file = OUT / name / "table4_tests.csv"
        tests = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=["method"])
        means = tests[tests["method"].isin(["VMM", "N(0, I)"])]
        for (dataset, metric), part in means.groupby(["dataset", "metric"], sort=False):
            mean = part.set_index("method")["mean"]
            if metric in METRICS and mean.notna().all():
                row = found.setdefault(dataset_label(str(dataset)), {})
                row.setdefault(metric, f"{mean['VMM'] - mean['N(0, I)']:+.3f}")
    table = pd.DataFrame.from_dict(found, orient="index", columns=METRICS)
    return table.rename_axis("data set").reset_index()


def main(runs: list[str]) -> None:
    """Write the tables, and put them into docs/fidelity.md."""
    files = [(Path(run), file) for run in runs for file in sorted(Path(run).glob("data/*.npz"))]
    table = pd.DataFrame([line for run, file in files for line in lines(run, file)])
    page = put(PAGE.read_text(), "price", markdown(prices()))
    PAGE.write_text(put(page, "pcr", markdown(table)))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1:])
