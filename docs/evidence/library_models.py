"""Make the table of the run of ``library_models.yaml`` for docs/fidelity.md, and keep its rows.

Reads ``results/evidence_library_models/metrics/parts/clustering``; with none there, the rows that
were kept in ``results/library_models.csv`` beside this file.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from scvi_tools import table
from vmm.benchmark.metrics.rows import gather_rows
from vmm.paper.labels import method_label

HERE = Path(__file__).resolve().parent
PARTS = Path("results/evidence_library_models/metrics/parts/clustering")
KEPT, TABLE = HERE / "results" / "library_models.csv", HERE / "results" / "library_models.md"
METRICS = {"NMI (unmerged)": "nmi", "ARI (unmerged)": "ari", "Utilized clusters": "n_clusters"}


def measured() -> pd.DataFrame:
    """Return a row for each clustering."""
    if not PARTS.is_dir():
        return pd.read_csv(KEPT)
    rows = gather_rows(sorted(PARTS.glob("*/*.csv")))
    labels = [method_label(m, p) for m, p in zip(rows["model"], rows["prior"], strict=True)]
    leiden = rows["setting"].eq("leiden").map({True: ", Leiden", False: ""})
    rows = rows.assign(method=pd.Series(labels, rows.index) + leiden, comparison=rows["dataset"])
    rows = rows[rows["metric"].isin(METRICS)]
    wide = rows.pivot(index=["comparison", "method", "trial"], columns="metric", values="value")
    return wide.rename(columns=METRICS).reset_index()


if __name__ == "__main__":
    found = measured()
    found.to_csv(KEPT, index=False, float_format="%.6g")
    TABLE.write_text(table(found))
